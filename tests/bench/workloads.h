// The workloads, each without a state and with a file of its own.
#ifndef DT_TESTS_BENCH_WORKLOADS_H_
#define DT_TESTS_BENCH_WORKLOADS_H_

#include "tests/bench/workload.h"

namespace dt::bench {

const Workload& Chain();
const Workload& Fanout();
const Workload& Tree();
const Workload& Timers();
const Workload& Events();
const Workload& Generations();
const Workload& EntityHot();
const Workload& EntityMany();
const Workload& EntityLock();

// The most of anything that an input may ask for; more is a broken input.
inline constexpr uint64_t kAmountMax = 1'000'000;

// Does an input have exactly these numbers, each of them at least 1 and none too large?
inline bool HasAmounts(const Input& input, size_t count) {
  if (input.number_count != count) return false;
  for (size_t i = 0; i < count; ++i) {
    if (input.numbers[i] == 0 || input.numbers[i] > kAmountMax) return false;
  }
  return true;
}

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_WORKLOADS_H_
