// Streams: credits, loss, abandons, pings, the end.
#include "absl/strings/str_cat.h"
#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

TEST_CASE("health_ping an idle stream hears a ping every 30 s and stays open") {
  OneDaemon one;
  const FakeStream stream = one.daemon.Open(one.hub);
  one.Pass(absl::Seconds(130), absl::Seconds(1));
  CHECK(stream.sink->pings() == 4);
  CHECK(stream.sink->finished().ok());
}

TEST_CASE("stream_never_ok a stream ends with UNAVAILABLE, at the shutdown and not before") {
  OneDaemon one;
  const FakeStream stream = one.daemon.Open(one.hub);
  one.Pass(absl::Minutes(5), absl::Seconds(1));
  CHECK(stream.sink->finished().ok());
  one.daemon.Post(dispatch::DrainBegun{});
  one.daemon.Settle();
  CHECK(stream.sink->finished().ok());
  one.daemon.Post(dispatch::DrainEnded{});
  one.daemon.Settle();
  CHECK(absl::IsUnavailable(stream.sink->finished()));
}

TEST_CASE("stream_drop items in flight go to another stream at once") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream first = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "f", "FanOut", "3");
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.Settle();
  one.daemon.Work(first, functions);
  one.daemon.Settle();
  CHECK(first.sink->waiting() == 4);
  const FakeStream second = one.daemon.Open(one.hub);
  one.daemon.Close(first);
  one.daemon.Settle();
  CHECK(second.sink->waiting() == 4);
  one.daemon.RunWorkers({second}, functions);
  CHECK(one.Output("f") == "3");
  CHECK(one.Output("c") == "1");
}

TEST_CASE("stream_drop_last without any stream all leases are given back") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "f", "FanOut", "3");
  one.daemon.Start(one.hub, "l", "Listen", "");
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  one.daemon.Close(stream);
  one.daemon.Settle();
  CHECK(one.database.Count().leased_instances == 0);
  CHECK(one.database.Count().leased_tasks == 0);
  CHECK(one.database.Count().live == 2);
}

TEST_CASE("stream_drop_last_queued activities that waited for a credit are given back, too") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  dispatch::StreamOptions three;
  three.activities_max = 3;
  const FakeStream first = one.daemon.Open(one.hub, three);
  const FakeStream second = one.daemon.Open(one.hub, three);
  one.daemon.Start(one.hub, "f", "FanOut", "6");
  one.daemon.Settle();
  one.daemon.Work(first.sink->waiting() > 0 ? first : second, functions);
  one.daemon.Settle();
  REQUIRE(first.sink->waiting() == 3);
  REQUIRE(second.sink->waiting() == 3);
  one.daemon.Close(first);
  one.daemon.Settle();
  CHECK(one.database.Count().leased_tasks == 6);
  one.daemon.Close(second);
  one.daemon.Settle();
  CHECK(one.database.Count().leased_tasks == 0);
}

TEST_CASE("stream_drop_many thousands are given back in parts, and go on where a worker is first") {
  constexpr size_t kInstances = 1500;
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  dispatch::StreamOptions options;
  options.orchestrations_max = kInstances;
  options.activities_max = kInstances;
  const FakeStream first = one.daemon.Open(one.hub, options);
  for (size_t i = 0; i < kInstances; ++i) {
    one.daemon.Start(one.hub, absl::StrCat(i), "Chain", "2");
  }
  one.daemon.Settle();
  // Turns and activities are at the worker.
  for (size_t i = 0; i < kInstances / 2; ++i) one.daemon.Work(first, functions);
  one.daemon.Settle();
  REQUIRE(first.sink->waiting() == kInstances);
  one.daemon.Close(first);

  SECTION("a worker that is back at once gets most of them without a call of the store") {
    one.daemon.Turn();
    CHECK(one.daemon.dispatcher().Count().residents > kInstances / 2);
    CHECK(one.daemon.dispatcher().Count().residents < kInstances);
    const FakeStream second = one.daemon.Open(one.hub, options);
    one.daemon.Turn();
    CHECK(second.sink->waiting() > kInstances / 2);
    one.daemon.RunWorkers({second}, functions);
  }
  SECTION("without one, all of them are free for other daemons") {
    one.daemon.Settle();
    CHECK(one.database.Count().leased_instances == 0);
    CHECK(one.database.Count().leased_tasks == 0);
    MemoryStore store(&one.database, MemoryStore::Mode::kStepped);
    FakeDaemon other(&store, &store);
    other.RunWorkers({other.Open(one.hub, options)}, functions);
  }
  for (size_t i = 0; i < kInstances; ++i) CHECK(one.Output(absl::StrCat(i)) == "1,2");
}

TEST_CASE("stream_not_reading a stream that answers nothing stays open, others are served") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream deaf = one.daemon.Open(one.hub);
  const FakeStream busy = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "0", "Chain", "1");
  one.daemon.Settle();
  for (int i = 1; i <= 20; ++i) one.daemon.Start(one.hub, absl::StrCat(i), "Chain", "1");
  one.daemon.RunWorkers({busy}, functions);
  one.Pass(absl::Seconds(60), absl::Seconds(1));
  one.daemon.RunWorkers({busy}, functions);
  CHECK(deaf.sink->finished().ok());
  int completed = 0;
  for (int i = 0; i <= 20; ++i) {
    completed += one.Row(absl::StrCat(i)).status == RuntimeStatus::kCompleted ? 1 : 0;
  }
  CHECK(completed + static_cast<int>(deaf.sink->waiting()) == 21);
  CHECK(completed >= 10);
}

TEST_CASE("two_streams both get work and every turn is committed once") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream first = one.daemon.Open(one.hub);
  const FakeStream second = one.daemon.Open(one.hub);
  for (int i = 0; i < 100; ++i) one.daemon.Start(one.hub, absl::StrCat(i), "Chain", "2");
  one.daemon.Settle();
  CHECK(first.sink->waiting() == 50);
  CHECK(second.sink->waiting() == 50);
  one.daemon.RunWorkers({first, second}, functions);
  for (int i = 0; i < 100; ++i) CHECK(one.Output(absl::StrCat(i)) == "1,2");
  CHECK(one.database.Count().checkpoints == 300);
}

TEST_CASE("two_streams_idle the workers of an idle hub take turns") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream streams[] = {one.daemon.Open(one.hub), one.daemon.Open(one.hub)};
  for (int i = 0; i < 6; ++i) {
    one.daemon.Start(one.hub, absl::StrCat("s", i), "Sleep", "1000");
    one.daemon.Settle();
    REQUIRE(streams[i % 2].sink->waiting() == 1);
    one.daemon.Work(streams[i % 2], functions);
    one.daemon.Settle();
  }
}

TEST_CASE("limits_zero a limit of 0 is the server's default") {
  OneDaemon one;
  const FakeStream stream = one.daemon.Open(one.hub);
  for (int i = 0; i < 150; ++i) one.daemon.Start(one.hub, absl::StrCat(i), "Chain", "1");
  one.daemon.Settle();
  CHECK(stream.sink->waiting() == 100);
}

TEST_CASE("limits_respected never more than two unanswered items of a kind") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  dispatch::StreamOptions options;
  options.orchestrations_max = options.activities_max = 2;
  const FakeStream stream = one.daemon.Open(one.hub, options);
  for (int i = 0; i < 20; ++i) one.daemon.Start(one.hub, absl::StrCat(i), "FanOut", "5");
  int answered = 0;
  for (bool worked = true; worked;) {
    one.daemon.Settle();
    CHECK(one.daemon.dispatcher().Count().items_in_flight <= 4);
    CHECK(stream.sink->waiting() <= 4);
    worked = one.daemon.Work(stream, functions);
    answered += worked ? 1 : 0;
  }
  CHECK(answered >= 20 * 7);
  for (int i = 0; i < 20; ++i) CHECK(one.Output(absl::StrCat(i)) == "5");
}

TEST_CASE("abandon_reject_version another stream gets it at once, the same at growing intervals") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream a = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.Settle();
  std::vector<absl::Duration> waits;
  for (int i = 0; i < 5; ++i) {
    one.daemon.Abandon(one.hub, a.sink->Take().value());
    const absl::Time abandoned = one.clock.Now();
    one.daemon.Settle();
    CHECK(a.sink->waiting() == 0);
    while (a.sink->waiting() == 0 && one.clock.Now() < abandoned + absl::Minutes(2)) {
      one.Pass(absl::Milliseconds(100));
    }
    waits.push_back(one.clock.Now() - abandoned);
    CHECK(one.Row("c").status == RuntimeStatus::kPending);
  }
  for (size_t i = 0; i < waits.size(); ++i) {
    CHECK(waits[i] >= absl::Seconds(1 << i));
    CHECK(waits[i] <= absl::Seconds(1 << i) + absl::Seconds(5));
  }
  one.daemon.Abandon(one.hub, a.sink->Take().value());
  const FakeStream b = one.daemon.Open(one.hub);
  one.daemon.Settle();
  CHECK(a.sink->waiting() == 0);
  REQUIRE(b.sink->waiting() == 1);
  one.daemon.RunWorkers({b}, functions);
}

TEST_CASE("abandon_other_daemon what its streams gave back is free for another daemon at once") {
  OneDaemon one;
  MemoryStore store(&one.database, MemoryStore::Mode::kStepped);
  FakeDaemon other(&store, &store, {});
  const Functions functions = SomeFunctions(one.clock);
  dispatch::StreamOptions turns;
  turns.activity_filters = std::vector<NameFilter>{};
  dispatch::StreamOptions activities;
  activities.orchestration_filters = std::vector<NameFilter>{};
  const FakeStream a = one.daemon.Open(one.hub, turns);
  const FakeStream a_tasks = one.daemon.Open(one.hub, activities);
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.Settle();
  one.daemon.Abandon(one.hub, a.sink->Take().value());
  one.daemon.Settle();
  const FakeStream b = other.Open(one.hub, turns);
  other.Settle();
  REQUIRE(b.sink->waiting() == 1);
  other.Answer(one.hub, RunTurn(functions, b.sink->Take().value()));
  other.Settle();
  one.Pass(absl::Seconds(10));  // the activity is found by a poll
  REQUIRE(a_tasks.sink->waiting() == 1);
  one.daemon.Abandon(one.hub, a_tasks.sink->Take().value());
  one.daemon.Settle();
  const FakeStream b_tasks = other.Open(one.hub, activities);
  other.Settle();
  CHECK(b_tasks.sink->waiting() == 1);
  other.RunWorkers({b, b_tasks}, functions);
}

TEST_CASE("abandon_no_lost_lease abandons do not count for the poison limit") {
  dispatch::DispatchLimits limits;
  limits.lost_leases_max = 2;
  OneDaemon one(limits);
  const FakeStream a = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "c", "Chain", "1");
  for (int i = 0; i < 6; ++i) {
    one.daemon.Settle();
    while (a.sink->waiting() == 0) one.Pass(absl::Seconds(1));
    one.daemon.Abandon(one.hub, a.sink->Take().value());
  }
  one.daemon.Settle();
  CHECK(one.Row("c").status == RuntimeStatus::kPending);
}

TEST_CASE("activity_version_fail_silent an activity that is never answered comes again") {
  dispatch::DispatchLimits limits;
  limits.activity_hold_max = absl::Minutes(5);
  OneDaemon one(limits);
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  const WorkItem silent = stream.sink->Take().value();
  one.Pass(absl::Minutes(4), absl::Seconds(1));
  CHECK(stream.sink->waiting() == 0);
  one.Pass(absl::Minutes(2), absl::Seconds(1));
  REQUIRE(stream.sink->waiting() == 1);
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("c") == "1");
  one.daemon.Answer(one.hub, RunActivity(functions, silent));
  one.daemon.Settle();
}

TEST_CASE("poison_orchestration a turn that no worker survives fails its orchestration") {
  dispatch::DispatchLimits limits;
  limits.lost_leases_max = 3;
  OneDaemon one(limits);
  one.daemon.Start(one.hub, "c", "Chain", "1");
  int dispatches = 0;
  std::vector<absl::Duration> waits;
  for (int i = 0; i < 10; ++i) {
    const FakeStream stream = one.daemon.Open(one.hub);
    const absl::Time opened = one.clock.Now();
    one.daemon.Settle();
    while (stream.sink->waiting() == 0 && one.clock.Now() < opened + absl::Seconds(20)) {
      one.Pass(absl::Milliseconds(100));
    }
    if (stream.sink->waiting() > 0) waits.push_back(one.clock.Now() - opened);
    dispatches += static_cast<int>(stream.sink->waiting());
    one.daemon.Close(stream);
    one.daemon.Settle();
  }
  CHECK(dispatches == 4);
  // The first redelivery comes at once, the next ones at growing distances.
  REQUIRE(waits.size() == 4);
  CHECK(waits[0] == absl::ZeroDuration());
  CHECK(waits[1] == absl::ZeroDuration());
  CHECK(waits[2] >= absl::Seconds(1));
  CHECK(waits[3] >= absl::Seconds(2));
  const InstanceRow row = one.Row("c");
  CHECK(row.status == RuntimeStatus::kFailed);
  TaskFailureDetails details;
  REQUIRE(details.ParseFromString(row.failure.value()));
  CHECK(details.errortype() == "PoisonMessage");
}

TEST_CASE("terminate_unanswered an orchestration that breaks streams can be terminated") {
  OneDaemon one;
  // After its first turn: one that never had any is ended by the store.
  const FakeStream good = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "c", "Listen", "");
  one.daemon.RunWorkers({good}, SomeFunctions(one.clock));
  one.daemon.Close(good);
  one.daemon.Raise(one.hub, "c", "other", "x");
  const auto lose_a_dispatch = [&one] {
    const FakeStream stream = one.daemon.Open(one.hub);
    one.daemon.Settle();
    for (int i = 0; i < 600 && stream.sink->waiting() == 0; ++i) one.Pass(absl::Milliseconds(100));
    const size_t dispatches = stream.sink->waiting();
    one.daemon.Close(stream);
    one.daemon.Settle();
    return dispatches;
  };
  for (int i = 0; i < 3; ++i) REQUIRE(lose_a_dispatch() == 1);
  one.daemon.Terminate(one.hub, "c", "enough");
  one.daemon.Settle();
  CHECK(lose_a_dispatch() == 0);
  CHECK(one.Row("c").status == RuntimeStatus::kTerminated);
}

TEST_CASE("poison_activity an activity that no worker survives fails") {
  dispatch::DispatchLimits limits;
  limits.lost_leases_max = 3;
  OneDaemon one(limits);
  const Functions functions = SomeFunctions(one.clock);
  dispatch::StreamOptions turns;
  turns.activity_filters = std::vector<NameFilter>{};
  dispatch::StreamOptions activities;
  activities.orchestration_filters = std::vector<NameFilter>{};
  const FakeStream orchestrator = one.daemon.Open(one.hub, turns);
  one.daemon.Start(one.hub, "c", "Chain", "1");
  int dispatches = 0;
  for (int i = 0; i < 10; ++i) {
    const FakeStream stream = one.daemon.Open(one.hub, activities);
    one.daemon.RunWorkers({orchestrator}, functions);
    for (int waited = 0; waited < 200 && stream.sink->waiting() == 0; ++waited) {
      one.Pass(absl::Milliseconds(100));
    }
    dispatches += static_cast<int>(stream.sink->waiting());
    one.daemon.Close(stream);
    one.daemon.RunWorkers({orchestrator}, functions);
  }
  CHECK(dispatches == 4);
  CHECK(one.Output("c") == "!PoisonMessage");
}

TEST_CASE("hub_isolation one id in two hubs is two instances, each for its own workers") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const HubId other = *one.database.ResolveHub("other", true);
  const FakeStream here = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "same", "Chain", "1");
  one.daemon.Start(other, "same", "Chain", "2");
  one.daemon.RunWorkers({here}, functions);
  CHECK(one.Output("same") == "1");
  CHECK(one.database.ReadInstance(other, "same", true)->status == RuntimeStatus::kPending);
  const FakeStream there = one.daemon.Open(other);
  one.daemon.RunWorkers({there}, functions);
  CHECK(one.database.ReadInstance(other, "same", true)->output == "1,2");
}

TEST_CASE("fair_fan_out a small orchestration is not held up by a large fan-out in memory") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  dispatch::StreamOptions large;
  large.activities_max = 50;
  const FakeStream first = one.daemon.Open(one.hub, large);
  one.daemon.Start(one.hub, "big", "FanOut", "50");
  one.daemon.Settle();
  one.daemon.Work(first, functions);
  one.daemon.Settle();
  one.daemon.Start(one.hub, "small", "Chain", "1");
  one.daemon.Settle();
  while (first.sink->waiting() > 0) {
    const WorkItem item = first.sink->Take().value();
    if (item.has_orchestratorrequest()) one.daemon.Answer(one.hub, RunTurn(functions, item));
  }
  one.daemon.Settle();
  dispatch::StreamOptions narrow;
  narrow.activities_max = 1;
  const FakeStream second = one.daemon.Open(one.hub, narrow);
  one.daemon.Settle();
  one.daemon.Close(first);
  int before_small = 0;
  for (int i = 0; i < 200 && one.Row("small").status != RuntimeStatus::kCompleted; ++i) {
    one.daemon.Settle();
    if (one.daemon.Work(second, functions)) ++before_small;
  }
  CHECK(one.Row("small").status == RuntimeStatus::kCompleted);
  CHECK(before_small < 15);
  one.daemon.RunWorkers({second}, functions);
  CHECK(one.Output("big") == "50");
}

}  // namespace
}  // namespace dt::testing
