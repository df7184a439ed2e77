#include "tests/bench/workload.h"

#include <charconv>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "fmt/format.h"

namespace dt::bench {
namespace {

constexpr size_t kDigits = 20;                  // of the largest 64 bit number
constexpr uint64_t kActivitiesMax = 1'000'000;  // more is a broken input

// One step of splitmix64: every bit of the result depends on every bit of the input.
uint64_t Mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

uint64_t FanoutInput(uint64_t value, uint64_t index) { return Mix(value + index); }

// A JSON string of `size` bytes (at least 22) that starts with the number.
std::string EncodeValue(uint64_t value, size_t size) {
  std::string text = fmt::format("\"{:020}", value);
  if (size > text.size() + 1) text.append(size - text.size() - 1, 'x');
  text.push_back('"');
  return text;
}

bool DecodeValue(absl::string_view text, uint64_t& value) {
  if (text.size() < kDigits + 2 || text.front() != '"' || text.back() != '"') return false;
  const char* begin = text.data() + 1;
  const auto result = std::from_chars(begin, begin + kDigits, value);
  return result.ec == std::errc() && result.ptr == begin + kDigits &&
         text.find_first_not_of('x', 1 + kDigits) == text.size() - 1;
}

// An orchestration's input is "COUNT:" before the value, inside the quotes.
struct Input {
  uint64_t activities = 0;
  uint64_t value = 0;
  size_t payload_bytes = 0;
};

bool DecodeInput(absl::string_view text, Input& input) {
  const size_t colon = text.find(':');
  if (colon == absl::string_view::npos || text.front() != '"') return false;
  const auto result = std::from_chars(text.data() + 1, text.data() + colon, input.activities);
  if (result.ec != std::errc() || result.ptr != text.data() + colon) return false;
  const std::string value = absl::StrCat("\"", text.substr(colon + 1));
  input.payload_bytes = value.size();
  return input.activities > 0 && input.activities <= kActivitiesMax &&
         DecodeValue(value, input.value);
}

// What the events of one request say about the orchestration.
struct Replay {
  bool started = false;
  absl::string_view name;  // points into the request
  Input input;
  uint64_t scheduled = 0;
  uint64_t completed = 0;
  std::vector<bool> seen;   // by task id: has a result
  uint64_t last_value = 0;  // of the newest result
  uint64_t sum = 0;
};

absl::Status Broken(const OrchestratorRequest& request, absl::string_view what) {
  return absl::DataLossError(absl::StrCat("turn of ", request.instanceid(), ": ", what, " (",
                                          request.pastevents_size(), " past and ",
                                          request.newevents_size(), " new events)"));
}

absl::Status ApplyResult(const OrchestratorRequest& request, const TaskCompletedEvent& event,
                         Replay& replay) {
  const auto id = static_cast<uint64_t>(event.taskscheduledid());
  if (event.taskscheduledid() < 0 || id >= replay.scheduled) {
    return Broken(request, absl::StrCat("result of task ", event.taskscheduledid(),
                                        ", which was not scheduled"));
  }
  if (replay.seen[id]) return Broken(request, absl::StrCat("second result of task ", id));
  replay.seen[id] = true;
  ++replay.completed;
  if (!event.has_result() || !DecodeValue(event.result().value(), replay.last_value)) {
    return Broken(request,
                  absl::StrCat("task ", id, " has the result '", event.result().value(), "'"));
  }
  replay.sum += replay.last_value;
  return absl::OkStatus();
}

absl::Status Apply(const OrchestratorRequest& request, const HistoryEvent& event, Replay& replay) {
  switch (event.eventType_case()) {
    case HistoryEvent::kExecutionStarted:
      if (replay.started) return Broken(request, "second ExecutionStarted");
      replay.started = true;
      replay.name = event.executionstarted().name();
      if (!DecodeInput(event.executionstarted().input().value(), replay.input)) {
        return Broken(request,
                      absl::StrCat("input is '", event.executionstarted().input().value(), "'"));
      }
      replay.seen.resize(replay.input.activities);
      return absl::OkStatus();
    case HistoryEvent::kTaskScheduled:
      if (!replay.started) return Broken(request, "TaskScheduled before ExecutionStarted");
      if (event.eventid() != static_cast<int64_t>(replay.scheduled)) {
        return Broken(request, absl::StrCat("TaskScheduled ", event.eventid(), " in the place of ",
                                            replay.scheduled));
      }
      if (replay.scheduled == replay.input.activities)
        return Broken(request, "too many TaskScheduled");
      ++replay.scheduled;
      return absl::OkStatus();
    case HistoryEvent::kTaskCompleted:
      return ApplyResult(request, event.taskcompleted(), replay);
    case HistoryEvent::kTaskFailed:
      return Broken(request,
                    absl::StrCat("task ", event.taskfailed().taskscheduledid(),
                                 " failed: ", event.taskfailed().failuredetails().errormessage()));
    case HistoryEvent::kOrchestratorStarted:
    case HistoryEvent::kOrchestratorCompleted:
      return absl::OkStatus();
    default:
      return Broken(request, absl::StrCat("unexpected event type ", event.eventType_case()));
  }
}

absl::Status ReplayEvents(const OrchestratorRequest& request, Replay& replay) {
  if (request.requireshistorystreaming()) {
    return Broken(request, "history streaming was asked for, but this worker did not announce it");
  }
  for (const HistoryEvent& event : request.pastevents()) {
    if (absl::Status status = Apply(request, event, replay); !status.ok()) return status;
  }
  for (const HistoryEvent& event : request.newevents()) {
    if (absl::Status status = Apply(request, event, replay); !status.ok()) return status;
  }
  if (!replay.started) return Broken(request, "no ExecutionStarted");
  return absl::OkStatus();
}

void Schedule(uint64_t id, uint64_t value, size_t payload_bytes, OrchestratorResponse& response) {
  OrchestratorAction* action = response.add_actions();
  action->set_id(static_cast<int32_t>(id));
  ScheduleTaskAction* task = action->mutable_scheduletask();
  task->set_name(kActivityName.data(), kActivityName.size());
  task->mutable_input()->set_value(EncodeValue(value, payload_bytes));
}

void Complete(const Replay& replay, uint64_t value, OrchestratorResponse& response) {
  OrchestratorAction* action = response.add_actions();
  action->set_id(static_cast<int32_t>(replay.scheduled));
  CompleteOrchestrationAction* complete = action->mutable_completeorchestration();
  complete->set_orchestrationstatus(ORCHESTRATION_STATUS_COMPLETED);
  complete->mutable_result()->set_value(EncodeValue(value, replay.input.payload_bytes));
}

void Fail(const absl::Status& status, OrchestratorResponse& response) {
  OrchestratorAction* action = response.add_actions();
  action->set_id(-1);
  CompleteOrchestrationAction* complete = action->mutable_completeorchestration();
  complete->set_orchestrationstatus(ORCHESTRATION_STATUS_FAILED);
  complete->mutable_failuredetails()->set_errortype("DtbenchError");
  complete->mutable_failuredetails()->set_errormessage(std::string(status.message()));
}

}  // namespace

absl::string_view WorkloadName(const Workload& workload) {
  return workload.kind == WorkloadKind::kChain ? kChainName : kFanoutName;
}

std::string OrchestrationInput(const Workload& workload, uint64_t number) {
  const std::string value = EncodeValue(Mix(number), workload.payload_bytes);
  return absl::StrCat("\"", workload.activities, ":", value.substr(1));
}

std::string ExpectedOutput(const Workload& workload, uint64_t number) {
  const uint64_t input = Mix(number);
  uint64_t output = 0;
  if (workload.kind == WorkloadKind::kChain) {
    output = input;
    for (int i = 0; i < workload.activities; ++i) output = Mix(output);
  } else {
    for (int i = 0; i < workload.activities; ++i) output += Mix(FanoutInput(input, i));
  }
  return EncodeValue(output, workload.payload_bytes);
}

absl::Status RunTurn(const OrchestratorRequest& request, OrchestratorResponse& response) {
  response.Clear();
  response.set_instanceid(request.instanceid());
  Replay replay;
  if (absl::Status status = ReplayEvents(request, replay); !status.ok()) {
    Fail(status, response);
    return status;
  }
  const Input& input = replay.input;
  if (replay.name == kChainName) {
    const uint64_t value = replay.completed == 0 ? input.value : replay.last_value;
    if (replay.completed == input.activities) {
      Complete(replay, value, response);
    } else if (replay.scheduled == replay.completed) {
      Schedule(replay.scheduled, value, input.payload_bytes, response);
    }
    return absl::OkStatus();
  }
  if (replay.name == kFanoutName) {
    if (replay.completed == input.activities) {
      Complete(replay, replay.sum, response);
    } else if (replay.scheduled == 0) {
      for (uint64_t i = 0; i < input.activities; ++i) {
        Schedule(i, FanoutInput(input.value, i), input.payload_bytes, response);
      }
    }
    return absl::OkStatus();
  }
  const absl::Status status =
      Broken(request, absl::StrCat("orchestration of the name '", replay.name, "'"));
  Fail(status, response);
  return status;
}

absl::Status RunActivity(const ActivityRequest& request, ActivityResponse& response) {
  response.Clear();
  response.set_instanceid(request.orchestrationinstance().instanceid());
  response.set_taskid(request.taskid());
  uint64_t value = 0;
  if (request.name() == kActivityName && DecodeValue(request.input().value(), value)) {
    response.mutable_result()->set_value(EncodeValue(Mix(value), request.input().value().size()));
    return absl::OkStatus();
  }
  const absl::Status status = absl::DataLossError(
      absl::StrCat("activity ", request.taskid(), " of ", response.instanceid(), ": name '",
                   request.name(), "', input '", request.input().value(), "'"));
  response.mutable_failuredetails()->set_errortype("DtbenchError");
  response.mutable_failuredetails()->set_errormessage(std::string(status.message()));
  return status;
}

}  // namespace dt::bench
