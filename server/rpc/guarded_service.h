// What the gRPC server registers: TaskHubSidecarService with a check before each RPC. A call that
// may not be made ends here, before its hub is looked up and before its message is judged, so that
// a refused caller learns nothing of hubs, and changes nothing.
//
// An RPC that is not passed on here is answered UNIMPLEMENTED by the generated base: one that is
// forgotten is closed, not open.
//
// Threads: as SidecarService. Nothing here blocks.
#ifndef DT_SERVER_RPC_GUARDED_SERVICE_H_
#define DT_SERVER_RPC_GUARDED_SERVICE_H_

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "server/rpc/access_control.h"
#include "server/rpc/repeat_limiter.h"
#include "server/rpc/sidecar_service.h"

namespace dt::rpc {

class GuardedService final : public SidecarServiceBase, private CallGuard {
 public:
  using Context = SidecarService::Context;
  using Unary = SidecarService::Unary;
  using Empty = SidecarService::Empty;
  using RawWriter = SidecarService::RawWriter;

  // `service` and `access` must outlive the server that this service is registered with.
  GuardedService(SidecarService* service, const AccessControl* access);

  // While this is so, calls that bring more to keep are refused, kResourceExhausted. Answers of
  // workers are not: with them work ends.
  void SetMemoryScarce(bool scarce) { memory_scarce_.store(scarce, std::memory_order_relaxed); }

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverloaded-virtual"
#define DT_GUARDED(rpc, Request, Response)                                            \
  Unary* rpc(Context* context, const Request* request, Response* response) override { \
    if (Unary* refusal = Refuse(context, #rpc)) return refusal;                       \
    return service_->rpc(context, request, response);                                 \
  }

  DT_GUARDED(Hello, Empty, Empty)
  DT_GUARDED(CompleteOrchestratorTask, grpc::ByteBuffer, grpc::ByteBuffer)
  DT_GUARDED(CompleteActivityTask, grpc::ByteBuffer, grpc::ByteBuffer)
  DT_GUARDED(CompleteEntityTask, EntityBatchResult, CompleteTaskResponse)
  DT_GUARDED(AbandonTaskOrchestratorWorkItem, AbandonOrchestrationTaskRequest,
             AbandonOrchestrationTaskResponse)
  DT_GUARDED(AbandonTaskActivityWorkItem, AbandonActivityTaskRequest, AbandonActivityTaskResponse)
  DT_GUARDED(AbandonTaskEntityWorkItem, AbandonEntityTaskRequest, AbandonEntityTaskResponse)

  DT_GUARDED(StartInstance, CreateInstanceRequest, CreateInstanceResponse)
  DT_GUARDED(GetInstance, GetInstanceRequest, GetInstanceResponse)
  DT_GUARDED(WaitForInstanceStart, GetInstanceRequest, GetInstanceResponse)
  DT_GUARDED(WaitForInstanceCompletion, GetInstanceRequest, GetInstanceResponse)
  DT_GUARDED(RaiseEvent, RaiseEventRequest, RaiseEventResponse)
  DT_GUARDED(TerminateInstance, TerminateRequest, TerminateResponse)
  DT_GUARDED(SuspendInstance, SuspendRequest, SuspendResponse)
  DT_GUARDED(ResumeInstance, ResumeRequest, ResumeResponse)
  DT_GUARDED(RestartInstance, RestartInstanceRequest, RestartInstanceResponse)
  DT_GUARDED(RewindInstance, RewindInstanceRequest, RewindInstanceResponse)
  DT_GUARDED(PurgeInstances, PurgeInstancesRequest, PurgeInstancesResponse)
  DT_GUARDED(QueryInstances, QueryInstancesRequest, QueryInstancesResponse)
  DT_GUARDED(ListInstanceIds, ListInstanceIdsRequest, ListInstanceIdsResponse)
  DT_GUARDED(SkipGracefulOrchestrationTerminations, SkipGracefulOrchestrationTerminationsRequest,
             SkipGracefulOrchestrationTerminationsResponse)

  DT_GUARDED(SignalEntity, SignalEntityRequest, SignalEntityResponse)
  DT_GUARDED(GetEntity, GetEntityRequest, GetEntityResponse)
  DT_GUARDED(QueryEntities, QueryEntitiesRequest, QueryEntitiesResponse)
  DT_GUARDED(CleanEntityStorage, CleanEntityStorageRequest, CleanEntityStorageResponse)

  DT_GUARDED(CreateTaskHub, CreateTaskHubRequest, CreateTaskHubResponse)
  DT_GUARDED(DeleteTaskHub, DeleteTaskHubRequest, DeleteTaskHubResponse)

#undef DT_GUARDED

  // The streams, which are raw.
  RawWriter* GetWorkItems(Context* context, const grpc::ByteBuffer* request) override;
  RawWriter* StreamInstanceHistory(Context* context, const grpc::ByteBuffer* request) override;

#pragma GCC diagnostic pop

 private:
  // CallGuard.
  bool MayCreateHub(const Context& context) const override;
  std::unique_ptr<Permit> Follow(const Context& context, std::string_view rpc,
                                 std::weak_ptr<RevocableCall> call) const override;

  absl::Status Check(const Context& context, std::string_view rpc);
  // A finished call when it may not be made, else null.
  Unary* Refuse(Context* context, std::string_view rpc);
  std::string HubOf(const Context& context) const;
  void Log(const Context& context, const absl::Status& refusal);

  SidecarService* const service_;
  const AccessControl* const access_;
  std::atomic<bool> memory_scarce_ = false;
  // A caller that tries again and again shall not fill the log.
  RepeatLimiter refusals_{absl::Seconds(1), /*lines_max=*/1};
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_GUARDED_SERVICE_H_
