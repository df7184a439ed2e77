// Activities that run here at once and have no row of their own (server/dispatch/inline_tasks.h).
#include <limits>

#include "absl/strings/str_cat.h"
#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

// An orchestration "f" that has scheduled so many activities, none of which is answered, with a
// worker that takes so many at a time.
struct ScheduledFanOut : OneDaemon {
  ScheduledFanOut(int activities, int at_a_time)
      : functions(SomeFunctions(clock)), stream(Connect(at_a_time)) {
    daemon.Start(hub, "f", "FanOut", absl::StrCat(activities));
    daemon.Settle();
    daemon.Work(stream, functions);
    daemon.Settle();
  }

  FakeStream Connect(int at_a_time) {
    dispatch::StreamOptions options;
    options.activities_max = at_a_time;
    return daemon.Open(hub, options);
  }
  // The output of the orchestration, which leaves no tasks behind.
  std::string RunToEnd(const FakeStream& worker) {
    daemon.RunWorkers({worker}, functions);
    CHECK(database.Count().tasks == 0);
    return Output("f");
  }

  const Functions functions;
  const FakeStream stream;
};

TEST_CASE("inline_fan_out activities that a worker takes at once have no rows") {
  ScheduledFanOut one(1024, 2000);
  CHECK(one.database.Count().inline_tasks == 1024);
  CHECK(one.RunToEnd(one.stream) == "1024");
}

TEST_CASE("inline_fan_out too many activities for one hot row have rows") {
  ScheduledFanOut one(1025, 2000);
  CHECK(one.database.Count().inline_tasks == 0);
  CHECK(one.database.Count().tasks == 1025);
  CHECK(one.RunToEnd(one.stream) == "1025");
}

TEST_CASE("inline_fan_out activities that wait for a worker have rows") {
  ScheduledFanOut one(100, 10);
  CHECK(one.database.Count().inline_tasks == 10);
  CHECK(one.database.Count().tasks == 100);
  CHECK(one.RunToEnd(one.stream) == "100");
}

TEST_CASE("inline_last_id an id with no number behind it has a row") {
  OneDaemon one;
  Functions functions = SomeFunctions(one.clock);
  functions.orchestrators["Last"] = [](const Replay&, Actions& actions) {
    const int32_t last = std::numeric_limits<int32_t>::max();
    for (const int32_t id : {last, last - 1}) actions.Task(id, "Echo", "");
  };
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "l", "Last", "");
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  CHECK(one.database.Count().tasks == 2);
  CHECK(one.database.Count().inline_tasks == 1);
}

TEST_CASE("inline_fan_out activities of a dead daemon need no worker for their orchestration") {
  ScheduledFanOut one(300, 2000);
  REQUIRE(one.database.Count().inline_tasks == 300);
  one.database.DeclareDead(one.store.worker());
  MemoryStore store(&one.database, MemoryStore::Mode::kStepped);
  FakeDaemon other(&store, &store);
  dispatch::StreamOptions activities;
  activities.orchestration_filters = std::vector<NameFilter>{};  // none
  const FakeStream worker = other.Open(one.hub, activities);
  one.database.Sweep();
  other.RunWorkers({worker}, one.functions);
  CHECK(one.database.Count().tasks == 0);
  CHECK(one.database.Count().messages == 300);  // their results
  CHECK(one.Row("f").status == RuntimeStatus::kRunning);
  const FakeStream both = other.Open(one.hub);
  other.RunWorkers({both}, one.functions);
  CHECK(one.Output("f") == "300");
}

TEST_CASE("inline_fan_out activities of a worker that goes are run by the next") {
  ScheduledFanOut one(300, 2000);
  REQUIRE(one.database.Count().inline_tasks == 300);
  one.daemon.Close(one.stream);
  one.Pass(absl::Seconds(30));
  CHECK(one.database.Count().inline_tasks == 0);
  CHECK(one.database.Count().leased_instances == 0);
  CHECK(one.database.Count().tasks == 300);
  CHECK(one.RunToEnd(one.Connect(20)) == "300");
}

TEST_CASE("inline_returning a release that comes late means no activity of a later generation") {
  dispatch::DispatchLimits limits;
  limits.result_hold_max = absl::ZeroDuration();
  OneDaemon one(limits);
  Functions functions = SomeFunctions(one.clock);
  functions.orchestrators["Twice"] = [](const Replay& replay, Actions& actions) {
    const auto result = actions.Task(1, "Echo", replay.input());
    if (!result.has_value()) return;
    if (*result == "2") return actions.Complete(*result);
    actions.ContinueAsNew("2");
  };
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "t", "Twice", "1");
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  REQUIRE(one.database.Count().inline_tasks == 1);
  // The end of the first activity is stored, but the daemon is not told, and wants to release it.
  one.faults.FailNext(FaultStore::Verb::kCompleteTask, absl::UnavailableError("lost"),
                      /*applied=*/true);
  one.faults.Break(FaultStore::Verb::kRelease, absl::UnavailableError("refused"));
  std::optional<WorkItem> second;
  for (int items = 0; items < 4;) {
    one.Pass(absl::Milliseconds(10));
    second = stream.sink->Take();
    if (!second.has_value()) continue;
    if (++items == 4) break;
    if (second->has_activityrequest()) {
      one.daemon.Answer(one.hub, RunActivity(functions, *second));
    } else {
      one.daemon.Answer(one.hub, RunTurn(functions, *second));
    }
  }
  REQUIRE(second->activityrequest().input().value() == "2");
  REQUIRE(one.faults.broken_calls(FaultStore::Verb::kRelease) > 0);
  one.faults.Mend(FaultStore::Verb::kRelease);
  one.Pass(absl::Seconds(20));
  CHECK(stream.sink->waiting() == 0);  // the second one is at its worker already
  CHECK(one.database.Count().leased_tasks == 1);
  one.daemon.Answer(one.hub, RunActivity(functions, *second));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("t") == "2");
  CHECK(one.database.Count().tasks == 0);
}

}  // namespace
}  // namespace dt::testing
