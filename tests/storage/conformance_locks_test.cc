// Store behaviour, the same for every implementation: the locks of entities. (RULES.md 7.21-7.27;
// storage/records.h)
#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "proto/orchestrator_service.pb.h"
#include "tests/storage/entity_harness.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using Ids = std::vector<std::string>;

void CheckLockedBy(const Claim& entity, const std::string& owner_id,
                   const std::string& execution_id, const std::string& section) {
  REQUIRE(entity.entity.has_value());
  REQUIRE(entity.entity->lock.has_value());
  CHECK(entity.entity->lock->owner_id == owner_id);
  CHECK(entity.entity->lock->owner_execution_id == execution_id);
  CHECK(entity.entity->lock->critical_section == section);
}

// The entities, each of which has this unlock in front and then is done: nothing is left of them.
void CheckUnlocked(Harness& h, const Ids& ids, const std::string& owner_id,
                   const std::string& section) {
  const auto claims = ClaimEntities(h.a(), h.hub);
  REQUIRE(claims.size() == ids.size());
  for (const std::string& id : ids) {
    INFO(id);
    const Claim& claim = claims.at(id);
    REQUIRE(!claim.messages.empty());
    const StoreUnlock unlock = UnlockOf(claim.messages[0]);
    CHECK(unlock.owner_id == owner_id);
    CHECK(unlock.section == section);
    Checkpoint turn = EntityTurn(claim);
    turn.consumed = {claim.messages[0].seq};
    if (claim.entity->lock.has_value()) {
      turn.entity->unlock = true;
    } else {
      turn.entity->withdrawals = {{owner_id, section}};
    }
    const CheckpointResult result = h.a().Commit(turn);
    REQUIRE(result.outcome == CheckpointOutcome::kCommitted);
    if (result.removed) continue;
    REQUIRE(h.a().Release(claim) == LeaseOutcome::kReleased);
  }
  // A withdrawal may have told others once more.
  for (int round = 0; round < 3; ++round) {
    for (const auto& [id, claim] : ClaimEntities(h.a(), h.hub)) {
      CHECK_FALSE(claim.entity->lock.has_value());
      for (const Message& message : claim.messages) UnlockOf(message);
      h.a().Commit(EntityTurn(claim));
    }
  }
  for (const std::string& id : ids) CHECK_FALSE(EntityExists(h.a(), h.hub, id));
}

TEST_CASE("store_lock_of_one_entity", "[entities]") {
  Harness h(EntityStoreKind());
  const Claim owner = Started(h, "owner");
  const CheckpointResult asked = h.a().Commit(LockTurn(owner, "s", {"@c@1"}));
  REQUIRE(asked.lock_requests.size() == 1);
  CHECK(asked.lock_requests[0].outcome == DeliveryOutcome::kOk);
  const Claim claim = ClaimEntity(h.a(), h.hub, "@c@1");
  REQUIRE(claim.messages.size() == 1);
  CHECK(claim.messages[0].seq == asked.lock_requests[0].seq);
  CHECK(claim.messages[0].event_type == kLockRequest);
  CHECK(TextOf(claim.messages[0]) == "request s");
  const Checkpoint turn = ArrivalTurn(claim);
  const CheckpointResult result = h.a().Commit(turn);
  CHECK(result.arrival == ArrivalOutcome::kGranted);
  REQUIRE(result.grant.has_value());
  CHECK(result.grant->outcome == DeliveryOutcome::kOk);
  CHECK(result.grant->key == owner.key);
  CHECK(result.grant->lease_token == owner.lease_token);
  CHECK_FALSE(result.removed);
  // The request is gone; what comes now waits, and the lock is there for whoever claims it.
  Signal(h, "@c@1", "waits");
  REQUIRE(h.a().Release(claim) == LeaseOutcome::kReleased);
  const Claim locked = ClaimEntity(h.a(), h.hub, "@c@1");
  CHECK(TextsOf(locked.messages) == Ids{"waits"});
  CheckLockedBy(locked, "owner", owner.execution_id, "s");
  Checkpoint unlock = EntityTurn(locked);
  unlock.entity->unlock = true;
  CHECK(h.a().Commit(unlock).removed);
}

TEST_CASE("store_lock_set_is_granted_when_all_have_arrived", "[entities]") {
  Harness h(EntityStoreKind());
  const Claim owner = Started(h, "owner");
  const CheckpointResult asked = h.a().Commit(LockTurn(owner, "s", {"@c@1", "@c@2", "@d@1"}));
  REQUIRE(asked.lock_requests.size() == 3);
  for (const Delivery& delivery : asked.lock_requests) {
    CHECK(delivery.visible_at == asked.lock_requests[0].visible_at);
  }
  auto claims = ClaimEntities(h.a(), h.hub);
  REQUIRE(claims.size() == 3);
  const CheckpointResult first = h.a().Commit(ArrivalTurn(claims.at("@d@1")));
  CHECK(first.arrival == ArrivalOutcome::kWaits);
  CHECK_FALSE(first.grant.has_value());
  CHECK_FALSE(first.removed);
  Hold(h.a(), claims.at("@d@1"));
  CHECK(h.a().Commit(ArrivalTurn(claims.at("@c@1"))).arrival == ArrivalOutcome::kWaits);
  // Whoever claims an entity that has arrived cannot see that, and lets it arrive again.
  REQUIRE(h.a().Release(claims.at("@c@1")) == LeaseOutcome::kReleased);
  const Claim again = ClaimEntity(h.b(), h.hub, "@c@1");
  CHECK(h.b().Commit(ArrivalTurn(again)).arrival == ArrivalOutcome::kWaits);
  const CheckpointResult last = h.a().Commit(ArrivalTurn(claims.at("@c@2")));
  CHECK(last.arrival == ArrivalOutcome::kGranted);
  REQUIRE(last.grant.has_value());
  CHECK(last.grant->outcome == DeliveryOutcome::kOk);
  // The holder of a leased member learns of it, a free one is offered.
  const auto reads = h.b().ReadNew();
  REQUIRE(reads.size() == 1);
  REQUIRE(!reads[0].messages.empty());
  CHECK(reads[0].messages[0].event_type == kLockGranted);
  CHECK(reads[0].messages[0].visible_at == absl::InfinitePast());
  CHECK(reads[0].messages.size() == 1);
  const Claim held = ClaimEntity(h.a(), h.hub, "@d@1");
  REQUIRE(held.messages.size() == 1);
  CHECK(held.messages[0].event_type == kLockGranted);
  CHECK(TextOf(held.messages[0]) == "request s");
  CheckLockedBy(held, "owner", owner.execution_id, "s");
}

TEST_CASE("store_lock_request_keeps_an_entity", "[entities]") {
  Harness h(EntityStoreKind());
  Signal(h, "@c@1", "one");
  const Claim claim = ClaimEntity(h.a(), h.hub, "@c@1");
  h.a().Commit(LockTurn(Started(h, "owner"), "s", {"@c@1"}));
  CHECK_FALSE(h.a().Commit(EntityTurn(claim)).removed);
}

TEST_CASE("store_grant_is_of_the_generation_of_its_owner", "[entities]") {
  Harness h(EntityStoreKind());
  const Claim owner = Started(h, "owner");
  const Checkpoint asks = LockTurn(owner, "s", {"@c@1"});
  h.a().Commit(asks);
  h.a().Commit(ArrivalTurn(ClaimEntity(h.a(), h.hub, "@c@1")));
  Checkpoint next = TurnOf(After(asks, owner));
  next.consumed.clear();
  next.next_generation = NextGeneration{"fedcba9876543210fedcba9876543210", {}, {}, {}};
  next.own_messages = {Event("start", 3)};
  next.releases_locks = true;
  REQUIRE(h.a().Commit(next).outcome == CheckpointOutcome::kCommitted);
  Claim after = owner;
  after.turn = next.turn;
  CHECK(TextsOf(ReleasedAndClaimed(h, after).messages) == Ids{"start"});
}

TEST_CASE("store_lock_requests_are_in_one_order", "[entities]") {
  Harness h(EntityStoreKind());
  SECTION("of overlapping sets one after the other") {
    h.a().Commit(LockTurn(Started(h, "owner 1"), "s1", {"@c@1", "@c@2"}));
    h.a().Commit(LockTurn(Started(h, "owner 2"), "s2", {"@c@2", "@c@3"}));
    h.a().Commit(LockTurn(Started(h, "owner 3"), "s3", {"@c@1", "@c@3"}));
    const auto claims = ClaimEntities(h.a(), h.hub);
    CHECK(TextsOf(claims.at("@c@1").messages) == Ids{"request s1", "request s3"});
    CHECK(TextsOf(claims.at("@c@2").messages) == Ids{"request s1", "request s2"});
    CHECK(TextsOf(claims.at("@c@3").messages) == Ids{"request s2", "request s3"});
  }
  SECTION("of one turn") {
    Checkpoint turn = LockTurn(Started(h, "owner"), "s1", {"@c@1", "@c@2"});
    turn.messages = {{"@c@1", Event("before", kSignal)}};
    turn.lock_requests.push_back({"s2", {"@c@2"}, Bytes("request s2")});
    const CheckpointResult result = h.a().Commit(turn);
    CHECK(result.lock_requests.size() == 3);
    const auto claims = ClaimEntities(h.a(), h.hub);
    CHECK(TextsOf(claims.at("@c@1").messages) == Ids{"before", "request s1"});
    CHECK(TextsOf(claims.at("@c@2").messages) == Ids{"request s1", "request s2"});
  }
}

// What the sets of the concurrent tests are made of.
const std::array<Ids, 5> kSets = {Ids{"@c@1", "@c@2"}, Ids{"@c@2", "@c@3"}, Ids{"@c@1", "@c@3"},
                                  Ids{"@c@1", "@c@2", "@c@3"}, Ids{"@c@2"}};

TEST_CASE("store_lock_requests_of_two_daemons_are_in_one_order", "[entities]") {
  Harness h(EntityStoreKind());
  constexpr int kOwners = 30;
  std::vector<Claim> owners;
  owners.reserve(2 * kOwners);
  for (int i = 0; i < 2 * kOwners; ++i) {
    Daemon& daemon = i % 2 == 0 ? h.a() : h.b();
    daemon.Create(h.Instance(absl::StrCat("owner ", i)));
    owners.push_back(daemon.ClaimOne(h.hub));
  }
  const auto ask = [&](Daemon& daemon, int from) {
    for (size_t i = from; i < owners.size(); i += 2) {
      const Ids& set = kSets[i % kSets.size()];
      if (QuietCommit(daemon, LockTurn(owners[i], absl::StrCat("s", i), set)).outcome !=
          CheckpointOutcome::kCommitted) {
        std::abort();
      }
    }
  };
  std::thread other([&] { ask(h.b(), 1); });
  ask(h.a(), 0);
  other.join();
  std::vector<Ids> orders;
  for (const auto& [id, claim] : ClaimEntities(h.a(), h.hub)) {
    orders.push_back(TextsOf(claim.messages));
  }
  REQUIRE(orders.size() == 3);
  const auto place = [](const Ids& order, const std::string& request) {
    return std::find(order.begin(), order.end(), request) - order.begin();
  };
  for (const Ids& left : orders) {
    for (const Ids& right : orders) {
      Ids common;
      for (const std::string& request : left) {
        if (place(right, request) < static_cast<int64_t>(right.size())) common.push_back(request);
      }
      CHECK(std::is_sorted(common.begin(), common.end(), [&](const auto& x, const auto& y) {
        return place(right, x) < place(right, y);
      }));
    }
  }
}

TEST_CASE("store_lock_request_is_taken_back", "[entities]") {
  Harness h(EntityStoreKind());
  const Claim owner = Started(h, "owner");
  h.a().Commit(LockTurn(owner, "s", {"@c@1", "@c@2"}));
  h.a().Commit(LockTurn(Started(h, "other"), "t", {"@c@1", "@c@2"}));
  auto claims = ClaimEntities(h.a(), h.hub);
  Claim& one = claims.at("@c@1");
  Claim& two = claims.at("@c@2");
  const int64_t taken_back = one.messages.at(0).seq;
  Checkpoint arrival = ArrivalTurn(one);
  arrival.entity->arrival->request_seq = taken_back;
  arrival.consumed.clear();
  REQUIRE(h.a().Commit(arrival).arrival == ArrivalOutcome::kWaits);
  Checkpoint turn = EntityTurn(two);
  turn.consumed.clear();
  turn.entity->withdrawals = {{"owner", "s"}, {"owner", "unknown"}, {"nobody", "s"}};
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  REQUIRE(h.a().Release(one) == LeaseOutcome::kReleased);
  REQUIRE(h.a().Release(two) == LeaseOutcome::kReleased);
  claims = ClaimEntities(h.a(), h.hub);
  CHECK(TextsOf(claims.at("@c@2").messages) == Ids{"request t"});
  const auto& told = claims.at("@c@1").messages;
  REQUIRE(told.size() == 2);
  const StoreUnlock unlock = UnlockOf(told[0]);
  CHECK(unlock.owner_id == "owner");
  CHECK(unlock.section == "s");
  CHECK(TextOf(told[1]) == "request t");
  // The next one is granted; an arrival at what was taken back is gone.
  Checkpoint stale = EntityTurn(claims.at("@c@1"));
  stale.consumed = {told[0].seq};
  stale.entity->withdrawals = {{"owner", "s"}};
  stale.entity->arrival = LockArrival{taken_back, Event("granted", kLockGranted)};
  CHECK(h.a().Commit(stale).arrival == ArrivalOutcome::kGone);
  Claim next = After(stale, claims.at("@c@1"));
  next.messages = {told[1]};
  CHECK(h.a().Commit(ArrivalTurn(next)).arrival == ArrivalOutcome::kWaits);
  CHECK(h.a().Commit(ArrivalTurn(claims.at("@c@2"))).arrival == ArrivalOutcome::kGranted);
}

TEST_CASE("store_owner_gone_while_waiting", "[entities]") {
  Harness h(EntityStoreKind());
  const Claim owner = Started(h, "owner");
  const Checkpoint asks = LockTurn(owner, "s", {"@c@1", "@c@2"});
  h.a().Commit(asks);
  auto claims = ClaimEntities(h.a(), h.hub);
  REQUIRE(h.a().Commit(ArrivalTurn(claims.at("@c@1"))).arrival == ArrivalOutcome::kWaits);
  Checkpoint ends = TurnOf(After(asks, owner));
  SECTION("it ends") {
    ends.update.emplace().status = RuntimeStatus::kCompleted;
    ends.ends = ends.releases_locks = true;
    REQUIRE(h.a().Commit(ends).outcome == CheckpointOutcome::kCommitted);
  }
  SECTION("it continues as new") {
    ends.next_generation = NextGeneration{"fedcba9876543210fedcba9876543210", {}, {}, {}};
    ends.releases_locks = true;
    REQUIRE(h.a().Commit(ends).outcome == CheckpointOutcome::kCommitted);
  }
  SECTION("it is replaced") {
    NewInstance instance = h.Instance("owner");
    instance.replaceable = StatusBit(RuntimeStatus::kRunning);
    REQUIRE(h.a().Create(instance).outcome == CreateOutcome::kReplaced);
  }
  CHECK(h.a().Commit(ArrivalTurn(claims.at("@c@2"))).arrival == ArrivalOutcome::kGone);
  REQUIRE(h.a().Release(claims.at("@c@1")) == LeaseOutcome::kReleased);
  REQUIRE(h.a().Release(claims.at("@c@2")) == LeaseOutcome::kReleased);
  CheckUnlocked(h, {"@c@1", "@c@2"}, "owner", "s");
}

TEST_CASE("store_owner_gone_while_holding", "[entities]") {
  Harness h(EntityStoreKind());
  const Ids ids = {"@c@1", "@c@2"};
  const Claim owner = OwnerOf(h, "owner", "s", ids);
  CHECK(ClaimEntities(h.a(), h.hub).empty());
  Checkpoint ends = TurnOf(owner);
  ends.releases_locks = true;
  SECTION("it ends, and is purged") {
    ends.update.emplace().status = RuntimeStatus::kCompleted;
    ends.ends = true;
    REQUIRE(h.a().Commit(ends).outcome == CheckpointOutcome::kCommitted);
    const auto claims = ClaimEntities(h.a(), h.hub);
    CheckLockedBy(claims.at("@c@1"), "owner", "", "s");
    for (const std::string& id : ids) {
      REQUIRE(h.a().Release(claims.at(id)) == LeaseOutcome::kReleased);
    }
    const auto purged = h.a().Wait<PurgeResult>([&](auto done) {
      PurgeRequest request;
      request.hub = h.hub;
      request.instance_ids = {"owner"};
      h.a().store().PurgeInstances(request, std::move(done));
    });
    REQUIRE(purged->deleted == 1);
    const auto orphans = ClaimEntities(h.a(), h.hub);
    CheckLockedBy(orphans.at("@c@2"), "", "", "s");
    for (const std::string& id : ids) {
      REQUIRE(h.a().Release(orphans.at(id)) == LeaseOutcome::kReleased);
    }
  }
  SECTION("it continues as new") {
    ends.next_generation = NextGeneration{"fedcba9876543210fedcba9876543210", {}, {}, {}};
    REQUIRE(h.a().Commit(ends).outcome == CheckpointOutcome::kCommitted);
  }
  SECTION("it is replaced") {
    NewInstance instance = h.Instance("owner");
    instance.replaceable = StatusBit(RuntimeStatus::kRunning);
    REQUIRE(h.a().Create(instance).outcome == CreateOutcome::kReplaced);
  }
  CheckUnlocked(h, ids, "owner", "s");
}

TEST_CASE("store_lock_holder_does_not_end_at_once", "[entities]") {
  Harness h(EntityStoreKind());
  OwnerOf(h, "owner", "s", {"@c@1"});
  const auto not_ended = h.a().Wait<Ids>([&](auto done) {
    ImmediateTermination request;
    request.hub = h.hub;
    request.instance_ids = {"owner"};
    h.a().store().TerminateNow(request, std::move(done));
  });
  REQUIRE(not_ended.ok());
  CHECK(*not_ended == Ids{"owner"});
}

TEST_CASE("store_rewound_owner_holds_nothing", "[entities]") {
  Harness h(EntityStoreKind());
  const Ids ids = {"@c@1", "@c@2"};
  const Claim owner = OwnerOf(h, "owner", "s", ids);
  RewindRequest request;
  request.hub = h.hub;
  Rewind& rewind = request.rewinds.emplace_back();
  rewind.live = true;
  rewind.found_execution_id = owner.execution_id;
  rewind.execution_id = "fedcba9876543210fedcba9876543210";
  rewind.checkpoint = TurnOf(owner);
  rewind.checkpoint.history->first_event = 0;
  rewind.checkpoint.release = true;
  const auto outcome = h.a().Wait<RewindOutcome>(
      [&](auto done) { h.a().store().RewindInstances(std::move(request), std::move(done)); });
  REQUIRE(outcome.ok());
  REQUIRE(*outcome == RewindOutcome::kRewound);
  CheckUnlocked(h, ids, "owner", "s");
}

TEST_CASE("store_locked_entities_go_with_their_hub", "[entities]") {
  Harness h(EntityStoreKind());
  OwnerOf(h, "owner", "s", {"@c@1", "@c@2"});
  h.a().Commit(LockTurn(Started(h, "other"), "t", {"@c@1", "@c@2"}));
  const auto deleted = h.a().Wait<bool>([&](auto done) {
    h.a().store().DeleteHub(h.hub_name, [done](const absl::Status& status) mutable {
      done(absl::StatusOr<bool>(status.ok()));
    });
  });
  CHECK(*deleted);
  CHECK_FALSE(EntityExists(h.a(), h.hub, "@c@1"));
}

// Two daemons that run owners and entities as a dispatcher does, with as little as that needs.
class LockWorld {
 public:
  LockWorld(Harness& h, int owners) : h_(h), owners_(owners) {}

  void Run() {
    for (int i = 0; i < owners_; ++i) {
      NewInstance instance = h_.Instance(absl::StrCat("owner ", i));
      instance.started.event = Bytes(absl::StrCat(i));
      h_.a().Create(std::move(instance));
    }
    std::thread other([this] { Work(h_.b()); });
    Work(h_.a());
    other.join();
  }
  int ended() const { return ended_; }
  int overlaps() const {
    absl::MutexLock lock(&mutex_);
    return overlaps_;
  }

 private:
  void Work(Daemon& daemon) {
    const absl::Time until = absl::Now() + absl::Seconds(60);
    while (ended_ < owners_ && absl::Now() < until) {
      for (const Claim& claim : QuietClaim(daemon, h_.hub, InstanceKind::kOrchestration)) {
        RunOwner(daemon, claim);
      }
      for (const Claim& claim : QuietClaim(daemon, h_.hub, InstanceKind::kEntity)) {
        RunEntity(daemon, claim);
      }
    }
  }

  int& HolderOf(const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return holders_[id.back() - '1'];
  }

  void RunOwner(Daemon& daemon, const Claim& claim) {
    const int owner = std::stoi(claim.instance_id.substr(6));
    const Ids& set = kSets[owner % kSets.size()];
    Checkpoint turn = TurnOf(claim);
    if (claim.turn == 0) {
      turn = LockTurn(claim, absl::StrCat("s", owner), set);
      turn.release = true;
      QuietCommit(daemon, turn);
      return;
    }
    if (claim.turn == 1) {  // granted
      absl::MutexLock lock(&mutex_);
      for (const std::string& id : set) overlaps_ += HolderOf(id)++ == 0 ? 0 : 1;
      turn.own_messages = {Event("end")};
      turn.release = true;
      QuietCommit(daemon, turn);
      return;
    }
    // Some leave the release to the store.
    turn.releases_locks = owner % 3 == 0;
    for (const std::string& id : set) {
      if (turn.releases_locks) break;
      HistoryEvent event;
      event.mutable_entityunlocksent()->set_criticalsectionid(absl::StrCat("s", owner));
      event.mutable_entityunlocksent()->mutable_parentinstanceid()->set_value(claim.instance_id);
      AddressedMessage unlock{id, Event(event.SerializeAsString(), kUnlock)};
      unlock.front = true;
      turn.messages.push_back(std::move(unlock));
    }
    turn.update.emplace().status = RuntimeStatus::kCompleted;
    turn.ends = true;
    {
      absl::MutexLock lock(&mutex_);
      for (const std::string& id : set) --HolderOf(id);
    }
    QuietCommit(daemon, turn);
    ++ended_;
  }

  static void RunEntity(Daemon& daemon, const Claim& claim) {
    Checkpoint turn = EntityTurn(claim);
    turn.consumed.clear();
    bool locked = claim.entity->lock.has_value();
    for (const Message& message : claim.messages) {
      if (locked && message.visible_at != absl::InfinitePast()) break;
      if (message.event_type == kLockRequest) {
        turn.entity->arrival = LockArrival{message.seq, Event("granted", kLockGranted)};
        break;
      }
      turn.consumed.push_back(message.seq);
      if (message.event_type != kUnlock) continue;
      HistoryEvent event;
      if (!event.ParseFromString(*message.event)) std::abort();
      const auto& unlock = event.entityunlocksent();
      if (locked && claim.entity->lock->critical_section == unlock.criticalsectionid()) {
        turn.entity->unlock = true;
        locked = false;
      } else {
        turn.entity->withdrawals.push_back(
            {unlock.parentinstanceid().value(), unlock.criticalsectionid()});
      }
    }
    const CheckpointResult result = QuietCommit(daemon, turn);
    if (result.outcome != CheckpointOutcome::kCommitted || result.removed) return;
    const bool blocked =
        locked || (result.arrival.has_value() && *result.arrival != ArrivalOutcome::kGone);
    QuietRelease(daemon, claim, blocked ? absl::InfiniteDuration() : absl::ZeroDuration());
  }

  Harness& h_;
  const int owners_;
  std::atomic<int> ended_ = 0;
  mutable absl::Mutex mutex_;
  std::array<int, 3> holders_ ABSL_GUARDED_BY(mutex_) = {};
  int overlaps_ ABSL_GUARDED_BY(mutex_) = 0;
};

TEST_CASE("store_overlapping_locks_of_two_daemons_are_all_granted", "[entities]") {
  Harness h(EntityStoreKind());
  (void)h.b();
  constexpr int kOwners = 60;
  LockWorld world(h, kOwners);
  world.Run();
  CHECK(world.ended() == kOwners);
  CHECK(world.overlaps() == 0);
  // Nothing is left locked, nor waiting.
  const absl::Time until = absl::Now() + absl::Seconds(20);
  const auto left = [&] {
    return std::any_of(kSets[3].begin(), kSets[3].end(),
                       [&](const std::string& id) { return EntityExists(h.a(), h.hub, id); });
  };
  while (left() && absl::Now() < until) {
    for (const auto& [id, claim] : ClaimEntities(h.a(), h.hub)) {
      Checkpoint turn = EntityTurn(claim);
      turn.entity->unlock = claim.entity->lock.has_value();
      for (const Message& message : claim.messages) CHECK(message.event_type == kUnlock);
      h.a().Commit(turn);
      h.a().Release(claim);
    }
  }
  CHECK_FALSE(left());
}

}  // namespace
}  // namespace dt::testing
