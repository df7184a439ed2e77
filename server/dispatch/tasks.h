// The activity tasks that this daemon has leased.
// Plain data of the dispatcher, used by its one thread only.
#ifndef DT_SERVER_DISPATCH_TASKS_H_
#define DT_SERVER_DISPATCH_TASKS_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "server/dispatch/fair_bytes.h"
#include "server/dispatch/item.h"
#include "server/dispatch/streams.h"

namespace dt::dispatch {

struct HeldTask : Item {
  enum class Phase : int8_t {
    kSetAside,    // it waits for no stream (yet)
    kQueued,      // in its route, waiting for a credit
    kDispatched,  // at a worker
    kCompleting,  // its result is on its way to the store
  };

  HeldTask(int64_t its_number, ActivityTask its_task, LeaseToken its_instance_lease)
      : Item(WorkType::kActivity, its_number),
        task(std::move(its_task)),
        instance_lease(its_instance_lease) {
    lease = task.lease_token;
    lost_leases = task.lost_leases;
  }
  int64_t key() const override { return task.key; }
  const std::string& instance_id() const override { return task.instance_id; }
  int64_t item_bytes() const override { return static_cast<int64_t>(task.request->size()); }
  InlinePlace inline_place() const { return {instance_lease, task.task_id}; }
  int64_t bytes() const;  // of memory

  ActivityTask task;
  // Not 0: it was made inline, under this lease of its instance.
  LeaseToken instance_lease = 0;
  Phase phase = Phase::kSetAside;
  bool unnamed = false;  // in Hub::unnamed_tasks
  // The same answer again, while its result is on the way to the store: answered with the first.
  std::vector<DoneCallback> repeats;
};

class TaskTable {
 public:
  // Counts the tasks into `work`, which must outlive the table.
  explicit TaskTable(FairBytes* work) : work_(work) {}

  // Null if it is not held.
  HeldTask* Find(TaskKey key);
  // Null unless held under this lease.
  HeldTask* Find(TaskKey key, LeaseToken lease);
  // One with this key must have been removed.
  HeldTask* Add(std::unique_ptr<HeldTask> task);
  void Remove(HeldTask& task);

  // Marks it as on its way to the store; the dispatch that was answered finds it until it goes.
  void SetCompleting(HeldTask& task);
  HeldTask* FindCompleting(int64_t dispatch, LeaseToken lease);

  size_t size() const { return tasks_.size(); }
  // In the order in which they came.
  std::vector<HeldTask*> All() const;

 private:
  FairBytes* const work_;
  absl::flat_hash_map<TaskKey, std::unique_ptr<HeldTask>> tasks_;
  absl::flat_hash_map<int64_t, HeldTask*> completing_;  // by dispatch
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_TASKS_H_
