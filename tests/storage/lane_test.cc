// Lanes against a real server: gathering, order, faults of the data, the server and the network.
#include <atomic>
#include <random>
#include <thread>

#include "absl/strings/match.h"
#include "tests/storage/lane_bench.h"

namespace dt::postgres {
namespace {

TEST_CASE("lane_gathers_while_a_call_is_in_flight") {
  WriteVerb verb("w");
  Bench bench;
  bench.Lock(&verb);
  for (int i = 1; i <= 100; ++i)
    MustBeOk(bench.Submit(&verb, absl::StrCat("k", i), absl::StrCat(i)));
  CHECK(bench.lane->counters().queued_operations == 101);
  CHECK(bench.lane->counters().queued_bytes == 10'100);
  bench.Unlock();
  bench.ends.WaitFor(101);
  std::vector<std::string> values = bench.ends.values();
  for (int i = 0; i <= 100; ++i) CHECK(values[i] == absl::StrCat(i));
  LaneCounters counters = bench.lane->counters();
  CHECK(counters.calls == 2);
  CHECK(counters.operations == 101);
  CHECK(counters.connects == 1);
  CHECK(counters.round_trips == 4);  // settings, prepare, two calls
  CHECK(counters.queued_operations == 0);
  CHECK(counters.queued_bytes == 0);
  CHECK(counters.connected);
}

TEST_CASE("lane_keeps_the_order_of_an_instance_across_verbs") {
  WriteVerb a("a");
  WriteVerb b("b");
  Bench bench;
  bench.Lock(&a);
  MustBeOk(bench.Submit(&a, "x", "1"));
  MustBeOk(bench.Submit(&b, "x", "2"));
  MustBeOk(bench.Submit(&a, "x", "3"));
  MustBeOk(bench.Submit(&a, "y", "4"));
  MustBeOk(bench.Submit(&b, "y", "5"));
  MustBeOk(bench.Submit(&a, "", "6"));
  bench.Unlock();
  bench.ends.WaitFor(7);
  CHECK(bench.Log() == "a:first:0 | a:x:1 a:y:4 a::6 | b:x:2 b:y:5 | a:x:3");
}

TEST_CASE("lane_makes_one_call_per_hub") {
  WriteVerb verb("w");
  Bench bench;
  bench.Lock(&verb);
  for (int i = 1; i <= 6; ++i) MustBeOk(bench.Submit(&verb, "k", absl::StrCat(i), i % 2));
  bench.Unlock();
  bench.ends.WaitFor(7);
  CHECK(bench.Log() == "w:first:0 | w:k:1 w:k:3 w:k:5 | w:k:2 w:k:4 w:k:6");
}

TEST_CASE("lane_calls_are_bounded_by_count_and_bytes") {
  WriteVerb verb("w");
  WriteVerb alone("alone");
  alone.operations_max_ = 1;
  WriteVerb once("once");
  once.one_per_key_ = true;
  LaneOptions options;
  options.batch_operations_max = 3;
  options.batch_bytes_max = 1000;
  Bench bench(options);
  bench.Lock(&verb);
  for (int i = 1; i <= 4; ++i) MustBeOk(bench.Submit(&verb, "k", absl::StrCat(i)));
  MustBeOk(bench.Submit(&verb, "k", "5", 1, 5000));  // larger than a call: alone
  MustBeOk(bench.Submit(&verb, "k", "6", 1, 600));
  MustBeOk(bench.Submit(&verb, "k", "7", 1, 600));
  MustBeOk(bench.Submit(&alone, "k", "8"));
  MustBeOk(bench.Submit(&alone, "k", "9"));
  for (int i = 10; i <= 12; ++i) {
    MustBeOk(bench.Submit(&once, i == 11 ? "l" : "k", absl::StrCat(i)));
  }
  bench.Unlock();
  bench.ends.WaitFor(13);
  CHECK(bench.Log() ==
        "w:first:0 | w:k:1 w:k:2 w:k:3 | w:k:4 | w:k:5 | w:k:6 | w:k:7 | alone:k:8 | alone:k:9 | "
        "once:k:10 once:l:11 | once:k:12");
}

TEST_CASE("lane_bad_item_does_not_fail_its_neighbours") {
  WriteVerb verb("w");
  Bench bench;
  bench.Lock(&verb);
  std::vector<std::string> good;
  for (int i = 1; i <= 20; ++i) {
    bool bad = i == 5 || i == 20;
    MustBeOk(bench.Submit(&verb, "k", bad ? "not a number" : absl::StrCat(i)));
  }
  bench.Unlock();
  bench.ends.WaitFor(21);
  std::vector<std::string> values = bench.ends.values();
  std::vector<absl::Status> statuses = bench.ends.statuses();
  for (int i = 0; i <= 20; ++i) {  // the ends come in the order of submission
    bool bad = i == 5 || i == 20;
    CHECK(values[i] == (bad ? "not a number" : absl::StrCat(i)));
    CHECK(statuses[i].code() == (bad ? absl::StatusCode::kInvalidArgument : absl::StatusCode::kOk));
  }
  Result stored = ValueOf(bench.session->ExecuteOnce("select count(*) from log"));
  CHECK(stored.Int(0, 0) == 19);
  CHECK(bench.lane->counters().failed_operations == 2);
}

TEST_CASE("lane_full_queue_refuses_and_leaves_the_operation_with_the_caller") {
  WriteVerb verb("w");
  LaneOptions options;
  options.queue_operations_max = 4;
  options.queue_bytes_max = 1000;
  Bench bench(options);
  bench.Lock(&verb);
  MustBeOk(bench.Submit(&verb, "k", "1"));
  absl::Status status = bench.Submit(&verb, "k", "2", 1, 900);
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  MustBeOk(bench.Submit(&verb, "k", "3"));
  MustBeOk(bench.Submit(&verb, "k", "4"));
  CHECK(bench.Submit(&verb, "k", "5").code() == absl::StatusCode::kResourceExhausted);
  CHECK(bench.lane->counters().refused_operations == 2);
  bench.Unlock();
  bench.ends.WaitFor(4);
  MustBeOk(bench.Submit(&verb, "k", "6", 1, 5000));  // alone it may be larger
  bench.ends.WaitFor(5);
}

TEST_CASE("lane_repeats_transient_faults_and_gives_up_after_the_limit") {
  std::string code = GENERATE("40P01", "40001");
  WriteVerb verb("w");
  LaneOptions options;
  options.retry_delay_max = absl::Milliseconds(20);
  Bench bench(options);
  Params params;
  params.Text(code);
  MustBeOk(bench.session->ExecuteOnce("insert into faults values ($1, 3)", params).status());
  MustBeOk(bench.Submit(&verb, "k", "1"));
  bench.ends.WaitFor(1);
  CHECK(bench.ends.failed() == 0);
  CHECK(bench.lane->counters().retries == 3);
  MustBeOk(bench.session->RunScript("update faults set until_call = 1000"));
  MustBeOk(bench.Submit(&verb, "k", "2"));
  bench.ends.WaitFor(2);
  CHECK(bench.ends.statuses()[1].code() == absl::StatusCode::kUnavailable);
  CHECK(bench.lane->counters().retries == 8);
  MustBeOk(bench.session->RunScript("delete from faults"));
  MustBeOk(bench.Submit(&verb, "k", "3"));
  bench.ends.WaitFor(3);
  CHECK(bench.Log() == "w:k:1 | w:k:3");
}

// Somebody who has written these values and does not commit; what writes them, too, waits for that.
class Keeper {
 public:
  Keeper(const Bench& bench, const std::string& values)
      : session_(PostgresFixture::Connect(bench.url)) {
    MustBeOk(session_->RunScript("begin; insert into log (value) select unnest('" + values +
                                 "'::int[])"));
  }
  void End() { MustBeOk(session_->RunScript("rollback")); }

 private:
  std::unique_ptr<Connection> session_;
};

TEST_CASE("lane_kept_lock_holds_up_nothing_but_what_needs_it") {
  WriteVerb verb("w");
  WriteVerb other("o");
  LaneOptions options;
  options.connection.lock_timeout = absl::Milliseconds(50);
  Bench bench(options);
  Keeper keeper(bench, "{5, 7}");
  for (int i = 1; i <= 20; ++i)
    MustBeOk(bench.Submit(&verb, absl::StrCat("k", i), absl::StrCat(i)));
  MustBeOk(bench.Submit(&other, "k5", "21"));  // behind 5, although nobody keeps it
  MustBeOk(bench.Submit(&other, "k1", "22"));
  bench.ends.WaitFor(19);
  CHECK(bench.ends.failed() == 0);
  for (const std::string& value : bench.ends.values()) {
    CHECK((value != "5" && value != "7" && value != "21"));
  }
  // What comes meanwhile goes through in calls of many.
  const int64_t calls = bench.lane->counters().calls;
  for (int i = 30; i < 130; ++i)
    MustBeOk(bench.Submit(&verb, absl::StrCat("k", i), absl::StrCat(i)));
  bench.ends.WaitFor(119);
  CHECK(bench.lane->counters().calls < calls + 100);
  keeper.End();
  bench.ends.WaitFor(122);
  CHECK(bench.ends.failed() == 0);
  const Result order =
      ValueOf(bench.session->ExecuteOnce("select value from log where key = 'k5' order by seq"));
  REQUIRE(order.rows() == 2);
  CHECK(order.Int(0, 0) == 5);
  CHECK(order.Int(1, 0) == 21);
}

TEST_CASE("lane_a_thousand_kept_locks_of_one_hub_leave_the_time_to_the_others") {
  constexpr int kLocked = 1000;
  WriteVerb verb("w");
  LaneOptions options;
  options.connection.lock_timeout = absl::Milliseconds(50);
  options.suspect_period = absl::Hours(1);
  Bench bench(options);
  std::vector<std::string> locked;
  for (int i = 0; i < kLocked; ++i) locked.push_back(absl::StrCat(i));
  Keeper keeper(bench, absl::StrCat("{", absl::StrJoin(locked, ","), "}"));
  for (const std::string& value : locked) MustBeOk(bench.Submit(&verb, "k" + value, value));
  // One whose lock was kept, and the hub is suspect; then a long queue behind it.
  const absl::Time begin = absl::Now();
  while (bench.lane->counters().retries < 2) REQUIRE(absl::Now() - begin < absl::Seconds(60));
  for (int i = 0; i < 6000; ++i) MustBeOk(bench.Submit(&verb, "k0", absl::StrCat(20'000 + i)));

  const int64_t retries = bench.lane->counters().retries;
  const absl::Time others_begin = absl::Now();
  for (int i = 1; i <= 200; ++i) {
    MustBeOk(bench.Submit(&verb, absl::StrCat("o", i), absl::StrCat(10'000 + i), 2));
    bench.ends.WaitFor(static_cast<size_t>(i));
  }
  // Each call that waits for a lock, of the blocked and of those not known yet, waits for its 5 ms,
  // and is followed by nineteen times as much for the others.
  const double elapsed = absl::ToDoubleSeconds(absl::Now() - others_begin);
  const double tries = static_cast<double>(bench.lane->counters().retries - retries);
  CHECK(tries <= 2 * (1 + elapsed / (20 * 0.005)));
  CHECK(bench.ends.failed() == 0);
  keeper.End();
  bench.ends.WaitFor(200 + kLocked + 6000);
  CHECK(bench.ends.failed() == 0);
}

TEST_CASE("lane_operation_behind_a_kept_lock_fails_at_last") {
  WriteVerb verb("w");
  LaneOptions options;
  options.connection.lock_timeout = absl::Milliseconds(50);
  options.blocked_max = absl::Milliseconds(300);
  Bench bench(options);
  Keeper keeper(bench, "{1}");
  MustBeOk(bench.Submit(&verb, "k", "1"));
  MustBeOk(bench.Submit(&verb, "k", "2"));
  MustBeOk(bench.Submit(&verb, "l", "3"));
  bench.ends.WaitFor(3);
  CHECK(bench.ends.values() == std::vector<std::string>{"3", "1", "2"});
  CHECK(bench.ends.statuses()[1].code() == absl::StatusCode::kUnavailable);
  CHECK(bench.ends.failed() == 1);
  keeper.End();
}

TEST_CASE("lane_stops_although_a_lock_is_kept") {
  WriteVerb verb("w");
  LaneOptions options;
  options.connection.lock_timeout = absl::Milliseconds(50);
  Bench bench(options);
  Keeper keeper(bench, "{1}");
  MustBeOk(bench.Submit(&verb, "k", "1"));
  MustBeOk(bench.Submit(&verb, "l", "2"));
  bench.ends.WaitFor(1);
  bench.lane->Stop(absl::Milliseconds(200));
  CHECK(bench.ends.values() == std::vector<std::string>{"2", "1"});
  CHECK(bench.ends.statuses()[1].code() == absl::StatusCode::kUnavailable);
  keeper.End();
}

TEST_CASE("lane_operation_that_takes_too_long_fails_alone_and_not_for_ever") {
  WriteVerb verb("w");
  LaneOptions options;
  // What waits for the lock takes too long.
  options.connection.lock_timeout = absl::Seconds(60);
  options.blocked_lock_timeout = absl::Seconds(60);
  options.connection.statement_timeout = absl::Milliseconds(200);
  options.timeout_delay = absl::Milliseconds(10);
  options.timed_out =
      GENERATE(absl::StatusCode::kInvalidArgument, absl::StatusCode::kDeadlineExceeded);
  Bench bench(options);
  Keeper keeper(bench, "{2}");
  for (int i = 1; i <= 5; ++i) MustBeOk(bench.Submit(&verb, absl::StrCat("k", i), absl::StrCat(i)));
  MustBeOk(bench.Submit(&verb, "k2", "6"));
  bench.ends.WaitFor(6);
  const std::vector<std::string> values = bench.ends.values();
  CHECK(std::vector<std::string>(values.begin() + 4, values.end()) ==
        std::vector<std::string>{"2", "6"});
  const absl::Status status = bench.ends.statuses()[4];
  CHECK(status.code() == options.timed_out);
  CHECK(absl::StrContains(status.message(), "longer than 200ms for 1 rows and 100 bytes, 2 times"));
  CHECK(bench.ends.failed() == 1);
  keeper.End();
}

TEST_CASE("lane_large_operation_goes_beside_and_only_those_of_its_key_wait") {
  const bool slow = GENERATE(false, true);  // known to be large, or found to take too long
  WriteVerb verb("w");
  LaneOptions options;
  options.connection.lock_timeout = absl::Seconds(60);
  Bench bench(options);
  options.connection.url = bench.url;
  options.connection.extra_settings = {{"search_path", "public"}};
  options.batch_operations_max = 1;
  Lane large(options);
  options.large = &large;
  options.batch_operations_max = 200;
  options.blocked_lock_timeout = absl::Seconds(60);
  if (slow) options.connection.statement_timeout = absl::Milliseconds(200);
  bench.lane = std::make_unique<Lane>(options);
  Keeper keeper(bench, "{1}");
  MustBeOk(bench.Submit(&verb, "k", "1", 1, slow ? 100 : options.large_bytes_min));
  MustBeOk(bench.Submit(&verb, "k", "2"));
  for (int i = 3; i <= 50; ++i)
    MustBeOk(bench.Submit(&verb, absl::StrCat("k", i), absl::StrCat(i)));
  bench.ends.WaitFor(48);
  for (const std::string& value : bench.ends.values()) CHECK((value != "1" && value != "2"));
  keeper.End();
  bench.ends.WaitFor(50);
  const std::vector<std::string> values = bench.ends.values();
  CHECK(std::vector<std::string>(values.begin() + 48, values.end()) ==
        std::vector<std::string>{"1", "2"});
  CHECK(bench.ends.failed() == 0);
  CHECK(large.counters().operations == 1);
  CHECK(bench.lane->counters().queued_operations == 0);
  bench.lane->Stop(absl::Seconds(10));
}

TEST_CASE("lane_waits_for_space_and_reconnects_from_a_standby") {
  std::string code = GENERATE("53100", "53200", "25006", "57P03");
  bool reconnects = code == "25006" || code == "57P03";
  WriteVerb verb("w");
  LaneOptions options;
  options.slow_retry_delay = absl::Milliseconds(20);
  options.reconnect_delay_min = absl::Milliseconds(10);
  Bench bench(options);
  Params params;
  params.Text(code);
  MustBeOk(bench.session->ExecuteOnce("insert into faults values ($1, 2)", params).status());
  MustBeOk(bench.Submit(&verb, "k", "1"));
  MustBeOk(bench.Submit(&verb, "k", "2"));
  bench.ends.WaitFor(2);
  CHECK(bench.ends.failed() == 0);
  CHECK(bench.lane->counters().connects == (reconnects ? 3 : 1));
}

TEST_CASE("lane_asks_a_starting_server_again_soon") {
  WriteVerb verb("w");
  LaneOptions options;
  // Delays that no test waits for, unless the server says that it starts.
  options.reconnect_delay_min = absl::Hours(1);
  options.reconnect_delay_max = absl::Hours(1);
  options.starting_delay_max = absl::Milliseconds(1);
  options.patience = absl::Hours(2);
  Bench bench(options);
  MustBeOk(bench.session->RunScript("insert into faults values ('57P03', 4)"));
  MustBeOk(bench.Submit(&verb, "k", "1"));
  bench.ends.WaitFor(1);
  CHECK(bench.ends.failed() == 0);
  CHECK(bench.lane->counters().connects == 5);
}

TEST_CASE("lane_wrong_statement_is_an_internal_error_and_the_lane_goes_on") {
  WriteVerb verb("w");
  Bench bench;
  MustBeOk(bench.session->RunScript("alter function write_log rename to write_log_2"));
  MustBeOk(bench.Submit(&verb, "k", "1"));
  bench.ends.WaitFor(1);
  CHECK(bench.ends.statuses()[0].code() == absl::StatusCode::kInternal);
  MustBeOk(bench.session->RunScript("alter function write_log_2 rename to write_log"));
  MustBeOk(bench.Submit(&verb, "k", "2"));
  bench.ends.WaitFor(2);
  CHECK(bench.ends.failed() == 1);
}

TEST_CASE("lane_lost_connection_repeats_what_may_be_repeated") {
  WriteVerb verb("w");
  Bench bench;
  bench.Lock(&verb);
  MustBeOk(bench.Submit(&verb, "k", "1"));
  bench.CutConnection();
  bench.WaitForLock();  // the same call on a new connection
  bench.Unlock();
  bench.ends.WaitFor(2);
  CHECK(bench.ends.failed() == 0);
  CHECK(bench.lane->counters().connects == 2);
}

TEST_CASE("lane_lost_connection_fails_what_may_have_happened_and_must_not_be_repeated") {
  WriteVerb verb("w");
  verb.repeatable_ = false;
  Bench bench;
  bench.Lock(&verb);
  MustBeOk(bench.Submit(&verb, "k", "1"));  // waits behind: it was never sent
  bench.CutConnection();
  bench.ends.WaitFor(1);
  CHECK(bench.ends.statuses()[0].code() == absl::StatusCode::kUnavailable);
  CHECK(bench.ends.values()[0] == "0");
  bench.Unlock();
  bench.ends.WaitFor(2);
  CHECK(bench.Log() == "w:k:1");
}

TEST_CASE("lane_operation_that_breaks_every_connection_fails_at_last") {
  WriteVerb verb("w");
  LaneOptions options;
  options.lost_calls_max = 3;
  options.reconnect_delay_min = absl::Milliseconds(1);
  Bench bench(options);
  MustBeOk(bench.session->RunScript(
      "create function kill_session() returns trigger language plpgsql as $$begin perform "
      "pg_terminate_backend(pg_backend_pid()); return new; end$$; create trigger t before insert "
      "on "
      "log for each row when (new.value = 13) execute function kill_session()"));
  MustBeOk(bench.Submit(&verb, "k", "13", 1, 100, absl::InfiniteDuration()));
  bench.ends.WaitFor(1);
  CHECK(bench.ends.statuses()[0].code() == absl::StatusCode::kUnavailable);
  MustBeOk(bench.Submit(&verb, "k", "14"));
  bench.ends.WaitFor(2);
  CHECK(bench.ends.failed() == 1);
  CHECK(bench.lane->counters().connects == 4);
}

TEST_CASE("lane_impatient_operations_fail_while_postgres_is_away_and_patient_ones_wait") {
  WriteVerb verb("w");
  LaneOptions options;
  options.patience = absl::Milliseconds(100);
  Bench bench(options);
  MustBeOk(bench.Submit(&verb, "k", "1"));
  bench.ends.WaitFor(1);
  PostgresFixture::Shared().Stop();
  MustBeOk(bench.Submit(&verb, "k", "2", 1, 100, absl::InfiniteDuration()));
  MustBeOk(bench.Submit(&verb, "k", "3"));
  bench.ends.WaitFor(2);
  CHECK(bench.ends.values()[1] == "3");
  CHECK(bench.ends.statuses()[1].code() == absl::StatusCode::kUnavailable);
  CHECK_FALSE(bench.lane->counters().connected);
  PostgresFixture::Shared().StartAgain();
  bench.ends.WaitFor(3);
  CHECK(bench.ends.failed() == 1);
  bench.Reconnect();
  CHECK(bench.Log() == "w:k:1 | w:k:2");
}

TEST_CASE("lane_loses_and_doubles_nothing_when_postgres_is_killed_in_the_middle") {
  WriteVerb a("a");
  WriteVerb b("b");
  LaneOptions options;
  options.batch_operations_max = 20;
  options.reconnect_delay_max = absl::Milliseconds(100);
  options.patience = absl::Minutes(2);
  Bench bench(options);
  constexpr int kCount = 3000;
  std::atomic<int> submitted{0};
  std::thread producer([&] {
    for (int i = 0; i < kCount; ++i) {
      while (!bench.Submit(i % 3 == 0 ? &a : &b, absl::StrCat("k", i % 7), absl::StrCat(i)).ok()) {
      }
      ++submitted;
    }
  });
  bench.ends.WaitFor(200);
  PostgresFixture::Shared().Kill();
  PostgresFixture::Shared().StartAgain();
  bench.ends.WaitFor(500);
  PostgresFixture::Shared().Restart();
  producer.join();
  bench.ends.WaitFor(kCount);
  CHECK(bench.ends.failed() == 0);
  CHECK(bench.ends.values().size() == kCount);
  bench.Reconnect();
  Result rows = ValueOf(bench.session->ExecuteOnce("select count(*) from log"));
  CHECK(rows.Int(0, 0) == kCount);
  Result disorder = ValueOf(bench.session->ExecuteOnce(
      "select 1 from (select value, lag(value) over (partition by key order by seq) as before from "
      "log) x where before > value"));
  CHECK(disorder.rows() == 0);
}

TEST_CASE("lane_any_mix_of_verbs_keeps_the_order_of_every_instance") {
  auto seed = static_cast<unsigned>(std::random_device()());
  CAPTURE(seed);
  std::mt19937 random(seed);
  WriteVerb verbs[] = {WriteVerb("a"), WriteVerb("b"), WriteVerb("c")};
  verbs[1].one_per_key_ = true;
  verbs[2].operations_max_ = 3;
  LaneOptions options;
  options.batch_operations_max = 10;
  options.batch_bytes_max = 2000;
  Bench bench(options);
  for (int i = 0; i < 2000; ++i) {
    MustBeOk(bench.Submit(&verbs[random() % 3], absl::StrCat("k", random() % 20), absl::StrCat(i),
                          /*hub=*/1 + static_cast<HubId>(random() % 2), random() % 500));
  }
  bench.ends.WaitFor(2000);
  CHECK(bench.ends.failed() == 0);
  Result disorder = ValueOf(bench.session->ExecuteOnce(
      "select 1 from (select value, lag(value) over (partition by hub, key order by seq) as before "
      "from log) x where before > value"));
  CHECK(disorder.rows() == 0);
}

TEST_CASE("lane_stop_finishes_the_queue_or_fails_it_when_the_time_is_over") {
  WriteVerb verb("w");
  Bench bench;
  bench.Lock(&verb);
  MustBeOk(bench.Submit(&verb, "k", "1"));
  bench.lane->Stop(absl::Milliseconds(50));  // the table stays locked
  CHECK(bench.ends.values().size() == 2);
  CHECK(bench.ends.failed() == 2);
  for (const absl::Status& status : bench.ends.statuses()) {
    CHECK(status.code() == absl::StatusCode::kUnavailable);
  }
  CHECK(bench.Submit(&verb, "k", "2").code() == absl::StatusCode::kUnavailable);

  Bench other;
  for (int i = 0; i < 500; ++i) MustBeOk(other.Submit(&verb, "k", absl::StrCat(i)));
  other.lane->Stop(absl::Seconds(60));
  CHECK(other.ends.values().size() == 500);
  CHECK(other.ends.failed() == 0);
}

}  // namespace
}  // namespace dt::postgres
