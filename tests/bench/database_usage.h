// What a server's PostgreSQL did: commits, statements and WAL between two moments.
#ifndef DT_TESTS_BENCH_DATABASE_USAGE_H_
#define DT_TESTS_BENCH_DATABASE_USAGE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

struct pg_conn;

namespace dt::bench {

// Counters since some start; only differences mean something.
struct DatabaseCounters {
  int64_t commits = 0;                // of the database, from pg_stat_database
  int64_t wal_bytes = 0;              // of the whole cluster
  std::optional<int64_t> statements;  // of the database, where pg_stat_statements is loaded
};

// A connection of its own. Blocking; one thread at a time.
class DatabaseUsage {
 public:
  // `conninfo` is a libpq URL or keyword string.
  static absl::StatusOr<std::unique_ptr<DatabaseUsage>> Open(const std::string& conninfo);
  ~DatabaseUsage();

  absl::StatusOr<DatabaseCounters> Read();

  // The postmaster's pid, when the server runs on this machine and in this pid namespace.
  std::optional<int> postmaster_pid() const { return postmaster_pid_; }

 private:
  explicit DatabaseUsage(pg_conn* connection);

  pg_conn* const connection_;
  std::optional<int> postmaster_pid_;
  std::string query_;
};

// Where the PostgreSQL of the daemon `daemon_pid` is: the --postgres of its command line, or the
// server that it runs as its own child. nullopt when it cannot be told.
std::optional<std::string> FindDaemonDatabase(int daemon_pid);

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_DATABASE_USAGE_H_
