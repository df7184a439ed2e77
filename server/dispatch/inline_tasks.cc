// Inline tasks: activities that a worker here runs at once. Under the lease of their instance they
// need no row of their own. They end with a turn of it (unstored_results.cc) or, as most of a large
// fan-out do, by a message to it, and the store sees no more of them than their ids and the
// history.
//
// Rules
//   * Only tasks that the history describes whole, small ones, and not too many of one instance.
//     Its hot row carries their ids through every turn, and whoever must make rows reads its
//     history.
//   * What this daemon runs keeps running when the instance is given up, ends or continues as new:
//     the same call gives it a row, under the key and the lease that it has here.
//   * Where it is not known whether that call has happened, the store finds the task in either
//     place (InlinePlace).
#include <algorithm>
#include <limits>

#include "absl/container/flat_hash_set.h"
#include "server/dispatch/dispatcher.h"

namespace dt::dispatch {
namespace {

// A fan-out of this many that a worker takes at once still has no rows. As ranges of ids it is a
// few bytes of the hot row while they end about in order. In a random order there are up to half as
// many ranges on the way, of 9 bytes each, and every message writes them again.
constexpr size_t kInlineTasksMax = 1024;
constexpr size_t kInlineRequestBytesMax = 1024;

// Sorted.
std::vector<int32_t> IdsOf(const std::vector<NewTask>& tasks) {
  std::vector<int32_t> ids;
  ids.reserve(tasks.size());
  for (const NewTask& task : tasks) ids.push_back(task.task_id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

// Whether the lease of the instance, or its generation, ends with this turn.
bool EndsLease(const Checkpoint& checkpoint) {
  return checkpoint.ends || checkpoint.release || checkpoint.next_generation.has_value();
}

}  // namespace

void Dispatcher::ChooseInlineTasks(const Resident& resident, Checkpoint& checkpoint) const {
  std::vector<NewTask>& tasks = checkpoint.tasks;
  const auto& older = resident.inline_tasks;
  if (EndsLease(checkpoint) || tasks.size() + older.size() > kInlineTasksMax) return;
  const std::vector<int32_t> ids = IdsOf(tasks);
  const auto is_only = [&ids, &older](int32_t id) {
    const auto [first, last] = std::equal_range(ids.begin(), ids.end(), id);
    return last - first == 1 && !older.contains(id);
  };
  for (NewTask& task : tasks) {
    task.is_inline = task.lease_token != 0 && task.in_history &&
                     task.request->size() <= kInlineRequestBytesMax &&
                     task.task_id < std::numeric_limits<int32_t>::max() && is_only(task.task_id);
  }
}

std::vector<KeptTask> Dispatcher::Outliving(const Resident& resident,
                                            const Checkpoint& checkpoint) {
  if (!EndsLease(checkpoint)) return {};
  std::vector<KeptTask> kept = resident.KeptTasks();
  const absl::flat_hash_set<int32_t> completed(checkpoint.completed_inline_tasks.begin(),
                                               checkpoint.completed_inline_tasks.end());
  std::erase_if(kept,
                [&completed](const KeptTask& task) { return completed.contains(task.task_id); });
  return kept;
}

void Dispatcher::HoldInline(Resident* resident, ActivityTask task) {
  if (resident == nullptr) {
    // The instance was given up behind this checkpoint, and the task became free with it.
    WorkFree(*table_.HubOf(task.hub), WorkType::kActivity, steady_);
    return;
  }
  task.key = MakeTaskKey(worker_, ++last_task_key_);
  resident->inline_tasks[task.task_id] = {task.task_id, task.key, task.lease_token};
  Hold(std::move(task), resident->lease);
}

bool Dispatcher::IsInline(const Resident& resident, const TaskCompletion& completion) {
  const auto found = resident.inline_tasks.find(completion.place.task_id);
  return completion.place.instance_lease == resident.lease &&
         found != resident.inline_tasks.end() && found->second.key == completion.key;
}

void Dispatcher::ForgetInline(const HeldTask& held) {
  if (held.instance_lease == 0) return;
  Resident* resident = residents_.Find(held.task.instance_key, held.instance_lease);
  if (resident == nullptr) return;
  const auto found = resident->inline_tasks.find(held.task.task_id);
  if (found != resident->inline_tasks.end() && found->second.key == held.task.key) {
    resident->inline_tasks.erase(found);
  }
}

}  // namespace dt::dispatch
