// A unary call whose answer may be large: GetInstance, QueryInstances, ListInstanceIds.
//
// Threads: Finish or Answer is called once, by any thread; the object deletes itself when gRPC is
// done with the call.
#ifndef DT_SERVER_RPC_READ_CALL_H_
#define DT_SERVER_RPC_READ_CALL_H_

#include "google/protobuf/message_lite.h"
#include "grpcpp/support/server_callback.h"
#include "server/rpc/counted_call.h"
#include "server/rpc/status.h"
#include "server/rpc/unread_answers.h"
#include "storage/store.h"

namespace dt::rpc {

class ReadCall final : public UnaryReactor {
 public:
  // `answers` must outlive the server.
  explicit ReadCall(UnreadAnswers* answers) : answers_(answers) {}

  // Ends the call with what its response says now, unless there is no room for it.
  void Answer(HubId hub, const google::protobuf::MessageLite& response) {
    Finish(ToGrpc(answers_->Count(hub, static_cast<int64_t>(response.ByteSizeLong()), charge_)));
  }
  void OnDone() override { delete this; }

 private:
  UnreadAnswers* const answers_;
  UnreadAnswers::Charge charge_;
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_READ_CALL_H_
