#include "server/dispatch/inline_tasks.h"

#include <algorithm>
#include <limits>

#include "absl/container/flat_hash_set.h"

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

void ChooseInlineTasks(const Resident& resident, Checkpoint& checkpoint) {
  std::vector<NewTask>& tasks = checkpoint.tasks;
  const auto& older = resident.inline_tasks;
  if (EndsLease(checkpoint) || tasks.size() + older.held.size() > kInlineTasksMax) return;
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

std::vector<KeptTask> Outliving(const Resident& resident, const Checkpoint& checkpoint) {
  if (!EndsLease(checkpoint)) return {};
  std::vector<KeptTask> kept = resident.KeptTasks();
  const absl::flat_hash_set<int32_t> completed(checkpoint.completed_inline_tasks.begin(),
                                               checkpoint.completed_inline_tasks.end());
  std::erase_if(kept,
                [&completed](const KeptTask& task) { return completed.contains(task.task_id); });
  return kept;
}

bool IsInline(const Resident& resident, const TaskCompletion& completion) {
  const auto& held = resident.inline_tasks.held;
  const auto found = held.find(completion.place.task_id);
  return completion.place.instance_lease == resident.lease && found != held.end() &&
         found->second.key == completion.key;
}

void ForgetInline(Resident& resident, int32_t task_id, TaskKey key, bool released) {
  auto& held = resident.inline_tasks.held;
  const auto found = held.find(task_id);
  if (found == held.end() || found->second.key != key) return;
  held.erase(found);
  if (released) resident.inline_tasks.returning.insert(task_id);
}

}  // namespace dt::dispatch
