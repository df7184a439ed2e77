#include "storage/postgres/blocked_operations.h"

#include <iterator>

namespace dt::postgres {

void BlockedOperations::SetDue(uint64_t key, Queue& queue, absl::Time due) {
  due_.erase({queue.due, key});
  queue.due = due;
  if (due != absl::InfiniteFuture()) due_.insert({due, key});
}

void BlockedOperations::Add(std::unique_ptr<Operation> operation, absl::Time until) {
  uint64_t& key = operation->blocked_key_;
  // A key of its own may be somebody's order key, too: then that one waits needlessly, no more.
  if (key == 0) key = operation->order_key == 0 ? next_key_++ : operation->order_key;
  if (key == taken_key_) taken_key_ = 0;
  Queue& queue = queues_[key];
  SetDue(key, queue, until);
  queue.operations.push_front(std::move(operation));
}

bool BlockedOperations::Follow(std::unique_ptr<Operation>& operation) {
  if (queues_.empty() || operation->order_key == 0) return false;
  const auto found = queues_.find(operation->order_key);
  if (found == queues_.end()) return false;
  found->second.operations.push_back(std::move(operation));
  return true;
}

std::unique_ptr<Operation> BlockedOperations::TakeDue(absl::Time now) {
  if (next_due() > now) return nullptr;
  const uint64_t key = due_.begin()->second;
  Queue& queue = queues_.find(key)->second;
  std::unique_ptr<Operation> taken = std::move(queue.operations.front());
  queue.operations.pop_front();
  taken_key_ = key;
  SetDue(key, queue, absl::InfiniteFuture());
  return taken;
}

void BlockedOperations::Hold(uint64_t order_key) {
  if (order_key == taken_key_) taken_key_ = 0;
  queues_.try_emplace(order_key);
}

Batch BlockedOperations::TakeFollowers() {
  return taken_key_ == 0 ? Batch() : Release(std::exchange(taken_key_, 0));
}

Batch BlockedOperations::Release(uint64_t order_key) {
  const auto found = queues_.find(order_key);
  if (found == queues_.end()) return {};
  Batch followers(std::make_move_iterator(found->second.operations.begin()),
                  std::make_move_iterator(found->second.operations.end()));
  queues_.erase(found);
  return followers;
}

Batch BlockedOperations::TakeImpatient(absl::Time now) {
  Batch taken;
  for (auto it = queues_.begin(); it != queues_.end();) {
    const auto here = it++;
    Queue& queue = here->second;
    std::deque<std::unique_ptr<Operation>> left;
    for (std::unique_ptr<Operation>& operation : queue.operations) {
      (operation->give_up_at_ <= now ? taken.push_back(std::move(operation))
                                     : left.push_back(std::move(operation)));
    }
    queue.operations = std::move(left);
    if (!queue.operations.empty() || queue.due == absl::InfiniteFuture()) continue;
    SetDue(here->first, queue, absl::InfiniteFuture());
    queues_.erase(here);
  }
  return taken;
}

Batch BlockedOperations::TakeAll() {
  Batch taken;
  for (auto& [key, queue] : queues_) {
    for (std::unique_ptr<Operation>& operation : queue.operations) {
      taken.push_back(std::move(operation));
    }
  }
  queues_.clear();
  due_.clear();
  taken_key_ = 0;
  return taken;
}

}  // namespace dt::postgres
