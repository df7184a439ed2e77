// Watches how much memory the process really has, and says when it has more than it may: the last
// wall behind the limits of those that hold memory (memory.h), for what these do not see.
//
// Threads. One of its own, which calls `tell`; construct and destroy on one thread.
#ifndef DT_SERVER_MEMORY_GUARD_H_
#define DT_SERVER_MEMORY_GUARD_H_

#include <cstdint>
#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace dt {

// Whether memory is scarce, from one look to the next. Pure.
class Scarcity {
 public:
  explicit Scarcity(int64_t bytes_max) : bytes_max_(bytes_max) {}

  // Scarce from bytes_max on until it is a tenth below. True when that has changed.
  bool Look(int64_t bytes);
  bool scarce() const { return scarce_; }
  // How long after a look that found so much the next one is: no longer than a flood of 1 GB a
  // second takes for half of what is left, and rarely where much is, since the process may be one
  // of many on a machine, all of them idle.
  absl::Duration NextLook(int64_t bytes) const;

 private:
  const int64_t bytes_max_;
  bool scarce_ = false;
};

class MemoryGuard {
 public:
  // `tell` is called with true when the process has `bytes_max` or more, and with false later.
  MemoryGuard(int64_t bytes_max, std::function<void(bool scarce)> tell);
  ~MemoryGuard();
  MemoryGuard(const MemoryGuard&) = delete;
  MemoryGuard& operator=(const MemoryGuard&) = delete;

 private:
  void Run();
  // How many bytes there are now.
  int64_t Look();

  const int64_t bytes_max_;
  const std::function<void(bool scarce)> tell_;
  Scarcity scarcity_;  // of the thread
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

// Bytes of this process that lie in memory.
int64_t ResidentBytes();

}  // namespace dt

#endif  // DT_SERVER_MEMORY_GUARD_H_
