#include "server/database.h"

#include <algorithm>
#include <filesystem>

#include "fmt/format.h"
#include "spdlog/spdlog.h"
#include "storage/postgres/migrator.h"

namespace dt {
namespace {

constexpr absl::Duration kRetryMin = absl::Milliseconds(250);
constexpr absl::Duration kRetryMax = absl::Seconds(5);

absl::Status WithAdvice(const absl::Status& status) {
  return absl::Status(
      status.code(),
      fmt::format(
          "cannot use the database: {}; check --postgres (or DURABLETASK_POSTGRES_URL), the "
          "password and the rights of the role (sql/permissions.sql)",
          std::string(status.message())));
}

}  // namespace

absl::StatusOr<std::unique_ptr<postgres::Connection>> ConnectNow(const Config& config) {
  absl::StatusOr<std::unique_ptr<postgres::Connection>> connection =
      postgres::Connection::Connect(config.store.connection);
  if (!connection.ok()) return WithAdvice(connection.status());
  return connection;
}

absl::StatusOr<std::unique_ptr<postgres::PrivateCluster>> StartPrivateCluster(
    const Config& config) {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::absolute(config.data_dir, error);
  if (config.data_dir.empty() || error) {
    return absl::InvalidArgumentError(
        fmt::format("--data-dir '{}' is no directory name", config.data_dir));
  }
  postgres::PrivateClusterOptions options;
  options.data_dir = path.lexically_normal().string();
  return postgres::PrivateCluster::Start(std::move(options));
}

absl::StatusOr<std::unique_ptr<postgres::Connection>> WaitForDatabase(const Config& config,
                                                                      StopSignals& stop) {
  for (absl::Duration pause = kRetryMin;; pause = std::min(2 * pause, kRetryMax)) {
    absl::StatusOr<std::unique_ptr<postgres::Connection>> connection =
        postgres::Connection::Connect(config.store.connection);
    if (connection.ok()) return connection;
    if (!absl::IsUnavailable(connection.status())) return WithAdvice(connection.status());
    spdlog::warn("waiting for PostgreSQL: {}", std::string(connection.status().message()));
    if (stop.WaitFor(pause)) return absl::CancelledError("stopped while waiting for PostgreSQL");
  }
}

absl::StatusOr<std::string> PrepareSchema(const Config& config, postgres::Connection& connection) {
  const absl::StatusOr<postgres::SchemaStatus> status =
      config.schema_up ? postgres::MigrateSchema(connection, config.store.schema)
                       : postgres::ReadSchemaStatus(connection, config.store.schema);
  if (!status.ok()) return status.status();
  if (!status->usable()) return absl::FailedPreconditionError(status->explanation);
  if (status->logic_differs) spdlog::warn("{}", status->explanation);
  return status->installed_version;
}

absl::StatusOr<std::string> DescribeDatabase(postgres::Connection& connection) {
  const absl::StatusOr<postgres::Result> result = connection.ExecuteOnce(
      "select current_setting('server_version'), current_database()::text, current_user::text");
  if (!result.ok()) return result.status();
  return fmt::format("PostgreSQL {}, database {}, user {}", result->Text(0, 0), result->Text(0, 1),
                     result->Text(0, 2));
}

absl::StatusOr<std::string> SchemaUp(const Config& config) {
  absl::StatusOr<std::unique_ptr<postgres::Connection>> connection = ConnectNow(config);
  if (!connection.ok()) return connection.status();
  const absl::StatusOr<postgres::SchemaStatus> status =
      postgres::MigrateSchema(**connection, config.store.schema);
  if (!status.ok()) return status.status();
  if (!status->usable()) return absl::FailedPreconditionError(status->explanation);
  return fmt::format("{}\n", status->explanation);
}

absl::StatusOr<std::string> SchemaStatus(const Config& config) {
  absl::StatusOr<std::unique_ptr<postgres::Connection>> connection = ConnectNow(config);
  if (!connection.ok()) return connection.status();
  const absl::StatusOr<postgres::SchemaStatus> status =
      postgres::ReadSchemaStatus(**connection, config.store.schema);
  if (!status.ok()) return status.status();
  // A script wants to know by the exit code.
  if (!status->usable()) return absl::FailedPreconditionError(status->explanation);
  return fmt::format("{}\n", status->explanation);
}

absl::StatusOr<std::string> SchemaDrop(const Config& config) {
  absl::StatusOr<std::unique_ptr<postgres::Connection>> connection = ConnectNow(config);
  if (!connection.ok()) return connection.status();
  const absl::Status status = postgres::DropSchema(**connection, config.store.schema);
  if (!status.ok()) return status;
  return fmt::format("schema {} is dropped\n", config.store.schema);
}

absl::StatusOr<std::string> SchemaScript(const Config& config) {
  return postgres::MigrationScript(config.store.schema);
}

}  // namespace dt
