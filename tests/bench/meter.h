// What a run costs: counters of the load, of the processes and of the database at one moment.
#ifndef DT_TESTS_BENCH_METER_H_
#define DT_TESTS_BENCH_METER_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/bench/database_usage.h"
#include "tests/bench/driver.h"
#include "tests/bench/options.h"

namespace dt::bench {

struct Sample {
  Clock::time_point time;
  WorkCounts work;
  std::optional<double> daemon_cpu_seconds;
  std::optional<double> postgres_cpu_seconds;
  double generator_cpu_seconds = 0;
  std::optional<int64_t> daemon_peak_rss_bytes;
  std::optional<DatabaseCounters> database;
};

class Meter {
 public:
  // Finds the daemon and its PostgreSQL. What cannot be found is left out of the samples and named
  // in `notes`; only an explicitly given database that cannot be reached is an error.
  static absl::StatusOr<Meter> Open(const Options& options);

  absl::StatusOr<Sample> Take(const Driver& driver) const;

  const std::vector<std::string>& notes() const { return notes_; }

 private:
  std::vector<int> daemon_pids_;  // of all servers, or empty
  std::optional<int> postmaster_pid_;
  std::unique_ptr<DatabaseUsage> database_;
  std::vector<std::string> notes_;
};

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_METER_H_
