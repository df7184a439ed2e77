#include "server/rpc/repeat_limiter.h"

#include <utility>

#include "fmt/format.h"

namespace dt::rpc {

std::optional<int64_t> RepeatLimiter::Admit(std::string_view kind, absl::Time now) {
  absl::MutexLock lock(&mutex_);
  std::string name(kind);
  if (kinds_.size() >= kKindsMax && !kinds_.contains(name)) name = "others";
  const auto [found, fresh] = kinds_.try_emplace(std::move(name), Kind{now});
  Kind& entry = found->second;
  if (!fresh && IsOver(entry, now)) {
    entry.since = now;
    entry.lines = 0;
  }
  if (entry.lines >= lines_max_) {
    ++entry.left_out;
    return std::nullopt;
  }
  ++entry.lines;
  return std::exchange(entry.left_out, 0);
}

void RepeatLimiter::Forget() {
  absl::MutexLock lock(&mutex_);
  kinds_.clear();
}

std::vector<RepeatLimiter::LeftOut> RepeatLimiter::TakeLeftOut(absl::Time now) {
  std::vector<LeftOut> taken;
  absl::MutexLock lock(&mutex_);
  for (auto& [name, kind] : kinds_) {
    if (kind.left_out == 0 || !IsOver(kind, now)) continue;
    taken.push_back({name, std::exchange(kind.left_out, 0)});
  }
  return taken;
}

std::string LeftOutNote(int64_t lines) {
  return lines == 0 ? "" : fmt::format(" (and {} more like it before)", lines);
}

}  // namespace dt::rpc
