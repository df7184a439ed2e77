#include "server/rpc/raw_request.h"

#include <limits>

#include "fmt/format.h"
#include "google/protobuf/io/coded_stream.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "spdlog/spdlog.h"
#include "storage/log_events.h"

namespace dt::rpc {

absl::Status ParseRaw(std::string_view rpc, const grpc::ByteBuffer& bytes,
                      google::protobuf::MessageLite& message) {
  grpc::ByteBuffer read(bytes);  // shares the slices
  grpc::ProtoBufferReader reader(&read);
  if (reader.status().ok()) {
    google::protobuf::io::CodedInputStream input(&reader);
    input.SetTotalBytesLimit(std::numeric_limits<int>::max());
    input.SetRecursionLimit(kRequestLevelsMax);
    if (message.ParseFromCodedStream(&input) && input.ConsumedEntireMessage()) {
      return absl::OkStatus();
    }
  }
  const std::string text = fmt::format(
      "{}: its {} bytes cannot be parsed; either they are no message of this kind, or it is nested "
      "deeper than {} levels",
      rpc, bytes.Length(), kRequestLevelsMax);
  spdlog::warn("{}: {}", log_event::kProcessingFailure, text);
  return absl::InvalidArgumentError(text);
}

grpc::ByteBuffer EmptyAnswer() {
  const grpc::Slice empty;
  return grpc::ByteBuffer(&empty, 1);
}

}  // namespace dt::rpc
