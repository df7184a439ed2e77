// Calls of the store that are made again later, and how long what failed there is left alone.
//
// Used by the dispatcher's one thread only.
#ifndef DT_SERVER_DISPATCH_RETRIES_H_
#define DT_SERVER_DISPATCH_RETRIES_H_

#include <utility>

#include "absl/container/btree_map.h"
#include "server/dispatch/failure_delays.h"
#include "server/dispatch/step_context.h"

namespace dt::dispatch {

class Retries {
 public:
  // Before the first repetition of a call that must come through.
  static constexpr absl::Duration kFirstDelay = absl::Seconds(1);

  explicit Retries(StepContext* step) : step_(*step) {}

  // Does it after about this time.
  void Later(absl::Duration delay, Effect effect) {
    waiting_.emplace(step_.steady + step_.Jittered(delay), std::move(effect));
  }
  void OnTime() {
    while (!waiting_.empty() && waiting_.begin()->first <= step_.steady) {
      step_.Do(std::move(waiting_.begin()->second));
      waiting_.erase(waiting_.begin());
    }
  }
  absl::Time NextDeadline() const {
    return waiting_.empty() ? absl::InfiniteFuture() : waiting_.begin()->first;
  }
  bool empty() const { return waiting_.empty(); }

  // How long this item is left alone whose turn or result could not be stored, or whose inbox not
  // be read.
  absl::Duration StoreFailed(StoredId item) {
    return step_.Jittered(store_failures_.Failed(item, step_.steady));
  }
  void StoreSucceeded(StoredId item) { store_failures_.Succeeded(item); }

 private:
  StepContext& step_;
  absl::btree_multimap<absl::Time, Effect> waiting_;
  FailureDelays<StoredId> store_failures_{absl::ZeroDuration()};
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_RETRIES_H_
