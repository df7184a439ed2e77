// A health check of a running daemon, for the verb `healthcheck` and for scripts.
#ifndef DT_SERVER_RPC_HEALTH_CLIENT_H_
#define DT_SERVER_RPC_HEALTH_CLIENT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace dt::rpc {

// What is asked: whether the daemon serves, for who sends calls; or whether it answers at all, for
// who would start it again, which helps nobody while its database is away.
enum class HealthQuestion : int8_t { kServing, kAlive };

// Asks the health service at `address`: OK when it answers SERVING, or answers, else kUnavailable
// with the reason. Blocks up to `timeout`. With `tls` the connection is encrypted and the
// certificate is not verified: nothing secret is sent, and a daemon that is asked at 127.0.0.1 has
// a certificate for another name.
absl::Status CheckHealth(const std::string& address, bool tls, absl::Duration timeout,
                         HealthQuestion question = HealthQuestion::kServing);

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_HEALTH_CLIENT_H_
