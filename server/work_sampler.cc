#include "server/work_sampler.h"

#include <algorithm>
#include <utility>

#include "spdlog/spdlog.h"
#include "storage/log_events.h"

namespace dt {

void WorkSampler::Start() {
  if (options_.interval == absl::ZeroDuration()) return;
  loop_.Start(
      [this](Callback<WorkSample> done) { store_->SampleWork(options_.limits, std::move(done)); },
      [this](const absl::StatusOr<WorkSample>& sample, absl::Duration took) {
        return OnSample(sample, took);
      });
}

BatchPause WorkSampler::OnSample(const absl::StatusOr<WorkSample>& sample, absl::Duration took) {
  // Without an answer nothing is known any more.
  metrics_.sampled.Set(sample.value_or(WorkSample()));
  metrics_.leader.Of("metrics").Set(sample.ok() && sample->leads ? 1 : 0);
  if (!sample.ok()) {
    spdlog::warn("{}: no sample for metrics could be taken: {}", log_event::kGenericWarning,
                 sample.status().ToString());
  }
  return {std::max(options_.interval, took * 100 / options_.busy_percent_max)};
}

}  // namespace dt
