#include "server/dispatch/sweeps.h"

#include <algorithm>
#include <utility>

#include "spdlog/spdlog.h"

namespace dt::dispatch {
namespace {

// Of a daemon, however many there are, and of all together while they are few.
constexpr absl::Duration kIntervalMax = absl::Seconds(5);
constexpr absl::Duration kIntervalOfAll = absl::Seconds(1);
// The interval while the session of a worker is gone, and it is not known whether that is dead.
constexpr absl::Duration kSuspectInterval = absl::Milliseconds(500);
// After a hint; all daemons hear it at once.
constexpr absl::Duration kHintedDelay = absl::Milliseconds(200);

absl::Duration IntervalAfter(const SweepResult& result) {
  if (result.suspects) return kSuspectInterval;
  const int others = result.workers - 1;
  return others == 0 ? kIntervalMax : std::min(others * kIntervalOfAll, kIntervalMax);
}

}  // namespace

void Sweeps::Reset() {
  sweeping_ = false;
  next_ = step_.steady;
}

void Sweeps::Soon() {
  hinted_ = sweeping_;  // the look under way may not see it
  next_ = std::min(next_, step_.steady + step_.Jittered(kHintedDelay));
}

void Sweeps::OnTime() {
  if (sweeping_ || next_ > step_.steady || !step_.leasing()) return;
  sweeping_ = true;
  step_.Do(Sweep{});
}

void Sweeps::On(Swept& event) {
  sweeping_ = false;
  const SweepResult result = event.result.value_or(SweepResult());
  next_ = step_.steady + step_.Jittered(IntervalAfter(result));
  if (std::exchange(hinted_, false)) Soon();
  if (result.freed == 0) return;
  step_.metrics.sweep_freed.Add(result.freed);
  spdlog::info("{} leases of dead workers were freed", result.freed);
  for (const auto& [id, hub] : matcher_.table().served()) {
    for (const WorkType type : kAllWorkTypes) claimer_.WorkFree(*hub, type, step_.steady);
  }
}

}  // namespace dt::dispatch
