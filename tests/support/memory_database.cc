#include "tests/support/memory_database.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "proto/orchestrator_service.pb.h"

namespace dt::testing {
namespace {

// Field numbers of HistoryEvent.
constexpr int16_t kExecutionTerminated = 5;
constexpr int16_t kExecutionResumed = 22;

constexpr size_t kInboxReadMessagesMax = 1000;

// The message that tells a parent how its child ended without a worker (RULES.md 4.18).
NewMessage ChildTerminated(const ParentLink& parent, const Payload& reason, absl::Time now) {
  HistoryEvent event;
  event.set_eventid(-1);
  event.mutable_timestamp()->set_seconds(absl::ToUnixSeconds(now));
  auto* failed = event.mutable_suborchestrationinstancefailed();
  failed->set_taskscheduledid(*parent.task_id);
  failed->mutable_failuredetails()->set_errortype("OrchestrationTerminated");
  failed->mutable_failuredetails()->set_errormessage(
      reason.has_value() && !reason->empty() ? *reason : "The orchestration was terminated");
  NewMessage message;
  message.generation = parent.generation;
  message.event_type = static_cast<int16_t>(event.eventType_case());
  message.event = std::make_shared<const std::string>(event.SerializeAsString());
  return message;
}

// As sql's __RedeliveryDelay.
absl::Duration RedeliveryDelay(int lost_leases) {
  if (lost_leases <= 1) return absl::ZeroDuration();
  return absl::Seconds(std::min(60, 1 << std::min(lost_leases - 2, 10)));
}

}  // namespace

bool Accepts(const NameFilters& filters, const std::string& name, const Payload& version) {
  if (!filters.has_value()) return true;
  const std::string lower = absl::AsciiStrToLower(name);
  const std::string wanted = version.value_or("");
  return std::any_of(filters->begin(), filters->end(), [&](const NameFilter& filter) {
    return filter.lower_name == lower &&
           (filter.versions.empty() || std::find(filter.versions.begin(), filter.versions.end(),
                                                 wanted) != filter.versions.end());
  });
}

absl::Time MemoryDatabase::NowLocked() const {
  // Microseconds, as the database keeps them.
  last_now_ = std::max(last_now_, absl::FromUnixMicros(absl::ToUnixMicros(clock_())));
  return last_now_;
}

absl::Time MemoryDatabase::Now() const {
  absl::MutexLock lock(&mutex_);
  return NowLocked();
}

MemoryDatabase::Instance* MemoryDatabase::Find(HubId hub, const std::string& id) {
  auto found = ids_.find(std::make_pair(hub, id));
  return found == ids_.end() ? nullptr : Find(found->second);
}

MemoryDatabase::Instance* MemoryDatabase::Find(InstanceKey key) {
  auto found = instances_.find(key);
  return found == instances_.end() ? nullptr : found->second.get();
}

void MemoryDatabase::Reindex(Instance& instance) {
  if (instance.ready_at.has_value()) {
    ready_.erase({instance.hub, *instance.ready_at, instance.row.key});
    instance.ready_at.reset();
  }
  if (!instance.live || instance.lease != 0 || instance.inbox.empty()) return;
  // Held until it is resumed or terminated, or, of an entity, until a message comes in front.
  const bool is_entity = instance.kind == InstanceKind::kEntity;
  if (instance.not_before == absl::InfiniteFuture() &&
      std::any_of(instance.inbox.begin(), instance.inbox.end(), [is_entity](const auto& entry) {
        const Message& message = entry.second;
        if (is_entity) return message.visible_at == absl::InfinitePast();
        return message.event_type == kExecutionTerminated ||
               message.event_type == kExecutionResumed;
      })) {
    instance.not_before = absl::InfinitePast();
  }
  instance.ready_at = std::max(instance.inbox.begin()->first.first, instance.not_before);
  ready_.insert({instance.hub, *instance.ready_at, instance.row.key});
}

void MemoryDatabase::SetLease(Instance& instance, LeaseToken token) {
  if (instance.lease != 0) {
    instance_leases_.erase({instance.lease, instance.row.key});
    owner_wakes_.erase({LeaseTokenWorker(instance.lease), instance.row.key});
  }
  if (token == 0) FreeInlineTasks(instance, /*lost=*/false);
  instance.owner_wake = false;
  instance.lease = token;
  if (token != 0) {
    instance_leases_.insert({token, instance.row.key});
    instance.not_before = absl::InfinitePast();
  }
  Reindex(instance);
}

int64_t MemoryDatabase::Insert(Instance& instance, NewMessage message, Place place) {
  // A due time is rounded up, so that nothing fires early.
  const absl::Time due = absl::FromUnixMicros(
      absl::ToUnixMicros(std::max(message.visible_at, absl::UnixEpoch()) + absl::Nanoseconds(999)));
  Message stored;
  stored.seq = ++last_key_;
  stored.generation = message.generation;
  stored.visible_at = due;
  if (place == Place::kFront) stored.visible_at = absl::InfinitePast();
  if (place == Place::kDue) stored.visible_at = std::max(due, NowLocked());
  stored.event_type = message.event_type;
  stored.event = std::move(message.event);
  const InboxOrder order{stored.visible_at, stored.seq};
  instance.inbox_times[stored.seq] = stored.visible_at;
  instance.inbox.emplace(order, std::move(stored));
  if (instance.lease == 0) Reindex(instance);
  return order.second;
}

bool MemoryDatabase::Remove(Instance& instance, int64_t seq) {
  auto found = instance.inbox_times.find(seq);
  if (found == instance.inbox_times.end()) return false;
  instance.inbox.erase({found->second, seq});
  instance.inbox_times.erase(found);
  return true;
}

Delivery MemoryDatabase::Deliver(WorkerId worker, Instance* target, NewMessage message,
                                 Place place) {
  Delivery delivery;
  if (target == nullptr) {
    delivery.outcome = DeliveryOutcome::kNotFound;
    return delivery;
  }
  delivery.key = target->row.key;
  if (!target->live ||
      (message.generation != kAnyGeneration && message.generation != target->row.generation)) {
    delivery.outcome = DeliveryOutcome::kTerminal;
    return delivery;
  }
  delivery.seq = Insert(*target, std::move(message), place);
  delivery.visible_at = target->inbox_times[delivery.seq];
  delivery.lease_token = target->lease;
  delivery.unread = target->owner_wake;
  if (target->lease == 0) {
    Wake(target->hub);
  } else if (worker == 0 || LeaseTokenWorker(target->lease) != worker) {
    target->owner_wake = true;
    owner_wakes_.insert({LeaseTokenWorker(target->lease), target->row.key});
    Wake(target->hub);
  }
  return delivery;
}

Delivery MemoryDatabase::TerminateOne(WorkerId worker, HubId hub, Termination termination) {
  Instance* target = Find(hub, termination.instance_id);
  Delivery delivery;
  if (target == nullptr || target->kind == InstanceKind::kEntity) {
    delivery.outcome = DeliveryOutcome::kNotFound;
    return delivery;
  }
  delivery.key = target->row.key;
  if (target->live && target->turn == 0 && target->lease == 0) {
    EndTerminated(*target, termination.reason);
    delivery.outcome = DeliveryOutcome::kDone;
    return delivery;
  }
  return Deliver(worker, target, std::move(termination.message));
}

void MemoryDatabase::EndTerminated(Instance& instance, const Payload& reason) {
  instance.row.status = RuntimeStatus::kTerminated;
  instance.row.output = reason;
  if (instance.parent.has_value() && instance.parent->task_id.has_value()) {
    Deliver(0, Find(instance.parent->key), ChildTerminated(*instance.parent, reason, NowLocked()));
  }
  End(instance);
}

void MemoryDatabase::EraseTask(TaskKey key) {
  auto found = tasks_.find(key);
  if (found == tasks_.end()) return;
  const Task& task = found->second;
  free_tasks_.erase({task.task.hub, task.place, key});
  task_leases_.erase({task.task.lease_token, key});
  if (Instance* instance = Find(task.task.instance_key)) instance->tasks.erase(key);
  tasks_.erase(found);
}

void MemoryDatabase::DropFreeTasks(Instance& instance) {
  const std::vector<TaskKey> keys(instance.tasks.begin(), instance.tasks.end());
  for (TaskKey key : keys) {
    if (tasks_[key].task.lease_token == 0) EraseTask(key);
  }
}

void MemoryDatabase::End(Instance& instance) {
  DropFreeTasks(instance);
  instance.inline_tasks.clear();
  instance.live = false;
  instance.inbox.clear();
  instance.inbox_times.clear();
  instance.row.last_updated_at = NowLocked();
  instance.row.completed_at = NowLocked();
  SetLease(instance, 0);
}

CreateResult MemoryDatabase::Create(WorkerId worker, NewInstance created) {
  CreateResult result;
  if (Instance* existing = Find(created.hub, created.instance_id)) {
    result.key = existing->row.key;
    result.created_at = existing->row.created_at;
    if (existing->row.execution_id == created.execution_id) {
      result.outcome = CreateOutcome::kAlready;
      return result;
    }
    if ((created.replaceable & StatusBit(existing->row.status)) == 0) {
      result.outcome = CreateOutcome::kExists;
      result.existing_status = existing->row.status;
      return result;
    }
    result.outcome = CreateOutcome::kReplaced;
    if (existing->live && existing->parent.has_value() && existing->parent->task_id.has_value()) {
      NewMessage notice =
          ChildTerminated(*existing->parent, "The orchestration was replaced", NowLocked());
      result.parent_notice_event = notice.event;
      result.parent_notice = Deliver(worker, Find(existing->parent->key), std::move(notice));
    }
    ReleaseLocks(*existing, std::nullopt);
    End(*existing);
    instances_.erase(existing->row.key);
  }
  auto instance = std::make_unique<Instance>();
  instance->hub = created.hub;
  InstanceRow& row = instance->row;
  row.key = ++last_key_;
  row.instance_id = created.instance_id;
  row.execution_id = std::move(created.execution_id);
  row.name = std::move(created.name);
  row.version = std::move(created.version);
  row.input = std::move(created.input);
  row.tags = std::move(created.tags);
  row.scheduled_start = created.scheduled_start;
  row.created_at = row.last_updated_at = NowLocked();
  row.status = RuntimeStatus::kPending;
  instance->parent = std::move(created.parent);
  if (instance->parent.has_value()) row.parent_instance_id = instance->parent->instance_id;
  // Nothing is delivered before a scheduled start, whatever is sent to it (RULES.md 3.3).
  if (created.scheduled_start.has_value()) instance->not_before = *created.scheduled_start;
  result.key = row.key;
  result.created_at = row.created_at;
  ids_[{created.hub, std::move(created.instance_id)}] = row.key;
  Instance& stored = *instances_.emplace(row.key, std::move(instance)).first->second;
  SetLease(stored, created.lease_token);
  result.started_seq = Insert(stored, std::move(created.started));
  if (created.lease_token == 0) Wake(stored.hub);
  return result;
}

TaskKey MemoryDatabase::AddTask(Instance& instance, NewTask created, Generation generation,
                                int number) {
  Task task;
  task.task.instance_key = instance.row.key;
  task.task.generation = generation;
  task.task.hub = instance.hub;
  task.task.instance_id = instance.row.instance_id;
  task.task.task_id = created.task_id;
  task.task.name = std::move(created.name);
  task.task.version = std::move(created.version);
  task.task.lease_token = created.lease_token;
  task.task.request = std::move(created.request);
  if (generation != instance.row.generation) task.task.execution_id = created.execution_id;
  task.ready_at = NowLocked();
  task.place = task.ready_at + number * absl::Milliseconds(10);
  if (created.is_inline) {
    instance.inline_tasks[created.task_id] = std::move(task);
    return 0;
  }
  const TaskKey key = task.task.key = ++last_key_;
  StoreTask(instance, std::move(task));
  return key;
}

void MemoryDatabase::StoreTask(Instance& instance, Task task) {
  const TaskKey key = task.task.key;
  if (task.task.lease_token == 0) {
    free_tasks_.insert({instance.hub, task.place, key});
    Wake(instance.hub);
  } else {
    task_leases_.insert({task.task.lease_token, key});
  }
  instance.tasks.insert(key);
  tasks_.emplace(key, std::move(task));
}

bool MemoryDatabase::StoreInlineTask(Instance& instance, const KeptTask& kept) {
  auto found = instance.inline_tasks.find(kept.task_id);
  if (found == instance.inline_tasks.end()) return false;
  Task task = std::move(found->second);
  instance.inline_tasks.erase(found);
  task.task.key = kept.key == 0 ? ++last_key_ : kept.key;
  task.task.lease_token = kept.lease_token;
  StoreTask(instance, std::move(task));
  return true;
}

void MemoryDatabase::FreeInlineTasks(Instance& instance, bool lost) {
  while (!instance.inline_tasks.empty()) {
    auto& [id, task] = *instance.inline_tasks.begin();
    task.task.lost_leases = lost ? 1 : 0;
    StoreInlineTask(instance, {id, 0, 0});
  }
}

bool MemoryDatabase::IsInline(InstanceKey instance, const InlinePlace& place) {
  const Instance* found = Find(instance);
  return place.instance_lease != 0 && found != nullptr && found->live &&
         found->lease == place.instance_lease && found->inline_tasks.contains(place.task_id);
}

WorkerId MemoryDatabase::RegisterWorker(absl::Duration lease) {
  absl::MutexLock lock(&mutex_);
  workers_[++last_worker_].lease_until = NowLocked() + lease;
  return last_worker_;
}

bool MemoryDatabase::RenewWorker(WorkerId worker, absl::Duration lease) {
  absl::MutexLock lock(&mutex_);
  auto found = workers_.find(worker);
  if (found == workers_.end() || found->second.swept) return false;
  found->second.lease_until = NowLocked() + lease;
  return true;
}

void MemoryDatabase::DeclareDead(WorkerId worker) {
  absl::MutexLock lock(&mutex_);
  auto found = workers_.find(worker);
  if (found != workers_.end()) found->second.lease_until = absl::InfinitePast();
}

SweepResult MemoryDatabase::Sweep(WorkerId sweeper) {
  std::vector<WorkerId> dead;
  SweepResult result;
  absl::MutexLock lock(&mutex_);
  for (const auto& [id, worker] : workers_) {
    if (worker.lease_until < NowLocked()) dead.push_back(id);
  }
  for (WorkerId worker : dead) {
    result.freed += FreeLeases(worker, /*lost=*/true);
    // It is swept again and again: a verb of the dead process may come late.
    workers_[worker] = {absl::InfinitePast(), /*swept=*/true};
  }
  result.workers = static_cast<int>(std::count_if(workers_.begin(), workers_.end(),
                                                  [](const auto& w) { return !w.second.swept; }));
  for (const auto& [id, worker] : workers_) {
    if (id == sweeper || worker.swept) continue;
    const std::vector<ServedWork>& served = worker.report.served;
    result.others.insert(result.others.end(), served.begin(), served.end());
  }
  return result;
}

void MemoryDatabase::ReportWork(WorkerId worker, WorkerReport report) {
  absl::MutexLock lock(&mutex_);
  const auto found = workers_.find(worker);
  if (found != workers_.end()) found->second.report = std::move(report);
}

void MemoryDatabase::UnregisterWorker(WorkerId worker) {
  absl::MutexLock lock(&mutex_);
  FreeLeases(worker, /*lost=*/false);
  workers_.erase(worker);
}

int64_t MemoryDatabase::FreeLeases(WorkerId worker, bool lost) {
  constexpr int64_t kKeyMax = std::numeric_limits<int64_t>::max();
  int64_t freed = 0;
  std::vector<InstanceKey> instances;
  for (auto it = instance_leases_.lower_bound({MakeLeaseToken(worker, 0), 0});
       it != instance_leases_.end() && LeaseTokenWorker(it->first) == worker; ++it) {
    instances.push_back(it->second);
  }
  for (InstanceKey key : instances) {
    Instance& instance = *Find(key);
    instance.lost_leases += lost ? 1 : 0;
    const absl::Duration delay = RedeliveryDelay(lost ? instance.lost_leases : 0);
    instance.not_before = delay > absl::ZeroDuration() ? NowLocked() + delay : absl::InfinitePast();
    FreeInlineTasks(instance, lost);
    SetLease(instance, 0);
    Wake(instance.hub);
    ++freed;
  }
  std::vector<TaskKey> tasks;
  for (auto it = task_leases_.lower_bound({MakeLeaseToken(worker, 0), -kKeyMax});
       it != task_leases_.end() && LeaseTokenWorker(it->first) == worker; ++it) {
    tasks.push_back(it->second);
  }
  for (TaskKey key : tasks) {
    FreeTask(tasks_[key], RedeliveryDelay(lost ? tasks_[key].task.lost_leases + 1 : 0), lost);
    ++freed;
  }
  return freed;
}

void MemoryDatabase::FreeTask(Task& task, absl::Duration delay, bool lost) {
  task_leases_.erase({task.task.lease_token, task.task.key});
  task.task.lease_token = 0;
  task.task.lost_leases += lost ? 1 : 0;
  task.ready_at = NowLocked() + delay;
  if (delay > absl::ZeroDuration()) task.place = task.ready_at;
  free_tasks_.insert({task.task.hub, task.place, task.task.key});
  Wake(task.task.hub);
}

std::vector<HubId> MemoryDatabase::TakeWoken() {
  absl::MutexLock lock(&mutex_);
  std::vector<HubId> woken(woken_.begin(), woken_.end());
  std::sort(woken.begin(), woken.end());  // for a repeatable simulation
  woken_.clear();
  return woken;
}

void MemoryDatabase::TellOthers(SentHints hints) {
  absl::MutexLock lock(&mutex_);
  hints_.push_back(std::move(hints));
}

std::vector<SentHints> MemoryDatabase::TakeHints() {
  absl::MutexLock lock(&mutex_);
  return std::exchange(hints_, {});
}

InboxRead MemoryDatabase::Read(const Instance& instance) const {
  InboxRead read;
  read.key = instance.row.key;
  read.lease_token = instance.lease;
  for (const auto& [order, message] : instance.inbox) {
    if (read.messages.size() == kInboxReadMessagesMax) {
      read.more_messages = true;
      break;
    }
    read.messages.push_back(message);
  }
  return read;
}

}  // namespace dt::testing
