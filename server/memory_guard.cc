#include "server/memory_guard.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "absl/time/time.h"
#include "spdlog/spdlog.h"

namespace dt {
namespace {

constexpr absl::Duration kLookIntervalMin = absl::Milliseconds(50);
constexpr absl::Duration kLookIntervalMax = absl::Seconds(1);

}  // namespace

bool Scarcity::Look(int64_t bytes) {
  const bool scarce = bytes >= (scarce_ ? bytes_max_ / 10 * 9 : bytes_max_);
  return std::exchange(scarce_, scarce) != scarce;
}

absl::Duration Scarcity::NextLook(int64_t bytes) const {
  return std::clamp(absl::Nanoseconds((bytes_max_ - bytes) / 2), kLookIntervalMin,
                    kLookIntervalMax);
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
  absl::Duration interval = kLookIntervalMin;
  while (!mutex_.AwaitWithTimeout(absl::Condition(&stopping_), interval)) {
    interval = scarcity_.NextLook(Look());
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
