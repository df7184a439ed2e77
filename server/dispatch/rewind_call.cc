#include "server/dispatch/rewind_call.h"

#include "fmt/format.h"
#include "spdlog/spdlog.h"
#include "storage/log_events.h"
#include "storage/log_fields.h"

namespace dt::dispatch {
namespace {

// What changes under a rewind are children and activities that end meanwhile; each can do so once.
constexpr int kAttemptsMax = 20;

}  // namespace

RewindCall::RewindCall(Store* store, HubId hub, RewindInstanceRequest request,
                       std::optional<Checkpoint> turn, DoneCallback done, CallerGone caller_gone)
    : store_(store),
      hub_(hub),
      request_(std::move(request)),
      turn_(std::move(turn)),
      done_(std::move(done)),
      caller_gone_(std::move(caller_gone)) {}

void RewindCall::Begin() {
  ++attempts_;
  plans_.clear();
  awaited_.clear();
  store_->ReadRewindSources(
      hub_, {request_.instanceid()},
      [self = shared_from_this()](auto sources) { self->OnRoot(std::move(sources)); });
}

void RewindCall::OnRoot(absl::StatusOr<std::vector<RewindSource>> sources) {
  absl::Status status = sources.status();
  if (status.ok() && turn_.has_value()) {
    sources->front().claim.hub = hub_;
    status = Keep(
        orchestration::PlanOwnRewind(*turn_, std::move(sources->front()), store_->Now(), ids_));
  } else if (status.ok()) {
    status = Plan(request_.instanceid(), std::move(sources->front()));
  }
  if (!status.ok()) return std::move(done_)(std::move(status));
  Next();
}

absl::Status RewindCall::Plan(const std::string& instance_id, RewindSource source) {
  if (plans_.size() == kInstancesMax) {
    return absl::ResourceExhaustedError(
        fmt::format("instance '{}' has more than {} failed descendants, which is the limit of one "
                    "rewind: rewind some of them by themselves first",
                    request_.instanceid(), kInstancesMax));
  }
  source.claim.hub = hub_;
  return Keep(
      orchestration::PlanRewind(instance_id, std::move(source), request_, store_->Now(), ids_));
}

absl::Status RewindCall::Keep(absl::StatusOr<orchestration::RewindPlan> plan) {
  if (!plan.ok()) return plan.status();
  for (orchestration::AwaitedChild& child : plan->children) {
    awaited_.push_back({plans_.size(), std::move(child)});
  }
  plans_.push_back(*std::move(plan));
  return absl::OkStatus();
}

void RewindCall::Next() {
  if (awaited_.empty()) return Apply();
  std::vector<std::string> ids;
  for (const Awaited& awaited : awaited_) ids.push_back(awaited.child.created.instanceid());
  store_->ReadRewindSources(hub_, std::move(ids), [self = shared_from_this()](auto sources) {
    self->OnChildren(std::move(sources));
  });
}

void RewindCall::OnChildren(absl::StatusOr<std::vector<RewindSource>> sources) {
  absl::Status status = sources.status();
  const std::vector<Awaited> level = std::exchange(awaited_, {});
  for (size_t i = 0; status.ok() && i < level.size(); ++i) {
    RewindSource& source = (*sources)[i];
    const absl::StatusOr<bool> failed =
        orchestration::ResolveChild(level[i].child, source, ids_, plans_[level[i].plan]);
    status = failed.status();
    if (status.ok() && *failed) {
      status = Plan(level[i].child.created.instanceid(), std::move(source));
    }
  }
  if (!status.ok()) return std::move(done_)(std::move(status));
  Next();
}

void RewindCall::Apply() {
  RewindRequest request;
  request.hub = hub_;
  request.caller_gone = caller_gone_;
  for (const orchestration::RewindPlan& plan : plans_) request.rewinds.push_back(plan.rewind);
  store_->RewindInstances(std::move(request), [self = shared_from_this()](auto outcome) {
    self->OnApplied(std::move(outcome));
  });
}

void RewindCall::OnApplied(absl::StatusOr<RewindOutcome> outcome) {
  if (!outcome.ok()) return std::move(done_)(outcome.status());
  if (*outcome == RewindOutcome::kRewound) {
    const LogFields fields({{log_field::kInstanceId, request_.instanceid()}});
    spdlog::info("{}: instance {} was rewound, {} instances in all", log_event::kGenericInfo,
                 request_.instanceid(), plans_.size());
    return std::move(done_)(absl::OkStatus());
  }
  if (*outcome == RewindOutcome::kLeaseLost) {
    return std::move(done_)(absl::AbortedError("the lease is lost"));
  }
  if (attempts_ < kAttemptsMax) return Begin();
  std::move(done_)(absl::UnavailableError(
      fmt::format("instance '{}' or its children changed during each of {} attempts to rewind it: "
                  "try again",
                  request_.instanceid(), attempts_)));
}

}  // namespace dt::dispatch
