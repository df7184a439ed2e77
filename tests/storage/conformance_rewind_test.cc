// Rewinds and the termination that asks nobody, on both stores (RULES.md 5.29-5.31, 5.35).
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

HistoryChunk Chunk(int64_t turn, int32_t first_event, int32_t count, const std::string& text) {
  return {turn, first_event, count, Bytes(text)};
}

// A FAILED instance of two turns with an activity in flight, which `a` holds.
struct FailedInstance {
  RewindSource source;
  TaskCompletion completion;
};

std::vector<RewindSource> Sources(Harness& h, std::vector<std::string> ids) {
  return h.a()
      .Wait<std::vector<RewindSource>>([&](auto done) {
        h.a().store().ReadRewindSources(h.hub, std::move(ids), std::move(done));
      })
      .value();
}

FailedInstance Fail(Harness& h, const std::string& id) {
  Claim claim = Started(h, id);
  Checkpoint first = TurnOf(claim);
  first.history = Chunk(first.turn, 0, 2, "first");
  const LeaseToken token = h.a().NewToken();
  first.tasks = {{1, "Act", std::nullopt, Bytes("a"), token}};
  const CheckpointResult committed = h.a().Commit(first);
  REQUIRE(committed.outcome == CheckpointOutcome::kCommitted);
  claim = After(first, claim);
  Checkpoint last = TurnOf(claim);
  last.history = Chunk(last.turn, 2, 1, "last");
  last.ends = true;
  last.update = InstanceUpdate{};
  last.update->status = RuntimeStatus::kFailed;
  last.update->failure = "details";
  REQUIRE(h.a().Commit(last).outcome == CheckpointOutcome::kCommitted);

  FailedInstance failed;
  failed.source = Sources(h, {id}).front();
  failed.completion = {committed.task_keys.at(0), token, claim.key, 0, Event("done", 7)};
  failed.completion.message.generation = 0;
  return failed;
}

Rewind RewindOf(Harness& h, const RewindSource& source, const std::string& execution_id) {
  Rewind rewind;
  rewind.found_execution_id = source.claim.execution_id;
  rewind.found_task_ids = source.task_ids;
  rewind.execution_id = execution_id;
  Checkpoint& turn = rewind.checkpoint;
  turn.key = source.claim.key;
  turn.hub = h.hub;
  turn.instance_id = source.claim.instance_id;
  turn.lease_token = kRewindToken;
  turn.turn = source.claim.turn + 1;
  turn.release = true;
  turn.history = Chunk(turn.turn, 3, 1, "rewound");
  turn.update = InstanceUpdate{};
  turn.own_messages = {Event("wake", 12)};
  turn.own_messages[0].generation = 0;
  return rewind;
}

RewindOutcome Apply(Harness& h, std::vector<Rewind> rewinds) {
  return h.a()
      .Wait<RewindOutcome>([&](auto done) {
        h.a().store().RewindInstances({h.hub, std::move(rewinds)}, std::move(done));
      })
      .value();
}

TEST_CASE("store_rewind_sources_tell_state_history_and_activities") {
  Harness h(AnyKind());
  const RewindSource failed = Fail(h, "failed").source;
  h.a().Create(h.Instance("live"));
  const std::vector<RewindSource> sources = Sources(h, {"live", "missing", "failed"});
  REQUIRE(sources.size() == 3);
  CHECK(sources[0].exists);
  CHECK(sources[0].claim.status == RuntimeStatus::kPending);
  CHECK(sources[0].claim.history.empty());
  CHECK_FALSE(sources[1].exists);
  CHECK(sources[2].claim.instance_id == "failed");
  CHECK(sources[2].claim.turn == 2);
  CHECK(sources[2].failure == "details");
  CHECK(sources[2].task_ids == std::vector<int32_t>{1});
  REQUIRE(sources[2].claim.history.size() == 2);
  CHECK(*sources[2].claim.history[1].events == "last");
}

TEST_CASE("store_rewind_revives_on_the_rewritten_history") {
  Harness h(AnyKind());
  const FailedInstance failed = Fail(h, "one");
  Rewind rewind = RewindOf(h, failed.source, "new execution");
  rewind.history = {Chunk(1, 0, 1, "FIRST"), {2, 1, 1, nullptr}};
  REQUIRE(Apply(h, {rewind}) == RewindOutcome::kRewound);
  // Asked again, as after a lost answer.
  CHECK(Apply(h, {rewind}) == RewindOutcome::kRewound);
  const InstanceRow row = h.a().Read(h.hub, "one").value();
  CHECK(row.status == RuntimeStatus::kRunning);
  CHECK(row.execution_id == "new execution");
  CHECK_FALSE(row.completed_at.has_value());
  CHECK_FALSE(row.failure.has_value());

  // What was in flight arrives.
  CHECK(h.a().Complete(h.hub, "one", failed.completion).outcome == TaskOutcome::kOk);
  const Claim claim = h.b().ClaimOne(h.hub);
  CHECK(claim.turn == 3);
  CHECK(TextsOf(claim.messages) == std::vector<std::string>{"wake", "done"});
  REQUIRE(claim.history.size() == 3);
  CHECK(*claim.history[0].events == "FIRST");
  CHECK(*claim.history[1].events == "last");
  CHECK(claim.history[1].first_event == 1);
  CHECK(*claim.history[2].events == "rewound");
  CHECK(h.b().Commit(TurnOf(claim)).outcome == CheckpointOutcome::kCommitted);
}

TEST_CASE("store_rewind_deletes_a_chunk_without_events") {
  Harness h(AnyKind());
  Rewind rewind = RewindOf(h, Fail(h, "one").source, "new");
  rewind.history = {Chunk(2, 2, 0, "")};
  REQUIRE(Apply(h, {rewind}) == RewindOutcome::kRewound);
  const Claim claim = h.b().ClaimOne(h.hub);
  REQUIRE(claim.history.size() == 2);
  CHECK(claim.history[1].turn == 3);
}

TEST_CASE("store_rewind_takes_back_activities_that_the_new_history_does_not_know") {
  Harness h(AnyKind());
  const FailedInstance failed = Fail(h, "one");
  const FailedInstance other = Fail(h, "two");
  Rewind rewind = RewindOf(h, failed.source, "new");
  rewind.dropped_task_ids = {1};
  REQUIRE(Apply(h, {rewind, RewindOf(h, other.source, "new 2")}) == RewindOutcome::kRewound);
  CHECK(Sources(h, {"one"}).front().task_ids.empty());
  CHECK(h.a().Complete(h.hub, "one", failed.completion).outcome == TaskOutcome::kLeaseLost);
  CHECK(h.a().Complete(h.hub, "two", other.completion).outcome == TaskOutcome::kOk);
  const Claim claim = h.b().ClaimOne(h.hub);
  CHECK(claim.instance_id == "one");
  CHECK(TextsOf(claim.messages) == std::vector<std::string>{"wake"});
}

TEST_CASE("store_rewind_sources_leave_out_activities_of_older_generations") {
  Harness h(AnyKind());
  Claim claim = Started(h, "one");
  Checkpoint turn = TurnOf(claim);
  turn.tasks = {{1, "Act", std::nullopt, Bytes("a"), h.a().NewToken()}};
  turn.next_generation = NextGeneration{"00000000000000000000000000000001", {}, {}, {}};
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  claim = After(turn, claim);
  claim.generation = 1;
  Checkpoint last = TurnOf(claim);
  last.tasks = {{2, "Act", std::nullopt, Bytes("a"), h.a().NewToken()}};
  last.ends = true;
  last.update = InstanceUpdate{};
  last.update->status = RuntimeStatus::kFailed;
  REQUIRE(h.a().Commit(last).outcome == CheckpointOutcome::kCommitted);
  CHECK(Sources(h, {"one"}).front().task_ids == std::vector<int32_t>{2});
}

TEST_CASE("store_rewind_is_refused_when_anything_is_not_as_it_was_found") {
  Harness h(AnyKind());
  const FailedInstance failed = Fail(h, "one");
  const RewindSource second = Fail(h, "two").source;
  const InstanceKey live = h.a().Create(h.Instance("live")).key;
  const Rewind good = RewindOf(h, failed.source, "new");
  std::vector<Rewind> bad(5, good);
  bad[0].found_execution_id = "another";
  bad[1].found_task_ids = {};
  bad[2].found_children = {{live, RuntimeStatus::kCompleted}};
  bad[3].found_children = {{failed.source.claim.key, RuntimeStatus::kRunning}};
  bad[4].found_children = {{InstanceKey{1} << 40, RuntimeStatus::kRunning}};
  for (const Rewind& rewind : bad) CHECK(Apply(h, {rewind}) == RewindOutcome::kChanged);
  // All or none.
  CHECK(Apply(h, {RewindOf(h, second, "new 2"), bad[0]}) == RewindOutcome::kChanged);
  CHECK(h.a().Read(h.hub, "one")->status == RuntimeStatus::kFailed);
  CHECK(h.a().Read(h.hub, "two")->status == RuntimeStatus::kFailed);
  Rewind with_child = good;
  with_child.found_children = {{live, RuntimeStatus::kRunning}};
  CHECK(Apply(h, {with_child}) == RewindOutcome::kRewound);
  CHECK(Apply(h, {RewindOf(h, failed.source, "newer")}) == RewindOutcome::kChanged);
}

// A live instance after one turn that scheduled an activity, held by `a`; in its inbox wait a
// message of its generation, one for any, a carried-over one and one that the turn in flight
// consumes.
struct LiveInstance {
  Claim claim;
  TaskCompletion completion;
  Rewind rewind;
};

LiveInstance MakeLive(Harness& h, const std::string& id) {
  LiveInstance live;
  live.claim = Started(h, id);
  Checkpoint first = TurnOf(live.claim);
  first.history = Chunk(first.turn, 0, 2, "first");
  const LeaseToken token = h.a().NewToken();
  first.tasks = {{1, "Act", std::nullopt, Bytes("a"), token}};
  first.own_messages = {Event("timer", 13), Event("carried over"), Event("consumed")};
  for (NewMessage& message : first.own_messages) message.generation = 0;
  const CheckpointResult committed = h.a().Commit(first);
  REQUIRE(committed.outcome == CheckpointOutcome::kCommitted);
  h.a().Send(h.hub, id, Event("raised"));
  live.claim = After(first, live.claim);
  live.completion = {committed.task_keys.at(0), token, live.claim.key, 0, Event("done", 7)};
  live.completion.message.generation = 0;

  RewindSource source = Sources(h, {id}).front();
  source.claim.turn = first.turn;
  live.rewind = RewindOf(h, source, "new execution");
  live.rewind.live = true;
  live.rewind.checkpoint.lease_token = live.claim.lease_token;
  live.rewind.checkpoint.consumed = {committed.own_seqs.at(2)};
  live.rewind.checkpoint.history = Chunk(live.claim.turn + 1, 0, 1, "all that is left");
  return live;
}

TEST_CASE("store_rewind_of_a_live_instance_replaces_history_and_inbox") {
  Harness h(AnyKind());
  const LiveInstance live = MakeLive(h, "one");
  REQUIRE(Apply(h, {live.rewind}) == RewindOutcome::kRewound);
  CHECK(Apply(h, {live.rewind}) == RewindOutcome::kRewound);
  CHECK(h.a().Read(h.hub, "one")->execution_id == "new execution");
  CHECK(h.a().Read(h.hub, "one")->status == RuntimeStatus::kRunning);
  CHECK(h.a().Complete(h.hub, "one", live.completion).outcome == TaskOutcome::kOk);
  const Claim claim = h.b().ClaimOne(h.hub);
  CHECK(claim.turn == live.claim.turn + 1);
  CHECK(TextsOf(claim.messages) ==
        std::vector<std::string>{"carried over", "raised", "wake", "done"});
  REQUIRE(claim.history.size() == 1);
  CHECK(*claim.history[0].events == "all that is left");
  CHECK(h.b().Commit(TurnOf(claim)).outcome == CheckpointOutcome::kCommitted);
}

TEST_CASE("store_rewind_of_a_live_instance_is_fenced_by_lease_and_turn") {
  Harness h(AnyKind());
  const LiveInstance live = MakeLive(h, "one");
  Rewind other = live.rewind;
  other.checkpoint.lease_token = h.b().NewToken();
  CHECK(Apply(h, {other}) == RewindOutcome::kLeaseLost);
  other = live.rewind;
  ++other.checkpoint.turn;
  CHECK(Apply(h, {other}) == RewindOutcome::kLeaseLost);
  other = live.rewind;
  other.found_task_ids = {};
  CHECK(Apply(h, {other}) == RewindOutcome::kChanged);
  CHECK(h.a().Read(h.hub, "one")->execution_id != "new execution");
  CHECK(h.a().Release(live.claim) == LeaseOutcome::kReleased);
  CHECK(Apply(h, {live.rewind}) == RewindOutcome::kLeaseLost);
  CHECK(h.b().ClaimOne(h.hub).history.size() == 1);
}

TEST_CASE("store_rewind_loses_no_result_that_arrives_at_the_same_time") {
  Harness h(AnyKind());
  for (int i = 0; i < 30; ++i) {
    const std::string id = absl::StrCat("i", i);
    FailedInstance failed = Fail(h, id);
    // Both are under way at once, on connections of their own.
    struct Answers {
      absl::Mutex mutex;
      std::optional<TaskOutcome> task ABSL_GUARDED_BY(mutex);
      std::optional<RewindOutcome> rewind ABSL_GUARDED_BY(mutex);
      bool both() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return task && rewind; }
    } answers;
    failed.completion.hub = h.hub;
    failed.completion.instance_id = id;
    h.a().store().CompleteTask(
        failed.completion, [&answers](const TaskCompletion&, absl::StatusOr<TaskResult> result) {
          absl::MutexLock lock(&answers.mutex);
          answers.task = result.value().outcome;
        });
    h.b().store().RewindInstances({h.hub, {RewindOf(h, failed.source, absl::StrCat("new ", i))}},
                                  [&answers](absl::StatusOr<RewindOutcome> outcome) {
                                    absl::MutexLock lock(&answers.mutex);
                                    answers.rewind = outcome.value();
                                  });
    absl::MutexLock lock(&answers.mutex);
    answers.mutex.Await(absl::Condition(&answers, &Answers::both));
    h.b().ClaimAll(h.hub);  // out of the way of the next round
    CHECK((answers.rewind == RewindOutcome::kRewound) == (answers.task == TaskOutcome::kOk));
  }
}

TEST_CASE("store_terminate_now_ends_what_is_live_whoever_holds_it") {
  Harness h(AnyKind());
  Claim parent = Started(h, "parent");
  Checkpoint turn = TurnOf(parent);
  NewChild child;
  child.instance = h.Instance("child");
  child.instance.parent = ParentLink{parent.key, 0, 5, "parent"};
  child.conflict = Event("conflict", 11);
  turn.children = {child};
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  const Claim held = h.b().ClaimOne(h.hub);
  REQUIRE(held.instance_id == "child");

  ImmediateTermination request{h.hub, {"missing", "child"}, "reason"};
  const auto ended = [&] {
    return h.a()
        .Wait<std::vector<std::string>>(
            [&](auto done) { h.a().store().TerminateNow(request, std::move(done)); })
        .value();
  };
  CHECK(ended() == std::vector<std::string>{"missing"});
  CHECK(ended() == std::vector<std::string>{"missing", "child"});
  const InstanceRow row = h.a().Read(h.hub, "child").value();
  CHECK(row.status == RuntimeStatus::kTerminated);
  CHECK(row.output == "reason");
  CHECK(row.completed_at.has_value());
  CHECK(h.b().Commit(TurnOf(held)).outcome == CheckpointOutcome::kGone);
  const std::vector<InboxRead> told = h.a().ReadNew();
  REQUIRE(told.size() == 1);
  CHECK(told[0].key == parent.key);
  REQUIRE(told[0].messages.size() == 1);
  CHECK(told[0].messages[0].event_type == 11);
}

}  // namespace
}  // namespace dt::testing
