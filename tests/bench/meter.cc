#include "tests/bench/meter.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/bench/process_usage.h"

namespace dt::bench {

absl::StatusOr<Meter> Meter::Open(const Options& options) {
  Meter meter;
  if (options.daemon_pid != 0) {
    meter.daemon_pid_ = options.daemon_pid;
  } else {
    meter.daemon_pid_ = FindListener(options.address);
  }
  if (meter.daemon_pid_ && !CpuSeconds(*meter.daemon_pid_)) {
    return absl::NotFoundError(absl::StrCat("--daemon-pid: no process ", *meter.daemon_pid_));
  }
  if (!meter.daemon_pid_) {
    meter.notes_.push_back("no server process found on this machine: no CPU time of it");
  }

  std::optional<std::string> conninfo;
  if (!options.postgres.empty()) {
    conninfo = options.postgres;
  } else if (meter.daemon_pid_) {
    conninfo = FindDaemonDatabase(*meter.daemon_pid_);
  }
  if (conninfo) {
    auto database = DatabaseUsage::Open(*conninfo);
    if (database.ok()) {
      meter.database_ = *std::move(database);
      meter.postmaster_pid_ = meter.database_->postmaster_pid();
    } else if (!options.postgres.empty()) {
      return database.status();
    } else {
      meter.notes_.push_back(std::string(database.status().message()));
    }
  } else {
    meter.notes_.push_back("no PostgreSQL found through the server: no figures of the database");
  }
  if (options.postgres_pid != 0) {
    if (!FamilyCpuSeconds(options.postgres_pid)) {
      return absl::NotFoundError(absl::StrCat("--postgres-pid: no process ", options.postgres_pid));
    }
    meter.postmaster_pid_ = options.postgres_pid;
  }
  return meter;
}

absl::StatusOr<Sample> Meter::Take(const Driver& driver) const {
  Sample sample;
  if (database_) {
    auto counters = database_->Read();
    if (!counters.ok()) return counters.status();
    sample.database = *counters;
  }
  if (daemon_pid_) {
    sample.daemon_cpu_seconds = CpuSeconds(*daemon_pid_);
    sample.daemon_peak_rss_bytes = PeakRssBytes(*daemon_pid_);
  }
  if (postmaster_pid_) sample.postgres_cpu_seconds = FamilyCpuSeconds(*postmaster_pid_);
  sample.generator_cpu_seconds = OwnCpuSeconds();
  sample.work = driver.work_counts();
  sample.time = Clock::now();
  return sample;
}

}  // namespace dt::bench
