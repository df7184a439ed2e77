#include "storage/postgres/process_identity.h"

#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <fstream>
#include <optional>
#include <sstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace dt::postgres {
namespace {

// The field "starttime" of /proc/PID/stat, in clock ticks after boot; nullopt if there is no such
// process. A zombie has ended, whatever its parent does.
std::optional<std::string> StartTime(const std::string& pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::stringstream text;
  text << file.rdbuf();
  const std::string stat = text.str();
  // The command in parentheses may contain anything; the fields after the last ')' do not.
  const size_t end = stat.rfind(')');
  if (end == std::string::npos || end + 2 > stat.size()) return std::nullopt;
  const std::vector<std::string> fields = absl::StrSplit(stat.substr(end + 2), ' ');
  if (fields.size() < 20 || fields[0] == "Z" || fields[0] == "X") return std::nullopt;
  return fields[19];
}

// "boot id/pid namespace"; empty if unknown.
std::string Surroundings() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string boot_id;
  file >> boot_id;
  struct stat pid_namespace = {};
  if (boot_id.empty() || stat("/proc/self/ns/pid", &pid_namespace) != 0) return {};
  return absl::StrCat(boot_id, "/", pid_namespace.st_ino);
}

}  // namespace

std::string OwnProcess() {
  const std::string surroundings = Surroundings();
  const std::string pid = absl::StrCat(getpid());
  const std::optional<std::string> start = StartTime(pid);
  if (surroundings.empty() || !start.has_value()) return {};
  return absl::StrCat(surroundings, "/", pid, "/", *start);
}

bool IsKnownDead(std::string_view process) {
  const std::vector<std::string> parts =
      absl::StrSplit(absl::string_view(process.data(), process.size()), '/');
  if (parts.size() != 4 || absl::StrCat(parts[0], "/", parts[1]) != Surroundings()) return false;
  const std::optional<std::string> start = StartTime(parts[2]);
  return !start.has_value() || *start != parts[3];
}

std::string HostName() {
  char name[HOST_NAME_MAX + 1] = {};
  return gethostname(name, sizeof(name) - 1) == 0 ? name : "unknown";
}

}  // namespace dt::postgres
