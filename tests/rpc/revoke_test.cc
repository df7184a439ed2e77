// Calls in progress whose rules go: each kind of call that takes long ends, and gives no more away.
#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/synchronization/mutex.h"
#include "tests/rpc/access_fixture.h"
#include "tests/support/catch.h"
#include "tests/support/forwarding_store.h"
#include "tests/support/log_capture.h"

namespace dt::testing {
namespace {

using grpc::StatusCode;

// Keeps the answers to long calls back until they are let go, and remembers who waits for what.
class HoldingStore : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  void ReadStatus(HubId hub, std::string instance_id, Callback<InstanceStatus> done) override {
    {
      absl::MutexLock lock(&mutex_);
      awaited_.insert(instance_id);
    }
    ForwardingStore::ReadStatus(hub, std::move(instance_id), std::move(done));
  }
  void ReadHistory(HubId hub, std::string instance_id, std::optional<std::string> execution_id,
                   int64_t after_turn, int64_t max_bytes, Callback<HistoryPage> done) override {
    if (!hold_next_history_.exchange(false)) {
      return ForwardingStore::ReadHistory(hub, std::move(instance_id), std::move(execution_id),
                                          after_turn, max_bytes, std::move(done));
    }
    ForwardingStore::ReadHistory(
        hub, std::move(instance_id), std::move(execution_id), after_turn, max_bytes,
        [this, done = std::move(done)](absl::StatusOr<HistoryPage> page) mutable {
          Hold([done = std::move(done), page = std::move(page)]() mutable {
            std::move(done)(std::move(page));
          });
        });
  }
  // There are three batches to purge.
  void PurgeInstances(PurgeRequest, Callback<PurgeResult> done) override {
    int batch = 0;
    {
      absl::MutexLock lock(&mutex_);
      batch = ++purges_;
    }
    if (batch == 3) return std::move(done)(PurgeResult{1, false});
    Hold([done = std::move(done)]() mutable { std::move(done)(PurgeResult{1, true}); });
  }

  // Only the next that is read: the dispatcher reads histories as well.
  void HoldNextHistory() { hold_next_history_ = true; }
  bool Awaits(const std::string& instance_id) {
    absl::MutexLock lock(&mutex_);
    return awaited_.contains(instance_id);
  }
  size_t Held() {
    absl::MutexLock lock(&mutex_);
    return held_.size();
  }
  int purges() {
    absl::MutexLock lock(&mutex_);
    return purges_;
  }
  void LetGo() {
    std::vector<absl::AnyInvocable<void() &&>> held;
    {
      absl::MutexLock lock(&mutex_);
      held.swap(held_);
    }
    for (auto& answer : held) std::move(answer)();
  }

 private:
  void Hold(absl::AnyInvocable<void() &&> answer) {
    absl::MutexLock lock(&mutex_);
    held_.push_back(std::move(answer));
  }

  std::atomic<bool> hold_next_history_ = false;
  absl::Mutex mutex_;
  std::set<std::string> awaited_ ABSL_GUARDED_BY(mutex_);
  int purges_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<absl::AnyInvocable<void() &&>> held_ ABSL_GUARDED_BY(mutex_);
};

// A hub where Alice may do a lot, until she may not, and Bob always. No stream is asked about its
// caller for another reason, such as a ping.
struct Revocation {
  Revocation() {
    TestServerOptions options;
    options.access =
        WithAccess(directory, {{"alice", "a", "contributor"}, {"bob", "a", "contributor"}});
    options.dispatch.health_ping_interval = absl::Hours(1);
    options.wrap_store = [this](Store* wrapped) {
      auto holding = std::make_unique<HoldingStore>(wrapped);
      store = holding.get();
      return holding;
    };
    server = std::make_unique<TestServer>(std::move(options));
    REQUIRE(server->database().ResolveHub("a", /*create=*/true).ok());
  }

  // Returns when the server goes by the new rules.
  void LetAliceBe(const std::string& role) {
    Rewrite(directory, AccessText({{"alice", "a", role}, {"bob", "a", "contributor"}}));
    Eventually([&] { return Get().error_code() == StatusCode::PERMISSION_DENIED; });
  }
  void ForgetAlice() {
    Rewrite(directory, AccessText({{"bob", "a", "contributor"}}));
    Eventually([&] { return Get().error_code() == StatusCode::UNAUTHENTICATED; });
  }
  grpc::Status Get() {
    GetInstanceRequest request;
    request.set_instanceid("i");
    GetInstanceResponse response;
    return server->stub().GetInstance(NewContext(alice).get(), request, &response);
  }

  const Metadata alice = As("alice", "a");
  const Metadata bob = As("bob", "a");
  const ScratchDir directory;
  HoldingStore* store = nullptr;
  std::unique_ptr<TestServer> server;
};

TEST_CASE("revoke_waits: waits and idle worker streams end at once, each by its own role") {
  Revocation world;
  const LogCapture log;
  FakeWorker worker(world.server->stub(), {}, world.alice);
  Waiter start(world.server->stub(), "s", /*for_start=*/true, false, world.alice);
  Waiter end(world.server->stub(), "e", /*for_start=*/false, false, world.alice);
  Waiter bobs(world.server->stub(), "e", /*for_start=*/false, false, world.bob);
  Eventually([&] {
    return world.store->Awaits("s") && world.store->Awaits("e") && log.Has("worker stream opened");
  });

  world.LetAliceBe("worker");
  REQUIRE(start.DoneWithin(kPatience));
  REQUIRE(end.DoneWithin(kPatience));
  CHECK(start.status().error_code() == StatusCode::PERMISSION_DENIED);
  CHECK(end.status().error_code() == StatusCode::PERMISSION_DENIED);
  Eventually([&] { return log.Has("2 waiting calls that they forbid end"); });
  world.server->Start("o", "i", world.bob);
  REQUIRE(worker.Next().has_value());  // which a worker still may

  world.ForgetAlice();
  const std::optional<grpc::Status> stream = worker.WaitForEnd();
  REQUIRE(stream.has_value());
  CHECK(stream->error_code() == StatusCode::UNAUTHENTICATED);
  CHECK_FALSE(bobs.DoneWithin(absl::ZeroDuration()));
}

TEST_CASE("revoke_history: what is read after the rules have gone is not sent") {
  Revocation world;
  FakeWorker worker(world.server->stub(), {}, world.bob);
  world.server->Start("o", "i", world.bob);
  const std::optional<WorkItem> item = worker.Next();
  REQUIRE(item.has_value());
  REQUIRE(worker.Complete(*item, {CompleteAction(0, "\"secret\"")}).ok());

  world.store->HoldNextHistory();
  StreamInstanceHistoryRequest request;
  request.set_instanceid("i");
  const std::unique_ptr<grpc::ClientContext> context = NewContext(world.alice);
  const auto reader = world.server->stub().StreamInstanceHistory(context.get(), request);
  Eventually([&] { return world.store->Held() == 1; });
  world.ForgetAlice();
  world.store->LetGo();
  ::HistoryChunk chunk;
  int chunks = 0;
  while (reader->Read(&chunk)) ++chunks;
  CHECK(chunks == 0);
  CHECK(reader->Finish().error_code() == StatusCode::UNAUTHENTICATED);
}

TEST_CASE("revoke_purge: a purge stops after the batch that runs") {
  Revocation world;
  PurgeInstancesRequest request;
  request.mutable_purgeinstancefilter();
  PurgeInstancesResponse response;
  const std::unique_ptr<grpc::ClientContext> context = NewContext(world.alice);
  grpc::Status status;
  std::thread call(
      [&] { status = world.server->stub().PurgeInstances(context.get(), request, &response); });
  Eventually([&] { return world.store->Held() == 1; });
  world.store->LetGo();
  Eventually([&] { return world.store->Held() == 1; });  // a second batch, as there is more
  world.ForgetAlice();
  world.store->LetGo();
  call.join();
  CHECK(status.error_code() == StatusCode::UNAUTHENTICATED);
  CHECK(world.store->purges() == 2);
}

}  // namespace
}  // namespace dt::testing
