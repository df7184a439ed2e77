// dtbench: runs one workload against a server of the sidecar protocol, checks every result, and
// prints what it measured. Exit 0: measured and right; 1: something was wrong, said on standard
// error; other: the command line is wrong.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "tests/bench/driver.h"
#include "tests/bench/measure.h"
#include "tests/bench/meter.h"
#include "tests/bench/options.h"
#include "tests/bench/report.h"

namespace dt::bench {
namespace {

// Activities beyond those that the orchestrations of the run consist of.
int64_t RepeatedActivities(const Options& options, const Driver& driver) {
  const auto ended = static_cast<int64_t>(driver.results().completions.size());
  return driver.work_counts().activities -
         ended * options.workload->Each(options.parameters).activities;
}

// What is wrong with the run as a whole, beyond the errors of the driver.
std::string CheckTotals(const Options& options, const Driver& driver, const Figures& figures) {
  const auto ended = static_cast<int64_t>(driver.results().completions.size());
  const int64_t repeated = RepeatedActivities(options, driver);
  if (repeated < 0 || (repeated > 0 && !options.reconnect)) {
    return fmt::format("{} activities ran for {} orchestrations, {} more than would be right",
                       driver.work_counts().activities, ended, repeated);
  }
  if (options.count > 0 && figures.orchestrations != options.count) {
    return fmt::format("{} orchestrations ended instead of {}", figures.orchestrations,
                       options.count);
  }
  const std::vector<double>& lateness = driver.results().lateness_ms;
  if (options.workload->trigger() == Trigger::kTimer &&
      static_cast<int64_t>(lateness.size()) != options.count) {
    return fmt::format("{} timers fired instead of {}", lateness.size(), options.count);
  }
  const auto earliest = std::min_element(lateness.begin(), lateness.end());
  if (earliest != lateness.end() && *earliest < 0) {
    return fmt::format(
        "a timer's turn came {} ms before it was due by this machine's clock; run dtbench on the "
        "server's machine",
        -*earliest);
  }
  if (figures.orchestrations == 0) return "no orchestration ended within the measurement";
  return "";
}

double UnixSeconds(absl::Time time) { return absl::ToDoubleSeconds(time - absl::UnixEpoch()); }

void PrintErrors(const Driver& driver) {
  for (const std::string& error : driver.results().errors)
    fmt::print(stderr, "dtbench: {}\n", error);
}

int Run(const Options& options) {
  auto meter = Meter::Open(options);
  if (!meter.ok()) {
    fmt::print(stderr, "dtbench: {}\n", meter.status().ToString());
    return 1;
  }
  Driver driver(options);
  if (const absl::Status status = driver.Connect(); !status.ok()) {
    fmt::print(stderr, "dtbench: {}\n", status.ToString());
    return 1;
  }
  for (const std::string& note : meter->notes()) fmt::print(stderr, "dtbench: {}\n", note);
  const auto measurement = Measure(options, *meter, driver);
  driver.Shutdown();
  PrintErrors(driver);
  if (driver.results().error_count > 0) {
    fmt::print(stderr, "dtbench: {} error(s), no figures\n", driver.results().error_count);
    return 1;
  }
  if (!measurement.ok()) {
    fmt::print(stderr, "dtbench: {}\n", measurement.status().ToString());
    return 1;
  }
  Figures figures = MakeFigures(options, *measurement, driver.results());
  if (options.reconnect) figures.repeated_activities = RepeatedActivities(options, driver);
  if (const std::string wrong = CheckTotals(options, driver, figures); !wrong.empty()) {
    fmt::print(stderr, "dtbench: {}\n", wrong);
    return 1;
  }
  const WorkCounts work = driver.work_counts();
  if (work.foreign > 0) {
    fmt::print(stderr, "dtbench: {} work items of other runs were in the hub\n", work.foreign);
  }
  fmt::print("{}", Summary(options, figures));
  if (options.json) fmt::print("{}\n", Json(options, figures));
  return 0;
}

// A worker alone, until its stream ends: an error, as the end of any stream. Says when it asked for
// work and when the first item came.
int Serve(const Options& options) {
  Driver driver(options);
  if (const absl::Status status = driver.Connect(); !status.ok()) {
    fmt::print(stderr, "dtbench: {}\n", status.ToString());
    return 1;
  }
  const absl::Time asked = absl::Now();
  driver.OpenStreams();
  if (const auto first_item = driver.WaitFirstItem()) {
    fmt::print("{{\"asked_time\":{:.6f},\"first_item_time\":{:.6f}}}\n", UnixSeconds(asked),
               UnixSeconds(*first_item));
    std::fflush(stdout);
  }
  driver.WaitFailed();
  driver.Shutdown();
  PrintErrors(driver);
  return 1;
}

}  // namespace
}  // namespace dt::bench

int main(int argc, char** argv) {
  // Debian builds Abseil with its search for lock cycles on: one global lock around each mutex of
  // gRPC.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  const dt::bench::ParsedOptions parsed = dt::bench::ParseOptions(argc, argv);
  if (!parsed.run) return parsed.exit_code;
  return parsed.options.serve ? dt::bench::Serve(parsed.options) : dt::bench::Run(parsed.options);
}
