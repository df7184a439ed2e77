// RestartInstance and SkipGracefulOrchestrationTerminations over real gRPC (tests/CASES.md, "Client
// RPCs").
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/rpc/rpc_fixture.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

grpc::Status Restart(TestServer& server, const std::string& id, bool new_id, std::string& answer) {
  RestartInstanceRequest request;
  request.set_instanceid(id);
  request.set_restartwithnewinstanceid(new_id);
  RestartInstanceResponse response;
  const grpc::Status status = server.stub().RestartInstance(NewContext().get(), request, &response);
  answer = response.instanceid();
  return status;
}

TEST_CASE("restart: same name, version, tags and input; a live one only under a new id") {
  TestServer server;
  FakeWorker worker(server.stub());
  CreateInstanceRequest start;
  start.set_instanceid("r");
  start.set_name("o");
  start.mutable_version()->set_value("2");
  start.mutable_input()->set_value("{\"a\": \"\\u00e9 \"}");
  (*start.mutable_tags())["team"] = "blue";
  CreateInstanceResponse started;
  REQUIRE(server.stub().StartInstance(NewContext().get(), start, &started).ok());
  const WorkItem first = worker.Next().value();

  std::string id;
  CHECK(Restart(server, "r", false, id).error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  CHECK(Restart(server, "missing", false, id).error_code() == grpc::StatusCode::NOT_FOUND);
  CHECK(Restart(server, std::string(600, 'x'), true, id).error_code() ==
        grpc::StatusCode::INVALID_ARGUMENT);
  REQUIRE(Restart(server, "r", true, id).ok());
  CHECK(id != "r");
  const auto check_run = [&](const WorkItem& item) {
    REQUIRE(item.orchestratorrequest().newevents_size() == 2);
    const ExecutionStartedEvent& event = item.orchestratorrequest().newevents(1).executionstarted();
    CHECK(event.name() == "o");
    CHECK(event.version().value() == "2");
    CHECK(event.input().value() == start.input().value());
    CHECK(event.tags().at("team") == "blue");
    CHECK_FALSE(event.has_parentinstance());
  };
  const WorkItem second = worker.Next().value();
  CHECK(second.orchestratorrequest().instanceid() == id);
  check_run(second);

  REQUIRE(worker.Complete(first, {CompleteAction(0, "1")}).ok());
  const std::string old_execution = server.Get("r").orchestrationstate().executionid().value();
  REQUIRE(Restart(server, "r", false, id).ok());
  CHECK(id == "r");
  const WorkItem third = worker.Next().value();
  check_run(third);
  CHECK(third.orchestratorrequest().executionid().value() != old_execution);
  CHECK(third.orchestratorrequest().pastevents_size() == 0);
}

TEST_CASE("skip_graceful: terminated without a worker; what was not is named") {
  TestServer server;
  FakeWorker worker(server.stub());
  server.Start("o", "running");
  const WorkItem running = worker.Next().value();
  REQUIRE(worker.Complete(running, {ChildAction(1, "c", "child")}).ok());
  const WorkItem child = worker.Next().value();
  server.Start("o", "done");
  const WorkItem done = worker.Next().value();
  REQUIRE(worker.Complete(done, {CompleteAction(0, "1")}).ok());

  SkipGracefulOrchestrationTerminationsRequest request;
  for (const char* id : {"child", "done", "missing", "@counter@1"}) {
    request.mutable_instancebatch()->add_instanceids(id);
  }
  request.mutable_reason()->set_value("out of order");
  SkipGracefulOrchestrationTerminationsResponse response;
  REQUIRE(server.stub()
              .SkipGracefulOrchestrationTerminations(NewContext().get(), request, &response)
              .ok());
  CHECK(std::vector<std::string>(response.unterminatedinstanceids().begin(),
                                 response.unterminatedinstanceids().end()) ==
        std::vector<std::string>{"done", "missing", "@counter@1"});
  const OrchestrationState state = server.Get("child").orchestrationstate();
  CHECK(state.orchestrationstatus() == ORCHESTRATION_STATUS_TERMINATED);
  CHECK(state.output().value() == "out of order");
  // The parent is told, and the turn that was in flight changes nothing.
  const WorkItem told = worker.Next().value();
  REQUIRE(told.orchestratorrequest().newevents_size() == 2);
  CHECK(told.orchestratorrequest()
            .newevents(1)
            .suborchestrationinstancefailed()
            .failuredetails()
            .errormessage() == "out of order");
  REQUIRE(worker.Complete(child, {CompleteAction(0, "\"late\"")}).ok());
  CHECK(server.Get("child").orchestrationstate().output().value() == "out of order");

  for (int i = 0; i < 500; ++i) {
    request.mutable_instancebatch()->add_instanceids(absl::StrCat("more", i));
  }
  CHECK(server.stub()
            .SkipGracefulOrchestrationTerminations(NewContext().get(), request, &response)
            .error_code() == grpc::StatusCode::INVALID_ARGUMENT);
}

}  // namespace
}  // namespace dt::testing
