// The store's clock is the database's, whatever the host's says.
#include "absl/time/clock.h"

#include "storage/postgres/lease_keeper.h"
#include "storage/postgres/migrator.h"
#include "tests/support/catch.h"
#include "tests/support/postgres_fixture.h"

namespace dt::postgres {
namespace {

using testing::MustBeOk;
using testing::PostgresFixture;

// A database whose clock is so far from that of this host.
LeaseKeeperOptions WithClockShift(const std::string& shift) {
  LeaseKeeperOptions options;
  options.connection.url = PostgresFixture::Shared().NewDatabase();
  auto session = PostgresFixture::Connect(options.connection.url);
  MustBeOk(MigrateSchema(*session, "dt").status());
  options.connection.extra_settings = {{"dt.clock_shift", shift}};
  return options;
}

TEST_CASE("clock_of_a_host_that_is_ahead_is_never_taken_for_the_database's") {
  LeaseKeeperOptions options = WithClockShift("-1 h");
  const bool measured_before = GENERATE(false, true);
  CAPTURE(measured_before);
  if (measured_before) {
    auto connection = testing::ValueOf(Connection::Connect(options.connection));
    options.clock_offset = testing::ValueOf(MeasureClock(*connection, "dt"));
  }
  LeaseKeeper keeper(options, [](WorkerId) {});
  if (!measured_before) keeper.Start();
  // Before it is registered, as anything asks.
  const absl::Time now = keeper.Now();
  CHECK(absl::AbsDuration(absl::Now() - absl::Hours(1) - now) < absl::Minutes(1));
  if (measured_before) keeper.Start();
  while (keeper.worker() == 0) absl::SleepFor(absl::Milliseconds(1));
  CHECK(absl::AbsDuration(absl::Now() - absl::Hours(1) - keeper.Now()) < absl::Minutes(1));
  CHECK(keeper.Now() >= now);
  keeper.Stop();
}

}  // namespace
}  // namespace dt::postgres
