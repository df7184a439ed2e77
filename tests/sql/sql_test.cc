// The SQL itself: decoding of stored events for the views, plans of the hot verbs, and installation
// by psql alone.
#include <cstdlib>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "proto/orchestrator_service.pb.h"
#include "tests/sql/schema.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using postgres::Connection;
using postgres::Params;
using postgres::Result;

HistoryEvent* AddEvent(OrchestratorRequest& request, int32_t id) {
  HistoryEvent* event = request.add_pastevents();
  event->set_eventid(id);
  event->mutable_timestamp()->set_seconds(1'700'000'000);
  event->mutable_timestamp()->set_nanos(123'456'789);
  return event;
}

// A finished instance "one" in the hub of this login whose history is the past events of `request`.
void StoreHistory(Connection& connection, const OrchestratorRequest& request) {
  Params params;
  params.Bytea(request.SerializeAsString());
  Run(connection,
      "with h as (insert into dt.TaskHubs (name) values (dt.CurrentTaskHub()) returning hub_id), "
      "i as (insert into dt.Instances (hub_id, instance_id, name, created_time, "
      "last_updated_time, stored_status) select hub_id, 'one', 'Work', now(), now(), 1 from h "
      "returning instance_key) "
      "insert into dt.History (instance_key, turn, committed_time, first_event, "
      "event_count, events) "
      "select instance_key, 1, now(), 0, 3, $1 from i",
      params);
}

TEST_CASE("sql_history_shows_one_row_per_event") {
  auto connection = NewSchema();
  OrchestratorRequest request;
  ExecutionStartedEvent* started = AddEvent(request, -1)->mutable_executionstarted();
  started->set_name("Wörk");
  started->mutable_input()->set_value("");
  TaskScheduledEvent* scheduled = AddEvent(request, 0)->mutable_taskscheduled();
  scheduled->set_name("Act");
  scheduled->mutable_input()->set_value("\"x\"");
  TaskFailedEvent* failed = AddEvent(request, -1)->mutable_taskfailed();
  failed->set_taskscheduledid(300);
  failed->mutable_failuredetails()->set_errortype("Boom");
  failed->mutable_failuredetails()->set_errormessage("it broke");
  AddEvent(request, 7)->mutable_timercreated()->mutable_fireat()->set_seconds(1'700'000'300);
  StoreHistory(*connection, request);

  const Result rows = Run(*connection, "select * from dt.vHistory order by SequenceNumber");
  REQUIRE(rows.rows() == 4);
  const auto text = [&](int row, const char* column) {
    return rows.OptionalText(row, rows.Column(column)).value_or("(null)");
  };
  CHECK(text(0, "eventtype") == "ExecutionStarted");
  CHECK(text(0, "name") == "Wörk");
  CHECK(text(0, "payload") == "");
  CHECK(rows.IsNull(0, rows.Column("taskid")));
  CHECK(rows.Timestamp(0, rows.Column("timestamp")) == absl::FromUnixMicros(1'700'000'000'123'456));
  CHECK(text(1, "eventtype") == "TaskScheduled");
  CHECK(rows.Int(1, rows.Column("taskid")) == 0);
  CHECK(text(1, "payload") == "\"x\"");
  CHECK(text(2, "eventtype") == "TaskFailed");
  CHECK(rows.Int(2, rows.Column("taskid")) == 300);
  CHECK(text(2, "payload") == "(null)");
  CHECK(text(3, "eventtype") == "TimerCreated");
  CHECK(rows.Timestamp(3, rows.Column("visibletime")) == absl::FromUnixSeconds(1'700'000'300));

  const Result with = Run(*connection, "select * from dt.GetInstanceHistory('one', true)");
  REQUIRE(with.rows() == 4);
  CHECK(with.Text(1, with.Column("payloadtext")) == "\"x\"");
  CHECK(with.Text(2, with.Column("reason")) == "Boom: it broke");
  const Result without = Run(*connection, "select * from dt.GetInstanceHistory('one')");
  REQUIRE(without.rows() == 4);
  CHECK(without.IsNull(1, without.Column("payloadtext")));
  CHECK(Run(*connection, "select * from dt.GetInstanceHistory('nobody')").rows() == 0);
  CHECK(Run(*connection, "select * from dt.vInstances").rows() == 1);
}

TEST_CASE("sql_history_of_odd_bytes_is_no_error") {
  auto connection = NewSchema();
  const Result cut = Run(*connection, "select * from dt.__DecodeEvents('\\x1aff')");
  CHECK(cut.rows() == 0);
  // A kind of event that this version does not know shows as its field number.
  const Result unknown = Run(*connection,
                             "select event_type from dt.__DecodeEvents("
                             "dt.__PbBytes(3, dt.__PbNumber(1, 5) || dt.__PbBytes(99, 'x')))");
  REQUIRE(unknown.rows() == 1);
  CHECK(unknown.Text(0, 0) == "99");
  const Result text = Run(*connection, "select dt.__AsText('\\x61ff00'), dt.__AsText('')");
  CHECK(text.Text(0, 0) == "a\\377\\000");
  CHECK(text.Text(0, 1) == "");
}

TEST_CASE("sql_written_event_is_what_the_protocol_says") {
  auto connection = NewSchema();
  const Result row = Run(*connection,
                         "select dt.__ChildFailedEvent('2023-11-14 22:13:20.123456+00', 300, "
                         "'OrchestrationReplaced', 'it was')");
  HistoryEvent event;
  REQUIRE(event.ParseFromString(std::string(row.Bytes(0, 0))));
  CHECK(event.eventid() == -1);
  CHECK(event.timestamp().seconds() == 1'700'000'000);
  CHECK(event.timestamp().nanos() == 123'456'000);
  REQUIRE(event.has_suborchestrationinstancefailed());
  const SubOrchestrationInstanceFailedEvent& failed = event.suborchestrationinstancefailed();
  CHECK(failed.taskscheduledid() == 300);
  CHECK(failed.failuredetails().errortype() == "OrchestrationReplaced");
  CHECK(failed.failuredetails().errormessage() == "it was");
}

TEST_CASE("sql_fence_is_a_part_of_the_statement_that_asks_it") {
  auto connection = NewSchema();
  const auto plan = [&](const std::string& condition) {
    const Result rows =
        Run(*connection,
            absl::StrCat("explain (costs off) select from dt.ReadyInstances r where ", condition));
    std::string text;
    for (int row = 0; row < rows.rows(); ++row) text.append(rows.Text(row, 0)).append("\n");
    return text;
  };
  // The plan is that of the comparison itself: nothing is called for each row.
  CHECK(plan("dt.__Holds(r.lease_token, '7')") == plan("r.lease_token = '7'"));
  CHECK(plan("dt.__HoldsTurn(r.lease_token, r.turn, '7', '3')") ==
        plan("r.lease_token = '7' and r.turn = '2'"));
  const Result held = Run(*connection,
                          "select dt.__Holds(7, 7), dt.__Holds(7, 8), dt.__Holds(null, 7), "
                          "dt.__HoldsTurn(7, 2, 7, 3), dt.__HoldsTurn(7, 3, 7, 3), "
                          "dt.__HoldsTurn(8, 2, 7, 3)");
  CHECK(held.Bool(0, 0));
  CHECK(!held.Bool(0, 1));
  CHECK(held.IsNull(0, 2));
  CHECK(held.Bool(0, 3));
  CHECK(!held.Bool(0, 4));
  CHECK(!held.Bool(0, 5));
}

TEST_CASE("sql_views_show_the_own_hub_only") {
  auto connection = NewSchema();
  OrchestratorRequest request;
  AddEvent(request, -1)->mutable_orchestratorstarted();
  StoreHistory(*connection, request);
  CHECK(Run(*connection, "select * from dt.vHistory").rows() == 1);
  MustBeOk(connection->RunScript("update dt.TaskHubs set name = 'somebody else'"));
  CHECK(Run(*connection, "select * from dt.vHistory").rows() == 0);
  CHECK(Run(*connection, "select * from dt.vInstances").rows() == 0);
  CHECK(Run(*connection, "select * from dt.GetInstanceHistory('one')").rows() == 0);
}

// A function whose path is not pinned runs what its caller's path finds first (tests/sql/golden,
// attack.sql). A body of the SQL standard is bound when it is created. A procedure that commits can
// have no setting, and the only one names its schema in its one call.
TEST_CASE("sql_functions_look_nothing_up_on_the_path_of_their_caller") {
  auto connection = NewSchema();
  const Result loose = Run(
      *connection,
      "select p.oid::regprocedure::text from pg_proc p where p.pronamespace = 'dt'::regnamespace "
      "and p.proname <> 'purgeinstancestate' and p.prosqlbody is null and not exists (select from "
      "unnest(p.proconfig) c "
      "where c like 'search\\_path=dt, pg\\_temp') order by 1");
  for (int row = 0; row < loose.rows(); ++row) {
    FAIL_CHECK(loose.Text(row, 0) << " has no `set search_path from current`");
  }
  CHECK(loose.rows() == 0);
  CHECK(Run(*connection, "select from pg_proc p where p.pronamespace = 'dt'::regnamespace").rows() >
        100);
}

// The plan of a statement as the hot verbs run it, as one text.
std::string PlanOf(Connection& connection, const std::string& sql) {
  MustBeOk(connection.RunScript("set enable_seqscan = off; set search_path = dt"));
  std::string plan;
  const Result rows = Run(connection, "explain " + sql);
  for (int row = 0; row < rows.rows(); ++row) plan.append(rows.Text(row, 0)).append("\n");
  return plan;
}

TEST_CASE("sql_hot_verbs_use_their_indexes_empty_and_filled") {
  auto connection = NewSchema();
  for (const bool filled : {false, true}) {
    if (filled) {
      MustBeOk(connection->RunScript(
          "insert into dt.ReadyInstances (instance_key, hub_id, next_due, lower_name) "
          "select n, n % 3, now() + n * interval '1 s', 'x' from generate_series(1, 20000) n; "
          "insert into dt.NewTasks (instance_key, hub_id, generation, task_id, name, ready_at, "
          "place) select n, n % 3, 0, 1, 'x', now(), now() from generate_series(1, 20000) n; "
          "insert into dt.NewEvents (instance_key, visible_at, event_type, event) "
          "select n, now(), 17, 'x' from generate_series(1, 20000) n"));
    }
    MustBeOk(connection->RunScript("analyze"));
    INFO((filled ? "filled" : "empty"));
    CHECK(absl::StrContains(
        PlanOf(*connection,
               "select instance_key from ReadyInstances where hub_id = 1 and kind = 0 and "
               "lease_token is null and next_due is not null and next_due <= now() "
               "order by next_due limit 10 for no key update skip locked"),
        "readyinstances_free"));
    CHECK(absl::StrContains(
        PlanOf(*connection,
               "select task_key from NewTasks where hub_id = 1 and lease_token is null and "
               "place is not null order by place, task_key limit 10 "
               "for no key update skip locked"),
        "newtasks_free"));
    CHECK(
        absl::StrContains(PlanOf(*connection,
                                 "select ready_at from NewTasks where hub_id = 1 and "
                                 "lease_token is null and place is null order by ready_at limit 1"),
                          "newtasks_delayed"));
    CHECK(absl::StrContains(
        PlanOf(*connection,
               "select instance_key from ReadyInstances where lease_token between 1 and 9 and "
               "owner_wake is not null"),
        "readyinstances_wake"));
    CHECK(absl::StrContains(PlanOf(*connection,
                                   "delete from NewEvents e using unnest(array[1, 2]::bigint[], "
                                   "array[1, 2]::bigint[]) c(key, seq) "
                                   "where e.instance_key = c.key and e.seq = c.seq"),
                            "newevents_pkey"));
  }
}

TEST_CASE("sql_current_task_hub_follows_mode_and_shortens") {
  auto connection = NewSchema();
  MustBeOk(connection->RunScript("select dt.SetGlobalSetting('TaskHubMode', '0')"));
  const auto hub = [&](const std::string& application) {
    MustBeOk(connection->RunScript(
        absl::StrCat("set application_name = ", Connection::QuoteLiteral(application))));
    return std::string(Run(*connection, "select dt.CurrentTaskHub()").Text(0, 0));
  };
  CHECK(hub("mine") == "mine");
  CHECK(hub("") == "default");
  const std::string shortened = hub(std::string(60, 'h'));
  CHECK(shortened.size() == 50);
  CHECK(absl::StartsWith(shortened, "hhhhhhhhhhhhhhhh__"));
  CHECK_FALSE(connection->RunScript("select dt.SetGlobalSetting('TaskHubMode', '2')").ok());
  CHECK_FALSE(connection->RunScript("select dt.SetGlobalSetting('Unknown', '1')").ok());
}

}  // namespace
}  // namespace dt::testing
