// What callers send before their call is let in, and messages that are never finished.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "fmt/format.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"
#include "server/rpc/peer_sockets.h"
#include "tests/rpc/access_fixture.h"
#include "tests/rpc/raw_call.h"
#include "tests/rpc/rpc_fixture.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

constexpr uint32_t kMessageBytes = 60 << 20;
constexpr char kStart[] = "/TaskHubSidecarService/StartInstance";

TEST_CASE("receive_unauthenticated: who is refused is so before the message is received") {
  const ScratchDir directory;
  TestServerOptions options;
  options.access = WithAccess(directory, {{"ann", "default", "admin"}});
  TestServer server(std::move(options));
  for (const char* const path : {kStart, "/TaskHubSidecarService/GetWorkItems",
                                 "/TaskHubSidecarService/StreamInstanceHistory",
                                 "/TaskHubSidecarService/CompleteOrchestratorTask"}) {
    INFO(path);
    RawCall call(server.address(), path, {}, kMessageBytes);
    call.Send(1000);
    REQUIRE(call.EndsWithin(kPatience));
    CHECK(call.status() == grpc::StatusCode::UNAUTHENTICATED);
  }
  RawCall known(server.address(), kStart, As("ann", "default"), kMessageBytes);
  known.Send(4 << 20);  // more than any window: it is received
  CHECK_FALSE(known.status().has_value());
}

TEST_CASE("receive_health: checks are answered without their message") {
  TestServer server;
  RawCall call(server.address(), "/grpc.health.v1.Health/Check", {}, kMessageBytes);
  call.Send(1000);
  REQUIRE(call.EndsWithin(kPatience));
  CHECK(call.status() == grpc::StatusCode::OK);
}

TEST_CASE("receive_nothing: a call that ends before its message is refused") {
  TestServer server;
  grpc::GenericStub stub(server.NewChannel());
  const std::unique_ptr<grpc::ClientContext> context = NewContext();
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(context.get(), kStart, &queue);
  const auto wait = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    REQUIRE(queue.Next(&tag, &ok));
  };
  call->StartCall(nullptr);
  wait();
  call->WritesDone(nullptr);
  wait();
  grpc::Status status;
  call->Finish(&status, nullptr);
  wait();
  CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK(status.error_message() == "the call ended before its message was complete");
}

TEST_CASE(
    "receive_scarce: while memory is scarce the connection that sends most ends, others stay") {
  TestServerOptions options;
  options.server.received_bytes_max = int64_t{1} << 40;
  TestServer server(std::move(options));
  FakeWorker worker(server.stub());
  RawCall busy(server.address(), kStart, {}, 4'000'000'000);
  busy.Send(1 << 20);
  REQUIRE_FALSE(busy.EndsWithin(absl::ZeroDuration()));
  server.server().SetMemoryScarce(true);
  Eventually([&] {
    busy.Send(256 << 10);
    return busy.EndsWithin(absl::ZeroDuration());
  });
  CHECK_FALSE(busy.status().has_value());  // the connection ended, not the call
  server.Start("o", "i");
  CHECK(worker.Next().has_value());
  server.server().SetMemoryScarce(false);
  RawCall again(server.address(), kStart, {}, 4'000'000'000);
  for (int i = 0; i < 20; ++i) again.Send(1 << 20);
  CHECK_FALSE(again.EndsWithin(absl::Milliseconds(300)));
}

TEST_CASE("receive_bound: calls that hold most end, and others go on") {
  constexpr int64_t kBound = 64 << 20;
  constexpr int kCalls = 10;
  constexpr size_t kBytesEach = 8 << 20;
  TestServerOptions options;
  options.server.received_bytes_max = kBound;
  TestServer server(std::move(options));
  FakeWorker worker(server.stub());
  RawCall small(server.address(), kStart, {}, 1000);
  small.Send(500);

  std::vector<std::unique_ptr<RawCall>> calls;
  for (int i = 0; i < kCalls; ++i) {
    calls.push_back(std::make_unique<RawCall>(server.address(), kStart, Metadata{}, kMessageBytes));
    calls.back()->Send(kBytesEach);
  }
  RawCall* ended = nullptr;
  Eventually([&] {
    for (const auto& call : calls) {
      if (call->EndsWithin(absl::ZeroDuration())) ended = call.get();
    }
    return ended != nullptr;
  });
  CHECK(ended->status() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(ended->headers().find("memory.bytes-max") != std::string::npos);
  Eventually([&] { return server.server().receive_budget().held() <= kBound; });
  int going_on = 0;
  for (const auto& call : calls) going_on += call->EndsWithin(absl::ZeroDuration()) ? 0 : 1;
  CHECK(going_on >= static_cast<int>(kBound / kBytesEach) - 2);

  CHECK_FALSE(small.EndsWithin(absl::ZeroDuration()));
  small.Send(1000 + 5 - 500);
  REQUIRE(small.EndsWithin(kPatience));
  CHECK(small.status() != grpc::StatusCode::RESOURCE_EXHAUSTED);  // its zeros are no request
  server.Start("o", "i");
  CHECK(worker.Next().has_value());
}

TEST_CASE("receive_finished: what is complete is not counted any more") {
  constexpr uint32_t kBytes = 8 << 20;
  TestServer server;
  RawCall call(server.address(), kStart, {}, kBytes);
  call.Send(kBytes - 1000);
  Eventually([&] { return server.server().receive_budget().held() >= kBytes - 1000; });
  call.Send(1000 + 5);
  REQUIRE(call.EndsWithin(kPatience));
  Eventually([&] { return server.server().receive_budget().held() == 0; });
}

// A connection to itself of this process; fds of both ends, and the peer as the server sees it.
struct Connected {
  explicit Connected(int family) {
    const int listener = socket(family, SOCK_STREAM, 0);
    sockaddr_storage address = {};
    address.ss_family = static_cast<sa_family_t>(family);
    socklen_t size = sizeof(address);
    if (family == AF_INET6) reinterpret_cast<sockaddr_in6&>(address).sin6_addr = in6addr_loopback;
    REQUIRE(bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(listen(listener, 1) == 0);
    REQUIRE(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    client = socket(family, SOCK_STREAM, 0);
    REQUIRE(connect(client, reinterpret_cast<sockaddr*>(&address), size) == 0);
    server = accept(listener, nullptr, nullptr);
    REQUIRE(server >= 0);
    close(listener);
    REQUIRE(getsockname(client, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    const int port = ntohs(reinterpret_cast<sockaddr_in&>(address).sin_port);  // both have it there
    peer = family == AF_INET ? fmt::format("ipv4:127.0.0.1:{}", port)
                             : fmt::format("ipv6:%5B::1%5D:{}", port);
  }
  ~Connected() {
    if (client >= 0) close(client);
    if (server >= 0) close(server);
  }
  Connected(const Connected&) = delete;
  Connected& operator=(const Connected&) = delete;
  void Receive(size_t bytes) const {
    const std::string text(bytes, 'x');
    REQUIRE(send(client, text.data(), bytes, 0) == static_cast<ssize_t>(bytes));
    std::string read(bytes, '\0');
    REQUIRE(recv(server, read.data(), bytes, MSG_WAITALL) == static_cast<ssize_t>(bytes));
  }

  int client = -1;
  int server = -1;
  std::string peer;
};

TEST_CASE("peer_sockets: bytes of connections, now and at the last two samples") {
  for (const int family : {AF_INET, AF_INET6}) {
    rpc::PeerSockets sockets;
    Connected connected(family);
    INFO(connected.peer);
    CHECK_FALSE(sockets.Received(connected.peer).has_value());
    connected.Receive(10);
    sockets.Discover();
    CHECK(sockets.Received(connected.peer) == 10);
    CHECK(sockets.ReceivedAt(connected.peer, sockets.samples()) == 0);
    sockets.Sample();
    connected.Receive(20);
    sockets.Sample();
    connected.Receive(30);
    CHECK(sockets.Received(connected.peer) == 60);
    CHECK(sockets.ReceivedAt(connected.peer, sockets.samples()) == 30);
    CHECK(sockets.ReceivedAt(connected.peer, sockets.samples() - 1) == 10);
    // Another connection gets the number of the one that is gone.
    const Connected other(family);
    REQUIRE(dup2(other.server, connected.server) == connected.server);
    CHECK_FALSE(sockets.Received(connected.peer).has_value());
    sockets.Sample();
    CHECK(sockets.ReceivedAt(connected.peer, sockets.samples()) == 0);
  }
}

}  // namespace
}  // namespace dt::testing
