// The keeper's session tells other daemons that this process lives, so it is there whenever the
// server is.
#include "storage/postgres/lease_keeper.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/sql/schema.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using postgres::LeaseKeeper;
using postgres::LeaseKeeperOptions;

TEST_CASE("keeper_whose_session_ends_has_another_at_once") {
  LeaseKeeperOptions options;
  options.connection.url = PostgresFixture::Shared().NewDatabase();
  options.lease = absl::Hours(1);  // no renewal comes by itself
  auto watcher = PostgresFixture::Connect(options.connection.url);
  MustBeOk(postgres::MigrateSchema(*watcher, "dt").status());
  LeaseKeeper keeper(
      options, [](WorkerId) {}, [] {});
  keeper.Start();
  const auto session = [&] {
    postgres::Result found = Run(*watcher,
                                 "select w.session_pid from dt.Workers w join pg_stat_activity a "
                                 "on (a.pid, a.backend_start) = (w.session_pid, w.session_start)");
    return found.rows() == 0 ? 0 : found.Int(0, 0);
  };
  while (session() == 0 || keeper.worker() == 0) absl::SleepFor(absl::Milliseconds(1));
  const WorkerId worker = keeper.worker();
  const int64_t first = session();
  Run(*watcher, absl::StrCat("select pg_terminate_backend(", first, ")"));
  int64_t second = first;
  while (second == first || second == 0) {
    absl::SleepFor(absl::Milliseconds(1));
    second = session();
  }
  CHECK(keeper.worker() == worker);  // nothing was lost with it
  keeper.Stop();
  CHECK(Run(*watcher, "select from dt.Workers").rows() == 0);
}

}  // namespace
}  // namespace dt::testing
