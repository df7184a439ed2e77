#include "server/retention.h"

#include <algorithm>
#include <string_view>

#include "absl/time/clock.h"
#include "spdlog/spdlog.h"

namespace dt {
namespace {

// A batch that takes longer is halved, one that takes less than a quarter of it may be doubled.
constexpr absl::Duration kBatchTimeMax = absl::Seconds(1);
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

absl::Duration RetentionPace::After(absl::Duration took, bool more) {
  if (took > kBatchTimeMax) {
    batch_ = std::max(batch_ / 2, 1);
  } else if (took < kBatchTimeMax / 4) {
    batch_ = static_cast<int>(std::min<int64_t>(int64_t{batch_} * 2, options_.batch_instances_max));
  }
  if (!more) return options_.interval;
  return took * (100 - options_.busy_percent_max) / options_.busy_percent_max;
}

Retention::Retention(Store* store, RetentionOptions options)
    : store_(store), options_(options), pace_(options) {}

Retention::~Retention() { Stop(); }

void Retention::Start() {
  if (options_.enabled) thread_ = std::thread([this] { Run(); });
}

void Retention::Stop() {
  {
    absl::MutexLock lock(&shared_->mutex);
    shared_->stopping = true;
  }
  if (thread_.joinable()) thread_.join();
}

void Retention::Run() {
  absl::Duration pause;
  do {
    const absl::Time begin = absl::Now();
    const std::optional<absl::StatusOr<RetentionResult>> result = ApplyOnce();
    if (!result.has_value()) break;
    pause = OnBatch(*result, absl::Now() - begin);
  } while (SleepFor(pause));
  LogPurged();
}

std::optional<absl::StatusOr<RetentionResult>> Retention::ApplyOnce() {
  RetentionRequest request = RetentionRequestOf(options_);
  request.max_instances = pace_.batch();
  store_->ApplyRetention(std::move(request),
                         [shared = shared_](absl::StatusOr<RetentionResult> result) {
                           absl::MutexLock lock(&shared->mutex);
                           shared->answer = std::move(result);
                         });
  absl::MutexLock lock(&shared_->mutex);
  shared_->mutex.Await(absl::Condition(shared_.get(), &Shared::Answered));
  if (shared_->stopping) return std::nullopt;
  return std::exchange(shared_->answer, std::nullopt);
}

absl::Duration Retention::OnBatch(const absl::StatusOr<RetentionResult>& result,
                                  absl::Duration took) {
  if (!result.ok()) {
    spdlog::warn("GenericWarning (304): a batch of retention failed, the next comes in {} s: {}",
                 absl::ToInt64Seconds(options_.interval), result.status().ToString());
    pace_.After(std::max(took, 2 * kBatchTimeMax), false);
    return options_.interval;
  }
  NoteLeader(*result);
  if (!result->leads) return result->leader.empty() ? kLeaderlessPause : options_.interval;
  if (purged_.empty()) purged_since_ = absl::Now() - took;
  for (const RetentionPurge& purge : result->purges) {
    purged_[{purge.hub, purge.status}] += purge.instances;
  }
  if (!result->more || absl::Now() - purged_since_ >= kLogInterval) LogPurged();
  return pace_.After(took, result->more);
}

void Retention::NoteLeader(const RetentionResult& result) {
  if (result.leads == leads_) return;
  leads_ = result.leads;
  if (leads_) {
    spdlog::info("GenericInfo (314): this daemon applies retention from now on");
  } else {
    spdlog::info("GenericInfo (314): this daemon no longer applies retention, but {}",
                 result.leader.empty() ? "somebody else or nobody" : result.leader);
  }
}

void Retention::LogPurged() {
  for (const auto& [what, instances] : purged_) {
    spdlog::info("PurgedInstances (310): hub {}: {} {} instances in {} ms, by retention",
                 what.first, instances, NameOf(what.second),
                 absl::ToInt64Milliseconds(absl::Now() - purged_since_));
  }
  purged_.clear();
}

bool Retention::SleepFor(absl::Duration pause) {
  absl::MutexLock lock(&shared_->mutex);
  shared_->mutex.AwaitWithTimeout(absl::Condition(&shared_->stopping), pause);
  return !shared_->stopping;
}

}  // namespace dt
