// A database that is there and takes no writes: a standby after a failover,
// default_transaction_read_only, a full disk. Calls end after the patience of their lane, reads go
// on, and nothing is written later that its caller has given up.
#include <atomic>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "storage/postgres/migrator.h"
#include "storage/postgres/postgres_store.h"
#include "tests/storage/lane_bench.h"
#include "tests/storage/store_harness.h"

namespace dt::testing {
namespace {

// Read-only, too many connections, disk full: the server answers, and takes nothing.
TEST_CASE("lane_server_that_takes_nothing_is_waited_for_no_longer_than_the_patience") {
  const std::string code = GENERATE("25006", "53300", "53100");
  CAPTURE(code);
  postgres::WriteVerb verb("w");
  postgres::LaneOptions options;
  // Longer than the patience: it must be cut short, too.
  options.slow_retry_delay = absl::Minutes(2);
  postgres::Bench bench(options);
  postgres::Params params;
  params.Text(code);
  MustBeOk(bench.session->ExecuteOnce("insert into faults values ($1, 1000000)", params).status());
  MustBeOk(bench.Submit(&verb, "k", "1", 1, 100, absl::Milliseconds(300)));
  MustBeOk(bench.Submit(&verb, "l", "2", 1, 100, absl::Milliseconds(300)));
  bench.ends.WaitFor(2);
  for (const absl::Status& status : bench.ends.statuses()) {
    CHECK(status.code() == absl::StatusCode::kUnavailable);
    CHECK(absl::StrContains(status.message(), "PostgreSQL cannot be used now"));
  }
  MustBeOk(bench.session->RunScript("delete from faults"));
  CHECK(bench.Log().empty());
}

// Submits a write whose caller leaves when `gone` says so; null = never.
void SubmitFor(postgres::Bench& bench, const postgres::Verb& verb, const std::string& key,
               const std::string& value, const std::atomic<bool>* gone) {
  auto write = std::make_unique<postgres::Write>(&verb, &bench.ends);
  write->key = key;
  write->value = value;
  write->hub = 1;
  write->order_key = postgres::OrderKey(1, key);
  if (gone != nullptr) write->caller_gone = [gone] { return gone->load(); };
  std::unique_ptr<postgres::Operation> operation = std::move(write);
  MustBeOk(bench.lane->Submit(operation));
}

TEST_CASE("lane_call_whose_caller_is_gone_is_not_sent") {
  postgres::WriteVerb verb("w");
  std::atomic<bool> gone{false};
  postgres::Bench bench;
  bench.Lock(&verb);
  SubmitFor(bench, verb, "k", "1", nullptr);
  SubmitFor(bench, verb, "k", "2", &gone);
  SubmitFor(bench, verb, "k", "3", nullptr);
  gone = true;
  bench.Unlock();
  bench.ends.WaitFor(4);
  CHECK(bench.ends.failed() == 1);
  CHECK(bench.Log() == "w:first:0 | w:k:1 w:k:3");
}

TEST_CASE("lane_call_whose_caller_is_gone_no_longer_waits_for_a_kept_lock") {
  postgres::WriteVerb verb("w");
  std::atomic<bool> gone{false};
  postgres::LaneOptions options;
  options.connection.lock_timeout = absl::Milliseconds(50);
  postgres::Bench bench(options);
  auto keeper = PostgresFixture::Connect(bench.url);
  MustBeOk(keeper->RunScript("begin; insert into log (value) values (1), (5)"));
  SubmitFor(bench, verb, "k", "1", &gone);
  SubmitFor(bench, verb, "m", "5", &gone);
  SubmitFor(bench, verb, "k", "2", nullptr);
  SubmitFor(bench, verb, "m", "6", nullptr);
  SubmitFor(bench, verb, "l", "3", nullptr);
  bench.ends.WaitFor(1);
  CHECK(bench.ends.values() == std::vector<std::string>{"3"});
  gone = true;
  // Those behind them go on, although the lock is still kept.
  bench.ends.WaitFor(5);
  CHECK(bench.ends.failed() == 2);
  MustBeOk(keeper->RunScript("rollback"));
  const postgres::Result stored = ValueOf(
      bench.session->ExecuteOnce("select string_agg(value::text, ' ' order by value) from log"));
  CHECK(stored.Text(0, 0) == "2 3 6");
}

// A store whose database can be made read-only.
class ReadOnlyWorld : public World {
 public:
  ReadOnlyWorld() : url_(PostgresFixture::Shared().NewDatabase()) {
    session_ = PostgresFixture::Connect(url_);
    MustBeOk(postgres::MigrateSchema(*session_, "dt").status());
  }
  std::unique_ptr<Store> NewStore() override {
    postgres::PostgresStoreOptions options;
    options.connection.url = url_;
    options.lane.patience = absl::Milliseconds(500);
    options.lease = absl::Seconds(3);
    return std::make_unique<postgres::PostgresStore>(std::move(options));
  }
  void DeclareDead(WorkerId) override { FAIL("not needed"); }

  // Of all sessions but the test's own, which end.
  void SetReadOnly(bool read_only) {
    MustBeOk(session_->RunScript(absl::StrCat(
        "do $$ begin execute format('alter database %I set default_transaction_read_only = ",
        read_only ? "on" : "off",
        "', current_database()); end $$; "
        "select pg_terminate_backend(pid, 60000) from pg_stat_activity where datname = "
        "current_database() and pid <> pg_backend_pid()")));
  }

 private:
  const std::string url_;
  std::unique_ptr<postgres::Connection> session_;
};

absl::StatusOr<HubId> Resolve(Daemon& daemon, const std::string& name, bool create) {
  return daemon.Wait<HubId>(
      [&](auto done) { daemon.store().ResolveHub(name, create, std::move(done)); });
}

// Waits until the store says so; some seconds, since a restart of the server is no fault.
bool AwaitWritable(Daemon& daemon, bool writable) {
  const absl::Time end = absl::Now() + absl::Minutes(1);
  while (daemon.store().Writable().ok() != writable) {
    if (absl::Now() > end) return false;
    absl::SleepFor(absl::Milliseconds(20));
  }
  return true;
}

TEST_CASE("store_read_only_database_is_read_and_writes_end_with_unavailable") {
  ReadOnlyWorld world;
  Daemon daemon(world);
  const absl::StatusOr<HubId> hub = Resolve(daemon, "hub", true);
  REQUIRE(hub.ok());
  NewInstance instance;
  instance.hub = *hub;
  instance.instance_id = "i";
  instance.execution_id = "e";
  instance.name = "Work";
  instance.started = Event("started", 3);
  daemon.Create(instance);
  CHECK(daemon.store().Writable().ok());

  world.SetReadOnly(true);
  const auto send = [&](const std::string& text, CallerGone gone) {
    return daemon.Wait<Delivery>([&](auto done) {
      daemon.store().SendMessage(ClientMessage{*hub, "i", Event(text), std::move(gone)},
                                 std::move(done));
    });
  };
  CHECK(send("refused", nullptr).status().code() == absl::StatusCode::kUnavailable);
  CHECK(daemon
            .Wait<PurgeResult>([&](auto done) {
              daemon.store().PurgeInstances(PurgeRequest{*hub, {"i"}, {}}, std::move(done));
            })
            .status()
            .code() == absl::StatusCode::kUnavailable);
  // What only reads is answered, and so is which hub it is, beside writes that wait.
  CHECK(daemon.Read(*hub, "i").has_value());
  CHECK(Resolve(daemon, "hub", true).value() == *hub);
  CHECK(Resolve(daemon, "nobody", false).status().code() == absl::StatusCode::kNotFound);
  CHECK(Resolve(daemon, "nobody", true).status().code() == absl::StatusCode::kUnavailable);
  CHECK(AwaitWritable(daemon, false));
  CHECK(absl::StrContains(daemon.store().Writable().message(), "read-only"));

  world.SetReadOnly(false);
  CHECK(AwaitWritable(daemon, true));
  const absl::StatusOr<Delivery> accepted = send("accepted", nullptr);
  REQUIRE(accepted.ok());
  CHECK(accepted->outcome == DeliveryOutcome::kOk);
  // Nothing came of the one that was refused.
  const Claim claim = daemon.ClaimOne(*hub);
  CHECK(TextsOf(claim.messages) == std::vector<std::string>{"started", "accepted"});
}

}  // namespace
}  // namespace dt::testing
