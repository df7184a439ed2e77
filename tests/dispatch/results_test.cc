// Results of activities that are stored by the checkpoint of the turn they bring about, and what
// becomes of them when that turn does not come (server/dispatch/unstored_results.cc).
#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

dispatch::DispatchLimits HoldFor(absl::Duration hold) {
  dispatch::DispatchLimits limits;
  limits.result_hold_max = hold;
  return limits;
}

// Runs the first turn of the orchestration "c" and answers its first activity; the result is then
// in the turn that waits in the stream.
struct GivenResult {
  template <typename Daemon>
  GivenResult(Daemon& one, const FakeStream& stream, const Functions& functions,
              const std::string& name = "Chain") {
    one.daemon.Start(one.hub, "c", name, "2");
    one.daemon.Settle();
    one.daemon.Work(stream, functions);
    one.daemon.Settle();
    const WorkItem activity = stream.sink->Take().value();
    ActivityResponse response = RunActivity(functions, activity);
    one.daemon.Answer(one.hub, std::move(response), &answer);
    one.daemon.Settle();
  }
  std::optional<absl::Status> answer;
};

TEST_CASE("result_with_turn one checkpoint stores the turn and the result that it brought about") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  GivenResult given(one, stream, functions);
  CHECK(!given.answer.has_value());  // nothing is acknowledged before its commit
  CHECK(one.database.Count().tasks == 1);
  REQUIRE(stream.sink->waiting() == 1);
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  CHECK(given.answer == absl::OkStatus());
  CHECK(one.database.Count().checkpoints == 2);
  CHECK(one.database.Count().tasks == 1);  // the next one
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("c") == "1,2");
  CHECK(one.database.Count().tasks == 0);
}

TEST_CASE("result_repeated the same answer again is acknowledged by the same commit") {
  const bool fails = GENERATE(false, true);
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  const WorkItem activity = stream.sink->Take().value();
  std::optional<absl::Status> first, second;
  one.daemon.Answer(one.hub, RunActivity(functions, activity), &first);
  one.daemon.Answer(one.hub, RunActivity(functions, activity), &second);
  one.daemon.Settle();
  CHECK(!first.has_value());
  CHECK(!second.has_value());
  if (fails) {
    one.faults.FailNext(FaultStore::Verb::kCompleteTask, absl::UnavailableError("away"));
    one.daemon.Close(stream);  // its turn is at no worker any more
  } else {
    one.daemon.Work(stream, functions);
  }
  one.daemon.Settle();
  CHECK(first.has_value());
  CHECK(second.has_value());
  CHECK(first->ok() == !fails);
  CHECK(second->ok() == !fails);
}

TEST_CASE("result_many_one_turn results that come together go into one turn") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "f", "FanOut", "3");
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  std::optional<absl::Status> answers[3];
  for (auto& answer : answers) {
    const WorkItem activity = stream.sink->Take().value();
    one.daemon.Answer(one.hub, RunActivity(functions, activity), &answer);
  }
  one.daemon.Settle();
  REQUIRE(stream.sink->waiting() == 1);
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  for (const auto& answer : answers) CHECK(answer == absl::OkStatus());
  CHECK(one.database.Count().checkpoints == 2);
  CHECK(one.Output("f") == "3");
}

TEST_CASE("result_hold_over a result that waits too long is stored beside its turn") {
  OneDaemon one(HoldFor(absl::Milliseconds(20)));
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  GivenResult given(one, stream, functions);
  REQUIRE(stream.sink->waiting() == 1);
  one.Pass(absl::Milliseconds(19), absl::Milliseconds(19));
  CHECK(!given.answer.has_value());
  one.Pass(absl::Milliseconds(1), absl::Milliseconds(1));
  CHECK(given.answer == absl::OkStatus());
  CHECK(one.database.Count().tasks == 0);
  REQUIRE(stream.sink->waiting() == 1);  // the turn goes on
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("c") == "1,2");
  CHECK(one.database.Count().checkpoints == 3);
  CHECK(one.database.Count().messages == 0);
}

TEST_CASE("result_parked an answer waits while a result of its turn is being stored") {
  OneDaemon one(HoldFor(absl::Milliseconds(20)));
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  GivenResult given(one, stream, functions);
  const WorkItem turn = stream.sink->Take().value();
  one.clock.Advance(absl::Milliseconds(20));
  while (one.daemon.Turn()) {
  }
  std::optional<absl::Status> first, again;
  one.daemon.Answer(one.hub, RunTurn(functions, turn), &first);
  one.daemon.Answer(one.hub, RunTurn(functions, turn), &again);
  while (one.daemon.Turn()) {
  }
  CHECK(!first.has_value());
  CHECK(again == absl::OkStatus());
  one.daemon.Settle();
  CHECK(given.answer == absl::OkStatus());
  CHECK(first == absl::OkStatus());
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("c") == "1,2");
  CHECK(one.database.Count().messages == 0);
}

TEST_CASE("result_turn_lost a result outlives the worker that had its turn") {
  const bool parked = GENERATE(false, true);
  OneDaemon one(HoldFor(absl::Milliseconds(20)));
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  GivenResult given(one, stream, functions);
  std::optional<absl::Status> lost;
  if (parked) {
    const WorkItem turn = stream.sink->Take().value();
    one.clock.Advance(absl::Milliseconds(20));
    while (one.daemon.Turn()) {
    }
    one.daemon.Answer(one.hub, RunTurn(functions, turn), &lost);
    while (one.daemon.Turn()) {
    }
  }
  const FakeStream other = one.daemon.Open(one.hub);
  one.daemon.Close(stream);
  one.daemon.Settle();
  CHECK(lost.has_value() == parked);
  one.daemon.RunWorkers({other}, functions);
  CHECK(given.answer == absl::OkStatus());
  CHECK(one.Output("c") == "1,2");
}

TEST_CASE("result_no_worker_left the result is stored when nobody can take its turn") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  GivenResult given(one, stream, functions);
  one.daemon.Close(stream);
  one.daemon.Settle();
  CHECK(given.answer == absl::OkStatus());
  CHECK(one.database.Count().tasks == 0);
  CHECK(one.database.Count().messages == 1);
  const FakeStream other = one.daemon.Open(one.hub);
  one.daemon.RunWorkers({other}, functions);
  CHECK(one.Output("c") == "1,2");
}

TEST_CASE("result_checkpoint_fails the result is not lost with the checkpoint") {
  const bool applied = GENERATE(false, true);
  const bool refused = GENERATE(false, true);
  if (applied && refused) return;
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  GivenResult given(one, stream, functions);
  one.faults.FailNext(
      FaultStore::Verb::kCheckpoint,
      refused ? absl::InvalidArgumentError("refused") : absl::UnavailableError("lost"), applied);
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  CHECK(given.answer == absl::OkStatus());
  one.Pass(absl::Seconds(5));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.database.ReadInstance(one.hub, "c", true)->output == "1,2");
  CHECK(one.database.Count().tasks == 0);
}

TEST_CASE("result_store_fails a result that cannot be stored takes its turn back") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  GivenResult given(one, stream, functions);
  const WorkItem turn = stream.sink->Take().value();
  one.faults.FailNext(FaultStore::Verb::kCompleteTask, absl::UnavailableError("away"));
  one.Pass(absl::Milliseconds(100));
  CHECK(absl::IsUnavailable(given.answer.value()));
  std::optional<absl::Status> stale;
  one.daemon.Answer(one.hub, RunTurn(functions, turn), &stale);
  one.daemon.Settle();
  CHECK(stale == absl::OkStatus());
  CHECK(one.database.Count().checkpoints == 1);
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.database.ReadInstance(one.hub, "c", true)->output == "1,2");
}

TEST_CASE("result_waits_in_vain a worker that answers late is not waited for each time") {
  OneDaemon one(HoldFor(absl::Milliseconds(20)));
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  GivenResult given(one, stream, functions);
  one.Pass(absl::Milliseconds(20), absl::Milliseconds(20));
  CHECK(given.answer == absl::OkStatus());
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  const WorkItem activity = stream.sink->Take().value();
  std::optional<absl::Status> answer;
  one.daemon.Answer(one.hub, RunActivity(functions, activity), &answer);
  one.daemon.Settle();
  CHECK(answer == absl::OkStatus());  // stored at once
}

TEST_CASE("result_drain a drain stores what it was given") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  GivenResult given(one, stream, functions);
  one.daemon.Post(dispatch::DrainBegun{});
  one.daemon.Post(dispatch::DrainEnded{});
  one.daemon.Settle();
  CHECK(given.answer == absl::OkStatus());
  CHECK(one.database.Count().messages == 1);
  CHECK(one.daemon.dispatcher().released());
}

TEST_CASE("result_lease_lost a daemon that was taken for dead stores nothing") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  GivenResult given(one, stream, functions);
  one.database.DeclareDead(one.store.worker());
  one.database.Sweep();
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  CHECK(given.answer == absl::OkStatus());  // stale: ignored
  CHECK(one.database.Count().checkpoints == 1);
  CHECK(one.database.Count().tasks == 1);
}

}  // namespace
}  // namespace dt::testing
