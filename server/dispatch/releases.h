// Leases that are given back: each release is repeated until the store has answered it, and what no
// stream here accepts is given back a few at a time.
//
// Used by the dispatcher's one thread only.
#ifndef DT_SERVER_DISPATCH_RELEASES_H_
#define DT_SERVER_DISPATCH_RELEASES_H_

#include <vector>

#include "absl/container/btree_map.h"
#include "server/dispatch/claimer.h"
#include "server/dispatch/failure_delays.h"
#include "server/dispatch/item.h"
#include "server/dispatch/retries.h"

namespace dt::dispatch {

class Releases {
 public:
  Releases(StepContext* step, Claimer* claimer, Retries* retries)
      : step_(*step), claimer_(*claimer), retries_(*retries) {}

  void Release(InstanceRelease release);
  void Release(TaskRelease release);
  void On(InstanceReleased& event);
  void On(TaskReleased& event);
  int in_flight() const { return in_flight_; }

  // No stream accepts the item: it is given back when its turn has come, unless one opens before.
  void AddOrphan(Item& item);
  // The item goes, or is wanted again.
  void RemoveOrphan(Item& item);
  // The next orphan that may be given back now; null: none.
  Item* TakeOrphan();
  // All orphans, which are none any more: a stream has opened, and what is left may be for it.
  std::vector<Item*> TakeOrphans();

 private:
  StepContext& step_;
  Claimer& claimer_;
  Retries& retries_;
  int in_flight_ = 0;
  FailureDelays<StoredId> failures_{Retries::kFirstDelay};
  absl::btree_map<int64_t, Item*> orphans_;  // by number
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_RELEASES_H_
