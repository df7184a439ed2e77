// Retention in SQL: policies, the one who leads, what a look costs (sql/logic/retention.sql).
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/sql/cost.h"
#include "tests/sql/schema.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using postgres::Connection;
using postgres::Result;

// A schema with the hubs "mine" (1), which is the one of this session, and "other" (2), and a
// worker (1) whose lease outlives every shift of the clock here.
std::unique_ptr<Connection> NewHubs() {
  auto connection = NewSchema();
  MustBeOk(connection->RunScript(
      "select dt.SetGlobalSetting('TaskHubMode', '0'); set application_name = 'mine'; "
      "select dt._ResolveHub('mine', true), dt._ResolveHub('other', true); "
      "select dt._RegisterWorker('host a', 'a', '1', '1000 d')"));
  return connection;
}

// `count` instances of a hub and status that ended so long ago, one after another.
void AddEnded(Connection& connection, int hub, int status, const std::string& ago, int count = 1) {
  MustBeOk(connection.RunScript(absl::StrCat(
      "insert into dt.Instances (hub_id, instance_id, name, created_time, last_updated_time, "
      "completed_time, stored_status) select ",
      hub, ", gen_random_uuid(), 'Work', now(), now(), now() - interval '", ago,
      "' + n * interval '1 us', ", status, " from generate_series(1, ", count, ") n")));
}

std::string Call(const std::string& keep = "", int rows = 500, int worker = 1,
                 const std::string& pause = "0") {
  return absl::StrCat(R"(select * from dt._ApplyRetention(0, '{"worker": )", worker,
                      R"(, "keep": {)", keep, R"(}, "rows": )", rows, R"(, "pause": )", pause,
                      R"(, "grace": 0}', '{}'))");
}

// What one call did, as "hub status count", and at last who leads.
std::string Apply(Connection& connection, const std::string& call) {
  const Result rows = Run(connection, call);
  std::vector<std::string> lines;
  for (int row = 0; row < rows.rows(); ++row) {
    if (!rows.IsNull(row, rows.Column("hub"))) {
      lines.push_back(absl::StrCat(std::string(rows.Text(row, rows.Column("hub"))), " ",
                                   rows.Int(row, rows.Column("status")), " ",
                                   rows.Int(row, rows.Column("purged"))));
    } else if (rows.Bool(row, rows.Column("leads"))) {
      lines.push_back(rows.Bool(row, rows.Column("more")) ? "leads, more" : "leads");
    } else {
      lines.push_back(rows.OptionalText(row, rows.Column("leader")).value_or("nobody"));
    }
  }
  return absl::StrJoin(lines, "; ");
}

int64_t Count(Connection& connection, const std::string& from) {
  return Run(connection, absl::StrCat("select count(*) from dt.", from)).Int(0, 0);
}

constexpr char kAllAtOnce[] = R"("1": 0, "3": 0, "4": 0, "5": 0)";

TEST_CASE("sql_retention_asks_the_hub_before_the_daemon") {
  auto connection = NewHubs();
  const auto policy = [&](const std::string& call) {
    MustBeOk(connection->RunScript(absl::StrCat("select dt.", call)));
  };
  policy("SetRetention('Default', '1 hour')");
  policy("SetRetention('Failed', null)");
  policy("SetRetention('Canceled', '0')");
  for (const int hub : {1, 2}) {
    for (const int status : {1, 3, 4, 5}) AddEnded(*connection, hub, status, "30 min");
  }
  CHECK(Apply(*connection, Call(kAllAtOnce)) ==
        "mine 4 1; other 1 1; other 3 1; other 4 1; other 5 1; leads");
  const Result shown = Run(*connection,
                           "select RuntimeStatus || ' ' || coalesce(Keep::text, 'for ever') || ' ' "
                           "|| PurgedTotal || ' ' || LedBy || ' ' || (SetBy = session_user) "
                           "from dt.vRetention order by 1");
  REQUIRE(shown.rows() == 4);
  CHECK(shown.Text(0, 0) == "Canceled 00:00:00 1 host a true");
  CHECK(shown.Text(1, 0) == "Completed 01:00:00 0 host a true");
  CHECK(shown.Text(2, 0) == "Failed for ever 0 host a true");
  CHECK(shown.Text(3, 0) == "Terminated 01:00:00 0 host a true");
  CHECK(Run(*connection,
            "select NextDue = OldestCompletedTime + interval '1 hour' and OldestCompletedTime < "
            "now() from dt.vRetention where RuntimeStatus = 'Completed'")
            .Bool(0, 0));

  // Without policies of its own the hub goes by what the daemon was told.
  for (const char* status : {"Default", "Failed", "Canceled"}) {
    policy(absl::StrCat("RemoveRetention('", status, "')"));
  }
  CHECK(Apply(*connection, Call(R"("3": 0)")) == "mine 3 1; leads");
  CHECK(Count(*connection, "Instances") == 2);
}

TEST_CASE("sql_retention_refuses_what_is_no_policy") {
  auto connection = NewHubs();
  const auto error = [&](const std::string& call) {
    return std::string(connection->RunScript(absl::StrCat("select dt.", call)).message());
  };
  CHECK(absl::StrContains(error("SetRetention('Running', '1 d')"),
                          "Status is \"Running\", but only Default, Completed, Failed, Canceled "
                          "and Terminated have a policy"));
  CHECK(absl::StrContains(error("SetRetention('Failed', '-1 d')"), "Keep is -1 days"));
  CHECK(absl::StrContains(error("SetRetention('Failed', '9999 years')"),
                          "Keep is 9999 years, the limit is 100 years; null keeps for ever"));
  // Its parts take each other back, but no time can be moved by them one after the other.
  CHECK(absl::StrContains(error("SetRetention('Failed', make_interval(years => 9999, days => "
                                "-3599000))"),
                          "the limit is 100 years"));
  CHECK(absl::StrContains(error("SetRetention('Failed', '1 d', 'none')"),
                          "there is no task hub \"none\""));
  CHECK(absl::StrContains(error("RemoveRetention('Failed')"),
                          "task hub \"mine\" has no policy for \"Failed\""));
  CHECK(Count(*connection, "RetentionPolicies") == 0);
}

TEST_CASE("sql_retention_of_one_hub_does_not_stop_the_others") {
  auto connection = NewHubs();
  for (const int hub : {1, 2}) AddEnded(*connection, hub, 5, "1 h");
  // As older builds let it be set.
  MustBeOk(
      connection->RunScript("select dt.SetRetention('Terminated', '0'); "
                            "update dt.RetentionPolicies set keep = '999999 years'"));
  CHECK(Apply(*connection, Call(kAllAtOnce)) == "other 5 1; leads");
  CHECK(Run(*connection,
            "select NextDue = 'infinity' from dt.vRetention where RuntimeStatus = 'Terminated'")
            .Bool(0, 0));
  MustBeOk(connection->RunScript("select dt.SetRetention('Terminated', '100 years')"));
  CHECK(Apply(*connection, Call(kAllAtOnce)) == "leads");
  CHECK(Count(*connection, "Instances") == 1);
}

TEST_CASE("sql_retention_passes_a_hub_by_whose_rows_are_bad") {
  auto connection = NewHubs();
  for (const int hub : {1, 2}) AddEnded(*connection, hub, 1, "1 h");
  CHECK(Apply(*connection, Call(R"("1": 7200000000)")) == "leads");
  // More than an interval can hold.
  MustBeOk(connection->RunScript(
      "update dt.RetentionWalks set passed_over = 9e18, restart_at = 'infinity' where hub_id = 1"));
  CHECK(Apply(*connection, Call(kAllAtOnce, 500, 1, "60000000")) == "other 1 1; leads");
  CHECK(Run(*connection, "select next_run > now() from dt.RetentionWalks where hub_id = 1")
            .Bool(0, 0));
  MustBeOk(connection->RunScript(
      "update dt.RetentionWalks set passed_over = 0, next_run = now() where hub_id = 1"));
  CHECK(Apply(*connection, Call(kAllAtOnce)) == "mine 1 1; leads");
}

TEST_CASE("sql_retention_counts_from_the_end") {
  auto connection = NewHubs();
  AddEnded(*connection, 1, 1, "0");
  const std::string call = Call(R"("1": 3600000000)");
  MustBeOk(connection->RunScript("set dt.clock_shift = '59 min'"));
  CHECK(Apply(*connection, call) == "leads");
  MustBeOk(connection->RunScript("set dt.clock_shift = '61 min'"));
  CHECK(Apply(*connection, call) == "mine 1 1; leads");
}

TEST_CASE("sql_retention_serves_all_hubs_in_turn") {
  auto connection = NewHubs();
  AddEnded(*connection, 1, 1, "1 h", 5);
  AddEnded(*connection, 2, 1, "1 h", 3);
  const std::string call = Call(R"("1": 0)", 2);
  CHECK(Apply(*connection, call) == "mine 1 2; leads, more");
  CHECK(Apply(*connection, call) == "other 1 2; leads, more");
  CHECK(Apply(*connection, call) == "mine 1 2; leads, more");
  CHECK(Apply(*connection, call) == "other 1 1; mine 1 1; leads, more");
  CHECK(Apply(*connection, call) == "leads");
  CHECK(Run(*connection, "select sum(purged_total)::bigint from dt.RetentionWalks").Int(0, 0) == 8);
  // A hub with nothing left rests.
  const std::string resting = Call(R"("1": 0)", 2, 1, "60000000");
  CHECK(Apply(*connection, resting) == "leads");
  AddEnded(*connection, 1, 1, "1 h");
  CHECK(Apply(*connection, resting) == "leads");
  MustBeOk(connection->RunScript("set dt.clock_shift = '61 s'"));
  CHECK(Apply(*connection, resting) == "mine 1 1; leads");
}

TEST_CASE("sql_retention_leader_is_followed_when_its_lease_is_over") {
  auto connection = NewHubs();
  MustBeOk(connection->RunScript(
      "update dt.Workers set lease_until = now() + interval '30 s' where worker_id = 1; "
      "select dt._RegisterWorker('host b', 'b', '1', '1 h')"));
  AddEnded(*connection, 1, 1, "1 h");
  const std::string a = Call(R"("1": 0)", 500, 1);
  const std::string b = Call(R"("1": 0)", 500, 2);
  CHECK(Apply(*connection, Call("", 500, 1)) == "leads");
  MustBeOk(connection->RunScript("set dt.clock_shift = '20 s'"));
  CHECK(Apply(*connection, b) == "host a, worker 1");
  MustBeOk(connection->RunScript("set dt.clock_shift = '40 s'"));
  CHECK(Apply(*connection, a) == "nobody");
  CHECK(Apply(*connection, b) == "mine 1 1; leads");
  // It lives again, too late.
  MustBeOk(connection->RunScript("select dt._RenewWorker(1, '1 h')"));
  CHECK(Apply(*connection, a) == "host b, worker 2");
  // A worker that unregisters is followed at once; one that nobody knows never leads.
  MustBeOk(connection->RunScript("select dt._UnregisterWorker(2)"));
  CHECK(Apply(*connection, Call("", 500, 99)) == "nobody");
  CHECK(Apply(*connection, a) == "leads");
}

TEST_CASE("sql_retention_batches_of_two_leaders_never_overlap") {
  const std::string url = PostgresFixture::Shared().NewDatabase();
  auto first = PostgresFixture::Connect(url);
  auto second = PostgresFixture::Connect(url);
  MustBeOk(postgres::MigrateSchema(*first, "dt").status());
  MustBeOk(first->RunScript(
      "select dt._ResolveHub('mine', true); select dt._RegisterWorker('host a', 'a', '1', '1 h'), "
      "dt._RegisterWorker('host b', 'b', '1', '1 h')"));
  AddEnded(*first, 1, 1, "1 h", 2);
  // The first batch is still running when its daemon is given up for dead.
  MustBeOk(first->RunScript("begin"));
  CHECK(Apply(*first, Call(R"("1": 0)", 1, 1)) == "mine 1 1; leads, more");
  MustBeOk(second->RunScript("select dt._SweepExpired('{1}')"));
  CHECK(Apply(*second, Call(R"("1": 0)", 500, 2)) == "nobody");
  MustBeOk(first->RunScript("commit"));
  CHECK(Apply(*second, Call(R"("1": 0)", 500, 2)) == "mine 1 1; leads");
  CHECK(Apply(*first, Call(R"("1": 0)", 500, 1)) == "host b, worker 2");
  CHECK(Run(*first, "select purged_total from dt.RetentionWalks").Int(0, 0) == 2);
}

TEST_CASE("sql_retention_passes_over_what_others_have_locked") {
  const std::string url = PostgresFixture::Shared().NewDatabase();
  auto connection = PostgresFixture::Connect(url);
  auto holder = PostgresFixture::Connect(url);
  MustBeOk(postgres::MigrateSchema(*connection, "dt").status());
  MustBeOk(connection->RunScript(
      "select dt._ResolveHub('mine', true); select dt._RegisterWorker('host a', 'a', '1', '1 h')"));
  AddEnded(*connection, 1, 3, "1 h", 3);
  MustBeOk(
      holder->RunScript("begin; select 1 from dt.Instances where instance_key = 2 for update"));
  CHECK(Apply(*connection, Call(R"("3": 0)")) == "mine 3 2; leads");
  CHECK(Run(*connection, "select passed_over from dt.RetentionWalks").Int(0, 0) == 1);
  // Its holder brings it back to life: it has not ended any more, and stays.
  MustBeOk(holder->RunScript(
      "update dt.Instances set stored_status = 0, completed_time = null where instance_key = 2; "
      "commit"));
  MustBeOk(connection->RunScript("set dt.clock_shift = '1 s'"));
  CHECK(Apply(*connection, Call(R"("3": 0)")) == "leads");
  CHECK(Count(*connection, "Instances") == 1);
  // And is found when it ends again.
  MustBeOk(holder->RunScript(
      "update dt.Instances set stored_status = 3, completed_time = now() where instance_key = 2"));
  CHECK(Apply(*connection, Call(R"("3": 0)")) == "mine 3 1; leads");
}

// Who leads, what applies to two hubs with two statuses, a probe and the row of the walk for each.
constexpr int kPagesIdle = 100;

TEST_CASE("sql_retention_looks_at_nothing_that_is_kept") {
  auto connection = NewHubs();
  // Older than all that is completed, and kept.
  AddEnded(*connection, 1, 3, "10 d", 100'000);
  AddEnded(*connection, 1, 1, "1 h", 1000);
  MustBeOk(connection->RunScript("vacuum analyze"));
  const std::string call = Call(R"("1": 86400000000, "3": 8640000000000)");
  // More calls than a plan takes to become the generic one.
  for (int i = 0; i < 10; ++i) CHECK(Apply(*connection, call) == "leads");
  CHECK(CostOf(*connection, call).pages <= kPagesIdle);
  CHECK(CostOf(*connection, "select * from dt.vRetention").pages <= kPagesIdle);
  // The first batch after a policy got shorter does not look at the failed ones either.
  const std::string shorter = Call(R"("1": 60000000, "3": 8640000000000)", 10);
  CHECK(CostOf(*connection, shorter).pages <= kPagesIdle + 10 * 40);
  CHECK(Apply(*connection, shorter) == "mine 1 10; leads, more");
}

TEST_CASE("sql_retention_looks_once_at_children_of_a_live_orchestration") {
  auto connection = NewHubs();
  AddEnded(*connection, 1, 1, "1 h", 3000);
  MustBeOk(connection->RunScript(
      "insert into dt.ReadyInstances (instance_key, hub_id, lower_name) values (9999, 1, 'work'); "
      "update dt.Instances set parent_key = 9999, parent_generation = 0"));
  MustBeOk(connection->RunScript("vacuum analyze"));
  AddEnded(*connection, 1, 1, "1 min");
  const std::string call = Call(R"("1": 0)", 1000);
  for (int i = 0; i < 3; ++i) CHECK(Apply(*connection, call) == "leads, more");
  CHECK(Apply(*connection, call) == "mine 1 1; leads");
  CHECK(Run(*connection, "select PassedOver from dt.vRetention where RuntimeStatus = 'Completed'")
            .Int(0, 0) == 3000);
  CHECK(CostOf(*connection, call).pages <= kPagesIdle);
  // What ends now is found behind them, without another look at them.
  AddEnded(*connection, 1, 1, "1 ms");
  CHECK(Apply(*connection, call) == "mine 1 1; leads");
  // They get another look, and go when their parent has ended.
  MustBeOk(connection->RunScript("delete from dt.ReadyInstances; set dt.clock_shift = '10 s'"));
  for (int i = 0; i < 3; ++i) CHECK(Apply(*connection, call) == "mine 1 1000; leads, more");
  CHECK(Apply(*connection, call) == "leads");
  CHECK(Count(*connection, "Instances") == 0);
}

TEST_CASE("sql_retention_leaves_nothing_of_an_instance") {
  auto connection = NewHubs();
  AddEnded(*connection, 1, 1, "1 h");
  MustBeOk(connection->RunScript(
      "insert into dt.History (instance_key, turn, committed_time, first_event, "
      "event_count, events) values (1, 1, now(), 0, 1, 'x'); "
      "insert into dt.Payloads (instance_key, payload_id, data) values (1, gen_random_uuid(), "
      "'x'); "
      "insert into dt.NewTasks (instance_key, hub_id, generation, task_id, name, ready_at, "
      "lease_token) values (1, 1, 0, 1, 'x', now(), 7)"));
  CHECK(Apply(*connection, Call(R"("1": 0)")) == "mine 1 1; leads");
  for (const char* table : {"Instances", "History", "Payloads", "NewTasks"}) {
    INFO(table);
    CHECK(Count(*connection, table) == 0);
  }
}

TEST_CASE("sql_retention_forgets_a_hub_with_it") {
  auto connection = NewHubs();
  MustBeOk(connection->RunScript("select dt.SetRetention('Completed', '0', 'other')"));
  AddEnded(*connection, 2, 1, "1 h");
  CHECK(Apply(*connection, Call("")) == "other 1 1; leads");
  CHECK(Run(*connection, "select * from dt.vRetention where PurgedTotal > 0").rows() == 0);
  MustBeOk(connection->RunScript("select dt._DeleteHub('other')"));
  CHECK(Count(*connection, "RetentionPolicies") == 0);
  AddEnded(*connection, 2, 1, "1 h");
  CHECK(Apply(*connection, Call(kAllAtOnce)) == "leads");
  MustBeOk(connection->RunScript(
      R"(select dt._CleanHubs(0, '{"worker": 1, "rows": 9, "pause": 0}', '{}'))"));
  CHECK(Count(*connection, "RetentionWalks where hub_id = 2") == 0);
}

TEST_CASE("sql_retention_policies_are_set_by_operators_only") {
  auto connection = NewHubs();
  for (const char* role : {"dt_daemon", "dt_runtime", "dt_reader"}) {
    INFO(role);
    MustBeOk(connection->RunScript(absl::StrCat("set role ", role)));
    CHECK_FALSE(connection->RunScript("select dt.SetRetention('Completed', '0')").ok());
    CHECK_FALSE(connection->RunScript("select dt.RemoveRetention('Completed')").ok());
    CHECK_FALSE(connection->RunScript("insert into dt.RetentionPolicies values (1, 1, '0')").ok());
    if (role != std::string("dt_daemon")) {
      MustBeOk(connection->RunScript("select * from dt.vRetention"));
    }
    MustBeOk(connection->RunScript("reset role"));
  }
  AddEnded(*connection, 1, 1, "1 h");
  MustBeOk(connection->RunScript("set role dt_daemon"));
  CHECK(Apply(*connection, Call(R"("1": 0)")) == "mine 1 1; leads");
}

}  // namespace
}  // namespace dt::testing
