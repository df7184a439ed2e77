#include "storage/postgres/process_identity.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <fstream>
#include <optional>
#include <sstream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace dt::postgres {
namespace {

constexpr char kEnded[] = "ended";

// The field "starttime" of /proc/PID/stat, in clock ticks after boot; nullopt if the process is not
// seen there. A zombie has ended, whatever its parent does.
std::optional<std::string> StartTime(const std::string& proc, const std::string& pid) {
  std::ifstream file(absl::StrCat(proc, "/", pid, "/stat"));
  std::stringstream text;
  text << file.rdbuf();
  const std::string stat = text.str();
  // The command in parentheses may contain anything; the fields after the last ')' do not.
  const size_t end = stat.rfind(')');
  if (end == std::string::npos || end + 2 > stat.size()) return std::nullopt;
  const std::vector<std::string> fields = absl::StrSplit(stat.substr(end + 2), ' ');
  if (fields.size() < 20) return std::nullopt;
  if (fields[0] == "Z" || fields[0] == "X") return kEnded;
  return fields[19];
}

// "boot id/pid namespace"; empty if unknown.
std::string Surroundings(const std::string& proc) {
  std::ifstream file(proc + "/sys/kernel/random/boot_id");
  std::string boot_id;
  file >> boot_id;
  struct stat pid_namespace = {};
  if (boot_id.empty() || stat((proc + "/self/ns/pid").c_str(), &pid_namespace) != 0) return {};
  return absl::StrCat(boot_id, "/", pid_namespace.st_ino);
}

// A process that we may not see or signal exists all the same.
bool Exists(const std::string& pid) {
  int number = 0;
  if (!absl::SimpleAtoi(pid, &number) || number <= 0) return false;
  return kill(number, 0) == 0 || errno != ESRCH;
}

}  // namespace

std::string OwnProcess(const std::string& proc) {
  const std::string surroundings = Surroundings(proc);
  const std::string pid = absl::StrCat(getpid());
  const std::optional<std::string> start = StartTime(proc, pid);
  if (surroundings.empty() || !start.has_value()) return {};
  return absl::StrCat(surroundings, "/", pid, "/", *start);
}

bool IsKnownDead(std::string_view process, const std::string& proc) {
  const std::vector<std::string> parts =
      absl::StrSplit(absl::string_view(process.data(), process.size()), '/');
  if (parts.size() != 4 || absl::StrCat(parts[0], "/", parts[1]) != Surroundings(proc))
    return false;
  const std::optional<std::string> start = StartTime(proc, parts[2]);
  return start.has_value() ? *start != parts[3] : !Exists(parts[2]);
}

std::string HostName() {
  char name[HOST_NAME_MAX + 1] = {};
  return gethostname(name, sizeof(name) - 1) == 0 ? name : "unknown";
}

}  // namespace dt::postgres
