// What the SDKs' workers and clients send, byte for byte, where that differs from what one would
// write by hand; and what the log says of them.
#include <set>

#include "absl/strings/str_cat.h"
#include "tests/rpc/access_fixture.h"
#include "tests/rpc/rpc_fixture.h"
#include "tests/support/catch.h"
#include "tests/support/log_capture.h"

namespace dt::testing {
namespace {

TEST_CASE("filter_absent_empty_name_version: an empty filter message wants everything") {
  // What the .NET worker sends when no filter is wanted: field 11, no bytes.
  GetWorkItemsRequest request;
  REQUIRE(request.ParseFromString(std::string("\x5A\x00", 2)));
  REQUIRE(request.has_workitemfilters());
  const auto options = rpc::BuildStreamOptions(request, "", rpc::StreamLimits{});
  REQUIRE(options.ok());
  CHECK_FALSE(options->orchestration_filters.has_value());
  CHECK_FALSE(options->activity_filters.has_value());
  CHECK_FALSE(options->entity_filters.has_value());

  TestServer server;
  FakeWorker worker(server.stub(), request);
  server.Start("o", "i");
  const std::optional<WorkItem> turn = worker.Next();
  REQUIRE(turn.has_value());
  REQUIRE(worker.Complete(*turn, {ScheduleAction(0, "a", "")}).ok());
  const std::optional<WorkItem> task = worker.Next();
  REQUIRE(task.has_value());
  CHECK(task->activityrequest().name() == "a");
}

TEST_CASE("absent_empty_metadata: empty values are as good as none") {
  TestServer server;
  FakeWorker worker(
      server.stub(), {},
      {{"taskhub", ""}, {"workerid", ""}, {"x-user-agent", ""}, {"authorization", ""}});
  server.Start("o", "i", {{"taskhub", "default"}});
  CHECK(worker.Next().has_value());
}

TEST_CASE("absent_empty_execution: a history of no execution is that of the current one") {
  TestServer server;
  server.Start("o", "i");
  StreamInstanceHistoryRequest request;
  request.set_instanceid("i");
  request.mutable_executionid();
  const auto context = NewContext();
  const auto reader = server.stub().StreamInstanceHistory(context.get(), request);
  ::HistoryChunk chunk;
  while (reader->Read(&chunk)) continue;
  CHECK(reader->Finish().ok());
}

TEST_CASE("stream_in_log: who a worker is, and that its filters let nothing pass") {
  const LogCapture log;
  TestServer server;
  GetWorkItemsRequest request;
  request.mutable_workitemfilters()->add_entities()->set_name("counter");
  const FakeWorker entities(server.stub(), request);
  // Go workers get no entities (1.6).
  const auto go = TaskHubSidecarService::NewStub(server.NewChannel("grpc-go/1.58.0"));
  FakeWorker worker(*go, request,
                    {{"taskhub", "default"},
                     {"workerid", "host,17,0a"},
                     {"x-user-agent", "durabletask-dotnet/1.28.0 (DurableTaskWorker)"}});
  CHECK_FALSE(worker.WaitForEnd(absl::Milliseconds(1)).has_value());
  constexpr char kNothing[] = "its filters name no orchestration, no activity and no entity ";
  Eventually([&] { return log.Has(kNothing); });
  Eventually([&log] {
    return log.Has("worker stream opened: hub 'default', worker 'host,17,0a', ipv4:127.0.0.1:");
  });
  CHECK(log.Has(", durabletask-dotnet/1.28.0"));
  CHECK_FALSE(log.Has("DurableTaskWorker"));

  FakeWorker plain(server.stub());
  Eventually([&log] { return log.Has("worker '', ipv4:127.0.0.1:"); });
  CHECK(log.Has(", grpc-c++/"));  // what the library says of itself
  CHECK(log.Count(kNothing) == 1);
}

TEST_CASE("unaccepted_work: a worker whose filters fit nothing that waits is named with the work") {
  const LogCapture log;
  TestServerOptions options;
  options.dispatch.unaccepted_age_min = absl::ZeroDuration();
  options.dispatch.unaccepted_look_interval = absl::Milliseconds(20);
  TestServer server(std::move(options));
  GetWorkItemsRequest request;
  request.mutable_workitemfilters()->add_orchestrations()->set_name("another");
  FakeWorker worker(server.stub(), request);
  server.Start("Ship", "i");
  Eventually([&log] {
    return log.Has(
        "WorkNotAccepted (315): task hub 'default': 1 orchestration 'Ship' without a "
        "version waiting, the oldest, of instance 'i', for 0: the filters of none of "
        "the 1 worker streams on this daemon accept that");
  });
}

// Failure details with so many levels of innerFailure.
TaskFailureDetails DeepFailure(int levels) {
  TaskFailureDetails details;
  TaskFailureDetails* at = &details;
  for (int level = 1;; ++level) {
    at->set_errortype("E");
    at->set_errormessage(absl::StrCat("level ", level));
    if (level == levels) return details;
    at = at->mutable_innerfailure();
  }
}

grpc::Status Fail(TestServer& server, const WorkItem& turn, int levels) {
  OrchestratorResponse response;
  response.set_instanceid(turn.orchestratorrequest().instanceid());
  response.set_completiontoken(turn.completiontoken());
  CompleteOrchestrationAction* completion = response.add_actions()->mutable_completeorchestration();
  completion->set_orchestrationstatus(ORCHESTRATION_STATUS_FAILED);
  *completion->mutable_failuredetails() = DeepFailure(levels);
  CompleteTaskResponse done;
  return server.stub().CompleteOrchestratorTask(NewContext().get(), response, &done);
}

TEST_CASE("failure_depth: a failure that is too deep for readers is stored cut") {
  TestServer server;
  FakeWorker worker(server.stub());
  server.Start("o", "i");
  const std::optional<WorkItem> turn = worker.Next();
  REQUIRE(turn.has_value());
  REQUIRE(Fail(server, *turn, 200).ok());
  const TaskFailureDetails failure = server.Get("i").orchestrationstate().failuredetails();
  const TaskFailureDetails* last = &failure;
  int levels = 1;
  for (; last->has_innerfailure(); last = &last->innerfailure()) ++levels;
  CHECK(levels == 32);
  CHECK(last->errormessage() ==
        "level 32 (168 inner failures are left out by the server: it keeps 32 levels)");
}

TEST_CASE("unparsable_answer: says so to the worker and in the log") {
  const LogCapture log;
  TestServer server;
  FakeWorker worker(server.stub());
  server.Start("o", "i");
  const std::optional<WorkItem> turn = worker.Next();
  REQUIRE(turn.has_value());
  const grpc::Status status = Fail(server, *turn, 2000);
  CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(status.error_message().find("is nested deeper than 1000 levels") != std::string::npos);
  CHECK(log.Has("CompleteOrchestratorTask: its "));
  REQUIRE(Fail(server, *turn, 1).ok());  // the item can still be answered
}

// As grpc-dotnet sends a completion above its size of a chunk: numbers that are 0 are there, but
// empty, and what the first part says of the turn is not said again.
TEST_CASE("chunked_response: in three parts as the .NET worker sends them") {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  constexpr int kParts = 3;
  constexpr int kActionsPerPart = 20;
  TestServer server;
  FakeWorker worker(server.stub());
  server.Start("o", "i");
  const std::optional<WorkItem> turn = worker.Next();
  REQUIRE(turn.has_value());
  for (int part = 0; part < kParts; ++part) {
    OrchestratorResponse response;
    response.set_instanceid("i");
    response.set_completiontoken(turn->completiontoken());
    response.set_ispartial(part < kParts - 1);
    response.mutable_chunkindex()->set_value(part);
    if (part == 0) response.mutable_customstatus()->set_value("\"half\"");
    if (part > 0) response.mutable_numeventsprocessed();
    for (int i = 0; i < kActionsPerPart; ++i) {
      const int id = part * kActionsPerPart + i;
      *response.add_actions() = ScheduleAction(id, absl::StrCat("a", id), std::string(100000, 'x'));
    }
    CompleteTaskResponse done;
    REQUIRE(server.stub().CompleteOrchestratorTask(NewContext().get(), response, &done).ok());
    if (part < kParts - 1) CHECK(server.database().Count().checkpoints == 0);
  }
#pragma GCC diagnostic pop
  CHECK(server.database().Count().checkpoints == 1);
  std::set<int> ids;
  while (ids.size() < kParts * kActionsPerPart) {
    const std::optional<WorkItem> task = worker.Next();
    REQUIRE(task.has_value());
    const int id = task->activityrequest().taskid();
    CHECK(task->activityrequest().name() == absl::StrCat("a", id));
    ids.insert(id);
  }
  CHECK(server.Get("i").orchestrationstate().customstatus().value() == "\"half\"");
  // The history has them in the order of their ids, over all parts.
  StreamInstanceHistoryRequest request;
  request.set_instanceid("i");
  const auto context = NewContext();
  const auto reader = server.stub().StreamInstanceHistory(context.get(), request);
  ::HistoryChunk chunk;
  int next = 0;
  while (reader->Read(&chunk)) {
    for (const HistoryEvent& event : chunk.events()) {
      if (event.has_taskscheduled()) CHECK(event.eventid() == next++);
    }
  }
  CHECK(reader->Finish().ok());
  CHECK(next == kParts * kActionsPerPart);
}

}  // namespace
}  // namespace dt::testing
