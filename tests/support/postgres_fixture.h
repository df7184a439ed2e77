// PostgreSQL for tests: one private server per test program, made at the first use in a temporary
// directory and removed at the end, and a fresh database for every test case that asks for one.
//
// fsync is off, so a test database does not survive a crash of the machine; it survives Kill(),
// which only ends processes.
//
// Threads. Use it from the thread that runs the tests.
#ifndef DT_TESTS_SUPPORT_POSTGRES_FIXTURE_H_
#define DT_TESTS_SUPPORT_POSTGRES_FIXTURE_H_

#include <memory>
#include <string>

#include "storage/postgres/connection.h"
#include "storage/postgres/private_cluster.h"

namespace dt::testing {

// Aborts the test program with the status if it is not OK: for what a test cannot go on without.
void MustBeOk(const absl::Status& status);

template <typename T>
T ValueOf(absl::StatusOr<T> value) {
  MustBeOk(value.status());
  return *std::move(value);
}

class PostgresFixture {
 public:
  // The server of this program, started if it does not run.
  static PostgresFixture& Shared();

  // Use Shared() unless the test needs a server with settings of its own.
  explicit PostgresFixture(postgres::PrivateClusterOptions options);
  ~PostgresFixture();
  PostgresFixture(const PostgresFixture&) = delete;
  PostgresFixture& operator=(const PostgresFixture&) = delete;

  // The URL of a new, empty database (UTF8, collation C).
  std::string NewDatabase();
  // A session with it, with default options.
  static std::unique_ptr<postgres::Connection> Connect(const std::string& url);

  void Restart();     // fast shutdown, start
  void Stop();        // fast shutdown
  void Kill();        // kill -9 of the server and its sessions
  void StartAgain();  // after Stop or Kill

  postgres::PrivateCluster& cluster() { return *cluster_; }

 private:
  std::string directory_;
  std::unique_ptr<postgres::PrivateCluster> cluster_;
  int databases_ = 0;
};

}  // namespace dt::testing

#endif  // DT_TESTS_SUPPORT_POSTGRES_FIXTURE_H_
