#include "storage/metrics/hub_metrics.h"

namespace dt::metrics {

End EndOf(RuntimeStatus status) {
  switch (status) {
    case RuntimeStatus::kFailed:
      return End::kFailed;
    case RuntimeStatus::kTerminated:
      return End::kTerminated;
    case RuntimeStatus::kCanceled:
      return End::kCanceled;
    default:
      return End::kCompleted;
  }
}

std::string_view StatusName(RuntimeStatus status) {
  switch (status) {
    case RuntimeStatus::kPending:
      return "pending";
    case RuntimeStatus::kSuspended:
      return "suspended";
    case RuntimeStatus::kRunning:
    case RuntimeStatus::kContinuedAsNew:
      return "running";
    default:
      return kEnds[static_cast<size_t>(EndOf(status))];
  }
}

HubMetrics& HubMetricsTable::Get(std::string_view name) {
  auto found = by_name_.find(name);
  if (found == by_name_.end() && name != kOther && by_name_.size() >= names_max_) {
    return Get(kOther);
  }
  if (found == by_name_.end()) {
    found = by_name_.emplace(std::string(name), std::make_unique<HubMetrics>()).first;
  }
  return *found->second;
}

void HubMetricsTable::Name(HubId id, std::string_view name) {
  absl::MutexLock lock(&mutex_);
  if (!by_id_.contains(id)) by_id_[id] = &Get(name);
}

HubMetrics& HubMetricsTable::Of(HubId id) {
  absl::MutexLock lock(&mutex_);
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? Get(kOther) : *found->second;
}

HubMetrics& HubMetricsTable::OfName(std::string_view name) {
  absl::MutexLock lock(&mutex_);
  return Get(name);
}

void HubMetricsTable::Visit(
    const std::function<void(const std::string&, const HubMetrics&)>& visit) const {
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, hub] : by_name_) visit(name, *hub);
}

}  // namespace dt::metrics
