#include "server/admin/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "server/admin/families.h"

namespace dt::admin {
namespace {

std::string FirstLine(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The fields of /proc/self/stat after the name of the program, which may hold anything.
struct Stat {
  double cpu_seconds = 0;
  double threads = 0;
  double start_ticks = 0;  // since boot
  double virtual_bytes = 0;
  double resident_bytes = 0;
};

std::optional<Stat> ReadStat() {
  const std::string line = FirstLine("/proc/self/stat");
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos || name_end + 2 > line.size()) return std::nullopt;
  const std::vector<std::string> fields = absl::StrSplit(line.substr(name_end + 2), ' ');
  constexpr size_t kFields = 22;  // proc(5) counts the state, which is the first here, as 3
  if (fields.size() < kFields) return std::nullopt;
  const auto number = [&fields](size_t field) {
    double value = 0;
    return absl::SimpleAtod(fields[field - 3], &value) ? value : 0;
  };
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  Stat stat;
  stat.cpu_seconds = (number(14) + number(15)) / ticks;
  stat.threads = number(20);
  stat.start_ticks = number(22) / ticks;
  stat.virtual_bytes = number(23);
  stat.resident_bytes = number(24) * static_cast<double>(sysconf(_SC_PAGESIZE));
  return stat;
}

// When the machine booted, in seconds since 1970.
std::optional<double> BootTime() {
  std::ifstream file("/proc/stat");
  for (std::string line; std::getline(file, line);) {
    double seconds = 0;
    if (line.rfind("btime ", 0) == 0 && absl::SimpleAtod(line.substr(6), &seconds)) return seconds;
  }
  return std::nullopt;
}

double OpenFiles() {
  std::error_code error;
  const std::filesystem::directory_iterator files("/proc/self/fd", error);
  // One of them is that of the look itself.
  return error ? 0 : static_cast<double>(std::distance(begin(files), end(files)) - 1);
}

}  // namespace

void AddProcessMetrics(std::vector<prometheus::MetricFamily>& page) {
  const auto add = [&page](Family family, double value) {
    family.Add({}, value);
    page.push_back(family.Take());
  };
  if (const std::optional<Stat> stat = ReadStat()) {
    add(CounterFamily("process_cpu_seconds_total", "User and system CPU time."), stat->cpu_seconds);
    add(GaugeFamily("process_resident_memory_bytes", "Resident memory."), stat->resident_bytes);
    add(GaugeFamily("process_virtual_memory_bytes", "Virtual memory."), stat->virtual_bytes);
    add(GaugeFamily("process_threads", "Threads."), stat->threads);
    if (const std::optional<double> boot = BootTime()) {
      add(GaugeFamily("process_start_time_seconds", "When it started, since 1970."),
          *boot + stat->start_ticks);
    }
  }
  add(GaugeFamily("process_open_fds", "Open files and connections."), OpenFiles());
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    add(GaugeFamily("process_max_fds", "How many may be open."),
        static_cast<double>(limit.rlim_cur));
  }
}

}  // namespace dt::admin
