// The store as a source of work: claims, messages that others added, releases, sweeps, waiting
// calls.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/dispatch/dispatcher.h"
#include "server/orchestration/ended_row.h"
#include "spdlog/spdlog.h"

namespace dt::dispatch {
namespace {

constexpr absl::Duration kSweepInterval = absl::Seconds(5);
// A claim takes no more for one set of filters, and the next one follows at once. So a daemon that
// finds a large backlog sends its first item before it has read all that its workers could take.
constexpr int kClaimItemsMax = 500;
// A claim that takes too long makes the next one so much smaller; each good one makes it twice as
// large.
constexpr int kClaimShrink = 3;
constexpr int kClaimShiftMax = 9;  // one item
// How long a hub without room for more work is left alone, and how often that is logged.
constexpr absl::Duration kNoRoomDelay = absl::Milliseconds(100);
constexpr absl::Duration kNoRoomLogInterval = absl::Seconds(60);
// So many releases are under way at most when the last worker has gone: two calls of the store. All
// at once would hold up the other writes, and a worker that is started again at once would wait for
// them, and then for the claims that bring the same items back.
constexpr int kOrphanReleasesMax = 400;

}  // namespace

absl::Duration Dispatcher::PollDelay(int empty_polls) {
  const int doublings = std::clamp(empty_polls - 1, 0, 20);
  const absl::Duration delay =
      limits_.poll_min + Jittered(limits_.poll_delta * (int64_t{1} << doublings));
  return std::min(delay, limits_.poll_max);
}

absl::Duration Dispatcher::RedeliveryDelay(int32_t lost_leases) const {
  if (lost_leases <= 1) return absl::ZeroDuration();
  const int doublings = std::min(lost_leases - 2, 30);
  return std::min(limits_.abandon_delay_max, limits_.abandon_delay_min * (int64_t{1} << doublings));
}

// --- Claims

int64_t Dispatcher::ClaimBytes(Hub& hub, WorkType type) {
  const int64_t room = work_.Room(hub.work_bytes);
  if (room > 0) return std::min(room, limits_.claim_bytes_max >> hub.claim_shift[Index(type)]);
  hub.claim_after[Index(type)] = steady_ + kNoRoomDelay;
  if (steady_ >= hub.room_logged_at + kNoRoomLogInterval) {
    hub.room_logged_at = steady_;
    spdlog::warn(
        "task hub '{}': {} bytes of its work wait here or at its workers, of {} bytes of all hubs; "
        "no more is taken on until some of it ends. If its workers are slow or do not read, look "
        "at "
        "them; else raise memory.bytes-max, or add daemons",
        hub.name, hub.work_bytes, work_.total());
  }
  return 0;
}

void Dispatcher::ShrinkClaims(Hub& hub, WorkType type) {
  int& shift = hub.claim_shift[Index(type)];
  shift = std::min(kClaimShiftMax, shift + kClaimShrink);
  spdlog::warn(
      "task hub '{}': a claim of {} took too long; the next one asks for {} items and {} "
      "bytes at most",
      hub.name, type == WorkType::kTurn ? "turns" : "activities",
      std::max(1, kClaimItemsMax >> shift), limits_.claim_bytes_max >> shift);
}

void Dispatcher::StartClaim(Hub& hub, WorkType type) {
  if (hub.claiming[Index(type)] || ClaimAfter(hub, type) > steady_) return;
  bool due = false;
  ClaimInFlight claim{&hub, type, {}};
  ClaimRequest request;
  for (const auto& pool : hub.pools) {
    const int free = pool->type == type ? pool->free() : 0;
    if (free <= 0) continue;
    due |= pool->next_claim <= steady_;
    claim.pools.push_back(pool.get());
    const int items_max = std::max(1, kClaimItemsMax >> hub.claim_shift[Index(type)]);
    request.groups.push_back(
        {std::min(free, items_max), pool->filters, pool->GivenBack(steady_, &pool->retry_at)});
  }
  if (!due) return;
  claim.bytes = ClaimBytes(hub, type);
  if (claim.bytes == 0) return;
  work_.Add(hub.work_bytes, claim.bytes);
  for (size_t i = 0; i < claim.pools.size(); ++i) {
    Pool& pool = *claim.pools[i];
    pool.claiming = true;
    pool.asked = request.groups[i].max_items;
    pool.woken_at = absl::InfiniteFuture();
  }
  hub.claiming[Index(type)] = true;
  claim.hinted = std::exchange(hub.hinted[Index(type)], false);
  request.hub = hub.id;
  request.lease_token = NewToken();
  request.max_messages = limits_.turn.messages_max;
  request.max_message_bytes = limits_.turn.message_bytes_max;
  request.max_total_bytes = claim.bytes;
  claims_[request.lease_token] = std::move(claim);
  if (type == WorkType::kTurn) {
    effects_->push_back(ClaimInstances{std::move(request)});
  } else {
    effects_->push_back(ClaimTasks{std::move(request)});
  }
}

void Dispatcher::EndClaim(LeaseToken token, const std::vector<ClaimedGroup>& groups, bool failed) {
  auto found = claims_.find(token);
  if (found == claims_.end()) return;
  const ClaimInFlight claim = std::move(found->second);
  claims_.erase(found);
  claim.hub->claiming[Index(claim.type)] = false;
  work_.Add(claim.hub->work_bytes, -claim.bytes);
  const bool vain =
      !failed && std::all_of(groups.begin(), groups.end(),
                             [](const ClaimedGroup& group) { return group.items == 0; });
  if (claim.hinted && vain) claim.hub->vain_hints[Index(claim.type)].Add(steady_);
  for (size_t i = 0; i < claim.pools.size(); ++i) {
    Pool& pool = *claim.pools[i];
    pool.claiming = false;
    if (!failed) Served(pool, i < groups.size() ? groups[i] : ClaimedGroup());
    if (failed) pool.next_claim = steady_;  // as soon as the hub may claim again
  }
  table_.DropUnusedPools(*claim.hub);
  MarkDirty(*claim.hub);
}

void Dispatcher::Served(Pool& pool, const ClaimedGroup& group) {
  if (group.items > 0) pool.empty_claims = 0;
  if (group.items >= pool.asked || group.cut) {
    pool.next_claim = steady_;
    return;
  }
  if (group.items == 0) ++pool.empty_claims;
  pool.next_claim = steady_ + PollDelay(pool.empty_claims);
  // What was due already and did not come is with somebody else.
  if (group.next_due.has_value() && *group.next_due > now_) {
    pool.next_claim = std::min(pool.next_claim, SteadyOf(*group.next_due));
  }
  pool.next_claim =
      std::min(pool.next_claim, std::max(steady_, std::min(pool.retry_at, pool.woken_at)));
}

void Dispatcher::ClaimFailed(HubId hub, LeaseToken token, WorkType type, const absl::Status& status,
                             bool recovered) {
  // It may have leased something under this token, which nobody else knows; but not if the queue of
  // the store was full, if it took too long, or if the hub is gone, with all that was in it.
  const bool gone = absl::IsNotFound(status);
  const bool in_doubt =
      !gone &&
      (recovered || (!absl::IsResourceExhausted(status) && !absl::IsDeadlineExceeded(status)));
  Hub* known = table_.FindHub(hub);
  if (claims_.contains(token) ||
      (known != nullptr && known->claim_in_doubt[Index(type)] == token)) {
    if (!gone) {
      known->claim_after[Index(type)] =
          steady_ + Jittered(claim_failures_.Failed({hub, type}, steady_));
    }
    if (absl::IsDeadlineExceeded(status)) ShrinkClaims(*known, type);
    if (in_doubt) known->claim_in_doubt[Index(type)] = token;
  }
  if (in_doubt) Recover(hub, type, token);
  EndClaim(token, {}, /*failed=*/true);
  ForgetToken(token);
  if (gone && known != nullptr) EndStreamsOf(*known);
}

// The workers open their streams again, and get the hub of that name that is there then, if one is.
void Dispatcher::EndStreamsOf(Hub& hub) {
  for (LeaseToken& in_doubt : hub.claim_in_doubt) in_doubt = 0;
  if (hub.streams.empty()) return;
  spdlog::warn("task hub '{}' was deleted: the {} worker streams that were open for it end here",
               hub.name, hub.streams.size());
  std::vector<StreamId> open;
  for (const Stream* stream : hub.streams) open.push_back(stream->id);
  for (const StreamId id : open) {
    EndStream(id, absl::NotFoundError(absl::StrCat("Task hub not found: ", hub.name)));
  }
}

void Dispatcher::ClaimSucceeded(HubId hub_id, LeaseToken token, WorkType type) {
  recovery_failures_.Succeeded(token);
  Hub* hub = table_.FindHub(hub_id);
  if (hub == nullptr) return;
  LeaseToken& in_doubt = hub->claim_in_doubt[Index(type)];
  if (!claims_.contains(token) && in_doubt != token) return;
  if (in_doubt == token) in_doubt = 0;
  claim_failures_.Succeeded({hub_id, type});
  hub->claim_after[Index(type)] = absl::InfinitePast();
  if (int& shift = hub->claim_shift[Index(type)]; shift > 0) --shift;
  MarkDirty(*hub);
}

absl::Time Dispatcher::ClaimAfter(const Hub& hub, WorkType type) const {
  return hub.claim_in_doubt[Index(type)] != 0 ? absl::InfiniteFuture()
                                              : hub.claim_after[Index(type)];
}

void Dispatcher::On(InstancesClaimed& event) {
  const bool recovered = recoveries_.erase(event.token) > 0;
  if (!event.result.ok()) {
    ClaimFailed(event.hub, event.token, WorkType::kTurn, event.result.status(), recovered);
    return;
  }
  ClaimSucceeded(event.hub, event.token, WorkType::kTurn);
  for (Claim& claim : event.result->claims) Adopt(std::move(claim));
  EndClaim(event.token, event.result->groups, /*failed=*/false);
  ForgetToken(event.token);
}

void Dispatcher::On(TasksClaimed& event) {
  const bool recovered = recoveries_.erase(event.token) > 0;
  if (!event.result.ok()) {
    ClaimFailed(event.hub, event.token, WorkType::kActivity, event.result.status(), recovered);
    return;
  }
  ClaimSucceeded(event.hub, event.token, WorkType::kActivity);
  for (ActivityTask& task : event.result->tasks) Hold(std::move(task));
  EndClaim(event.token, event.result->groups, /*failed=*/false);
  ForgetToken(event.token);
}

void Dispatcher::Recover(HubId hub, WorkType type, LeaseToken token) {
  if (ended_) return;
  recoveries_.insert(token);
  ClaimRequest request;
  request.hub = hub;
  request.lease_token = token;
  request.repeat = true;
  request.max_messages = limits_.turn.messages_max;
  request.max_message_bytes = limits_.turn.message_bytes_max;
  const Hub* known = table_.FindHub(hub);
  const bool in_doubt = known != nullptr && known->claim_in_doubt[Index(type)] == token;
  // The hub claims nothing while a claim is in doubt, so that is asked for sooner.
  const absl::Duration delay = in_doubt ? known->claim_after[Index(type)] - steady_
                                        : recovery_failures_.Failed(token, steady_);
  if (type == WorkType::kTurn) {
    RetryLater(delay, ClaimInstances{std::move(request)});
  } else {
    RetryLater(delay, ClaimTasks{std::move(request)});
  }
}

absl::Duration Dispatcher::StoreFailed(WorkType type, int64_t key) {
  return Jittered(store_failures_.Failed({type, key}, steady_));
}

bool Dispatcher::Expected(LeaseToken token) const {
  return claims_.contains(token) || tokens_in_flight_.contains(token) ||
         recoveries_.contains(token);
}

void Dispatcher::ForgetToken(LeaseToken token) {
  tokens_in_flight_.erase(token);
  if (recoveries_.contains(token)) return;  // more is to come
  suspects_.erase(token);
  if (early_.empty()) return;
  absl::erase_if(early_, [token](const auto& entry) { return entry.second.back().first == token; });
}

void Dispatcher::WorkFree(Hub& hub, WorkType type, absl::Time at) {
  for (auto& pool : hub.pools) {
    if (pool->type != type) continue;
    pool->woken_at = std::min(pool->woken_at, at);
    if (at > steady_) {
      pool->next_claim = std::min(pool->next_claim, at);
      continue;
    }
    pool->empty_claims = 0;
    pool->next_claim = steady_;
    MarkDirty(hub);
  }
}

// --- Messages that others added

void Dispatcher::PollNewMessages() {
  if (reading_new_messages_ || !leasing() || next_read_ > steady_) return;
  if (residents_.size() == 0) {
    next_read_ = steady_ + limits_.poll_min;
    return;
  }
  reading_new_messages_ = true;
  read_hinted_ = std::exchange(read_woken_at_, absl::InfiniteFuture()) <= steady_;
  residents_.BeginRead();
  effects_->push_back(ReadNewMessages{worker_});
}

void Dispatcher::On(NewMessagesRead& event) {
  if (event.worker == worker_) {
    reading_new_messages_ = false;
    const bool found = event.result.ok() && !event.result->empty();
    empty_reads_ = found ? 0 : empty_reads_ + 1;
    const absl::Duration delay = PollDelay(empty_reads_);
    if (read_hinted_ && event.result.ok() && !found) vain_read_hints_.Add(steady_);
    if (!event.result.ok()) read_after_ = steady_ + delay;
    next_read_ = steady_ + delay;
    if (event.result.ok()) next_read_ = std::min(next_read_, std::max(steady_, read_woken_at_));
  }
  std::vector<InstanceKey> touched;
  if (event.worker == worker_) touched.swap(awaiting_read_);
  for (InstanceKey key : touched) {
    if (Resident* resident = residents_.Find(key)) resident->awaits_read = false;
  }
  if (!event.result.ok()) {
    // The marks may be gone and their messages not here: everything is read again.
    spdlog::warn("new messages could not be read: {}", event.result.status().ToString());
    SuspectInFlight();
    for (Resident* resident : residents_.All()) {
      resident->unread = true;
      if (resident->phase == Resident::Phase::kReading) resident->missed = true;
      touched.push_back(resident->key());
    }
  } else {
    for (InboxRead& read : *event.result) {
      touched.push_back(read.key);
      MergeNewMessages(std::move(read));
    }
  }
  residents_.EndRead();
  for (InstanceKey key : touched) {
    if (Resident* resident = residents_.Find(key)) Reconsider(*resident);
  }
}

void Dispatcher::MergeNewMessages(InboxRead read) {
  const LeaseToken token = read.lease_token;
  if (Resident* resident = residents_.Find(read.key, token)) {
    residents_.Merge(*resident, std::move(read));
    return;
  }
  if (!Expected(token)) return;  // it was given up; the release finds them
  // The marks are gone, so the claim that brings the instance must read again.
  suspects_.insert(token);
}

// --- Releases

void Dispatcher::RetryLater(absl::Duration delay, Effect effect) {
  retries_.emplace_back(steady_ + Jittered(delay), std::move(effect));
}

void Dispatcher::Release(InstanceRelease release) {
  ++releases_in_flight_;
  effects_->push_back(ReleaseInstance{std::move(release)});
}

void Dispatcher::Release(HubId hub, std::string instance_id, TaskRelease release) {
  ++releases_in_flight_;
  effects_->push_back(ReleaseTask{hub, std::move(instance_id), release});
}

void Dispatcher::On(InstanceReleased& event) {
  --releases_in_flight_;
  const std::pair failed(WorkType::kTurn, event.release.key);
  if (event.result.ok()) {
    release_failures_.Succeeded(failed);
    // What is held may have been resumed meanwhile.
    const absl::Duration delay = event.release.delay;
    if (*event.result == LeaseOutcome::kReleased &&
        (delay == absl::ZeroDuration() || delay == absl::InfiniteDuration())) {
      if (Hub* hub = table_.FindHub(event.release.hub)) WorkFree(*hub, WorkType::kTurn, steady_);
    }
    return;
  }
  if (ended_) return;
  ++releases_in_flight_;
  const absl::Duration delay = release_failures_.Failed(failed, steady_);
  RetryLater(delay, ReleaseInstance{std::move(event.release)});
}

void Dispatcher::On(TaskReleased& event) {
  --releases_in_flight_;
  const std::pair failed(WorkType::kActivity, event.release.key);
  if (event.result.ok()) {
    release_failures_.Succeeded(failed);
    if (*event.result == LeaseOutcome::kReleased && event.release.delay == absl::ZeroDuration()) {
      if (Hub* hub = table_.FindHub(event.hub)) WorkFree(*hub, WorkType::kActivity, steady_);
    }
    return;
  }
  if (ended_) return;
  ++releases_in_flight_;
  const absl::Duration delay = release_failures_.Failed(failed, steady_);
  RetryLater(delay, ReleaseTask{event.hub, std::move(event.instance_id), event.release});
}

void Dispatcher::Orphan(Resident& resident) {
  residents_.SetBusy(resident);
  if (std::exchange(resident.orphaned, true)) return;
  orphans_.emplace_back(WorkType::kTurn, resident.key());
}

void Dispatcher::Orphan(HeldTask& held) {
  held.phase = HeldTask::Phase::kSetAside;
  if (std::exchange(held.orphaned, true)) return;
  orphans_.emplace_back(WorkType::kActivity, held.task.key);
}

void Dispatcher::ReleaseOrphans() {
  while (!orphans_.empty() && releases_in_flight_ < kOrphanReleasesMax) {
    const auto [type, key] = orphans_.front();
    orphans_.pop_front();
    Resident* resident = type == WorkType::kTurn ? residents_.Find(key) : nullptr;
    HeldTask* held = type == WorkType::kActivity ? FindTask(key) : nullptr;
    if (resident != nullptr && resident->orphaned) Drop(*resident, /*release=*/true);
    if (held != nullptr && held->orphaned) DropTask(*held, /*release=*/true);
  }
}

void Dispatcher::ReconsiderOrphans() {
  for (const auto& [type, key] : std::exchange(orphans_, {})) {
    Resident* resident = type == WorkType::kTurn ? residents_.Find(key) : nullptr;
    HeldTask* held = type == WorkType::kActivity ? FindTask(key) : nullptr;
    if (resident != nullptr && std::exchange(resident->orphaned, false)) Reconsider(*resident);
    if (held != nullptr && std::exchange(held->orphaned, false)) Queue(*held);
  }
}

// --- Upkeep and waiting calls

void Dispatcher::On(Swept& event) {
  sweeping_ = false;
  next_sweep_ = steady_ + Jittered(kSweepInterval);
  if (!event.result.ok() || *event.result == 0) return;
  spdlog::info("{} leases of dead workers were freed", *event.result);
  for (const auto& [id, hub] : table_.hubs()) {
    WorkFree(*hub, WorkType::kTurn, steady_);
    WorkFree(*hub, WorkType::kActivity, steady_);
  }
}

void Dispatcher::On(WaitAsked& event) {
  if (draining_) {
    effects_->push_back(
        AnswerWait{std::move(event.done), absl::UnavailableError("the server is shutting down")});
    return;
  }
  Hub* hub = table_.FindHub(event.hub);
  Resident* resident = hub == nullptr ? nullptr : residents_.FindById(*hub, event.instance_id);
  std::optional<RuntimeStatus> known;
  // What a resident says may be what did not hold when the store was read.
  if (resident != nullptr && !event.so_far.has_value()) known = resident->state.status;
  waiters_.Add(std::move(event), known, steady_, *effects_);
}

void Dispatcher::On(UnacceptedFound& event) {
  if (event.result.ok()) {
    for (std::vector<WaitingWork>* found : {&event.result->turns, &event.result->tasks}) {
      for (WaitingWork& work : *found) work.since += steady_ - now_;
    }
  }
  unaccepted_.OnFound(event, table_.FindHub(event.hub), steady_);
}

void Dispatcher::On(WaitCancelled& event) { waiters_.Cancel(event.wait, *effects_); }

void Dispatcher::On(StatusRead& event) { waiters_.OnStatus(std::move(event), *effects_); }

KnownRow Dispatcher::RowAtEnd(const CommitContext& context, absl::Time committed_at,
                              const Resident* resident) const {
  if (!context.ends || resident == nullptr || !resident->created_at.has_value()) return nullptr;
  if (!waiters_.Awaited(context.hub, context.instance_id)) return nullptr;
  std::optional<InstanceRow> row =
      orchestration::EndedRow(resident->state, context.delta, *resident->created_at, committed_at);
  return row.has_value() ? std::make_shared<const InstanceRow>(*std::move(row)) : nullptr;
}

}  // namespace dt::dispatch
