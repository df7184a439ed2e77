// GetWorkItemsRequest, checked and as the dispatcher wants it. Pure.
#ifndef DT_SERVER_RPC_STREAM_OPTIONS_H_
#define DT_SERVER_RPC_STREAM_OPTIONS_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "proto/orchestrator_service.pb.h"
#include "server/dispatch/dispatch_thread.h"

namespace dt::rpc {

struct StreamLimits {
  int items_max = 10000;          // per kind; a worker that asks for more gets this many
  int filters_max = 10000;        // names of all kinds together
  int filter_versions_max = 100;  // of one entry
  size_t name_bytes_max = 1024;
  size_t version_bytes_max = 256;
};

// Everything but hub and peer. kInvalidArgument with field, value and limit.
absl::StatusOr<dispatch::StreamOptions> BuildStreamOptions(const GetWorkItemsRequest& request,
                                                           std::string_view user_agent,
                                                           const StreamLimits& limits);

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_STREAM_OPTIONS_H_
