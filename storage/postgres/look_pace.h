// Where the looks of a daemon go: small reads that come every few seconds or minutes although
// nothing happens, for workers that have died, for work that nobody accepts, for deleted hubs. A
// connection that is there for the claims anyway carries them, so that an idle daemon needs no
// other. But claims must not wait for them: after one that took long, for whatever reason, looks go
// on a connection of their own for a hundred times as long, and then one of them tries again.
//
// Threads: all methods from any thread.
#ifndef DT_STORAGE_POSTGRES_LOOK_PACE_H_
#define DT_STORAGE_POSTGRES_LOOK_PACE_H_

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace dt::postgres {

class LookPace {
 public:
  static constexpr int kApartFactor = 100;

  // What takes longer, the wait for claims included, is a long look.
  explicit LookPace(absl::Duration short_max) : short_max_(short_max) {}

  // Whether a look goes on a connection of its own now.
  bool Apart(absl::Time now) const {
    absl::MutexLock lock(&mutex_);
    return now < apart_until_;
  }
  // A look beside the claims took so long.
  void Took(absl::Duration time, absl::Time now) {
    absl::MutexLock lock(&mutex_);
    if (time > short_max_) apart_until_ = now + kApartFactor * time;
  }

 private:
  const absl::Duration short_max_;
  mutable absl::Mutex mutex_;
  absl::Time apart_until_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_LOOK_PACE_H_
