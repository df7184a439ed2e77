// The one rule by which everything waits longer that has failed again: by doubling.
//
// Pure.
#ifndef DT_SERVER_DISPATCH_BACKOFF_H_
#define DT_SERVER_DISPATCH_BACKOFF_H_

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"
#include "server/dispatch/dispatch_thread.h"

namespace dt::dispatch {

// `first`, doubled so many times, but no longer than `max`.
inline absl::Duration Doubled(absl::Duration first, int doublings, absl::Duration max) {
  return std::min(max, first * (int64_t{1} << std::clamp(doublings, 0, 30)));
}

// How long an item waits that so many workers in a row did not answer: the first time not at all.
inline absl::Duration RedeliveryDelay(const DispatchLimits& limits, int32_t lost_leases) {
  if (lost_leases <= 1) return absl::ZeroDuration();
  return Doubled(limits.abandon_delay_min, lost_leases - 2, limits.abandon_delay_max);
}

// Something that is worth trying as long as it helps. Each time that it did not, it is left out for
// twice as many times as the last time.
class Skips {
 public:
  Skips(int first, int doublings_max) : first_(first), doublings_max_(doublings_max) {}

  // Whether it is to be left out this time.
  bool Skip() { return left_ > 0 && left_-- > 0; }
  // It did not help; what was tried before that was known counts as one with it.
  void Failed() {
    if (left_ > 0) return;
    left_ = first_ << doublings_;
    doublings_ = std::min(doublings_ + 1, doublings_max_);
  }
  void Succeeded() { doublings_ = 0; }

 private:
  int first_;
  int doublings_max_;
  int left_ = 0;
  int doublings_ = 0;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_BACKOFF_H_
