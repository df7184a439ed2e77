#include "server/dispatch/sweeps.h"

#include "spdlog/spdlog.h"

namespace dt::dispatch {
namespace {

constexpr absl::Duration kSweepInterval = absl::Seconds(5);

}  // namespace

void Sweeps::Reset() {
  sweeping_ = false;
  next_ = step_.steady;
}

void Sweeps::OnTime() {
  if (sweeping_ || next_ > step_.steady || !step_.leasing()) return;
  sweeping_ = true;
  step_.Do(Sweep{});
}

void Sweeps::On(Swept& event) {
  sweeping_ = false;
  next_ = step_.steady + step_.Jittered(kSweepInterval);
  if (!event.result.ok() || *event.result == 0) return;
  spdlog::info("{} leases of dead workers were freed", *event.result);
  for (const auto& [id, hub] : matcher_.table().served()) {
    for (const WorkType type : kAllWorkTypes) claimer_.WorkFree(*hub, type, step_.steady);
  }
}

}  // namespace dt::dispatch
