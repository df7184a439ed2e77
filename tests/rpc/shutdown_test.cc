// How the gRPC server ends: with answers that SDKs try again on.
#include <unistd.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "fmt/format.h"
#include "grpcpp/create_channel.h"
#include "server/rpc/calls_in_progress.h"
#include "tests/rpc/rpc_fixture.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

// A client with a connection of its own that calls again and again, until it is told UNAVAILABLE.
class EagerClient {
 public:
  explicit EagerClient(const std::string& target) : thread_([this, target] { Run(target); }) {}

  bool begun() const { return begun_; }
  // What it was told besides OK.
  std::set<grpc::StatusCode> Refusals() {
    thread_.join();
    return refusals_;
  }

 private:
  void Run(const std::string& target) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    const std::unique_ptr<Stub> stub = TaskHubSidecarService::NewStub(
        grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments));
    while (refusals_.count(grpc::StatusCode::UNAVAILABLE) == 0) {
      GetInstanceRequest request;
      request.set_instanceid("none");
      GetInstanceResponse response;
      const grpc::Status status = stub->GetInstance(NewContext().get(), request, &response);
      if (!status.ok()) refusals_.insert(status.error_code());
      begun_ = true;
    }
  }

  std::atomic<bool> begun_ = false;
  std::set<grpc::StatusCode> refusals_;
  std::thread thread_;
};

TEST_CASE("shutdown_unavailable: no call that meets the end is told anything else") {
  constexpr int kRounds = 6;
  constexpr int kClients = 8;
  const bool over_unix = GENERATE(false, true);
  std::set<grpc::StatusCode> refusals;
  for (int round = 0; round < kRounds; ++round) {
    TestServerOptions options;
    if (over_unix) {
      options.server.addresses = {fmt::format("unix:/tmp/dt-rpc-test-{}.end", getpid())};
    }
    TestServer server(std::move(options));
    const std::string target = server.server().addresses().back();
    std::vector<std::unique_ptr<EagerClient>> clients;
    for (int i = 0; i < kClients; ++i) {
      clients.push_back(std::make_unique<EagerClient>(target));
    }
    for (const auto& client : clients) {
      while (!client->begun()) std::this_thread::yield();
    }
    server.Drain();
    server.server().Shutdown(kPatience);
    for (const auto& client : clients) refusals.merge(client->Refusals());
  }
  CHECK(refusals == std::set{grpc::StatusCode::UNAVAILABLE});
}

TEST_CASE("shutdown_grace: who is being answered is waited for, and nobody for ever") {
  TestServer server;
  const std::string id = server.Start("Never");
  Waiter waiter(server.stub(), id, /*for_start=*/false);
  REQUIRE_FALSE(waiter.DoneWithin(absl::Milliseconds(100)));
  const absl::Time begin = absl::Now();
  server.server().Shutdown(absl::Milliseconds(300));
  CHECK(absl::Now() - begin >= absl::Milliseconds(300));
  REQUIRE(waiter.DoneWithin(kPatience));
  CHECK(waiter.status().error_code() == grpc::StatusCode::UNAVAILABLE);
}

TEST_CASE("calls_in_progress: the earlier ones are waited for, later ones are not") {
  rpc::CallsInProgress calls;
  const auto first = calls.Begin();
  const auto second = calls.Begin();
  calls.End(first);
  CHECK_FALSE(calls.AwaitEarlier(absl::Milliseconds(10)));
  const auto late = calls.Begin();
  std::thread ending([&] { calls.End(second); });
  CHECK(calls.AwaitEarlier(kPatience));
  ending.join();
  calls.End(late);
  CHECK(calls.AwaitEarlier(absl::ZeroDuration()));
}

}  // namespace
}  // namespace dt::testing
