// HTTP by hand, as callers of the admin listener send it, well or badly.
#ifndef DT_TESTS_RPC_ADMIN_CLIENT_H_
#define DT_TESTS_RPC_ADMIN_CLIENT_H_

#include <string>
#include <string_view>

#include "tests/rpc/certificates.h"

namespace dt::testing {

// A connection to "127.0.0.1:PORT".
class RawConnection {
 public:
  explicit RawConnection(const std::string& address);
  ~RawConnection();
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  // False when the other side has ended it.
  bool Send(std::string_view bytes) const;
  // All until the other side ends.
  std::string ReadToEnd() const;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

struct HttpAnswer {
  int status = 0;  // 0: there was none
  std::string headers;
  std::string body;
};
HttpAnswer ParseAnswer(const std::string& bytes);

// One GET over plain text. `headers`: lines with their ends.
HttpAnswer Get(const std::string& address, const std::string& path,
               const std::string& headers = "");
// Over TLS, trusting this authority, with a certificate if there is one.
HttpAnswer GetOverTls(const std::string& address, const std::string& path,
                      const std::string& trusted, const Identity& own = {});

}  // namespace dt::testing

#endif  // DT_TESTS_RPC_ADMIN_CLIENT_H_
