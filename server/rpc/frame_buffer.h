// A work item's frame as a gRPC buffer, without copying its history.
#ifndef DT_SERVER_RPC_FRAME_BUFFER_H_
#define DT_SERVER_RPC_FRAME_BUFFER_H_

#include <string>

#include "grpcpp/support/byte_buffer.h"
#include "server/orchestration/turn.h"

namespace dt::rpc {

// Pieces up to this size are copied together: sharing one costs an allocation and a slice of its
// own on the socket, which is more than the copy.
inline constexpr size_t kSharedSliceBytesMin = 2048;

// The bytes of `frame` in order. Large pieces are shared and live until gRPC has sent them.
grpc::ByteBuffer MakeByteBuffer(const orchestration::Frame& frame);
// A buffer that owns `bytes`.
grpc::ByteBuffer MakeByteBuffer(std::string bytes);

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_FRAME_BUFFER_H_
