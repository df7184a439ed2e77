// What removes deleted hubs (server/hub_cleanup.h).
#include "server/hub_cleanup.h"

#include <deque>
#include <utility>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/forwarding_store.h"
#include "tests/support/log_capture.h"
#include "tests/support/memory_store.h"

namespace dt::testing {
namespace {

// Answers the calls of the cleanup itself, in the order of a script; then never again.
class ScriptedCleanup : public ForwardingStore {
 public:
  ScriptedCleanup(Store* store, std::vector<absl::StatusOr<HubCleanupResult>> script)
      : ForwardingStore(store), script_(script.begin(), script.end()) {}

  void CleanHubs(HubCleanupRequest request, Callback<HubCleanupResult> done) override {
    absl::StatusOr<HubCleanupResult> answer = absl::UnknownError("");
    {
      absl::MutexLock lock(&mutex_);
      requests_.push_back(request);
      if (script_.empty()) {
        unanswered_ = std::move(done);
        return;
      }
      answer = std::move(script_.front());
      script_.pop_front();
    }
    std::move(done)(std::move(answer));
  }

  // Waits until so many batches were asked for.
  void WaitFor(size_t batches) {
    absl::MutexLock lock(&mutex_);
    const auto asked = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
      return requests_.size() >= batches;
    };
    mutex_.Await(absl::Condition(&asked));
  }
  std::vector<HubCleanupRequest> requests() {
    absl::MutexLock lock(&mutex_);
    return requests_;
  }

 private:
  absl::Mutex mutex_;
  std::deque<absl::StatusOr<HubCleanupResult>> script_ ABSL_GUARDED_BY(mutex_);
  std::vector<HubCleanupRequest> requests_ ABSL_GUARDED_BY(mutex_);
  Callback<HubCleanupResult> unanswered_ ABSL_GUARDED_BY(mutex_);
};

TEST_CASE("hub_cleanup_goes_on_until_nothing_is_left_and_after_faults") {
  LogCapture log;
  MemoryDatabase database([] { return absl::Now(); });
  MemoryStore memory(&database, MemoryStore::Mode::kStepped);
  HubCleanupResult full;
  full.hub = "gone";
  full.removed = full.total = 500;
  full.more = true;
  HubCleanupResult last = full;
  last.removed = 200;
  last.total = 700;
  last.ended = true;
  last.more = false;
  last.age = absl::Seconds(3);
  ScriptedCleanup store(&memory,
                        {full, absl::UnavailableError("away"), full, last, HubCleanupResult{}});
  HubCleanup cleanup(&store, {500, 20, absl::Milliseconds(1)});
  cleanup.Start();
  store.WaitFor(6);
  cleanup.Stop();
  const std::vector<HubCleanupRequest> requests = store.requests();
  CHECK(requests.at(0).max_instances == 500);
  CHECK(requests.at(0).pause == absl::Milliseconds(1));
  CHECK(requests.at(2).max_instances == 250);  // after the one that failed
  CHECK(log.Count("PurgedInstances (310)") == 1);
  CHECK(log.Has("hub gone: it was deleted, and all of its 700 instances are gone 3000 ms later"));
  CHECK(log.Count("deleted task hubs failed") == 1);
}

TEST_CASE("hub_cleanup_begins_at_once_when_a_hub_is_deleted") {
  MemoryDatabase database([] { return absl::Now(); });
  MemoryStore memory(&database, MemoryStore::Mode::kStepped);
  ScriptedCleanup store(&memory, {HubCleanupResult{}, HubCleanupResult{}});
  HubCleanup cleanup(&store, {500, 20, absl::InfiniteDuration()});
  cleanup.Start();
  store.WaitFor(1);
  // Whether it rests by now, or is just about to.
  cleanup.Wake();
  store.WaitFor(2);
  cleanup.Wake();
  store.WaitFor(3);
}

}  // namespace
}  // namespace dt::testing
