// The clock of an open loop: says at even intervals that something is due.
#ifndef DT_TESTS_BENCH_PACER_H_
#define DT_TESTS_BENCH_PACER_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace dt::bench {

using Clock = std::chrono::steady_clock;

// A thread of its own: gRPC's alarms count whole milliseconds, and a single chain takes a few.
class Pacer {
 public:
  // Calls `tick` from the thread with each moment that has come, `count` times or without an end
  // (count = 0) until Stop; then once with nullopt. A tick that is late does not move the next
  // ones.
  Pacer(double per_second, int64_t count,
        std::function<void(std::optional<Clock::time_point>)> tick);
  Pacer(const Pacer&) = delete;
  Pacer& operator=(const Pacer&) = delete;
  ~Pacer();

  void Stop();

 private:
  void Run(double per_second, int64_t count);

  const std::function<void(std::optional<Clock::time_point>)> tick_;
  absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_PACER_H_
