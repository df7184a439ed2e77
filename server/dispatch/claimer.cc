#include "server/dispatch/claimer.h"

#include <algorithm>

#include "spdlog/spdlog.h"

namespace dt::dispatch {
namespace {

// A claim takes no more for one set of filters, and the next one follows at once. So a daemon that
// finds a large backlog sends its first item before it has read all that its workers could take.
constexpr int kClaimItemsMax = 500;
// A claim that takes too long makes the next one so much smaller; each good one makes it twice as
// large.
constexpr int kClaimShrink = 3;
constexpr int kClaimShiftMax = 9;  // one item
// Hints tell of work, so that polls find what a lost one would have told, and may be rarer.
constexpr int kHearingPollFactor = 2;
// How long a hub without room for more work is left alone, and how often that is logged.
constexpr absl::Duration kNoRoomDelay = absl::Milliseconds(100);
constexpr absl::Duration kNoRoomLogInterval = absl::Seconds(60);

constexpr InstanceKind KindOf(WorkType type) {
  return type == WorkType::kEntity ? InstanceKind::kEntity : InstanceKind::kOrchestration;
}

constexpr const char* NounOf(WorkType type) {
  if (type == WorkType::kEntity) return "entities";
  return type == WorkType::kTurn ? "turns" : "activities";
}

}  // namespace

absl::Duration Claimer::PollDelay(StepContext& step, int empty_polls) {
  const DispatchLimits& limits = step.limits;
  const int doublings = std::clamp(empty_polls - 1, 0, 20);
  const absl::Duration delay =
      limits.poll_min + step.Jittered(limits.poll_delta * (int64_t{1} << doublings));
  return std::min(delay, step.hears ? kHearingPollFactor * limits.poll_max : limits.poll_max);
}

// --- Beginning

int64_t Claimer::BytesFor(Hub& hub, WorkType type) {
  const int64_t room = step_.work.Room(hub.work_bytes);
  if (room > 0) return std::min(room, step_.limits.claim_bytes_max >> hub.claim_shift[Index(type)]);
  hub.claim_after[Index(type)] = step_.steady + kNoRoomDelay;
  if (step_.steady >= hub.room_logged_at + kNoRoomLogInterval) {
    hub.room_logged_at = step_.steady;
    spdlog::warn(
        "task hub '{}': {} bytes of its work wait here or at its workers, of {} bytes of all hubs; "
        "no more is taken on until some of it ends. If its workers are slow or do not read, look "
        "at them; else raise memory.bytes-max, or add daemons",
        hub.name, hub.work_bytes, step_.work.total());
  }
  return 0;
}

void Claimer::Shrink(Hub& hub, WorkType type) {
  int& shift = hub.claim_shift[Index(type)];
  shift = std::min(kClaimShiftMax, shift + kClaimShrink);
  spdlog::warn(
      "task hub '{}': a claim of {} took too long; the next one asks for {} items and {} "
      "bytes at most",
      hub.name, NounOf(type), std::max(1, kClaimItemsMax >> shift),
      step_.limits.claim_bytes_max >> shift);
}

void Claimer::Start(Hub& hub, WorkType type) {
  if (hub.claiming[Index(type)] || ClaimAfter(hub, type) > step_.steady) return;
  const auto has_room = [type](const auto& pool) { return pool->type == type && pool->free() > 0; };
  const bool due = std::any_of(hub.pools.begin(), hub.pools.end(), [&](const auto& pool) {
    return pool->next_claim <= step_.steady && has_room(pool);
  });
  if (!due) return;
  ClaimInFlight claim{&hub, type, {}};
  ClaimRequest request;
  for (const auto& pool : hub.pools) {
    if (!has_room(pool)) continue;
    claim.pools.push_back(pool.get());
    const int items_max = std::max(1, kClaimItemsMax >> hub.claim_shift[Index(type)]);
    request.groups.push_back({std::min(pool->free(), items_max), pool->filters,
                              pool->GivenBack(step_.steady, &pool->retry_at)});
  }
  claim.bytes = BytesFor(hub, type);
  if (claim.bytes == 0) return;
  step_.work.Add(hub.work_bytes, claim.bytes);
  for (size_t i = 0; i < claim.pools.size(); ++i) {
    Pool& pool = *claim.pools[i];
    pool.claiming = true;
    pool.asked = request.groups[i].max_items;
    pool.woken_at = absl::InfiniteFuture();
  }
  hub.claiming[Index(type)] = true;
  claim.hinted = std::exchange(hub.hinted[Index(type)], false);
  request.hub = hub.id;
  request.lease_token = step_.NewToken();
  request.max_messages = step_.limits.turn.messages_max;
  request.max_message_bytes = step_.limits.turn.message_bytes_max;
  request.max_total_bytes = claim.bytes;
  arrivals_.Expect(request.lease_token);
  claims_[request.lease_token] = std::move(claim);
  if (type == WorkType::kActivity) {
    step_.Do(ClaimTasks{std::move(request)});
  } else {
    request.kind = KindOf(type);
    step_.Do(ClaimInstances{std::move(request)});
  }
}

void Claimer::WorkFree(Hub& hub, WorkType type, absl::Time at) {
  for (auto& pool : hub.pools) {
    if (pool->type != type) continue;
    pool->woken_at = std::min(pool->woken_at, at);
    if (at > step_.steady) {
      pool->next_claim = std::min(pool->next_claim, at);
      continue;
    }
    pool->empty_claims = 0;
    pool->next_claim = step_.steady;
    matcher_.MarkDirty(hub);
  }
}

void Claimer::WorkFree(HubId hub, WorkType type) {
  if (Hub* known = matcher_.table().FindHub(hub)) WorkFree(*known, type, step_.steady);
}

void Claimer::Hinted(Hub& hub) {
  for (const WorkType type : kAllWorkTypes) {
    hub.hinted[Index(type)] = true;
    WorkFree(hub, type, hub.hint_backoff[Index(type)].NextLook(step_.steady));
  }
}

// --- Ending

void Claimer::End(LeaseToken token, const std::vector<ClaimedGroup>& groups, bool failed) {
  const auto found = claims_.find(token);
  if (found != claims_.end()) {
    const ClaimInFlight claim = std::move(found->second);
    claims_.erase(found);
    claim.hub->claiming[Index(claim.type)] = false;
    step_.work.Add(claim.hub->work_bytes, -claim.bytes);
    const bool empty =
        !failed && std::all_of(groups.begin(), groups.end(),
                               [](const ClaimedGroup& group) { return group.items == 0; });
    if (claim.hinted && empty) claim.hub->hint_backoff[Index(claim.type)].Add(step_.steady);
    for (size_t i = 0; i < claim.pools.size(); ++i) {
      Pool& pool = *claim.pools[i];
      pool.claiming = false;
      if (!failed) Served(pool, i < groups.size() ? groups[i] : ClaimedGroup());
      if (failed) pool.next_claim = step_.steady;  // as soon as the hub may claim again
    }
    matcher_.table().DropUnusedPools(*claim.hub);
    matcher_.MarkDirty(*claim.hub);
  }
  arrivals_.Forget(token);
}

void Claimer::Served(Pool& pool, const ClaimedGroup& group) {
  if (group.items > 0) pool.empty_claims = 0;
  if (group.items >= pool.asked || group.cut) {
    pool.next_claim = step_.steady;
    return;
  }
  if (group.items == 0) ++pool.empty_claims;
  pool.next_claim = step_.steady + PollDelay(step_, pool.empty_claims);
  // What was due already and did not come is with somebody else.
  if (group.next_due.has_value() && *group.next_due > step_.now) {
    pool.next_claim = std::min(pool.next_claim, step_.SteadyOf(*group.next_due));
  }
  pool.next_claim =
      std::min(pool.next_claim, std::max(step_.steady, std::min(pool.retry_at, pool.woken_at)));
}

void Claimer::Succeeded(HubId hub_id, LeaseToken token, WorkType type) {
  recovery_failures_.Succeeded(token);
  Hub* hub = matcher_.table().FindHub(hub_id);
  if (hub == nullptr) return;
  LeaseToken& in_doubt = hub->claim_in_doubt[Index(type)];
  if (!claims_.contains(token) && in_doubt != token) return;
  if (in_doubt == token) in_doubt = 0;
  claim_failures_.Succeeded({hub_id, type});
  hub->claim_after[Index(type)] = absl::InfinitePast();
  if (int& shift = hub->claim_shift[Index(type)]; shift > 0) --shift;
  matcher_.MarkDirty(*hub);
}

bool Claimer::Failed(HubId hub, LeaseToken token, WorkType type, const absl::Status& status,
                     bool recovered) {
  // It may have leased something under this token, which nobody else knows; but not if the queue of
  // the store was full, if it took too long, or if the hub is gone, with all that was in it.
  const bool gone = absl::IsNotFound(status);
  const bool in_doubt =
      !gone &&
      (recovered || (!absl::IsResourceExhausted(status) && !absl::IsDeadlineExceeded(status)));
  Hub* known = matcher_.table().FindHub(hub);
  if (known != nullptr &&
      (claims_.contains(token) || known->claim_in_doubt[Index(type)] == token)) {
    if (!gone) {
      known->claim_after[Index(type)] =
          step_.steady + step_.Jittered(claim_failures_.Failed({hub, type}, step_.steady));
    }
    if (absl::IsDeadlineExceeded(status)) Shrink(*known, type);
    if (in_doubt) known->claim_in_doubt[Index(type)] = token;
  }
  if (in_doubt) Recover(hub, type, token);
  End(token, {}, /*failed=*/true);
  return gone;
}

void Claimer::ForgetDoubts(Hub& hub) {
  for (LeaseToken& in_doubt : hub.claim_in_doubt) in_doubt = 0;
}

absl::Time Claimer::ClaimAfter(const Hub& hub, WorkType type) {
  return hub.claim_in_doubt[Index(type)] != 0 ? absl::InfiniteFuture()
                                              : hub.claim_after[Index(type)];
}

void Claimer::Recover(HubId hub, WorkType type, LeaseToken token) {
  if (step_.ended) return;
  arrivals_.BeginRecovery(token);
  ClaimRequest request;
  request.hub = hub;
  request.lease_token = token;
  request.repeat = true;
  request.max_messages = step_.limits.turn.messages_max;
  request.max_message_bytes = step_.limits.turn.message_bytes_max;
  const Hub* known = matcher_.table().FindHub(hub);
  const bool in_doubt = known != nullptr && known->claim_in_doubt[Index(type)] == token;
  // The hub claims nothing while a claim is in doubt, so that is asked for sooner.
  const absl::Duration delay = in_doubt ? known->claim_after[Index(type)] - step_.steady
                                        : recovery_failures_.Failed(token, step_.steady);
  if (type == WorkType::kActivity) {
    retries_.Later(delay, ClaimTasks{std::move(request)});
  } else {
    request.kind = KindOf(type);
    retries_.Later(delay, ClaimInstances{std::move(request)});
  }
}

void Claimer::Reset() {
  arrivals_.Clear();
  for (const auto& [token, claim] : claims_) {
    step_.work.Add(claim.hub->work_bytes, -claim.bytes);
  }
  claims_.clear();
  for (const auto& [id, hub] : matcher_.table().hubs()) {
    for (auto& pool : hub->pools) {
      pool->claiming = false;
      pool->next_claim = absl::InfinitePast();
      pool->empty_claims = 0;
    }
    for (const WorkType type : kAllWorkTypes) {
      hub->claiming[Index(type)] = false;
      hub->claim_in_doubt[Index(type)] = 0;
    }
    matcher_.table().DropUnusedPools(*hub);
    matcher_.MarkDirty(*hub);
  }
}

// --- Time

void Claimer::OnTime() {
  for (const auto& [id, hub] : matcher_.table().served()) {
    for (auto& pool : hub->pools) {
      if (!pool->claiming && pool->next_claim <= step_.steady) matcher_.MarkDirty(*hub);
    }
  }
}

absl::Time Claimer::NextDeadline() {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& [id, hub] : matcher_.table().served()) {
    for (const auto& pool : hub->pools) {
      // What becomes due during a claim waits for its end, which is an event.
      if (!hub->claiming[Index(pool->type)] && pool->free() > 0) {
        next = std::min(next, std::max(pool->next_claim, ClaimAfter(*hub, pool->type)));
      }
    }
  }
  return next;
}

}  // namespace dt::dispatch
