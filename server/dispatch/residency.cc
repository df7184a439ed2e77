#include "server/dispatch/residency.h"

#include <algorithm>
#include <utility>

#include "server/dispatch/item_log_fields.h"
#include "spdlog/spdlog.h"

namespace dt::dispatch {

Resident* Residency::FindById(HubId hub, const std::string& instance_id) {
  const Hub* known = matcher_.table().FindHub(hub);
  return known == nullptr ? nullptr : ResidentTable::FindById(*known, instance_id);
}

// --- Coming

bool Residency::ReleaseForeign(InstanceKey key, HubId hub, const std::string& instance_id,
                               LeaseToken lease) {
  if (step_.IsOwn(lease)) return false;
  // Leased under a registration that was lost meanwhile; the sweep may have come before it.
  InstanceRelease release;
  release.key = key;
  release.hub = hub;
  release.instance_id = instance_id;
  release.lease_token = lease;
  releases_.Release(std::move(release));
  return true;
}

void Residency::DropOlder(const Hub& hub, const std::string& instance_id, LeaseToken lease,
                          InlineTasks* inline_tasks) {
  Resident* older = ResidentTable::FindById(hub, instance_id);
  if (older == nullptr) return;
  // Its lease is gone, else this one were not possible; or it is the same, asked for again.
  if (older->lease == lease) *inline_tasks = std::move(older->inline_tasks);
  Drop(*older, /*release=*/false);
}

std::unique_ptr<Resident> Residency::Make(Hub& hub, WorkType type,
                                          orchestration::InstanceState state, LeaseToken lease) {
  auto resident = std::make_unique<Resident>(type, step_.NewNumber());
  resident->state = std::move(state);
  resident->lease = lease;
  resident->hub = &hub;
  resident->route =
      matcher_.table().RouteOf(hub, type, resident->state.name, resident->state.version);
  ++resident->route->users;
  return resident;
}

void Residency::Adopt(Claim claim) {
  if (ReleaseForeign(claim.key, claim.hub, claim.instance_id, claim.lease_token)) return;
  Hub& hub = *matcher_.table().HubOf(claim.hub);
  InlineTasks inline_tasks;
  DropOlder(hub, claim.instance_id, claim.lease_token, &inline_tasks);
  absl::StatusOr<orchestration::InstanceState> state = orchestration::StateFromClaim(claim);
  if (!state.ok()) {
    const LogFields fields = LogFieldsOf(&hub, claim.instance_id);
    spdlog::error("instance {}: its history cannot be used and its messages are dropped: {}",
                  claim.instance_id, state.status().ToString());
    DiscardCorrupt(claim);
    return;
  }
  std::unique_ptr<Resident> resident =
      Make(hub, WorkTypeOf(claim.kind), *std::move(state), claim.lease_token);
  resident->lost_leases = claim.lost_leases;
  resident->inline_tasks = std::move(inline_tasks);
  resident->inbox = Inbox(claim);
  if (claim.kind == InstanceKind::kEntity) {
    resident->entity = std::make_unique<EntityTurn>();
    resident->entity->state = entity::StateFromClaim(claim);
  }
  Resident& added = *table_.Add(std::move(resident));
  TakeMail(added);
  Reconsider(added);
}

void Residency::AdoptNew(const NewInstance& instance, InstanceKey key, int64_t started_seq,
                         absl::Time created_at) {
  if (ReleaseForeign(key, instance.hub, instance.instance_id, instance.lease_token)) return;
  Hub& hub = *matcher_.table().HubOf(instance.hub);
  InlineTasks inline_tasks;
  DropOlder(hub, instance.instance_id, instance.lease_token, &inline_tasks);
  std::unique_ptr<Resident> resident =
      Make(hub, WorkType::kTurn, orchestration::StateOfNew(instance, key), instance.lease_token);
  resident->created_at = created_at;
  resident->inline_tasks = std::move(inline_tasks);
  resident->inbox =
      Inbox(instance.started, started_seq, std::max(instance.started.visible_at, created_at));
  Resident& added = *table_.Add(std::move(resident));
  TakeMail(added);
  Reconsider(added);
}

Resident& Residency::AdoptUnconfirmed(const NewInstance& instance) {
  Hub& hub = *matcher_.table().HubOf(instance.hub);
  std::unique_ptr<Resident> resident = Make(
      hub, WorkType::kTurn, orchestration::StateOfNew(instance, /*key=*/0), instance.lease_token);
  resident->inbox =
      Inbox(instance.started, results_.NewSeq(), std::max(instance.started.visible_at, step_.now));
  return *table_.Add(std::move(resident));
}

void Residency::Confirm(Resident& resident, const CreateResult& result) {
  Unready(resident);
  table_.Confirm(resident, result.key);
  const Message& started = resident.inbox.messages().front();
  resident.turn.Renumber(started.seq, result.started_seq);
  resident.inbox.Renumber(started.seq, result.started_seq,
                          std::max(started.visible_at, result.created_at));
  resident.created_at = result.created_at;
  TakeMail(resident);
  Reconsider(resident);
}

void Residency::TakeMail(Resident& resident) {
  Arrivals& arrivals = claimer_.arrivals();
  for (Message& message : arrivals.Take(resident.lease, resident.key())) {
    const std::vector<Message>& inbox = resident.inbox.messages();
    const bool known =
        std::any_of(inbox.begin(), inbox.end(),
                    [seq = message.seq](const Message& other) { return other.seq == seq; });
    if (!known) table_.Append(resident, std::move(message));
  }
  if (arrivals.IsIncomplete(resident.lease)) resident.inbox.MarkUnread(/*reading=*/false);
}

void Residency::DiscardCorrupt(const Claim& claim) {
  DiscardRequest request;
  request.key = claim.key;
  request.hub = claim.hub;
  request.instance_id = claim.instance_id;
  request.lease_token = claim.lease_token;
  for (const Message& message : claim.messages) request.seqs.push_back(message.seq);
  request.release = true;
  step_.Do(Discard{std::move(request)});
}

// --- Staying

void Residency::Unready(Resident& resident) {
  matcher_.Dequeue(resident);
  if (resident.phase == Resident::Phase::kReady) resident.phase = Resident::Phase::kIdle;
}

void Residency::Reconsider(Resident& resident) {
  if (resident.phase != Resident::Phase::kIdle && resident.phase != Resident::Phase::kReady) return;
  Unready(resident);
  table_.SetDue(resident, std::nullopt);
  if (step_.draining) {
    Drop(resident, /*release=*/true);
    return;
  }
  if (resident.route->streams.empty()) {
    table_.SetBusy(resident);
    releases_.AddOrphan(resident);
    return;
  }
  releases_.RemoveOrphan(resident);
  const absl::Time due = resident.next_due();
  if (due > step_.now) {
    if (due != absl::InfiniteFuture()) table_.SetDue(resident, due);
    if (!resident.idle) table_.SetIdle(resident, step_.steady + step_.limits.resident_linger);
    return;
  }
  const bool was_idle = resident.idle;
  table_.SetBusy(resident);
  // Idle ones are no work, and many may become due together: what the hub has no room for comes
  // back by a claim.
  if (was_idle && step_.work.Exceeded(resident.hub->work_bytes) &&
      resident.hub->work_bytes > resident.bytes) {
    Drop(resident, /*release=*/true);
    return;
  }
  const bool unread = resident.inbox.unread();
  if (resident.awaits_read || (resident.unconfirmed() && unread)) return;
  const std::vector<Message>& messages = resident.inbox.messages();
  if (unread || messages.empty() || messages.front().visible_at > step_.now) {
    StartRead(resident);
    return;
  }
  resident.phase = Resident::Phase::kReady;
  const absl::Time since = messages.front().visible_at;
  matcher_.Enqueue(resident,
                   resident.entity == nullptr ? since : std::max(since, resident.entity->ended_at));
}

void Residency::Reroute(Resident& resident) {
  matcher_.table().Leave(resident.route);
  resident.route = matcher_.table().RouteOf(*resident.hub, WorkType::kTurn, resident.state.name,
                                            resident.state.version);
  ++resident.route->users;
}

void Residency::StartRead(Resident& resident) {
  resident.phase = Resident::Phase::kReading;
  table_.BeginRead();
  step_.Do(ReadInbox{resident.hub->id, resident.instance_id(), resident.key(), resident.lease});
}

void Residency::On(InboxReadDone& event) {
  Resident* resident = table_.Find(event.key, event.lease_token);
  const bool wanted = resident != nullptr && resident->phase == Resident::Phase::kReading;
  if (wanted) {
    resident->phase = Resident::Phase::kIdle;
    if (!event.result.ok()) {
      Drop(*resident, /*release=*/true, retries_.StoreFailed(resident->stored_id()));
    } else if (event.result->lease_token != resident->lease) {
      Drop(*resident, /*release=*/true);
    } else {
      table_.Merge(*resident, *std::move(event.result));
    }
  }
  table_.EndRead();
  if (wanted && (resident = table_.Find(event.key, event.lease_token)) != nullptr) {
    Reconsider(*resident);
  }
}

// --- Going

void Residency::Drop(Resident& resident, bool release, absl::Duration delay) {
  Unready(resident);
  releases_.RemoveOrphan(resident);
  if (resident.phase == Resident::Phase::kDispatched) {
    matcher_.FreeCredit(resident);
    results_.TakeTurnBack(resident);
  }
  results_.StoreApart(resident);
  if (release && !resident.unconfirmed()) {
    InstanceRelease request;
    request.key = resident.key();
    request.hub = resident.hub->id;
    request.instance_id = resident.instance_id();
    request.lease_token = resident.lease;
    // Held until a message comes in front of all, since it does nothing before. What became of it
    // by a checkpoint on its way is not known.
    const bool held = resident.blocked() && resident.phase != Resident::Phase::kCommitting &&
                      delay == absl::ZeroDuration();
    request.delay = held ? absl::InfiniteDuration() : delay;
    request.lost = resident.loss_unsaved;
    request.kept_tasks = resident.KeptTasks();
    releases_.Release(std::move(request));
  }
  Route* route = resident.route;
  table_.Remove(resident);
  matcher_.table().Leave(route);
}

void Residency::ReleaseDiscarded(const DiscardRequest& request, absl::Duration delay) {
  InstanceRelease release;
  release.key = request.key;
  release.hub = request.hub;
  release.instance_id = request.instance_id;
  release.lease_token = request.lease_token;
  release.delay = delay;
  releases_.Release(std::move(release));
}

void Residency::OnTime() {
  while (Resident* due = table_.TakeDue(step_.now)) Reconsider(*due);
  while (Resident* idle = table_.TakeIdle(step_.steady, /*any=*/false)) {
    Drop(*idle, /*release=*/true);
  }
}

void Residency::MakeRoom() {
  while (table_.bytes() > step_.limits.resident_bytes_max || step_.work.scarce()) {
    Resident* idle = table_.TakeIdle(step_.steady, /*any=*/true);
    if (idle == nullptr) break;
    Drop(*idle, /*release=*/true);
  }
}

}  // namespace dt::dispatch
