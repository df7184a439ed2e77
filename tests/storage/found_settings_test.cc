// PostgreSQL as it is found: whatever a database sets, the store does the same, and the functions
// of SQL users answer the same.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/postgres/migrator.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"
#include "tests/support/postgres_fixture.h"

namespace dt::testing {
namespace {

using postgres::Connection;
using postgres::Params;
using postgres::Result;

struct FoundSetting {
  std::string name;
  std::string value;
  // What SQL users do is bound by it as well, as they want it.
  bool bounds_sql_users = false;
};

std::vector<FoundSetting> FoundSettings() {
  return {
      {"default_transaction_isolation", "repeatable read"},
      {"default_transaction_isolation", "serializable"},
      {"default_transaction_deferrable", "on"},
      {"array_nulls", "off"},
      {"standard_conforming_strings", "off"},
      {"backslash_quote", "off"},
      {"transform_null_equals", "on"},
      {"quote_all_identifiers", "on"},
      {"exit_on_error", "on"},
      {"TimeZone", "Asia/Kathmandu"},
      {"DateStyle", "SQL, DMY"},
      {"DateStyle", "German"},
      {"IntervalStyle", "sql_standard"},
      {"bytea_output", "escape"},
      {"extra_float_digits", "-15"},
      {"client_encoding", "LATIN1"},
      {"search_path", ""},
      {"row_security", "off"},
      {"session_replication_role", "replica"},
      {"synchronous_commit", "off"},
      {"jit_above_cost", "0"},
      {"force_parallel_mode", "on"},   // up to 15
      {"debug_parallel_query", "on"},  // from 16 on
      {"plan_cache_mode", "force_custom_plan"},
      {"plpgsql.variable_conflict", "use_variable"},
      {"plpgsql.variable_conflict", "use_column"},
      {"plpgsql.extra_errors", "all"},
      {"plpgsql.print_strict_params", "on"},
      {"statement_timeout", "50ms", true},
      {"lock_timeout", "1ms", true},
      {"idle_in_transaction_session_timeout", "50ms", true},
      {"idle_session_timeout", "50ms", true},
      {"transaction_timeout", "50ms", true},  // from 17 on
  };
}

// The database of these tests, with the schema "dt", where one setting after the other is made.
class FoundDatabase {
 public:
  FoundDatabase() : url_(PostgresFixture::Shared().NewDatabase()) {
    administrator_ = PostgresFixture::Connect(url_);
    MustBeOk(postgres::MigrateSchema(*administrator_, "dt").status());
    name_ = std::string(
        ValueOf(administrator_->ExecuteOnce("select current_database()::text")).Text(0, 0));
  }

  const std::string& url() const { return url_; }
  Connection& administrator() { return *administrator_; }

  bool Knows(const FoundSetting& setting) {
    return setting.name.find('.') != std::string::npos ||
           ValueOf(administrator_->ExecuteOnce("select 1 from pg_settings where name = $1",
                                               Params().Text(setting.name)))
                   .rows() == 1;
  }
  void Set(const FoundSetting& setting) {
    MustBeOk(
        administrator_->RunScript(absl::StrCat("alter database ", name_, " set ", setting.name,
                                               " = ", Connection::QuoteLiteral(setting.value))));
  }
  // A setting that is gone with this object.
  class Made {
   public:
    Made(FoundDatabase& database, const FoundSetting& setting) : database_(database) {
      database_.Set(setting);
    }
    ~Made() { database_.Reset(); }
    Made(const Made&) = delete;
    Made& operator=(const Made&) = delete;

   private:
    FoundDatabase& database_;
  };

  void Reset() {
    MustBeOk(administrator_->RunScript(absl::StrCat("alter database ", name_, " reset all")));
  }

  // A session with the settings as they are found, not with those of the daemon.
  std::unique_ptr<Connection> SqlUser() {
    auto connection = PostgresFixture::Connect(url_);
    MustBeOk(connection->RunScript("reset all"));
    return connection;
  }

 private:
  const std::string url_;
  std::string name_;
  std::unique_ptr<Connection> administrator_;
};

FoundDatabase& Found() {
  static FoundDatabase database;
  return database;
}

// The smoke set of the store: each verb that writes more than a row, and reads of what it wrote.
void CheckStore(Harness& h) {
  NewInstance instance = h.Instance("one");
  instance.input = "in\\put";
  instance.tags = {{"NULL", "null"}};
  h.a().Create(instance);
  Claim claim = h.a().ClaimOne(h.hub);
  Checkpoint turn = TurnOf(claim);
  turn.update = InstanceUpdate{};
  turn.update->custom_status = Change<std::string>::Set("NULL");
  NewMessage timer = Event("timer", 13);
  timer.generation = 0;
  timer.visible_at = h.a().store().Now() + absl::Hours(1);
  turn.own_messages = {Event("own"), timer};
  turn.messages = {{"nobody", Event("lost")}};
  turn.tasks = {{1, "Act", Payload("1"), Bytes("request"), 0},
                {2, "Act", std::nullopt, Bytes("r"), 0}};
  NewChild child;
  child.instance = h.Instance("child");
  child.instance.parent = ParentLink{claim.key, 0, 3, "one"};
  child.conflict = Event("conflict", 11);
  turn.children = {child};
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  CHECK(h.a().Read(h.hub, "one")->custom_status == "NULL");

  const TaskClaimResult tasks = h.b().ClaimTasks(h.hub, 10);
  REQUIRE(tasks.tasks.size() == 2);
  const ActivityTask& task = tasks.tasks[0];
  CHECK(h.b()
            .Complete(h.hub, "one", {task.key, task.lease_token, claim.key, 0, Event("done", 6)})
            .outcome == TaskOutcome::kOk);
  CHECK(h.b().Send(h.hub, "one", Event("raised")).outcome == DeliveryOutcome::kOk);
  CHECK(h.a().ReadNew().size() == 1);

  claim = ReleasedAndClaimed(h, After(turn, claim));
  CHECK(claim.messages.size() == 3);
  Checkpoint next = TurnOf(claim);
  next.next_generation = NextGeneration{"fedcba98765432100123456789abcdef", {}, {}, "saved"};
  NewMessage started = Event("start again", 3);
  started.generation = 1;
  next.own_messages = {started};
  REQUIRE(h.a().Commit(next).outcome == CheckpointOutcome::kCommitted);
  claim = ReleasedAndClaimed(h, After(next, claim));
  CHECK(claim.generation == 1);
  CHECK(claim.saved_custom_status == "saved");
  Checkpoint last = TurnOf(claim);
  last.update = InstanceUpdate{RuntimeStatus::kCompleted, {}, {}, {}, {}};
  last.ends = true;
  REQUIRE(h.a().Commit(last).outcome == CheckpointOutcome::kCommitted);

  h.a().Create(h.Instance("two"));
  Termination termination;
  termination.instance_id = "two";
  termination.reason = "over";
  termination.message = Event("terminate", 5);
  CHECK(h.b().Terminate(h.hub, termination).outcome == DeliveryOutcome::kDone);
  CHECK(h.a().Read(h.hub, "two")->status == RuntimeStatus::kTerminated);
  InstanceSearch search;
  search.hub = h.hub;
  const auto page = h.a().Wait<InstancePage>(
      [&](auto done) { h.a().store().SearchInstances(search, std::move(done)); });
  REQUIRE(page.ok());
  CHECK(page->rows.size() == 3);
  PurgeRequest purge;
  purge.hub = purge.filter.hub = h.hub;
  purge.instance_ids = {"one", "two"};
  const auto purged = h.a().Wait<PurgeResult>(
      [&](auto done) { h.a().store().PurgeInstances(purge, std::move(done)); });
  REQUIRE(purged.ok());
  CHECK(purged->deleted == 2);
}

std::string One(Connection& connection, const std::string& sql, const Params& params = {}) {
  const absl::StatusOr<Result> result = connection.ExecuteOnce(sql, params);
  INFO(sql << ": " << result.status().ToString());
  REQUIRE(result.ok());
  REQUIRE(result->rows() == 1);
  return result->IsNull(0, 0) ? "null" : std::string(result->Text(0, 0));
}

// The smoke set of the functions of SQL users, in the hub of the login: what comes out, as text.
void CheckSqlUser(Connection& sql) {
  const auto one = [&](const std::string& text, const Params& params = {}) {
    return One(sql, text, params);
  };
  Params start;
  start.Text("in\\put 'NULL'")
      .Jsonb(R"({"k": "NULL", "empty": ""})")
      .Timestamp(absl::FromUnixSeconds(4'000'000'000));
  CHECK(one("select InstanceID from dt.CreateInstance('Ship', '1', 'later', InputText => $1, Tags "
            "=> $2, "
            "StartTime => $3)",
            start) == "later");
  CHECK(one("select InstanceID from dt.CreateInstance('Ship', InstanceID => 'now')") == "now");
  CHECK(one("select concat_ws('|', InputText, Tags ->> 'k', extract(epoch from "
            "ScheduledStart)::bigint, "
            "RuntimeStatus, CompletedTime, FailureDetails) from dt.vInstances where InstanceID = "
            "'later'") == "in\\put 'NULL'|NULL|4000000000|Pending");
  CHECK(one("select dt.RaiseEvent('go', 'now', 'a\\b')::text") == "true");
  CHECK(one("select dt.RaiseEvent('go', 'now', null, now() + interval '1 day')::text") == "true");
  CHECK(one("select (dt.SuspendInstance('now', '') and dt.ResumeInstance('now'))::text") == "true");
  CHECK(one("select concat_ws('|', dt.GetScaleMetric(), dt.GetScaleRecommendation(1, 1))") ==
        "1|1");
  CHECK(one("select concat_ws('|', Kind, Name, Version, Waiting) from dt.vWaitingWork") ==
        "Orchestration|Ship||1");
  CHECK(sql.ExecuteOnce("select dt.SetRetention('Failed', interval '36 hours')").ok());
  CHECK(one("select extract(epoch from Keep)::int::text from dt.vRetention where RuntimeStatus = "
            "'Failed'") == "129600");
  CHECK(sql.ExecuteOnce("select dt.RemoveRetention('Failed')").ok());
  CHECK(sql.ExecuteOnce("select dt.SetGlobalSetting('NotifyOnCommit', '0')").ok());
  CHECK(sql.ExecuteOnce("select dt.BindTaskHub('pg_monitor', 'NULL')").ok());
  CHECK(one("select TaskHub from dt.GetTaskHubBindings() where RoleName = 'pg_monitor'") == "NULL");
  CHECK(one("select dt.UnbindTaskHub('pg_monitor')::text") == "true");
  CHECK(one("select semantic_version from dt._GetVersions()") == postgres::ProgramVersion());
  CHECK(one("select dt.CurrentTaskHub()") == "postgres");
  MustBeOk(sql.RunScript(
      "begin isolation level read committed; select dt.TerminateInstance('now', 'no\\t'), "
      "dt.TerminateInstance('later'); commit"));
  CHECK(one("select concat_ws('|', RuntimeStatus, length(OutputText) >= 3) from "
            "dt.QuerySingleOrchestration('now')") == "Terminated|t");
  CHECK(ValueOf(sql.ExecuteOnce("select * from dt.GetInstanceHistory('now', true)")).rows() == 0);
  CHECK(one("select dt.PurgeInstanceStateByID(array['now', null])::text") == "1");
  MustBeOk(sql.RunScript("call dt.PurgeInstanceState(now() + interval '1 day', 1)"));
  CHECK(one("select count(*)::text from dt.vInstances") == "0");
}

TEST_CASE("found_settings_change_nothing_for_the_store") {
  for (const FoundSetting& setting : FoundSettings()) {
    if (!Found().Knows(setting)) continue;
    INFO(setting.name << " = '" << setting.value << "'");
    const FoundDatabase::Made made(Found(), setting);
    postgres::ConnectionOptions options;
    options.url = Found().url();
    Harness h(WorldOn(options));
    CheckStore(h);
  }
}

// What has no outcome of its own that is certain, as the isolation level: the value itself.
TEST_CASE("found_settings_are_not_those_of_the_daemons_sessions") {
  const std::vector<std::string> names = {"transaction_isolation",
                                          "array_nulls",
                                          "standard_conforming_strings",
                                          "transform_null_equals",
                                          "exit_on_error",
                                          "TimeZone",
                                          "DateStyle",
                                          "IntervalStyle",
                                          "bytea_output",
                                          "extra_float_digits",
                                          "client_encoding",
                                          "search_path",
                                          "synchronous_commit",
                                          "plpgsql.extra_errors",
                                          "statement_timeout",
                                          "lock_timeout",
                                          "idle_session_timeout",
                                          "idle_in_transaction_session_timeout"};
  const auto values = [&names] {
    postgres::ConnectionOptions options;
    options.url = Found().url();
    auto connection = ValueOf(Connection::Connect(options));
    MustBeOk(connection->RunScript("do $$begin end$$"));  // for the settings of the language
    return One(*connection,
               "select string_agg(n || '=' || coalesce(current_setting(n, true), ''), ', ') from "
               "unnest($1) n",
               Params().TextArray(names));
  };
  const std::string expected = values();
  REQUIRE(expected.find("transaction_isolation=read committed") != std::string::npos);
  for (const FoundSetting& setting : FoundSettings()) {
    if (!Found().Knows(setting)) continue;
    INFO(setting.name << " = '" << setting.value << "'");
    const FoundDatabase::Made made(Found(), setting);
    CHECK(values() == expected);
  }
}

TEST_CASE("found_settings_change_nothing_for_sql_users") {
  for (const FoundSetting& setting : FoundSettings()) {
    if (!Found().Knows(setting) || setting.bounds_sql_users) continue;
    INFO(setting.name << " = '" << setting.value << "'");
    const FoundDatabase::Made made(Found(), setting);
    CheckSqlUser(*Found().SqlUser());
  }
}

// All kinds of plans that can be forbidden, one at a time.
TEST_CASE("found_settings_of_the_planner_change_nothing") {
  const Result names = ValueOf(Found().administrator().ExecuteOnce(
      "select name from pg_settings where name like 'enable@_%' escape '@' and vartype = 'bool' "
      "order by name"));
  REQUIRE(names.rows() > 15);
  for (int row = 0; row < names.rows(); ++row) {
    const FoundSetting setting = {std::string(names.Text(row, 0)), "off"};
    INFO(setting.name);
    const FoundDatabase::Made made(Found(), setting);
    CheckSqlUser(*Found().SqlUser());
    postgres::ConnectionOptions options;
    options.url = Found().url();
    Harness h(WorldOn(options));
    CheckStore(h);
  }
}

}  // namespace
}  // namespace dt::testing
