// The worker side over real gRPC: tests/CASES.md, group "Tokens, streams, dispatch", as far as the
// transport decides it.
#include <atomic>

#include "absl/time/clock.h"
#include "tests/rpc/rpc_fixture.h"
#include "tests/support/catch.h"
#include "tests/support/forwarding_store.h"

namespace dt::testing {
namespace {

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("unknown_token: garbage and used tokens are answered OK and change nothing") {
  TestServer server;
  FakeWorker worker(server.stub());
  server.Start("o", "i");
  const std::optional<WorkItem> item = worker.Next();
  REQUIRE(item.has_value());
  for (const std::string& token :
       {std::string("garbage"), std::string("o:1:2:3"), std::string(100000, 'o'),
        item->completiontoken() + "0", std::string("a") + item->completiontoken()}) {
    OrchestratorResponse response;
    response.set_instanceid("i");
    response.set_completiontoken(token);
    *response.add_actions() = CompleteAction(0, "\"forged\"");
    CompleteTaskResponse done;
    CHECK(server.stub().CompleteOrchestratorTask(NewContext().get(), response, &done).ok());
    ActivityResponse activity;
    activity.set_instanceid("i");
    activity.set_completiontoken(token);
    CHECK(server.stub().CompleteActivityTask(NewContext().get(), activity, &done).ok());
    AbandonOrchestrationTaskRequest abandon;
    abandon.set_completiontoken(token);
    AbandonOrchestrationTaskResponse abandoned;
    CHECK(server.stub()
              .AbandonTaskOrchestratorWorkItem(NewContext().get(), abandon, &abandoned)
              .ok());
    AbandonActivityTaskRequest abandon_activity;
    abandon_activity.set_completiontoken(token);
    AbandonActivityTaskResponse activity_abandoned;
    CHECK(
        server.stub()
            .AbandonTaskActivityWorkItem(NewContext().get(), abandon_activity, &activity_abandoned)
            .ok());
  }
  CHECK(server.Get("i").orchestrationstate().orchestrationstatus() == ORCHESTRATION_STATUS_PENDING);
  CHECK(worker.Complete(*item, {CompleteAction(0, "\"first\"")}).ok());
  CHECK(worker.Complete(*item, {CompleteAction(0, "\"second\"")}).ok());
  CHECK(server.Get("i").orchestrationstate().output().value() == "\"first\"");
}

// Fails the first checkpoint, as a database error that no retry cured.
class FailingStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;
  void CommitCheckpoint(Checkpoint checkpoint,
                        LetterCallback<Checkpoint, CheckpointResult> done) override {
    if (!failed_.exchange(true))
      return std::move(done)(std::move(checkpoint), absl::UnavailableError("database is away"));
    ForwardingStore::CommitCheckpoint(std::move(checkpoint), std::move(done));
  }

 private:
  std::atomic<bool> failed_{false};
};

TEST_CASE(
    "complete_fails_in_database: the call fails and the item comes again on the same stream") {
  TestServerOptions options;
  options.wrap_store = [](Store* store) { return std::make_unique<FailingStore>(store); };
  TestServer server(options);
  FakeWorker worker(server.stub());
  server.Start("o", "i");
  const std::optional<WorkItem> first = worker.Next();
  REQUIRE(first.has_value());
  const grpc::Status failed = worker.Complete(*first, {CompleteAction(0, "1")});
  CHECK(failed.error_code() == grpc::StatusCode::UNAVAILABLE);
  const std::optional<WorkItem> again = worker.Next();
  REQUIRE(again.has_value());
  CHECK(again->orchestratorrequest().instanceid() == "i");
  CHECK(again->completiontoken() != first->completiontoken());
  CHECK(worker.Complete(*again, {CompleteAction(0, "2")}).ok());
  CHECK(server.Get("i").orchestrationstate().output().value() == "2");
}

// PostgreSQL that cannot be reached: every verb answers UNAVAILABLE while `away`.
class AwayStore final : public ForwardingStore {
 public:
  AwayStore(Store* store, const std::atomic<bool>* away) : ForwardingStore(store), away_(away) {}
  void CreateInstance(NewInstance instance,
                      LetterCallback<NewInstance, CreateResult> done) override {
    if (*away_)
      return std::move(done)(std::move(instance), absl::UnavailableError("database is away"));
    ForwardingStore::CreateInstance(std::move(instance), std::move(done));
  }
  void ClaimInstances(ClaimRequest request,
                      LetterCallback<ClaimRequest, ClaimResult> done) override {
    if (*away_)
      return std::move(done)(std::move(request), absl::UnavailableError("database is away"));
    ForwardingStore::ClaimInstances(std::move(request), std::move(done));
  }
  void ReadInstance(HubId hub, std::string instance_id, bool payloads,
                    Callback<std::optional<InstanceRow>> done) override {
    if (*away_) return std::move(done)(absl::UnavailableError("database is away"));
    ForwardingStore::ReadInstance(hub, std::move(instance_id), payloads, std::move(done));
  }

 private:
  const std::atomic<bool>* const away_;
};

TEST_CASE("database_away: clients get UNAVAILABLE, streams stay, work goes on afterwards") {
  std::atomic<bool> away{false};
  TestServerOptions options;
  options.wrap_store = [&away](Store* store) { return std::make_unique<AwayStore>(store, &away); };
  TestServer server(options);
  FakeWorker worker(server.stub());
  server.Start("o", "before");
  REQUIRE(worker.Next().has_value());
  away = true;
  CreateInstanceRequest request;
  request.set_name("o");
  CreateInstanceResponse response;
  CHECK(server.stub().StartInstance(NewContext().get(), request, &response).error_code() ==
        grpc::StatusCode::UNAVAILABLE);
  GetInstanceRequest get;
  get.set_instanceid("before");
  GetInstanceResponse got;
  CHECK(server.stub().GetInstance(NewContext().get(), get, &got).error_code() ==
        grpc::StatusCode::UNAVAILABLE);
  CHECK_FALSE(worker.WaitForEnd(absl::Milliseconds(200)).has_value());
  away = false;
  server.Start("o", "after");
  std::optional<WorkItem> item = worker.Next();
  REQUIRE(item.has_value());
  if (item->orchestratorrequest().instanceid() != "after") {
    item = worker.Next();  // the first was the early one of the start that failed
    REQUIRE(item.has_value());
  }
  CHECK(item->orchestratorrequest().instanceid() == "after");
}

TEST_CASE("health_ping: an idle stream gets pings and stays open") {
  TestServerOptions options;
  options.dispatch.health_ping_interval = absl::Milliseconds(50);
  TestServer server(options);
  FakeWorker worker(server.stub());
  CHECK(worker.WaitForPings(4));
  CHECK_FALSE(worker.WaitForEnd(absl::ZeroDuration()).has_value());
  server.Start("o", "i");
  CHECK(worker.Next().has_value());
}

TEST_CASE("stream_never_ok: an idle stream stays open and ends with UNAVAILABLE at shutdown") {
  TestServer server;
  FakeWorker worker(server.stub());
  CHECK_FALSE(worker.WaitForEnd(absl::Milliseconds(300)).has_value());
  server.Drain();
  const std::optional<grpc::Status> end = worker.WaitForEnd();
  REQUIRE(end.has_value());
  CHECK(end->error_code() == grpc::StatusCode::UNAVAILABLE);
  // A worker that comes while the server drains is sent away the same way.
  FakeWorker late(server.stub());
  const std::optional<grpc::Status> refused = late.WaitForEnd();
  REQUIRE(refused.has_value());
  CHECK(refused->error_code() == grpc::StatusCode::UNAVAILABLE);
}

TEST_CASE("stream_drop: items of a closed stream are offered to another at once") {
  TestServer server;
  auto first = std::make_unique<FakeWorker>(server.stub());
  server.Start("o", "i");
  REQUIRE(first->Next().has_value());
  first.reset();
  FakeWorker second(server.stub());
  const std::optional<WorkItem> item = second.Next();
  REQUIRE(item.has_value());
  CHECK(item->orchestratorrequest().instanceid() == "i");
}

TEST_CASE("stream_not_reading: a worker that reads nothing keeps its stream, others are served") {
  TestServerOptions options;
  options.dispatch.health_ping_interval = absl::Milliseconds(20);
  TestServer server(options);
  // Its stream takes a few orchestrations and is then read no more.
  constexpr int kItems = 4;
  const auto stub = TaskHubSidecarService::NewStub(server.NewChannel());
  grpc::ClientContext context;
  GetWorkItemsRequest request;
  request.set_maxconcurrentorchestrationworkitems(kItems);
  request.set_maxconcurrentactivityworkitems(2);
  const auto reader = stub->GetWorkItems(&context, request);
  reader->WaitForInitialMetadata();
  // Items that together are larger than any window of flow control, so that a write really stalls.
  const std::string large((4 << 20) - 4096, 'x');
  for (int i = 0; i < kItems; ++i) {
    CreateInstanceRequest start;
    start.set_name("o");
    start.set_instanceid("large" + std::to_string(i));
    start.mutable_input()->set_value(large);
    CreateInstanceResponse started;
    REQUIRE(server.stub().StartInstance(NewContext().get(), start, &started).ok());
  }
  FakeWorker other(server.stub());
  for (int i = 0; i < 20; ++i) {
    server.Start("o", "i" + std::to_string(i));
    const std::optional<WorkItem> item = other.Next();
    REQUIRE(item.has_value());
    CHECK(other.Complete(*item, {CompleteAction(0, "1")}).ok());
  }
  CHECK(other.WaitForPings(3));
  // The stalled stream is still there: what waited for it arrives, with no ping in between. Before
  // the last two, which no window had room for, pings may have come while it was not stalled yet.
  WorkItem item;
  for (int received = 0; received < kItems;) {
    REQUIRE(reader->Read(&item));
    if (item.has_healthping()) {
      CHECK(received < kItems - 1);
      continue;
    }
    ++received;
    CHECK(item.orchestratorrequest().newevents(1).executionstarted().input().value() == large);
  }
  context.TryCancel();
  while (reader->Read(&item)) {
  }
  CHECK_FALSE(reader->Finish().ok());
}

TEST_CASE(
    "large_messages: a 30 MiB payload goes in and out, beyond the receive limit is an answer") {
  TestServerOptions options;
  options.server.receive_bytes_max = 40 << 20;
  TestServer server(options);
  FakeWorker worker(*TaskHubSidecarService::NewStub(server.NewChannel()));
  const std::string large(30 << 20, 'x');
  CreateInstanceRequest request;
  request.set_name("o");
  request.set_instanceid("i");
  request.mutable_input()->set_value(large);
  CreateInstanceResponse response;
  REQUIRE(server.stub().StartInstance(NewContext().get(), request, &response).ok());
  CHECK(server.Get("i").orchestrationstate().input().value() == large);
  request.mutable_input()->set_value(std::string(41 << 20, 'x'));
  const grpc::Status status = server.stub().StartInstance(NewContext().get(), request, &response);
  CHECK(status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
}

// The chunk fields are deprecated in the protocol, but SDKs still send them.
OrchestratorResponse ChunkOf(int index, bool last) {
  OrchestratorResponse part;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  part.set_ispartial(!last);
  part.mutable_chunkindex()->set_value(index);
#pragma GCC diagnostic pop
  return part;
}

TEST_CASE("large_response: 20 MiB in chunks of 3.9 MiB are one completion") {
  TestServer server;
  const auto stub = TaskHubSidecarService::NewStub(server.NewChannel());
  FakeWorker worker(*stub);
  server.Start("o", "i");
  const std::optional<WorkItem> item = worker.Next();
  REQUIRE(item.has_value());
  const std::string input(39 << 17, 'x');  // about 4.9 MiB each
  for (int chunk = 0; chunk < 4; ++chunk) {
    OrchestratorResponse part = ChunkOf(chunk, chunk == 3);
    part.set_instanceid("i");
    part.set_completiontoken(item->completiontoken());
    *part.add_actions() = ScheduleAction(chunk, "a", input);
    CompleteTaskResponse done;
    CHECK(server.database().Count().checkpoints == 0);
    REQUIRE(server.stub().CompleteOrchestratorTask(NewContext().get(), part, &done).ok());
  }
  CHECK(server.database().Count().checkpoints == 1);
  for (int activities = 0; activities < 4;) {
    const std::optional<WorkItem> task = worker.Next();
    REQUIRE(task.has_value());
    if (task->has_orchestratorrequest()) continue;
    CHECK(task->activityrequest().input().value() == input);
    // With the first answer the worker is known to take so much.
    if (++activities == 1) REQUIRE(worker.CompleteActivity(*task, "1").ok());
  }
}

std::string StreamError(TestServer& server, const GetWorkItemsRequest& request) {
  FakeWorker worker(server.stub(), request);
  const std::optional<grpc::Status> end = worker.WaitForEnd();
  REQUIRE(end.has_value());
  CHECK(end->error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  return end->error_message();
}

TEST_CASE("stream_bad_requests: negative counts and filters beyond their limits") {
  TestServerOptions options;
  options.service.streams.filters_max = 3;
  options.service.streams.filter_versions_max = 2;
  TestServer server(options);
  GetWorkItemsRequest request;
  request.set_maxconcurrentorchestrationworkitems(-1);
  CHECK(StreamError(server, request) ==
        "maxConcurrentOrchestrationWorkItems is -1; it must be 0 (the server's default) or more");
  request.Clear();
  request.set_maxconcurrentactivityworkitems(-2);
  CHECK(Contains(StreamError(server, request), "maxConcurrentActivityWorkItems is -2"));
  request.Clear();
  request.set_maxconcurrententityworkitems(-3);
  CHECK(Contains(StreamError(server, request), "maxConcurrentEntityWorkItems is -3"));
  request.Clear();
  OrchestrationFilter* filter = request.mutable_workitemfilters()->add_orchestrations();
  CHECK(StreamError(server, request) == "workItemFilters.orchestrations.name is empty");
  filter->set_name(std::string(1025, 'n'));
  CHECK(StreamError(server, request) ==
        "workItemFilters.orchestrations: length 1025 is over the limit of 1024 bytes");
  filter->set_name(std::string("a\0b", 3));
  CHECK(Contains(StreamError(server, request), "NUL"));
  filter->set_name("a");
  for (int i = 0; i < 3; ++i) filter->add_versions("v");
  CHECK(StreamError(server, request) ==
        "workItemFilters.orchestrations.versions: 3 entries are over the limit of 2");
  filter->clear_versions();
  filter->add_versions(std::string(257, 'v'));
  CHECK(Contains(StreamError(server, request), "over the limit of 256 bytes"));
  filter->clear_versions();
  for (int i = 0; i < 3; ++i) request.mutable_workitemfilters()->add_activities()->set_name("b");
  CHECK(StreamError(server, request) == "workItemFilters: 4 entries are over the limit of 3");
}

TEST_CASE("filter_duplicate_names: entries of one name are united, one without versions is any") {
  GetWorkItemsRequest request;
  const auto add = [&request](const std::string& name, const std::vector<std::string>& versions) {
    OrchestrationFilter* filter = request.mutable_workitemfilters()->add_orchestrations();
    filter->set_name(name);
    for (const std::string& version : versions) filter->add_versions(version);
  };
  add("One", {"1"});
  add("oNE", {"2", ""});
  add("Any", {"1"});
  add("any", {});
  add("ANY", {"2"});
  const absl::StatusOr<dispatch::StreamOptions> options =
      rpc::BuildStreamOptions(request, "", rpc::StreamLimits{});
  REQUIRE(options.ok());
  REQUIRE(options->orchestration_filters.has_value());
  const std::vector<NameFilter>& filters = *options->orchestration_filters;
  REQUIRE(filters.size() == 2);
  CHECK(filters[0].lower_name == "one");
  CHECK(filters[0].versions == std::vector<std::string>{"1", "2", ""});
  CHECK(filters[0].spellings == std::vector<std::string>{"One", "oNE"});
  CHECK(filters[1].lower_name == "any");
  CHECK(filters[1].versions.empty());
  // A category that is present but empty accepts nothing, which is not the same as no filter.
  REQUIRE(options->activity_filters.has_value());
  CHECK(options->activity_filters->empty());
  const absl::StatusOr<dispatch::StreamOptions> open =
      rpc::BuildStreamOptions(GetWorkItemsRequest(), "", rpc::StreamLimits{});
  REQUIRE(open.ok());
  CHECK_FALSE(open->orchestration_filters.has_value());
}

TEST_CASE(
    "filter_java_entities: what a stream accepts of entities, by library, limit and filters") {
  const std::string java = "grpc-java-netty/1.59.0";
  const auto entities = [](const std::string& user_agent, int limit, bool filtered,
                           const std::vector<std::string>& names) {
    GetWorkItemsRequest request;
    request.set_maxconcurrententityworkitems(limit);
    if (filtered) request.mutable_workitemfilters()->add_activities()->set_name("a");
    for (const std::string& name : names) {
      request.mutable_workitemfilters()->add_entities()->set_name(name);
    }
    const auto options = rpc::BuildStreamOptions(request, user_agent, rpc::StreamLimits{});
    REQUIRE(options.ok());
    if (!options->entity_filters.has_value()) return std::string("all");
    std::string text;
    for (const NameFilter& filter : *options->entity_filters) text += filter.lower_name + " ";
    return text.empty() ? "none" : text;
  };
  CHECK(entities(java, 5, true, {}) == "all");
  CHECK(entities(java, 0, true, {}) == "none");
  CHECK(entities(java, 5, false, {}) == "all");
  CHECK(entities(java, 0, false, {}) == "none");
  CHECK(entities(java, 5, true, {"Counter"}) == "counter ");
  CHECK(entities("grpc-dotnet/2.60", 5, true, {}) == "none");
  CHECK(entities("grpc-dotnet/2.60", 5, true, {"Counter", "COUNTER", "b"}) == "counter b ");
  CHECK(entities("grpc-python/1.60", 0, false, {}) == "all");
  CHECK(entities("grpc-go/1.58.0", 5, false, {}) == "none");
  CHECK(entities("grpc-go/1.58.0", 5, true, {"Counter"}) == "none");
}

TEST_CASE("user_agents: which library a worker uses") {
  using dispatch::ClientLibrary;
  CHECK(rpc::LibraryOfUserAgent("grpc-go/1.58.0") == ClientLibrary::kGo);
  CHECK(rpc::LibraryOfUserAgent("grpc-java-netty/1.59.0") == ClientLibrary::kJava);
  CHECK(rpc::LibraryOfUserAgent("grpc-python/1.60 grpc-c/37.0") == ClientLibrary::kOther);
  CHECK(rpc::LibraryOfUserAgent("grpc-dotnet/2.84.0 (.NET 10.0.12)") == ClientLibrary::kDotnet);
  CHECK(rpc::LibraryOfUserAgent("") == ClientLibrary::kOther);
}

}  // namespace
}  // namespace dt::testing
