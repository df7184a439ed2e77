// An orchestration that its own worker rewinds (RULES.md 4.28), as the dispatcher sees it. That
// nothing is lost by it is tested over gRPC in tests/rpc/rewind_test.cc.
#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

// The answer that takes the orchestration back to its start.
OrchestratorResponse BackToStart(const WorkItem& item) {
  const OrchestratorRequest& request = item.orchestratorrequest();
  OrchestratorResponse response;
  response.set_instanceid(request.instanceid());
  response.set_completiontoken(item.completiontoken());
  auto* history = response.add_actions()->mutable_rewindorchestration()->mutable_newhistory();
  for (const auto* events : {&request.pastevents(), &request.newevents()}) {
    for (const HistoryEvent& event : *events) {
      if (event.has_executionstarted()) *history->Add() = event;
    }
  }
  return response;
}

// The second turn of an orchestration "c" that waits for its first activity no more.
WorkItem SecondTurn(FakeDaemon& daemon, HubId hub, const FakeStream& stream,
                    const Functions& functions) {
  daemon.Start(hub, "c", "Chain", "2");
  for (int i = 0; i < 2; ++i) {
    daemon.Settle();
    daemon.Work(stream, functions);
  }
  daemon.Settle();
  return stream.sink->Take().value();
}

TEST_CASE("rewind_action the next turn is on the new history, and goes through a claim") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  const WorkItem item = SecondTurn(one.daemon, one.hub, stream, functions);
  std::optional<absl::Status> answer;
  one.daemon.Answer(one.hub, BackToStart(item), &answer);
  one.daemon.Settle();
  CHECK(answer == absl::OkStatus());
  REQUIRE(stream.sink->waiting() == 1);
  const WorkItem next = stream.sink->Take().value();
  REQUIRE(next.orchestratorrequest().pastevents_size() == 1);
  CHECK(next.orchestratorrequest().pastevents(0).has_executionstarted());
  CHECK(next.orchestratorrequest().newevents_size() == 1);
  one.daemon.Answer(one.hub, RunTurn(functions, next));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("c") == "1,2");
}

TEST_CASE("rewind_answer_lost the turn comes again, rewound or not, and later each time") {
  const bool applied = GENERATE(false, true);
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  WorkItem item = SecondTurn(one.daemon, one.hub, stream, functions);
  std::optional<absl::Status> answer;
  for (int i = 0; i < 3; ++i) {
    one.faults.FailNext(FaultStore::Verb::kRewind, absl::UnavailableError("lost"), applied);
    one.daemon.Answer(one.hub, BackToStart(item), &answer);
    one.daemon.Settle();
    CHECK(absl::IsUnavailable(answer.value()));
    // What was not rewound counts as lost: from the second time on it waits for a while.
    if (!applied && i > 0) CHECK(stream.sink->waiting() == 0);
    one.Pass(absl::Seconds(5));
    REQUIRE(stream.sink->waiting() == 1);
    item = stream.sink->Take().value();
    CHECK(item.orchestratorrequest().pastevents_size() == (applied ? 1 : 3));
  }
  one.daemon.Answer(one.hub, RunTurn(functions, item));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.database.ReadInstance(one.hub, "c", true)->output == "1,2");
}

TEST_CASE("rewind_other_daemon a daemon that was taken for dead rewinds nothing") {
  FakeClock clock;
  MemoryDatabase database(clock.Reader());
  const HubId hub = *database.ResolveHub("default", true);
  const Functions functions = SomeFunctions(clock);
  MemoryStore store_a(&database, MemoryStore::Mode::kStepped);
  MemoryStore store_b(&database, MemoryStore::Mode::kStepped);
  dispatch::DispatchLimits limits;
  limits.result_hold_max = absl::ZeroDuration();
  FakeDaemon a(&store_a, &store_a, limits);
  FakeDaemon b(&store_b, &store_b);
  const FakeStream stream_a = a.Open(hub);
  const WorkItem lost = SecondTurn(a, hub, stream_a, functions);
  const std::string execution = database.ReadInstance(hub, "c", false)->execution_id;
  database.DeclareDead(store_a.worker());
  database.Sweep();
  const FakeStream stream_b = b.Open(hub);
  b.Settle();
  const WorkItem item = stream_b.sink->Take().value();
  std::optional<absl::Status> answer;
  a.Answer(hub, BackToStart(lost), &answer);
  a.Settle();
  CHECK(answer == absl::OkStatus());
  CHECK(database.ReadInstance(hub, "c", false)->execution_id == execution);
  b.Answer(hub, RunTurn(functions, item));
  b.RunWorkers({stream_b}, functions);
  CHECK(database.ReadInstance(hub, "c", true)->output == "1,2");
}

}  // namespace
}  // namespace dt::testing
