// Store behaviour, the same for every implementation: checkpoints and their fence, delivery,
// activity tasks. (sql/RULES.md 3.8-3.12)
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

TEST_CASE("store_created_leased_is_not_offered") {
  Harness h(AnyKind());
  NewInstance instance = h.Instance("mine");
  instance.lease_token = h.a().NewToken();
  const CreateResult created = h.a().Create(instance);
  CHECK(h.b().ClaimAll(h.hub).claims.empty());
  Checkpoint turn;
  turn.key = created.key;
  turn.hub = h.hub;
  turn.instance_id = "mine";
  turn.lease_token = instance.lease_token;
  turn.turn = 1;
  turn.consumed = {created.started_seq};
  CHECK(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
}

TEST_CASE("store_checkpoint_writes_everything_of_a_turn") {
  Harness h(AnyKind());
  Claim claim = Started(h, "one");
  h.a().Create(h.Instance("other"));
  Checkpoint turn = TurnOf(claim);
  turn.update = InstanceUpdate{};
  turn.update->custom_status = Change<std::string>::Set("half");
  turn.update->orchestration_trace_context = Change<std::string>::Set("trace");
  NewMessage timer = Event("timer", 13);
  timer.generation = 0;
  timer.visible_at = h.a().store().Now() + absl::Hours(1);
  turn.own_messages = {Event("own"), timer};
  turn.messages = {{"other", Event("hello")}, {"nobody", Event("lost")}};
  turn.tasks.push_back({5, "Act", Payload("1"), Bytes("request"), 0});
  NewChild child;
  child.instance = h.Instance("child");
  child.instance.parent = ParentLink{claim.key, 0, 3, "one"};
  child.conflict = Event("conflict", 11);
  turn.children.push_back(child);
  const CheckpointResult result = h.a().Commit(turn);
  REQUIRE(result.outcome == CheckpointOutcome::kCommitted);
  REQUIRE(result.own_seqs.size() == 2);
  REQUIRE(result.messages.size() == 2);
  CHECK(result.messages[0].outcome == DeliveryOutcome::kOk);
  CHECK(result.messages[0].lease_token == 0);
  CHECK(result.messages[1].outcome == DeliveryOutcome::kNotFound);
  REQUIRE(result.children.size() == 1);
  CHECK(result.children[0].outcome == CreateOutcome::kCreated);
  REQUIRE(result.task_keys.size() == 1);

  const auto row = h.a().Read(h.hub, "one");
  REQUIRE(row.has_value());
  CHECK(row->status == RuntimeStatus::kRunning);
  CHECK(row->custom_status == "half");
  CHECK(row->last_updated_at >= result.committed_at);
  const auto child_row = h.a().Read(h.hub, "child");
  REQUIRE(child_row.has_value());
  CHECK(child_row->parent_instance_id == "one");

  const TaskClaimResult tasks = h.b().ClaimTasks(h.hub, 10);
  REQUIRE(tasks.tasks.size() == 1);
  CHECK(tasks.tasks[0].key == result.task_keys[0]);
  CHECK(tasks.tasks[0].instance_id == "one");
  CHECK(tasks.tasks[0].task_id == 5);
  CHECK(tasks.tasks[0].version == "1");
  CHECK(*tasks.tasks[0].request == "request");

  const Claim found = ReleasedAndClaimed(h, After(turn, claim));
  CHECK(TextsOf(found.messages) == std::vector<std::string>{"own"});
  CHECK(found.messages[0].seq == result.own_seqs[0]);
  CHECK(found.messages[0].generation == kAnyGeneration);
  REQUIRE(found.next_due.has_value());
  CHECK(*found.next_due >= timer.visible_at);
  CHECK(found.turn == 1);
  REQUIRE(found.history.size() == 1);
  CHECK(*found.history[0].events == "turn 1");
  CHECK(found.orchestration_trace_context == "trace");
}

TEST_CASE("store_first_turn_makes_an_instance_running_without_an_update") {
  Harness h(AnyKind());
  const auto seen = [&](const std::string& id) {
    const auto status = h.b().Wait<InstanceStatus>(
        [&](auto done) { h.b().store().ReadStatus(h.hub, id, std::move(done)); });
    REQUIRE(status.ok());
    CHECK(h.b().Read(h.hub, id)->status == status->status);
    return status->status;
  };
  const auto create_over = [&](StatusSet replaceable) {
    NewInstance other = h.Instance("one");
    other.replaceable = replaceable;
    return h.b().Create(other);
  };
  const StatusSet pending = StatusBit(RuntimeStatus::kPending);
  const Claim claim = Started(h, "one");
  CHECK(seen("one") == RuntimeStatus::kPending);
  CHECK(create_over(kTerminalStatuses).existing_status == RuntimeStatus::kPending);

  Checkpoint turn = TurnOf(claim);
  turn.own_messages = {Event("own")};
  REQUIRE_FALSE(turn.update.has_value());
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  CHECK(seen("one") == RuntimeStatus::kRunning);
  const CreateResult refused = create_over(kTerminalStatuses | pending);
  CHECK(refused.outcome == CreateOutcome::kExists);
  CHECK(refused.existing_status == RuntimeStatus::kRunning);

  // Also when somebody else finds it.
  Claim next = ReleasedAndClaimed(h, After(turn, claim));
  CHECK(next.status == RuntimeStatus::kRunning);
  Checkpoint suspends = TurnOf(next);
  suspends.update = InstanceUpdate{RuntimeStatus::kSuspended, {}, {}, {}, {}};
  REQUIRE(h.a().Commit(suspends).outcome == CheckpointOutcome::kCommitted);
  REQUIRE(h.a().Commit(TurnOf(After(suspends, next))).outcome == CheckpointOutcome::kCommitted);
  CHECK(seen("one") == RuntimeStatus::kSuspended);
  CHECK(create_over(kTerminalStatuses | pending).outcome == CreateOutcome::kExists);
  const CreateResult replaced = create_over(StatusBit(RuntimeStatus::kSuspended));
  CHECK(replaced.outcome == CreateOutcome::kReplaced);
  CHECK(seen("one") == RuntimeStatus::kPending);
}

TEST_CASE("store_checkpoint_is_fenced_by_token_and_turn") {
  Harness h(AnyKind());
  const Claim claim = Started(h, "one");
  Checkpoint first = TurnOf(claim);
  REQUIRE(h.a().Commit(first).outcome == CheckpointOutcome::kCommitted);
  CHECK(h.a().Commit(first).outcome == CheckpointOutcome::kAlready);
  Checkpoint stale_token = TurnOf(After(first, claim));
  stale_token.lease_token = h.a().NewToken();
  CHECK(h.a().Commit(stale_token).outcome == CheckpointOutcome::kLeaseLost);
  Checkpoint skipping = TurnOf(After(first, claim));
  skipping.turn = 3;
  CHECK(h.a().Commit(skipping).outcome == CheckpointOutcome::kLeaseLost);
  Checkpoint consuming_nothing_there = TurnOf(After(first, claim));
  consuming_nothing_there.consumed = {first.consumed.at(0)};
  consuming_nothing_there.own_messages = {Event("must not appear")};
  CHECK(h.a().Commit(consuming_nothing_there).outcome == CheckpointOutcome::kLeaseLost);
  Checkpoint unknown = TurnOf(claim);
  unknown.key = claim.key + 1'000'000'000;
  unknown.instance_id = "unknown";
  CHECK(h.a().Commit(unknown).outcome == CheckpointOutcome::kGone);

  Checkpoint second = TurnOf(After(first, claim));
  second.release = true;
  REQUIRE(h.a().Commit(second).outcome == CheckpointOutcome::kCommitted);
  CHECK(h.a().Commit(second).outcome == CheckpointOutcome::kAlready);
  CHECK(h.a().ClaimAll(h.hub).claims.empty());
}

TEST_CASE("store_checkpoint_takes_out_the_tasks_that_it_completes") {
  Harness h(AnyKind());
  const Claim claim = Started(h, "one");
  Checkpoint first = TurnOf(claim);
  const LeaseToken token = h.a().NewToken();
  for (int id = 1; id <= 3; ++id) {
    first.tasks.push_back({id, "Act", std::nullopt, Bytes("request"), token});
  }
  const CheckpointResult made = h.a().Commit(first);
  REQUIRE(made.task_keys.size() == 3);
  // All or nothing: one of the two is not leased so.
  Checkpoint second = TurnOf(After(first, claim));
  second.own_messages = {Event("must not appear")};
  second.completed_tasks = {{made.task_keys[0], token}, {made.task_keys[1], h.a().NewToken()}};
  CHECK(h.a().Commit(second).outcome == CheckpointOutcome::kLeaseLost);
  second.own_messages.clear();
  second.completed_tasks[1].lease_token = token;
  REQUIRE(h.a().Commit(second).outcome == CheckpointOutcome::kCommitted);
  CHECK(h.a().Commit(second).outcome == CheckpointOutcome::kAlready);
  TaskCompletion late{made.task_keys[0], token, claim.key, 0, Event("late", 6)};
  CHECK(h.a().Complete(h.hub, "one", late).outcome == TaskOutcome::kLeaseLost);
  TaskCompletion left{made.task_keys[2], token, claim.key, 0, Event("left", 6)};
  CHECK(h.a().Complete(h.hub, "one", left).outcome == TaskOutcome::kOk);
  // A task of another instance is none of its own.
  const Claim other = Started(h, "two");
  Checkpoint foreign = TurnOf(other);
  foreign.tasks.push_back({1, "Act", std::nullopt, Bytes("request"), token});
  const CheckpointResult theirs = h.a().Commit(foreign);
  Checkpoint third = TurnOf(After(second, After(first, claim)));
  third.completed_tasks = {{theirs.task_keys.at(0), token}};
  CHECK(h.a().Commit(third).outcome == CheckpointOutcome::kLeaseLost);
  const Claim found = ReleasedAndClaimed(h, After(second, After(first, claim)));
  CHECK(TextsOf(found.messages) == std::vector<std::string>{"left"});
}

TEST_CASE("store_every_turn_counts_as_an_update") {
  Harness h(AnyKind());
  const Claim claim = Started(h, "one", 1);
  // Nothing that is visible changes, so the instance's row is not written.
  const CheckpointResult result = h.a().Commit(TurnOf(claim));
  REQUIRE(result.outcome == CheckpointOutcome::kCommitted);
  const auto row = h.a().Read(h.hub, "one");
  REQUIRE(row.has_value());
  CHECK(row->last_updated_at >= result.committed_at);
}

TEST_CASE("store_end_of_an_instance_takes_its_inbox_and_free_tasks") {
  Harness h(AnyKind());
  Claim claim = Started(h, "one");
  Checkpoint turn = TurnOf(claim);
  turn.tasks = {{1, "Act", std::nullopt, Bytes("earlier"), 0}};
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  claim = After(turn, claim);
  h.a().Send(h.hub, "one", Event("unread"));

  Checkpoint last = TurnOf(claim);
  last.ends = true;
  last.update = InstanceUpdate{RuntimeStatus::kFailed, {}, {}, "out", "details"};
  last.tasks = {{2, "Act", std::nullopt, Bytes("of the last turn"), 0}};
  REQUIRE(h.a().Commit(last).outcome == CheckpointOutcome::kCommitted);
  CHECK(h.a().Commit(last).outcome == CheckpointOutcome::kAlready);
  Checkpoint late = TurnOf(After(last, claim));
  CHECK(h.a().Commit(late).outcome == CheckpointOutcome::kGone);

  const auto row = h.a().Read(h.hub, "one");
  REQUIRE(row.has_value());
  CHECK(row->status == RuntimeStatus::kFailed);
  CHECK(row->output == "out");
  CHECK(row->failure == "details");
  CHECK(row->completed_at.has_value());
  CHECK(h.a().Send(h.hub, "one", Event("x")).outcome == DeliveryOutcome::kTerminal);
  const TaskClaimResult tasks = h.a().ClaimTasks(h.hub, 10);
  REQUIRE(tasks.tasks.size() == 1);
  CHECK(*tasks.tasks[0].request == "of the last turn");
  const TaskResult result = h.a().Complete(
      h.hub, "one", {tasks.tasks[0].key, tasks.tasks[0].lease_token, claim.key, 0, Event("r", 7)});
  CHECK(result.outcome == TaskOutcome::kInstanceGone);
}

TEST_CASE("store_continue_as_new_keeps_messages_without_generation") {
  Harness h(AnyKind());
  Claim claim = Started(h, "one");
  Checkpoint turn = TurnOf(claim);
  NewMessage timer = Event("old timer", 13);
  timer.generation = 0;
  turn.own_messages = {timer};
  turn.tasks = {{1, "Act", std::nullopt, Bytes("old task"), 0}};
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  claim = After(turn, claim);
  h.a().Send(h.hub, "one", Event("waits"));

  Checkpoint next = TurnOf(claim);
  next.next_generation = NextGeneration{"fedcba98765432100123456789abcdef", "v2", "in2", "saved"};
  NewMessage started = Event("start again", 3);
  started.generation = 1;
  NewMessage carried = Event("carried");
  carried.generation = 1;
  next.own_messages = {started, carried};
  REQUIRE(h.a().Commit(next).outcome == CheckpointOutcome::kCommitted);

  const Claim found = ReleasedAndClaimed(h, After(next, claim));
  CHECK(found.generation == 1);
  CHECK(found.turn == 2);
  CHECK(found.execution_id == "fedcba98765432100123456789abcdef");
  CHECK(found.version == "v2");
  CHECK(found.saved_custom_status == "saved");
  CHECK(found.history.empty());
  CHECK(TextsOf(found.messages) == std::vector<std::string>{"start again", "carried", "waits"});
  CHECK(h.a().ClaimTasks(h.hub, 10).tasks.empty());
  CHECK(h.a().Read(h.hub, "one")->input == "in2");
}

TEST_CASE("store_continue_as_new_carries_on_what_no_turn_was_given") {
  Harness h(AnyKind());
  Claim claim = Started(h, "one");
  const auto bound_to = [](Generation generation, NewMessage message) {
    message.generation = generation;
    return message;
  };
  Checkpoint first = TurnOf(claim);
  first.next_generation = NextGeneration{"00000000000000000000000000000001", {}, {}, {}};
  first.own_messages = {bound_to(1, Event("start 1", 3)), bound_to(1, Event("a")),
                        bound_to(1, Event("b")), bound_to(1, Event("c", 21))};
  first.release = true;
  REQUIRE(h.a().Commit(first).outcome == CheckpointOutcome::kCommitted);

  ClaimRequest capped = h.Request();
  capped.max_messages = 2;
  claim = h.a().ClaimWith(capped).claims.at(0);
  REQUIRE(TextsOf(claim.messages) == std::vector<std::string>{"start 1", "a"});
  REQUIRE(claim.more_messages);
  // A timer of the generation that ends is not carried on.
  h.a().Send(h.hub, "one", bound_to(1, Event("timer", 13)));
  Checkpoint second = TurnOf(claim);
  second.next_generation = NextGeneration{"00000000000000000000000000000002", {}, {}, {}};
  second.own_messages = {bound_to(2, Event("start 2", 3)), bound_to(2, Event("d"))};
  second.release = true;
  REQUIRE(h.a().Commit(second).outcome == CheckpointOutcome::kCommitted);

  const Claim found = h.a().ClaimOne(h.hub);
  CHECK(TextsOf(found.messages) == std::vector<std::string>{"start 2", "d", "b", "c"});
  for (const Message& message : found.messages) CHECK(message.generation == 2);
}

TEST_CASE("store_delivery_names_the_lease_and_wakes_only_other_daemons") {
  Harness h(AnyKind());
  const Claim claim = Started(h, "one", 1);
  const Delivery own = h.a().Send(h.hub, "one", Event("own"));
  CHECK(own.lease_token == claim.lease_token);
  CHECK(own.key == claim.key);
  CHECK(own.seq != 0);
  CHECK(h.a().ReadNew().empty());
  const Delivery foreign = h.b().Send(h.hub, "one", Event("foreign"));
  CHECK(foreign.lease_token == claim.lease_token);
  CHECK(h.b().ReadNew().empty());
  const std::vector<InboxRead> reads = h.a().ReadNew();
  REQUIRE(reads.size() == 1);
  CHECK(reads[0].key == claim.key);
  CHECK(reads[0].lease_token == claim.lease_token);
  CHECK(TextsOf(reads[0].messages) == std::vector<std::string>{"own", "foreign"});
  CHECK(reads[0].messages[1].seq == foreign.seq);
  CHECK(h.a().ReadNew().empty());
}

TEST_CASE("store_delivery_says_when_it_would_overtake_messages_of_others") {
  Harness h(AnyKind());
  const Claim claim = Started(h, "one", 1);
  CHECK_FALSE(h.a().Send(h.hub, "one", Event("own")).unread);
  CHECK_FALSE(h.b().Send(h.hub, "one", Event("from b")).unread);
  const Delivery behind = h.a().Send(h.hub, "one", Event("behind"));
  CHECK(behind.outcome == DeliveryOutcome::kOk);
  CHECK(behind.unread);
  const std::vector<InboxRead> read = h.a().ReadNew();
  REQUIRE(read.size() == 1);
  CHECK(read[0].lease_token == claim.lease_token);
  CHECK(TextsOf(read[0].messages) == std::vector<std::string>{"own", "from b", "behind"});
  CHECK_FALSE(h.a().Send(h.hub, "one", Event("after")).unread);
}

TEST_CASE("store_discard_consumes_and_releases") {
  Harness h(AnyKind());
  const Claim claim = Started(h, "one", 1);
  const Delivery first = h.a().Send(h.hub, "one", Event("unwanted"));
  h.a().Send(h.hub, "one", Event("wanted"));
  const auto discard = [&](LeaseToken token, bool release) {
    DiscardRequest request{claim.key, h.hub, "one", token, {first.seq}, release};
    return h.a().Wait<LeaseOutcome>(
        [&](auto done) { h.a().store().DiscardMessages(std::move(request), std::move(done)); });
  };
  CHECK(discard(h.a().NewToken(), true).value() == LeaseOutcome::kLeaseLost);
  CHECK(discard(claim.lease_token, true).value() == LeaseOutcome::kReleased);
  const Claim found = h.a().ClaimOne(h.hub);
  CHECK(TextsOf(found.messages) == std::vector<std::string>{"wanted"});
}

TEST_CASE("store_task_completes_once") {
  Harness h(AnyKind());
  Claim claim = Started(h, "one");
  Checkpoint turn = TurnOf(claim);
  const LeaseToken token = h.a().NewToken();
  turn.tasks = {{1, "Act", std::nullopt, Bytes("a"), token}, {2, "Act", "", Bytes("b"), 0}};
  const CheckpointResult result = h.a().Commit(turn);
  REQUIRE(result.task_keys.size() == 2);
  claim = After(turn, claim);
  TaskCompletion completion{result.task_keys[0], token, claim.key, 0, Event("done", 7)};
  completion.message.generation = 0;
  TaskCompletion stale = completion;
  stale.lease_token = h.a().NewToken();
  CHECK(h.a().Complete(h.hub, "one", stale).outcome == TaskOutcome::kLeaseLost);
  const TaskResult done = h.a().Complete(h.hub, "one", completion);
  CHECK(done.outcome == TaskOutcome::kOk);
  CHECK(done.delivery.key == claim.key);
  CHECK(done.delivery.lease_token == claim.lease_token);
  CHECK(h.a().Complete(h.hub, "one", completion).outcome == TaskOutcome::kLeaseLost);

  TaskClaimResult tasks = h.b().ClaimTasks(h.hub, 10);
  REQUIRE(tasks.tasks.size() == 1);
  CHECK(tasks.tasks[0].version == "");
  const auto release = [&](bool lost, absl::Duration delay) {
    TaskRelease request;
    request.key = tasks.tasks[0].key;
    request.instance_key = claim.key;
    request.lease_token = tasks.tasks[0].lease_token;
    request.delay = delay;
    request.lost = lost;
    request.hub = h.hub;
    request.instance_id = "one";
    return h.b()
        .Wait<LeaseOutcome>(
            [&](auto callback) { h.b().store().ReleaseTask(request, std::move(callback)); })
        .value();
  };
  CHECK(release(false, absl::ZeroDuration()) == LeaseOutcome::kReleased);
  tasks = h.b().ClaimTasks(h.hub, 10);
  REQUIRE(tasks.tasks.size() == 1);
  CHECK(tasks.tasks[0].lost_leases == 0);
  CHECK(release(true, absl::ZeroDuration()) == LeaseOutcome::kReleased);
  CHECK(release(true, absl::ZeroDuration()) == LeaseOutcome::kLeaseLost);
  const TaskClaimResult again = h.b().ClaimTasks(h.hub, 10);
  REQUIRE(again.tasks.size() == 1);
  CHECK(again.tasks[0].lost_leases == 1);

  const Claim found = ReleasedAndClaimed(h, claim);
  CHECK(TextsOf(found.messages) == std::vector<std::string>{"done"});
  CHECK(found.messages[0].generation == 0);
}

TEST_CASE("store_many_at_once") {
  Harness h(AnyKind());
  constexpr int kCount = 1000;
  absl::Mutex mutex;
  int created = 0;
  for (int i = 0; i < kCount; ++i) {
    h.a().store().CreateInstance(h.Instance(absl::StrCat("i", i)),
                                 [&](const NewInstance&, absl::StatusOr<CreateResult> result) {
                                   absl::MutexLock lock(&mutex);
                                   if (result.ok()) ++created;
                                 });
  }
  {
    absl::MutexLock lock(&mutex);
    mutex.Await(absl::Condition(
        +[](int* count) { return *count == kCount; }, &created));
  }
  ClaimRequest request = h.Request();
  request.groups = {{kCount, std::nullopt}};
  const ClaimResult claims = h.a().ClaimWith(request);
  REQUIRE(claims.claims.size() == kCount);
  int ended = 0;
  for (const Claim& claim : claims.claims) {
    Checkpoint turn = TurnOf(claim);
    // Every third one is stale: it must not disturb its neighbours in the batch.
    const bool stale = claim.key % 3 == 0;
    if (stale) turn.turn = 9;
    turn.ends = true;
    turn.update = InstanceUpdate{RuntimeStatus::kCompleted, {}, {}, claim.instance_id, {}};
    const CheckpointOutcome wanted =
        stale ? CheckpointOutcome::kLeaseLost : CheckpointOutcome::kCommitted;
    h.a().store().CommitCheckpoint(
        turn, [&, wanted](const Checkpoint&, absl::StatusOr<CheckpointResult> result) {
          absl::MutexLock lock(&mutex);
          if (result.ok() && result->outcome == wanted) ++ended;
        });
  }
  absl::MutexLock lock(&mutex);
  CHECK(mutex.AwaitWithTimeout(absl::Condition(
                                   +[](int* count) { return *count == kCount; }, &ended),
                               absl::Seconds(30)));
}

}  // namespace
}  // namespace dt::testing
