// From two samples and the completions between them to figures, and to text.
#ifndef DT_TESTS_BENCH_REPORT_H_
#define DT_TESTS_BENCH_REPORT_H_

#include <optional>
#include <string>
#include <vector>

#include "tests/bench/driver.h"
#include "tests/bench/meter.h"
#include "tests/bench/options.h"

namespace dt::bench {

struct Figures {
  int64_t orchestrations = 0;  // that ended inside the measurement
  double seconds = 0;
  double orchestrations_per_second = 0;
  double work_items_per_second = 0;  // turns and activities that workers were given
  std::optional<double> turns_per_orchestration;
  std::optional<double> latency_ms_p50;
  std::optional<double> latency_ms_p99;
  std::optional<double> latency_ms_max;
  std::optional<double> commits_per_orchestration;
  std::optional<double> statements_per_orchestration;
  std::optional<double> wal_bytes_per_orchestration;
  std::optional<double> daemon_cpu_seconds_per_1000;
  std::optional<double> postgres_cpu_seconds_per_1000;
  std::optional<double> generator_cpu_seconds_per_1000;
};

Figures MakeFigures(const Sample& begin, const Sample& end,
                    const std::vector<Completion>& completions);

std::string Summary(const Options& options, const Figures& figures);
// One line without a newline; what is not known is null.
std::string Json(const Options& options, const Figures& figures);

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_REPORT_H_
