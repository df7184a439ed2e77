// Inline tasks: activities that a worker here runs at once. Under the lease of their instance they
// need no row of their own. They end with a turn of it (unstored_results.h) or, as most of a large
// fan-out do, by a message to it, and the store sees no more of them than their ids and the
// history.
//
// Rules
//   * Only tasks that the history describes whole, small ones, and not too many of one instance.
//     Its hot row carries their ids through every turn, and whoever must make rows reads its
//     history.
//   * What this daemon runs keeps running when the instance is given up, ends or continues as new:
//     the same call gives it a row, under the key and the lease that it has here.
//   * Whoever frees the lease of an instance makes the rows, and that is SQL, so that any worker
//   for
//     the activities can run them at once, though none for the orchestration is there. Reading the
//     history there takes 6 to 8 ms for 1,000 tasks, after a crash or when an instance is given up
//     while its tasks wait.
//   * Where it is not known whether that call has happened, the store finds the task in either
//     place (InlinePlace). As it is named by its id there, which the next generation or attempt
//     has again, no task is inline under the id of one that is being released.
//
// Pure.
#ifndef DT_SERVER_DISPATCH_INLINE_TASKS_H_
#define DT_SERVER_DISPATCH_INLINE_TASKS_H_

#include <vector>

#include "server/dispatch/residents.h"

namespace dt::dispatch {

// Marks those of the checkpoint's tasks that are inline.
void ChooseInlineTasks(const Resident& resident, Checkpoint& checkpoint);
// The inline tasks that outlive the lease of their instance, or its generation.
std::vector<KeptTask> Outliving(const Resident& resident, const Checkpoint& checkpoint);
// Whether the task that has ended is an inline one of this resident.
bool IsInline(const Resident& resident, const TaskCompletion& completion);
// The task with this id and key is none of the resident's any more; `released`: once its release is
// done.
void ForgetInline(Resident& resident, int32_t task_id, TaskKey key, bool released);

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_INLINE_TASKS_H_
