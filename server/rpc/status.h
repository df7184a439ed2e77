// The two status types side by side: absl::Status inside the daemon, grpc::Status on the wire.
#ifndef DT_SERVER_RPC_STATUS_H_
#define DT_SERVER_RPC_STATUS_H_

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace dt::rpc {

// A status message travels in a header of the answer, which clients limit to 8 KiB; a longer one is
// cut at a character and ends with "...".
inline constexpr size_t kStatusMessageBytesMax = 2048;

// The codes have the same numbers on both sides.
grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_STATUS_H_
