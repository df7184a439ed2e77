// MemoryDatabase: entities and their locks (storage/records.h: EntityUpdate, LockRequest).
#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/orchestrator_service.pb.h"
#include "tests/support/memory_database.h"

namespace dt::testing {
namespace {

// Field numbers of HistoryEvent.
constexpr int16_t kEntityLockRequested = 27;
constexpr int16_t kEntityLockGranted = 28;

NewMessage UnlockMessage(const std::string& owner_id, const std::string& section, absl::Time now) {
  HistoryEvent event;
  event.set_eventid(-1);
  event.mutable_timestamp()->set_seconds(absl::ToUnixSeconds(now));
  event.mutable_entityunlocksent()->set_criticalsectionid(section);
  event.mutable_entityunlocksent()->mutable_parentinstanceid()->set_value(owner_id);
  NewMessage message;
  message.event_type = static_cast<int16_t>(event.eventType_case());
  message.event = std::make_shared<const std::string>(event.SerializeAsString());
  return message;
}

}  // namespace

std::string MemoryDatabase::ExecutionIdOf(const Instance& instance) {
  if (instance.kind == InstanceKind::kOrchestration) return instance.row.execution_id;
  const std::string digits = absl::StrCat(absl::Hex(instance.row.key));
  return std::string(32 - digits.size(), '0') + digits;
}

MemoryDatabase::Instance& MemoryDatabase::MakeEntity(HubId hub, const std::string& id) {
  auto entity = std::make_unique<Instance>();
  entity->hub = hub;
  entity->kind = InstanceKind::kEntity;
  InstanceRow& row = entity->row;
  row.key = ++last_key_;
  row.instance_id = id;
  row.name = id.substr(1, id.find('@', 1) - 1);
  row.created_at = row.last_updated_at = entity->last_modified = NowLocked();
  row.status = RuntimeStatus::kRunning;
  ids_[{hub, id}] = row.key;
  return *instances_.emplace(row.key, std::move(entity)).first->second;
}

Delivery MemoryDatabase::DeliverTo(WorkerId worker, HubId hub, AddressedMessage message) {
  Instance* target = Find(hub, message.instance_id);
  const std::string& execution_id = message.execution_id;
  if (target == nullptr && IsEntityId(message.instance_id) && execution_id.empty() &&
      CheckHub(hub).ok()) {
    target = &MakeEntity(hub, message.instance_id);
  }
  if (target != nullptr && !execution_id.empty()) {
    if (ExecutionIdOf(*target) != execution_id) {
      Delivery delivery;
      delivery.outcome = DeliveryOutcome::kTerminal;
      delivery.key = target->row.key;
      return delivery;
    }
    message.message.generation = target->row.generation;
  }
  return Deliver(worker, target, std::move(message.message),
                 message.front ? Place::kFront : Place::kDue);
}

Delivery MemoryDatabase::SendMessage(WorkerId worker, ClientMessage message) {
  absl::MutexLock lock(&mutex_);
  if (message.request_id.empty()) {
    return DeliverTo(worker, message.hub, {message.instance_id, std::move(message.message)});
  }
  if (Instance* target = Find(message.hub, message.instance_id)) {
    const auto found = target->requests.find(message.request_id);
    if (found != target->requests.end() && target->inbox_times.contains(found->second)) {
      Delivery delivery;
      delivery.outcome = DeliveryOutcome::kDuplicate;
      delivery.key = target->row.key;
      return delivery;
    }
  }
  const Delivery delivery =
      DeliverTo(worker, message.hub, {message.instance_id, std::move(message.message)});
  if (Instance* target = Find(delivery.key)) {
    absl::erase_if(target->requests, [target](const auto& request) {
      return !target->inbox_times.contains(request.second);
    });
    target->requests[message.request_id] = delivery.seq;
  }
  return delivery;
}

EntityRow MemoryDatabase::EntityRowOf(const Instance& entity) {
  EntityRow row;
  row.state = entity.state;
  if (!entity.lock.has_value()) return row;
  row.lock.emplace().critical_section = entity.lock->section;
  if (const Instance* owner = Find(entity.lock->owner)) {
    row.lock->owner_id = owner->row.instance_id;
    if (owner->live && owner->row.generation == entity.lock->generation) {
      row.lock->owner_execution_id = owner->row.execution_id;
    }
  }
  return row;
}

std::vector<Delivery> MemoryDatabase::RequestLocks(WorkerId worker, Checkpoint& checkpoint,
                                                   const Instance& owner) {
  std::vector<Delivery> deliveries;
  for (LockRequest& request : checkpoint.lock_requests) {
    WaitingLock waiting;
    waiting.owner = owner.row.key;
    waiting.generation = checkpoint.generation;
    waiting.owner_id = owner.row.instance_id;
    waiting.section = request.critical_section;
    waiting.request = request.request;
    waiting.at = NowLocked();
    for (const std::string& id : request.entity_ids) {
      Instance* entity = Find(checkpoint.hub, id);
      if (entity == nullptr) entity = &MakeEntity(checkpoint.hub, id);
      waiting.members[entity->row.key];
    }
    // Behind every request that waits at any member, so that all members have them in one order.
    for (const WaitingLock& earlier : waiting_locks_) {
      for (const auto& [key, member] : earlier.members) {
        if (!waiting.members.contains(key)) continue;
        waiting.at = std::max(waiting.at, earlier.at + absl::Microseconds(1));
      }
    }
    for (const std::string& id : request.entity_ids) {
      Instance* entity = Find(checkpoint.hub, id);
      NewMessage message{kAnyGeneration, waiting.at, kEntityLockRequested, request.request};
      deliveries.push_back(Deliver(worker, entity, std::move(message), Place::kExact));
      waiting.members[entity->row.key].seq = deliveries.back().seq;
    }
    waiting_locks_.push_back(std::move(waiting));
  }
  return deliveries;
}

void MemoryDatabase::ApplyEntity(WorkerId worker, EntityUpdate update, Instance& entity,
                                 CheckpointResult& result) {
  using Kind = Change<std::string>::Kind;
  if (update.state.kind == Kind::kSet) entity.state = std::move(update.state.value);
  if (update.state.kind == Kind::kClear) entity.state.reset();
  if (update.worked) entity.last_modified = result.committed_at;
  if (update.unlock) Unlock(entity);
  for (const LockWithdrawal& withdrawal : update.withdrawals) {
    // It was granted after the turn of the entity began.
    const Instance* owner = entity.lock.has_value() ? Find(entity.lock->owner) : nullptr;
    if (owner != nullptr && owner->row.instance_id == withdrawal.owner_id &&
        entity.lock->section == withdrawal.critical_section) {
      Unlock(entity);
    }
    const auto is_meant = [&](const WaitingLock& waiting) {
      return waiting.owner_id == withdrawal.owner_id &&
             waiting.section == withdrawal.critical_section &&
             waiting.members.contains(entity.row.key);
    };
    const auto meant =
        std::stable_partition(waiting_locks_.begin(), waiting_locks_.end(), std::not_fn(is_meant));
    for (auto it = meant; it != waiting_locks_.end(); ++it) TakeBack(*it, entity.row.key);
    waiting_locks_.erase(meant, waiting_locks_.end());
  }
  if (update.arrival.has_value()) {
    result.arrival = Arrive(worker, *std::move(update.arrival), entity, result);
  }
}

void MemoryDatabase::Unlock(Instance& entity) {
  entity.lock.reset();
  std::vector<int64_t> news;  // of a grant that came after the turn began
  for (const auto& [order, message] : entity.inbox) {
    if (message.event_type == kEntityLockGranted) news.push_back(message.seq);
  }
  for (const int64_t seq : news) Remove(entity, seq);
}

ArrivalOutcome MemoryDatabase::Arrive(WorkerId worker, LockArrival arrival, Instance& entity,
                                      CheckpointResult& result) {
  const InstanceKey key = entity.row.key;
  const auto found =
      std::find_if(waiting_locks_.begin(), waiting_locks_.end(), [&](const WaitingLock& waiting) {
        const auto member = waiting.members.find(key);
        return member != waiting.members.end() && member->second.seq == arrival.request_seq;
      });
  if (found == waiting_locks_.end()) {
    Remove(entity, arrival.request_seq);
    return ArrivalOutcome::kGone;
  }
  const Instance* owner = Find(found->owner);
  const bool lives = owner != nullptr && owner->live && owner->row.generation == found->generation;
  found->members[key].arrived = true;
  const bool complete = std::all_of(found->members.begin(), found->members.end(),
                                    [](const auto& member) { return member.second.arrived; });
  if (lives && !complete) return ArrivalOutcome::kWaits;
  const WaitingLock request = std::move(*found);
  waiting_locks_.erase(found);
  if (!lives) {
    TakeBack(request, key);
    return ArrivalOutcome::kGone;
  }
  Grant(worker, request, std::move(arrival.grant), entity, result);
  return ArrivalOutcome::kGranted;
}

void MemoryDatabase::Grant(WorkerId worker, const WaitingLock& granted, NewMessage grant,
                           const Instance& last, CheckpointResult& result) {
  for (const auto& [key, member] : granted.members) {
    Instance& entity = *Find(key);
    Remove(entity, member.seq);
    entity.lock = Instance::Lock{granted.owner, granted.generation, granted.section};
    if (key == last.row.key) continue;
    Deliver(/*worker=*/0, &entity,
            {kAnyGeneration, absl::InfinitePast(), kEntityLockGranted, granted.request},
            Place::kFront);
  }
  grant.generation = granted.generation;
  result.grant = Deliver(worker, Find(granted.owner), std::move(grant));
}

void MemoryDatabase::TakeBack(const WaitingLock& request, InstanceKey except) {
  for (const auto& [key, member] : request.members) {
    Instance& entity = *Find(key);
    Remove(entity, member.seq);
    if (key != except) Unlock(key, request.owner_id, request.section);
  }
}

void MemoryDatabase::Unlock(InstanceKey entity, const std::string& owner_id,
                            const std::string& section) {
  Deliver(/*worker=*/0, Find(entity), UnlockMessage(owner_id, section, NowLocked()), Place::kFront);
}

void MemoryDatabase::ReleaseLocks(const Instance& owner, std::optional<Generation> generation) {
  const auto is_of_owner = [&](const auto& lock) {
    return lock.owner == owner.row.key && (!generation || lock.generation == *generation);
  };
  std::vector<InstanceKey> held;
  for (const auto& [key, entity] : instances_) {
    if (entity->lock.has_value() && is_of_owner(*entity->lock)) held.push_back(key);
  }
  std::sort(held.begin(), held.end());  // for a repeatable simulation
  for (InstanceKey key : held) Unlock(key, owner.row.instance_id, Find(key)->lock->section);
  const auto of_owner =
      std::stable_partition(waiting_locks_.begin(), waiting_locks_.end(), std::not_fn(is_of_owner));
  for (auto it = of_owner; it != waiting_locks_.end(); ++it) TakeBack(*it, /*except=*/0);
  waiting_locks_.erase(of_owner, waiting_locks_.end());
}

bool MemoryDatabase::HasLocks(InstanceKey owner) const {
  return std::any_of(waiting_locks_.begin(), waiting_locks_.end(),
                     [owner](const WaitingLock& waiting) { return waiting.owner == owner; }) ||
         std::any_of(instances_.begin(), instances_.end(), [owner](const auto& entry) {
           return entry.second->lock.has_value() && entry.second->lock->owner == owner;
         });
}

bool MemoryDatabase::RemoveIfEmpty(Instance& entity) {
  const InstanceKey key = entity.row.key;
  if (entity.state.has_value() || entity.lock.has_value() || !entity.inbox.empty() ||
      std::any_of(waiting_locks_.begin(), waiting_locks_.end(),
                  [key](const WaitingLock& waiting) { return waiting.members.contains(key); })) {
    return false;
  }
  entity.live = false;
  SetLease(entity, 0);
  Erase(entity);
  return true;
}

}  // namespace dt::testing
