// Deleted hubs in SQL: how what they held is removed, batch by batch (sql/logic/hub_deletions.sql).
#include <string>

#include "absl/strings/str_cat.h"
#include "storage/postgres/sqlstate.h"
#include "tests/sql/cost.h"
#include "tests/sql/schema.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using postgres::Connection;
using postgres::Result;

// A schema with the hubs "going" (1) and "staying" (2), and two workers whose leases outlive every
// shift of the clock here.
std::unique_ptr<Connection> NewSchemaWithHubs() {
  auto connection = NewSchema();
  MustBeOk(connection->RunScript(
      "select dt._ResolveHub('going', true), dt._ResolveHub('staying', true); "
      "select dt._RegisterWorker('a', 'a', '1', '1000 d'), dt._RegisterWorker('b', 'b', '1', "
      "'1000 d')"));
  return connection;
}

// Live instances with all that one can have. Those of one hub were created at the same time or one
// after another.
void AddWhole(Connection& connection, int hub, int count, bool same_time = false) {
  MustBeOk(connection.RunScript(absl::StrCat(
      "with added as (insert into dt.Instances (hub_id, instance_id, name, created_time, "
      "last_updated_time, stored_status) select ",
      hub, ", gen_random_uuid(), 'Work', now() + ", same_time ? "0" : "n",
      " * interval '1 us', now(), 0 from generate_series(1, ", count,
      ") n returning instance_key as key), "
      "ready as (insert into dt.ReadyInstances (instance_key, hub_id, lower_name, turn, next_due) "
      "select key, ",
      hub, ", 'work', 1, now() from added), ",
      "messages as (insert into dt.NewEvents (instance_key, visible_at, event_type, event) "
      "select key, now(), 17, 'x' from added), "
      "turns as (insert into dt.History (instance_key, turn, committed_time, first_event, "
      "event_count, events) select key, 1, now(), 0, 1, 'x' from added), "
      "payloads as (insert into dt.Payloads (instance_key, payload_id, data) "
      "select key, gen_random_uuid(), 'x' from added), "
      "entities as (insert into dt.Entities (instance_key, last_modified_time) "
      "select key, now() from added) "
      "insert into dt.NewTasks (instance_key, hub_id, generation, task_id, name, ready_at, place, "
      "lease_token) select key, ",
      hub, ", 0, n, 'Act', now(), now(), case when n = 1 then 7 end ",
      "from added, generate_series(1, 2) n")));
}

std::string Clean(int rows, int worker = 1) {
  return absl::StrCat(R"(select * from dt._CleanHubs(0, '{"worker": )", worker, R"(, "rows": )",
                      rows, R"(, "pause": 60000000}', '{}'))");
}

// What one call did, as "hub removed of total", and whether that hub has ended and more is left.
std::string CleanOnce(Connection& connection, const std::string& call) {
  const Result row = Run(connection, call);
  REQUIRE(row.rows() == 1);
  if (row.IsNull(0, row.Column("hub"))) return "nothing";
  return absl::StrCat(std::string(row.Text(0, row.Column("hub"))), " ",
                      row.Int(0, row.Column("removed")), " of ", row.Int(0, row.Column("total")),
                      row.Bool(0, row.Column("ended")) ? ", ended" : "",
                      row.Bool(0, row.Column("more")) ? ", more" : "");
}

int64_t RowsOf(Connection& connection, const std::string& table) {
  return Run(connection, absl::StrCat("select count(*) from dt.", table)).Int(0, 0);
}

TEST_CASE("sql_deleted_hub_goes_in_batches_and_leaves_nothing") {
  for (const bool same_time : {false, true}) {
    INFO("created at the same time: " << same_time);
    auto connection = NewSchemaWithHubs();
    AddWhole(*connection, 1, 5, same_time);
    AddWhole(*connection, 2, 1);
    CHECK(CleanOnce(*connection, Clean(2)) == "nothing");
    MustBeOk(connection->RunScript("select dt._DeleteHub('going')"));
    CHECK(RowsOf(*connection, "Instances") == 6);
    CHECK(CleanOnce(*connection, Clean(2)) == "going 2 of 2, more");
    CHECK(CleanOnce(*connection, Clean(2)) == "going 2 of 4, more");
    CHECK(CleanOnce(*connection, Clean(2)) == "going 1 of 5, ended");
    CHECK(CleanOnce(*connection, Clean(2)) == "nothing");
    for (const char* table :
         {"Instances", "ReadyInstances", "NewEvents", "History", "Payloads", "Entities"}) {
      INFO(table);
      CHECK(RowsOf(*connection, table) == 1);
    }
    CHECK(RowsOf(*connection, "NewTasks") == 2);
    CHECK(RowsOf(*connection, "HubDeletions") == 0);
  }
}

TEST_CASE("sql_deleted_hub_that_is_locked_rests_and_holds_up_no_other") {
  auto connection = NewSchemaWithHubs();
  AddWhole(*connection, 1, 3);
  AddWhole(*connection, 2, 3);
  auto other = PostgresFixture::Connect(std::string(connection->options().url));
  MustBeOk(other->RunScript(
      "begin; select from dt.ReadyInstances where instance_key = 1 for no key update"));
  MustBeOk(connection->RunScript(
      "set lock_timeout = '10 s'; select dt._DeleteHub('going'); select dt._DeleteHub('staying')"));
  CHECK(CleanOnce(*connection, Clean(2)) == "going 1 of 1, more");
  CHECK(CleanOnce(*connection, Clean(2)) == "staying 2 of 2, more");
  CHECK(CleanOnce(*connection, Clean(2)) == "going 1 of 2, more");
  CHECK(CleanOnce(*connection, Clean(2)) == "staying 1 of 3, ended");
  CHECK(CleanOnce(*connection, Clean(2)) == "nothing");
  // When it is looked at again, it begins anew, and again.
  MustBeOk(connection->RunScript("set dt.clock_shift = '61 s'"));
  CHECK(CleanOnce(*connection, Clean(2)) == "going 0 of 2");
  CHECK(CleanOnce(*connection, Clean(2)) == "nothing");
  MustBeOk(other->RunScript("commit"));
  MustBeOk(connection->RunScript("set dt.clock_shift = '122 s'"));
  CHECK(CleanOnce(*connection, Clean(2)) == "going 1 of 3, ended");
}

TEST_CASE("sql_deleted_hub_is_cleaned_by_one_worker_while_that_lives") {
  auto connection = NewSchemaWithHubs();
  AddWhole(*connection, 1, 4);
  AddWhole(*connection, 2, 4);
  MustBeOk(connection->RunScript("select dt._DeleteHub('going'); select dt._DeleteHub('staying')"));
  CHECK(CleanOnce(*connection, Clean(1, 1)) == "going 1 of 1, more");
  CHECK(CleanOnce(*connection, Clean(1, 2)) == "staying 1 of 1, more");
  CHECK(CleanOnce(*connection, Clean(1, 2)) == "staying 1 of 2, more");
  CHECK(CleanOnce(*connection, Clean(9, 2)) == "staying 2 of 4, ended");
  CHECK(CleanOnce(*connection, Clean(9, 2)) == "nothing");
  MustBeOk(connection->RunScript("select dt._UnregisterWorker(1)"));
  CHECK(CleanOnce(*connection, Clean(9, 2)) == "going 3 of 4, ended");
}

TEST_CASE("sql_deleted_hub_offers_no_work_and_answers_no_reads") {
  auto connection = NewSchemaWithHubs();
  AddWhole(*connection, 1, 1);
  MustBeOk(connection->RunScript(
      "update dt.Instances set instance_id = 'i', completed_time = now(), stored_status = 3"));
  const std::string groups = R"('{"token": 77, "kind": 0, "max_messages": 9, "max_bytes": 99999, )"
                             R"("groups": [{"max": 5}]}', '{}')";
  const std::string id = R"('{"items": [{"id": "i", "after_turn": 0, "max_bytes": 99}]}', '{}')";
  constexpr int kFails = -1;  // with P0D02
  struct Look {
    std::string call;
    int rows_left;
  };
  const Look looks[] = {
      {absl::StrCat("select * from dt._LockNextOrchestration(1, ", groups, ") where part < 3"),
       kFails},
      {absl::StrCat("select * from dt._LockNextTask(1, ", groups, ") where key is not null"),
       kFails},
      {absl::StrCat("select * from dt._QuerySingle(1, ", id, ")"), 0},
      {absl::StrCat("select * from dt._WaitStates(1, ", id, ")"), 0},
      {absl::StrCat("select * from dt._ReadHistory(1, ", id, ")"), 0},
      {R"(select * from dt._ReadRewindSources(1, '{"ids": ["i"]}', '{}'))", 0},
      {R"(select * from dt._QueryManyOrchestrations(1, '{"rows": 9, "bytes": 999}', '{}'))", 0},
      {R"(select * from dt._PurgeInstances(1, '{"rows": 9}', '{}') where deleted > 0)", 0},
      {R"(select * from dt._UnacceptedWork(1, '{"turns": [], "tasks": [], "entities": [], )"
       R"("age_ms": 0, "groups": 9, "count": 9, "names": 9}', '{}'))",
       0},
  };
  const auto rows = [&](const Look& look) {
    MustBeOk(connection->RunScript("begin"));
    const int count = Run(*connection, look.call).rows();
    MustBeOk(connection->RunScript("rollback"));
    return count;
  };
  for (const Look& look : looks) {
    INFO(look.call);
    CHECK(rows(look) > 0);
  }
  MustBeOk(connection->RunScript("select dt._DeleteHub('going')"));
  for (const Look& look : looks) {
    INFO(look.call);
    if (look.rows_left == kFails) {
      const auto failed = connection->ExecuteOnce(look.call, {});
      CHECK(postgres::Sqlstate(failed.status()) == postgres::kHubDeleted);
    } else {
      CHECK(rows(look) == look.rows_left);
    }
  }
}

TEST_CASE("sql_deleted_hub_has_no_rewind_that_began_before") {
  auto connection = NewSchemaWithHubs();
  MustBeOk(connection->RunScript(
      "insert into dt.Instances (hub_id, instance_id, execution_id, name, created_time, "
      "last_updated_time, completed_time, stored_status) values (1, 'i', 'first', 'Work', now(), "
      "now(), now(), 3); select dt._DeleteHub('going')"));
  const Result outcome =
      Run(*connection,
          R"(select * from dt._RewindInstances(1, '{"key": "{1}", "token": "{1}", "turn": "{1}", )"
          R"("rewinds": [{"key": 1, "found_execution_id": "first", "execution_id": "second", )"
          R"("found_tasks": []}]}', '{}'))");
  REQUIRE(outcome.rows() == 1);
  CHECK(outcome.Int(0, 0) == 1);
}

// What was removed lies on in the indexes as long as somebody has an old snapshot.
TEST_CASE("sql_cleaning_a_hub_does_not_pass_what_it_removed_again_and_again") {
  auto connection = NewSchemaWithHubs();
  constexpr int kInstances = 20000;
  MustBeOk(connection->RunScript(absl::StrCat(
      "insert into dt.Instances (hub_id, instance_id, name, created_time, last_updated_time, "
      "completed_time, stored_status) select 1, n, 'Work', now() + n * interval '1 us', now(), "
      "now(), 1 from generate_series(1, ",
      kInstances, ") n; select dt._DeleteHub('going')")));
  auto other = PostgresFixture::Connect(std::string(connection->options().url));
  MustBeOk(other->RunScript("begin isolation level repeatable read; select from dt.TaskHubs"));
  const int64_t pages_at_first = CostOf(*connection, Clean(10)).pages;
  MustBeOk(connection->RunScript(Clean(kInstances / 2)));
  CHECK(CostOf(*connection, Clean(10)).pages <= pages_at_first + 4 * kPagesPerProbe);
  MustBeOk(other->RunScript("commit"));
}

}  // namespace
}  // namespace dt::testing
