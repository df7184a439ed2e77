// A call of HTTP/2 by hand, over a connection of its own, which sends a part of its message.
#ifndef DT_TESTS_RPC_RAW_CALL_H_
#define DT_TESTS_RPC_RAW_CALL_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "tests/rpc/rpc_fixture.h"

namespace dt::testing {

class RawCall {
 public:
  // `address` is an IPv4 address with its port. The message will have so many bytes, of which none
  // is sent yet.
  RawCall(const std::string& address, const std::string& path, const Metadata& metadata,
          uint32_t message_bytes);
  ~RawCall();
  RawCall(const RawCall&) = delete;
  RawCall& operator=(const RawCall&) = delete;

  // Sends more of the message, all zeros, as the server lets; until they are sent or the call or
  // its connection has ended. Fails the test after kPatience.
  void Send(size_t bytes);
  // Whether the call has ended within this time.
  bool EndsWithin(absl::Duration timeout);

  // Of the call's end; nullopt without one.
  std::optional<int> status() const { return status_; }
  // Headers and trailers as they came, compressed.
  const std::string& headers() const { return headers_; }
  size_t sent() const { return sent_; }

 private:
  // Reads and writes until the condition holds; whether it did in time.
  bool PumpUntil(const std::function<bool()>& condition, absl::Duration timeout);
  void Read();
  void Write();
  void Put(int type, int flags, uint32_t stream, const std::string& payload);
  void Take(int type, int flags, uint32_t stream, const std::string& payload);
  void FillWindow();

  int fd_ = -1;
  std::string out_;
  std::string in_;
  int64_t connection_window_ = 65535;
  int64_t stream_window_ = 65535;
  int64_t initial_window_ = 65535;
  const uint32_t message_bytes_;
  size_t wanted_ = 0;  // to be sent
  size_t sent_ = 0;
  bool closed_ = false;
  std::optional<int> status_;
  std::string headers_;
};

}  // namespace dt::testing

#endif  // DT_TESTS_RPC_RAW_CALL_H_
