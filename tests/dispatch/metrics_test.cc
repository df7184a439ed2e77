// What the dispatcher counts: what leaves a worker without an answer, what is sent again or given
// up, and answers that come too late (deploy/METRICS.md). What goes well is counted in
// tests/metrics.
#include "storage/metrics/metrics.h"

#include <string>

#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

using metrics::Abandon;
using metrics::Answer;

dispatch::DispatchLimits FewLosses() {
  dispatch::DispatchLimits limits;
  limits.lost_leases_max = 1;
  limits.orchestration_hold_max = absl::Minutes(1);
  return limits;
}

metrics::HubMetrics& CountedOf(OneDaemon& one) { return one.daemon.metrics().hubs.Of(one.hub); }

TEST_CASE("metrics_abandon: by reason, sent again, and given up at last") {
  OneDaemon one(FewLosses());
  metrics::HubMetrics& hub = CountedOf(one);
  metrics::WorkMetrics& turns = hub.work[0];
  FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "a", "Chain", "1");
  one.daemon.Settle();
  CHECK(hub.connected_workers.value() == 1);
  CHECK(turns.credits.value() == 100);
  CHECK(turns.dispatched.value() == 1);
  CHECK(turns.active.value() == 1);
  one.daemon.Abandon(one.hub, *stream.sink->Take());
  one.daemon.Settle();
  CHECK(turns.abandoned[Abandon::kWorker].value() == 1);
  CHECK(turns.active.value() == 0);

  one.Pass(absl::Seconds(2));  // the worker may have it again
  CHECK(turns.dispatched.value() == 2);
  CHECK(turns.redelivered.value() == 0);  // it went back to the database, for any daemon
  one.Pass(absl::Minutes(1) + absl::Seconds(1), absl::Seconds(1));
  CHECK(turns.abandoned[Abandon::kExpired].value() == 1);
  one.Pass(absl::Seconds(5));
  CHECK(turns.redelivered.value() == 1);
  CHECK(turns.active.value() == 1);

  one.daemon.Close(stream);
  one.daemon.Settle();
  CHECK(turns.abandoned[Abandon::kStream].value() == 1);
  CHECK(hub.connected_workers.value() == 0);
  CHECK(turns.credits.value() == 0);
  CHECK(turns.active.value() == 0);
  one.daemon.Open(one.hub);
  one.Pass(absl::Minutes(2), absl::Seconds(1));
  CHECK(turns.poisoned.value() == 1);
  CHECK(hub.instances_finished[metrics::End::kFailed].value() == 1);
  CHECK(one.Row("a").status == RuntimeStatus::kFailed);
}

TEST_CASE("metrics_answers: good ones, failures, and those that are stale") {
  OneDaemon one;
  metrics::HubMetrics& hub = CountedOf(one);
  Functions functions = SomeFunctions(one.clock);
  functions.orchestrators["Fails"] = [](const Replay&, Actions& actions) {
    actions.Complete("no", ORCHESTRATION_STATUS_FAILED);
  };
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "a", "Chain", "2");
  one.daemon.Start(one.hub, "b", "Fails", "");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(hub.instances_started.value() == 2);
  CHECK(hub.instances_finished[metrics::End::kCompleted].value() == 1);
  CHECK(hub.instances_finished[metrics::End::kFailed].value() == 1);
  CHECK(hub.work[0].completed[Answer::kOk].value() == 3);
  CHECK(hub.work[0].completed[Answer::kFailure].value() == 1);
  CHECK(hub.work[1].completed[Answer::kOk].value() == 2);
  CHECK(hub.actions[metrics::ActionKind::kActivity].value() == 2);
  CHECK(hub.actions[metrics::ActionKind::kComplete].value() == 2);

  ActivityResponse activity;
  activity.set_instanceid("a");
  activity.set_taskid(7);
  one.daemon.Answer(one.hub, activity);
  OrchestratorResponse turn;
  turn.set_instanceid("a");
  one.daemon.Answer(one.hub, turn);
  one.daemon.Answer(one.hub, EntityBatchResult());
  one.daemon.Settle();
  for (metrics::WorkMetrics& work : hub.work) CHECK(work.completed[Answer::kStale].value() == 1);
}

TEST_CASE("metrics_timer: how late it was when its turn was sent") {
  OneDaemon one;
  metrics::HubMetrics& hub = CountedOf(one);
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "a", "Sleep", "60");
  one.daemon.RunWorkers({stream}, functions);
  one.daemon.Close(stream);
  one.Pass(absl::Seconds(90), absl::Seconds(1));
  CHECK_FALSE(hub.timer_lag.used());
  const FakeStream later = one.daemon.Open(one.hub);
  one.daemon.RunWorkers({later}, functions);
  CHECK(hub.timer_lag.used());
  CHECK(hub.timer_lag.sum() >= absl::ToInt64Microseconds(absl::Seconds(29)));
  CHECK(hub.timer_lag.sum() <= absl::ToInt64Microseconds(absl::Seconds(40)));
}

TEST_CASE("metrics_instruments: buckets by their upper bounds, and the last one without") {
  metrics::Histogram<metrics::SizeBounds> sizes;
  for (const int64_t size : {1, 2, 3, 256, 257}) sizes.Observe(size);
  CHECK(sizes.sum() == 519);
  CHECK(sizes.bucket(0) == 1);  // up to 1
  CHECK(sizes.bucket(1) == 1);
  CHECK(sizes.bucket(2) == 1);  // up to 4
  CHECK(sizes.bucket(8) == 1);
  CHECK(sizes.bucket(9) == 1);
  metrics::Histogram<metrics::WaitBounds> waits;
  waits.Observe(-absl::Seconds(1));
  CHECK(waits.bucket(0) == 1);
  CHECK(waits.sum() == 0);
}

TEST_CASE("metrics_hubs: by name, capped, and the same after the hub was made anew") {
  metrics::HubMetricsTable hubs(/*names_max=*/2);
  hubs.Name(1, "a");
  hubs.Name(2, "b");
  hubs.Name(3, "c");
  hubs.Name(4, "a");
  hubs.Of(1).instances_started.Add();
  hubs.Of(4).instances_started.Add();
  hubs.Of(3).instances_started.Add(5);
  hubs.Of(99).instances_started.Add(7);
  std::string seen;
  hubs.Visit([&seen](const std::string& name, const metrics::HubMetrics& hub) {
    seen += name + "=" + std::to_string(hub.instances_started.value()) + " ";
  });
  CHECK(seen == "_other=12 a=2 b=0 ");
}

}  // namespace
}  // namespace dt::testing
