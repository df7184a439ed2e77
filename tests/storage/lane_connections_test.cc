// The connections of lanes, against a real server: when they are made anew and when they are
// closed.
#include "tests/storage/lane_bench.h"
#include "tests/support/log_capture.h"

namespace dt::postgres {
namespace {

TEST_CASE("lane_finds_an_idle_session_ended_and_sends_on_a_new_one") {
  WriteVerb verb("w");
  verb.repeatable_ = false;  // nothing is lost on the old one
  Bench bench;
  MustBeOk(bench.Submit(&verb, "k", "1"));
  bench.ends.WaitFor(1);
  MustBeOk(bench.session
               ->ExecuteOnce("select pg_terminate_backend(pid, 60000) from pg_stat_activity where "
                             "datname = current_database() and pid <> pg_backend_pid()")
               .status());
  MustBeOk(bench.Submit(&verb, "k", "2"));
  bench.ends.WaitFor(2);
  CHECK(bench.ends.failed() == 0);
  CHECK(bench.lane->counters().connects == 2);
}

TEST_CASE("lane_old_connections_are_renewed_between_calls") {
  WriteVerb verb("w");
  LaneOptions options;
  options.connection.age_max = absl::Nanoseconds(1);
  Bench bench(options);
  for (int i = 1; i <= 3; ++i) {
    MustBeOk(bench.Submit(&verb, "k", absl::StrCat(i)));
    bench.ends.WaitFor(i);
  }
  CHECK(bench.lane->counters().connects == 3);
}

// Waits until the server has so few sessions in the database of the test besides the test's own.
void WaitForSessions(Bench& bench, int64_t count) {
  const std::string sql =
      "select count(*) from pg_stat_activity where backend_type = 'client backend' and datname = "
      "current_database() and pid <> pg_backend_pid()";
  while (ValueOf(bench.session->ExecuteOnce(sql)).Int(0, 0) != count) {
  }
}

TEST_CASE("lane_closes_an_idle_connection_and_sends_on_a_new_one") {
  testing::LogCapture log;
  WriteVerb verb("w");
  verb.repeatable_ = false;  // nothing is ever in flight on a connection that is closed
  LaneOptions options;
  options.idle_max = absl::Milliseconds(20);
  Bench bench(options);
  for (int i = 1; i <= 3; ++i) {
    MustBeOk(bench.Submit(&verb, "k", absl::StrCat(i)));
    bench.ends.WaitFor(i);
    WaitForSessions(bench, 0);
  }
  CHECK(bench.ends.failed() == 0);
  const LaneCounters counters = bench.lane->counters();
  CHECK(!counters.connected);
  CHECK(counters.connects == 3);
  CHECK(counters.round_trips == 9);  // settings, prepare and call of each
  CHECK(bench.lane->StandingFault(absl::InfinitePast()).ok());
  CHECK(log.Lines().empty());
  bench.lane->Stop(absl::Seconds(60));
  CHECK(bench.Submit(&verb, "k", "4").code() == absl::StatusCode::kUnavailable);
}

TEST_CASE("lane_keeps_the_connection_while_something_waits_or_is_on_its_way") {
  WriteVerb verb("w");
  LaneOptions options;
  options.idle_max = absl::Nanoseconds(1);
  options.connection.lock_timeout = absl::Milliseconds(1);
  options.blocked_delay_max = absl::Milliseconds(50);
  Bench bench(options);
  bench.Lock(&verb);
  while (bench.lane->counters().retries < 3) {
  }
  CHECK(bench.lane->counters().connects == 1);
  bench.Unlock();
  bench.ends.WaitFor(1);
  CHECK(bench.ends.failed() == 0);
  CHECK(bench.lane->counters().connects == 1);
  WaitForSessions(bench, 0);
}

TEST_CASE("lane_without_a_limit_keeps_an_idle_connection") {
  WriteVerb verb("w");
  LaneOptions options;
  options.idle_max = absl::ZeroDuration();
  Bench bench(options);
  for (int i = 1; i <= 2; ++i) {
    MustBeOk(bench.Submit(&verb, "k", absl::StrCat(i)));
    bench.ends.WaitFor(i);
  }
  CHECK(bench.lane->counters().connects == 1);
}

}  // namespace
}  // namespace dt::postgres
