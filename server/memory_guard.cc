#include "server/memory_guard.h"

#include <unistd.h>

#include <fstream>
#include <utility>

#include "absl/time/time.h"
#include "spdlog/spdlog.h"

namespace dt {
namespace {

// A flood brings up to 1 GB a second over the loopback. While the process has less than half of
// what it may, it looks less often, since it may be one of many on a machine, all of them idle.
constexpr absl::Duration kLookInterval = absl::Milliseconds(50);
constexpr absl::Duration kRestInterval = absl::Milliseconds(250);

}  // namespace

bool Scarcity::Look(int64_t bytes) {
  const bool scarce = bytes >= (scarce_ ? bytes_max_ / 10 * 9 : bytes_max_);
  return std::exchange(scarce_, scarce) != scarce;
}

int64_t ResidentBytes() {
  static const int64_t page_bytes = sysconf(_SC_PAGESIZE);
  std::ifstream file("/proc/self/statm");
  int64_t virtual_pages = 0;
  int64_t pages = 0;
  file >> virtual_pages >> pages;
  return pages * page_bytes;
}

MemoryGuard::MemoryGuard(int64_t bytes_max, std::function<void(bool scarce)> tell)
    : bytes_max_(bytes_max), tell_(std::move(tell)), scarcity_(bytes_max) {
  thread_ = std::thread([this] { Run(); });
}

MemoryGuard::~MemoryGuard() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void MemoryGuard::Run() {
  absl::MutexLock lock(&mutex_);
  absl::Duration interval = kLookInterval;
  while (!mutex_.AwaitWithTimeout(absl::Condition(&stopping_), interval)) {
    interval = Look() < bytes_max_ / 2 ? kRestInterval : kLookInterval;
  }
}

int64_t MemoryGuard::Look() {
  const int64_t bytes = ResidentBytes();
  if (!scarcity_.Look(bytes)) return bytes;
  if (scarcity_.scarce()) {
    spdlog::error(
        "the daemon has {} bytes of memory, {} are allowed (memory.bytes-max): new calls are "
        "refused and no work is taken on until it has less. Raise the limit, or find out which "
        "callers send or leave unread so much",
        bytes, bytes_max_);
  } else {
    spdlog::warn("the daemon has {} bytes of memory and serves again", bytes);
  }
  tell_(scarcity_.scarce());
  return bytes;
}

}  // namespace dt
