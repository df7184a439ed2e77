// MemoryDatabase::CommitCheckpoint: what sql's _CheckpointOrchestration does, in the same order.
#include <algorithm>
#include <utility>

#include "tests/support/memory_database.h"

namespace dt::testing {
namespace {

// Field numbers of HistoryEvent (proto/README.md 6.1).
constexpr int16_t kEventRaised = 17;
constexpr int16_t kExecutionSuspended = 21;

}  // namespace

CheckpointOutcome MemoryDatabase::CheckFence(const Checkpoint& checkpoint) {
  const Instance* instance = Find(checkpoint.key);
  if (instance == nullptr) return CheckpointOutcome::kGone;
  if (instance->last_token == checkpoint.lease_token && instance->turn == checkpoint.turn) {
    return CheckpointOutcome::kAlready;
  }
  if (!instance->live) return CheckpointOutcome::kGone;
  if (instance->lease != checkpoint.lease_token || instance->turn + 1 != checkpoint.turn) {
    return CheckpointOutcome::kLeaseLost;
  }
  const bool all_there =
      std::all_of(checkpoint.consumed.begin(), checkpoint.consumed.end(),
                  [instance](int64_t seq) { return instance->inbox_times.contains(seq); });
  for (const CompletedTask& task : checkpoint.completed_tasks) {
    if (!IsLeased(checkpoint.key, task)) return CheckpointOutcome::kLeaseLost;
  }
  return all_there ? CheckpointOutcome::kCommitted : CheckpointOutcome::kLeaseLost;
}

bool MemoryDatabase::IsLeased(InstanceKey instance, const CompletedTask& task) const {
  const auto found = tasks_.find(task.key);
  return found != tasks_.end() && found->second.task.lease_token == task.lease_token &&
         found->second.task.instance_key == instance;
}

CheckpointResult MemoryDatabase::CommitCheckpoint(WorkerId worker, Checkpoint checkpoint) {
  absl::MutexLock lock(&mutex_);
  return Commit(worker, std::move(checkpoint));
}

CheckpointResult MemoryDatabase::Commit(WorkerId worker, Checkpoint checkpoint) {
  CheckpointResult result;
  result.outcome = CheckFence(checkpoint);
  if (result.outcome != CheckpointOutcome::kCommitted) return result;
  ++checkpoints_;
  result.committed_at = NowLocked();
  Instance& instance = *Find(checkpoint.key);
  const std::vector<SubtreeTermination> late = LateTerminations(instance, checkpoint);
  std::vector<NewMessage> carried_on = ApplyState(checkpoint, instance);
  ApplyOutgoing(worker, checkpoint, instance, result);
  for (const SubtreeTermination& termination : late) TerminateBelow(instance, termination);
  for (NewMessage& message : carried_on) Insert(instance, std::move(message), Place::kFront);
  if (checkpoint.releases_locks) ReleaseLocks(instance, checkpoint.generation);
  if (instance.kind == InstanceKind::kEntity) {
    result.removed = RemoveIfEmpty(instance);
    if (result.removed) return result;
  }
  if (checkpoint.release && instance.live) {
    SetLease(instance, 0);
    Wake(instance.hub);
  }
  return result;
}

std::vector<NewMessage> MemoryDatabase::ApplyState(Checkpoint& checkpoint, Instance& instance) {
  std::vector<NewMessage> carried_on;
  for (int64_t seq : checkpoint.consumed) Remove(instance, seq);
  for (const CompletedTask& task : checkpoint.completed_tasks) EraseTask(task.key);
  for (int32_t id : checkpoint.completed_inline_tasks) instance.inline_tasks.erase(id);
  for (const KeptTask& kept : checkpoint.kept_tasks) StoreInlineTask(instance, kept);
  instance.turn = checkpoint.turn;
  instance.last_token = checkpoint.lease_token;
  instance.lost_leases = 0;
  instance.row.last_updated_at = NowLocked();
  if (instance.row.status == RuntimeStatus::kPending) instance.row.status = RuntimeStatus::kRunning;
  if (checkpoint.history.has_value()) instance.history.push_back(*std::move(checkpoint.history));
  if (checkpoint.update.has_value()) ApplyUpdate(*std::move(checkpoint.update), instance);
  if (checkpoint.next_generation.has_value()) {
    carried_on = ApplyNextGeneration(*checkpoint.next_generation, instance);
  }
  if (checkpoint.ends) End(instance);
  return carried_on;
}

void MemoryDatabase::ApplyUpdate(InstanceUpdate update, Instance& instance) {
  InstanceRow& row = instance.row;
  row.status = update.status;
  using Kind = Change<std::string>::Kind;
  if (update.custom_status.kind == Kind::kSet) row.custom_status = update.custom_status.value;
  if (update.custom_status.kind == Kind::kClear) row.custom_status.reset();
  if (update.orchestration_trace_context.kind == Kind::kSet) {
    instance.orchestration_trace_context = update.orchestration_trace_context.value;
  }
  if (update.orchestration_trace_context.kind == Kind::kClear) {
    instance.orchestration_trace_context.reset();
  }
  if (!IsTerminal(update.status)) return;
  row.output = std::move(update.output);
  row.failure = std::move(update.failure);
}

std::vector<NewMessage> MemoryDatabase::ApplyNextGeneration(NextGeneration next,
                                                            Instance& instance) {
  DropFreeTasks(instance);
  for (TaskKey key : instance.tasks) {
    std::string& execution_id = tasks_[key].task.execution_id;
    if (execution_id.empty()) execution_id = instance.row.execution_id;
  }
  instance.inline_tasks.clear();
  instance.history.clear();
  ++instance.row.generation;
  instance.row.execution_id = std::move(next.execution_id);
  instance.row.version = std::move(next.version);
  instance.row.input = std::move(next.input);
  instance.saved_custom_status = std::move(next.saved_custom_status);
  std::vector<int64_t> old;
  std::vector<NewMessage> carried_on;
  for (const auto& [order, message] : instance.inbox) {
    if (message.generation == kAnyGeneration || message.generation == instance.row.generation) {
      continue;
    }
    old.push_back(message.seq);
    if (message.event_type != kEventRaised && message.event_type != kExecutionSuspended) continue;
    carried_on.push_back(
        {instance.row.generation, absl::InfinitePast(), message.event_type, message.event});
  }
  for (int64_t seq : old) Remove(instance, seq);
  return carried_on;
}

void MemoryDatabase::ApplyOutgoing(WorkerId worker, Checkpoint& checkpoint, Instance& instance,
                                   CheckpointResult& result) {
  const InstanceKey own_key = instance.row.key;
  for (NewMessage& message : checkpoint.own_messages) {
    // A timer of a generation that just ended is skipped by the core; one that is not, dropped
    // here.
    const bool wanted = instance.live && (message.generation == kAnyGeneration ||
                                          message.generation == instance.row.generation);
    const bool front = checkpoint.next_generation.has_value() &&
                       message.generation == instance.row.generation &&
                       message.visible_at == absl::InfinitePast();
    const Place place = front ? Place::kFront : Place::kDue;
    result.own_seqs.push_back(wanted ? Insert(instance, std::move(message), place) : 0);
  }
  result.messages.resize(checkpoint.messages.size());
  result.terminations.resize(checkpoint.terminations.size());
  SendMessages(worker, checkpoint, /*after_children=*/false, result);
  result.lock_requests = RequestLocks(worker, checkpoint, instance);
  if (checkpoint.entity.has_value()) {
    ApplyEntity(worker, *std::move(checkpoint.entity), instance, result);
  }
  if (checkpoint.parent_message.has_value()) {
    checkpoint.parent_message->generation = checkpoint.parent_generation;
    result.parent =
        Deliver(worker, Find(checkpoint.parent_key), *std::move(checkpoint.parent_message));
  }
  Terminate(worker, checkpoint, /*after_children=*/false, result);
  if (checkpoint.subtree_termination) {
    TerminateBelow(instance, *checkpoint.subtree_termination);
  }
  int number = 0;
  for (NewTask& task : checkpoint.tasks) {
    result.task_keys.push_back(AddTask(instance, std::move(task), checkpoint.generation, number));
    ++number;
  }
  for (NewChild& child : checkpoint.children) {
    const CreateResult created = Create(worker, std::move(child.instance));
    ChildResult answer;
    answer.outcome = created.outcome;
    answer.key = created.key;
    answer.started_seq = created.started_seq;
    Instance* parent = Find(own_key);  // it may have been replaced by a child with its own id
    if (created.outcome == CreateOutcome::kExists && child.conflict.has_value() &&
        parent != nullptr && parent->live &&
        (child.conflict->generation == kAnyGeneration ||
         child.conflict->generation == parent->row.generation)) {
      answer.conflict_seq = Insert(*parent, *std::move(child.conflict));
    }
    result.children.push_back(answer);
  }
  SendMessages(worker, checkpoint, /*after_children=*/true, result);
  Terminate(worker, checkpoint, /*after_children=*/true, result);
}

void MemoryDatabase::SendMessages(WorkerId worker, Checkpoint& checkpoint, bool after_children,
                                  CheckpointResult& result) {
  for (size_t i = 0; i < checkpoint.messages.size(); ++i) {
    AddressedMessage& message = checkpoint.messages[i];
    if (message.after_children != after_children) continue;
    result.messages[i] = DeliverTo(worker, checkpoint.hub, std::move(message));
  }
}

void MemoryDatabase::Terminate(WorkerId worker, Checkpoint& checkpoint, bool after_children,
                               CheckpointResult& result) {
  for (size_t i = 0; i < checkpoint.terminations.size(); ++i) {
    Termination& termination = checkpoint.terminations[i];
    if (termination.after_children != after_children) continue;
    result.terminations[i] = TerminateOne(worker, checkpoint.hub, std::move(termination));
  }
}

}  // namespace dt::testing
