// Waits whose instance is replaced or purged between the notice and the read (RULES.md 5.15): they
// answer a row that satisfies their condition, and nothing else.
#include <memory>
#include <optional>
#include <string>

#include "absl/time/clock.h"
#include "tests/rpc/held_reads.h"
#include "tests/rpc/rpc_fixture.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

class WaitOnWorld {
 public:
  WaitOnWorld() : server_(Options()), worker_(server_.stub()) {}

  TestServer& server() { return server_; }
  HeldReads& reads() { return *reads_; }

  // Starts "i" and leaves its first turn to the worker.
  void Start() { server_.Start("o", "i"); }
  // Ends it by that turn.
  void End(const std::string& result) {
    const std::optional<WorkItem> item = worker_.Next();
    REQUIRE(item.has_value());
    REQUIRE(worker_.Complete(*item, {CompleteAction(0, result)}).ok());
  }
  void Purge() {
    PurgeInstancesRequest request;
    request.set_instanceid("i");
    PurgeInstancesResponse response;
    REQUIRE(server_.stub().PurgeInstances(NewContext().get(), request, &response).ok());
    REQUIRE(response.deletedinstancecount() == 1);
  }
  void EndWorker() {
    worker_.Cancel();
    REQUIRE(worker_.WaitForEnd().has_value());
  }

 private:
  TestServerOptions Options() {
    TestServerOptions options;
    options.wrap_store = [this](Store* store) {
      auto reads = std::make_unique<HeldReads>(store);
      reads_ = reads.get();
      return reads;
    };
    return options;
  }

  HeldReads* reads_ = nullptr;
  TestServer server_;
  FakeWorker worker_;
};

TEST_CASE("wait_replaced: the next start takes the place of what a wait was told of") {
  for (const bool for_start : {false, true}) {
    CAPTURE(for_start);
    WaitOnWorld world;
    world.Start();
    world.End("1");
    world.reads().HoldInstance();
    Waiter waiter(world.server().stub(), "i", for_start, /*payloads=*/true);
    REQUIRE(world.reads().AwaitHeld());
    world.Start();
    world.reads().LetGo();
    world.End("2");
    REQUIRE(waiter.DoneWithin(kPatience));
    CHECK(waiter.status().ok());
    CHECK(waiter.orchestration_status() == ORCHESTRATION_STATUS_COMPLETED);
    CHECK(waiter.response().orchestrationstate().output().value() == "2");
  }
}

TEST_CASE("wait_purged: what a wait was told of is purged, and the wait is for the next one") {
  for (const bool for_start : {false, true}) {
    CAPTURE(for_start);
    WaitOnWorld world;
    world.Start();
    world.End("1");
    world.reads().HoldInstance();
    Waiter waiter(world.server().stub(), "i", for_start, /*payloads=*/true);
    REQUIRE(world.reads().AwaitHeld());
    world.Purge();
    world.reads().LetGo();
    world.Start();
    world.End("2");
    REQUIRE(waiter.DoneWithin(kPatience));
    CHECK(waiter.status().ok());
    CHECK(waiter.response().exists());
    CHECK(waiter.orchestration_status() == ORCHESTRATION_STATUS_COMPLETED);
    CHECK(waiter.response().orchestrationstate().output().value() == "2");
  }
}

TEST_CASE("wait_purged_disconnect: a wait that goes on is freed when its client leaves") {
  WaitOnWorld world;
  world.Start();
  world.End("1");
  world.reads().HoldInstance();
  {
    Waiter waiter(world.server().stub(), "i", /*for_start=*/false);
    REQUIRE(world.reads().AwaitHeld());
    world.Purge();
    world.reads().LetGo();
    // It asks the store again, and so goes on.
    CHECK_FALSE(waiter.DoneWithin(absl::Milliseconds(200)));
  }
  world.EndWorker();
  // Shutdown waits for every call, so one that is left would hang here.
  const absl::Time before = absl::Now();
  world.server().server().Shutdown(kPatience);
  CHECK(absl::Now() - before < kPatience / 2);
}

}  // namespace
}  // namespace dt::testing
