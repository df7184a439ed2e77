// What claims cost: the pages that they look at, whatever lies in the hub that is not for them.
// (storage.md 5.14)
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
      "ready_at) "
      "select n, 1, 0, 1, case when n % 4 < 2 then 'other' else 'Wanted' end, "
      "case when n % 4 = 2 then 'v1'::bytea else 'v2'::bytea end, "
      "case when n % 4 = 3 then now() + interval '1 h' else now() end "
      "from generate_series(1, 100000) n"));
  MustBeOk(connection.RunScript("vacuum analyze"));
}

TEST_CASE("sql_filtered_claim_reads_no_unmatched_work") {
  auto connection = NewSchema();
  Fill(*connection);
  for (const std::string verb : {"_LockNextOrchestration", "_LockNextTask"}) {
    INFO(verb);
    const auto cost = [&](const std::string& groups) {
      return CostOf(*connection, ClaimCall(verb, groups));
    };
    // Each group answers with one row; none of these takes anything.
    const Cost unknown = cost(Group(R"({"name": "nothing", "versions": []})"));
    CHECK(unknown.rows == 1);
    CHECK(unknown.pages <= kPagesPerProbe);
    const Cost other_version = cost(Group(R"({"name": "wanted", "versions": ["v3", ""]})"));
    CHECK(other_version.rows == 1);
    CHECK(other_version.pages <= 2 * kPagesPerProbe);
    const Cost not_due = cost(Group(R"({"name": "wanted", "versions": ["v2"]})"));
    CHECK(not_due.rows == 1);
    CHECK(not_due.pages <= kPagesPerProbe);
    const Cost none = cost(Group(""));
    CHECK(none.rows == 1);
    CHECK(none.pages == 0);
  }
}

TEST_CASE("sql_filtered_claim_pays_for_what_it_takes") {
  auto connection = NewSchema();
  Fill(*connection);
  MustBeOk(connection->RunScript(
      "insert into dt.Instances (instance_key, hub_id, instance_id, name, version, created_time, "
      "last_updated_time, runtime_status) overriding system value "
      "select n, 1, n::text, 'Wanted', 'v3', now(), now(), 6 from generate_series(200001, 200003) "
      "n; "
      "insert into dt.ReadyInstances (instance_key, hub_id, next_due, lower_name, version) "
      "select n, 1, now(), 'wanted', 'v3' from generate_series(200001, 200003) n; "
      "insert into dt.NewTasks (instance_key, hub_id, generation, task_id, name, version, "
      "ready_at) "
      "select n, 1, 0, 1, 'WANTED', 'v3', now() from generate_series(200001, 200003) n"));
  // Per item: found, locked, updated (three indexes look at it) and joined with its instance.
  constexpr int kPagesPerItem = 40;
  for (const std::string verb : {"_LockNextOrchestration", "_LockNextTask"}) {
    INFO(verb);
    const Cost three =
        CostOf(*connection, ClaimCall(verb, Group(R"({"name": "wanted", "versions": ["v3"]})")));
    CHECK(three.rows == 1 + 3);
    CHECK(three.pages <= kPagesPerProbe + 3 * kPagesPerItem);
  }
}

TEST_CASE("sql_any_version_is_one_probe_per_version") {
  auto connection = NewSchema();
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
    CHECK(idle.pages <= 2 * kPagesPerProbe);
    MustBeOk(connection->RunScript("truncate dt.ReadyInstances, dt.NewTasks"));
    Fill(*connection);
  }
}

TEST_CASE("sql_unfiltered_idle_claim_is_one_probe") {
  auto connection = NewSchema();
  // Nothing is due: leased rows, timers, finished instances and other hubs are not looked at.
  MustBeOk(connection->RunScript(
      "insert into dt.ReadyInstances (instance_key, hub_id, next_due, lower_name, lease_token) "
      "select n, 1 + n % 2, case when n % 4 = 3 then null else now() + (n % 2 = 0)::int * "
      "interval '1 h' end, 'work', case when n % 4 = 3 then n end "
      "from generate_series(1, 100000) n; "
      "insert into dt.NewTasks (instance_key, hub_id, generation, task_id, name, ready_at, "
      "lease_token) select n, 1 + n % 2, 0, 1, 'work', now() + (n % 2 = 0)::int * interval '1 h', "
      "case when n % 4 = 3 then n end from generate_series(1, 100000) n"));
  MustBeOk(connection->RunScript("vacuum analyze"));
  for (const std::string verb : {"_LockNextOrchestration", "_LockNextTask"}) {
    INFO(verb);
    const Cost idle = CostOf(*connection, ClaimCall(verb, kAll));
    CHECK(idle.rows == 1);
    CHECK(idle.pages <= kPagesPerProbe);
  }
}

TEST_CASE("sql_excluded_items_are_left_to_others") {
  auto connection = NewSchema();
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
