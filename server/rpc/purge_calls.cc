// PurgeInstances (RULES.md 5.26, 5.27).
#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "fmt/format.h"
#include "server/orchestration/pages.h"
#include "server/rpc/sidecar_service.h"
#include "storage/steady_clock.h"

namespace dt::rpc {
namespace {

// One call: batch after batch, each a transaction of its own, until nothing is left, the time is
// over or the caller has gone or lost its right. What is deleted by then stays deleted.
//
// Threads: Next runs on the thread of the handler and on those of the store, one at a time.
class PurgeCall : public std::enable_shared_from_this<PurgeCall> {
 public:
  PurgeCall(Store* store, ActionLog* actions, Action action, orchestration::PurgePlan plan,
            grpc::CallbackServerContext* context, UnaryReactor* reactor,
            PurgeInstancesResponse* response, std::unique_ptr<Permit> permit,
            metrics::Counter* counter)
      : store_(store),
        actions_(actions),
        action_(std::move(action)),
        plan_(std::move(plan)),
        context_(context),
        reactor_(reactor),
        response_(response),
        permit_(std::move(permit)),
        counter_(counter) {
    plan_.request.caller_gone = [context] { return context->IsCancelled(); };
  }

  void Next() {
    store_->PurgeInstances(
        plan_.request,
        [self = shared_from_this()](absl::StatusOr<PurgeResult> result) { self->OnBatch(result); });
  }

 private:
  void OnBatch(const absl::StatusOr<PurgeResult>& result) {
    if (!result.ok()) {
      Log();
      return reactor_->Finish(ToGrpc(result.status()));
    }
    deleted_ += result->deleted;
    if (counter_ != nullptr) counter_->Add(result->deleted);
    const absl::Status permitted = permit_ == nullptr ? absl::OkStatus() : permit_->Check();
    if (!permitted.ok()) {
      Log();
      return reactor_->Finish(ToGrpc(permitted));
    }
    const bool in_time = SteadyNow() - begin_ < plan_.timeout;
    if (result->more && in_time && !context_->IsCancelled()) return Next();
    Log();
    constexpr int64_t kCountMax = std::numeric_limits<int32_t>::max();
    response_->set_deletedinstancecount(static_cast<int32_t>(std::min(deleted_, kCountMax)));
    response_->mutable_iscomplete()->set_value(!result->more);
    reactor_->Finish(grpc::Status::OK);
  }

  void Log() const {
    if (deleted_ == 0) return;
    actions_->Add(action_, fmt::format("{} instances in {} ms", deleted_,
                                       absl::ToInt64Milliseconds(SteadyNow() - begin_)));
  }

  Store* const store_;
  ActionLog* const actions_;
  const Action action_;
  orchestration::PurgePlan plan_;
  grpc::CallbackServerContext* const context_;
  UnaryReactor* const reactor_;
  PurgeInstancesResponse* const response_;
  const std::unique_ptr<Permit> permit_;
  metrics::Counter* const counter_;
  const absl::Time begin_ = SteadyNow();
  int64_t deleted_ = 0;
};

}  // namespace

SidecarService::Unary* SidecarService::PurgeInstances(Context* context,
                                                      const PurgeInstancesRequest* request,
                                                      PurgeInstancesResponse* response) {
  Unary* reactor = new SimpleReactor();
  WithHub(context, reactor, [this, context, request, response, reactor](HubId hub) {
    absl::StatusOr<orchestration::PurgePlan> plan =
        orchestration::BuildPurge(*request, hub, options_.requests);
    if (!plan.ok()) return reactor->Finish(ToGrpc(plan.status()));
    response->mutable_iscomplete()->set_value(true);
    if (plan->nothing) return reactor->Finish(grpc::Status::OK);
    metrics::Counter* const counter =
        options_.hubs.metrics == nullptr
            ? nullptr
            : &options_.hubs.metrics->Of(hub).purged[metrics::Purge::kRequest];
    std::make_shared<PurgeCall>(store_, &actions_, ActionOf(*context, "PurgeInstances"),
                                *std::move(plan), context, reactor, response,
                                Follow(*context, "PurgeInstances"), counter)
        ->Next();
  });
  return reactor;
}

}  // namespace dt::rpc
