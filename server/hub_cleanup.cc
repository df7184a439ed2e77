#include "server/hub_cleanup.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "spdlog/spdlog.h"
#include "storage/log_events.h"
#include "storage/log_fields.h"

namespace dt {

void HubCleanup::Start() {
  loop_.Start(
      [this](Callback<HubCleanupResult> done) {
        store_->CleanHubs({pace_.batch(), pace_.options().interval}, std::move(done));
      },
      [this](const absl::StatusOr<HubCleanupResult>& result, absl::Duration took) {
        return OnBatch(result, took);
      });
}

BatchPause HubCleanup::OnBatch(const absl::StatusOr<HubCleanupResult>& result,
                               absl::Duration took) {
  if (!result.ok()) {
    spdlog::warn(
        "{}: a batch of the removal of deleted task hubs failed, the next comes "
        "in {} s: {}",
        log_event::kGenericWarning, absl::ToInt64Seconds(pace_.options().interval),
        result.status().ToString());
    return {pace_.AfterFailure(took)};
  }
  if (result->ended) {
    const std::string ms = absl::StrCat(absl::ToInt64Milliseconds(result->age));
    const LogFields fields({{log_field::kTaskHub, result->hub}, {log_field::kDurationMs, ms}});
    spdlog::info(
        "{}: hub {}: it was deleted, and all of its {} instances are gone {} ms "
        "later",
        log_event::kPurgedInstances, result->hub, result->total, ms);
  }
  return {pace_.After(took, result->more), !result->more};
}

}  // namespace dt
