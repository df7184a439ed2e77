// StartInstance, GetInstance, the waits, RaiseEvent, Terminate, Suspend, Resume
// (RULES.md 5.4-5.22).
#include <memory>
#include <utility>

#include "fmt/format.h"
#include "server/orchestration/random_ids.h"
#include "server/rpc/read_call.h"
#include "server/rpc/sidecar_service.h"
#include "server/rpc/wait_call.h"

namespace dt::rpc {
namespace {

absl::Status MissingInstance(const std::string& instance_id) {
  return absl::NotFoundError(fmt::format("no orchestration instance '{}'", instance_id));
}

// The answer of a message or a termination. An instance that has ended wants neither, which is no
// error (5.20).
absl::Status DeliveryStatus(const Delivery& delivery, bool missing_ok,
                            const std::string& instance_id) {
  switch (delivery.outcome) {
    case DeliveryOutcome::kNotFound:
      return missing_ok ? absl::OkStatus() : MissingInstance(instance_id);
    case DeliveryOutcome::kOk:
    case DeliveryOutcome::kDuplicate:
    case DeliveryOutcome::kTerminal:
    case DeliveryOutcome::kDone:
      return absl::OkStatus();
  }
  return absl::InternalError("unknown outcome of a delivery");
}

// Whether a termination does anything.
bool Ends(const absl::StatusOr<Delivery>& delivery) {
  return delivery.ok() &&
         (delivery->outcome == DeliveryOutcome::kOk || delivery->outcome == DeliveryOutcome::kDone);
}

}  // namespace

Action SidecarService::ActionOf(const Context& context, std::string_view rpc) const {
  const std::string name = guard_ == nullptr ? "" : guard_->NameOfCaller(context);
  return {rpc, hubs_.Effective(MetadataValue(context, "taskhub")),
          name.empty() ? ForLog(context.peer())
                       : fmt::format("'{}', {}", ForLog(name), ForLog(context.peer()))};
}

SidecarService::Unary* SidecarService::StartInstance(Context* context,
                                                     const CreateInstanceRequest* request,
                                                     CreateInstanceResponse* response) {
  Unary* reactor = new SimpleReactor();
  std::string name(MetadataValue(*context, "taskhub"));
  WithHub(context, reactor,
          [this, context, request, response, reactor, name = std::move(name)](HubId hub) {
            Start(hub, context, *request, response, name, reactor);
          });
  return reactor;
}

void SidecarService::Start(HubId hub, Context* context, const CreateInstanceRequest& request,
                           CreateInstanceResponse* response, std::string hub_name, Unary* reactor) {
  thread_local orchestration::RandomIds ids;
  absl::StatusOr<orchestration::StartPlan> plan =
      orchestration::BuildStart(request, hub, store_->Now(), ids, options_.requests);
  if (!plan.ok()) return reactor->Finish(ToGrpc(plan.status()));
  response->set_instanceid(plan->instance.instance_id);
  plan->instance.caller_gone = GoneOf(context);
  dispatch_->StartInstance(std::move(plan->instance),
                           [this, hub, hub_name = std::move(hub_name), response, reactor,
                            answers = plan->answers](absl::StatusOr<CreateResult> result) {
                             absl::Status status = result.status();
                             if (absl::IsNotFound(status)) hubs_.Forget(hub_name, hub);
                             if (result.ok() && result->outcome == CreateOutcome::kExists) {
                               status = orchestration::AnswerExisting(
                                   answers, result->existing_status, response->instanceid());
                             }
                             reactor->Finish(ToGrpc(status));
                           });
}

SidecarService::Unary* SidecarService::GetInstance(Context* context,
                                                   const GetInstanceRequest* request,
                                                   GetInstanceResponse* response) {
  auto* reactor = new ReadCall(&unread_answers_);
  const absl::Status checked =
      orchestration::CheckInstanceId(request->instanceid(), options_.requests);
  if (!checked.ok()) {
    reactor->Finish(ToGrpc(checked));
    return reactor;
  }
  WithHub(context, reactor, [this, request, response, reactor](HubId hub) {
    const bool payloads = request->getinputsandoutputs();
    store_->ReadInstance(
        hub, request->instanceid(), payloads,
        [hub, response, reactor, payloads](absl::StatusOr<std::optional<InstanceRow>> row) {
          if (!row.ok()) return reactor->Finish(ToGrpc(row.status()));
          FillInstanceResponse(row->has_value() ? &**row : nullptr, payloads, *response);
          reactor->Answer(hub, *response);
        });
  });
  return reactor;
}

SidecarService::Unary* SidecarService::Wait(Context* context, const GetInstanceRequest* request,
                                            GetInstanceResponse* response,
                                            dispatch::DispatchThread::WaitFor wait_for) {
  std::shared_ptr<WaitCall> call =
      WaitCall::Create(store_, dispatch_, &unread_answers_, request, response);
  WaitCall* reactor = call.get();
  call->Hold(Follow(*context,
                    wait_for == dispatch::DispatchThread::WaitFor::kStart
                        ? "WaitForInstanceStart"
                        : "WaitForInstanceCompletion",
                    call));
  const absl::Status checked =
      orchestration::CheckInstanceId(request->instanceid(), options_.requests);
  if (!checked.ok()) {
    call->Refuse(checked);
    return reactor;
  }
  WithHub(context, reactor,
          [call = std::move(call), wait_for](HubId hub) { WaitCall::Begin(call, hub, wait_for); });
  return reactor;
}

SidecarService::Unary* SidecarService::WaitForInstanceStart(Context* context,
                                                            const GetInstanceRequest* request,
                                                            GetInstanceResponse* response) {
  return Wait(context, request, response, dispatch::DispatchThread::WaitFor::kStart);
}

SidecarService::Unary* SidecarService::WaitForInstanceCompletion(Context* context,
                                                                 const GetInstanceRequest* request,
                                                                 GetInstanceResponse* response) {
  return Wait(context, request, response, dispatch::DispatchThread::WaitFor::kCompletion);
}

SidecarService::Unary* SidecarService::Send(Context* context,
                                            absl::StatusOr<orchestration::ClientMessagePlan> plan) {
  Unary* reactor = new SimpleReactor();
  if (!plan.ok()) {
    reactor->Finish(ToGrpc(plan.status()));
    return reactor;
  }
  WithHub(context, reactor, [this, context, reactor, plan = *std::move(plan)](HubId hub) {
    dispatch_->SendMessage(
        ClientMessage{hub, plan.instance_id, plan.message, GoneOf(context)},
        [this, reactor, instance_id = plan.instance_id](absl::StatusOr<Delivery> delivery) {
          reactor->Finish(ToGrpc(
              delivery.ok() ? DeliveryStatus(*delivery, options_.missing_control_ok, instance_id)
                            : delivery.status()));
        });
  });
  return reactor;
}

SidecarService::Unary* SidecarService::RaiseEvent(Context* context,
                                                  const RaiseEventRequest* request,
                                                  RaiseEventResponse*) {
  if (IsEntityId(request->instanceid())) {
    return SendToEntity(context,
                        entity::BuildJsonSignal(*request, store_->Now(), options_.requests));
  }
  return Send(context, orchestration::BuildRaiseEvent(*request, store_->Now(), options_.requests));
}

SidecarService::Unary* SidecarService::SuspendInstance(Context* context,
                                                       const SuspendRequest* request,
                                                       SuspendResponse*) {
  return Send(context, orchestration::BuildSuspend(*request, store_->Now(), options_.requests));
}

SidecarService::Unary* SidecarService::ResumeInstance(Context* context,
                                                      const ResumeRequest* request,
                                                      ResumeResponse*) {
  return Send(context, orchestration::BuildResume(*request, store_->Now(), options_.requests));
}

SidecarService::Unary* SidecarService::TerminateInstance(Context* context,
                                                         const TerminateRequest* request,
                                                         TerminateResponse*) {
  Unary* reactor = new SimpleReactor();
  absl::StatusOr<Termination> termination =
      orchestration::BuildTerminate(*request, store_->Now(), options_.requests);
  if (!termination.ok()) {
    reactor->Finish(ToGrpc(termination.status()));
    return reactor;
  }
  Action action = ActionOf(*context, "TerminateInstance");
  WithHub(context, reactor,
          [this, context, reactor, action = std::move(action),
           termination = *std::move(termination)](HubId hub) {
            dispatch_->Terminate(
                ClientTermination{hub, termination, GoneOf(context)},
                [this, reactor, action,
                 instance_id = termination.instance_id](absl::StatusOr<Delivery> delivery) {
                  if (Ends(delivery)) {
                    actions_.Add(action, fmt::format("instance '{}'", instance_id));
                  }
                  reactor->Finish(ToGrpc(
                      delivery.ok()
                          ? DeliveryStatus(*delivery, options_.missing_terminate_ok, instance_id)
                          : delivery.status()));
                });
          });
  return reactor;
}

}  // namespace dt::rpc
