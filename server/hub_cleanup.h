// Removes what deleted hubs held, batch by batch, through the store: those that were deleted here
// as soon as Wake is called, and now and then those that others have left. The pace is that of
// retention (batch_pace.h).
//
// Threads. One of its own; Start and Stop from one thread, Wake from any. Stop does not wait for
// the batch in flight: whoever stops the store next ends that.
#ifndef DT_SERVER_HUB_CLEANUP_H_
#define DT_SERVER_HUB_CLEANUP_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/batch_loop.h"
#include "server/batch_pace.h"
#include "storage/store.h"

namespace dt {

class HubCleanup {
 public:
  // `store` must outlive this object.
  HubCleanup(Store* store, BatchPaceOptions pace) : store_(store), pace_(pace) {}
  ~HubCleanup() { Stop(); }
  HubCleanup(const HubCleanup&) = delete;
  HubCleanup& operator=(const HubCleanup&) = delete;

  void Start();
  // A hub was deleted.
  void Wake() { loop_.Wake(); }
  void Stop() { loop_.Stop(); }

 private:
  // What the batch came to, for the log; returns the pause before the next one.
  BatchPause OnBatch(const absl::StatusOr<HubCleanupResult>& result, absl::Duration took);

  Store* const store_;
  BatchPace pace_;  // of the thread
  BatchLoop<HubCleanupResult> loop_;
};

}  // namespace dt

#endif  // DT_SERVER_HUB_CLEANUP_H_
