// What claims cost: the pages that they look at, whatever lies in the hub that is not for them.
// (sql/RULES.md 5.14)
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/sql/cost.h"
#include "tests/sql/schema.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using postgres::Connection;
using postgres::Result;

constexpr int kHub = 1;

std::unique_ptr<Connection> NewSchemaOfOneHub() {
  auto connection = NewSchema();
  MustBeOk(connection->RunScript("insert into dt.TaskHubs (name) values ('one')"));
  return connection;
}

// What a claim looks at besides: whether the hub is there, and when the first task is due that
// waits for a time.
int PagesBesides(const std::string& verb) {
  return kPagesOfHubLook + (verb == "_LockNextTask" ? kPagesPerProbe : 0);
}

std::string ClaimCall(const std::string& verb, const std::string& groups) {
  return absl::StrCat("select * from dt.", verb, "(", kHub, ", '{\"token\": 77, \"kind\": 0, ",
                      "\"max_messages\": 10, \"max_bytes\": 1000000, \"groups\": [", groups,
                      "]}', null)");
}

std::string Group(const std::string& filters) {
  return absl::StrCat("{\"max\": 50, \"filters\": [", filters, "]}");
}

constexpr char kAll[] = "{\"max\": 50}";

// 100,000 free instances, and as many tasks, that wait in the hub: half of them due and of the name
// "other", the rest of the name "Wanted" and either of another version or due in an hour.
void Fill(Connection& connection) {
  MustBeOk(connection.RunScript(
      "insert into dt.ReadyInstances (instance_key, hub_id, next_due, lower_name, version) "
      "select n, 1, case when n % 4 = 3 then now() + interval '1 h' else now() end, "
      "case when n % 4 < 2 then 'other' else 'wanted' end, "
      "case when n % 4 = 2 then 'v1'::bytea else 'v2'::bytea end "
      "from generate_series(1, 100000) n; "
      "insert into dt.NewTasks (instance_key, hub_id, generation, task_id, name, version, "
      "ready_at, place) "
      "select n, 1, 0, 1, case when n % 4 < 2 then 'other' else 'Wanted' end, "
      "case when n % 4 = 2 then 'v1'::bytea else 'v2'::bytea end, "
      "case when n % 4 = 3 then now() + interval '1 h' else now() end, "
      "case when n % 4 <> 3 then now() end "
      "from generate_series(1, 100000) n"));
  MustBeOk(connection.RunScript("vacuum analyze"));
}

TEST_CASE("sql_filtered_claim_reads_no_unmatched_work") {
  auto connection = NewSchemaOfOneHub();
  Fill(*connection);
  for (const std::string verb : {"_LockNextOrchestration", "_LockNextTask"}) {
    INFO(verb);
    const auto cost = [&](const std::string& groups) {
      return CostOf(*connection, ClaimCall(verb, groups));
    };
    // Each group answers with one row; none of these takes anything.
    const Cost unknown = cost(Group(R"({"name": "nothing", "versions": []})"));
    CHECK(unknown.rows == 1);
    CHECK(unknown.pages <= kPagesPerProbe + PagesBesides(verb));
    const Cost other_version = cost(Group(R"({"name": "wanted", "versions": ["v3", ""]})"));
    CHECK(other_version.rows == 1);
    CHECK(other_version.pages <= 2 * kPagesPerProbe + PagesBesides(verb));
    const Cost not_due = cost(Group(R"({"name": "wanted", "versions": ["v2"]})"));
    CHECK(not_due.rows == 1);
    CHECK(not_due.pages <= kPagesPerProbe + PagesBesides(verb));
    const Cost none = cost(Group(""));
    CHECK(none.rows == 1);
    CHECK(none.pages <= PagesBesides(verb));
  }
}

TEST_CASE("sql_filtered_claim_pays_for_what_it_takes") {
  auto connection = NewSchemaOfOneHub();
  Fill(*connection);
  MustBeOk(connection->RunScript(
      "insert into dt.Instances (instance_key, hub_id, instance_id, name, version, created_time, "
      "last_updated_time, stored_status) overriding system value "
      "select n, 1, n::text, 'Wanted', 'v3', now(), now(), 6 from generate_series(200001, 200003) "
      "n; "
      "insert into dt.ReadyInstances (instance_key, hub_id, next_due, lower_name, version) "
      "select n, 1, now(), 'wanted', 'v3' from generate_series(200001, 200003) n; "
      "insert into dt.NewTasks (instance_key, hub_id, generation, task_id, name, version, "
      "ready_at, place) "
      "select n, 1, 0, 1, 'WANTED', 'v3', now(), now() from generate_series(200001, 200003) n"));
  // Per item: found, locked, updated (three indexes look at it) and joined with its instance.
  constexpr int kPagesPerItem = 40;
  for (const std::string verb : {"_LockNextOrchestration", "_LockNextTask"}) {
    INFO(verb);
    const Cost three =
        CostOf(*connection, ClaimCall(verb, Group(R"({"name": "wanted", "versions": ["v3"]})")));
    CHECK(three.rows == 1 + 3);
    CHECK(three.pages <= kPagesPerProbe + PagesBesides(verb) + 3 * kPagesPerItem);
  }
}

TEST_CASE("sql_any_version_is_one_probe_per_version") {
  auto connection = NewSchemaOfOneHub();
  Fill(*connection);
  // "wanted" has two versions, of which one is due.
  for (const std::string verb : {"_LockNextOrchestration", "_LockNextTask"}) {
    INFO(verb);
    const std::string any = R"({"max": 1, "filters": [{"name": "wanted", "versions": []}]})";
    MustBeOk(connection->RunScript("begin"));
    const Result taken = Run(*connection, ClaimCall(verb, any));
    CHECK(taken.rows() == (verb == "_LockNextTask" ? 2 : 1));  // no row of Instances to join
    const Result left =
        Run(*connection,
            "select (select count(*) from dt.ReadyInstances where lease_token = 77 "
            "and lower_name = 'wanted' and version = 'v1') + (select count(*) from "
            "dt.NewTasks where lease_token = 77 and name = 'Wanted' and version = 'v1')");
    CHECK(left.Int(0, 0) == 1);
    MustBeOk(connection->RunScript("rollback"));
    MustBeOk(
        connection->RunScript("delete from dt.ReadyInstances where version = 'v1'; "
                              "delete from dt.NewTasks where version = 'v1'"));
    MustBeOk(connection->RunScript("vacuum dt.ReadyInstances, dt.NewTasks"));
    const Cost idle = CostOf(*connection, ClaimCall(verb, any));
    CHECK(idle.rows == 1);
    CHECK(idle.pages <= 2 * kPagesPerProbe + PagesBesides(verb));
    MustBeOk(connection->RunScript("truncate dt.ReadyInstances, dt.NewTasks"));
    Fill(*connection);
  }
}

TEST_CASE("sql_unfiltered_idle_claim_is_one_probe") {
  auto connection = NewSchemaOfOneHub();
  // Nothing is due: leased rows, timers, finished instances and other hubs are not looked at.
  MustBeOk(connection->RunScript(
      "insert into dt.ReadyInstances (instance_key, hub_id, next_due, lower_name, lease_token) "
      "select n, 1 + n % 2, case when n % 4 = 3 then null else now() + (n % 2 = 0)::int * "
      "interval '1 h' end, 'work', case when n % 4 = 3 then n end "
      "from generate_series(1, 100000) n; "
      "insert into dt.NewTasks (instance_key, hub_id, generation, task_id, name, ready_at, place, "
      "lease_token) select n, 1 + n % 2, 0, 1, 'work', now() + (n % 2 = 0)::int * interval '1 h', "
      "case when n % 2 = 1 then now() end, case when n % 4 = 3 then n end "
      "from generate_series(1, 100000) n"));
  MustBeOk(connection->RunScript("vacuum analyze"));
  for (const std::string verb : {"_LockNextOrchestration", "_LockNextTask"}) {
    INFO(verb);
    const Cost idle = CostOf(*connection, ClaimCall(verb, kAll));
    CHECK(idle.rows == 1);
    CHECK(idle.pages <= kPagesPerProbe + PagesBesides(verb));
  }
}

TEST_CASE("sql_delayed_tasks_get_their_places_when_their_time_has_come") {
  auto connection = NewSchemaOfOneHub();
  MustBeOk(connection->RunScript(
      "insert into dt.NewTasks (instance_key, hub_id, generation, task_id, name, ready_at, place) "
      "values (1, 1, 0, 1, 'work', now() + interval '1 min', null), "
      "(2, 1, 0, 1, 'work', now() + interval '2 min', null), "
      "(3, 1, 0, 1, 'work', now(), now() + interval '1 h')"));
  const auto claim = [&] {
    Run(*connection, ClaimCall("_LockNextTask", R"({"max": 9})"));
    return Run(*connection,
               "select count(*), coalesce(min(instance_key), 0) "
               "from dt.NewTasks where lease_token = 77");
  };
  MustBeOk(connection->RunScript("begin"));
  CHECK(claim().Int(0, 1) == 3);  // its place in the future does not matter
  MustBeOk(connection->RunScript("set local dt.clock_shift = '70 s'"));
  CHECK(claim().Int(0, 0) == 2);
  CHECK(claim().Int(0, 1) == 1);
  MustBeOk(connection->RunScript("set local dt.clock_shift = '130 s'"));
  CHECK(claim().Int(0, 0) == 3);
  MustBeOk(connection->RunScript("rollback"));
}

// What a checkpoint costs of an instance with so many turns.
Cost CheckpointCost(Connection& connection, int turns) {
  MustBeOk(connection.RunScript(absl::StrCat(
      "truncate dt.History, dt.ReadyInstances; "
      "insert into dt.ReadyInstances (instance_key, hub_id, lower_name, lease_token, turn) "
      "values (1, 1, 'long', 77, ",
      turns,
      "); insert into dt.History (instance_key, turn, committed_time, first_event, "
      "event_count, events) select 1, n, now(), 3 * n, 3, repeat('x', 150)::bytea "
      "from generate_series(1, ",
      turns, ") n; analyze dt.History")));
  return CostOf(
      connection,
      absl::StrCat("select * from dt._CheckpointOrchestration(1, '{\"key\": \"{1}\", \"token\": "
                   "\"{77}\", \"turn\": \"{",
                   turns + 1,
                   "}\", \"generation\": \"{0}\", \"flags\": \"{0}\", \"history\": "
                   "\"{1}\", \"first_event\": \"{0}\", \"event_count\": \"{3}\", "
                   "\"consumed_item\": \"{}\", \"consumed_seq\": \"{}\"}', "
                   "array[repeat('x', 150)::bytea])"));
}

TEST_CASE("sql_checkpoint_looks_at_no_history") {
  auto connection = NewSchemaOfOneHub();
  const Cost first = CheckpointCost(*connection, 10);
  CHECK(first.rows == 1);
  CHECK(first.pages < 30);
  // 20,000 events; the index is two levels deeper.
  const Cost late = CheckpointCost(*connection, 6667);
  CHECK(late.rows == 1);
  CHECK(late.pages <= first.pages + 4);
}

TEST_CASE("sql_excluded_items_are_left_to_others") {
  auto connection = NewSchemaOfOneHub();
  Fill(*connection);
  for (const std::string verb : {"_LockNextOrchestration", "_LockNextTask"}) {
    INFO(verb);
    MustBeOk(connection->RunScript("begin"));
    // Instance 4 and task 4 are the earliest of "other" (n % 4 < 2) but for 1.
    const std::string one = R"({"max": 1, "excluded": "{1,4}"},
                               {"max": 1, "filters": [{"name": "other"}], "excluded": "{1,4}"})";
    Run(*connection, ClaimCall(verb, one));
    const Result taken = Run(*connection,
                             "select instance_key from dt.ReadyInstances where lease_token = 77 "
                             "union all select task_key from dt.NewTasks where lease_token = 77");
    CHECK(taken.rows() == 2);
    for (int row = 0; row < taken.rows(); ++row) {
      CHECK(taken.Int(row, 0) != 1);
      CHECK(taken.Int(row, 0) != 4);
    }
    MustBeOk(connection->RunScript("rollback"));
  }
}

}  // namespace
}  // namespace dt::testing
