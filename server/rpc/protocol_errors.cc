#include "server/rpc/protocol_errors.h"

#include <optional>
#include <string>

#include "fmt/format.h"
#include "server/rpc/call_metadata.h"
#include "spdlog/spdlog.h"
#include "storage/log_events.h"
#include "storage/steady_clock.h"

namespace dt::rpc {
namespace {

// Deletes itself.
class RefusedCall final : public grpc::ServerGenericBidiReactor {
 public:
  explicit RefusedCall(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

}  // namespace

void ProtocolErrors::Log(std::string_view peer, std::string_view text) {
  const std::optional<int64_t> left_out = lines_.Admit(peer, SteadyNow());
  if (!left_out.has_value()) return;
  spdlog::warn(
      "{}: a call from {}: {}; does it speak the protocol of this server "
      "(deploy/TROUBLESHOOTING.md)?{}",
      log_event::kProtocolError, ForLog(peer), text, LeftOutNote(*left_out));
}

grpc::Status ProtocolErrors::Unreadable(std::string_view peer, std::string_view method,
                                        size_t bytes) {
  std::string text = fmt::format("{}: its {} bytes cannot be parsed as the message of this method",
                                 ForLog(method), bytes);
  Log(peer, text);
  return {grpc::StatusCode::INVALID_ARGUMENT, std::move(text)};
}

grpc::Status ProtocolErrors::UnknownMethod(std::string_view peer, std::string_view method) {
  std::string text = fmt::format("this server has no method {}", ForLog(method));
  Log(peer, text);
  return {grpc::StatusCode::UNIMPLEMENTED, std::move(text)};
}

grpc::ServerGenericBidiReactor* UnknownMethods::CreateReactor(
    grpc::GenericCallbackServerContext* context) {
  return new RefusedCall(errors_->UnknownMethod(context->peer(), context->method()));
}

}  // namespace dt::rpc
