#include "server/memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <type_traits>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace dt {
namespace {

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();
constexpr int64_t kClaimBytesMax = 16 << 20;
constexpr int64_t kClaimBytesMin = 1 << 20;
constexpr int64_t kResponseBytesMax = int64_t{256} << 20;

// The number that a file of the system consists of; nothing for "max", or no such file.
std::optional<int64_t> NumberIn(const std::string& file) {
  std::ifstream stream(file);
  std::string text;
  int64_t number = 0;
  if (!std::getline(stream, text) || !absl::SimpleAtoi(text, &number)) return std::nullopt;
  return number;
}

int64_t MachineBytes(const std::string& root) {
  std::ifstream stream(root + "/proc/meminfo");
  for (std::string line; std::getline(stream, line);) {
    if (!absl::StartsWith(line, "MemTotal:")) continue;
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    int64_t kibibytes = 0;
    if (words.size() >= 2 && absl::SimpleAtoi(words[1], &kibibytes)) return kibibytes << 10;
  }
  return kNoLimit;
}

// The least limit of the control group with this path below `mount`, and of those above it.
int64_t GroupBytes(const std::string& mount, std::string path, const std::string& file) {
  int64_t least = kNoLimit;
  for (;;) {
    // In a container the path may be that of the host, and only the mount itself be there.
    least = std::min(least, NumberIn(mount + path + "/" + file).value_or(kNoLimit));
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) return least;
    path.resize(slash);
  }
}

}  // namespace

int64_t MemoryOfMachine(const std::string& root) {
  int64_t bytes = MachineBytes(root);
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    // NUMBER:CONTROLLERS:PATH; version 2 has number 0 and names no controllers.
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));
    if (parts.size() != 3) continue;
    const std::vector<std::string> controllers = absl::StrSplit(parts[1], ',');
    if (parts[1].empty()) {
      bytes = std::min(bytes, GroupBytes(root + "/sys/fs/cgroup", parts[2], "memory.max"));
    } else if (std::find(controllers.begin(), controllers.end(), "memory") != controllers.end()) {
      bytes = std::min(
          bytes, GroupBytes(root + "/sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes"));
    }
  }
  return bytes;
}

int64_t MemoryBytesMax(const Config& config, int64_t machine_bytes) {
  return config.memory_bytes_max > 0 ? config.memory_bytes_max : machine_bytes / 4 * 3;
}

void ShareMemory(int64_t bytes_max, Config& config) {
  config.memory_bytes_max = bytes_max;
  const auto lower = [](auto& limit, int64_t bytes) {
    if (limit > bytes) limit = static_cast<std::decay_t<decltype(limit)>>(bytes);
  };
  dispatch::DispatchLimits& dispatch = config.dispatch;
  dispatch.work_bytes_max = bytes_max / 4;
  lower(dispatch.resident_bytes_max, bytes_max / 4);
  dispatch.claim_bytes_max = std::clamp(bytes_max / 64, kClaimBytesMin, kClaimBytesMax);
  dispatch.response_bytes_max = std::min(bytes_max / 8, kResponseBytesMax);
  // What cannot be held in memory cannot be run, and half of it is to be left for others.
  lower(dispatch.turn.history_bytes_max, bytes_max / 8);
  config.server.received_bytes_max = bytes_max / 4;
  lower(config.store.queue_bytes_max, bytes_max / 16);
  config.service.unread_answer_bytes_max = bytes_max / 8;
}

}  // namespace dt
