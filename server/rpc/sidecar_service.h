// TaskHubSidecarService: every RPC of the sidecar protocol, from the wire to the dispatcher and the
// store. A handler checks its request, finds the task hub and starts one verb; the answer goes out
// from the verb's callback. Who may call is checked before, by GuardedService.
//
// Threads: handlers and callbacks run on any thread of gRPC, the dispatcher or the store, and never
// block. gRPC keeps a call's request, response and context until its reactor is done, which is why
// the callbacks may hold pointers to them.
//
// The handlers stand in one file per family: client_calls.cc, worker_calls.cc, history_calls.cc,
// query_calls.cc, purge_calls.cc, management_calls.cc, hub_calls.cc, entity_calls.cc.
#ifndef DT_SERVER_RPC_SIDECAR_SERVICE_H_
#define DT_SERVER_RPC_SIDECAR_SERVICE_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "proto/orchestrator_service.grpc.pb.h"
#include "server/dispatch/dispatch_thread.h"
#include "server/entity/entity_requests.h"
#include "server/orchestration/pages.h"
#include "server/orchestration/requests.h"
#include "server/rpc/access_control.h"
#include "server/rpc/action_log.h"
#include "server/rpc/call_metadata.h"
#include "server/rpc/counted_call.h"
#include "server/rpc/history_stream.h"
#include "server/rpc/repeat_limiter.h"
#include "server/rpc/status.h"
#include "server/rpc/stream_options.h"
#include "server/rpc/task_hubs.h"
#include "server/rpc/unread_answers.h"
#include "server/rpc/work_item_stream.h"
#include "storage/store.h"

namespace dt::rpc {

struct ServiceOptions {
  TaskHubOptions hubs;
  orchestration::RequestLimits requests;
  orchestration::PageLimits pages;
  StreamLimits streams;
  HistoryLimits history;
  int64_t unread_answer_bytes_max = int64_t{256} << 20;  // of all callers together
  // Deleting a hub, or creating it anew, deletes data (5.36).
  bool hub_deletion_enabled = false;
  // What a control call to a missing instance answers (5.19, D19).
  bool missing_control_ok = false;  // RaiseEvent, SuspendInstance, ResumeInstance
  bool missing_terminate_ok = true;
};

// What is asked about a caller after its call was let in. Any thread; answers at once.
class CallGuard {
 public:
  virtual ~CallGuard() = default;
  // Whether this call may create the hub that it names, where unknown hubs are created.
  virtual bool MayCreateHub(const grpc::CallbackServerContext& context) const = 0;
  // The name of the caller's principal; empty where callers have none.
  virtual std::string NameOfCaller(const grpc::CallbackServerContext& context) const = 0;
  // As AccessControl::Follow. The context is not needed any more when this returns.
  virtual std::unique_ptr<Permit> Follow(const grpc::CallbackServerContext& context,
                                         std::string_view rpc,
                                         std::weak_ptr<RevocableCall> call) const = 0;
};

// GetWorkItems and StreamInstanceHistory are raw because their answers are bytes that were
// serialized before, the answers of workers because they may be nested deep (raw_request.h).
using SidecarServiceBase = TaskHubSidecarService::WithRawCallbackMethod_GetWorkItems<
    TaskHubSidecarService::WithRawCallbackMethod_StreamInstanceHistory<
        TaskHubSidecarService::WithRawCallbackMethod_CompleteOrchestratorTask<
            TaskHubSidecarService::WithRawCallbackMethod_CompleteActivityTask<
                TaskHubSidecarService::CallbackService>>>>;

class SidecarService final : public SidecarServiceBase {
 public:
  // `store` and `dispatch` must outlive the server that this service is registered with.
  SidecarService(Store* store, dispatch::DispatchThread* dispatch, ServiceOptions options);

  // Makes sure that the hub exists, as CreateTaskHub does; for start-up.
  void CreateHub(const std::string& name, Callback<HubId> done);
  // The hub that a call means with this `taskhub` metadata.
  std::string EffectiveHub(std::string_view name) const { return hubs_.Effective(name); }
  // The id of the hub that a call means, for other services; one that is missing is not created.
  void FindHub(const grpc::CallbackServerContext& context, Callback<HubId> done) {
    hubs_.Resolve(MetadataValue(context, "taskhub"), /*may_create=*/false, std::move(done));
  }

  using Context = grpc::CallbackServerContext;
  // Without a guard everybody may create hubs, and calls go on as long as they like. For start-up;
  // `guard` must outlive the server.
  void SetGuard(const CallGuard* guard) { guard_ = guard; }

  using Unary = UnaryReactor;
  using Empty = google::protobuf::Empty;
  using RawWriter = grpc::ServerWriteReactor<grpc::ByteBuffer>;

// gRPC's generated classes overload each method for their synchronous form, which stays hidden.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverloaded-virtual"

  // Worker side: worker_calls.cc
  Unary* Hello(Context* context, const Empty* request, Empty* response) override;
  RawWriter* GetWorkItems(Context* context, const grpc::ByteBuffer* request) override;
  Unary* CompleteOrchestratorTask(Context* context, const grpc::ByteBuffer* request,
                                  grpc::ByteBuffer* response) override;
  Unary* CompleteActivityTask(Context* context, const grpc::ByteBuffer* request,
                              grpc::ByteBuffer* response) override;
  Unary* AbandonTaskOrchestratorWorkItem(Context* context,
                                         const AbandonOrchestrationTaskRequest* request,
                                         AbandonOrchestrationTaskResponse* response) override;
  Unary* AbandonTaskActivityWorkItem(Context* context, const AbandonActivityTaskRequest* request,
                                     AbandonActivityTaskResponse* response) override;
  Unary* CompleteEntityTask(Context* context, const EntityBatchResult* request,
                            CompleteTaskResponse* response) override;
  Unary* AbandonTaskEntityWorkItem(Context* context, const AbandonEntityTaskRequest* request,
                                   AbandonEntityTaskResponse* response) override;

  // History: history_calls.cc
  RawWriter* StreamInstanceHistory(Context* context, const grpc::ByteBuffer* request) override;

  // Client side: client_calls.cc
  Unary* StartInstance(Context* context, const CreateInstanceRequest* request,
                       CreateInstanceResponse* response) override;
  Unary* GetInstance(Context* context, const GetInstanceRequest* request,
                     GetInstanceResponse* response) override;
  Unary* WaitForInstanceStart(Context* context, const GetInstanceRequest* request,
                              GetInstanceResponse* response) override;
  Unary* WaitForInstanceCompletion(Context* context, const GetInstanceRequest* request,
                                   GetInstanceResponse* response) override;
  Unary* RaiseEvent(Context* context, const RaiseEventRequest* request,
                    RaiseEventResponse* response) override;
  Unary* TerminateInstance(Context* context, const TerminateRequest* request,
                           TerminateResponse* response) override;
  Unary* SuspendInstance(Context* context, const SuspendRequest* request,
                         SuspendResponse* response) override;
  Unary* ResumeInstance(Context* context, const ResumeRequest* request,
                        ResumeResponse* response) override;

  // Lists: query_calls.cc
  Unary* QueryInstances(Context* context, const QueryInstancesRequest* request,
                        QueryInstancesResponse* response) override;
  Unary* ListInstanceIds(Context* context, const ListInstanceIdsRequest* request,
                         ListInstanceIdsResponse* response) override;

  // Purge: purge_calls.cc
  Unary* PurgeInstances(Context* context, const PurgeInstancesRequest* request,
                        PurgeInstancesResponse* response) override;

  // Management: management_calls.cc
  Unary* RewindInstance(Context* context, const RewindInstanceRequest* request,
                        RewindInstanceResponse* response) override;
  Unary* RestartInstance(Context* context, const RestartInstanceRequest* request,
                         RestartInstanceResponse* response) override;
  Unary* SkipGracefulOrchestrationTerminations(
      Context* context, const SkipGracefulOrchestrationTerminationsRequest* request,
      SkipGracefulOrchestrationTerminationsResponse* response) override;

  // Task hubs: hub_calls.cc
  Unary* CreateTaskHub(Context* context, const CreateTaskHubRequest* request,
                       CreateTaskHubResponse* response) override;
  Unary* DeleteTaskHub(Context* context, const DeleteTaskHubRequest* request,
                       DeleteTaskHubResponse* response) override;

  // Entities: entity_calls.cc
  Unary* SignalEntity(Context* context, const SignalEntityRequest* request,
                      SignalEntityResponse* response) override;
  Unary* GetEntity(Context* context, const GetEntityRequest* request,
                   GetEntityResponse* response) override;
  Unary* QueryEntities(Context* context, const QueryEntitiesRequest* request,
                       QueryEntitiesResponse* response) override;
  Unary* CleanEntityStorage(Context* context, const CleanEntityStorageRequest* request,
                            CleanEntityStorageResponse* response) override;

#pragma GCC diagnostic pop

 private:
  // Calls `next(HubId)` for the call's hub, at once when it is known. Otherwise ends the call
  // through `reactor`: the hub is missing, or the caller left meanwhile.
  template <typename Next>
  void WithHub(Context* context, Unary* reactor, Next next) {
    const std::string_view name = MetadataValue(*context, "taskhub");
    if (const std::optional<HubId> known = hubs_.Find(name)) return next(*known);
    hubs_.Resolve(
        name, MayCreateHub(*context),
        [context, reactor, next = std::move(next)](absl::StatusOr<HubId> hub) {
          if (!hub.ok()) return reactor->Finish(ToGrpc(hub.status()));
          if (context->IsCancelled()) {
            return reactor->Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the caller is gone"));
          }
          next(*hub);
        });
  }
  bool MayCreateHub(const Context& context) const {
    return guard_ == nullptr || guard_->MayCreateHub(context);
  }
  std::unique_ptr<Permit> Follow(const Context& context, std::string_view rpc,
                                 std::weak_ptr<RevocableCall> call = {}) const {
    return guard_ == nullptr ? nullptr : guard_->Follow(context, rpc, std::move(call));
  }

  // Whether the caller is gone; until the call is finished (1.18).
  static CallerGone GoneOf(Context* context) {
    return [context] { return context->IsCancelled(); };
  }

  // `rpc` is static.
  Action ActionOf(const Context& context, std::string_view rpc) const;
  void Start(HubId hub, Context* context, const CreateInstanceRequest& request,
             CreateInstanceResponse* response, std::string hub_name, Unary* reactor);
  void Restart(HubId hub, Context* context, const RestartInstanceRequest& request,
               const std::optional<InstanceRow>& row, RestartInstanceResponse* response,
               Action action, Unary* reactor);
  void Delete(const std::string& hub_name, DoneCallback done);
  // RaiseEvent, SuspendInstance and ResumeInstance after their checks.
  Unary* Send(Context* context, absl::StatusOr<orchestration::ClientMessagePlan> plan);
  // SignalEntity, and RaiseEvent for an entity, after their checks.
  Unary* SendToEntity(Context* context, absl::StatusOr<entity::SignalPlan> plan);
  Unary* Wait(Context* context, const GetInstanceRequest* request, GetInstanceResponse* response,
              dispatch::DispatchThread::WaitFor wait_for);

  Store* const store_;
  dispatch::DispatchThread* const dispatch_;
  const ServiceOptions options_;
  UnreadAnswers unread_answers_{options_.unread_answer_bytes_max};
  TaskHubs hubs_;
  const CallGuard* guard_ = nullptr;
  ActionLog actions_;
  // Of workers that are refused, or whose filters let nothing pass.
  RepeatLimiter stream_lines_{absl::Seconds(10), /*lines_max=*/200};
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_SIDECAR_SERVICE_H_
