// Calls of one operation that the submitting thread sends itself: the same promises hold for them.
#include <atomic>
#include <thread>

#include "absl/strings/str_replace.h"
#include "tests/storage/lane_bench.h"

namespace dt::postgres {
namespace {

constexpr int kAttemptsMax = 100;

// Counts the calls that the thread of the test encoded.
class CountingVerb : public WriteVerb {
 public:
  CountingVerb() : WriteVerb("w") {}
  void Encode(Operations operations, Params* params) const override {
    if (std::this_thread::get_id() == test_) ++here_;
    WriteVerb::Encode(operations, params);
  }
  int here() const { return here_; }

 private:
  const std::thread::id test_ = std::this_thread::get_id();
  mutable std::atomic<int> here_{0};
};

// Submits one operation after the other until one was sent here; that one waits for the table. The
// first is never: there is no connection yet. A later one is not if the lane's thread has not come
// to rest after the one before. Returns its value.
int SubmitHere(Bench& bench, const CountingVerb& verb) {
  for (int value = 0;; ++value) {
    REQUIRE(value < kAttemptsMax);
    const int before = verb.here();
    MustBeOk(bench.session->RunScript("begin"));
    MustBeOk(bench.session->RunScript("lock table log in access exclusive mode"));
    MustBeOk(bench.Submit(&verb, "k", absl::StrCat(value)));
    bench.WaitForLock();
    if (verb.here() > before) return value;
    bench.Unlock();
    bench.ends.WaitFor(value + 1);
  }
}

TEST_CASE("lane_alone_is_sent_where_it_is_submitted_and_others_gather_behind_it") {
  CountingVerb verb;
  Bench bench;
  const int value = SubmitHere(bench, verb);
  const int here = verb.here();
  const int64_t calls = bench.lane->counters().calls;
  for (int i = 1; i <= 3; ++i) MustBeOk(bench.Submit(&verb, "k", absl::StrCat(value + i)));
  CHECK(verb.here() == here);
  bench.Unlock();
  bench.ends.WaitFor(value + 4);
  const std::vector<std::string> values = bench.ends.values();
  for (int i = 0; i <= value + 3; ++i) CHECK(values[i] == absl::StrCat(i));
  CHECK(bench.ends.failed() == 0);
  const LaneCounters counters = bench.lane->counters();
  CHECK(counters.calls == calls + 2);
  CHECK(counters.round_trips == 2 + counters.calls);  // settings, prepare
  CHECK(counters.queued_operations == 0);
}

TEST_CASE("lane_alone_lost_connection_repeats_what_may_be_repeated") {
  CountingVerb verb;
  Bench bench;
  const int value = SubmitHere(bench, verb);
  bench.CutConnection();
  bench.WaitForLock();  // the same call on a new connection
  bench.Unlock();
  bench.ends.WaitFor(value + 1);
  CHECK(bench.ends.failed() == 0);
  CHECK(bench.lane->counters().connects == 2);
}

TEST_CASE("lane_alone_lost_connection_fails_what_must_not_be_repeated") {
  CountingVerb verb;
  verb.repeatable_ = false;
  Bench bench;
  const int value = SubmitHere(bench, verb);
  bench.CutConnection();
  bench.ends.WaitFor(value + 1);
  CHECK(bench.ends.statuses()[value].code() == absl::StatusCode::kUnavailable);
  bench.Unlock();
}

TEST_CASE("lane_alone_finds_an_idle_session_ended_and_sends_on_a_new_one") {
  CountingVerb verb;
  verb.repeatable_ = false;  // nothing was lost on the old one
  Bench bench;
  const int value = SubmitHere(bench, verb);
  bench.Unlock();
  bench.ends.WaitFor(value + 1);
  MustBeOk(bench.session
               ->ExecuteOnce("select pg_terminate_backend(pid, 60000) from pg_stat_activity where "
                             "datname = current_database() and pid <> pg_backend_pid()")
               .status());
  MustBeOk(bench.Submit(&verb, "k", absl::StrCat(value + 1)));
  bench.ends.WaitFor(value + 2);
  CHECK(bench.ends.failed() == 0);
  CHECK(bench.lane->counters().connects == 2);
}

// Runs `change` while the lane is idle and then one more operation, in one world after the other
// until it was sent here. It ends well; then `check` looks.
template <typename Change, typename Check>
void SubmitHereAfter(Change change, Check check) {
  for (int attempt = 0;; ++attempt) {
    REQUIRE(attempt < kAttemptsMax);
    CountingVerb verb;
    Bench bench;
    const int value = SubmitHere(bench, verb);
    bench.Unlock();
    bench.ends.WaitFor(value + 1);
    change(*bench.session);
    const int before = verb.here();
    MustBeOk(bench.Submit(&verb, "k", absl::StrCat(value + 1)));
    const bool here = verb.here() > before;
    bench.ends.WaitFor(value + 2);
    CHECK(bench.ends.failed() == 0);
    check(bench.lane->counters());
    if (here) return;
  }
}

TEST_CASE("lane_alone_repeats_transient_faults") {
  SubmitHereAfter(
      [](Connection& session) {
        MustBeOk(session.RunScript("insert into faults select '40001', last_value + 2 from calls"));
      },
      [](const LaneCounters& counters) { CHECK(counters.retries == 2); });
}

TEST_CASE("lane_alone_prepares_a_statement_again_that_the_server_no_longer_accepts") {
  SubmitHereAfter(
      [](Connection& session) {
        // Another type of the result: refused to the statement that was prepared (0A000).
        const std::string changed = absl::StrReplaceAll(
            kWriteLog,
            {{"setof int", "setof bigint"},
             {"query select (e ->> 'value')::int", "query select (e ->> 'value')::bigint"}});
        MustBeOk(session.RunScript("drop function write_log;" + changed));
      },
      [](const LaneCounters& counters) { CHECK(counters.connects == 1); });
}

}  // namespace
}  // namespace dt::postgres
