// The small parts of the dispatcher, each alone: arrivals, back-offs, fair ranks, held tasks.
#include "server/dispatch/arrivals.h"
#include "server/dispatch/backoff.h"
#include "server/dispatch/retries.h"
#include "server/dispatch/streams.h"
#include "server/dispatch/tasks.h"
#include "server/orchestration/random_ids.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

Message Numbered(int64_t seq) {
  Message message;
  message.seq = seq;
  return message;
}

TEST_CASE("arrivals_mail messages wait for what is expected, and go when nothing comes") {
  dispatch::Arrivals arrivals;
  arrivals.Expect(1);
  arrivals.Expect(2);
  arrivals.Keep(1, 10, Numbered(5));
  arrivals.Keep(1, 10, Numbered(6));
  arrivals.Keep(1, 11, Numbered(7));
  arrivals.Keep(2, 10, Numbered(8));
  CHECK(arrivals.Take(1, 10).size() == 2);
  CHECK(arrivals.Take(1, 10).empty());
  arrivals.Forget(1);
  CHECK_FALSE(arrivals.Expected(1));
  CHECK(arrivals.Take(1, 11).empty());
  CHECK(arrivals.Take(2, 10).size() == 1);  // of another lease
}

TEST_CASE("arrivals_recovery what a lost answer may have leased is expected until that is known") {
  dispatch::Arrivals arrivals;
  arrivals.Expect(1);
  arrivals.BeginRecovery(1);
  arrivals.Keep(1, 10, Numbered(5));
  arrivals.MarkAllIncomplete();
  arrivals.Forget(1);
  CHECK(arrivals.Expected(1));
  CHECK(arrivals.IsIncomplete(1));
  CHECK(arrivals.EndRecovery(1));
  CHECK_FALSE(arrivals.EndRecovery(1));
  CHECK(arrivals.Take(1, 10).size() == 1);
  arrivals.Forget(1);
  CHECK_FALSE(arrivals.IsIncomplete(1));
}

TEST_CASE("skips each failure doubles how often it is left out") {
  dispatch::Skips skips(2, /*doublings_max=*/1);
  const auto left_out = [&skips] {
    int times = 0;
    while (skips.Skip()) ++times;
    return times;
  };
  CHECK(left_out() == 0);
  skips.Failed();
  skips.Failed();  // begun before the first was known
  CHECK(left_out() == 2);
  skips.Failed();
  CHECK(left_out() == 4);
  skips.Failed();
  CHECK(left_out() == 4);
  skips.Succeeded();
  skips.Failed();
  CHECK(left_out() == 2);
}

TEST_CASE("doubled a delay has an end, however often it failed") {
  const absl::Duration second = absl::Seconds(1);
  CHECK(dispatch::Doubled(second, 0, absl::Minutes(1)) == second);
  CHECK(dispatch::Doubled(second, 3, absl::Minutes(1)) == 8 * second);
  CHECK(dispatch::Doubled(second, 1'000'000, absl::Minutes(1)) == absl::Minutes(1));
  dispatch::DispatchLimits limits;
  CHECK(dispatch::RedeliveryDelay(limits, 1) == absl::ZeroDuration());
  CHECK(dispatch::RedeliveryDelay(limits, 2) == limits.abandon_delay_min);
  CHECK(dispatch::RedeliveryDelay(limits, 1'000'000) == limits.abandon_delay_max);
}

TEST_CASE("fair_ranks a large fan-out lets a small one pass") {
  dispatch::FairRanks ranks;
  std::vector<int64_t> large;
  for (int i = 0; i < 4; ++i) large.push_back(ranks.Enter(1));
  CHECK(std::is_sorted(large.begin(), large.end()));
  ranks.Leave(1, large[0]);
  const int64_t small = ranks.Enter(2);
  CHECK(small < large[1]);
  ranks.Leave(1, large[1]);
  ranks.Leave(2, small);
  CHECK(ranks.Enter(2) <= large[2]);
}

TEST_CASE("retries_order what is put off is done in the order of its times") {
  orchestration::RandomIds ids;
  metrics::Metrics metrics;
  dispatch::StepContext step({}, &ids, 1, &metrics);
  dispatch::Retries retries(&step);
  std::vector<dispatch::Effect> effects;
  step.Begin(absl::UnixEpoch(), absl::UnixEpoch(), &effects);
  retries.Later(absl::Seconds(10), dispatch::ReadStatus{2, ""});
  retries.Later(absl::Seconds(1), dispatch::ReadStatus{1, ""});
  retries.OnTime();
  CHECK(effects.empty());
  CHECK(retries.NextDeadline() > absl::UnixEpoch());
  step.Begin(absl::UnixEpoch(), absl::UnixEpoch() + absl::Minutes(1), &effects);
  retries.OnTime();
  REQUIRE(effects.size() == 2);
  CHECK(std::get<dispatch::ReadStatus>(effects[0]).hub == 1);
  CHECK(retries.empty());
}

TEST_CASE("task_table a task is found by its key and lease, and by the dispatch it answered") {
  dispatch::FairBytes work(1 << 20);
  dispatch::Hub hub;
  dispatch::TaskTable table(&work);
  ActivityTask task;
  task.key = 5;
  task.lease_token = 7;
  task.request = std::make_shared<const std::string>("request");
  auto owned = std::make_unique<dispatch::HeldTask>(1, task, 0);
  owned->hub = &hub;
  owned->dispatch = 9;
  dispatch::HeldTask& held = *table.Add(std::move(owned));
  CHECK(work.total() == held.bytes());
  CHECK(table.Find(5) == &held);
  CHECK(table.Find(5, 8) == nullptr);
  CHECK(table.FindCompleting(9, 7) == nullptr);
  table.SetCompleting(held);
  CHECK(table.FindCompleting(9, 7) == &held);
  CHECK(table.FindCompleting(9, 8) == nullptr);
  table.Remove(held);
  CHECK(table.Find(5) == nullptr);
  CHECK(table.FindCompleting(9, 7) == nullptr);
  CHECK(work.total() == 0);
}

}  // namespace
}  // namespace dt::testing
