// Operations of a lane that somebody else's lock is in the way of, apart from those that can be
// sent: however many they are, they are in nobody's way.
//
// Of each order key one operation, the blocked one, is tried now and then; those behind it keep its
// order and are not looked at. Not thread-safe.
#ifndef DT_STORAGE_POSTGRES_BLOCKED_OPERATIONS_H_
#define DT_STORAGE_POSTGRES_BLOCKED_OPERATIONS_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "storage/postgres/operation.h"

namespace dt::postgres {

class BlockedOperations {
 public:
  bool empty() const { return queues_.empty(); }

  // Keeps an operation, in front of those that were behind it, until it may be tried at `until`.
  void Add(std::unique_ptr<Operation> operation, absl::Time until);

  // Takes the operation if it has to wait for one that is kept here, and returns true.
  bool Follow(std::unique_ptr<Operation>& operation);

  // When the next operation may be tried; InfiniteFuture = none is kept.
  absl::Time next_due() const {
    return due_.empty() ? absl::InfiniteFuture() : due_.begin()->first;
  }

  // The operation to be tried first, if it is due; else null. Those behind it stay until it has
  // come back by Add, or TakeFollowers is called because it has ended. One is out at a time.
  std::unique_ptr<Operation> TakeDue(absl::Time now);

  // Those that were behind the operation that was taken and has not come back, in order.
  Batch TakeFollowers();

  // From now on, operations with this order key have to wait, until Release.
  void Hold(uint64_t order_key);
  // Those that were behind it, in order.
  Batch Release(uint64_t order_key);

  // Those that have no patience left (Operation::give_up_at_); those behind them may be tried.
  Batch TakeImpatient(absl::Time now);

  // Everything, the operations of one key in order.
  Batch TakeAll();

 private:
  struct Queue {
    std::deque<std::unique_ptr<Operation>> operations;  // without the one that was taken
    // As in due_; infinite while one is taken, or the key is held.
    absl::Time due = absl::InfiniteFuture();
  };
  using Queues = absl::flat_hash_map<uint64_t, Queue>;

  void SetDue(uint64_t key, Queue& queue, absl::Time due);

  // By order key; operations that are in no order have a key of their own (blocked_key_).
  Queues queues_;
  std::set<std::pair<absl::Time, uint64_t>> due_;
  uint64_t taken_key_ = 0;  // of the operation that is out; 0 = none
  uint64_t next_key_ = 1;
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_BLOCKED_OPERATIONS_H_
