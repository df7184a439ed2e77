// Completion tokens: what is accepted as an answer to what.
#include "server/dispatch/tokens.h"

#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

using dispatch::ParseToken;
using dispatch::WorkType;

OrchestratorResponse CompletedAnswer(const WorkItem& item, const std::string& result) {
  OrchestratorResponse response;
  response.set_instanceid(item.orchestratorrequest().instanceid());
  response.set_completiontoken(item.completiontoken());
  auto* action = response.add_actions();
  action->set_id(-1);
  action->mutable_completeorchestration()->set_orchestrationstatus(ORCHESTRATION_STATUS_COMPLETED);
  action->mutable_completeorchestration()->mutable_result()->set_value(result);
  return response;
}

TEST_CASE("token_form only what the daemon writes is a token") {
  const dispatch::CompletionToken token{WorkType::kActivity, MakeLeaseToken(3, 4), 5};
  const auto parsed = ParseToken(FormatToken(token));
  REQUIRE(parsed.has_value());
  CHECK(parsed->type == WorkType::kActivity);
  CHECK(parsed->lease == MakeLeaseToken(3, 4));
  CHECK(parsed->dispatch == 5);
  for (const char* text :
       {"", "o", "o:", "o:1", "o:1:", "o:1:2:", "o:1:2:3", "x:1:2", "o:01:2", "o:+1:2", "o:1:-2",
        "o: 1:2", "o:1:2 ", "O:1:2", "o:0:2", "o:1:9223372036854775808", "o;1:2", "garbage"}) {
    CAPTURE(text);
    CHECK(!ParseToken(text).has_value());
  }
}

TEST_CASE("unknown_token garbage and used tokens are answered OK and change nothing") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.Settle();
  const WorkItem turn = stream.sink->Take().value();
  std::optional<absl::Status> answers[4];
  OrchestratorResponse garbage = CompletedAnswer(turn, "wrong");
  garbage.set_completiontoken("o:1:garbage");
  one.daemon.Answer(one.hub, garbage, &answers[0]);
  ActivityResponse activity;
  activity.set_completiontoken("a:1:2");
  one.daemon.Answer(one.hub, activity, &answers[1]);
  one.daemon.Settle();
  CHECK(one.database.Count().checkpoints == 0);
  one.daemon.Answer(one.hub, RunTurn(functions, turn));
  one.daemon.Settle();
  one.daemon.Answer(one.hub, CompletedAnswer(turn, "wrong"), &answers[2]);
  WorkItem used = turn;
  one.daemon.Abandon(one.hub, used);
  one.daemon.Settle();
  CHECK(one.database.Count().checkpoints == 1);
  for (int i = 0; i < 3; ++i) CHECK(answers[i] == absl::OkStatus());
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("c") == "1");
}

TEST_CASE("empty_completion_token turns are matched by instance, activities also by task id") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  dispatch::StreamOptions go;
  go.library = dispatch::ClientLibrary::kGo;
  const FakeStream stream = one.daemon.Open(one.hub, go);
  one.daemon.Start(one.hub, "f", "FanOut", "2");
  one.daemon.Settle();
  OrchestratorResponse turn = RunTurn(functions, stream.sink->Take().value());
  turn.clear_completiontoken();
  one.daemon.Answer(one.hub, turn);
  one.daemon.Settle();
  const WorkItem first = stream.sink->Take().value();
  const WorkItem second = stream.sink->Take().value();
  for (const WorkItem* item : {&second, &first}) {
    ActivityResponse response = RunActivity(functions, *item);
    response.clear_completiontoken();
    one.daemon.Answer(one.hub, response);
    one.daemon.Settle();
  }
  // Both results; each turn may bring one or both.
  while (auto item = stream.sink->Take()) {
    OrchestratorResponse response = RunTurn(functions, *item);
    response.clear_completiontoken();
    one.daemon.Answer(one.hub, response);
    one.daemon.Settle();
  }
  CHECK(one.database.Count().tasks == 0);
  CHECK(one.Output("f") == "2");
}

TEST_CASE("empty_token_ambiguous the second activity of equal ids is held back on a Go stream") {
  OneDaemon one;
  Functions functions = SomeFunctions(one.clock);
  functions.orchestrators["Again"] = [](const Replay& replay, Actions& actions) {
    const auto result = actions.Task(1, "Echo", replay.input());
    if (replay.input() == "old" && !replay.Events("next").empty()) {
      actions.ContinueAsNew("new");
    } else if (replay.input() == "new" && result.has_value()) {
      actions.Complete(*result);
    }
  };
  dispatch::StreamOptions go;
  go.library = dispatch::ClientLibrary::kGo;
  const FakeStream stream = one.daemon.Open(one.hub, go);
  one.daemon.Start(one.hub, "a", "Again", "old");
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  const WorkItem old_task = stream.sink->Take().value();
  CHECK(old_task.activityrequest().input().value() == "old");
  one.daemon.Raise(one.hub, "a", "next", "");
  one.daemon.Settle();
  one.daemon.Work(stream, functions);  // continues as new
  one.daemon.Settle();
  one.daemon.Work(stream, functions);  // schedules (a, 1) again
  one.daemon.Settle();
  CHECK(stream.sink->waiting() == 0);
  ActivityResponse late = RunActivity(functions, old_task);
  late.clear_completiontoken();
  one.daemon.Answer(one.hub, late);
  one.daemon.Settle();
  const WorkItem new_task = stream.sink->Take().value();
  CHECK(new_task.activityrequest().input().value() == "new");
  ActivityResponse response = RunActivity(functions, new_task);
  response.clear_completiontoken();
  one.daemon.Answer(one.hub, response);
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("a") == "new");
}

TEST_CASE("stale_completion the answer of a worker that lost its turn changes nothing") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream first = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.Settle();
  const WorkItem lost = first.sink->Take().value();
  one.daemon.Close(first);
  const FakeStream second = one.daemon.Open(one.hub);
  one.daemon.RunWorkers({second}, functions);
  CHECK(one.Output("c") == "1");
  std::optional<absl::Status> answer;
  one.daemon.Answer(one.hub, CompletedAnswer(lost, "wrong"), &answer);
  one.daemon.Settle();
  CHECK(answer == absl::OkStatus());
  CHECK(one.Output("c") == "1");
}

TEST_CASE("stale_completion_other_daemon the database fences a daemon that was taken for dead") {
  FakeClock clock;
  MemoryDatabase database(clock.Reader());
  const HubId hub = *database.ResolveHub("default", true);
  const Functions functions = SomeFunctions(clock);
  MemoryStore store_a(&database, MemoryStore::Mode::kStepped);
  MemoryStore store_b(&database, MemoryStore::Mode::kStepped);
  FakeDaemon a(&store_a, &store_a);
  FakeDaemon b(&store_b, &store_b);
  const FakeStream stream_a = a.Open(hub);
  a.Start(hub, "c", "Chain", "1");
  a.Settle();
  const WorkItem lost = stream_a.sink->Take().value();
  database.DeclareDead(store_a.worker());
  database.Sweep();
  const FakeStream stream_b = b.Open(hub);
  b.RunWorkers({stream_b}, functions);
  CHECK(database.ReadInstance(hub, "c", true)->output == "1");
  std::optional<absl::Status> answer;
  a.Answer(hub, CompletedAnswer(lost, "wrong"), &answer);
  a.Settle();
  CHECK(answer == absl::OkStatus());
  CHECK(database.ReadInstance(hub, "c", true)->output == "1");
  store_a.Heartbeat();  // registers again and forgets everything
  a.Settle();
  CHECK(a.dispatcher().Count().residents == 0);
}

TEST_CASE("duplicate_activity_completion the same answer twice is one result") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  const WorkItem task = stream.sink->Take().value();
  std::optional<absl::Status> answers[2];
  one.daemon.Answer(one.hub, RunActivity(functions, task), &answers[0]);
  one.daemon.Answer(one.hub, RunActivity(functions, task), &answers[1]);
  one.daemon.RunWorkers({stream}, functions);
  CHECK(answers[0] == absl::OkStatus());
  CHECK(answers[1] == absl::OkStatus());
  CHECK(one.Output("c") == "1");
}

}  // namespace
}  // namespace dt::testing
