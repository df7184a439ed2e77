// From a measurement and the completions in it to figures, and to text.
#ifndef DT_TESTS_BENCH_REPORT_H_
#define DT_TESTS_BENCH_REPORT_H_

#include <optional>
#include <string>
#include <vector>

#include "tests/bench/driver.h"
#include "tests/bench/measure.h"
#include "tests/bench/options.h"

namespace dt::bench {

// Of many values; nothing when there is none.
struct Spread {
  std::optional<double> p50;
  std::optional<double> p99;
  std::optional<double> max;
};

// What something took, of each process.
struct CpuSeconds1000 {
  std::optional<double> daemon;
  std::optional<double> postgres;
  std::optional<double> generator;
};

struct Figures {
  int64_t orchestrations = 0;  // that ended inside the measurement
  double seconds = 0;
  double orchestrations_per_second = 0;
  int64_t work_items = 0;  // turns, activities and batches of entities that workers were given
  double work_items_per_second = 0;
  std::optional<double> turns_per_orchestration;
  std::optional<double> streamed_turns_per_orchestration;
  Spread latency_ms;
  Spread lateness_ms;
  double longest_pause_seconds = 0;  // in which no orchestration ended
  std::vector<int64_t> stream_activities;
  // Of the whole run, with Options::reconnect.
  std::optional<int64_t> repeated_activities;
  std::optional<int64_t> unavailable;
  std::optional<int64_t> cancelled;
  std::optional<double> events_per_second;
  std::optional<double> generations_per_second;
  std::optional<double> operations_per_second;  // of entities
  std::optional<double> operations_per_batch;
  std::optional<double> commits_per_operation;
  std::optional<double> wal_bytes_per_operation;
  std::optional<double> wall_ms_per_activity;
  std::optional<double> commits_per_orchestration;
  std::optional<double> statements_per_orchestration;
  std::optional<double> statements_per_work_item;
  std::optional<double> wal_bytes_per_orchestration;
  CpuSeconds1000 per_orchestrations;
  CpuSeconds1000 per_activities;
  std::optional<int64_t> daemon_rss_bytes;
};

Figures MakeFigures(const Options& options, const Measurement& measurement, const Results& results);

std::string Summary(const Options& options, const Figures& figures);
// One line without a newline; what is not known is null.
std::string Json(const Options& options, const Figures& figures);

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_REPORT_H_
