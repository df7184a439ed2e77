// The ways to run the load, each with what counts as the measurement.
#ifndef DT_TESTS_BENCH_MEASURE_H_
#define DT_TESTS_BENCH_MEASURE_H_

#include "absl/status/statusor.h"
#include "tests/bench/driver.h"
#include "tests/bench/meter.h"
#include "tests/bench/options.h"

namespace dt::bench {

struct Measurement {
  Sample begin;
  Sample end;
};

// Runs the whole load on a driver that is connected. What the driver itself found wrong is in its
// errors.
absl::StatusOr<Measurement> Measure(const Options& options, const Meter& meter, Driver& driver);

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_MEASURE_H_
