// Time that passes before a tag comes out of the queue. A part of driver.cc: all of it runs on the
// driver's thread.
#ifndef DT_TESTS_BENCH_PAUSE_H_
#define DT_TESTS_BENCH_PAUSE_H_

#include <grpcpp/alarm.h>

#include "tests/bench/driver.h"

namespace dt::bench {

// Between two tries of a server that is away. The SDKs wait for a second and longer; what is
// measured here is how long the server is away.
inline constexpr double kRetrySeconds = 0.02;

// One at a time. The driver does not close before the tag has come.
class Driver::Pause {
 public:
  void Begin(Driver& driver, double seconds, Tag* tag) {
    ++driver.pauses_;
    const auto us = static_cast<int64_t>(seconds * 1e6);
    alarm_.Set(&driver.queue_,
               gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_micros(us, GPR_TIMESPAN)),
               tag);
  }
  // The tag comes at once. Harmless without a pause.
  void Cancel() { alarm_.Cancel(); }
  // When the tag has come.
  void End(Driver& driver) { --driver.pauses_; }

 private:
  grpc::Alarm alarm_;
};

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_PAUSE_H_
