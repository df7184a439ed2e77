// A health check of a running daemon, for the verb `healthcheck` and for scripts.
#ifndef DT_SERVER_RPC_HEALTH_CLIENT_H_
#define DT_SERVER_RPC_HEALTH_CLIENT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace dt::rpc {

// Asks the health service at `address`: OK when it answers SERVING, else kUnavailable with the
// reason. Blocks up to `timeout`.
absl::Status CheckHealth(const std::string& address, absl::Duration timeout);

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_HEALTH_CLIENT_H_
