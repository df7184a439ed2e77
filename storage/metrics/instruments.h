// What counts: counters, gauges and histograms, each some atomic numbers that who works adds to and
// a scrape reads. No look-up, no lock, nothing allocated: whoever counts keeps a reference.
//
// Threads: all methods may be called from any thread. A scrape sees each number as it is at that
// moment, so those of a histogram may be apart by what is counted just then.
#ifndef DT_STORAGE_METRICS_INSTRUMENTS_H_
#define DT_STORAGE_METRICS_INSTRUMENTS_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace dt::metrics {

class Counter {
 public:
  void Add(int64_t count = 1) { value_.fetch_add(count, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

class Gauge {
 public:
  void Set(int64_t value) { value_.store(value, std::memory_order_relaxed); }
  void Add(int64_t difference) { value_.fetch_add(difference, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

// Counts values in buckets. `Bounds` has a static array `kBounds` of their upper bounds, rising, in
// the unit of what is observed, and `kUnit`, what that is in the base unit.
template <typename Bounds>
class Histogram {
 public:
  static constexpr size_t kBuckets = Bounds::kBounds.size() + 1;  // the last one is without bound

  void Observe(int64_t value) {
    const auto bound = std::lower_bound(Bounds::kBounds.begin(), Bounds::kBounds.end(), value);
    const auto bucket = static_cast<size_t>(bound - Bounds::kBounds.begin());
    buckets_[bucket].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
  }
  // A time that ran back counts as none.
  void Observe(absl::Duration time) {
    Observe(std::max<int64_t>(0, absl::ToInt64Microseconds(time)));
  }

  int64_t bucket(size_t number) const { return buckets_[number].load(std::memory_order_relaxed); }
  int64_t sum() const { return sum_.load(std::memory_order_relaxed); }
  bool used() const {
    return std::any_of(buckets_.begin(), buckets_.end(), [](const std::atomic<int64_t>& count) {
      return count.load(std::memory_order_relaxed) != 0;
    });
  }

 private:
  std::array<std::atomic<int64_t>, kBuckets> buckets_{};
  std::atomic<int64_t> sum_{0};
};

// Microseconds; what a work item, a turn or a timer waits: from a handed-on turn to an hour's
// backlog.
struct WaitBounds {
  static constexpr std::array<int64_t, 15> kBounds = {
      1'000,     5'000,     10'000,     25'000,     50'000,     100'000,     250'000,      500'000,
      1'000'000, 2'500'000, 10'000'000, 30'000'000, 60'000'000, 300'000'000, 3'600'000'000};
  static constexpr double kUnit = 1e-6;
};

// Microseconds; calls of PostgreSQL and of gRPC: from a read of one row to the longest time-out.
struct CallBounds {
  static constexpr std::array<int64_t, 14> kBounds = {
      500,     1'000,   2'500,   5'000,     10'000,    25'000,    50'000,
      100'000, 250'000, 500'000, 1'000'000, 2'500'000, 5'000'000, 30'000'000};
  static constexpr double kUnit = 1e-6;
};

// Numbers of things that go together.
struct SizeBounds {
  static constexpr std::array<int64_t, 9> kBounds = {1, 2, 4, 8, 16, 32, 64, 128, 256};
  static constexpr double kUnit = 1;
};

}  // namespace dt::metrics

#endif  // DT_STORAGE_METRICS_INSTRUMENTS_H_
