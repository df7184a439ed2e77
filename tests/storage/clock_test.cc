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
    options.clock = testing::ValueOf(MeasureClock(*connection, "dt"));
  }
  LeaseKeeper keeper(
      options, [](WorkerId) {}, [] {});
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

// A reading of a server whose clock is one hour ahead: sent at `at`, answered after `trip`, and
// read by the server after `until_read` of it.
ClockReading ReadingAt(absl::Duration at, absl::Duration trip, absl::Duration until_read) {
  const absl::Time sent = absl::UnixEpoch() + at;
  return {sent + until_read + absl::Hours(1), sent, sent + trip};
}

TEST_CASE("clock_estimate_keeps_the_most_certain_reading") {
  constexpr absl::Duration kMs = absl::Milliseconds(1);
  ClockEstimate clock;
  CHECK_FALSE(clock.known());
  // The server read its clock as the question came, and the answer was slow: 15 ms too late.
  clock.Add(ReadingAt(absl::ZeroDuration(), 30 * kMs, absl::ZeroDuration()));
  REQUIRE(clock.known());
  CHECK(clock.offset() == absl::Hours(1) - 15 * kMs);
  clock.Add(ReadingAt(absl::Seconds(1), kMs, kMs / 2));
  CHECK(clock.offset() == absl::Hours(1));
  SECTION("a slow one says nothing new") {
    clock.Add(ReadingAt(absl::Seconds(11), 30 * kMs, 30 * kMs));
    CHECK(clock.offset() == absl::Hours(1));
  }
  SECTION("one that is as certain is newer") {
    clock.Add(ReadingAt(absl::Seconds(11), kMs, kMs));
    CHECK(clock.offset() == absl::Hours(1) + kMs / 2);
  }
  SECTION("clocks drift apart, so an old one gives way") {
    clock.Add(ReadingAt(absl::Seconds(601), 30 * kMs, 30 * kMs));
    CHECK(clock.offset() == absl::Hours(1) + 15 * kMs);
  }
  SECTION("a clock that was set is seen at once") {
    ClockReading set = ReadingAt(absl::Seconds(11), 30 * kMs, 15 * kMs);
    set.server -= absl::Minutes(1);
    clock.Add(set);
    CHECK(clock.offset() == absl::Hours(1) - absl::Minutes(1));
  }
}

}  // namespace
}  // namespace dt::postgres
