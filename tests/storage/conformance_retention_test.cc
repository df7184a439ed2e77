// Retention, on both stores (sql/RULES.md 5.13, 10).
#include <map>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

// Everything that ended goes at once.
RetentionRequest AtOnce() {
  RetentionRequest request;
  for (const RuntimeStatus status : {RuntimeStatus::kCompleted, RuntimeStatus::kFailed,
                                     RuntimeStatus::kCanceled, RuntimeStatus::kTerminated}) {
    request.keep[status] = absl::ZeroDuration();
  }
  request.pause = absl::ZeroDuration();
  return request;
}

RetentionResult Apply(Daemon& daemon, const RetentionRequest& request) {
  const auto result = daemon.Wait<RetentionResult>(
      [&](auto done) { daemon.store().ApplyRetention(request, std::move(done)); });
  REQUIRE(result.ok());
  return *result;
}

// Batches until nothing is left; what they removed of this hub, by status. Where hubs do not rest
// between two looks, as here, there must be few of them, or something always is left to look at.
std::map<RuntimeStatus, int64_t> ApplyAll(Harness& h, Daemon& daemon,
                                          const RetentionRequest& request) {
  std::map<RuntimeStatus, int64_t> purged;
  while (true) {
    const RetentionResult result = Apply(daemon, request);
    REQUIRE(result.leads);
    int64_t batch = 0;
    for (const RetentionPurge& purge : result.purges) {
      batch += purge.instances;
      if (purge.hub == h.hub_name) purged[purge.status] += purge.instances;
    }
    REQUIRE(batch <= request.max_instances);
    if (!result.more) return purged;
  }
}

void End(Harness& h, Claim claim, RuntimeStatus status) {
  Checkpoint turn = TurnOf(claim);
  turn.ends = true;
  turn.update = InstanceUpdate{};
  turn.update->status = status;
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
}

void Ended(Harness& h, const std::string& id, RuntimeStatus status) {
  End(h, Started(h, id), status);
}

// A live child of this parent's first generation, with its lease.
Claim LiveChild(Harness& h, const std::string& id, InstanceKey parent) {
  NewInstance instance = h.Instance(id);
  instance.parent = ParentLink{parent, 0, std::nullopt, "p"};
  h.a().Create(instance);
  return h.a().ClaimOne(h.hub);
}

bool Exists(Harness& h, const std::string& id) { return h.a().Read(h.hub, id).has_value(); }

using Counts = std::map<RuntimeStatus, int64_t>;

TEST_CASE("store_retention_keeps_by_status") {
  Harness h(AnyKind(), Database::kOwn);
  Ended(h, "completed", RuntimeStatus::kCompleted);
  Ended(h, "failed", RuntimeStatus::kFailed);
  Ended(h, "canceled", RuntimeStatus::kCanceled);
  Ended(h, "terminated", RuntimeStatus::kTerminated);
  h.a().Create(h.Instance("live"));
  RetentionRequest request = AtOnce();
  request.keep[RuntimeStatus::kFailed] = absl::Hours(1);
  request.keep.erase(RuntimeStatus::kCanceled);
  const Counts gone = {{RuntimeStatus::kCompleted, 1}, {RuntimeStatus::kTerminated, 1}};
  CHECK(ApplyAll(h, h.a(), request) == gone);
  CHECK_FALSE(Exists(h, "completed"));
  CHECK(Exists(h, "failed"));
  CHECK(Exists(h, "canceled"));
  CHECK(Exists(h, "live"));
  CHECK(ApplyAll(h, h.a(), request).empty());
  // What was kept goes when the rules change, and what is live never.
  const Counts rest = {{RuntimeStatus::kFailed, 1}, {RuntimeStatus::kCanceled, 1}};
  CHECK(ApplyAll(h, h.a(), AtOnce()) == rest);
  CHECK(Exists(h, "live"));
  // The id is free again.
  CHECK(h.a().Create(h.Instance("failed")).outcome == CreateOutcome::kCreated);
}

TEST_CASE("store_retention_works_in_batches_and_counts_exactly") {
  Harness h(AnyKind(), Database::kOwn);
  for (int i = 0; i < 7; ++i) Ended(h, absl::StrCat("c", i), RuntimeStatus::kCompleted);
  for (int i = 0; i < 4; ++i) Ended(h, absl::StrCat("f", i), RuntimeStatus::kFailed);
  RetentionRequest request = AtOnce();
  request.max_instances = GENERATE(1, 2, 3, 100);
  const Counts gone = {{RuntimeStatus::kCompleted, 7}, {RuntimeStatus::kFailed, 4}};
  CHECK(ApplyAll(h, h.a(), request) == gone);
}

TEST_CASE("store_retention_leaves_a_grace") {
  Harness h(AnyKind(), Database::kOwn);
  Ended(h, "just ended", RuntimeStatus::kCompleted);
  RetentionRequest request = AtOnce();
  request.grace = absl::Hours(1);
  CHECK(ApplyAll(h, h.a(), request).empty());
  CHECK(Exists(h, "just ended"));
}

TEST_CASE("store_retention_has_one_leader") {
  Harness h(AnyKind(), Database::kOwn);
  CHECK(Apply(h.a(), AtOnce()).leads);
  Ended(h, "one", RuntimeStatus::kCompleted);
  const RetentionResult other = Apply(h.b(), AtOnce());
  CHECK_FALSE(other.leads);
  CHECK(absl::StrContains(other.leader, absl::StrCat("worker ", h.a().worker())));
  CHECK(other.purges.empty());
  CHECK(Exists(h, "one"));
  SECTION("a leader whose lease is over is followed, and fenced") {
    h.world().DeclareDead(h.a().worker());
    CHECK_FALSE(Apply(h.a(), AtOnce()).leads);  // with its own lease over it does nothing
    CHECK(ApplyAll(h, h.b(), AtOnce()) == Counts{{RuntimeStatus::kCompleted, 1}});
    CHECK_FALSE(Apply(h.a(), AtOnce()).leads);
  }
  SECTION("a leader that stops is followed at once") {
    h.a().Stop();
    CHECK(ApplyAll(h, h.b(), AtOnce()) == Counts{{RuntimeStatus::kCompleted, 1}});
  }
}

TEST_CASE("store_retention_keeps_children_of_live_orchestrations") {
  Harness h(AnyKind(), Database::kOwn);
  const Claim root = Started(h, "root");
  const Claim child = LiveChild(h, "child", root.key);
  const Claim grandchild = LiveChild(h, "grandchild", child.key);
  End(h, grandchild, RuntimeStatus::kCompleted);
  End(h, child, RuntimeStatus::kCompleted);
  CHECK(ApplyAll(h, h.a(), AtOnce()).empty());
  CHECK(Exists(h, "child"));
  CHECK(Exists(h, "grandchild"));
  SECTION("until it ends") {
    End(h, root, RuntimeStatus::kFailed);
    const Counts gone = {{RuntimeStatus::kCompleted, 2}, {RuntimeStatus::kFailed, 1}};
    CHECK(ApplyAll(h, h.a(), AtOnce()) == gone);
  }
  SECTION("or continues as new") {
    Checkpoint turn = TurnOf(root);
    turn.update = InstanceUpdate{};
    turn.next_generation = NextGeneration{"00000000000000000000000000000001", {}, {}, {}};
    REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
    CHECK(ApplyAll(h, h.a(), AtOnce()) == Counts{{RuntimeStatus::kCompleted, 2}});
    CHECK(Exists(h, "root"));
  }
}

TEST_CASE("store_retention_leaves_live_children_of_ended_ones") {
  Harness h(AnyKind(), Database::kOwn);
  const Claim root = Started(h, "root");
  const Claim child = LiveChild(h, "child", root.key);
  End(h, root, RuntimeStatus::kCompleted);
  CHECK(ApplyAll(h, h.a(), AtOnce()) == Counts{{RuntimeStatus::kCompleted, 1}});
  CHECK(Exists(h, "child"));
  End(h, child, RuntimeStatus::kTerminated);
  CHECK(ApplyAll(h, h.a(), AtOnce()) == Counts{{RuntimeStatus::kTerminated, 1}});
}

}  // namespace
}  // namespace dt::testing
