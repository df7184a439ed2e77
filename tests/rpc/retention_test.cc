// The loop that drives retention (server/retention.h).
#include "server/retention.h"

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/forwarding_store.h"
#include "tests/support/memory_store.h"

namespace dt::testing {
namespace {

TEST_CASE("retention_asks_for_what_the_settings_say") {
  RetentionOptions options;
  CHECK(RetentionRequestOf(options).keep.empty());
  options.default_hours = 720;
  options.completed_hours = 0;
  options.terminated_hours = -1;
  const std::map<RuntimeStatus, absl::Duration> keep = {
      {RuntimeStatus::kCompleted, absl::ZeroDuration()},
      {RuntimeStatus::kFailed, absl::Hours(720)},
      {RuntimeStatus::kCanceled, absl::Hours(720)}};
  CHECK(RetentionRequestOf(options).keep == keep);
}

TEST_CASE("retention_takes_a_part_of_the_time_only") {
  RetentionOptions options;
  options.busy_percent_max = 20;
  options.batch_instances_max = 100;
  BatchPace pace(PaceOf(options));
  CHECK(pace.batch() == 100);
  // 20 of 100 parts are one of five.
  CHECK(pace.After(absl::Milliseconds(100), true) == absl::Milliseconds(400));
  CHECK(pace.batch() == 100);
  // What takes long gets smaller, down to one instance, and grows again.
  CHECK(pace.After(absl::Seconds(2), true) == absl::Seconds(8));
  CHECK(pace.batch() == 50);
  for (int i = 0; i < 10; ++i) pace.After(absl::Seconds(2), true);
  CHECK(pace.batch() == 1);
  pace.After(absl::Milliseconds(500), true);
  CHECK(pace.batch() == 1);
  for (int i = 0; i < 10; ++i) pace.After(absl::Milliseconds(1), true);
  CHECK(pace.batch() == 100);
  // Nothing left: a rest.
  CHECK(pace.After(absl::Seconds(2), false) == options.interval);
}

// Answers the calls of retention itself, in the order of a script; then never again.
class ScriptedStore : public ForwardingStore {
 public:
  ScriptedStore(Store* store, std::vector<absl::StatusOr<RetentionResult>> script)
      : ForwardingStore(store), script_(script.begin(), script.end()) {}

  void ApplyRetention(RetentionRequest request, Callback<RetentionResult> done) override {
    absl::StatusOr<RetentionResult> answer = absl::UnknownError("");
    {
      absl::MutexLock lock(&mutex_);
      batches_.push_back(request.max_instances);
      if (script_.empty()) {
        unanswered_ = std::move(done);
        return;
      }
      answer = std::move(script_.front());
      script_.pop_front();
    }
    std::move(done)(std::move(answer));
  }

  // Waits until the script is over and another call waits for its answer.
  std::vector<int> WaitForUnanswered() {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(
        +[](Callback<RetentionResult>* callback) { return *callback != nullptr; }, &unanswered_));
    return batches_;
  }
  std::vector<int> batches() {
    absl::MutexLock lock(&mutex_);
    return batches_;
  }
  void AnswerLate() {
    absl::MutexLock lock(&mutex_);
    std::move(unanswered_)(RetentionResult{});
  }

 private:
  absl::Mutex mutex_;
  std::deque<absl::StatusOr<RetentionResult>> script_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> batches_ ABSL_GUARDED_BY(mutex_);
  Callback<RetentionResult> unanswered_ ABSL_GUARDED_BY(mutex_);
};

TEST_CASE("retention_goes_on_until_nothing_is_left_and_after_faults") {
  MemoryDatabase database([] { return absl::Now(); });
  MemoryStore memory(&database, MemoryStore::Mode::kStepped);
  RetentionOptions options;
  options.enabled = true;
  options.interval = absl::Milliseconds(1);
  RetentionResult full;
  full.leads = full.more = true;
  full.purges = {{"hub", RuntimeStatus::kCompleted, 500}};
  RetentionResult rest;
  rest.leads = true;
  RetentionResult other;
  other.leader = "elsewhere, worker 7";
  ScriptedStore store(&memory, {full, full, rest, absl::UnavailableError("away"), other, rest});
  metrics::Metrics metrics;
  Retention retention(&store, options, &metrics);
  retention.Start();
  const std::vector<int> batches = store.WaitForUnanswered();
  REQUIRE(batches.size() == 7);
  CHECK(batches[4] == batches[3] / 2);  // after the one that failed
  // Stop waits for no answer, and one that comes late finds nobody.
  retention.Stop();
  store.AnswerLate();
}

TEST_CASE("retention_that_is_not_enabled_asks_for_nothing") {
  MemoryDatabase database([] { return absl::Now(); });
  MemoryStore memory(&database, MemoryStore::Mode::kStepped);
  ScriptedStore store(&memory, {});
  metrics::Metrics metrics;
  Retention retention(&store, RetentionOptions{}, &metrics);
  retention.Start();
  retention.Stop();
  CHECK(store.batches().empty());
}

}  // namespace
}  // namespace dt::testing
