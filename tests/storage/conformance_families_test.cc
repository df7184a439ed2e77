// Store behaviour, the same for every implementation: parents and children. (storage.md 3.9, 5, 9;
// RULES.md 3.30, 4.6-4.18, 5.7)
#include "absl/strings/str_cat.h"
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
    child.conflict.generation = 0;
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
  h.a().Terminate(h.hub, {"child", "x", 0, Event("t", 5)});
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
  turn.terminations = {{"child", "stop", parent.key, Event("t", 5)},
                       {"nobody", "stop", 0, Event("t", 5)}};
  const CheckpointResult result = h.a().Commit(turn);
  REQUIRE(result.terminations.size() == 2);
  CHECK(result.terminations[0].outcome == DeliveryOutcome::kDone);
  CHECK(result.terminations[1].outcome == DeliveryOutcome::kNotFound);
  CHECK(h.a().Read(h.hub, "child")->status == RuntimeStatus::kTerminated);
  CHECK(h.a().ClaimAll(h.hub).claims.empty());
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
  ancestor.conflict.generation = 0;
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
