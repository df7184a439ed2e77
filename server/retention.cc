#include "server/retention.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "spdlog/spdlog.h"
#include "storage/log_events.h"
#include "storage/log_fields.h"
#include "storage/steady_clock.h"

namespace dt {
namespace {

// A long run of batches is logged so often.
constexpr absl::Duration kLogInterval = absl::Seconds(10);
// Before the next look of a daemon that could not lead although nobody else does: it is not
// registered yet, or another one is just about to lead.
constexpr absl::Duration kLeaderlessPause = absl::Seconds(1);

// As the views name them.
std::string_view NameOf(RuntimeStatus status) {
  switch (status) {
    case RuntimeStatus::kCompleted:
      return "Completed";
    case RuntimeStatus::kFailed:
      return "Failed";
    case RuntimeStatus::kCanceled:
      return "Canceled";
    case RuntimeStatus::kTerminated:
      return "Terminated";
    default:
      return "live";
  }
}

}  // namespace

BatchPaceOptions PaceOf(const RetentionOptions& options) {
  return {options.batch_instances_max, options.busy_percent_max, options.interval};
}

RetentionRequest RetentionRequestOf(const RetentionOptions& options) {
  RetentionRequest request;
  const auto keep = [&](RuntimeStatus status, const std::optional<int64_t>& own_hours) {
    const int64_t hours = own_hours.value_or(options.default_hours);
    if (hours >= 0) request.keep[status] = absl::Hours(hours);
  };
  keep(RuntimeStatus::kCompleted, options.completed_hours);
  keep(RuntimeStatus::kFailed, options.failed_hours);
  keep(RuntimeStatus::kCanceled, options.canceled_hours);
  keep(RuntimeStatus::kTerminated, options.terminated_hours);
  request.max_instances = options.batch_instances_max;
  request.pause = options.interval;
  request.grace = options.grace;
  return request;
}

Retention::Retention(Store* store, RetentionOptions options, metrics::Metrics* metrics)
    : store_(store), metrics_(*metrics), options_(options), pace_(PaceOf(options)) {}

Retention::~Retention() { Stop(); }

void Retention::Start() {
  if (!options_.enabled) return;
  loop_.Start([this](Callback<RetentionResult> done) { Ask(std::move(done)); },
              [this](const absl::StatusOr<RetentionResult>& result, absl::Duration took) {
                return OnBatch(result, took);
              });
}

void Retention::Stop() {
  loop_.Stop();
  LogPurged();
}

void Retention::Ask(Callback<RetentionResult> done) {
  RetentionRequest request = RetentionRequestOf(options_);
  request.max_instances = pace_.batch();
  store_->ApplyRetention(std::move(request), std::move(done));
}

BatchPause Retention::OnBatch(const absl::StatusOr<RetentionResult>& result, absl::Duration took) {
  if (!result.ok()) {
    spdlog::warn("{}: a batch of retention failed, the next comes in {} s: {}",
                 log_event::kGenericWarning, absl::ToInt64Seconds(options_.interval),
                 result.status().ToString());
    return {pace_.AfterFailure(took)};
  }
  NoteLeader(*result);
  if (!result->leads) return {result->leader.empty() ? kLeaderlessPause : options_.interval};
  if (purged_.empty()) purged_since_ = SteadyNow() - took;
  for (const RetentionPurge& purge : result->purges) {
    purged_[{purge.hub, purge.status}] += purge.instances;
    metrics_.hubs.OfName(purge.hub).purged[metrics::Purge::kRetention].Add(purge.instances);
  }
  if (!result->more || SteadyNow() - purged_since_ >= kLogInterval) LogPurged();
  return {pace_.After(took, result->more)};
}

void Retention::NoteLeader(const RetentionResult& result) {
  metrics_.leader.Of("retention").Set(result.leads ? 1 : 0);
  if (result.leads == leads_) return;
  leads_ = result.leads;
  if (leads_) {
    spdlog::info("{}: this daemon applies retention from now on", log_event::kGenericInfo);
  } else {
    spdlog::info("{}: this daemon no longer applies retention, but {}", log_event::kGenericInfo,
                 result.leader.empty() ? "somebody else or nobody" : result.leader);
  }
}

void Retention::LogPurged() {
  for (const auto& [what, instances] : purged_) {
    const std::string ms = absl::StrCat(absl::ToInt64Milliseconds(SteadyNow() - purged_since_));
    const LogFields fields({{log_field::kTaskHub, what.first}, {log_field::kDurationMs, ms}});
    spdlog::info("{}: hub {}: {} {} instances in {} ms, by retention", log_event::kPurgedInstances,
                 what.first, instances, NameOf(what.second), ms);
  }
  purged_.clear();
}

}  // namespace dt
