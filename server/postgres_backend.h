// The backend of `serve` and `dev`: a PostgreSQL that is waited for, or one of its own, and a
// schema that fits this program.
#ifndef DT_SERVER_POSTGRES_BACKEND_H_
#define DT_SERVER_POSTGRES_BACKEND_H_

#include <memory>
#include <string>

#include "server/backend.h"
#include "server/config.h"
#include "storage/postgres/private_cluster.h"

namespace dt {

class PostgresBackend : public Backend {
 public:
  // `private_database`: start a PostgreSQL of its own.
  PostgresBackend(const Config& config, bool private_database)
      : config_(config), private_database_(private_database) {}

  absl::StatusOr<std::unique_ptr<Store>> Open(StopSignals& stop,
                                              metrics::Metrics* metrics) override;
  ManagementReads* management_reads() override { return reads_; }
  std::string Describe() const override;
  void Close() override;

 private:
  Config config_;
  const bool private_database_;
  std::unique_ptr<postgres::PrivateCluster> cluster_;
  ManagementReads* reads_ = nullptr;  // the store
  std::string database_;              // described
  std::string schema_version_;        // as found or migrated to
};

}  // namespace dt

#endif  // DT_SERVER_POSTGRES_BACKEND_H_
