// Inline tasks: activities that a worker here runs at once. Under the lease of their instance they
// need no row of their own, and most end with a turn of it (unstored_results.cc), so that the
// store never sees more of them than their ids and the history.
//
// Rules
//   * Only tasks that the history describes whole, small ones, and few of one instance: its hot row
//     carries their ids through every turn.
//   * What this daemon runs keeps running when the instance is given up, ends or continues as new:
//     the same call gives it a row, under the key and the lease that it has here.
//   * Where it is not known whether that call has happened, the store finds the task in either
//     place (InlinePlace).
#include <algorithm>

#include "server/dispatch/dispatcher.h"

namespace dt::dispatch {
namespace {

constexpr size_t kInlineTasksMax = 8;
constexpr size_t kInlineRequestBytesMax = 1024;

auto WithId(int32_t id) {
  return [id](const auto& task) { return task.task_id == id; };
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
  for (NewTask& task : tasks) {
    task.is_inline = task.lease_token != 0 && task.in_history &&
                     task.request->size() <= kInlineRequestBytesMax &&
                     std::count_if(tasks.begin(), tasks.end(), WithId(task.task_id)) == 1 &&
                     std::none_of(older.begin(), older.end(), WithId(task.task_id));
  }
}

std::vector<KeptTask> Dispatcher::Outliving(const Resident& resident,
                                            const Checkpoint& checkpoint) {
  std::vector<KeptTask> kept;
  if (!EndsLease(checkpoint)) return kept;
  const auto& completed = checkpoint.completed_inline_tasks;
  for (const KeptTask& task : resident.inline_tasks) {
    if (std::find(completed.begin(), completed.end(), task.task_id) == completed.end()) {
      kept.push_back(task);
    }
  }
  return kept;
}

void Dispatcher::HoldInline(Resident* resident, ActivityTask task) {
  if (resident == nullptr) {
    // The instance was given up behind this checkpoint, and the task became free with it.
    WorkFree(*table_.HubOf(task.hub), WorkType::kActivity, now_);
    return;
  }
  task.key = MakeTaskKey(worker_, ++last_task_key_);
  resident->inline_tasks.push_back({task.task_id, task.key, task.lease_token});
  Hold(std::move(task), resident->lease);
}

bool Dispatcher::IsInline(const Resident& resident, const TaskCompletion& completion) {
  const auto& tasks = resident.inline_tasks;
  return completion.place.instance_lease == resident.lease &&
         std::any_of(tasks.begin(), tasks.end(),
                     [&completion](const KeptTask& task) { return task.key == completion.key; });
}

void Dispatcher::ForgetInline(const HeldTask& held) {
  if (held.instance_lease == 0) return;
  Resident* resident = residents_.Find(held.task.instance_key, held.instance_lease);
  if (resident == nullptr) return;
  auto& tasks = resident->inline_tasks;
  const TaskKey key = held.task.key;
  tasks.erase(std::remove_if(tasks.begin(), tasks.end(),
                             [key](const KeptTask& task) { return task.key == key; }),
              tasks.end());
}

}  // namespace dt::dispatch
