// The workloads without a server: a right history leads to the expected output, every wrong one is
// told.
#include "tests/bench/workload.h"

#include <string>

#include "tests/support/catch.h"

namespace dt::bench {
namespace {

OrchestratorRequest FirstTurn(const Workload& workload, uint64_t number) {
  OrchestratorRequest request;
  request.set_instanceid("one");
  request.add_newevents()->mutable_orchestratorstarted();
  ExecutionStartedEvent* started = request.add_newevents()->mutable_executionstarted();
  started->set_name(std::string(WorkloadName(workload)));
  started->mutable_input()->set_value(OrchestrationInput(workload, number));
  return request;
}

// Runs the actions of a turn as a server would, and makes the next request. The completion's
// output, or
// "" while the orchestration goes on.
std::string Advance(const OrchestratorResponse& response, OrchestratorRequest& request) {
  request.mutable_pastevents()->MergeFrom(request.newevents());
  request.clear_newevents();
  for (const OrchestratorAction& action : response.actions()) {
    if (action.has_completeorchestration()) return action.completeorchestration().result().value();
    HistoryEvent* scheduled = request.add_pastevents();
    scheduled->set_eventid(action.id());
    scheduled->mutable_taskscheduled()->set_name(action.scheduletask().name());
    ActivityRequest activity;
    activity.set_name(action.scheduletask().name());
    activity.set_taskid(action.id());
    *activity.mutable_input() = action.scheduletask().input();
    ActivityResponse result;
    REQUIRE(RunActivity(activity, result).ok());
    TaskCompletedEvent* completed = request.add_newevents()->mutable_taskcompleted();
    completed->set_taskscheduledid(result.taskid());
    *completed->mutable_result() = result.result();
  }
  return "";
}

std::string RunToEnd(const Workload& workload, uint64_t number) {
  OrchestratorRequest request = FirstTurn(workload, number);
  OrchestratorResponse response;
  for (int turn = 0; turn <= workload.activities; ++turn) {
    const absl::Status status = RunTurn(request, response);
    INFO(status);
    REQUIRE(status.ok());
    if (std::string output = Advance(response, request); !output.empty()) return output;
  }
  return "";
}

// A request after one activity of two.
OrchestratorRequest SecondTurn() {
  const Workload workload{WorkloadKind::kChain, 2, 22};
  OrchestratorRequest request = FirstTurn(workload, 1);
  OrchestratorResponse response;
  REQUIRE(RunTurn(request, response).ok());
  Advance(response, request);
  return request;
}

TEST_CASE("a chain and a fan-out give the expected output, at every payload size") {
  for (const WorkloadKind kind : {WorkloadKind::kChain, WorkloadKind::kFanout}) {
    for (const int payload_bytes : {22, 23, 5000}) {
      const Workload workload{kind, 7, payload_bytes};
      const std::string output = RunToEnd(workload, 42);
      CHECK(output == ExpectedOutput(workload, 42));
      CHECK(output.size() == static_cast<size_t>(payload_bytes));
      CHECK(output != ExpectedOutput(workload, 43));
    }
  }
}

TEST_CASE("a chain turn without news schedules nothing again") {
  OrchestratorRequest request = SecondTurn();
  request.clear_newevents();
  OrchestratorResponse response;
  REQUIRE(RunTurn(request, response).ok());
  CHECK(response.actions_size() == 0);
}

TEST_CASE("a result that comes twice is an error") {
  OrchestratorRequest request = SecondTurn();
  *request.add_newevents() = request.newevents(0);
  OrchestratorResponse response;
  CHECK(RunTurn(request, response).message().find("second result of task 0") != std::string::npos);
  CHECK(response.actions(0).completeorchestration().orchestrationstatus() ==
        ORCHESTRATION_STATUS_FAILED);
}

TEST_CASE("a result of a task that was never scheduled is an error") {
  OrchestratorRequest request = SecondTurn();
  request.mutable_newevents(0)->mutable_taskcompleted()->set_taskscheduledid(1);
  OrchestratorResponse response;
  CHECK(RunTurn(request, response).message().find("task 1") != std::string::npos);
}

TEST_CASE("a result of other bytes is an error") {
  for (const std::string text : {"", "\"\"", "\"0000000000000000000x\"", "null"}) {
    OrchestratorRequest request = SecondTurn();
    request.mutable_newevents(0)->mutable_taskcompleted()->mutable_result()->set_value(text);
    OrchestratorResponse response;
    CHECK_FALSE(RunTurn(request, response).ok());
  }
}

TEST_CASE("a history without its start, with a gap or with a strange event is an error") {
  OrchestratorResponse response;
  OrchestratorRequest request = SecondTurn();
  request.mutable_pastevents()->DeleteSubrange(1, 1);
  CHECK_FALSE(RunTurn(request, response).ok());

  request = SecondTurn();
  request.mutable_pastevents(2)->set_eventid(1);
  CHECK_FALSE(RunTurn(request, response).ok());

  request = SecondTurn();
  request.add_newevents()->mutable_timerfired();
  CHECK_FALSE(RunTurn(request, response).ok());
}

TEST_CASE("an activity with another input or name fails in words") {
  ActivityRequest request;
  request.set_name(std::string(kActivityName));
  request.mutable_input()->set_value("12");
  ActivityResponse response;
  CHECK_FALSE(RunActivity(request, response).ok());
  CHECK(response.failuredetails().errormessage().find("'12'") != std::string::npos);
  CHECK_FALSE(response.has_result());
}

}  // namespace
}  // namespace dt::bench
