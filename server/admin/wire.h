// The bytes of one accepted connection, plain or TLS, up to a number and until a time. Both hold
// for the connection as a whole, so that a caller who sends a byte now and then gains nothing.
//
// Threads: one uses it; Cut and waiting may be called from any.
#ifndef DT_SERVER_ADMIN_WIRE_H_
#define DT_SERVER_ADMIN_WIRE_H_

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "openssl/ssl.h"

namespace dt::admin {

class Wire {
 public:
  // Takes the socket, which does not block, and closes it at the end. `deadline`: by the steady
  // clock.
  Wire(int fd, absl::Time deadline, size_t received_bytes_max);
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  // The handshake. False when it failed or took too long; nothing more can be done then.
  bool StartTls(SSL_CTX* context);
  // 0: the caller has ended. -1: it failed, it is too late, or too much was received.
  ssize_t Read(char* data, size_t size);
  // All of it; false when it failed or it is too late.
  bool Write(const char* data, size_t size);
  // Whether there is something to read before the deadline.
  bool AwaitInput();
  // Ends what waits, and all that comes. The socket stays open until the end of this object.
  void Cut() const;

  // Whether it waits for the caller. Any thread.
  bool waiting() const { return waiting_.load(std::memory_order_relaxed); }

  // Whether the caller has shown a certificate that was verified, and its common name and
  // alternative names.
  bool HasCertificate() const;
  std::vector<std::string> CertificateNames() const;
  int fd() const { return fd_; }

 private:
  // Waits for these events of poll(2), until the deadline.
  bool Await(short events);
  // After a call of OpenSSL that returned `result`: waits for what it needs. False: it failed.
  bool AwaitTls(int result);
  ssize_t Receive(char* data, size_t size);

  const int fd_;
  const absl::Time deadline_;
  size_t receivable_bytes_;
  // From the beginning: it has sent nothing yet.
  std::atomic<bool> waiting_{true};
  std::unique_ptr<SSL, decltype(&SSL_free)> tls_{nullptr, &SSL_free};
  // HTTP is read byte by byte.
  char buffer_[2048];
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace dt::admin

#endif  // DT_SERVER_ADMIN_WIRE_H_
