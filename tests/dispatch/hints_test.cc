// Hints that bring nothing, as whoever may connect to the database can send them.
#include "server/dispatch/hint_backoff.h"
#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

using dispatch::kHintInterval;
using dispatch::kHintsAtOnce;

constexpr absl::Duration kFlood = absl::Seconds(30);
// What the flood may add to the looks of one kind: a burst, and then one for each interval.
const int64_t kLooksMax =
    kHintsAtOnce + absl::ToInt64Milliseconds(kFlood) / absl::ToInt64Milliseconds(kHintInterval);

// The waiting instance stays here, so that there is something to be read for it.
dispatch::DispatchLimits LongLinger() {
  dispatch::DispatchLimits limits;
  limits.resident_linger = absl::Hours(1);
  return limits;
}

void Flood(OneDaemon& one, HubId hub) {
  for (absl::Duration passed; passed < kFlood; passed += absl::Milliseconds(2)) {
    one.daemon.Post(dispatch::Woken{hub});
    one.Pass(absl::Milliseconds(2), absl::Milliseconds(2));
  }
}

TEST_CASE("hint_backoff_pure a burst is followed at once, and what was empty is forgotten") {
  absl::Time now = absl::UnixEpoch();
  dispatch::HintBackoff hints;
  for (int i = 0; i < kHintsAtOnce; ++i) {
    CHECK(hints.NextLook(now) == now);
    hints.Add(now);
  }
  CHECK(hints.NextLook(now) == now);
  for (int i = 0; i < 1000; ++i) {
    hints.Add(now);
    CHECK(hints.NextLook(now) == now + kHintInterval);
    now = hints.NextLook(now);
  }
  now += kHintsAtOnce * kHintInterval;
  for (int i = 0; i < kHintsAtOnce; ++i) hints.Add(now);
  CHECK(hints.NextLook(now) == now);
}

TEST_CASE("hints_forged a flood of hints makes a bounded number of looks, and work comes in time") {
  OneDaemon one(LongLinger());
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "l", "Listen", "");
  one.daemon.RunWorkers({stream}, functions);
  const auto before = one.database.Count();
  Flood(one, one.hub);
  const auto after = one.database.Count();
  CHECK(after.claims - before.claims >= kHintsAtOnce);
  CHECK(after.claims - before.claims <= 3 * kLooksMax + 10);
  CHECK(after.reads - before.reads >= kHintsAtOnce);
  CHECK(after.reads - before.reads <= kLooksMax + 20);
  // Work that nothing leads to but a claim comes while the flood goes on, after one interval.
  MemoryStore elsewhere_store(&one.database, MemoryStore::Mode::kStepped);
  FakeDaemon elsewhere(&elsewhere_store, &elsewhere_store);
  elsewhere.Start(one.hub, "c", "Chain", "2");
  elsewhere.Settle();
  for (int i = 0; i < 30; ++i) {
    one.daemon.Post(dispatch::Woken{one.hub});
    one.Pass(absl::Milliseconds(2), absl::Milliseconds(2));
  }
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("c") == "1,2");
}

TEST_CASE("hints_forged_unknown hints for hubs that have nothing here cost no look at all") {
  OneDaemon one(LongLinger());
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "l", "Listen", "");
  one.daemon.RunWorkers({stream}, functions);
  const auto before = one.database.Count();
  one.Pass(kFlood, absl::Milliseconds(2));
  const auto quiet = one.database.Count();
  Flood(one, one.hub + 1000);
  const auto flooded = one.database.Count();
  CHECK(flooded.reads - quiet.reads <= quiet.reads - before.reads);
  CHECK(flooded.claims - quiet.claims <= quiet.claims - before.claims);
}

}  // namespace
}  // namespace dt::testing
