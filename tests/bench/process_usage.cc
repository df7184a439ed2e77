#include "tests/bench/process_usage.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace dt::bench {
namespace {

namespace fs = std::filesystem;

// The fields of /proc/PID/stat after the name, which may contain anything; index 0 is the state.
struct Stat {
  int parent = 0;
  int64_t own_ticks = 0;     // user + system
  int64_t waited_ticks = 0;  // of children that were waited for
};

std::optional<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::optional<Stat> ReadStat(int pid) {
  const auto text = ReadFile(absl::StrCat("/proc/", pid, "/stat"));
  if (!text) return std::nullopt;
  const size_t end_of_name = text->rfind(')');
  if (end_of_name == std::string::npos) return std::nullopt;
  const std::vector<absl::string_view> fields =
      absl::StrSplit(absl::string_view(*text).substr(end_of_name + 1), ' ', absl::SkipEmpty());
  if (fields.size() < 15) return std::nullopt;
  Stat stat;
  int64_t user = 0, system = 0, waited_user = 0, waited_system = 0;
  if (!absl::SimpleAtoi(fields[1], &stat.parent) || !absl::SimpleAtoi(fields[11], &user) ||
      !absl::SimpleAtoi(fields[12], &system) || !absl::SimpleAtoi(fields[13], &waited_user) ||
      !absl::SimpleAtoi(fields[14], &waited_system)) {
    return std::nullopt;
  }
  stat.own_ticks = user + system;
  stat.waited_ticks = waited_user + waited_system;
  return stat;
}

double Seconds(int64_t ticks) {
  return static_cast<double>(ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

std::vector<int> AllProcesses() {
  std::vector<int> pids;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    int pid = 0;
    if (absl::SimpleAtoi(entry.path().filename().string(), &pid)) pids.push_back(pid);
  }
  return pids;
}

// Inodes of the sockets in state LISTEN at this port.
std::set<std::string> ListeningInodes(int port) {
  constexpr absl::string_view kListen = "0A";
  std::set<std::string> inodes;
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    const auto text = ReadFile(table);
    if (!text) continue;
    for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
      const std::vector<absl::string_view> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
      if (fields.size() < 10 || fields[3] != kListen) continue;
      const absl::string_view local_port = fields[1].substr(fields[1].rfind(':') + 1);
      int number = 0;
      std::from_chars(local_port.data(), local_port.data() + local_port.size(), number, 16);
      if (number == port) inodes.insert(absl::StrCat("socket:[", fields[9], "]"));
    }
  }
  return inodes;
}

bool HoldsAny(int pid, const std::set<std::string>& sockets) {
  std::error_code error;
  const std::string folder = absl::StrCat("/proc/", pid, "/fd");
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    std::error_code link_error;
    if (sockets.count(fs::read_symlink(entry.path(), link_error).string()) > 0) return true;
  }
  return false;
}

}  // namespace

std::optional<int> FindListener(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  const std::string host = address.substr(0, colon);
  const std::set<std::string> local = {"127.0.0.1", "localhost", "[::1]", "::1", "0.0.0.0"};
  int port = 0;
  if (local.count(host) == 0 || !absl::SimpleAtoi(address.substr(colon + 1), &port))
    return std::nullopt;
  const std::set<std::string> inodes = ListeningInodes(port);
  if (inodes.empty()) return std::nullopt;
  std::vector<int> holders;
  for (const int pid : AllProcesses()) {
    if (HoldsAny(pid, inodes)) holders.push_back(pid);
  }
  // A child that inherited the socket has its parent among the holders.
  for (const int pid : holders) {
    const auto parent = ParentOf(pid);
    if (parent && std::find(holders.begin(), holders.end(), *parent) == holders.end()) return pid;
  }
  return std::nullopt;
}

std::vector<int> FindChildren(int pid) {
  std::vector<int> children;
  for (const int candidate : AllProcesses()) {
    const auto stat = ReadStat(candidate);
    if (stat && stat->parent == pid) children.push_back(candidate);
  }
  return children;
}

std::optional<std::string> ProcessName(int pid) {
  auto text = ReadFile(absl::StrCat("/proc/", pid, "/comm"));
  if (!text) return std::nullopt;
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return text;
}

std::optional<int> ParentOf(int pid) {
  const auto stat = ReadStat(pid);
  if (!stat) return std::nullopt;
  return stat->parent;
}

std::vector<std::string> CommandLine(int pid) {
  const auto text = ReadFile(absl::StrCat("/proc/", pid, "/cmdline"));
  if (!text) return {};
  return absl::StrSplit(*text, '\0', absl::SkipEmpty());
}

std::optional<std::string> WorkingDirectory(int pid) {
  std::error_code error;
  const fs::path path = fs::read_symlink(absl::StrCat("/proc/", pid, "/cwd"), error);
  if (error) return std::nullopt;
  return path.string();
}

std::optional<double> CpuSeconds(int pid) {
  const auto stat = ReadStat(pid);
  if (!stat) return std::nullopt;
  return Seconds(stat->own_ticks);
}

std::optional<double> FamilyCpuSeconds(int pid) {
  const auto stat = ReadStat(pid);
  if (!stat) return std::nullopt;
  int64_t ticks = stat->own_ticks + stat->waited_ticks;
  for (const int child : FindChildren(pid)) {
    if (const auto child_stat = ReadStat(child)) {
      ticks += child_stat->own_ticks + child_stat->waited_ticks;
    }
  }
  return Seconds(ticks);
}

std::optional<int64_t> PeakRssBytes(int pid) {
  constexpr absl::string_view kField = "VmHWM:";
  const auto text = ReadFile(absl::StrCat("/proc/", pid, "/status"));
  if (!text) return std::nullopt;
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    // VmHWM:     12345 kB
    const std::vector<absl::string_view> fields =
        absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    int64_t kilobytes = 0;
    if (fields.size() == 3 && fields[0] == kField && absl::SimpleAtoi(fields[1], &kilobytes)) {
      return kilobytes * 1024;
    }
  }
  return std::nullopt;
}

double OwnCpuSeconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace dt::bench
