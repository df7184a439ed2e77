#include "tests/support/fake_worker.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_format.h"
#include "server/orchestration/entity_messages.h"
#include "server/orchestration/timestamps.h"

namespace dt::testing {
namespace {

void Check(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "fake worker: %s\n", what);
  std::abort();
}

}  // namespace

void FakeSink::Write(orchestration::Frame frame) {
  std::string bytes;
  for (const SharedBytes& slice : frame) bytes += *slice;
  frame_bytes_max_ = std::max(frame_bytes_max_, bytes.size());
  WorkItem item;
  Check(item.ParseFromString(bytes), "a frame is no WorkItem");
  Check(finished_.ok(), "a write after the end of the stream");
  if (item.has_healthping()) {
    ++pings_;
  } else {
    items_.push_back(std::move(item));
  }
}

void FakeSink::Finish(absl::Status status) {
  Check(!status.ok(), "a stream was ended with OK");
  finished_ = std::move(status);
}

int64_t FakeSink::UnreadBytes() const {
  int64_t bytes = 0;
  for (const WorkItem& item : items_) bytes += static_cast<int64_t>(item.ByteSizeLong());
  return bytes;
}

std::optional<WorkItem> FakeSink::Take() {
  if (items_.empty()) return std::nullopt;
  WorkItem item = std::move(items_.front());
  items_.pop_front();
  return item;
}

Replay::Replay(const OrchestratorRequest& request) {
  for (const HistoryEvent& event : request.pastevents()) Add(event);
  for (const HistoryEvent& event : request.newevents()) Add(event);
}

void Replay::Add(const HistoryEvent& event) {
  switch (event.eventType_case()) {
    case HistoryEvent::kExecutionStarted:
      started_ = event.executionstarted();
      break;
    case HistoryEvent::kTaskCompleted:
      Check(!results_.count(event.taskcompleted().taskscheduledid()), "a second result of a task");
      results_[event.taskcompleted().taskscheduledid()] = event.taskcompleted().result().value();
      break;
    case HistoryEvent::kTaskFailed:
      Check(!results_.count(event.taskfailed().taskscheduledid()), "a second result of a task");
      results_[event.taskfailed().taskscheduledid()] =
          "!" + event.taskfailed().failuredetails().errortype();
      break;
    case HistoryEvent::kSubOrchestrationInstanceCompleted: {
      const auto& completed = event.suborchestrationinstancecompleted();
      Check(!results_.count(completed.taskscheduledid()), "a second result of a child");
      results_[completed.taskscheduledid()] = completed.result().value();
      break;
    }
    case HistoryEvent::kSubOrchestrationInstanceFailed: {
      const auto& failed = event.suborchestrationinstancefailed();
      Check(!results_.count(failed.taskscheduledid()), "a second result of a child");
      results_[failed.taskscheduledid()] = "!" + failed.failuredetails().errortype();
      break;
    }
    case HistoryEvent::kTimerFired:
      Check(!fired_[event.timerfired().timerid()], "a timer that fired twice");
      fired_[event.timerfired().timerid()] = true;
      break;
    case HistoryEvent::kEventRaised:
      events_.emplace(event.eventraised().name(), event.eventraised().input().value());
      break;
    case HistoryEvent::kExecutionTerminated:
      terminated_ = event.executionterminated().input().value();
      break;
    case HistoryEvent::kExecutionSuspended:
      suspended_ = true;
      break;
    case HistoryEvent::kExecutionResumed:
      suspended_ = false;
      break;
    case HistoryEvent::kEntityOperationCompleted:
    case HistoryEvent::kEntityOperationFailed:
    case HistoryEvent::kEntityLockGranted:
      AddEntityAnswer(event);
      break;
    case HistoryEvent::kEntityOperationSignaled:
    case HistoryEvent::kEntityOperationCalled:
    case HistoryEvent::kEntityLockRequested:
    case HistoryEvent::kEntityUnlockSent:
    case HistoryEvent::kTaskScheduled:
    case HistoryEvent::kTimerCreated:
    case HistoryEvent::kSubOrchestrationInstanceCreated:
    case HistoryEvent::kEventSent:
      scheduled_[event.eventid()] = true;
      break;
    default:
      break;
  }
}

void Replay::AddEntityAnswer(const HistoryEvent& event) {
  if (event.has_entitylockgranted()) {
    const std::string& section = event.entitylockgranted().criticalsectionid();
    Check(!std::exchange(granted_[section], true), "a lock that is granted twice");
    return;
  }
  const bool failed = event.has_entityoperationfailed();
  const std::string& id = failed ? event.entityoperationfailed().requestid()
                                 : event.entityoperationcompleted().requestid();
  Check(!entity_results_.count(id), "a second answer to a call of an entity");
  entity_results_[id] = failed ? "!" + event.entityoperationfailed().failuredetails().errortype()
                               : event.entityoperationcompleted().output().value();
}

std::optional<std::string> Replay::EntityResult(const std::string& request_id) const {
  auto found = entity_results_.find(request_id);
  if (found == entity_results_.end()) return std::nullopt;
  return found->second;
}

bool Replay::Granted(const std::string& section) const { return granted_.count(section) > 0; }

std::optional<std::string> Replay::Result(int32_t id) const {
  auto found = results_.find(id);
  if (found == results_.end()) return std::nullopt;
  return found->second;
}

bool Replay::Fired(int32_t timer_id) const {
  auto found = fired_.find(timer_id);
  return found != fired_.end() && found->second;
}

std::vector<std::string> Replay::Events(const std::string& name) const {
  std::vector<std::string> inputs;
  const auto [begin, end] = events_.equal_range(name);
  for (auto it = begin; it != end; ++it) inputs.push_back(it->second);
  return inputs;
}

bool Replay::Scheduled(int32_t id) const { return scheduled_.count(id) > 0; }

OrchestratorAction* Actions::Add(int32_t id) {
  OrchestratorAction* action = response_.add_actions();
  action->set_id(id);
  return action;
}

std::optional<std::string> Actions::Task(int32_t id, const std::string& name,
                                         const std::string& input, const std::string& version) {
  if (!replay_.Scheduled(id)) {
    ScheduleTaskAction* task = Add(id)->mutable_scheduletask();
    task->set_name(name);
    task->mutable_input()->set_value(input);
    if (!version.empty()) task->mutable_version()->set_value(version);
  }
  return replay_.Result(id);
}

std::optional<std::string> Actions::Child(int32_t id, const std::string& instance_id,
                                          const std::string& name, const std::string& input) {
  if (!replay_.Scheduled(id)) {
    CreateSubOrchestrationAction* child = Add(id)->mutable_createsuborchestration();
    child->set_instanceid(instance_id);
    child->set_name(name);
    child->mutable_input()->set_value(input);
  }
  return replay_.Result(id);
}

bool Actions::Timer(int32_t id, absl::Time fire_at) {
  if (!replay_.Scheduled(id)) {
    auto* timer = Add(id)->mutable_createtimer()->mutable_fireat();
    const int64_t micros = absl::ToUnixMicros(fire_at);
    timer->set_seconds(micros / 1'000'000);
    timer->set_nanos(static_cast<int32_t>(micros % 1'000'000) * 1000);
  }
  return replay_.Fired(id);
}

void Actions::Send(int32_t id, const std::string& instance_id, const std::string& name,
                   const std::string& input) {
  if (replay_.Scheduled(id)) return;
  SendEventAction* send = Add(id)->mutable_sendevent();
  send->mutable_instance()->set_instanceid(instance_id);
  send->set_name(name);
  send->mutable_data()->set_value(input);
}

std::string Actions::RequestId(int32_t id) const {
  const std::string& execution = replay_.started().orchestrationinstance().executionid().value();
  Check(execution.size() == 32, "an execution id that is not as those of the tests");
  return orchestration::ToGuid(absl::StrFormat("%08x%s", id, execution.substr(8)));
}

std::optional<std::string> Actions::Call(int32_t id, const std::string& entity,
                                         const std::string& operation, const std::string& input) {
  const std::string request_id = RequestId(id);
  if (!replay_.Scheduled(id)) {
    auto* call = Add(id)->mutable_sendentitymessage()->mutable_entityoperationcalled();
    call->set_requestid(request_id);
    call->set_operation(operation);
    call->mutable_input()->set_value(input);
    call->mutable_targetinstanceid()->set_value(entity);
  }
  return replay_.EntityResult(request_id);
}

void Actions::Signal(int32_t id, const std::string& entity, const std::string& operation,
                     const std::string& input, std::optional<absl::Time> at) {
  if (replay_.Scheduled(id)) return;
  auto* signal = Add(id)->mutable_sendentitymessage()->mutable_entityoperationsignaled();
  signal->set_requestid(RequestId(id));
  signal->set_operation(operation);
  signal->mutable_input()->set_value(input);
  signal->mutable_targetinstanceid()->set_value(entity);
  if (at.has_value()) *signal->mutable_scheduledtime() = orchestration::ToTimestamp(*at);
}

bool Actions::Lock(int32_t id, const std::vector<std::string>& entities) {
  const std::string section = RequestId(id);
  if (!replay_.Scheduled(id)) {
    auto* request = Add(id)->mutable_sendentitymessage()->mutable_entitylockrequested();
    request->set_criticalsectionid(section);
    for (const std::string& entity : entities) request->add_lockset(entity);
  }
  return replay_.Granted(section);
}

void Actions::Unlock(int32_t id, int32_t lock_id, const std::string& entity) {
  if (replay_.Scheduled(id)) return;
  auto* unlock = Add(id)->mutable_sendentitymessage()->mutable_entityunlocksent();
  unlock->set_criticalsectionid(RequestId(lock_id));
  unlock->mutable_targetinstanceid()->set_value(entity);
}

void Actions::Complete(const std::string& result, OrchestrationStatus status) {
  CompleteOrchestrationAction* complete = Add(-1)->mutable_completeorchestration();
  complete->set_orchestrationstatus(status);
  complete->mutable_result()->set_value(result);
}

void Actions::ContinueAsNew(const std::string& input, const std::string& version,
                            const std::vector<std::string>& carried_events) {
  CompleteOrchestrationAction* complete = Add(-1)->mutable_completeorchestration();
  complete->set_orchestrationstatus(ORCHESTRATION_STATUS_CONTINUED_AS_NEW);
  complete->mutable_result()->set_value(input);
  if (!version.empty()) complete->mutable_newversion()->set_value(version);
  for (const std::string& name : carried_events) {
    HistoryEvent* event = complete->add_carryoverevents();
    event->set_eventid(-1);
    event->mutable_timestamp()->set_seconds(1);
    event->mutable_eventraised()->set_name(name);
  }
}

Operation::Operation(const EntityRequest& batch, const HistoryEvent& event, std::string& state,
                     EntityBatchResult& result)
    : batch_(batch), state_(state), result_(result), is_call_(event.has_entityoperationcalled()) {
  Check(is_call_ || event.has_entityoperationsignaled(), "what is in a batch is no operation");
  name_ = is_call_ ? event.entityoperationcalled().operation()
                   : event.entityoperationsignaled().operation();
  input_ = is_call_ ? event.entityoperationcalled().input().value()
                    : event.entityoperationsignaled().input().value();
}

void Operation::Signal(const std::string& entity, const std::string& operation,
                       const std::string& input, std::optional<absl::Time> at) {
  SendSignalAction* signal = result_.add_actions()->mutable_sendsignal();
  signal->set_instanceid(entity);
  signal->set_name(operation);
  signal->mutable_input()->set_value(input);
  if (at.has_value()) *signal->mutable_scheduledtime() = orchestration::ToTimestamp(*at);
}

void Operation::Start(const std::string& instance_id, const std::string& name,
                      const std::string& input) {
  auto* start = result_.add_actions()->mutable_startneworchestration();
  start->set_instanceid(instance_id);
  start->set_name(name);
  start->mutable_input()->set_value(input);
}

OrchestratorResponse RunTurn(const Functions& functions, const WorkItem& item) {
  const OrchestratorRequest& request = item.orchestratorrequest();
  OrchestratorResponse response;
  response.set_instanceid(request.instanceid());
  response.set_completiontoken(item.completiontoken());
  const Replay replay(request);
  Actions actions(replay, response);
  if (replay.terminated().has_value()) {
    actions.Complete(*replay.terminated(), ORCHESTRATION_STATUS_TERMINATED);
    return response;
  }
  if (replay.suspended()) return response;
  auto found = functions.orchestrators.find(replay.started().name());
  Check(found != functions.orchestrators.end(), "an orchestrator is not registered");
  found->second(replay, actions);
  return response;
}

ActivityResponse RunActivity(const Functions& functions, const WorkItem& item) {
  const ActivityRequest& request = item.activityrequest();
  ActivityResponse response;
  response.set_instanceid(request.orchestrationinstance().instanceid());
  response.set_taskid(request.taskid());
  response.set_completiontoken(item.completiontoken());
  auto found = functions.activities.find(request.name());
  Check(found != functions.activities.end(), "an activity is not registered");
  response.mutable_result()->set_value(found->second(request));
  return response;
}

EntityBatchResult RunBatch(const Functions& functions, const WorkItem& item) {
  const EntityRequest& request = item.entityrequestv2();
  EntityBatchResult result;
  result.set_completiontoken(item.completiontoken());
  int count = request.operationrequests_size();
  Check(count > 0, "a batch without operations");
  if (functions.operations_run != nullptr) count = functions.operations_run(count);
  if (count == 0) {
    result.mutable_failuredetails()->set_errortype("BatchFailed");
    return result;
  }
  const std::string name(orchestration::EntityNameOf(request.instanceid()));
  auto found = functions.entities.find(name);
  Check(found != functions.entities.end(), "an entity is not registered");
  std::string state = request.entitystate().value();
  for (int i = 0; i < count; ++i) {
    Operation operation(request, request.operationrequests(i), state, result);
    const std::string output = found->second(operation);
    OperationResult& answer = *result.add_results();
    if (operation.failure().empty()) {
      answer.mutable_success()->mutable_result()->set_value(output);
    } else {
      answer.mutable_failure()->mutable_failuredetails()->set_errortype(operation.failure());
    }
  }
  if (!state.empty()) result.mutable_entitystate()->set_value(state);
  return result;
}

}  // namespace dt::testing
