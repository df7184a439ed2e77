// A WaitForInstance... call: waits in the dispatcher, then reads the instance, unless the
// dispatcher knows its row, and waits on if the row read is not what it waits for (RULES.md 5.15).
// Freed at once when the caller leaves (RULES.md 5.17), and ended when the caller loses the right
// to wait.
#ifndef DT_SERVER_RPC_WAIT_CALL_H_
#define DT_SERVER_RPC_WAIT_CALL_H_

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/support/server_callback.h"
#include "proto/orchestrator_service.pb.h"
#include "server/dispatch/dispatch_thread.h"
#include "server/rpc/access_control.h"
#include "server/rpc/counted_call.h"
#include "server/rpc/unread_answers.h"
#include "storage/store.h"

namespace dt::rpc {

// The answer of GetInstance and of the waits: the state, or `exists` false with nothing else
// (5.12) where `row` is null.
void FillInstanceResponse(const InstanceRow* row, bool payloads, GetInstanceResponse& response);

// Threads: Begin and the dispatcher's answer come from any thread, OnCancel from gRPC, Revoke from
// the thread that reads the rules. The object keeps itself alive from Create to OnDone; Finish is
// called exactly once, by the answer.
class WaitCall final : public UnaryReactor, public RevocableCall {
 public:
  // `request` and `response` are the call's; the others must outlive it.
  static std::shared_ptr<WaitCall> Create(Store* store, dispatch::DispatchThread* dispatch,
                                          UnreadAnswers* answers, const GetInstanceRequest* request,
                                          GetInstanceResponse* response);
  // What the caller may wait by; null = as long as it likes. Before Begin.
  void Hold(std::unique_ptr<Permit> permit) { permit_ = std::move(permit); }
  static void Begin(const std::shared_ptr<WaitCall>& call, HubId hub,
                    dispatch::DispatchThread::WaitFor wait_for);
  void Refuse(const absl::Status& status);

  void Revoke(absl::Status refusal) override;

  void OnCancel() override;
  void OnDone() override;

 private:
  WaitCall(Store* store, dispatch::DispatchThread* dispatch, UnreadAnswers* answers,
           const GetInstanceRequest* request, GetInstanceResponse* response);
  // One wait in the dispatcher; `so_far` unless it is the first.
  static void Wait(const std::shared_ptr<WaitCall>& call,
                   std::optional<dispatch::WaitSoFar> so_far);
  void Answer(const std::shared_ptr<WaitCall>& self, const absl::StatusOr<dispatch::KnownRow>& row);
  void Read(const std::shared_ptr<WaitCall>& self);
  void TakeRow(const std::shared_ptr<WaitCall>& self, const InstanceRow* row);
  void Fill(const InstanceRow* row);
  // Takes the wait back; its answer ends the call with `why`, unless it was taken back before.
  void TakeBack(absl::Status why);
  // Why the wait was taken back, or OK.
  absl::Status TakenBack();

  Store* const store_;
  dispatch::DispatchThread* const dispatch_;
  UnreadAnswers* const answers_;
  const GetInstanceRequest* const request_;
  GetInstanceResponse* const response_;
  HubId hub_ = 0;
  dispatch::DispatchThread::WaitFor wait_for_ = dispatch::DispatchThread::WaitFor::kCompletion;
  std::chrono::steady_clock::time_point begun_at_;
  std::unique_ptr<Permit> permit_;
  UnreadAnswers::Charge charge_;

  absl::Mutex mutex_;
  absl::Status taken_back_ ABSL_GUARDED_BY(mutex_);                  // not OK = why
  std::optional<dispatch::WaitId> wait_id_ ABSL_GUARDED_BY(mutex_);  // of the latest wait
  std::shared_ptr<WaitCall> self_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_WAIT_CALL_H_
