#include "tests/bench/meter.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/bench/process_usage.h"

namespace dt::bench {
namespace {

// Who listens at the addresses of workers and clients; empty unless all are found, for a part of
// the servers says nothing about their cost.
std::vector<int> FindListeners(const Options& options) {
  std::vector<std::string> addresses = options.addresses;
  for (const std::string& address : options.client_addresses) {
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) {
      addresses.push_back(address);
    }
  }
  std::vector<int> pids;
  for (const std::string& address : addresses) {
    const std::optional<int> pid = FindListener(address);
    if (!pid) return {};
    pids.push_back(*pid);
  }
  return pids;
}

// Of a figure of each process; nothing when one of them has ended.
template <typename Value>
std::optional<Value> SumOf(const std::vector<int>& pids, std::optional<Value> (*figure)(int)) {
  Value sum{};
  for (const int pid : pids) {
    const std::optional<Value> value = figure(pid);
    if (!value) return std::nullopt;
    sum += *value;
  }
  return sum;
}

}  // namespace

absl::StatusOr<Meter> Meter::Open(const Options& options) {
  Meter meter;
  if (options.daemon_pid == 0) {
    meter.daemon_pids_ = FindListeners(options);
  } else if (CpuSeconds(options.daemon_pid)) {
    meter.daemon_pids_ = {options.daemon_pid};
  } else {
    return absl::NotFoundError(absl::StrCat("--daemon-pid: no process ", options.daemon_pid));
  }
  if (meter.daemon_pids_.empty()) {
    meter.notes_.push_back("no server process found on this machine: no CPU time of it");
  }

  std::optional<std::string> conninfo;
  if (!options.postgres.empty()) {
    conninfo = options.postgres;
  } else if (!meter.daemon_pids_.empty()) {
    conninfo = FindDaemonDatabase(meter.daemon_pids_.front());
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
  if (!daemon_pids_.empty()) {
    sample.daemon_cpu_seconds = SumOf(daemon_pids_, CpuSeconds);
    sample.daemon_peak_rss_bytes = SumOf(daemon_pids_, PeakRssBytes);
  }
  if (postmaster_pid_) sample.postgres_cpu_seconds = FamilyCpuSeconds(*postmaster_pid_);
  sample.generator_cpu_seconds = OwnCpuSeconds();
  sample.work = driver.work_counts();
  sample.time = Clock::now();
  return sample;
}

}  // namespace dt::bench
