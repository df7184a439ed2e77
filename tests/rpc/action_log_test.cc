// Management actions in the log, with who and how many; and calls that are none of this protocol.
#include "absl/strings/str_cat.h"
#include "grpcpp/generic/generic_stub.h"
#include "server/rpc/frame_buffer.h"
#include "tests/rpc/access_fixture.h"
#include "tests/support/catch.h"
#include "tests/support/log_capture.h"

namespace dt::testing {
namespace {

// A call of any method with any bytes.
grpc::Status CallRaw(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                     const std::string& bytes) {
  grpc::GenericStub stub(channel);
  const std::unique_ptr<grpc::ClientContext> context = NewContext();
  const grpc::ByteBuffer request = rpc::MakeByteBuffer(bytes);
  grpc::ByteBuffer response;
  grpc::Status status;
  absl::Notification done;
  stub.UnaryCall(context.get(), method, grpc::StubOptions(), &request, &response,
                 [&](grpc::Status answer) {
                   status = std::move(answer);
                   done.Notify();
                 });
  done.WaitForNotification();
  return status;
}

TEST_CASE("management_actions_logged: who did what, and with how many") {
  const LogCapture log;
  const ScratchDir directory;
  TestServerOptions options;
  options.access = WithAccess(directory, {{"ops", "*", "admin"}});
  options.service.hub_deletion_enabled = true;
  TestServer server(std::move(options));
  Stub& stub = server.stub();
  const Metadata ops = As("ops", "shop");
  const auto logged = [&log](const std::string& action, const std::string& what) {
    return log.Has(absl::StrCat("ManagementAction (316): ", action, ", hub 'shop': ", what)) &&
           log.Has("; by 'ops', ipv4:127.0.0.1:");
  };
  CreateTaskHubResponse created;
  REQUIRE(stub.CreateTaskHub(NewContext(ops).get(), {}, &created).ok());
  CHECK(logged("CreateTaskHub", "it is there, with the id "));
  for (const char* id : {"a", "b", "c"}) server.Start("o", id, ops);

  TerminateRequest terminate;
  terminate.set_instanceid("a");
  TerminateResponse terminated;
  REQUIRE(stub.TerminateInstance(NewContext(ops).get(), terminate, &terminated).ok());
  CHECK(logged("TerminateInstance", "instance 'a'"));
  const int before = log.Count("ManagementAction");
  REQUIRE(stub.TerminateInstance(NewContext(ops).get(), terminate, &terminated).ok());
  CHECK(log.Count("ManagementAction") == before);  // nothing was left to end

  SkipGracefulOrchestrationTerminationsRequest skip;
  for (const char* id : {"a", "b", "c"}) skip.mutable_instancebatch()->add_instanceids(id);
  SkipGracefulOrchestrationTerminationsResponse skipped;
  REQUIRE(stub.SkipGracefulOrchestrationTerminations(NewContext(ops).get(), skip, &skipped).ok());
  CHECK(logged("SkipGracefulOrchestrationTerminations", "2 instances of 3"));

  RestartInstanceRequest restart;
  restart.set_instanceid("a");
  RestartInstanceResponse restarted;
  REQUIRE(stub.RestartInstance(NewContext(ops).get(), restart, &restarted).ok());
  CHECK(logged("RestartInstance", "instance 'a' of what 'a' was started with"));

  PurgeInstancesRequest purge;
  for (const char* id : {"b", "c"}) purge.mutable_instancebatch()->add_instanceids(id);
  PurgeInstancesResponse purged;
  REQUIRE(stub.PurgeInstances(NewContext(ops).get(), purge, &purged).ok());
  CHECK(logged("PurgeInstances", "2 instances in "));

  CreateTaskHubRequest again;
  again.set_recreateifexists(true);
  REQUIRE(stub.CreateTaskHub(NewContext(ops).get(), again, &created).ok());
  CHECK(logged("CreateTaskHub", "it was deleted with all its data, and made anew, with the id "));
  DeleteTaskHubResponse deleted;
  REQUIRE(stub.DeleteTaskHub(NewContext(ops).get(), {}, &deleted).ok());
  CHECK(logged("DeleteTaskHub", "it was deleted with all its data"));
}

TEST_CASE("protocol_unknown_method: it is named to the caller, and once in the log") {
  const LogCapture log;
  TestServer server;
  const auto channel = server.NewChannel();
  for (int i = 0; i < 3; ++i) {
    const grpc::Status status = CallRaw(channel, "/other.Service/Do", "");
    CHECK(status.error_code() == grpc::StatusCode::UNIMPLEMENTED);
    CHECK(status.error_message() == "this server has no method /other.Service/Do");
  }
  CHECK(log.Count("ProtocolError (317): a call from ipv4:127.0.0.1:") == 1);
  CHECK(log.Has("this server has no method /other.Service/Do"));
}

TEST_CASE("protocol_unreadable_message: named to the caller, and once in the log") {
  const LogCapture log;
  TestServer server;
  const auto channel = server.NewChannel();
  const std::string bytes = "\x0a\x05xx";  // field 1 has 5 bytes, says it
  for (const std::string method : {"StartInstance", "GetInstance", "RaiseEvent"}) {
    const grpc::Status status =
        CallRaw(channel, absl::StrCat("/TaskHubSidecarService/", method), bytes);
    CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
    CHECK(status.error_message() ==
          absl::StrCat("/TaskHubSidecarService/", method,
                       ": its 4 bytes cannot be parsed as the message of this method"));
  }
  CHECK(log.Count("ProtocolError (317)") == 1);
  CHECK(CallRaw(server.NewChannel("another"), "/TaskHubSidecarService/GetInstance", bytes)
            .error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(log.Count("ProtocolError (317)") == 2);  // another connection
}

}  // namespace
}  // namespace dt::testing
