#include "tests/storage/entity_harness.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "proto/orchestrator_service.pb.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

template <typename T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) {
    std::fprintf(stderr, "%s\n", value.status().ToString().c_str());
    std::abort();
  }
  return *std::move(value);
}

}  // namespace

Delivery Signal(Harness& h, const std::string& id, const std::string& text, absl::Time visible_at) {
  NewMessage message = Event(text, kSignal);
  message.visible_at = visible_at;
  return h.a().Send(h.hub, id, std::move(message));
}

std::map<std::string, Claim> ClaimEntities(Daemon& daemon, HubId hub) {
  ClaimRequest request;
  request.hub = hub;
  request.kind = InstanceKind::kEntity;
  std::map<std::string, Claim> claims;
  for (Claim& claim : daemon.ClaimWith(std::move(request)).claims) {
    std::string id = claim.instance_id;
    claims.emplace(std::move(id), std::move(claim));
  }
  return claims;
}

Claim ClaimEntity(Daemon& daemon, HubId hub, const std::string& id) {
  std::map<std::string, Claim> claims = ClaimEntities(daemon, hub);
  INFO(id);
  REQUIRE(claims.size() == 1);
  REQUIRE(claims.contains(id));
  return std::move(claims[id]);
}

bool EntityExists(Daemon& daemon, HubId hub, const std::string& id) {
  EntitySearch search;
  search.hub = hub;
  search.id_prefix = id;
  search.transient = true;
  search.max_rows = 1;
  const auto page = daemon.Wait<EntityPage>(
      [&](auto done) { daemon.store().SearchEntities(search, std::move(done)); });
  INFO(page.status().ToString());
  REQUIRE(page.ok());
  return !page->rows.empty() && page->rows[0].instance_id == id;
}

Checkpoint EntityTurn(const Claim& claim) {
  Checkpoint turn = TurnOf(claim);
  turn.history.reset();
  turn.entity.emplace();
  return turn;
}

Checkpoint ArrivalTurn(const Claim& claim) {
  Checkpoint turn = EntityTurn(claim);
  REQUIRE(!claim.messages.empty());
  REQUIRE(claim.messages.back().event_type == kLockRequest);
  turn.consumed.pop_back();
  turn.entity->arrival.emplace();
  turn.entity->arrival->request_seq = claim.messages.back().seq;
  turn.entity->arrival->grant = Event("granted", kLockGranted);
  return turn;
}

Checkpoint LockTurn(const Claim& owner, const std::string& section, std::vector<std::string> ids) {
  Checkpoint turn = TurnOf(owner);
  turn.lock_requests.push_back({section, std::move(ids), Bytes("request " + section)});
  return turn;
}

StoreUnlock UnlockOf(const Message& message) {
  REQUIRE(message.event_type == kUnlock);
  CHECK(message.visible_at == absl::InfinitePast());
  HistoryEvent event;
  REQUIRE(event.ParseFromString(*message.event));
  REQUIRE(event.has_entityunlocksent());
  CHECK(event.eventid() == -1);
  CHECK(event.has_timestamp());
  return {event.entityunlocksent().parentinstanceid().value(),
          event.entityunlocksent().criticalsectionid()};
}

Claim OwnerOf(Harness& h, const std::string& owner_id, const std::string& section,
              const std::vector<std::string>& ids) {
  const Claim owner = Started(h, owner_id);
  const Checkpoint turn = LockTurn(owner, section, ids);
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  std::map<std::string, Claim> claims = ClaimEntities(h.a(), h.hub);
  CheckpointResult result;
  for (const std::string& id : ids) result = h.a().Commit(ArrivalTurn(claims.at(id)));
  REQUIRE(result.arrival == ArrivalOutcome::kGranted);
  REQUIRE(result.grant.has_value());
  // The members other than the last have a message that says so.
  for (const std::string& id : ids) {
    REQUIRE(h.a().Release(claims.at(id)) == LeaseOutcome::kReleased);
  }
  std::map<std::string, Claim> told = ClaimEntities(h.a(), h.hub);
  CHECK(told.size() == ids.size() - 1);
  for (auto& [id, claim] : told) {
    REQUIRE(claim.messages.size() == 1);
    CHECK(claim.messages[0].event_type == kLockGranted);
    REQUIRE(h.a().Commit(EntityTurn(claim)).outcome == CheckpointOutcome::kCommitted);
    Hold(h.a(), claim);
  }
  Claim holder = After(turn, owner);
  Message grant;
  grant.seq = result.grant->seq;
  holder.messages.push_back(grant);
  return holder;
}

void Hold(Daemon& daemon, const Claim& claim) {
  REQUIRE(daemon.Release(claim, absl::InfiniteDuration()) == LeaseOutcome::kReleased);
}

void Hold(Daemon& daemon, const std::map<std::string, Claim>& claims) {
  for (const auto& [id, claim] : claims) Hold(daemon, claim);
}

Delivery QuietSend(Daemon& daemon, HubId hub, const std::string& id, NewMessage message) {
  return Must(daemon.Wait<Delivery>([&](auto done) {
    daemon.store().SendMessage({hub, id, std::move(message)}, std::move(done));
  }));
}

std::vector<Claim> QuietClaim(Daemon& daemon, HubId hub, InstanceKind kind) {
  ClaimRequest request;
  request.hub = hub;
  request.kind = kind;
  request.lease_token = daemon.NewToken();
  request.groups = {{10, std::nullopt}};
  return Must(daemon.Wait<ClaimResult>([&](auto done) {
           daemon.store().ClaimInstances(std::move(request), std::move(done));
         }))
      .claims;
}

CheckpointResult QuietCommit(Daemon& daemon, Checkpoint checkpoint) {
  return Must(daemon.Wait<CheckpointResult>(
      [&](auto done) { daemon.store().CommitCheckpoint(std::move(checkpoint), std::move(done)); }));
}

void QuietRelease(Daemon& daemon, const Claim& claim, absl::Duration delay) {
  InstanceRelease release;
  release.key = claim.key;
  release.hub = claim.hub;
  release.instance_id = claim.instance_id;
  release.lease_token = claim.lease_token;
  release.delay = delay;
  (void)Must(daemon.Wait<LeaseOutcome>(
      [&](auto done) { daemon.store().ReleaseInstance(release, std::move(done)); }));
}

}  // namespace dt::testing
