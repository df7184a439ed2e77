// The ways an orchestration takes through the dispatcher, from its start to its end.
#include "absl/strings/str_cat.h"
#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

TEST_CASE("chain_in_memory a chain runs from its start to its end without a claim that finds it") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Settle();
  const int64_t claims = one.database.Count().claims;
  one.daemon.Start(one.hub, "c", "Chain", "5");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Row("c").status == RuntimeStatus::kCompleted);
  CHECK(one.Output("c") == "1,2,3,4,5");
  CHECK(one.database.Count().checkpoints == 6);
  CHECK(one.database.Count().claims == claims);
  CHECK(one.database.Count().leased_instances == 0);
  CHECK(one.database.Count().tasks == 0);
  CHECK(one.daemon.dispatcher().Count().residents == 0);
}

TEST_CASE("fan_out_beyond_credits what no credit can take stays free and is claimed later") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  dispatch::StreamOptions options;
  options.activities_max = 10;
  const FakeStream stream = one.daemon.Open(one.hub, options);
  one.daemon.Start(one.hub, "f", "FanOut", "100");
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  CHECK(stream.sink->waiting() == 10);
  CHECK(one.database.Count().leased_tasks == 10);
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("f") == "100");
}

TEST_CASE(
    "claim_in_pieces a large backlog is claimed in pieces, one after the other without a pause") {
  OneDaemon one;
  for (int i = 0; i < 1200; ++i) {
    one.daemon.Start(one.hub, absl::StrCat("c", i), "Chain", "1");
  }
  one.daemon.Settle();
  dispatch::StreamOptions options;
  options.orchestrations_max = 5000;
  const FakeStream stream = one.daemon.Open(one.hub, options);
  const int64_t before = one.database.Count().claims;
  while (stream.sink->waiting() == 0) REQUIRE(one.daemon.Turn() + one.store.RunAll() > 0);
  CHECK(stream.sink->waiting() == 500);
  one.daemon.Settle();  // no time passes
  CHECK(stream.sink->waiting() == 1200);
  CHECK(one.database.Count().claims >= before + 3);
}

TEST_CASE(
    "lease_beside_ready_work new work is leased while older work is ready, if credits suffice") {
  OneDaemon one;
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "first", "Listen", "");
  one.daemon.Settle();
  one.daemon.RunWorkers({stream}, SomeFunctions(one.clock));
  const int64_t claims = one.database.Count().claims;
  one.daemon.Raise(one.hub, "first", "other", "");
  one.store.RunAll();  // its delivery and the start are one step
  one.daemon.Start(one.hub, "second", "Listen", "");
  one.daemon.Settle();
  CHECK(one.database.Count().leased_instances == 2);
  CHECK(stream.sink->waiting() == 2);
  CHECK(one.database.Count().claims == claims);
}

TEST_CASE("children_in_memory children and their results go through memory") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Settle();
  const int64_t claims = one.database.Count().claims;
  one.daemon.Start(one.hub, "p", "Parent", "3");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("p") == "1,2;1,2;1,2");
  CHECK(one.database.Count().claims == claims);
}

TEST_CASE("timer_in_memory a timer of a resident fires at its time and not before") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "s", "Sleep", "3");
  one.daemon.RunWorkers({stream}, functions);
  one.clock.Advance(absl::Milliseconds(3000));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Row("s").status == RuntimeStatus::kRunning);
  one.clock.Advance(absl::Milliseconds(1));  // the first full millisecond after it
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("s") == "slept");
}

TEST_CASE("timer_after_linger a timer of an instance that was given up fires by a claim") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "s", "Sleep", "60");
  one.daemon.RunWorkers({stream}, functions);
  one.Pass(absl::Seconds(20));
  CHECK(one.daemon.dispatcher().Count().residents == 0);
  CHECK(one.database.LeaseOf(one.hub, "s") == 0);
  one.Pass(absl::Seconds(39));
  CHECK(stream.sink->waiting() == 0);
  one.Pass(absl::Seconds(2));
  CHECK(stream.sink->waiting() == 1);
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("s") == "slept");
}

TEST_CASE("event_to_resident an event wakes a resident without a read") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "l", "Listen", "");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Row("l").status == RuntimeStatus::kRunning);
  one.daemon.Raise(one.hub, "l", "go", "now");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("l") == "now");
}

}  // namespace
}  // namespace dt::testing
