#include "server/dispatch/tasks.h"

#include <utility>

namespace dt::dispatch {
namespace {

constexpr int64_t kTaskBytes = 512;  // without the request

}  // namespace

int64_t HeldTask::bytes() const { return kTaskBytes + item_bytes(); }

HeldTask* TaskTable::Find(TaskKey key) {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? nullptr : found->second;
}

HeldTask* TaskTable::Find(TaskKey key, LeaseToken lease) {
  HeldTask* held = Find(key);
  return held != nullptr && held->lease == lease ? held : nullptr;
}

HeldTask* TaskTable::Add(std::unique_ptr<HeldTask> task) {
  HeldTask* added = task.get();
  by_key_[added->key()] = added;
  tasks_.emplace_hint(tasks_.end(), added->number, std::move(task));
  work_->Add(added->hub->work_bytes, added->bytes());
  return added;
}

void TaskTable::Remove(HeldTask& task) {
  work_->Add(task.hub->work_bytes, -task.bytes());
  if (task.phase == HeldTask::Phase::kCompleting) completing_.erase(task.dispatch);
  by_key_.erase(task.key());
  tasks_.erase(task.number);
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
  for (const auto& [number, task] : tasks_) all.push_back(task.get());
  return all;
}

}  // namespace dt::dispatch
