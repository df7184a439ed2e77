#include "server/postgres_backend.h"

#include <utility>

#include "fmt/format.h"
#include "server/database.h"
#include "server/version.h"
#include "spdlog/spdlog.h"
#include "storage/postgres/lease_keeper.h"
#include "storage/postgres/postgres_store.h"

namespace dt {

absl::StatusOr<std::unique_ptr<Store>> PostgresBackend::Open(StopSignals& stop,
                                                             metrics::Metrics* metrics) {
  if (private_database_) {
    absl::StatusOr<std::unique_ptr<postgres::PrivateCluster>> cluster =
        StartPrivateCluster(config_);
    if (!cluster.ok()) return cluster.status();
    cluster_ = *std::move(cluster);
    config_.store.connection.url = cluster_->url();
  }
  absl::StatusOr<std::unique_ptr<postgres::Connection>> connection = WaitForDatabase(config_, stop);
  if (!connection.ok()) return connection.status();
  absl::StatusOr<std::string> described = DescribeDatabase(**connection);
  if (!described.ok()) return described.status();
  database_ = *std::move(described);
  absl::StatusOr<std::string> version = PrepareSchema(config_, **connection);
  if (!version.ok()) return version.status();
  schema_version_ = *std::move(version);
  postgres::PostgresStoreOptions options = config_.store;
  options.version = std::string(Version());
  options.metrics = &metrics->database;
  // Before anything asks for the time: this host's clock may be wrong by any amount.
  const absl::StatusOr<postgres::ClockEstimate> clock =
      postgres::MeasureClock(**connection, config_.store.schema);
  if (!clock.ok()) return clock.status();
  options.clock = *clock;
  auto store = std::make_unique<postgres::PostgresStore>(std::move(options));
  reads_ = store.get();
  return store;
}

std::string PostgresBackend::Describe() const {
  return fmt::format(
      "  database   {}{}\n"
      "  schema     {}, version {}\n",
      database_, cluster_ == nullptr ? "" : fmt::format(", private under {}", config_.data_dir),
      config_.store.schema, schema_version_);
}

void PostgresBackend::Close() {
  if (cluster_ == nullptr) return;
  const absl::Status status = cluster_->Stop();
  if (!status.ok()) spdlog::error("{}", std::string(status.message()));
}

}  // namespace dt
