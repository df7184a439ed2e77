// A store that refuses the same call each time, as one does whose rights are missing: nothing is
// repeated as fast as it fails, nobody else is held up, and all goes on when the store is mended.
#include "absl/strings/str_cat.h"
#include "server/dispatch/failure_delays.h"
#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

using Verb = FaultStore::Verb;

const absl::Status kNoRight = absl::InternalError("permission denied for function");

TEST_CASE("failure_delays_pure they double up to the maximum and end with a success") {
  const absl::Time now = absl::UnixEpoch();
  dispatch::FailureDelays<int> delays(absl::ZeroDuration());
  CHECK(delays.Failed(1, now) == absl::ZeroDuration());
  CHECK(delays.Failed(1, now) == dispatch::kFailureDelayMin);
  CHECK(delays.Failed(1, now) == 2 * dispatch::kFailureDelayMin);
  CHECK(delays.Failed(2, now) == absl::ZeroDuration());
  for (int i = 0; i < 40; ++i) delays.Failed(1, now);
  CHECK(delays.Failed(1, now) == dispatch::kFailureDelayMax);
  delays.Succeeded(1);
  CHECK(delays.Failed(1, now) == absl::ZeroDuration());
}

TEST_CASE("failure_delays_forget_pure what fails no more is forgotten, what still does is not") {
  absl::Time now = absl::UnixEpoch();
  dispatch::FailureDelays<int> delays(absl::Seconds(1));
  for (int id = 1; id <= 100'000; ++id) {
    now += absl::Milliseconds(100);
    delays.Failed(id, now);
    if (id % 50 == 0) delays.Failed(0, now);
    CHECK(delays.size() <= 2000);
  }
  CHECK(delays.Failed(0, now) == dispatch::kFailureDelayMax);
}

TEST_CASE("claims_refused a hub whose claims are refused backs off, and other hubs go on") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const HubId other = *one.database.ResolveHub("other", true);
  const FakeStream stream = one.daemon.Open(one.hub);
  const FakeStream other_stream = one.daemon.Open(other);
  one.daemon.Settle();
  one.faults.Break(Verb::kClaim, kNoRight, one.hub);
  for (int i = 0; i < 600; ++i) {  // a minute in which hints come all the time
    one.Pass(absl::Milliseconds(100));
    one.daemon.Post(dispatch::Woken{one.hub});
    one.daemon.Post(dispatch::Woken{other});
    one.daemon.Settle();
  }
  // Three types of work, each at once, after 50 ms, 100 ms and so on, and then each 5 s.
  CHECK(one.faults.broken_calls(Verb::kClaim) >= 3 * 12);
  CHECK(one.faults.broken_calls(Verb::kClaim) <= 3 * 25);
  // Work that nothing leads to but a claim.
  MemoryStore elsewhere_store(&one.database, MemoryStore::Mode::kStepped);
  FakeDaemon elsewhere(&elsewhere_store, &elsewhere_store);
  elsewhere.Start(one.hub, "c", "Chain", "2");
  elsewhere.Start(other, "c", "Chain", "2");
  elsewhere.Settle();
  one.Pass(absl::Seconds(4));
  one.daemon.RunWorkers({stream, other_stream}, functions);
  CHECK(one.database.ReadInstance(one.hub, "c", true)->status == RuntimeStatus::kPending);
  CHECK(one.database.ReadInstance(other, "c", true)->output == "1,2");
  one.faults.Mend(Verb::kClaim);
  one.Pass(absl::Seconds(7));
  one.daemon.RunWorkers({stream, other_stream}, functions);
  CHECK(one.database.ReadInstance(one.hub, "c", true)->output == "1,2");
}

TEST_CASE("releases_refused what is given back is offered to the store less and less often") {
  OneDaemon one;
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.Settle();
  one.faults.Break(Verb::kRelease, kNoRight);
  one.daemon.Close(stream);
  one.Pass(absl::Minutes(1));
  CHECK(one.faults.broken_calls(Verb::kRelease) >= 10);
  CHECK(one.faults.broken_calls(Verb::kRelease) <= 20);
  CHECK(one.database.Count().leased_instances == 1);
  one.faults.Mend(Verb::kRelease);
  one.Pass(absl::Seconds(7));
  CHECK(one.database.Count().leased_instances == 0);
}

TEST_CASE("answers_refused a turn or an activity that cannot be stored comes later each time") {
  const Verb verb = GENERATE(Verb::kCheckpoint, Verb::kCompleteTask);
  CAPTURE(static_cast<int>(verb));
  dispatch::DispatchLimits limits;
  limits.result_hold_max = absl::ZeroDuration();  // each result is stored by itself
  OneDaemon one(limits);
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "c", "Chain", "2");
  one.daemon.Settle();
  one.faults.Break(verb, kNoRight);
  for (int i = 0; i < 600; ++i) {  // a minute
    one.Pass(absl::Milliseconds(100));
    one.daemon.RunWorkers({stream}, functions);
  }
  CHECK(one.faults.broken_calls(verb) >= 10);
  CHECK(one.faults.broken_calls(verb) <= 25);
  one.faults.Mend(verb);
  one.Pass(absl::Seconds(7));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.database.ReadInstance(one.hub, "c", true)->output == "1,2");
}

TEST_CASE("reads_refused hints do not make a read that fails come sooner") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "l", "Listen", "");
  one.daemon.RunWorkers({stream}, functions);
  one.faults.Break(Verb::kReadNew, kNoRight);
  for (int i = 0; i < 600; ++i) {  // a minute
    one.Pass(absl::Milliseconds(100));
    one.daemon.Post(dispatch::Woken{one.hub});
    one.daemon.RunWorkers({stream}, functions);
  }
  CHECK(one.faults.broken_calls(Verb::kReadNew) >= 1);
  CHECK(one.faults.broken_calls(Verb::kReadNew) <= 40);
  one.faults.Mend(Verb::kReadNew);
  one.daemon.Raise(one.hub, "l", "go", "x");
  one.Pass(absl::Seconds(5));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.database.ReadInstance(one.hub, "l", true)->output == "x");
}

}  // namespace
}  // namespace dt::testing
