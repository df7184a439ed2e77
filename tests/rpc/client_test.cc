// Client RPCs over real gRPC: tests/CASES.md, groups "Client RPCs" and "Suspend and terminate", as
// far as the door decides them. What a turn does with the messages is tested in
// tests/orchestration.
#include <algorithm>
#include <vector>

#include "absl/time/clock.h"
#include "tests/rpc/rpc_fixture.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

grpc::Status TryStart(TestServer& server, const CreateInstanceRequest& request,
                      CreateInstanceResponse* response = nullptr) {
  CreateInstanceResponse ignored;
  return server.stub().StartInstance(NewContext().get(), request,
                                     response == nullptr ? &ignored : response);
}

CreateInstanceRequest StartRequest(const std::string& name, const std::string& instance_id) {
  CreateInstanceRequest request;
  request.set_name(name);
  request.set_instanceid(instance_id);
  return request;
}

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Brings an instance to this status.
void Bring(TestServer& server, FakeWorker& worker, const std::string& instance_id,
           OrchestrationStatus status) {
  server.Start("o", instance_id);
  const std::optional<WorkItem> item = worker.Next();
  REQUIRE(item.has_value());
  if (status == ORCHESTRATION_STATUS_PENDING) return;  // it is at the worker, and so stays PENDING
  std::vector<OrchestratorAction> actions;
  if (status == ORCHESTRATION_STATUS_CANCELED) {
    actions = {CompleteAction(0, "1", ORCHESTRATION_STATUS_CANCELED)};
  }
  if (status == ORCHESTRATION_STATUS_COMPLETED) actions = {CompleteAction(0, "\"done\"")};
  if (status == ORCHESTRATION_STATUS_FAILED) actions = {FailAction(0, "boom")};
  REQUIRE(worker.Complete(*item, actions).ok());
  if (status == ORCHESTRATION_STATUS_SUSPENDED) {
    SuspendRequest request;
    request.set_instanceid(instance_id);
    SuspendResponse response;
    REQUIRE(server.stub().SuspendInstance(NewContext().get(), request, &response).ok());
    const std::optional<WorkItem> suspended = worker.Next();
    REQUIRE(suspended.has_value());
    REQUIRE(worker.Complete(*suspended, {}).ok());
  }
  if (status == ORCHESTRATION_STATUS_TERMINATED) {
    TerminateRequest request;
    request.set_instanceid(instance_id);
    TerminateResponse response;
    REQUIRE(server.stub().TerminateInstance(NewContext().get(), request, &response).ok());
    const std::optional<WorkItem> last = worker.Next();
    REQUIRE(last.has_value());
    REQUIRE(worker.Complete(*last, {}).ok());
  }
  REQUIRE(server.Get(instance_id).orchestrationstate().orchestrationstatus() == status);
}

TEST_CASE("start_generated_id: an empty id is made up and answered") {
  TestServer server;
  const std::string id = server.Start("o");
  CHECK(id.size() == 32);
  CHECK(server.Get(id).exists());
}

TEST_CASE("start_bad_ids: entity-like, too long, NUL, and no name") {
  TestServer server;
  grpc::Status status = TryStart(server, StartRequest("o", "@a@b"));
  CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  status = TryStart(server, StartRequest("o", std::string(513, 'x')));
  CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(Contains(status.error_message(), "length"));
  CHECK(Contains(status.error_message(), "513"));
  CHECK(Contains(status.error_message(), "512"));
  status = TryStart(server, StartRequest("o", std::string("a\0b", 3)));
  CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  status = TryStart(server, StartRequest("", "i"));
  CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(Contains(status.error_message(), "name"));
  // 512 characters are allowed, whatever their bytes.
  std::string longest;
  for (int i = 0; i < 512; ++i) longest += "\xC3\xA4";
  CHECK(TryStart(server, StartRequest("o", longest)).ok());
  CHECK(server.database().Count().live == 1);
}

TEST_CASE("start_bad_fields: every field has a limit, and nothing is written beyond it") {
  TestServerOptions options;
  options.service.requests.payload_bytes_max = 1000;
  TestServer server(options);
  CreateInstanceRequest request = StartRequest(std::string(1025, 'n'), "i");
  CHECK(TryStart(server, request).error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  request = StartRequest("o", "i");
  request.mutable_version()->set_value(std::string(257, 'v'));
  CHECK(TryStart(server, request).error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  request = StartRequest("o", "i");
  request.mutable_input()->set_value(std::string(1001, 'p'));
  const grpc::Status status = TryStart(server, request);
  CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(Contains(status.error_message(), "input"));
  CHECK(Contains(status.error_message(), "1001"));
  CHECK(Contains(status.error_message(), "1000"));
  request = StartRequest("o", "i");
  (*request.mutable_tags())["k"] = std::string(70000, 't');
  CHECK_FALSE(TryStart(server, request).ok());
  request = StartRequest("o", "i");
  request.mutable_scheduledstarttimestamp()->set_nanos(-5);
  CHECK(TryStart(server, request).error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(server.database().Count().live == 0);
}

TEST_CASE("js_1970_schedule: a start time in the past means now and is not echoed") {
  TestServer server;
  CreateInstanceRequest request = StartRequest("o", "i");
  request.mutable_scheduledstarttimestamp()->set_seconds(0);
  request.mutable_input()->set_value("");
  REQUIRE(TryStart(server, request).ok());
  FakeWorker worker(server.stub());
  CHECK(worker.Next().has_value());
  const OrchestrationState state = server.Get("i").orchestrationstate();
  CHECK_FALSE(state.has_scheduledstarttimestamp());
  CHECK(state.has_input());
  CHECK(state.input().value().empty());
}

TEST_CASE("start_no_policy: an ended instance is replaced, a live one is in the way") {
  TestServer server;
  FakeWorker worker(server.stub());
  Bring(server, worker, "i", ORCHESTRATION_STATUS_COMPLETED);
  const std::string first = server.Get("i").orchestrationstate().executionid().value();
  CHECK(TryStart(server, StartRequest("o", "i")).ok());
  CHECK(server.Get("i").orchestrationstate().executionid().value() != first);
  const grpc::Status status = TryStart(server, StartRequest("o", "i"));
  CHECK(status.error_code() == grpc::StatusCode::ALREADY_EXISTS);
  CHECK(Contains(status.error_message(), "orchestration instance already exists"));
}

TEST_CASE("start_policy: each status in and not in the list, and an empty list") {
  TestServer server;
  FakeWorker worker(server.stub());
  const OrchestrationStatus statuses[] = {
      ORCHESTRATION_STATUS_PENDING,   ORCHESTRATION_STATUS_RUNNING, ORCHESTRATION_STATUS_SUSPENDED,
      ORCHESTRATION_STATUS_COMPLETED, ORCHESTRATION_STATUS_FAILED,  ORCHESTRATION_STATUS_CANCELED,
      ORCHESTRATION_STATUS_TERMINATED};
  for (const OrchestrationStatus existing : statuses) {
    const std::string id = "i" + std::to_string(existing);
    INFO(OrchestrationStatus_Name(existing));
    Bring(server, worker, id, existing);
    CreateInstanceRequest request = StartRequest("again", id);
    // Present, but empty: replaces nothing.
    request.mutable_orchestrationidreusepolicy();
    CHECK(TryStart(server, request).error_code() == grpc::StatusCode::ALREADY_EXISTS);
    for (const OrchestrationStatus listed : statuses) {
      if (listed == existing) continue;
      request.mutable_orchestrationidreusepolicy()->add_replaceablestatus(listed);
    }
    CHECK(TryStart(server, request).error_code() == grpc::StatusCode::ALREADY_EXISTS);
    CHECK(server.Get(id).orchestrationstate().name() == "o");
    request.mutable_orchestrationidreusepolicy()->add_replaceablestatus(existing);
    CHECK(TryStart(server, request).ok());
    CHECK(server.Get(id).orchestrationstate().name() == "again");
    const std::optional<WorkItem> item = worker.Next();
    REQUIRE(item.has_value());
    CHECK(worker.Complete(*item, {CompleteAction(0, "1")}).ok());
  }
}

// What the .NET SDK makes of the statuses that shall keep the id: all others are replaceable.
CreateInstanceRequest Dedupe(const std::string& id, std::vector<OrchestrationStatus> kept) {
  CreateInstanceRequest request = StartRequest("again", id);
  for (const OrchestrationStatus status :
       {ORCHESTRATION_STATUS_COMPLETED, ORCHESTRATION_STATUS_FAILED,
        ORCHESTRATION_STATUS_TERMINATED, ORCHESTRATION_STATUS_CANCELED,
        ORCHESTRATION_STATUS_PENDING, ORCHESTRATION_STATUS_RUNNING,
        ORCHESTRATION_STATUS_SUSPENDED}) {
    if (std::find(kept.begin(), kept.end(), status) != kept.end()) continue;
    request.mutable_orchestrationidreusepolicy()->add_replaceablestatus(status);
  }
  return request;
}

TEST_CASE("start_policy_invalid: live statuses without terminated, seen from each existing one") {
  TestServer server;
  FakeWorker worker(server.stub());
  for (const OrchestrationStatus live : {ORCHESTRATION_STATUS_PENDING, ORCHESTRATION_STATUS_RUNNING,
                                         ORCHESTRATION_STATUS_SUSPENDED}) {
    const std::string id = "live" + std::to_string(live);
    Bring(server, worker, id, live);
    const grpc::Status status = TryStart(
        server, Dedupe(id, {ORCHESTRATION_STATUS_FAILED, ORCHESTRATION_STATUS_TERMINATED}));
    CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    CHECK(status.error_message() ==
          "Invalid reusable statuses: cannot exclude 'Terminated' while also allowing reuse of "
          "running instances");
    CHECK(server.Get(id).orchestrationstate().name() == "o");  // nothing has changed
    CHECK(server.Get(id).orchestrationstate().orchestrationstatus() == live);
  }
}

TEST_CASE("start_policy_dotnet: the check concerns nothing that has ended or is missing") {
  TestServer server;
  FakeWorker worker(server.stub());
  const std::vector<OrchestrationStatus> unsuccessful = {ORCHESTRATION_STATUS_FAILED,
                                                         ORCHESTRATION_STATUS_TERMINATED};
  CHECK(TryStart(server, Dedupe("missing", unsuccessful)).ok());
  REQUIRE(worker.Next().has_value());
  Bring(server, worker, "done", ORCHESTRATION_STATUS_COMPLETED);
  const grpc::Status kept =
      TryStart(server, Dedupe("done", {ORCHESTRATION_STATUS_COMPLETED, ORCHESTRATION_STATUS_FAILED,
                                       ORCHESTRATION_STATUS_TERMINATED}));
  CHECK(kept.error_code() == grpc::StatusCode::ALREADY_EXISTS);
  CHECK(server.Get("done").orchestrationstate().name() == "o");
  CHECK(TryStart(server, Dedupe("done", unsuccessful)).ok());
  CHECK(server.Get("done").orchestrationstate().name() == "again");
  REQUIRE(worker.Next().has_value());
  Bring(server, worker, "ended", ORCHESTRATION_STATUS_TERMINATED);
  CHECK(TryStart(server, Dedupe("ended", {ORCHESTRATION_STATUS_TERMINATED})).error_code() ==
        grpc::StatusCode::ALREADY_EXISTS);
}

// The policy of the Go SDK: the older field 2 beside the list.
CreateInstanceRequest GoRequest(const std::string& instance_id, int action) {
  CreateInstanceRequest request = StartRequest("go", instance_id);
  OrchestrationIdReusePolicy& policy = *request.mutable_orchestrationidreusepolicy();
  for (const OrchestrationStatus status :
       {ORCHESTRATION_STATUS_RUNNING, ORCHESTRATION_STATUS_COMPLETED,
        ORCHESTRATION_STATUS_PENDING}) {
    policy.add_replaceablestatus(status);
  }
  policy.GetReflection()->MutableUnknownFields(&policy)->AddVarint(2, action);
  return request;
}

TEST_CASE("go_policy_ignore: the first run is kept") {
  TestServer server;
  server.Start("o", "i");
  const OrchestrationState before = server.Get("i").orchestrationstate();
  CreateInstanceResponse response;
  CHECK(TryStart(server, GoRequest("i", 1), &response).ok());
  CHECK(response.instanceid() == "i");
  const OrchestrationState after = server.Get("i").orchestrationstate();
  CHECK(after.name() == "o");
  CHECK(after.executionid().value() == before.executionid().value());
}

TEST_CASE("go_policy_terminate: the first run is replaced") {
  TestServer server;
  server.Start("o", "i");
  const OrchestrationState before = server.Get("i").orchestrationstate();
  CHECK(TryStart(server, GoRequest("i", 2)).ok());
  const OrchestrationState after = server.Get("i").orchestrationstate();
  CHECK(after.name() == "go");
  CHECK(after.executionid().value() != before.executionid().value());
  const auto order = [](const google::protobuf::Timestamp& time) {
    return std::make_pair(time.seconds(), time.nanos());
  };
  CHECK(order(after.createdtimestamp()) > order(before.createdtimestamp()));
}

TEST_CASE("get_missing: exists is false and the state unset") {
  TestServer server;
  const GetInstanceResponse response = server.Get("nobody");
  CHECK_FALSE(response.exists());
  CHECK_FALSE(response.has_orchestrationstate());
  GetInstanceRequest request;
  GetInstanceResponse ignored;
  CHECK(server.stub().GetInstance(NewContext().get(), request, &ignored).error_code() ==
        grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_CASE("get_payload_flag: payloads and failure only when asked for") {
  TestServer server;
  FakeWorker worker(server.stub());
  Bring(server, worker, "i", ORCHESTRATION_STATUS_FAILED);
  const OrchestrationState bare = server.Get("i", false).orchestrationstate();
  CHECK_FALSE(bare.has_input());
  CHECK_FALSE(bare.has_output());
  CHECK_FALSE(bare.has_customstatus());
  CHECK_FALSE(bare.has_failuredetails());
  CHECK(bare.has_createdtimestamp());
  CHECK(bare.has_lastupdatedtimestamp());
  const OrchestrationState full = server.Get("i", true).orchestrationstate();
  CHECK(full.failuredetails().errormessage() == "boom");
  CHECK(full.has_createdtimestamp());
  CHECK(full.has_lastupdatedtimestamp());
  CHECK(full.has_completedtimestamp());
}

TEST_CASE("raise_event_missing / raise_event_completed: NOT_FOUND / OK without effect") {
  TestServer server;
  RaiseEventRequest request;
  request.set_instanceid("i");
  request.set_name("e");
  RaiseEventResponse response;
  CHECK(server.stub().RaiseEvent(NewContext().get(), request, &response).error_code() ==
        grpc::StatusCode::NOT_FOUND);
  SuspendRequest suspend;
  suspend.set_instanceid("i");
  SuspendResponse suspended;
  CHECK(server.stub().SuspendInstance(NewContext().get(), suspend, &suspended).error_code() ==
        grpc::StatusCode::NOT_FOUND);
  ResumeRequest resume;
  resume.set_instanceid("i");
  ResumeResponse resumed;
  CHECK(server.stub().ResumeInstance(NewContext().get(), resume, &resumed).error_code() ==
        grpc::StatusCode::NOT_FOUND);

  FakeWorker worker(server.stub());
  Bring(server, worker, "i", ORCHESTRATION_STATUS_COMPLETED);
  CHECK(server.stub().RaiseEvent(NewContext().get(), request, &response).ok());
  CHECK(server.stub().SuspendInstance(NewContext().get(), suspend, &suspended).ok());
  CHECK(server.stub().ResumeInstance(NewContext().get(), resume, &resumed).ok());
  CHECK(server.Get("i").orchestrationstate().orchestrationstatus() ==
        ORCHESTRATION_STATUS_COMPLETED);
  CHECK(server.database().Count().messages == 0);
}

TEST_CASE("control_bad_fields: limits of events, reasons and outputs") {
  TestServerOptions options;
  options.service.requests.payload_bytes_max = 1000;
  TestServer server(options);
  server.Start("o", "i");
  const size_t before = server.database().Count().messages;
  const std::string too_large(1001, 'p');
  RaiseEventRequest event;
  event.set_instanceid("i");
  event.set_name("e");
  event.mutable_input()->set_value(too_large);
  RaiseEventResponse raised;
  CHECK(server.stub().RaiseEvent(NewContext().get(), event, &raised).error_code() ==
        grpc::StatusCode::RESOURCE_EXHAUSTED);
  event.clear_input();
  event.set_name(std::string(1025, 'n'));
  CHECK(server.stub().RaiseEvent(NewContext().get(), event, &raised).error_code() ==
        grpc::StatusCode::INVALID_ARGUMENT);
  SuspendRequest suspend;
  suspend.set_instanceid("i");
  suspend.mutable_reason()->set_value(too_large);
  SuspendResponse suspended;
  CHECK(server.stub().SuspendInstance(NewContext().get(), suspend, &suspended).error_code() ==
        grpc::StatusCode::RESOURCE_EXHAUSTED);
  ResumeRequest resume;
  resume.set_instanceid(std::string(513, 'x'));
  ResumeResponse resumed;
  CHECK(server.stub().ResumeInstance(NewContext().get(), resume, &resumed).error_code() ==
        grpc::StatusCode::INVALID_ARGUMENT);
  TerminateRequest terminate;
  terminate.set_instanceid("i");
  terminate.mutable_output()->set_value(too_large);
  TerminateResponse terminated;
  CHECK(server.stub().TerminateInstance(NewContext().get(), terminate, &terminated).error_code() ==
        grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(server.database().Count().messages == before);
}

TEST_CASE("terminate_missing: OK, or NOT_FOUND by setting") {
  TerminateRequest request;
  request.set_instanceid("i");
  TerminateResponse response;
  TestServer lenient;
  CHECK(lenient.stub().TerminateInstance(NewContext().get(), request, &response).ok());
  TestServerOptions options;
  options.service.missing_terminate_ok = false;
  TestServer strict(options);
  CHECK(strict.stub().TerminateInstance(NewContext().get(), request, &response).error_code() ==
        grpc::StatusCode::NOT_FOUND);
}

TEST_CASE("terminate_pending: without a worker it ends at once with the reason as output") {
  TestServer server;
  server.Start("o", "i");
  TerminateRequest request;
  request.set_instanceid("i");
  request.mutable_output()->set_value("\"why\"");
  TerminateResponse response;
  CHECK(server.stub().TerminateInstance(NewContext().get(), request, &response).ok());
  const OrchestrationState state = server.Get("i").orchestrationstate();
  CHECK(state.orchestrationstatus() == ORCHESTRATION_STATUS_TERMINATED);
  CHECK(state.output().value() == "\"why\"");
}

TEST_CASE("wait_start: blocks while pending, returns when it runs and when it has ended") {
  TestServer server;
  server.Start("o", "i");
  Waiter waiter(server.stub(), "i", true);
  CHECK_FALSE(waiter.DoneWithin(absl::Milliseconds(300)));
  FakeWorker worker(server.stub());
  const std::optional<WorkItem> item = worker.Next();
  REQUIRE(item.has_value());
  REQUIRE(worker.Complete(*item, {TimerAction(0, absl::Now() + absl::Hours(1))}).ok());
  REQUIRE(waiter.DoneWithin(kPatience));
  CHECK(waiter.status().ok());
  CHECK(waiter.orchestration_status() == ORCHESTRATION_STATUS_RUNNING);
  Bring(server, worker, "ended", ORCHESTRATION_STATUS_COMPLETED);
  Waiter late(server.stub(), "ended", true);
  REQUIRE(late.DoneWithin(kPatience));
  CHECK(late.orchestration_status() == ORCHESTRATION_STATUS_COMPLETED);
}

TEST_CASE("wait_completion_over_continue: returns only at the end of three generations") {
  TestServer server;
  FakeWorker worker(server.stub());
  server.Start("o", "i");
  Waiter waiter(server.stub(), "i", false);
  for (int generation = 0; generation < 3; ++generation) {
    const std::optional<WorkItem> item = worker.Next();
    REQUIRE(item.has_value());
    CHECK_FALSE(waiter.DoneWithin(absl::Milliseconds(100)));
    const bool last = generation == 2;
    REQUIRE(worker
                .Complete(*item, {CompleteAction(0, last ? "\"end\"" : "1",
                                                 last ? ORCHESTRATION_STATUS_COMPLETED
                                                      : ORCHESTRATION_STATUS_CONTINUED_AS_NEW)})
                .ok());
  }
  REQUIRE(waiter.DoneWithin(kPatience));
  CHECK(waiter.orchestration_status() == ORCHESTRATION_STATUS_COMPLETED);
}

TEST_CASE("wait_missing_then_created: waits for the instance to appear") {
  TestServer server;
  FakeWorker worker(server.stub());
  Waiter waiter(server.stub(), "i", false);
  CHECK_FALSE(waiter.DoneWithin(absl::Milliseconds(200)));
  Bring(server, worker, "i", ORCHESTRATION_STATUS_COMPLETED);
  REQUIRE(waiter.DoneWithin(kPatience));
  CHECK(waiter.status().ok());
  CHECK(waiter.response().exists());
}

TEST_CASE("wait_max: at the bound a missing instance does not exist, a live one is too slow") {
  TestServerOptions options;
  options.dispatch.wait_max = absl::Milliseconds(200);
  TestServer server(options);
  Waiter missing(server.stub(), "nobody", false);
  REQUIRE(missing.DoneWithin(kPatience));
  CHECK(missing.status().ok());
  CHECK_FALSE(missing.response().exists());
  server.Start("o", "i");
  Waiter live(server.stub(), "i", false);
  REQUIRE(live.DoneWithin(kPatience));
  CHECK(live.status().error_code() == grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_CASE("wait_disconnect: a thousand waits are freed when their client leaves") {
  TestServer server;
  server.Start("o", "i");
  {
    const std::shared_ptr<grpc::Channel> channel = server.NewChannel();
    const auto stub = TaskHubSidecarService::NewStub(channel);
    std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
    std::vector<GetInstanceResponse> responses(1000);
    GetInstanceRequest request;
    request.set_instanceid("i");
    absl::Mutex mutex;
    int left = 1000;
    for (GetInstanceResponse& response : responses) {
      contexts.push_back(NewContext());
      stub->async()->WaitForInstanceCompletion(contexts.back().get(), &request, &response,
                                               [&](grpc::Status status) {
                                                 absl::MutexLock lock(&mutex);
                                                 CHECK_FALSE(status.ok());
                                                 --left;
                                               });
    }
    for (const auto& context : contexts) context->TryCancel();
    absl::MutexLock lock(&mutex);
    const auto none = [&] { return left == 0; };
    REQUIRE(mutex.AwaitWithTimeout(absl::Condition(&none), kPatience));
  }
  // Shutdown waits for every reactor, so a leaked one would hang here.
  const absl::Time before = absl::Now();
  server.server().Shutdown(kPatience);
  CHECK(absl::Now() - before < kPatience / 2);
}

}  // namespace
}  // namespace dt::testing
