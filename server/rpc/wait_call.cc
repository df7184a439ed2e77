#include "server/rpc/wait_call.h"

#include <algorithm>
#include <utility>

#include "server/orchestration/requests.h"
#include "server/rpc/status.h"

namespace dt::rpc {

void FillInstanceResponse(const InstanceRow* row, bool payloads, GetInstanceResponse& response) {
  response.set_exists(row != nullptr);
  if (row != nullptr) {
    *response.mutable_orchestrationstate() = orchestration::RenderState(*row, payloads);
  }
}

std::shared_ptr<WaitCall> WaitCall::Create(Store* store, dispatch::DispatchThread* dispatch,
                                           UnreadAnswers* answers,
                                           const GetInstanceRequest* request,
                                           GetInstanceResponse* response) {
  std::shared_ptr<WaitCall> call(new WaitCall(store, dispatch, answers, request, response));
  absl::MutexLock lock(&call->mutex_);
  call->self_ = call;
  return call;
}

WaitCall::WaitCall(Store* store, dispatch::DispatchThread* dispatch, UnreadAnswers* answers,
                   const GetInstanceRequest* request, GetInstanceResponse* response)
    : store_(store),
      dispatch_(dispatch),
      answers_(answers),
      request_(request),
      response_(response) {}

void WaitCall::Begin(const std::shared_ptr<WaitCall>& call, HubId hub,
                     dispatch::DispatchThread::WaitFor wait_for) {
  call->hub_ = hub;
  call->wait_for_ = wait_for;
  call->begun_at_ = std::chrono::steady_clock::now();
  if (call->permit_ != nullptr) {
    const absl::Status permitted = call->permit_->Check();
    if (!permitted.ok()) return call->Refuse(permitted);
  }
  Wait(call, std::nullopt);
}

void WaitCall::Wait(const std::shared_ptr<WaitCall>& call,
                    std::optional<dispatch::WaitSoFar> so_far) {
  const dispatch::WaitId id = call->dispatch_->Wait(
      call->hub_, call->request_->instanceid(), call->wait_for_,
      [call](absl::StatusOr<dispatch::KnownRow> row) { call->Answer(call, row); }, so_far);
  bool taken_back = false;
  {
    absl::MutexLock lock(&call->mutex_);
    // The answer may have come already, and with it a later wait.
    call->wait_id_ = std::max(call->wait_id_, std::optional<dispatch::WaitId>(id));
    taken_back = !call->taken_back_.ok();
  }
  if (taken_back) call->dispatch_->CancelWait(id);
}

void WaitCall::Answer(const std::shared_ptr<WaitCall>& self,
                      const absl::StatusOr<dispatch::KnownRow>& row) {
  const absl::Status taken_back = TakenBack();
  if (!taken_back.ok()) return Finish(ToGrpc(taken_back));
  // The longest wait has passed without such an instance (5.17).
  if (absl::IsNotFound(row.status())) return Fill(nullptr);
  if (!row.ok()) return Finish(ToGrpc(row.status()));
  if (*row == nullptr) return Read(self);
  Fill(row->get());
}

void WaitCall::Read(const std::shared_ptr<WaitCall>& self) {
  store_->ReadInstance(hub_, request_->instanceid(), request_->getinputsandoutputs(),
                       [self](absl::StatusOr<std::optional<InstanceRow>> row) {
                         if (!row.ok()) return self->Finish(ToGrpc(row.status()));
                         self->TakeRow(self, row->has_value() ? &**row : nullptr);
                       });
}

void WaitCall::TakeRow(const std::shared_ptr<WaitCall>& self, const InstanceRow* row) {
  using dispatch::DispatchThread;
  if (row != nullptr && DispatchThread::Satisfied(wait_for_, row->status)) return Fill(row);
  const absl::Status taken_back = TakenBack();  // while it was read
  if (!taken_back.ok()) return Finish(ToGrpc(taken_back));
  Wait(self, dispatch::WaitSoFar{absl::FromChrono(std::chrono::steady_clock::now() - begun_at_),
                                 row != nullptr});
}

void WaitCall::Fill(const InstanceRow* row) {
  const absl::Status taken_back = TakenBack();  // while it was read
  if (!taken_back.ok()) return Finish(ToGrpc(taken_back));
  FillInstanceResponse(row, request_->getinputsandoutputs(), *response_);
  Finish(ToGrpc(answers_->Count(hub_, static_cast<int64_t>(response_->ByteSizeLong()), charge_)));
}

void WaitCall::Refuse(const absl::Status& status) { Finish(ToGrpc(status)); }

void WaitCall::Revoke(absl::Status refusal) { TakeBack(std::move(refusal)); }

void WaitCall::OnCancel() { TakeBack(absl::CancelledError("the caller is gone")); }

void WaitCall::TakeBack(absl::Status why) {
  std::optional<dispatch::WaitId> id;
  {
    absl::MutexLock lock(&mutex_);
    if (taken_back_.ok()) taken_back_ = std::move(why);
    id = wait_id_;
  }
  if (id.has_value()) dispatch_->CancelWait(*id);
}

absl::Status WaitCall::TakenBack() {
  absl::MutexLock lock(&mutex_);
  return taken_back_;
}

void WaitCall::OnDone() {
  std::shared_ptr<WaitCall> last;
  absl::MutexLock lock(&mutex_);
  last.swap(self_);
}

}  // namespace dt::rpc
