// The database as the verbs of the program see it: waiting for it, and what to tell about it.
#ifndef DT_SERVER_DATABASE_H_
#define DT_SERVER_DATABASE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/config.h"
#include "server/stop_signals.h"
#include "storage/postgres/connection.h"
#include "storage/postgres/private_cluster.h"

namespace dt {

// The private PostgreSQL of `dev`, started if it does not run yet.
absl::StatusOr<std::unique_ptr<postgres::PrivateCluster>> StartPrivateCluster(const Config& config);

// Connects at once or says what to do, for verbs that look and end.
absl::StatusOr<std::unique_ptr<postgres::Connection>> ConnectNow(const Config& config);

// Connects, waiting with back-off while the server is not there yet. Any other failure (wrong
// password, missing database or right) is returned at once with what to do. kCancelled when a stop
// is asked for.
absl::StatusOr<std::unique_ptr<postgres::Connection>> WaitForDatabase(const Config& config,
                                                                      StopSignals& stop);

// Checks that the schema fits this program, after bringing it up if the settings say so. Returns
// its version; kFailedPrecondition with what to do when it does not fit.
absl::StatusOr<std::string> PrepareSchema(const Config& config, postgres::Connection& connection);

// "PostgreSQL 15.8, database durabletask, user postgres"; never a password.
absl::StatusOr<std::string> DescribeDatabase(postgres::Connection& connection);

// The verbs `schema ...`: what to print, or why it failed.
absl::StatusOr<std::string> SchemaUp(const Config& config);
absl::StatusOr<std::string> SchemaStatus(const Config& config);
absl::StatusOr<std::string> SchemaDrop(const Config& config);
absl::StatusOr<std::string> SchemaScript(const Config& config);

}  // namespace dt

#endif  // DT_SERVER_DATABASE_H_
