#include "tests/bench/answer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "tests/bench/entity.h"
#include "tests/bench/payload.h"
#include "tests/bench/workload.h"

namespace dt::bench {

OrchestratorAction& Answer::Add(int64_t id) {
  OrchestratorAction* action = response_.add_actions();
  action->set_id(static_cast<int32_t>(id));
  return *action;
}

void Answer::ScheduleActivity(uint64_t id, uint64_t value, size_t payload_bytes) {
  ScheduleTaskAction* task = Add(static_cast<int64_t>(id)).mutable_scheduletask();
  task->set_name(kActivityName.data(), kActivityName.size());
  task->mutable_input()->set_value(EncodeValue(value, payload_bytes));
}

void Answer::CreateSubOrchestration(uint64_t id, absl::string_view orchestration,
                                    std::string input) {
  CreateSubOrchestrationAction* child =
      Add(static_cast<int64_t>(id)).mutable_createsuborchestration();
  child->set_instanceid(absl::StrCat(response_.instanceid(), ":", id));
  child->set_name(orchestration.data(), orchestration.size());
  child->mutable_input()->set_value(std::move(input));
}

void Answer::CreateTimer(uint64_t id, int64_t due_us) {
  *Add(static_cast<int64_t>(id)).mutable_createtimer()->mutable_fireat() =
      google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(due_us);
}

void Answer::SignalEntity(uint64_t id, std::string entity, uint64_t value, size_t payload_bytes) {
  EntityOperationSignaledEvent* signal =
      Add(static_cast<int64_t>(id)).mutable_sendentitymessage()->mutable_entityoperationsignaled();
  signal->set_requestid(RequestId(response_.instanceid(), id));
  signal->set_operation(kOperationName.data(), kOperationName.size());
  signal->mutable_input()->set_value(EncodeValue(value, payload_bytes));
  signal->mutable_targetinstanceid()->set_value(std::move(entity));
}

void Answer::CallEntity(uint64_t id, std::string entity, uint64_t value, size_t payload_bytes) {
  EntityOperationCalledEvent* call =
      Add(static_cast<int64_t>(id)).mutable_sendentitymessage()->mutable_entityoperationcalled();
  call->set_requestid(RequestId(response_.instanceid(), id));
  call->set_operation(kOperationName.data(), kOperationName.size());
  call->mutable_input()->set_value(EncodeValue(value, payload_bytes));
  call->mutable_targetinstanceid()->set_value(std::move(entity));
}

void Answer::LockEntities(uint64_t id, const std::vector<std::string>& entities) {
  EntityLockRequestedEvent* request =
      Add(static_cast<int64_t>(id)).mutable_sendentitymessage()->mutable_entitylockrequested();
  request->set_criticalsectionid(RequestId(response_.instanceid(), id));
  for (const std::string& entity : entities) request->add_lockset(entity);
  request->mutable_parentinstanceid()->set_value(response_.instanceid());
}

void Answer::UnlockEntity(uint64_t id, std::string entity, uint64_t lock) {
  EntityUnlockSentEvent* unlock =
      Add(static_cast<int64_t>(id)).mutable_sendentitymessage()->mutable_entityunlocksent();
  unlock->set_criticalsectionid(RequestId(response_.instanceid(), lock));
  unlock->mutable_parentinstanceid()->set_value(response_.instanceid());
  unlock->mutable_targetinstanceid()->set_value(std::move(entity));
}

void Answer::Complete(uint64_t id, uint64_t value, size_t payload_bytes) {
  CompleteOrchestrationAction* complete =
      Add(static_cast<int64_t>(id)).mutable_completeorchestration();
  complete->set_orchestrationstatus(ORCHESTRATION_STATUS_COMPLETED);
  complete->mutable_result()->set_value(EncodeValue(value, payload_bytes));
}

void Answer::ContinueAsNew(uint64_t id, std::string input) {
  CompleteOrchestrationAction* complete =
      Add(static_cast<int64_t>(id)).mutable_completeorchestration();
  complete->set_orchestrationstatus(ORCHESTRATION_STATUS_CONTINUED_AS_NEW);
  complete->mutable_result()->set_value(std::move(input));
}

void Answer::Fail(const absl::Status& status) {
  CompleteOrchestrationAction* complete = Add(-1).mutable_completeorchestration();
  complete->set_orchestrationstatus(ORCHESTRATION_STATUS_FAILED);
  complete->mutable_failuredetails()->set_errortype("DtbenchError");
  complete->mutable_failuredetails()->set_errormessage(std::string(status.message()));
}

const CompleteOrchestrationAction* FindCompletion(const OrchestratorResponse& response) {
  if (response.actions_size() == 0) return nullptr;
  // Complete, ContinueAsNew and Fail are the last thing that a workload decides.
  const OrchestratorAction& last = response.actions(response.actions_size() - 1);
  return last.has_completeorchestration() ? &last.completeorchestration() : nullptr;
}

}  // namespace dt::bench
