// Turns as the dispatcher sees them: parts, repeats, failures of the store, large inboxes.
#include "absl/strings/str_cat.h"
#include "tests/dispatch/fixture.h"
#include "tests/support/log_capture.h"

namespace dt::testing {
namespace {

OrchestratorResponse TaskPart(const WorkItem& item, int index, bool last) {
  OrchestratorResponse response;
  response.set_instanceid(item.orchestratorrequest().instanceid());
  response.set_completiontoken(item.completiontoken());
  auto* action = response.add_actions();
  action->set_id(index + 1);
  action->mutable_scheduletask()->set_name("Echo");
  action->mutable_scheduletask()->mutable_input()->set_value(absl::StrCat(index + 1));
  MakePart(response, index, last);
  return response;
}

TEST_CASE("chunked_response parts are one commit; parts of a lost dispatch are forgotten") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream first = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "f", "FanOut", "3");
  one.daemon.Settle();
  const WorkItem lost = first.sink->Take().value();
  std::optional<absl::Status> answer;
  one.daemon.Answer(one.hub, TaskPart(lost, 0, false), &answer);
  one.daemon.Settle();
  CHECK(answer == absl::OkStatus());
  one.daemon.Close(first);
  const FakeStream second = one.daemon.Open(one.hub);
  one.daemon.Settle();
  CHECK(one.database.Count().checkpoints == 0);
  one.daemon.Answer(one.hub, TaskPart(lost, 1, true));  // stale
  const WorkItem item = second.sink->Take().value();
  for (int i = 0; i < 3; ++i) {
    one.daemon.Settle();
    CHECK(one.database.Count().checkpoints == 0);
    one.daemon.Answer(one.hub, TaskPart(item, i, i == 2));
  }
  one.daemon.Settle();
  CHECK(one.database.Count().checkpoints == 1);
  CHECK(one.database.Count().tasks == 3);
  one.daemon.RunWorkers({second}, functions);
  CHECK(one.Output("f") == "3");
}

TEST_CASE("chunked_response_too_many parts with too many actions fail without the last one") {
  dispatch::DispatchLimits limits;
  limits.turn.actions_max = 3;
  OneDaemon one(limits);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "f", "FanOut", "9");
  one.daemon.Settle();
  const WorkItem item = stream.sink->Take().value();
  for (int i = 0; i < 3; ++i) {
    one.daemon.Answer(one.hub, TaskPart(item, i, false));
    one.daemon.Settle();
    CHECK(one.Row("f").status == RuntimeStatus::kPending);
  }
  one.daemon.Answer(one.hub, TaskPart(item, 3, false));
  one.daemon.Settle();
  CHECK(one.Row("f").status == RuntimeStatus::kFailed);
  CHECK(one.Row("f").failure->find("TooManyActions") != std::string::npos);
}

TEST_CASE("requires_history the same turn comes again with its history, nothing is committed") {
  dispatch::DispatchLimits limits;
  limits.history_streaming_from_bytes = 1;
  OneDaemon one(limits);
  const Functions functions = SomeFunctions(one.clock);
  dispatch::StreamOptions options;
  options.history_streaming = true;
  const FakeStream stream = one.daemon.Open(one.hub, options);
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  const WorkItem bare = stream.sink->Take().value();
  CHECK(bare.orchestratorrequest().requireshistorystreaming());
  CHECK(bare.orchestratorrequest().pastevents_size() == 0);
  OrchestratorResponse ask;
  ask.set_instanceid("c");
  ask.set_completiontoken(bare.completiontoken());
  ask.set_requireshistory(true);
  one.daemon.Answer(one.hub, ask);
  one.daemon.Settle();
  CHECK(one.database.Count().checkpoints == 1);
  const WorkItem whole = stream.sink->Take().value();
  CHECK(!whole.orchestratorrequest().requireshistorystreaming());
  CHECK(whole.orchestratorrequest().pastevents_size() == 3);
  CHECK(whole.completiontoken() != bare.completiontoken());
  CHECK(whole.orchestratorrequest().newevents(0).SerializeAsString() ==
        bare.orchestratorrequest().newevents(0).SerializeAsString());
  one.daemon.Answer(one.hub, RunTurn(functions, whole));
  one.daemon.Settle();
  CHECK(one.Output("c") == "1");
}

TEST_CASE("history_1mib only a worker that streams gets a large history separately") {
  OneDaemon one;
  Functions functions = SomeFunctions(one.clock);
  functions.activities["Echo"] = [](const ActivityRequest&) {
    return std::string(600 * 1024, 'x');
  };
  dispatch::StreamOptions streaming;
  streaming.history_streaming = true;
  const FakeStream plain = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "c", "Chain", "3");
  for (int i = 0; i < 5; ++i) {  // until both large results are history
    one.daemon.Settle();
    one.daemon.Work(plain, functions);
  }
  one.daemon.Settle();
  one.daemon.Work(plain, functions);
  one.daemon.Settle();
  const WorkItem inline_item = plain.sink->Take().value();
  CHECK(!inline_item.orchestratorrequest().requireshistorystreaming());
  CHECK(inline_item.orchestratorrequest().pastevents_size() > 0);
  const FakeStream streamer = one.daemon.Open(one.hub, streaming);
  one.daemon.Close(plain);
  one.daemon.Settle();
  const WorkItem bare = streamer.sink->Take().value();
  CHECK(bare.orchestratorrequest().requireshistorystreaming());
  CHECK(bare.orchestratorrequest().pastevents_size() == 0);
  std::optional<absl::StatusOr<std::vector<HistoryChunk>>> history;
  one.daemon.Post(
      dispatch::HistoryAsked{one.hub, "c", bare.orchestratorrequest().executionid().value(),
                             [&history](absl::StatusOr<std::vector<HistoryChunk>> chunks) {
                               history = std::move(chunks);
                             }});
  one.daemon.Settle();
  REQUIRE(history.has_value());
  REQUIRE(history->ok());
  OrchestratorRequest streamed;
  std::string bytes;
  for (const HistoryChunk& chunk : **history) bytes += *chunk.events;
  REQUIRE(streamed.ParseFromString(bytes));
  CHECK(streamed.pastevents_size() == inline_item.orchestratorrequest().pastevents_size());
}

TEST_CASE("large_turn what most SDKs do not receive is sent whole, and the log says so") {
  const LogCapture log;
  OneDaemon one;
  Functions functions = SomeFunctions(one.clock);
  functions.activities["Echo"] = [](const ActivityRequest&) {
    return std::string(1900 * 1024, 'x');
  };
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "two", "Chain", "2");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("two").size() > 2 * 1900 * 1024);
  CHECK_FALSE(log.Has("its work item has"));
  one.daemon.Start(one.hub, "three", "Chain", "3");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("three").size() > 3 * 1900 * 1024);
  CHECK(log.Has("instance three: its work item has 58"));
}

TEST_CASE("history_of_no_turn the past of a turn that is not in flight is not found") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "l", "Listen", "");
  one.daemon.RunWorkers({stream}, functions);
  for (const char* id : {"l", "nobody"}) {
    absl::Status status;
    one.daemon.Post(dispatch::HistoryAsked{
        one.hub, id, "",
        [&status](absl::StatusOr<std::vector<HistoryChunk>> chunks) { status = chunks.status(); }});
    one.daemon.Settle();
    CHECK(absl::IsNotFound(status));
  }
}

TEST_CASE("big_batch 5000 queued events come in several turns, in order") {
  OneDaemon one;
  Functions functions = SomeFunctions(one.clock);
  std::vector<std::string> seen;
  functions.orchestrators["Count"] = [&seen](const Replay& replay, Actions& actions) {
    seen = replay.Events("e");
    if (seen.size() == 5000) actions.Complete("all");
  };
  one.daemon.Start(one.hub, "n", "Count", "");
  one.daemon.Settle();
  for (int i = 0; i < 5000; ++i) {
    one.daemon.Raise(one.hub, "n", "e", absl::StrCat(i, std::string(1000, '.')));
  }
  one.daemon.Settle();
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("n") == "all");
  CHECK(one.database.Count().checkpoints >= 5);
  bool in_order = seen.size() == 5000;
  for (size_t i = 0; i < seen.size(); ++i) {
    in_order = in_order && seen[i].substr(0, seen[i].find('.')) == absl::StrCat(i);
  }
  CHECK(in_order);
}

TEST_CASE("big_fan_in more results than an inbox in memory holds") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  dispatch::StreamOptions options;
  options.activities_max = 20000;
  const FakeStream stream = one.daemon.Open(one.hub, options);
  one.daemon.Start(one.hub, "f", "FanOut", "12000");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("f") == "12000");
}

TEST_CASE("complete_fails_in_database the caller hears of it and the item comes again") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.Settle();
  one.faults.FailNext(FaultStore::Verb::kCheckpoint, absl::UnavailableError("down"));
  std::optional<absl::Status> answer;
  one.daemon.Answer(one.hub, RunTurn(functions, stream.sink->Take().value()), &answer);
  one.daemon.Settle();
  CHECK(absl::IsUnavailable(answer.value()));
  REQUIRE(stream.sink->waiting() == 1);
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  one.faults.FailNext(FaultStore::Verb::kCompleteTask, absl::UnavailableError("down"));
  one.daemon.Answer(one.hub, RunActivity(functions, stream.sink->Take().value()), &answer);
  one.daemon.Settle();
  CHECK(absl::IsUnavailable(answer.value()));
  REQUIRE(stream.sink->waiting() == 1);
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.database.ReadInstance(one.hub, "c", true)->output == "1");
}

TEST_CASE("commit_answer_lost what a checkpoint leased is found again") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "f", "FanOut", "5");
  one.daemon.Start(one.hub, "p", "Parent", "3");
  one.daemon.Settle();
  for (int i = 0; i < 2; ++i) {
    one.faults.FailNext(FaultStore::Verb::kCheckpoint, absl::UnavailableError("lost"), true);
    one.daemon.Work(stream, functions);
    one.daemon.Settle();
  }
  one.Pass(absl::Seconds(3));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.database.ReadInstance(one.hub, "f", true)->output == "5");
  CHECK(one.database.ReadInstance(one.hub, "p", true)->output == "1,2;1,2;1,2");
  CHECK(one.database.Count().leased_tasks == 0);
}

TEST_CASE("start_answer_lost an instance that was created leased is found again") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Settle();
  one.faults.FailNext(FaultStore::Verb::kCreate, absl::UnavailableError("lost"), true);
  absl::StatusOr<CreateResult> answer;
  one.daemon.Start(one.hub, "c", "Chain", "1", &answer);
  one.daemon.Settle();
  CHECK(absl::IsUnavailable(answer.status()));
  one.Pass(absl::Seconds(3));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.database.ReadInstance(one.hub, "c", true)->output == "1");
}

TEST_CASE("claim_answer_lost what a claim leased is found again") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.Settle();
  one.faults.FailNext(FaultStore::Verb::kClaim, absl::UnavailableError("lost"), true);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Settle();
  one.Pass(absl::Seconds(3));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.database.ReadInstance(one.hub, "c", true)->output == "1");
}

TEST_CASE("checkpoint_refused a turn that can never be stored fails its orchestration") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.Settle();
  one.faults.FailNext(FaultStore::Verb::kCheckpoint, absl::InvalidArgumentError("too large"));
  std::optional<absl::Status> answer;
  one.daemon.Answer(one.hub, RunTurn(functions, stream.sink->Take().value()), &answer);
  one.daemon.Settle();
  CHECK(answer == absl::OkStatus());
  CHECK(stream.sink->waiting() == 0);
  const auto row = one.database.ReadInstance(one.hub, "c", true);
  CHECK(row->status == RuntimeStatus::kFailed);
  CHECK(row->failure.value().find("too large") != std::string::npos);
}

TEST_CASE("result_refused a result that can never be stored fails the activity") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  // With its turn, and then by itself.
  one.faults.FailNext(FaultStore::Verb::kCompleteTask, absl::InvalidArgumentError("too large"));
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  one.faults.FailNext(FaultStore::Verb::kCheckpoint, absl::InvalidArgumentError("too large"));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.database.ReadInstance(one.hub, "c", true)->output == "!ResultRefused");
}

TEST_CASE("history_corrupt messages are dropped, the status stays, nothing loops") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "l", "Listen", "");
  one.daemon.RunWorkers({stream}, functions);
  one.daemon.Close(stream);
  one.daemon.Settle();
  HistoryChunk chunk;
  chunk.turn = 1;
  chunk.event_count = 1;
  HistoryEvent event;
  event.mutable_orchestratorstarted();
  OrchestratorRequest framed;
  *framed.add_pastevents() = event;
  chunk.events = std::make_shared<const std::string>(framed.SerializeAsString());
  one.database.ReplaceHistory(one.hub, "l", {chunk});
  one.daemon.Raise(one.hub, "l", "go", "now");
  const FakeStream again = one.daemon.Open(one.hub);
  one.daemon.Settle();
  one.Pass(absl::Seconds(5));
  CHECK(again.sink->waiting() == 0);
  CHECK(one.database.Count().messages == 0);
  CHECK(one.database.Count().leased_instances == 0);
  CHECK(one.Row("l").status == RuntimeStatus::kRunning);
}

TEST_CASE("terminate_pending without a worker it ends at once and is never dispatched") {
  OneDaemon one;
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.Settle();
  one.daemon.Terminate(one.hub, "c", "no more");
  one.daemon.Settle();
  CHECK(one.Row("c").status == RuntimeStatus::kTerminated);
  CHECK(one.Output("c") == "no more");
  const FakeStream stream = one.daemon.Open(one.hub);
  one.Pass(absl::Seconds(5));
  CHECK(stream.sink->waiting() == 0);
}

TEST_CASE("stale_activity_after_continue the late result of an old generation is dropped") {
  OneDaemon one;
  Functions functions = SomeFunctions(one.clock);
  functions.orchestrators["Again"] = [](const Replay& replay, Actions& actions) {
    if (replay.input() == "old") {
      actions.Task(1, "Echo", "old");
      if (!replay.Events("next").empty()) actions.ContinueAsNew("new");
      return;
    }
    if (!replay.Events("end").empty()) actions.Complete(replay.Result(1).value_or("none"));
  };
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "a", "Again", "old");
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  const WorkItem late = stream.sink->Take().value();
  one.daemon.Raise(one.hub, "a", "next", "");
  one.daemon.RunWorkers({stream}, functions);
  one.daemon.Answer(one.hub, RunActivity(functions, late));
  one.daemon.Raise(one.hub, "a", "end", "");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("a") == "none");
}

TEST_CASE("continue_tight_loop_1000 a thousand generations end and leave a bounded history") {
  OneDaemon one;
  Functions functions = SomeFunctions(one.clock);
  functions.orchestrators["Loop"] = [](const Replay& replay, Actions& actions) {
    const int left = std::stoi(replay.input());
    if (left == 0) {
      actions.Complete("done");
    } else {
      actions.ContinueAsNew(absl::StrCat(left - 1));
    }
  };
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "l", "Loop", "1000");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("l") == "done");
  CHECK(one.Row("l").generation == 1000);
  CHECK(one.database.ReadHistory(one.hub, "l", std::nullopt, 0, 1 << 30)->chunks.size() == 1);
}

TEST_CASE("continue_race six instances of fifty generations with activity and timer") {
  OneDaemon one;
  Functions functions = SomeFunctions(one.clock);
  int runs = 0;
  functions.activities["Echo"] = [&runs](const ActivityRequest& request) {
    ++runs;
    return request.input().value();
  };
  functions.orchestrators["Race"] = [&one](const Replay& replay, Actions& actions) {
    const int left = std::stoi(replay.input());
    if (left == 0) {
      actions.Complete("done");
      return;
    }
    const bool fired = actions.Timer(2, one.clock.Now() + absl::Milliseconds(10));
    if (actions.Task(1, "Echo", "x").has_value() && fired) {
      actions.ContinueAsNew(absl::StrCat(left - 1));
    }
  };
  const FakeStream stream = one.daemon.Open(one.hub);
  for (int i = 0; i < 6; ++i) one.daemon.Start(one.hub, absl::StrCat(i), "Race", "50");
  for (int i = 0; i < 200; ++i) {
    one.daemon.RunWorkers({stream}, functions);
    one.clock.Advance(absl::Milliseconds(10));
  }
  one.daemon.RunWorkers({stream}, functions);
  for (int i = 0; i < 6; ++i) CHECK(one.Output(absl::StrCat(i)) == "done");
  CHECK(runs == 300);
}

}  // namespace
}  // namespace dt::testing
