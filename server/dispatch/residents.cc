#include "server/dispatch/residents.h"

#include <algorithm>

namespace dt::dispatch {
namespace {

constexpr int64_t kResidentBytes = 2048;  // without history and inbox

int64_t StateBytes(const Resident& resident) {
  const bool none = resident.entity == nullptr || resident.entity->state.state == nullptr;
  return none ? 0 : static_cast<int64_t>(resident.entity->state.state->size());
}

}  // namespace

// --- The turn

bool TurnInFlight::TakePart(OrchestratorResponse part, const DispatchLimits& limits,
                            TurnAnswer& answer) {
  if (merged == nullptr && orchestration::IsWhole(part)) {
    answer.response = std::move(part);
    return true;
  }
  if (merged != nullptr) answer.response = std::move(*merged);
  merged_bytes += static_cast<int64_t>(part.SpaceUsedLong());
  const bool complete = orchestration::MergeChunk(std::move(part), answer.response);
  answer.too_large = merged_bytes > limits.response_bytes_max;
  // More actions than a turn may have fail it; what they are does not matter then.
  const bool too_many = answer.response.actions_size() > limits.turn.actions_max;
  if (complete || answer.too_large || too_many) {
    ForgetParts();
    return true;
  }
  merged = std::make_unique<OrchestratorResponse>(std::move(answer.response));
  return false;
}

void TurnInFlight::ForgetParts() {
  merged.reset();
  merged_bytes = 0;
}

void TurnInFlight::Renumber(int64_t from, int64_t to) {
  for (orchestration::TurnEvent& event : plan.events) {
    if (event.seq == from) event.seq = to;
  }
  std::replace(plan.dropped.begin(), plan.dropped.end(), from, to);
}

absl::Time Resident::next_due() const {
  if (!blocked()) return inbox.next_due();
  return inbox.has_front() ? absl::InfinitePast() : absl::InfiniteFuture();
}

std::vector<KeptTask> Resident::KeptTasks() const {
  std::vector<KeptTask> kept;
  for (const auto& [id, task] : inline_tasks.held) kept.push_back(task);
  return kept;
}

// --- The table

Resident* ResidentTable::Find(InstanceKey key) {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : found->second;
}

Resident* ResidentTable::Find(InstanceKey key, LeaseToken lease) {
  Resident* resident = Find(key);
  return resident != nullptr && resident->lease == lease ? resident : nullptr;
}

Resident* ResidentTable::FindByNumber(int64_t number) {
  const auto found = residents_.find(number);
  return found == residents_.end() ? nullptr : found->second.get();
}

Resident* ResidentTable::FindById(const Hub& hub, const std::string& instance_id) {
  const auto found = hub.residents.find(instance_id);
  return found == hub.residents.end() ? nullptr : found->second;
}

Resident* ResidentTable::Add(std::unique_ptr<Resident> resident) {
  Resident* added = resident.get();
  added->hub->residents[added->instance_id()] = added;
  if (!added->unconfirmed()) by_key_[added->key()] = added;
  residents_.emplace(added->number, std::move(resident));
  Weigh(*added);
  return added;
}

void ResidentTable::Confirm(Resident& resident, InstanceKey key) {
  resident.state.key = key;
  by_key_[key] = &resident;
}

void ResidentTable::Remove(Resident& resident) {
  SetDue(resident, std::nullopt);
  SetBusy(resident);
  bytes_ -= resident.bytes;
  work_->Add(resident.hub->work_bytes, -resident.bytes);
  const auto by_id = resident.hub->residents.find(resident.instance_id());
  if (by_id != resident.hub->residents.end() && by_id->second == &resident) {
    resident.hub->residents.erase(by_id);
  }
  const auto by_key = by_key_.find(resident.key());
  if (by_key != by_key_.end() && by_key->second == &resident) by_key_.erase(by_key);
  residents_.erase(resident.number);
}

void ResidentTable::Append(Resident& resident, Message message) {
  // Whoever sends in front of all has the lock of the entity, or had asked for it. That it was
  // granted may not be known here yet, and comes before what the holder sends.
  const bool front = message.visible_at == absl::InfinitePast();
  const bool ahead = resident.entity != nullptr && !resident.entity->state.lock && front;
  resident.inbox.Append(std::move(message), /*reading=*/reads_in_flight_ > 0);
  if (ahead) resident.inbox.MarkUnread(resident.phase == Resident::Phase::kReading);
  Weigh(resident);
}

void ResidentTable::Merge(Resident& resident, InboxRead read) {
  resident.inbox.Merge(std::move(read), consumed_during_read_);
  Weigh(resident);
}

void ResidentTable::Consume(Resident& resident, std::vector<int64_t> seqs) {
  if (reads_in_flight_ > 0) consumed_during_read_.insert(seqs.begin(), seqs.end());
  resident.inbox.Consume(std::move(seqs));
  Weigh(resident);
}

void ResidentTable::Weigh(Resident& resident) {
  const int64_t bytes = kResidentBytes + resident.state.history_bytes + resident.turn.merged_bytes +
                        resident.inbox.bytes() + StateBytes(resident);
  const int64_t more = bytes - resident.bytes;
  resident.bytes = bytes;
  bytes_ += more;
  if (!resident.idle) work_->Add(resident.hub->work_bytes, more);
}

void ResidentTable::EndRead() {
  if (--reads_in_flight_ == 0) consumed_during_read_.clear();
}

void ResidentTable::SetIdle(Resident& resident, absl::Time until) {
  if (!std::exchange(resident.idle, true)) {
    work_->Add(resident.hub->work_bytes, -resident.bytes);
  }
  idle_.Set(&resident, until);
}

void ResidentTable::SetBusy(Resident& resident) {
  if (!std::exchange(resident.idle, false)) return;
  work_->Add(resident.hub->work_bytes, resident.bytes);
  idle_.Remove(&resident);
}

Resident* ResidentTable::TakeIdle(absl::Time now, bool any) {
  const std::optional<Resident*> taken = idle_.Take(any ? absl::InfiniteFuture() : now);
  if (!taken.has_value()) return nullptr;
  Resident* resident = *taken;
  resident->idle = false;
  work_->Add(resident->hub->work_bytes, resident->bytes);
  return resident;
}

void ResidentTable::SetDue(Resident& resident, std::optional<absl::Time> at) {
  if (resident.due_at == at) return;
  if (resident.due_at.has_value()) due_.erase({*resident.due_at, resident.number});
  resident.due_at = at;
  if (at.has_value()) due_[{*at, resident.number}] = &resident;
}

Resident* ResidentTable::TakeDue(absl::Time now) {
  if (due_.empty() || next_due() > now) return nullptr;
  Resident* resident = due_.begin()->second;
  SetDue(*resident, std::nullopt);
  return resident;
}

std::vector<Resident*> ResidentTable::All() const {
  std::vector<Resident*> all;
  all.reserve(residents_.size());
  // In any order: it is sorted then.
  for (const auto& [number, resident] : residents_) all.push_back(resident.get());
  std::sort(all.begin(), all.end(),
            [](const Resident* a, const Resident* b) { return a->number < b->number; });
  return all;
}

}  // namespace dt::dispatch
