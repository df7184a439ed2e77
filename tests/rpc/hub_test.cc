// Task hubs by metadata (RULES.md 1.2, 5.36).
#include <atomic>

#include "tests/rpc/rpc_fixture.h"
#include "tests/support/catch.h"
#include "tests/support/log_capture.h"

namespace dt::testing {
namespace {

grpc::Status Hello(TestServer& server, const Metadata& metadata) {
  google::protobuf::Empty empty;
  google::protobuf::Empty answer;
  return server.stub().Hello(NewContext(metadata).get(), empty, &answer);
}

grpc::Status CreateHub(TestServer& server, const std::string& name, bool recreate) {
  CreateTaskHubRequest request;
  request.set_recreateifexists(recreate);
  CreateTaskHubResponse response;
  return server.stub().CreateTaskHub(NewContext({{"taskhub", name}}).get(), request, &response);
}

grpc::Status DeleteHub(TestServer& server, const std::string& name) {
  DeleteTaskHubResponse response;
  return server.stub().DeleteTaskHub(NewContext({{"taskhub", name}}).get(), {}, &response);
}

TEST_CASE("default_hub: no metadata and `taskhub: default` are the same hub") {
  TestServer server;
  FakeWorker worker(server.stub(), {}, {{"taskhub", "default"}});
  server.Start("o", "i");
  CHECK(worker.Next().has_value());
}

TEST_CASE("hub_isolation: one id in two hubs is two instances") {
  TestServer server;
  REQUIRE(CreateHub(server, "other", false).ok());
  FakeWorker worker(server.stub(), {}, {{"taskhub", "other"}});
  server.Start("in_default", "i");
  server.Start("in_other", "i", {{"taskhub", "other"}});
  const std::optional<WorkItem> item = worker.Next();
  REQUIRE(item.has_value());
  REQUIRE(worker.Complete(*item, {CompleteAction(0, "1")}).ok());
  CHECK_FALSE(worker.Next(absl::Milliseconds(200)).has_value());
  const OrchestrationState other =
      server.Get("i", true, {{"taskhub", "other"}}).orchestrationstate();
  CHECK(other.name() == "in_other");
  CHECK(other.orchestrationstatus() == ORCHESTRATION_STATUS_COMPLETED);
  const OrchestrationState first = server.Get("i").orchestrationstate();
  CHECK(first.name() == "in_default");
  CHECK(first.orchestrationstatus() == ORCHESTRATION_STATUS_PENDING);
}

TEST_CASE(
    "hub_unknown: NOT_FOUND from Hello, GetWorkItems and StartInstance, or made on first use") {
  const Metadata metadata = {{"taskhub", "new"}};
  TestServer closed;
  grpc::Status status = Hello(closed, metadata);
  CHECK(status.error_code() == grpc::StatusCode::NOT_FOUND);
  CHECK(status.error_message() == "Task hub not found: new");
  FakeWorker refused(closed.stub(), {}, metadata);
  const std::optional<grpc::Status> end = refused.WaitForEnd();
  REQUIRE(end.has_value());
  CHECK(end->error_code() == grpc::StatusCode::NOT_FOUND);
  CHECK(end->error_message() == "Task hub not found: new");
  CreateInstanceRequest request;
  request.set_name("o");
  CreateInstanceResponse response;
  status = closed.stub().StartInstance(NewContext(metadata).get(), request, &response);
  CHECK(status.error_code() == grpc::StatusCode::NOT_FOUND);

  TestServerOptions options;
  options.service.hubs.create_unknown = true;
  TestServer open(options);
  CHECK(Hello(open, metadata).ok());
  FakeWorker worker(open.stub(), {}, metadata);
  open.Start("o", "i", metadata);
  CHECK(worker.Next().has_value());
}

TEST_CASE("hub_bad_names: too long or not printable") {
  TestServerOptions options;
  options.service.hubs.create_unknown = true;
  TestServer server(options);
  const grpc::Status status = Hello(server, {{"taskhub", std::string(101, 'h')}});
  CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(status.error_message() == "task hub name: length 101 is over the limit of 100 characters");
  CHECK(Hello(server, {{"taskhub", "a b"}}).error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(Hello(server, {{"taskhub", std::string(100, 'h')}}).ok());
}

TEST_CASE("create_hub_gated: deleting data needs a setting, and without it the data stays") {
  TestServer closed;
  closed.Start("o", "i");
  CHECK(CreateHub(closed, "default", false).ok());
  CHECK(CreateHub(closed, "default", true).error_code() == grpc::StatusCode::PERMISSION_DENIED);
  CHECK(DeleteHub(closed, "default").error_code() == grpc::StatusCode::PERMISSION_DENIED);
  CHECK(closed.Get("i").exists());

  TestServerOptions options;
  options.service.hub_deletion_enabled = true;
  TestServer open(options);
  open.Start("o", "i");
  CHECK(CreateHub(open, "default", true).ok());
  CHECK_FALSE(open.Get("i").exists());
  CHECK(DeleteHub(open, "default").ok());
  CHECK(Hello(open, {}).error_code() == grpc::StatusCode::NOT_FOUND);
  CHECK(DeleteHub(open, "default").error_code() == grpc::StatusCode::NOT_FOUND);
  CHECK(CreateHub(open, "default", true).ok());
  CHECK(Hello(open, {}).ok());
}

TEST_CASE("hub_deletion_is_told: its removal begins at once") {
  std::atomic<int> told{0};
  TestServerOptions options;
  options.service.hub_deletion_enabled = true;
  options.service.hubs.on_deleted = [&told] { ++told; };
  TestServer server(options);
  server.Start("o", "i");
  CHECK(CreateHub(server, "default", true).ok());
  CHECK(told == 1);
  CHECK(DeleteHub(server, "default").ok());
  CHECK(told == 2);
  CHECK(DeleteHub(server, "default").error_code() == grpc::StatusCode::NOT_FOUND);
  CHECK(told == 2);
}

TEST_CASE(
    "hub_deleted_streams: the worker streams of a hub that is gone end, and find the new one") {
  const LogCapture log;
  TestServerOptions options;
  options.service.hub_deletion_enabled = true;
  TestServer server(options);
  REQUIRE(CreateHub(server, "other", false).ok());
  const Metadata metadata = {{"taskhub", "other"}};
  FakeWorker old(server.stub(), {}, metadata);
  SECTION("when this daemon deletes it") { REQUIRE(CreateHub(server, "other", true).ok()); }
  SECTION("when somebody else does") {
    REQUIRE(server.database().DeleteHub("other").ok());
    REQUIRE(server.database().ResolveHub("other", /*create=*/true).ok());
  }
  const std::optional<grpc::Status> end = old.WaitForEnd();
  REQUIRE(end.has_value());
  CHECK(end->error_code() == grpc::StatusCode::NOT_FOUND);
  CHECK(end->error_message() == "Task hub not found: other");
  CHECK(log.Has("task hub 'other' was deleted: the 1 worker streams"));
  // As workers do, it comes again.
  FakeWorker again(server.stub(), {}, metadata);
  server.Start("o", "i", metadata);
  const std::optional<WorkItem> item = again.Next();
  REQUIRE(item.has_value());
  CHECK(item->orchestratorrequest().instanceid() == "i");
}

}  // namespace
}  // namespace dt::testing
