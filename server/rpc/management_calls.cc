// RestartInstance, RewindInstance, SkipGracefulOrchestrationTerminations (RULES.md 5.28-5.31,
// 5.35).
#include <memory>
#include <optional>
#include <utility>

#include "fmt/format.h"
#include "server/dispatch/rewind_call.h"
#include "server/orchestration/random_ids.h"
#include "server/rpc/sidecar_service.h"

namespace dt::rpc {

SidecarService::Unary* SidecarService::RestartInstance(Context* context,
                                                       const RestartInstanceRequest* request,
                                                       RestartInstanceResponse* response) {
  Unary* reactor = new SimpleReactor();
  const absl::Status checked =
      orchestration::CheckInstanceId(request->instanceid(), options_.requests);
  if (!checked.ok()) {
    reactor->Finish(ToGrpc(checked));
    return reactor;
  }
  Action action = ActionOf(*context, "RestartInstance");
  WithHub(context, reactor,
          [this, context, request, response, reactor, action = std::move(action)](HubId hub) {
            store_->ReadInstance(hub, request->instanceid(), /*payloads=*/true,
                                 [this, hub, context, request, response, reactor,
                                  action](absl::StatusOr<std::optional<InstanceRow>> row) {
                                   if (!row.ok()) return reactor->Finish(ToGrpc(row.status()));
                                   Restart(hub, context, *request, *row, response, action, reactor);
                                 });
          });
  return reactor;
}

void SidecarService::Restart(HubId hub, Context* context, const RestartInstanceRequest& request,
                             const std::optional<InstanceRow>& row,
                             RestartInstanceResponse* response, Action action, Unary* reactor) {
  thread_local orchestration::RandomIds ids;
  absl::StatusOr<NewInstance> instance =
      orchestration::BuildRestart(request, row, hub, store_->Now(), ids);
  if (!instance.ok()) return reactor->Finish(ToGrpc(instance.status()));
  response->set_instanceid(instance->instance_id);
  instance->caller_gone = GoneOf(context);
  dispatch_->StartInstance(
      *std::move(instance), [this, response, reactor, source = request.instanceid(),
                             action = std::move(action)](absl::StatusOr<CreateResult> result) {
        if (result.ok() && result->outcome == CreateOutcome::kExists) {
          result = absl::FailedPreconditionError(fmt::format(
              "instance '{}' has been started by somebody else meanwhile", response->instanceid()));
        }
        if (result.ok()) {
          actions_.Add(action, fmt::format("instance '{}' of what '{}' was started with",
                                           response->instanceid(), source));
        }
        reactor->Finish(ToGrpc(result.status()));
      });
}

SidecarService::Unary* SidecarService::RewindInstance(Context* context,
                                                      const RewindInstanceRequest* request,
                                                      RewindInstanceResponse*) {
  Unary* reactor = new SimpleReactor();
  const absl::Status checked = orchestration::CheckRewind(*request, options_.requests);
  if (!checked.ok()) {
    reactor->Finish(ToGrpc(checked));
    return reactor;
  }
  Action action = ActionOf(*context, "RewindInstance");
  WithHub(context, reactor,
          [this, context, request, reactor, action = std::move(action)](HubId hub) {
            const auto done = [this, hub, reactor, action,
                               instance_id = request->instanceid()](const absl::Status& status) {
              if (status.ok()) {
                dispatch_->OnWake(hub);
                actions_.Add(action, fmt::format("instance '{}'", instance_id));
              }
              reactor->Finish(ToGrpc(status));
            };
            std::make_shared<dispatch::RewindCall>(store_, hub, *request, std::nullopt, done,
                                                   GoneOf(context))
                ->Begin();
          });
  return reactor;
}

SidecarService::Unary* SidecarService::SkipGracefulOrchestrationTerminations(
    Context* context, const SkipGracefulOrchestrationTerminationsRequest* request,
    SkipGracefulOrchestrationTerminationsResponse* response) {
  Unary* reactor = new SimpleReactor();
  Action action = ActionOf(*context, "SkipGracefulOrchestrationTerminations");
  WithHub(context, reactor,
          [this, context, request, response, reactor, action = std::move(action)](HubId hub) {
            absl::StatusOr<ImmediateTermination> termination =
                orchestration::BuildImmediateTermination(*request, hub, options_.requests);
            if (!termination.ok()) return reactor->Finish(ToGrpc(termination.status()));
            termination->caller_gone = GoneOf(context);
            const size_t asked = termination->instance_ids.size();
            store_->TerminateNow(
                *std::move(termination), [this, response, reactor, action, asked](
                                             absl::StatusOr<std::vector<std::string>> not_ended) {
                  if (!not_ended.ok()) return reactor->Finish(ToGrpc(not_ended.status()));
                  actions_.Add(action,
                               fmt::format("{} instances of {}", asked - not_ended->size(), asked));
                  for (std::string& id : *not_ended)
                    response->add_unterminatedinstanceids(std::move(id));
                  reactor->Finish(grpc::Status::OK);
                });
          });
  return reactor;
}

}  // namespace dt::rpc
