// Requests that are parsed here and not by gRPC: those that may be nested deeper than protobuf's
// 100 levels, as the failures of a worker may. What gRPC cannot parse it answers with
// UNIMPLEMENTED, without a word, and nobody learns of it (RULES.md 10.2).
#ifndef DT_SERVER_RPC_RAW_REQUEST_H_
#define DT_SERVER_RPC_RAW_REQUEST_H_

#include <string_view>

#include "absl/status/status.h"
#include "google/protobuf/message_lite.h"
#include "grpcpp/support/byte_buffer.h"

namespace dt::rpc {

// Levels of messages that a request may have. To read and to destroy them takes the stack of a
// thread as often.
inline constexpr int kRequestLevelsMax = 1000;

// Parses the bytes. INVALID_ARGUMENT, which is logged, names the RPC, the bytes and the limit.
absl::Status ParseRaw(std::string_view rpc, const grpc::ByteBuffer& bytes,
                      google::protobuf::MessageLite& message);

// The answer that has no fields.
grpc::ByteBuffer EmptyAnswer();

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_RAW_REQUEST_H_
