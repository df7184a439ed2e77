// The verbs of MemoryDatabase except the checkpoint.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "tests/support/memory_database.h"

namespace dt::testing {
namespace {

bool Excluded(const ClaimGroup& group, int64_t key) {
  return std::find(group.excluded.begin(), group.excluded.end(), key) != group.excluded.end();
}

int64_t SizeOf(const SharedBytes& bytes) { return static_cast<int64_t>(bytes->size()); }

}  // namespace

absl::StatusOr<HubId> MemoryDatabase::ResolveHub(const std::string& name, bool create) {
  absl::MutexLock lock(&mutex_);
  auto found = hubs_.find(name);
  if (found != hubs_.end()) return found->second;
  if (!create) return absl::NotFoundError(absl::StrCat("Task hub not found: ", name));
  return hubs_[name] = static_cast<HubId>(++last_hub_);
}

absl::Status MemoryDatabase::DeleteHub(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  auto found = hubs_.find(name);
  if (found == hubs_.end()) return absl::NotFoundError(absl::StrCat("Task hub not found: ", name));
  const HubId hub = found->second;
  hubs_.erase(found);
  std::vector<TaskKey> tasks;
  for (const auto& [key, task] : tasks_) {
    if (task.task.hub == hub) tasks.push_back(key);
  }
  for (TaskKey key : tasks) EraseTask(key);
  std::vector<InstanceKey> keys;
  for (const auto& [key, instance] : instances_) {
    if (instance->hub == hub) keys.push_back(key);
  }
  for (InstanceKey key : keys) {
    Instance& instance = *Find(key);
    End(instance);
    Erase(instance);
  }
  deleted_hubs_.push_back({name, NowLocked(), static_cast<int64_t>(keys.size())});
  return absl::OkStatus();
}

HubCleanupResult MemoryDatabase::CleanHubs(const HubCleanupRequest& request) {
  absl::MutexLock lock(&mutex_);
  HubCleanupResult result;
  if (deleted_hubs_.empty()) return result;
  DeletedHub& deleted = deleted_hubs_.front();
  result.hub = deleted.name;
  result.removed = std::min<int64_t>(deleted.left, request.max_instances);
  // Whether a full batch was the last is seen by the next one.
  result.ended = deleted.left < request.max_instances;
  deleted.left -= result.removed;
  result.total = deleted.removed += result.removed;
  result.age = NowLocked() - deleted.deleted_at;
  if (result.ended) deleted_hubs_.pop_front();
  result.more = !deleted_hubs_.empty();
  return result;
}

void MemoryDatabase::Erase(Instance& instance) {
  const std::vector<TaskKey> tasks(instance.tasks.begin(), instance.tasks.end());
  for (const TaskKey key : tasks) EraseTask(key);
  ids_.erase({instance.hub, instance.row.instance_id});
  instances_.erase(instance.row.key);
}

absl::StatusOr<CreateResult> MemoryDatabase::CreateInstance(WorkerId worker, NewInstance instance) {
  absl::MutexLock lock(&mutex_);
  const bool exists = std::any_of(hubs_.begin(), hubs_.end(),
                                  [&](const auto& hub) { return hub.second == instance.hub; });
  // Tests may use hubs that were never resolved, but none that was deleted.
  if (!exists && instance.hub <= last_hub_) return absl::NotFoundError("the task hub was deleted");
  return Create(worker, std::move(instance));
}

Delivery MemoryDatabase::Terminate(WorkerId worker, ClientTermination termination) {
  absl::MutexLock lock(&mutex_);
  return TerminateOne(worker, termination.hub, std::move(termination.termination));
}

Claim MemoryDatabase::Take(Instance& instance, const ClaimRequest& request) {
  if (instance.lease != request.lease_token) SetLease(instance, request.lease_token);
  Claim claim;
  claim.key = instance.row.key;
  claim.hub = instance.hub;
  claim.kind = instance.kind;
  claim.lease_token = instance.lease;
  claim.instance_id = instance.row.instance_id;
  claim.execution_id = ExecutionIdOf(instance);
  claim.generation = instance.row.generation;
  claim.turn = instance.turn;
  claim.name = instance.row.name;
  claim.version = instance.row.version;
  claim.status = instance.row.status;
  claim.custom_status = instance.row.custom_status;
  claim.saved_custom_status = instance.saved_custom_status;
  claim.parent = instance.parent;
  claim.orchestration_trace_context = instance.orchestration_trace_context;
  claim.lost_leases = instance.lost_leases;
  claim.history = instance.history;
  if (instance.kind == InstanceKind::kEntity) claim.entity = EntityRowOf(instance);
  int64_t bytes = 0;
  for (const auto& [order, message] : instance.inbox) {
    if (message.visible_at > NowLocked()) {
      claim.next_due = message.visible_at;
      break;
    }
    bytes += static_cast<int64_t>(message.event->size());
    if (!claim.messages.empty() &&
        (claim.messages.size() == static_cast<size_t>(request.max_messages) ||
         bytes > request.max_message_bytes)) {
      claim.more_messages = true;
      claim.next_due = message.visible_at;
      break;
    }
    claim.messages.push_back(message);
  }
  return claim;
}

absl::Status MemoryDatabase::CheckHub(HubId hub) const {
  const bool gone =
      hub <= last_hub_ && std::none_of(hubs_.begin(), hubs_.end(),
                                       [hub](const auto& one) { return one.second == hub; });
  return gone ? absl::NotFoundError(absl::StrCat("the task hub with id ", hub, " was deleted"))
              : absl::OkStatus();
}

absl::StatusOr<ClaimResult> MemoryDatabase::ClaimInstances(const ClaimRequest& request) {
  absl::MutexLock lock(&mutex_);
  ++claims_;
  if (absl::Status status = CheckHub(request.hub); !status.ok()) return status;
  ClaimResult result;
  if (request.repeat) {
    for (auto it = instance_leases_.lower_bound({request.lease_token, 0});
         it != instance_leases_.end() && it->first == request.lease_token; ++it) {
      result.claims.push_back(Take(*Find(it->second), request));
    }
    return result;
  }
  ClaimBudget budget(request.max_total_bytes);
  for (const ClaimGroup& group : request.groups) {
    result.groups.push_back(ClaimGroupOf(request, group, budget, result.claims));
  }
  return result;
}

int64_t MemoryDatabase::TurnBytes(const Instance& instance, absl::Time until) {
  int64_t bytes = instance.state.has_value() ? static_cast<int64_t>(instance.state->size()) : 0;
  for (const HistoryChunk& chunk : instance.history) bytes += SizeOf(chunk.events);
  for (const auto& [order, message] : instance.inbox) {
    if (message.visible_at <= until) bytes += SizeOf(message.event);
  }
  return bytes;
}

ClaimedGroup MemoryDatabase::ClaimGroupOf(const ClaimRequest& request, const ClaimGroup& group,
                                          ClaimBudget& budget, std::vector<Claim>& claims) {
  const absl::Time now = NowLocked();
  ClaimedGroup result;
  std::vector<Instance*> taken;
  for (auto it = ready_.lower_bound({request.hub, absl::InfinitePast(), 0});
       it != ready_.end() && std::get<0>(*it) == request.hub; ++it) {
    if (taken.size() >= static_cast<size_t>(group.max_items)) break;
    Instance* instance = Find(std::get<2>(*it));
    if (instance->kind != request.kind || Excluded(group, instance->row.key) ||
        !Accepts(group.filters, instance->row.name, instance->row.version)) {
      continue;
    }
    if (std::get<1>(*it) > now) {
      result.next_due = std::get<1>(*it);
      break;
    }
    if (!budget.Take(TurnBytes(*instance, now))) {
      result.cut = true;
      break;
    }
    taken.push_back(instance);
  }
  for (Instance* instance : taken) claims.push_back(Take(*instance, request));
  result.items = static_cast<int>(taken.size());
  return result;
}

LeaseOutcome MemoryDatabase::DiscardMessages(const DiscardRequest& request) {
  absl::MutexLock lock(&mutex_);
  Instance* instance = Find(request.key);
  if (instance == nullptr || !instance->live || instance->lease != request.lease_token) {
    return LeaseOutcome::kLeaseLost;
  }
  for (int64_t seq : request.seqs) Remove(*instance, seq);
  if (request.release) SetLease(*instance, 0);
  return LeaseOutcome::kReleased;
}

LeaseOutcome MemoryDatabase::ReleaseInstance(const InstanceRelease& release) {
  absl::MutexLock lock(&mutex_);
  Instance* instance = Find(release.key);
  if (instance == nullptr || !instance->live || instance->lease != release.lease_token) {
    return LeaseOutcome::kLeaseLost;
  }
  if (release.delay > absl::ZeroDuration()) instance->not_before = NowLocked() + release.delay;
  instance->lost_leases += release.lost ? 1 : 0;
  for (const KeptTask& kept : release.kept_tasks) StoreInlineTask(*instance, kept);
  SetLease(*instance, 0);
  Wake(instance->hub);
  return LeaseOutcome::kReleased;
}

std::vector<InboxRead> MemoryDatabase::ReadNewMessages(WorkerId worker) {
  absl::MutexLock lock(&mutex_);
  ++reads_;
  std::vector<InboxRead> reads;
  auto it = owner_wakes_.lower_bound({worker, 0});
  while (it != owner_wakes_.end() && it->first == worker) {
    Instance& instance = *Find(it->second);
    instance.owner_wake = false;
    reads.push_back(Read(instance));
    it = owner_wakes_.erase(it);
  }
  return reads;
}

InboxRead MemoryDatabase::ReadInbox(InstanceKey key, LeaseToken token) {
  absl::MutexLock lock(&mutex_);
  Instance* instance = Find(key);
  if (instance != nullptr && instance->live && instance->lease == token) return Read(*instance);
  InboxRead none;
  none.key = key;
  return none;
}

absl::StatusOr<TaskClaimResult> MemoryDatabase::ClaimTasks(const ClaimRequest& request) {
  absl::MutexLock lock(&mutex_);
  ++claims_;
  if (absl::Status status = CheckHub(request.hub); !status.ok()) return status;
  TaskClaimResult result;
  if (request.repeat) {
    for (auto it = task_leases_.lower_bound({request.lease_token, 0});
         it != task_leases_.end() && it->first == request.lease_token; ++it) {
      result.tasks.push_back(LeasedTask(tasks_[it->second]));
    }
    return result;
  }
  ClaimBudget budget(request.max_total_bytes);
  for (const ClaimGroup& group : request.groups) {
    result.groups.push_back(ClaimTaskGroup(request, group, budget, result.tasks));
  }
  return result;
}

UnacceptedWork MemoryDatabase::FindUnacceptedWork(const UnacceptedSearch& search) {
  absl::MutexLock lock(&mutex_);
  ++looks_;
  const absl::Time until = NowLocked() - search.age_min;
  // By lower-case name and version, as an index is.
  using Groups = std::map<std::pair<std::string, std::string>, WaitingWork>;
  const auto add = [&](Groups& groups, const NameFilters& accepted, const std::string& name,
                       const Payload& version, absl::Time due, const std::string& instance_id) {
    if (!accepted.has_value() || due > until || Accepts(accepted, name, version)) return;
    WaitingWork& work = groups[{absl::AsciiStrToLower(name), version.value_or("")}];
    if (work.count == 0 || due < work.since) {
      work = {name, version.value_or(""), work.count, due, instance_id};
    }
    work.count = std::min(work.count + 1, search.count_max);
  };
  Groups turns;
  Groups entities;
  for (const auto& [hub, due, key] : ready_) {
    const Instance& instance = *Find(key);
    if (hub != search.hub) continue;
    const bool entity = instance.kind == InstanceKind::kEntity;
    add(entity ? entities : turns, entity ? search.entities : search.turns, instance.row.name,
        instance.row.version, due, instance.row.instance_id);
  }
  Groups tasks;
  for (const auto& [hub, place, key] : free_tasks_) {
    const Task& free = tasks_[key];
    if (hub != search.hub) continue;
    add(tasks, search.tasks, free.task.name, free.task.version, free.ready_at,
        free.task.instance_id);
  }
  const auto list = [&search](Groups& groups, std::vector<WaitingWork>& to) {
    for (auto& [named, work] : groups) {
      if (to.size() < static_cast<size_t>(search.groups_max)) to.push_back(std::move(work));
    }
  };
  UnacceptedWork found;
  list(turns, found.turns);
  list(tasks, found.tasks);
  list(entities, found.entities);
  return found;
}

ActivityTask MemoryDatabase::LeasedTask(const Task& task) const {
  ActivityTask leased = task.task;
  const auto found = instances_.find(leased.instance_key);
  if (leased.execution_id.empty() && found != instances_.end()) {
    leased.execution_id = found->second->row.execution_id;
  }
  return leased;
}

ClaimedGroup MemoryDatabase::ClaimTaskGroup(const ClaimRequest& request, const ClaimGroup& group,
                                            ClaimBudget& budget, std::vector<ActivityTask>& tasks) {
  const absl::Time now = NowLocked();
  ClaimedGroup result;
  std::vector<TaskKey> taken;
  for (auto it = free_tasks_.lower_bound({request.hub, absl::InfinitePast(), 0});
       it != free_tasks_.end() && std::get<0>(*it) == request.hub; ++it) {
    if (taken.size() >= static_cast<size_t>(group.max_items)) break;
    const ActivityTask& task = tasks_[std::get<2>(*it)].task;
    if (Excluded(group, task.key) || !Accepts(group.filters, task.name, task.version)) continue;
    const absl::Time ready_at = tasks_[task.key].ready_at;
    if (ready_at > now) {
      result.next_due = std::min(result.next_due.value_or(ready_at), ready_at);
      continue;
    }
    if (!budget.Take(SizeOf(task.request))) {
      result.cut = true;
      break;
    }
    taken.push_back(task.key);
  }
  for (TaskKey key : taken) {
    Task& task = tasks_[key];
    free_tasks_.erase({task.task.hub, task.place, key});
    task.task.lease_token = request.lease_token;
    task_leases_.insert({request.lease_token, key});
    tasks.push_back(LeasedTask(task));
  }
  result.items = static_cast<int>(taken.size());
  return result;
}

TaskResult MemoryDatabase::CompleteTask(WorkerId worker, TaskCompletion completion) {
  absl::MutexLock lock(&mutex_);
  TaskResult result;
  auto found = tasks_.find(completion.key);
  if (found != tasks_.end() && found->second.task.lease_token == completion.lease_token) {
    EraseTask(completion.key);
  } else if (IsInline(completion.instance_key, completion.place)) {
    Find(completion.instance_key)->inline_tasks.erase(completion.place.task_id);
  } else {
    result.outcome = TaskOutcome::kLeaseLost;
    return result;
  }
  Instance* instance = Find(completion.instance_key);
  if (instance == nullptr || !instance->live || instance->row.generation != completion.generation) {
    result.outcome = TaskOutcome::kInstanceGone;
    return result;
  }
  result.delivery = Deliver(worker, instance, std::move(completion.message));
  return result;
}

LeaseOutcome MemoryDatabase::ReleaseTask(const TaskRelease& release) {
  absl::MutexLock lock(&mutex_);
  if (IsInline(release.instance_key, release.place)) {
    StoreInlineTask(*Find(release.instance_key),
                    {release.place.task_id, release.key, release.lease_token});
  }
  auto found = tasks_.find(release.key);
  if (found == tasks_.end() || found->second.task.lease_token != release.lease_token) {
    return LeaseOutcome::kLeaseLost;
  }
  FreeTask(found->second, release.delay, release.lost);
  return LeaseOutcome::kReleased;
}

std::optional<InstanceRow> MemoryDatabase::ReadInstance(HubId hub, const std::string& instance_id,
                                                        bool payloads) {
  absl::MutexLock lock(&mutex_);
  const Instance* instance = Find(hub, instance_id);
  if (instance == nullptr || instance->kind != InstanceKind::kOrchestration) return std::nullopt;
  InstanceRow row = instance->row;
  if (!payloads) DropPayloads(row);
  return row;
}

void DropPayloads(InstanceRow& row) {
  row.input.reset();
  row.output.reset();
  row.custom_status.reset();
  row.failure.reset();
}

InstanceStatus MemoryDatabase::ReadStatus(HubId hub, const std::string& instance_id) {
  absl::MutexLock lock(&mutex_);
  ++status_reads_;
  const Instance* instance = Find(hub, instance_id);
  InstanceStatus status;
  status.exists = instance != nullptr && instance->kind == InstanceKind::kOrchestration;
  if (status.exists) status.status = instance->row.status;
  return status;
}

absl::StatusOr<HistoryPage> MemoryDatabase::ReadHistory(
    HubId hub, const std::string& instance_id, const std::optional<std::string>& execution_id,
    int64_t after_turn, int64_t max_bytes) {
  absl::MutexLock lock(&mutex_);
  const Instance* instance = Find(hub, instance_id);
  if (instance == nullptr || instance->kind != InstanceKind::kOrchestration) {
    return absl::NotFoundError(absl::StrCat("instance ", instance_id, " does not exist"));
  }
  if (execution_id.has_value() && instance->row.execution_id != *execution_id) {
    return absl::NotFoundError(absl::StrCat("execution ", *execution_id, " of instance ",
                                            instance_id, " is not the current one"));
  }
  HistoryPage page{instance->row.execution_id, {}};
  int64_t bytes = 0;
  for (const HistoryChunk& chunk : instance->history) {
    if (chunk.turn <= after_turn) continue;
    if (!page.chunks.empty() && bytes >= max_bytes) break;
    bytes += static_cast<int64_t>(chunk.events->size());
    page.chunks.push_back(chunk);
  }
  return page;
}

MemoryDatabase::Counts MemoryDatabase::Count() const {
  absl::MutexLock lock(&mutex_);
  Counts counts;
  for (const auto& [key, instance] : instances_) {
    counts.live += instance->live ? 1 : 0;
    counts.messages += instance->inbox.size();
    counts.inline_tasks += instance->inline_tasks.size();
  }
  counts.leased_instances = instance_leases_.size();
  counts.tasks = counts.inline_tasks + tasks_.size();
  counts.leased_tasks = counts.inline_tasks + task_leases_.size();
  counts.checkpoints = checkpoints_;
  counts.claims = claims_;
  counts.reads = reads_;
  counts.status_reads = status_reads_;
  counts.looks = looks_;
  return counts;
}

LeaseToken MemoryDatabase::LeaseOf(HubId hub, const std::string& instance_id) const {
  absl::MutexLock lock(&mutex_);
  auto found = ids_.find(std::make_pair(hub, instance_id));
  return found == ids_.end() ? 0 : instances_.at(found->second)->lease;
}

void MemoryDatabase::ReplaceHistory(HubId hub, const std::string& instance_id,
                                    std::vector<HistoryChunk> history) {
  absl::MutexLock lock(&mutex_);
  if (Instance* instance = Find(hub, instance_id)) instance->history = std::move(history);
}

}  // namespace dt::testing
