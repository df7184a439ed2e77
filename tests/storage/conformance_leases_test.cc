// Store behaviour, the same for every implementation: leases that are given up, and the sweep of
// those that dead daemons held. (sql/RULES.md 3.8-3.12, 5)
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

TEST_CASE("store_release_recomputes_when_an_instance_is_due") {
  Harness h(AnyKind());
  const Claim claim = Started(h, "one", 1);
  // Handed to the holder in memory only; a release must not lose it.
  h.a().Send(h.hub, "one", Event("handed on"));
  const Claim found = ReleasedAndClaimed(h, claim);
  CHECK(TextsOf(found.messages) == std::vector<std::string>{"handed on"});
  CHECK(h.a().Release(claim) == LeaseOutcome::kLeaseLost);
}

TEST_CASE("store_abandon_delays_and_counts_only_lost_leases") {
  Harness h(AnyKind());
  Claim claim = Started(h, "one");
  CHECK(claim.lost_leases == 0);
  REQUIRE(h.a().Release(claim, absl::ZeroDuration(), false) == LeaseOutcome::kReleased);
  claim = h.a().ClaimOne(h.hub);
  CHECK(claim.lost_leases == 0);
  REQUIRE(h.a().Release(claim, absl::ZeroDuration(), true) == LeaseOutcome::kReleased);
  claim = h.a().ClaimOne(h.hub);
  CHECK(claim.lost_leases == 1);
  REQUIRE(h.a().Release(claim, absl::Hours(1), true) == LeaseOutcome::kReleased);
  ClaimResult none = h.a().ClaimAll(h.hub);
  CHECK(none.claims.empty());
  REQUIRE(none.groups.at(0).next_due.has_value());
  CHECK(*none.groups.at(0).next_due > h.a().store().Now() + absl::Minutes(50));
  // A later message does not shorten the back-off.
  h.a().Send(h.hub, "one", Event("x"));
  none = h.a().ClaimAll(h.hub);
  CHECK(none.claims.empty());
  CHECK(*none.groups.at(0).next_due > h.a().store().Now() + absl::Minutes(50));
}

TEST_CASE("store_sweep_frees_what_a_dead_daemon_held") {
  Harness h(AnyKind());
  h.a().Create(h.Instance("one"));
  Claim claim = h.b().ClaimOne(h.hub);
  Checkpoint turn = TurnOf(claim);
  const LeaseToken token = h.b().NewToken();
  turn.tasks = {{1, "Act", std::nullopt, Bytes("a"), token}};
  const CheckpointResult result = h.b().Commit(turn);
  REQUIRE(result.outcome == CheckpointOutcome::kCommitted);
  claim = After(turn, claim);
  const Delivery handed = h.b().Send(h.hub, "one", Event("handed on"));
  CHECK(handed.lease_token == claim.lease_token);
  CHECK(h.a().Sweep() == 0);
  h.world().DeclareDead(h.b().worker());
  CHECK(h.a().Sweep() == 2);
  // What the dead daemon still sends changes nothing.
  CHECK(h.b().Commit(TurnOf(claim)).outcome == CheckpointOutcome::kLeaseLost);
  CHECK(h.b()
            .Complete(h.hub, "one", {result.task_keys.at(0), token, claim.key, 0, Event("r", 7)})
            .outcome == TaskOutcome::kLeaseLost);
  const Claim found = h.a().ClaimOne(h.hub);
  CHECK(found.lost_leases == 1);
  CHECK(TextsOf(found.messages) == std::vector<std::string>{"handed on"});
  const TaskClaimResult tasks = h.a().ClaimTasks(h.hub, 10);
  REQUIRE(tasks.tasks.size() == 1);
  CHECK(tasks.tasks[0].lost_leases == 1);
}

TEST_CASE("store_sweep_holds_back_what_was_lost_again_and_again") {
  Harness h(AnyKind());
  h.a().Create(h.Instance("one"));
  Claim claim = h.b().ClaimOne(h.hub);
  Checkpoint turn = TurnOf(claim);
  turn.tasks = {{1, "Act", std::nullopt, Bytes("a"), 0}};
  REQUIRE(h.b().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  h.b().Send(h.hub, "one", Event("work"));
  claim = After(turn, claim);
  ActivityTask task = h.b().ClaimTasks(h.hub, 1).tasks.at(0);
  for (int lost = 1; lost <= 6; ++lost) {
    REQUIRE(h.b().Release(claim, absl::ZeroDuration(), /*lost=*/true) == LeaseOutcome::kReleased);
    claim = h.b().ClaimOne(h.hub);
    CHECK(claim.lost_leases == lost);
    TaskRelease release;
    release.key = task.key;
    release.instance_key = task.instance_key;
    release.lease_token = task.lease_token;
    release.hub = h.hub;
    release.instance_id = "one";
    release.lost = true;
    REQUIRE(h.b()
                .Wait<LeaseOutcome>(
                    [&](auto done) { h.b().store().ReleaseTask(release, std::move(done)); })
                .ok());
    task = h.b().ClaimTasks(h.hub, 1).tasks.at(0);
    CHECK(task.lost_leases == lost);
  }
  h.world().DeclareDead(h.b().worker());
  CHECK(h.a().Sweep() == 2);
  // For the seventh time: not before half a minute.
  const ClaimResult none = h.a().ClaimAll(h.hub);
  CHECK(none.claims.empty());
  REQUIRE(none.groups.size() == 1);
  REQUIRE(none.groups[0].next_due.has_value());
  CHECK(*none.groups[0].next_due > h.a().store().Now());
  const TaskClaimResult no_task = h.a().ClaimTasks(h.hub, 10);
  CHECK(no_task.tasks.empty());
  REQUIRE(no_task.groups.size() == 1);
  REQUIRE(no_task.groups[0].next_due.has_value());
  CHECK(*no_task.groups[0].next_due > h.a().store().Now());
}

TEST_CASE("store_stopped_daemon_leaves_nothing_leased") {
  Harness h(AnyKind());
  h.a().Create(h.Instance("one"));
  (void)h.b().ClaimOne(h.hub);
  h.b().Stop();
  const Claim found = h.a().ClaimOne(h.hub);
  CHECK(found.lost_leases == 0);
  const auto refused = h.b().Wait<InstanceStatus>(
      [&](auto done) { h.b().store().ReadStatus(h.hub, "one", std::move(done)); });
  CHECK(refused.status().code() == absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace dt::testing
