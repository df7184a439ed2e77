// Store behaviour, the same for every implementation: parents and children. (sql/RULES.md 3.9, 5,
// 9; RULES.md 3.30, 4.6-4.18, 5.7)
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "proto/orchestrator_service.pb.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

TEST_CASE("store_child_conflict_is_answered_into_the_own_inbox") {
  Harness h(AnyKind());
  h.a().Create(h.Instance("taken"));
  Claim taken = h.a().ClaimOne(h.hub);
  Claim parent = Started(h, "parent");
  Checkpoint turn = TurnOf(parent);
  for (const char* id : {"taken", "parent", "twice", "twice"}) {
    NewChild child;
    child.instance = h.Instance(id);
    child.instance.parent = ParentLink{parent.key, 0, 1, "parent"};
    child.conflict = Event(absl::StrCat("conflict ", turn.children.size()), 11);
    child.conflict->generation = 0;
    turn.children.push_back(child);
  }
  const CheckpointResult result = h.a().Commit(turn);
  REQUIRE(result.outcome == CheckpointOutcome::kCommitted);
  REQUIRE(result.children.size() == 4);
  std::vector<int64_t> conflicts;
  for (const int i : {0, 1, 3}) {
    CHECK(result.children[i].outcome == CreateOutcome::kExists);
    conflicts.push_back(result.children[i].conflict_seq);
  }
  CHECK(result.children[2].outcome == CreateOutcome::kCreated);
  const Claim found = ReleasedAndClaimed(h, After(turn, parent));
  CHECK(TextsOf(found.messages) ==
        std::vector<std::string>{"conflict 0", "conflict 1", "conflict 3"});
  for (size_t i = 0; i < conflicts.size(); ++i) CHECK(found.messages.at(i).seq == conflicts[i]);
}

TEST_CASE("store_child_replaces_a_terminal_instance") {
  Harness h(AnyKind());
  h.a().Create(h.Instance("child"));
  h.a().Terminate(h.hub, {"child", "x", Event("t", 5)});
  Claim parent = Started(h, "parent");
  Checkpoint turn = TurnOf(parent);
  NewChild child;
  child.instance = h.Instance("child");
  child.instance.lease_token = h.a().NewToken();
  turn.children.push_back(child);
  const CheckpointResult result = h.a().Commit(turn);
  REQUIRE(result.children.size() == 1);
  CHECK(result.children[0].outcome == CreateOutcome::kReplaced);
  const auto row = h.a().Read(h.hub, "child");
  REQUIRE(row.has_value());
  CHECK(row->status == RuntimeStatus::kPending);
  CHECK(row->key == result.children[0].key);
}

// A turn of a parent that makes a child "child" and sends it, before and after that, an event.
Checkpoint TurnWithChildAndEvents(Harness& h, const Claim& parent) {
  Checkpoint turn = TurnOf(parent);
  NewChild child;
  child.instance = h.Instance("child");
  child.instance.parent = ParentLink{parent.key, 0, 1, "parent"};
  turn.children.push_back(child);
  turn.messages = {{"child", Event("before", 17)}, {"child", Event("after", 17), true}};
  return turn;
}

TEST_CASE("store_event_to_child_of_same_turn") {
  Harness h(AnyKind());
  Claim parent = Started(h, "parent");
  SECTION("a new one gets what was sent after its creation") {}
  SECTION("one that takes the place of an ended instance likewise") {
    h.a().Create(h.Instance("child"));
    h.a().Terminate(h.hub, {"child", "x", Event("t", 5)});
  }
  Checkpoint turn = TurnWithChildAndEvents(h, parent);
  const CheckpointResult result = h.a().Commit(turn);
  REQUIRE(result.messages.size() == 2);
  CHECK(result.messages[0].outcome != DeliveryOutcome::kOk);
  CHECK(result.messages[1].outcome == DeliveryOutcome::kOk);
  CHECK(result.messages[1].key == result.children.at(0).key);
  const Claim child = h.a().ClaimOne(h.hub);
  REQUIRE(child.messages.size() == 2);
  CHECK(child.messages[0].event_type == 3);  // ExecutionStarted
  CHECK(child.messages[1].seq == result.messages[1].seq);
  CHECK(*child.messages[1].event == "after");
}

TEST_CASE("store_event_to_child_of_same_turn: a child whose id is taken leaves them to the other") {
  Harness h(AnyKind());
  Claim parent = Started(h, "parent");
  h.a().Create(h.Instance("child"));
  Checkpoint turn = TurnWithChildAndEvents(h, parent);
  const CheckpointResult result = h.a().Commit(turn);
  CHECK(result.children.at(0).outcome == CreateOutcome::kExists);
  REQUIRE(result.messages.size() == 2);
  CHECK(result.messages[0].outcome == DeliveryOutcome::kOk);
  CHECK(result.messages[1].outcome == DeliveryOutcome::kOk);
}

TEST_CASE("store_termination_of_child_of_same_turn") {
  Harness h(AnyKind());
  Claim parent = Started(h, "parent");
  Checkpoint turn = TurnWithChildAndEvents(h, parent);
  turn.messages.clear();
  turn.terminations = {{"child", "before", Event("t", 5)}, {"child", "after", Event("t", 5), true}};
  SECTION("a free one ends at once") {
    const CheckpointResult result = h.a().Commit(turn);
    REQUIRE(result.terminations.size() == 2);
    CHECK(result.terminations[0].outcome == DeliveryOutcome::kNotFound);
    CHECK(result.terminations[1].outcome == DeliveryOutcome::kDone);
    CHECK(h.a().Read(h.hub, "child")->output == "after");
    const Claim told = ReleasedAndClaimed(h, After(turn, parent));
    REQUIRE(told.messages.size() == 1);
    CHECK(told.messages[0].event_type == 11);  // SubOrchestrationInstanceFailed
  }
  SECTION("a leased one is told") {
    turn.children[0].instance.lease_token = h.a().NewToken();
    const CheckpointResult result = h.a().Commit(turn);
    REQUIRE(result.terminations.size() == 2);
    CHECK(result.terminations[1].outcome == DeliveryOutcome::kOk);
    CHECK(result.terminations[1].lease_token == turn.children[0].instance.lease_token);
  }
}

TEST_CASE("store_result_reaches_the_parent_of_that_generation_only") {
  Harness h(AnyKind());
  Claim parent = Started(h, "parent", 1);
  Claim child = Started(h, "child");
  Checkpoint turn = TurnOf(child);
  turn.parent_message = Event("result", 10);
  turn.parent_message->generation = 0;
  turn.parent_key = parent.key;
  turn.parent_generation = 0;
  CheckpointResult result = h.a().Commit(turn);
  REQUIRE(result.parent.has_value());
  CHECK(result.parent->outcome == DeliveryOutcome::kOk);
  CHECK(result.parent->lease_token == parent.lease_token);
  child = After(turn, child);
  turn = TurnOf(child);
  turn.parent_message = Event("stale", 10);
  turn.parent_key = parent.key;
  turn.parent_generation = 7;
  result = h.a().Commit(turn);
  REQUIRE(result.parent.has_value());
  CHECK(result.parent->outcome == DeliveryOutcome::kTerminal);
  const Claim found = ReleasedAndClaimed(h, parent);
  CHECK(TextsOf(found.messages) == std::vector<std::string>{"result"});
}

TEST_CASE("store_terminations_of_a_checkpoint") {
  Harness h(AnyKind());
  Claim parent = Started(h, "parent");
  Checkpoint turn = TurnOf(parent);
  NewChild child;
  child.instance = h.Instance("child");
  child.instance.parent = ParentLink{parent.key, 0, 1, "parent"};
  turn.children.push_back(child);
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  parent = After(turn, parent);
  turn = TurnOf(parent);
  turn.ends = true;
  turn.update = InstanceUpdate{RuntimeStatus::kTerminated, {}, {}, "stop", std::nullopt};
  turn.terminations = {{"child", "stop", Event("t", 5)}, {"nobody", "stop", Event("t", 5)}};
  const CheckpointResult result = h.a().Commit(turn);
  REQUIRE(result.terminations.size() == 2);
  CHECK(result.terminations[0].outcome == DeliveryOutcome::kDone);
  CHECK(result.terminations[1].outcome == DeliveryOutcome::kNotFound);
  CHECK(h.a().Read(h.hub, "child")->status == RuntimeStatus::kTerminated);
  CHECK(h.a().ClaimAll(h.hub).claims.empty());
}

// The message of a termination, as a turn makes it.
NewMessage TerminatedMessage(const std::string& reason, bool recurse) {
  HistoryEvent event;
  event.set_eventid(-1);
  event.mutable_executionterminated()->mutable_input()->set_value(reason);
  event.mutable_executionterminated()->set_recurse(recurse);
  NewMessage message;
  message.event_type = static_cast<int16_t>(event.eventType_case());
  message.event = std::make_shared<const std::string>(event.SerializeAsString());
  return message;
}

// A child of this turn's instance; it is leased by the caller if `started`, and then had a turn.
NewChild ChildOf(Harness& h, const Claim& parent, const std::string& id, bool started = true) {
  NewChild child;
  child.instance = h.Instance(id);
  child.instance.parent = ParentLink{parent.key, parent.generation, 1, parent.instance_id};
  if (started) child.instance.lease_token = h.a().NewToken();
  return child;
}

// Commits the next turn of the instance with these children; returns the claims of the started ones
// as after their first turns.
std::vector<Claim> Beget(Harness& h, Claim& parent, std::vector<NewChild> children) {
  Checkpoint turn = TurnOf(parent);
  turn.children = children;
  const CheckpointResult result = h.a().Commit(turn);
  REQUIRE(result.outcome == CheckpointOutcome::kCommitted);
  parent = After(turn, parent);
  std::vector<Claim> claims;
  for (size_t i = 0; i < children.size(); ++i) {
    if (children[i].instance.lease_token == 0) continue;
    Claim claim;
    claim.key = result.children[i].key;
    claim.hub = h.hub;
    claim.instance_id = children[i].instance.instance_id;
    claim.lease_token = children[i].instance.lease_token;
    Checkpoint first = TurnOf(claim);
    first.consumed = {result.children[i].started_seq};
    REQUIRE(h.a().Commit(first).outcome == CheckpointOutcome::kCommitted);
    claims.push_back(After(first, claim));
  }
  return claims;
}

Checkpoint EndOf(const Claim& claim, RuntimeStatus status = RuntimeStatus::kCompleted) {
  Checkpoint turn = TurnOf(claim);
  turn.ends = true;
  turn.update = InstanceUpdate{status, {}, {}, "over", std::nullopt};
  return turn;
}

// The messages that wait for instances that `a` holds, as "key: reason" of terminations.
std::vector<std::string> TerminationsFor(Harness& h, const std::vector<Claim>& claims) {
  std::vector<std::string> found;
  for (const InboxRead& read : h.a().ReadNew()) {
    for (const Message& message : read.messages) {
      HistoryEvent event;
      REQUIRE(event.ParseFromString(*message.event));
      const auto claim = std::find_if(claims.begin(), claims.end(),
                                      [&read](const Claim& c) { return c.key == read.key; });
      found.push_back((claim == claims.end() ? "?" : claim->instance_id) + ": " +
                      event.executionterminated().input().value());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

TEST_CASE("recursive_terminate: live ones below children that have ended are reached") {
  Harness h(AnyKind());
  Claim root = Started(h, "root");
  NewChild detached = ChildOf(h, root, "detached");
  detached.instance.parent->task_id.reset();
  std::vector<Claim> children =
      Beget(h, root, {ChildOf(h, root, "ended"), ChildOf(h, root, "live"), detached});
  std::vector<Claim> below = Beget(h, children[0],
                                   {ChildOf(h, children[0], "ended too"),
                                    ChildOf(h, children[0], "pending", /*started=*/false)});
  std::vector<Claim> deepest = Beget(h, below[0], {ChildOf(h, below[0], "deepest")});
  std::vector<Claim> elsewhere = Beget(h, children[1], {ChildOf(h, children[1], "elsewhere")});
  REQUIRE(h.a().Commit(EndOf(below[0])).outcome == CheckpointOutcome::kCommitted);
  REQUIRE(h.a().Commit(EndOf(children[0])).outcome == CheckpointOutcome::kCommitted);
  REQUIRE(TerminationsFor(h, {}).empty());

  Checkpoint end = EndOf(root, RuntimeStatus::kTerminated);
  end.subtree_termination = SubtreeTermination{"stop", TerminatedMessage("stop", true)};
  REQUIRE(h.a().Commit(end).outcome == CheckpointOutcome::kCommitted);
  // What is below "live" is left to its own end.
  CHECK(TerminationsFor(h, {children[1], deepest[0]}) ==
        std::vector<std::string>{"deepest: stop", "live: stop"});
  const InstanceRow pending = h.a().Read(h.hub, "pending").value();
  CHECK(pending.status == RuntimeStatus::kTerminated);
  CHECK(pending.output == "stop");
  CHECK(h.a().Read(h.hub, "ended")->status == RuntimeStatus::kCompleted);
  CHECK(h.a().Read(h.hub, "detached")->status == RuntimeStatus::kRunning);
}

TEST_CASE("recursive_terminate: children of an older generation are not of the one that ends") {
  Harness h(AnyKind());
  Claim root = Started(h, "root");
  Beget(h, root, {ChildOf(h, root, "old")});
  Checkpoint turn = TurnOf(root);
  turn.next_generation = NextGeneration{"00000000000000000000000000000001", {}, {}, {}};
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  root = After(turn, root);
  root.generation = 1;
  const std::vector<Claim> children = Beget(h, root, {ChildOf(h, root, "new")});
  Checkpoint end = EndOf(root, RuntimeStatus::kTerminated);
  end.subtree_termination = SubtreeTermination{"stop", TerminatedMessage("stop", true)};
  REQUIRE(h.a().Commit(end).outcome == CheckpointOutcome::kCommitted);
  CHECK(TerminationsFor(h, children) == std::vector<std::string>{"new: stop"});
}

TEST_CASE("recursive_terminate: one that comes while the last turn runs goes on to what is below") {
  const bool recurse = GENERATE(true, false);
  const std::string reason = GENERATE(std::string("stop"), std::string(5000, 'r'));
  Harness h(AnyKind());
  Claim root = Started(h, "root");
  const std::vector<Claim> children =
      Beget(h, root, {ChildOf(h, root, "live"), ChildOf(h, root, "pending", /*started=*/false)});
  REQUIRE(h.a().Terminate(h.hub, {"root", reason, TerminatedMessage(reason, recurse)}).outcome ==
          DeliveryOutcome::kOk);
  REQUIRE(h.a().Commit(EndOf(root)).outcome == CheckpointOutcome::kCommitted);
  CHECK(h.a().Read(h.hub, "root")->status == RuntimeStatus::kCompleted);
  const InstanceRow pending = h.a().Read(h.hub, "pending").value();
  if (recurse) {
    CHECK(TerminationsFor(h, children) == std::vector<std::string>{"live: " + reason});
    CHECK(pending.status == RuntimeStatus::kTerminated);
    CHECK(pending.output == reason);
  } else {
    CHECK(TerminationsFor(h, children).empty());
    CHECK(pending.status == RuntimeStatus::kPending);
  }
}

TEST_CASE("recursive_terminate: an instance and what is below it end at the same time") {
  Harness h(AnyKind());
  Claim root = Started(h, "root");
  std::vector<Claim> children = Beget(h, root, {ChildOf(h, root, "child")});
  const std::vector<Claim> below = Beget(h, children[0], {ChildOf(h, children[0], "live")});
  Checkpoint end = EndOf(root, RuntimeStatus::kTerminated);
  end.subtree_termination = SubtreeTermination{"stop", TerminatedMessage("stop", true)};
  absl::Notification first;
  h.a().store().CommitCheckpoint(
      end, [&first](const Checkpoint&, absl::StatusOr<CheckpointResult> result) {
        CHECK(result.value().outcome == CheckpointOutcome::kCommitted);
        first.Notify();
      });
  CHECK(h.a().Commit(EndOf(children[0])).outcome == CheckpointOutcome::kCommitted);
  first.WaitForNotification();
  CHECK(TerminationsFor(h, below) == std::vector<std::string>{"live: stop"});
}

TEST_CASE(
    "replaced_running_child: the parent of a replaced live child is told in the same transaction") {
  Harness h(AnyKind());
  h.a().Create(h.Instance("parent"));
  Claim parent = h.a().ClaimOne(h.hub);
  Checkpoint turn = TurnOf(parent);
  NewChild child;
  child.instance = h.Instance("child");
  child.instance.parent = ParentLink{parent.key, 0, 7, "parent"};
  turn.children.push_back(child);
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);

  NewInstance replacing = h.Instance("child");
  replacing.replaceable = StatusBit(RuntimeStatus::kPending);
  const CreateResult replaced = h.a().Create(replacing);
  REQUIRE(replaced.outcome == CreateOutcome::kReplaced);
  REQUIRE(replaced.parent_notice.has_value());
  CHECK(replaced.parent_notice->key == parent.key);
  CHECK(replaced.parent_notice->lease_token == parent.lease_token);
  // SubOrchestrationInstanceFailed is field 11 of HistoryEvent.
  parent = After(turn, parent);
  CHECK(h.a().Release(parent) == LeaseOutcome::kReleased);
  const ClaimResult claims = h.a().ClaimAll(h.hub);
  bool told = false;
  for (const Claim& claim : claims.claims) {
    if (claim.key != parent.key) continue;
    REQUIRE(claim.messages.size() == 1);
    CHECK(claim.messages[0].event_type == 11);
    CHECK(claim.messages[0].seq == replaced.parent_notice->seq);
    CHECK(*claim.messages[0].event == *replaced.parent_notice_event);
    told = true;
  }
  CHECK(told);
}

TEST_CASE("child_id_ancestor: the id of a live grandparent is a conflict for the child that asks") {
  Harness h(AnyKind());
  Claim grandparent = Started(h, "grandparent");
  Checkpoint turn = TurnOf(grandparent);
  NewChild middle;
  middle.instance = h.Instance("parent");
  middle.instance.parent = ParentLink{grandparent.key, 0, 1, "grandparent"};
  turn.children.push_back(middle);
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);

  Claim parent = h.a().ClaimOne(h.hub);
  REQUIRE(parent.instance_id == "parent");
  turn = TurnOf(parent);
  NewChild ancestor;
  ancestor.instance = h.Instance("grandparent");
  ancestor.instance.parent = ParentLink{parent.key, 0, 2, "parent"};
  ancestor.conflict = Event("conflict", 11);
  ancestor.conflict->generation = 0;
  turn.children.push_back(ancestor);
  const CheckpointResult result = h.a().Commit(turn);
  REQUIRE(result.children.size() == 1);
  CHECK(result.children[0].outcome == CreateOutcome::kExists);
  const Claim found = ReleasedAndClaimed(h, After(turn, parent));
  CHECK(TextsOf(found.messages) == std::vector<std::string>{"conflict"});
  CHECK(h.a().Read(h.hub, "grandparent")->key == grandparent.key);
}

}  // namespace
}  // namespace dt::testing
