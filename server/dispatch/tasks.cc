#include "server/dispatch/tasks.h"

#include <algorithm>
#include <utility>

namespace dt::dispatch {
namespace {

constexpr int64_t kTaskBytes = 512;  // without the request

}  // namespace

int64_t HeldTask::bytes() const { return kTaskBytes + item_bytes(); }

HeldTask* TaskTable::Find(TaskKey key) {
  const auto found = tasks_.find(key);
  return found == tasks_.end() ? nullptr : found->second.get();
}

HeldTask* TaskTable::Find(TaskKey key, LeaseToken lease) {
  HeldTask* held = Find(key);
  return held != nullptr && held->lease == lease ? held : nullptr;
}

HeldTask* TaskTable::Add(std::unique_ptr<HeldTask> task) {
  HeldTask* added = task.get();
  tasks_.emplace(added->key(), std::move(task));
  work_->Add(added->hub->work_bytes, added->bytes());
  return added;
}

void TaskTable::Remove(HeldTask& task) {
  work_->Add(task.hub->work_bytes, -task.bytes());
  if (task.phase == HeldTask::Phase::kCompleting) completing_.erase(task.dispatch);
  tasks_.erase(task.key());
}

void TaskTable::SetCompleting(HeldTask& task) {
  task.phase = HeldTask::Phase::kCompleting;
  if (task.dispatch != 0) completing_[task.dispatch] = &task;
}

HeldTask* TaskTable::FindCompleting(int64_t dispatch, LeaseToken lease) {
  const auto found = completing_.find(dispatch);
  return found == completing_.end() || found->second->lease != lease ? nullptr : found->second;
}

std::vector<HeldTask*> TaskTable::All() const {
  std::vector<HeldTask*> all;
  all.reserve(tasks_.size());
  // In any order: it is sorted then.
  for (const auto& [key, task] : tasks_) all.push_back(task.get());
  std::sort(all.begin(), all.end(),
            [](const HeldTask* a, const HeldTask* b) { return a->number < b->number; });
  return all;
}

}  // namespace dt::dispatch
