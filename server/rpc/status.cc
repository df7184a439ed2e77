#include "server/rpc/status.h"

#include <string>
#include <string_view>

namespace dt::rpc {
namespace {

// Cuts at the start of a UTF-8 character, so that the client never sees half of one.
std::string Shortened(std::string_view text) {
  size_t end = kStatusMessageBytesMax;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  std::string_view message(status.message().data(), status.message().size());
  return grpc::Status(
      static_cast<grpc::StatusCode>(status.code()),
      message.size() > kStatusMessageBytesMax ? Shortened(message) : std::string(message));
}

absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace dt::rpc
