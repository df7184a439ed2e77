#include "tests/support/fake_worker.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

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

}  // namespace dt::testing
