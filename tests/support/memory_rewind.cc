// MemoryDatabase: what sql/logic/rewind.sql and _TerminateNow do.
#include <algorithm>
#include <utility>

#include "tests/support/memory_database.h"

namespace dt::testing {
namespace {

// EventRaised and ExecutionSuspended of a generation (proto/README.md 6.1).
bool IsCarriedOver(const Message& message) {
  return message.event_type == 17 || message.event_type == 21;
}

}  // namespace

RewindSource MemoryDatabase::SourceOf(const Instance& instance) const {
  RewindSource source;
  source.exists = true;
  source.output = instance.row.output;
  source.failure = instance.row.failure;
  Claim& claim = source.claim;
  claim.key = instance.row.key;
  claim.hub = instance.hub;
  claim.instance_id = instance.row.instance_id;
  claim.execution_id = instance.row.execution_id;
  claim.generation = instance.row.generation;
  claim.turn = instance.turn;
  claim.name = instance.row.name;
  claim.version = instance.row.version;
  claim.status = instance.row.status;
  claim.custom_status = instance.row.custom_status;
  claim.saved_custom_status = instance.saved_custom_status;
  claim.parent = instance.parent;
  claim.orchestration_trace_context = instance.orchestration_trace_context;
  if (claim.status == RuntimeStatus::kFailed) claim.history = instance.history;
  for (TaskKey key : instance.tasks) {
    const ActivityTask& task = tasks_.at(key).task;
    if (task.generation == instance.row.generation) source.task_ids.push_back(task.task_id);
  }
  for (const auto& [id, task] : instance.inline_tasks) source.task_ids.push_back(id);
  std::sort(source.task_ids.begin(), source.task_ids.end());
  return source;
}

std::vector<RewindSource> MemoryDatabase::ReadRewindSources(
    HubId hub, const std::vector<std::string>& instance_ids) {
  absl::MutexLock lock(&mutex_);
  std::vector<RewindSource> sources;
  for (const std::string& id : instance_ids) {
    const Instance* instance = Find(hub, id);
    sources.push_back(instance == nullptr ? RewindSource() : SourceOf(*instance));
  }
  return sources;
}

bool MemoryDatabase::IsAsFound(const Rewind& rewind) {
  const Instance* instance = Find(rewind.checkpoint.key);
  if (instance == nullptr) return false;
  const RewindSource now = SourceOf(*instance);
  if ((!rewind.live && now.claim.status != RuntimeStatus::kFailed) ||
      now.claim.execution_id != rewind.found_execution_id ||
      now.task_ids != rewind.found_task_ids) {
    return false;
  }
  return std::all_of(
      rewind.found_children.begin(), rewind.found_children.end(), [this](const RewindChild& found) {
        mutex_.AssertHeld();
        const Instance* child = Find(found.key);
        if (child == nullptr) return false;
        return IsTerminal(found.status) ? child->row.status == found.status : child->live;
      });
}

void MemoryDatabase::Revive(Rewind rewind) {
  Instance& instance = *Find(rewind.checkpoint.key);
  for (HistoryChunk& chunk : rewind.history) {
    const auto same =
        std::find_if(instance.history.begin(), instance.history.end(),
                     [&chunk](const HistoryChunk& old) { return old.turn == chunk.turn; });
    if (chunk.event_count == 0) {
      instance.history.erase(same);
    } else {
      if (chunk.events == nullptr) chunk.events = same->events;
      *same = std::move(chunk);
    }
  }
  for (TaskKey key : std::vector<TaskKey>(instance.tasks.begin(), instance.tasks.end())) {
    const ActivityTask& task = tasks_.at(key).task;
    const std::vector<int32_t>& dropped = rewind.dropped_task_ids;
    if (task.generation == instance.row.generation &&
        std::find(dropped.begin(), dropped.end(), task.task_id) != dropped.end()) {
      EraseTask(key);
    }
  }
  ReleaseLocks(instance, std::nullopt);
  if (rewind.live) {
    for (const KeptTask& kept : rewind.checkpoint.kept_tasks) StoreInlineTask(instance, kept);
    instance.inline_tasks.clear();
    instance.history.clear();
    std::vector<int64_t> old;
    for (const auto& [order, message] : instance.inbox) {
      const std::vector<int64_t>& consumed = rewind.checkpoint.consumed;
      const bool stays = message.generation == kAnyGeneration || IsCarriedOver(message) ||
                         std::count(consumed.begin(), consumed.end(), message.seq) > 0;
      if (!stays) old.push_back(message.seq);
    }
    for (int64_t seq : old) Remove(instance, seq);
  }
  instance.live = true;
  instance.row.execution_id = rewind.execution_id;
  instance.row.output.reset();
  instance.row.failure.reset();
  instance.row.completed_at.reset();
  SetLease(instance, rewind.checkpoint.lease_token);
  Commit(/*worker=*/0, std::move(rewind.checkpoint));
}

RewindOutcome MemoryDatabase::RewindInstances(RewindRequest request) {
  absl::MutexLock lock(&mutex_);
  const bool done =
      std::all_of(request.rewinds.begin(), request.rewinds.end(), [this](const Rewind& rewind) {
        mutex_.AssertHeld();
        const Instance* instance = Find(rewind.checkpoint.key);
        return instance != nullptr && instance->row.execution_id == rewind.execution_id;
      });
  if (done) return RewindOutcome::kRewound;
  for (const Rewind& rewind : request.rewinds) {
    if (rewind.live && CheckFence(rewind.checkpoint) != CheckpointOutcome::kCommitted) {
      return RewindOutcome::kLeaseLost;
    }
    if (!IsAsFound(rewind)) return RewindOutcome::kChanged;
  }
  for (Rewind& rewind : request.rewinds) Revive(std::move(rewind));
  return RewindOutcome::kRewound;
}

std::vector<std::string> MemoryDatabase::TerminateNow(const ImmediateTermination& request) {
  absl::MutexLock lock(&mutex_);
  std::vector<std::string> not_ended;
  for (const std::string& id : request.instance_ids) {
    Instance* instance = Find(request.hub, id);
    if (instance == nullptr || !instance->live || instance->kind == InstanceKind::kEntity ||
        HasLocks(instance->row.key)) {
      not_ended.push_back(id);
    } else {
      EndTerminated(*instance, request.reason);
    }
  }
  return not_ended;
}

}  // namespace dt::testing
