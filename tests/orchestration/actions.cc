#include "tests/orchestration/actions.h"

namespace dt::orchestration {

google::protobuf::Timestamp Seconds(int64_t seconds, int32_t nanos) {
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(nanos);
  return timestamp;
}

OrchestratorAction Task(int32_t id, const std::string& name, const Input& input) {
  OrchestratorAction action;
  action.set_id(id);
  action.mutable_scheduletask()->set_name(name);
  if (input) action.mutable_scheduletask()->mutable_input()->set_value(*input);
  return action;
}

OrchestratorAction Timer(int32_t id, const google::protobuf::Timestamp& fire_at) {
  OrchestratorAction action;
  action.set_id(id);
  *action.mutable_createtimer()->mutable_fireat() = fire_at;
  return action;
}

OrchestratorAction Timer(int32_t id, int64_t fire_at_seconds) {
  return Timer(id, Seconds(fire_at_seconds));
}

OrchestratorAction Child(int32_t id, const std::string& instance_id, const std::string& name,
                         const Input& input) {
  OrchestratorAction action;
  action.set_id(id);
  action.mutable_createsuborchestration()->set_instanceid(instance_id);
  action.mutable_createsuborchestration()->set_name(name);
  if (input) action.mutable_createsuborchestration()->mutable_input()->set_value(*input);
  return action;
}

OrchestratorAction Send(int32_t id, const std::string& target, const std::string& name,
                        const Input& input) {
  OrchestratorAction action;
  action.set_id(id);
  action.mutable_sendevent()->mutable_instance()->set_instanceid(target);
  action.mutable_sendevent()->set_name(name);
  if (input) action.mutable_sendevent()->mutable_data()->set_value(*input);
  return action;
}

OrchestratorAction TerminateOther(int32_t id, const std::string& target, const Input& reason,
                                  bool recurse) {
  OrchestratorAction action;
  action.set_id(id);
  action.mutable_terminateorchestration()->set_instanceid(target);
  action.mutable_terminateorchestration()->set_recurse(recurse);
  if (reason) action.mutable_terminateorchestration()->mutable_reason()->set_value(*reason);
  return action;
}

OrchestratorAction Complete(int32_t id, OrchestrationStatus status, const Input& result) {
  OrchestratorAction action;
  action.set_id(id);
  action.mutable_completeorchestration()->set_orchestrationstatus(status);
  if (result) action.mutable_completeorchestration()->mutable_result()->set_value(*result);
  return action;
}

OrchestratorAction Completed(const Input& result) {
  return Complete(-1, ORCHESTRATION_STATUS_COMPLETED, result);
}

OrchestratorAction Failed(const std::string& error_type, const std::string& message) {
  OrchestratorAction action = Complete(-1, ORCHESTRATION_STATUS_FAILED);
  auto* details = action.mutable_completeorchestration()->mutable_failuredetails();
  details->set_errortype(error_type);
  details->set_errormessage(message);
  return action;
}

OrchestratorAction ContinueAsNew(const Input& input,
                                 const std::vector<std::pair<std::string, std::string>>& carry) {
  OrchestratorAction action = Complete(9, ORCHESTRATION_STATUS_CONTINUED_AS_NEW, input);
  for (const auto& [name, value] : carry) {
    HistoryEvent* event = action.mutable_completeorchestration()->add_carryoverevents();
    event->set_eventid(77);  // workers leave what they received or put any number
    *event->mutable_timestamp() = Seconds(1);
    event->mutable_eventraised()->set_name(name);
    event->mutable_eventraised()->mutable_input()->set_value(value);
  }
  return action;
}

}  // namespace dt::orchestration
