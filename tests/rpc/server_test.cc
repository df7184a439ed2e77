// The gRPC server around the service: health, reflection, addresses, refused RPCs, status texts.
#include "server/rpc/server.h"

#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "fmt/format.h"
#include "google/protobuf/descriptor.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"
#include "server/rpc/frame_buffer.h"
#include "server/rpc/health_client.h"
#include "server/rpc/status.h"
#include "tests/rpc/rpc_fixture.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

TEST_CASE("health: serving, not serving, not there") {
  TestServer server;
  CHECK(rpc::CheckHealth(server.address(), /*tls=*/false, kPatience).ok());
  server.server().SetServing(false);
  CHECK(rpc::CheckHealth(server.address(), /*tls=*/false, kPatience, rpc::HealthQuestion::kAlive)
            .ok());
  const absl::Status not_serving = rpc::CheckHealth(server.address(), /*tls=*/false, kPatience);
  CHECK(absl::IsUnavailable(not_serving));
  CHECK(not_serving.message().find("not serving") != absl::string_view::npos);
  server.server().SetServing(true);
  CHECK(rpc::CheckHealth(server.address(), /*tls=*/false, kPatience).ok());
  const std::string address = server.address();
  server.server().Shutdown(absl::ZeroDuration());
  CHECK(absl::IsUnavailable(rpc::CheckHealth(address, /*tls=*/false, kPatience)));
}

TEST_CASE("health_watch: is told the state, and each change of it") {
  TestServer server;
  grpc::GenericStub stub(server.NewChannel());
  const std::unique_ptr<grpc::ClientContext> context = NewContext();
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(context.get(), "/grpc.health.v1.Health/Watch", &queue);
  const auto succeeds = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    REQUIRE(queue.Next(&tag, &ok));
    return ok;
  };
  call->StartCall(nullptr);
  REQUIRE(succeeds());
  call->WriteLast(grpc::ByteBuffer(nullptr, 0), {}, nullptr);
  REQUIRE(succeeds());
  for (const bool serving : {true, false, true}) {
    server.server().SetServing(serving);
    server.server().SetServing(serving);  // tells nothing new
    grpc::ByteBuffer answer;
    call->Read(&answer, nullptr);
    REQUIRE(succeeds());
    grpc::Slice slice;
    REQUIRE(answer.DumpToSingleSlice(&slice).ok());
    CHECK(std::string(slice.begin(), slice.end()) == (serving ? "\x08\x01" : "\x08\x02"));
  }
  server.server().Shutdown(absl::ZeroDuration());
  grpc::Status status;
  call->Finish(&status, nullptr);
  REQUIRE(succeeds());
  CHECK_FALSE(status.ok());
}

TEST_CASE("listen_in_use: a second server on the address says so instead of sharing it") {
  TestServer server;
  rpc::ServerOptions options;
  options.addresses = {server.address()};
  rpc::AdmittedService service("None");
  const auto second = rpc::Server::Start(options, &service);
  CHECK(absl::IsFailedPrecondition(second.status()));
  CHECK(second.status().message() ==
        fmt::format("cannot listen on {}: Address already in use; stop the other process or choose "
                    "another address with --listen",
                    server.address()));
}

TEST_CASE("listen_unix: a socket is listened on, and not taken from a living server") {
  const std::string path = fmt::format("unix:/tmp/dt-rpc-test-{}.sock", getpid());
  rpc::AdmittedService service("None");
  rpc::ServerOptions options;
  options.addresses = {path, "127.0.0.1:0"};
  auto first = rpc::Server::Start(options, &service);
  REQUIRE(first.ok());
  (*first)->SetServing(true);
  REQUIRE((*first)->addresses().size() == 2);
  CHECK((*first)->addresses()[0] == path);
  CHECK(rpc::CheckHealth(path, /*tls=*/false, kPatience).ok());
  CHECK(rpc::CheckHealth((*first)->addresses()[1], /*tls=*/false, kPatience).ok());
  options.addresses = {path};
  const auto second = rpc::Server::Start(options, &service);
  CHECK(absl::IsFailedPrecondition(second.status()));
  CHECK(rpc::CheckHealth(path, /*tls=*/false, kPatience).ok());
}

TEST_CASE("listen_unix_mode: who may connect does not depend on the umask") {
  const std::string path = fmt::format("/tmp/dt-rpc-test-{}.mode", getpid());
  rpc::AdmittedService service("None");
  rpc::ServerOptions options;
  options.addresses = {"unix:" + path};
  for (const mode_t mode : {0600, 0660, 0666}) {
    if (mode != 0600) options.unix_mode = mode;  // the default
    for (const mode_t mask : {0000, 0022, 0077}) {
      INFO(fmt::format("mode {:o}, umask {:o}", mode, mask));
      const mode_t before = umask(mask);
      const auto server = rpc::Server::Start(options, &service);
      const mode_t after = umask(before);
      CHECK(after == mask);
      REQUIRE(server.ok());
      struct stat found {};
      REQUIRE(stat(path.c_str(), &found) == 0);
      CHECK((found.st_mode & 07777) == mode);
    }
  }
}

TEST_CASE("pollers: servers of one process leave each other one, whichever stops first") {
  rpc::AdmittedService service("None");
  rpc::ServerOptions options;
  options.addresses = {"127.0.0.1:0"};
  const auto start = [&] {
    auto server = rpc::Server::Start(options, &service);
    REQUIRE(server.ok());
    (*server)->SetServing(true);
    return *std::move(server);
  };
  const auto serves = [](const rpc::Server& server) {
    return rpc::CheckHealth(server.addresses()[0], /*tls=*/false, kPatience).ok();
  };
  std::unique_ptr<rpc::Server> first = start();
  std::unique_ptr<rpc::Server> second = start();
  CHECK(serves(*first));
  CHECK(serves(*second));
  first.reset();
  CHECK(serves(*second));
  first = start();
  second.reset();
  CHECK(serves(*first));
}

TEST_CASE("listen_bad_addresses: malformed ones are named") {
  rpc::AdmittedService service("None");
  for (const char* address : {"", "4001", ":4001", "host:", "host:x", "host:70000", "unix:"}) {
    rpc::ServerOptions options;
    options.addresses = {address};
    const auto server = rpc::Server::Start(options, &service);
    INFO(address);
    CHECK(absl::IsInvalidArgument(server.status()));
  }
  CHECK(absl::IsInvalidArgument(rpc::Server::Start({}, &service).status()));
}

// Calls an RPC and returns its status. The message is empty, but for the one call that would go on
// for ever then.
grpc::Status Call(TestServer& server, const std::string& method) {
  grpc::GenericStub stub(server.NewChannel());
  const std::unique_ptr<grpc::ClientContext> context = NewContext();
  GetWorkItemsRequest bad;
  bad.set_maxconcurrentactivityworkitems(-1);
  const bool endless = method == "/TaskHubSidecarService/GetWorkItems";
  const grpc::Slice bytes(endless ? bad.SerializeAsString() : "");
  const grpc::ByteBuffer request(&bytes, 1);
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

TEST_CASE("unserved: no RPC of the protocol is unimplemented") {
  TestServer server;
  const google::protobuf::ServiceDescriptor* service =
      google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
          "TaskHubSidecarService");
  REQUIRE(service != nullptr);
  for (int i = 0; i < service->method_count(); ++i) {
    const google::protobuf::MethodDescriptor& method = *service->method(i);
    INFO(method.name());
    const grpc::Status status =
        Call(server, fmt::format("/TaskHubSidecarService/{}", method.name()));
    CHECK(status.error_code() != grpc::StatusCode::UNIMPLEMENTED);
  }
}

TEST_CASE("status_text: a long message is cut at a character") {
  std::string text;
  while (text.size() < 3000) text += "\xE2\x82\xAC";
  const grpc::Status status = rpc::ToGrpc(absl::InternalError(text));
  CHECK(status.error_code() == grpc::StatusCode::INTERNAL);
  CHECK(status.error_message().size() <= rpc::kStatusMessageBytesMax + 3);
  CHECK((status.error_message().size() - 3) % 3 == 0);
  CHECK(rpc::FromGrpc(status).code() == absl::StatusCode::kInternal);
  CHECK(rpc::ToGrpc(absl::OkStatus()).ok());
}

TEST_CASE("frame_buffer: the bytes of a frame in order, large pieces shared") {
  orchestration::Frame frame;
  std::string expected;
  for (const size_t size : {0, 10, 5000, 20, 30, 2048, 2047, 9000}) {
    frame.push_back(std::make_shared<const std::string>(size, static_cast<char>('a' + size % 26)));
    expected += *frame.back();
  }
  grpc::ByteBuffer buffer = rpc::MakeByteBuffer(frame);
  CHECK(frame[2].use_count() == 2);
  CHECK(frame[1].use_count() == 1);
  grpc::Slice slice;
  REQUIRE(buffer.DumpToSingleSlice(&slice).ok());
  CHECK(std::string(reinterpret_cast<const char*>(slice.begin()), slice.size()) == expected);
  buffer.Clear();
  CHECK(frame[2].use_count() == 1);
  CHECK(rpc::MakeByteBuffer(orchestration::Frame{}).Length() == 0);
}

}  // namespace
}  // namespace dt::testing
