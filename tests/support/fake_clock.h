// A clock that stands still until a test moves it. Thread-safe.
#ifndef DT_TESTS_SUPPORT_FAKE_CLOCK_H_
#define DT_TESTS_SUPPORT_FAKE_CLOCK_H_

#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace dt::testing {

using ClockFunction = std::function<absl::Time()>;

class FakeClock {
 public:
  // Some fixed instant with digits below the second, so that a rounding error shows.
  FakeClock();
  explicit FakeClock(absl::Time start) : now_(start) {}

  absl::Time Now() const;
  void Advance(absl::Duration by);
  // May also set the clock back.
  void Set(absl::Time now);
  // Reads this clock; valid while the clock lives.
  ClockFunction Reader() const;

 private:
  mutable absl::Mutex mutex_;
  absl::Time now_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dt::testing

#endif  // DT_TESTS_SUPPORT_FAKE_CLOCK_H_
