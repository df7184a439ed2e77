// Calls that are none of this protocol: of methods that nobody has, and with messages that are
// none. They come from programs that speak another dialect and may wait for ever without knowing
// why, so the caller is told, and the log tells of each connection once.
//
// Threads: all methods may be called from any thread.
#ifndef DT_SERVER_RPC_PROTOCOL_ERRORS_H_
#define DT_SERVER_RPC_PROTOCOL_ERRORS_H_

#include <string_view>

#include "absl/time/time.h"
#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/support/status.h"
#include "server/rpc/repeat_limiter.h"

namespace dt::rpc {

class ProtocolErrors {
 public:
  // INVALID_ARGUMENT, logged, for a call whose message has `bytes` and cannot be parsed.
  grpc::Status Unreadable(std::string_view peer, std::string_view method, size_t bytes);
  // UNIMPLEMENTED, logged, for a method that nobody has.
  grpc::Status UnknownMethod(std::string_view peer, std::string_view method);

 private:
  void Log(std::string_view peer, std::string_view text);

  // A kind is a connection, which has a peer of its own as long as it lives.
  RepeatLimiter lines_{absl::Minutes(10), /*lines_max=*/1};
};

// Answers the calls of methods that no other service has.
class UnknownMethods final : public grpc::CallbackGenericService {
 public:
  // `errors` must outlive the server.
  explicit UnknownMethods(ProtocolErrors* errors) : errors_(errors) {}
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override;

 private:
  ProtocolErrors* const errors_;
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_PROTOCOL_ERRORS_H_
