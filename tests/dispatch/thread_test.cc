// The dispatcher in its thread, on a store with a thread, with workers that answer from threads.
#include <atomic>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "server/orchestration/random_ids.h"
#include "server/orchestration/requests.h"
#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

using dispatch::DispatchThread;

std::string BytesOf(const orchestration::Frame& frame) {
  std::string bytes;
  for (const SharedBytes& slice : frame) bytes += *slice;
  return bytes;
}

void Answer(DispatchThread& dispatch, HubId hub, const Functions& functions,
            const std::string& bytes) {
  WorkItem item;
  if (!item.ParseFromString(bytes) || item.has_healthping()) return;
  if (item.has_orchestratorrequest()) {
    dispatch.CompleteOrchestration(hub, RunTurn(functions, item), [](absl::Status) {});
  } else {
    dispatch.CompleteActivity(hub, RunActivity(functions, item), [](absl::Status) {});
  }
}

// A stream whose worker is a thread of its own.
class WorkerThread : public dispatch::WorkItemSink {
 public:
  WorkerThread(DispatchThread* dispatch, HubId hub, const Functions* functions)
      : dispatch_(dispatch), hub_(hub), functions_(functions), thread_([this] { Run(); }) {}
  ~WorkerThread() override {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
    }
    thread_.join();
  }

  void Write(orchestration::Frame frame) override {
    absl::MutexLock lock(&mutex_);
    frames_.push_back(BytesOf(frame));
  }
  void Finish(absl::Status status) override {
    absl::MutexLock lock(&mutex_);
    finished_ = std::move(status);
  }
  int64_t UnreadBytes() const override { return 0; }
  absl::Status finished() {
    absl::MutexLock lock(&mutex_);
    return finished_;
  }

 private:
  void Run() {
    while (true) {
      std::vector<std::string> frames;
      {
        absl::MutexLock lock(&mutex_);
        auto work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
          return stopping_ || !frames_.empty();
        };
        mutex_.Await(absl::Condition(&work));
        if (stopping_) return;
        frames.swap(frames_);
      }
      for (const std::string& bytes : frames) Answer(*dispatch_, hub_, *functions_, bytes);
    }
  }

  DispatchThread* const dispatch_;
  const HubId hub_;
  const Functions* const functions_;
  absl::Mutex mutex_;
  std::vector<std::string> frames_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status finished_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

NewInstance ChainInstance(HubId hub, const std::string& id, orchestration::RandomIds& ids) {
  CreateInstanceRequest request;
  request.set_instanceid(id);
  request.set_name("Chain");
  request.mutable_input()->set_value("5");
  return orchestration::BuildStart(request, hub, absl::Now(), ids, {})->instance;
}

// A daemon that runs, with a hub and what its workers do.
struct World {
  void Open(const std::shared_ptr<dispatch::WorkItemSink>& worker) {
    dispatch::StreamOptions options;
    options.hub = hub;
    dispatch.OpenStream(options, worker);
  }

  FakeClock no_clock;
  const Functions functions = SomeFunctions(no_clock);
  orchestration::RandomIds ids;
  RunningDaemon daemon;
  MemoryDatabase& database = daemon.database();
  DispatchThread& dispatch = daemon.dispatch();
  const HubId hub = *database.ResolveHub("default", true);
};

TEST_CASE("dispatch_thread chains from start to end through mailbox, store and worker threads") {
  constexpr int kChains = 200;
  World world;
  auto first = std::make_shared<WorkerThread>(&world.dispatch, world.hub, &world.functions);
  auto second = std::make_shared<WorkerThread>(&world.dispatch, world.hub, &world.functions);
  world.Open(first);
  world.Open(second);
  std::atomic<int> started{0};
  absl::BlockingCounter completed(kChains);
  for (int i = 0; i < kChains; ++i) {
    const std::string id = absl::StrCat("c", i);
    world.dispatch.StartInstance(
        ChainInstance(world.hub, id, world.ids),
        [&started](absl::StatusOr<CreateResult> result) { started += result.ok() ? 1 : 0; });
    world.dispatch.Wait(
        world.hub, id, DispatchThread::WaitFor::kCompletion,
        [&completed](absl::StatusOr<dispatch::KnownRow>) { completed.DecrementCount(); });
  }
  completed.Wait();
  CHECK(started == kChains);
  for (int i = 0; i < kChains; ++i) {
    CHECK(world.database.ReadInstance(world.hub, absl::StrCat("c", i), true)->output ==
          "1,2,3,4,5");
  }
  world.dispatch.Drain(absl::Seconds(10));
  CHECK(absl::IsUnavailable(first->finished()));
  CHECK(absl::IsUnavailable(second->finished()));
  CHECK(world.database.Count().leased_instances == 0);
}

// A worker that answers on the thread that writes to it, and notes which ones did.
class WorkerInPlace : public dispatch::WorkItemSink {
 public:
  WorkerInPlace(DispatchThread* dispatch, HubId hub, const Functions* functions)
      : dispatch_(dispatch), hub_(hub), functions_(functions) {}
  void Write(orchestration::Frame frame) override {
    {
      absl::MutexLock lock(&mutex_);
      threads_.insert(std::this_thread::get_id());
    }
    Answer(*dispatch_, hub_, *functions_, BytesOf(frame));
  }
  void Finish(absl::Status) override {}
  int64_t UnreadBytes() const override { return 0; }
  std::set<std::thread::id> threads() {
    absl::MutexLock lock(&mutex_);
    return threads_;
  }

 private:
  DispatchThread* const dispatch_;
  const HubId hub_;
  const Functions* const functions_;
  absl::Mutex mutex_;
  std::set<std::thread::id> threads_ ABSL_GUARDED_BY(mutex_);
};

TEST_CASE("dispatch_thread_alone who brings an event makes the step while little is in flight") {
  constexpr int kChainsMax = 20'000;
  World world;
  auto worker = std::make_shared<WorkerInPlace>(&world.dispatch, world.hub, &world.functions);
  world.Open(worker);
  // The store's thread may still be in the step that ended the last chain just when the next one
  // starts, and then it goes on with that one; not always.
  for (int i = 0; !worker->threads().contains(std::this_thread::get_id()); ++i) {
    REQUIRE(i < kChainsMax);
    absl::Notification completed;
    const std::string id = absl::StrCat("c", i);
    world.dispatch.StartInstance(ChainInstance(world.hub, id, world.ids),
                                 [](absl::StatusOr<CreateResult>) {});
    world.dispatch.Wait(world.hub, id, DispatchThread::WaitFor::kCompletion,
                        [&completed](absl::StatusOr<dispatch::KnownRow>) { completed.Notify(); });
    completed.WaitForNotification();
    CHECK(world.database.ReadInstance(world.hub, id, true)->output == "1,2,3,4,5");
  }
  world.dispatch.Drain(absl::Seconds(10));
}

TEST_CASE("dispatch_thread_mailbox_full a full mailbox answers RESOURCE_EXHAUSTED") {
  MemoryDatabase database([] { return absl::Now(); });
  MemoryStore store(&database, MemoryStore::Mode::kThread);
  dispatch::DispatchLimits limits;
  limits.mailbox_events_max = 2;
  DispatchThread dispatch(&store, limits);  // not started: nothing is taken out
  std::vector<absl::Status> answers;
  for (int i = 0; i < 3; ++i) {
    dispatch.CompleteOrchestration(1, OrchestratorResponse(),
                                   [&answers](absl::Status status) { answers.push_back(status); });
  }
  REQUIRE(answers.size() == 1);
  CHECK(absl::IsResourceExhausted(answers[0]));
}

}  // namespace
}  // namespace dt::testing
