// Delays that grow by doubling from a minimum to a maximum, each times a random 0.8 .. 1.2, so that
// many clients of one database do not come back at the same moment. Pure but for the random source.
#ifndef DT_STORAGE_POSTGRES_BACKOFF_H_
#define DT_STORAGE_POSTGRES_BACKOFF_H_

#include <algorithm>

#include "absl/random/random.h"
#include "absl/time/time.h"

namespace dt::postgres {

class Backoff {
 public:
  Backoff(absl::Duration min, absl::Duration max) : min_(min), max_(max), next_(min) {}

  // The next delay; at most 1.2 times the maximum.
  template <typename Random>
  absl::Duration Next(Random& random) {
    absl::Duration delay = next_ * absl::Uniform(random, 0.8, 1.2);
    next_ = std::min(next_ * 2, max_);
    return delay;
  }
  void Reset() { next_ = min_; }

 private:
  absl::Duration min_;
  absl::Duration max_;
  absl::Duration next_;
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_BACKOFF_H_
