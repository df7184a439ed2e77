// The calls that daemons and SQL users make all the time use their indexes, from an empty hub to
// one that keeps a million instances, and with plans that were made when the tables were empty.
// What they look at is counted in pages. (sql/RULES.md 5.14, 6.22-6.24, 10)
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tests/sql/cost.h"
#include "tests/sql/schema.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using postgres::Connection;
using postgres::Result;

// DT_PLAN_INSTANCES: the largest hub of these tests; smaller where the program runs slowly.
constexpr int64_t kInstancesMax = DT_PLAN_INSTANCES;
// Hub 1 keeps ended and waiting instances, and nothing in it is due. Hub 2 has a little work.
constexpr int kWork = 50;
constexpr int kPage = 100;
// The tables of a session that does not plan again.
constexpr int64_t kGrown = 50000;
// Created one a second from here on, one after the other.
constexpr char kBegin[] = "'2026-01-01 00:00:00+00'::timestamptz";

// Instances up to number `to` of hub 1, after the first `from`: each with a turn of history and
// ended an hour after it was created, but for every hundredth, which waits, half of them for a
// timer and half for an event; every ten thousandth has failed; every thousandth and first has an
// id of a rare kind.
std::string Rows(int64_t from, int64_t to) {
  const std::string numbers = absl::StrCat("generate_series(", from + 1, ", ", to, ") n");
  return absl::StrCat(
      "insert into Instances (instance_key, hub_id, instance_id, execution_id, name, created_time, "
      "last_updated_time, completed_time, stored_status, last_turn) overriding system value "
      "select n, 1, case when n % 1000 = 1 then 'rare-' else 'order-' end || n, 'e', 'Work', c, ",
      "c + interval '1 h', case when n % 100 > 0 then c + interval '1 h' end, "
      "case when n % 100 = 0 then 6 when n % 10000 = 7 then 3 else 1 end, 1 from ",
      numbers, ", lateral (select ", kBegin, " + n * interval '1 s' as c) t; ",
      "insert into History (instance_key, turn, committed_time, first_event, "
      "event_count, events) select n, 1, now(), 0, 1, 'a turn' from ",
      numbers, "; ",
      "insert into ReadyInstances (instance_key, hub_id, next_due, lower_name, turn) select n, 1, "
      "case when n % 200 = 0 then now() + interval '1 d' end, 'work', 1 from ",
      numbers, " where n % 100 = 0; ",
      "insert into NewEvents (instance_key, visible_at, event_type, event) "
      "select n, now() + interval '1 d', 13, 'x' from ",
      numbers, " where n % 200 = 0; ",
      "select setval(pg_get_serial_sequence('Instances', 'instance_key'), ", to + 1, "); ");
}

// Hub 3 has live instances only, with keys above those of all others: a leased one, with a message
// and with a leased task, for each number up to `to`.
std::string OtherRows(int64_t from, int64_t to) {
  const std::string numbers = absl::StrCat("generate_series(", from + 1, ", ", to, ") n");
  return absl::StrCat(
      "insert into ReadyInstances (instance_key, hub_id, lower_name, turn, lease_token) "
      "select 20000000 + n, 3, 'work', 1, (9::bigint << 40) + n from ",
      numbers, "; ",
      "insert into NewEvents (instance_key, visible_at, event_type, event) "
      "select 20000000 + n, now(), 17, 'x' from ",
      numbers, "; ",
      "insert into NewTasks (instance_key, task_key, hub_id, generation, task_id, name, ready_at, "
      "place, lease_token) overriding system value "
      "select 20000000 + n, 20000000 + n, 3, 0, 1, 'Act', now(), now(), (9::bigint << 40) + n "
      "from ",
      numbers, "; ");
}

// What is due in hub 2, and what of it a worker 7 holds: its instances have messages to read.
std::string WorkRows() {
  const std::string numbers = absl::StrCat("generate_series(1, ", 3 * kWork, ") n");
  return absl::StrCat(
      "insert into Instances (instance_key, hub_id, instance_id, execution_id, name, created_time, "
      "last_updated_time, stored_status) overriding system value "
      "select 10000000 + n, 2, 'work-' || n, 'e', 'Work', now(), now(), 0 from ",
      numbers, "; ",
      "insert into ReadyInstances (instance_key, hub_id, next_due, lower_name, turn, lease_token, "
      "owner_wake) select 10000000 + n, 2, case when n <= 100 then now() end, 'work', 1, "
      "case when n > 100 then (7::bigint << 40) + n end, case when n > 140 then now() end from ",
      numbers, "; ",
      "insert into NewEvents (instance_key, visible_at, event_type, event) select 10000000 + n, "
      "now(), 17, "
      "'x' "
      "from ",
      numbers, "; ",
      "insert into History (instance_key, turn, committed_time, first_event, "
      "event_count, events) select 10000000 + n, 1, now(), 0, 1, 'a turn' from ",
      numbers, "; ",
      "insert into NewTasks (instance_key, task_key, hub_id, generation, task_id, name, ready_at, "
      "place, lease_token) overriding system value "
      "select 10000000 + n, n, 2, 0, 1, 'Act', now(), now(), "
      "case when n > 100 then (7::bigint << 40) + n end from ",
      numbers, "; ");
}

// Runs a script in schema dt, without its indexes where many rows are added: made anew they cost a
// fraction. Connections forget their plans then.
void Add(Connection& connection, const std::string& script, bool rebuild) {
  std::string drop, create;
  if (rebuild) {
    const Result indexes =
        Run(connection,
            "select indexname, indexdef from pg_indexes where schemaname = 'dt' and tablename in "
            "('instances', 'history', 'readyinstances') and indexname not like '%pkey'");
    for (int row = 0; row < indexes.rows(); ++row) {
      absl::StrAppend(&drop, "drop index ", std::string(indexes.Text(row, 0)), "; ");
      absl::StrAppend(&create, std::string(indexes.Text(row, 1)), "; ");
    }
  }
  MustBeOk(connection.RunScript(
      absl::StrCat("set search_path = dt; set maintenance_work_mem = ", "'256MB'; ", drop, script,
                   create, "reset search_path")));
}

std::string CallOf(absl::string_view verb, int hub, const std::string& batch) {
  return absl::StrCat("select * from dt.", verb, "(", hub, ", '{", batch,
                      "}', array['\\x01'::bytea])");
}

// A call, how many rows it answers with in a hub of `kInstancesMax` instances, and the pages that
// it may look at in a hub of any size.
struct Call {
  std::string name;
  std::string sql;
  int64_t rows;
  int64_t pages;
  // Of several ways the statistics tell the right one; with old ones the call is dearer.
  bool needs_statistics = false;
};

std::string Micros(int64_t instance) {
  // Of 2026-01-01, in microseconds since 1970.
  return absl::StrCat((1767225600 + instance) * 1000000);
}

// A page of hub 1. What a row costs: its row, its place in the index, and of a live one its last
// turn and its hot row.
Call Query(const std::string& name, const std::string& filter, int64_t rows) {
  return {absl::StrCat("page ", name),
          CallOf("_QueryManyOrchestrations", 1,
                 absl::StrCat(filter, filter.empty() ? "" : ", ", "\"rows\": ", kPage,
                              ", \"bytes\": 1000000")),
          rows, 2 * kPagesPerProbe + (1 + 2 * kPagesPerProbe) * kPage};
}

std::vector<Call> Queries() {
  // The middle of the largest hub; smaller ones end before it.
  const int64_t middle = kInstancesMax / 2;
  const std::string from =
      absl::StrCat("\"from\": ", Micros(middle), ", \"to\": ", Micros(middle + kPage / 2));
  const std::string after =
      absl::StrCat("\"after_time\": ", Micros(kInstancesMax * 9 / 10), ", \"after_id\": \"\"");
  Call common = Query("of a prefix that all have", "\"prefix\": \"order-\"", kPage);
  Call rare = Query("of a prefix that few have", "\"prefix\": \"rare-\"", kPage);
  common.needs_statistics = rare.needs_statistics = true;
  // All of them are sorted, each with its hot row: a probe in a small hub, a join in a large one.
  rare.pages = kPagesPerProbe + (1 + kPagesPerProbe) * kInstancesMax / 1000;
  return {
      common,
      rare,
      Query("of all", "", kPage),
      Query("of live ones", "\"statuses\": 193", kPage),
      Query("of live ones, deep", absl::StrCat("\"statuses\": 193, ", after), kPage),
      Query("of failed ones", "\"statuses\": 8", kInstancesMax / 10000),
      Query("of completed ones", "\"statuses\": 2", kPage),
      Query("of one id", absl::StrCat("\"prefix\": \"order-", kInstancesMax - 1, "\""), 1),
      Query("created in a range", from, kPage / 2),
      Query("created in a range, live", absl::StrCat("\"statuses\": 193, ", from), 1),
      Query("deep", after, kPage),
      Query("of ids by completion", "\"completed\": true, \"statuses\": 58", kPage),
      Query("completed in a range",
            absl::StrCat("\"completed\": true, \"from\": ", Micros(middle + 3600),
                         ", \"to\": ", Micros(middle + 3600 + kPage / 2)),
            kPage / 2 - 1),
      Query("of ids by completion, deep", absl::StrCat("\"completed\": true, ", after), kPage),
  };
}

std::vector<Call> Claims() {
  const std::string caps =
      "\"token\": 77, \"kind\": 0, \"max_messages\": 10, \"max_bytes\": 100000, ";
  const std::string all = caps + "\"groups\": [{\"max\": 50}]";
  const std::string named = caps +
                            "\"groups\": [{\"max\": 50, \"filters\": [{\"name\": \"work\"}, "
                            "{\"name\": \"act\"}]}]";
  const auto unaccepted = [](const std::string& turns, const std::string& tasks) {
    return CallOf("_UnacceptedWork", 2,
                  absl::StrCat("\"turns\": [", turns, "], \"tasks\": [", tasks,
                               "], \"entities\": [], \"age_ms\": 0, \"groups\": 20, \"count\": 10, "
                               "\"names\": 1000"));
  };
  // Found, locked, updated (each index looks at it), joined with its instance, messages and
  // history.
  constexpr int kPagesPerItem = 60;
  constexpr int kPagesOfWork = 2 * kPagesPerProbe + kWork * kPagesPerItem;
  // Read in a scan of the rows with the worker's token.
  constexpr int kPagesOfReading = kPagesPerProbe + 10 * kPagesPerItem;
  return {
      {"idle poll", CallOf("_LockNextOrchestration", 1, all), 1, kPagesOfHubLook + kPagesPerProbe},
      {"idle poll with filters", CallOf("_LockNextOrchestration", 1, named), 1, 4 * kPagesPerProbe},
      {"idle poll of tasks", CallOf("_LockNextTask", 1, all), 1, 2 * kPagesPerProbe},
      {"idle poll of tasks with filters", CallOf("_LockNextTask", 1, named), 1, 5 * kPagesPerProbe},
      {"idle look at inboxes",
       CallOf("_ReadNewMessages", 1, "\"worker\": 8, \"max_messages\": 10, \"max_bytes\": 100000"),
       0, kPagesPerProbe},
      {"look for unaccepted work, all accepted",
       unaccepted("{\"name\": \"work\"}", "{\"name\": \"act\"}"), 0, 4 * kPagesPerProbe},
      {"look for unaccepted work", unaccepted("", ""), 2, 20 * kPagesPerProbe},
      {"claim", CallOf("_LockNextOrchestration", 2, all), 1 + 3 * kWork, kPagesOfWork},
      {"claim with filters", CallOf("_LockNextOrchestration", 2, named), 1 + 3 * kWork,
       kPagesOfWork},
      {"claim of tasks", CallOf("_LockNextTask", 2, all), 1 + kWork, kPagesOfWork},
      {"claim of tasks with filters", CallOf("_LockNextTask", 2, named), 1 + kWork, kPagesOfWork},
      {"look at inboxes",
       CallOf("_ReadNewMessages", 2, "\"worker\": 7, \"max_messages\": 10, \"max_bytes\": 100000"),
       10, kPagesOfReading},
  };
}

// Of one or a few instances by id or key. Each index of Instances is written for a new one.
std::vector<Call> ByKey() {
  return {
      {"get", CallOf("_QuerySingle", 1, "\"items\": [{\"id\": \"order-500\", \"payloads\": true}]"),
       1, 4 * kPagesPerProbe},
      {"wait", CallOf("_WaitStates", 1, "\"items\": [{\"id\": \"order-500\"}]"), 1,
       3 * kPagesPerProbe},
      {"history",
       CallOf("_ReadHistory", 1,
              "\"items\": [{\"id\": \"order-500\", \"after_turn\": 0, \"max_bytes\": 1000}]"),
       1, 3 * kPagesPerProbe},
      {"start",
       CallOf("_CreateInstances", 1,
              "\"items\": [{\"id\": \"new\", \"execution_id\": \"e\", \"name\": \"Work\", "
              "\"type\": 3, "
              "\"event\": 1, \"replaceable\": 58}]"),
       1, 16 * kPagesPerProbe},
      {"start again",
       CallOf("_CreateInstances", 1,
              "\"items\": [{\"id\": \"order-499\", \"execution_id\": \"f\", \"name\": \"Work\", "
              "\"type\": 3, \"event\": 1, \"replaceable\": 58}]"),
       1, 40 * kPagesPerProbe},
      {"raise",
       CallOf("_AddOrchestrationEvents", 1,
              "\"worker\": 8, \"items\": [{\"id\": \"order-500\", \"type\": 17, \"event\": 1}]"),
       1, 20 * kPagesPerProbe},
      {"terminate",
       CallOf("_TerminateInstances", 1,
              "\"worker\": 8, \"items\": [{\"id\": \"order-500\", \"type\": 5, \"event\": 1}]"),
       1, 20 * kPagesPerProbe},
      {"terminate now", CallOf("_TerminateNow", 1, "\"ids\": [\"order-500\"], \"reason\": 1"), 0,
       20 * kPagesPerProbe},
      {"look at what to rewind", CallOf("_ReadRewindSources", 1, "\"ids\": [\"order-7\"]"), 2,
       8 * kPagesPerProbe},
      {"next of a deleted hub", "select * from dt.__OldestOfHub(1, '-infinity', 0, 100)", 1,
       3 * kPagesPerProbe + 100},
      {"next of a deleted hub, deep",
       absl::StrCat("select * from dt.__OldestOfHub(1, ", kBegin, " + interval '500 s', 500, 100)"),
       1, 3 * kPagesPerProbe + 100},
      {"look whether all of a hub is gone", "select * from dt.__ForgetHub(1)", 1,
       4 * kPagesPerProbe},
      {"look for deleted hubs",
       CallOf("_CleanHubs", 0, "\"worker\": 1, \"rows\": 100, \"pause\": 0"), 1, kPagesPerProbe},
      {"purge by id",
       CallOf("_PurgeInstances", 1, "\"ids\": [\"order-499\"], \"recursive\": true, \"rows\": 100"),
       1, 20 * kPagesPerProbe},
  };
}

// What the holder of a lease does with instance and task 101 of hub 2: worker 7.
std::vector<Call> Leased() {
  const std::string token = absl::StrCat((7ll << 40) + 101);
  const std::string item = "\"items\": [{\"key\": 10000101, \"token\": " + token;
  const auto turn = [&](int flags, const std::string& more) {
    return CallOf("_CheckpointOrchestration", 2,
                  absl::StrCat("\"key\": \"{10000101}\", \"token\": \"{", token,
                               "}\", \"turn\": \"{2}\", \"generation\": \"{0}\", \"flags\": \"{",
                               flags, "}\", \"history\": \"{1}\", \"first_event\": \"{1}\", ",
                               "\"event_count\": \"{1}\", \"consumed_item\": \"{}\", ",
                               "\"consumed_seq\": \"{}\"", more));
  };
  const std::string to_another =
      ", \"messages\": [{\"item\": 1, \"id\": \"work-102\", \"type\": 17, \"event\": 1}]";
  const std::string end =
      ", \"updates\": [{\"item\": 1, \"status\": 1, \"custom_status_kind\": 0, "
      "\"trace_kind\": 0}]";
  const std::string below =
      ", \"subtrees\": [{\"item\": 1, \"key\": 10000101, \"parent_generation\": 0, \"type\": 5, "
      "\"event\": 1}]";
  const std::string next =
      ", \"generations\": [{\"item\": 1, \"execution_id\": \"f\", \"version\": 1}], \"own\": "
      "[{\"item\": 1, \"generation\": 1, \"type\": 3, \"event\": 1}]";
  const std::string child =
      ", \"children\": [{\"item\": 1, \"id\": \"child\", \"execution_id\": \"e\", \"name\": "
      "\"Work\", \"type\": 3, \"event\": 1, \"replaceable\": 58}], \"task_item\": \"{1}\", "
      "\"task_id\": \"{1}\", \"task_version\": \"{NULL}\", \"task_request\": \"{NULL}\", "
      "\"task_token\": \"{NULL}\", \"task_name\": [\"Act\"]";
  constexpr int kPages = 40 * kPagesPerProbe;
  return {
      {"turn", turn(0, ""), 1, kPages},
      {"turn with a message", turn(0, to_another), 2, kPages},
      {"turn with a child and an activity", turn(2, child), 3, kPages},
      {"last turn", turn(1, to_another + end), 2, kPages},
      {"last turn of all that is below, too", turn(1, below + end), 1, kPages},
      {"turn that continues as new", turn(4, next), 2, kPages},
      {"complete",
       CallOf("_CompleteTasks", 2,
              absl::StrCat("\"worker\": 7, \"task\": \"{101}\", \"key\": \"{10000101}\", ",
                           "\"token\": \"{", token, "}\", \"generation\": \"{0}\", ",
                           "\"message_generation\": \"{0}\", \"at\": \"{0}\", \"type\": \"{7}\", ",
                           "\"event\": \"{1}\"")),
       1, kPages},
      {"give back", CallOf("_AbandonOrchestrations", 2, item + ", \"delay\": 0}]"), 1, kPages},
      {"give a task back", CallOf("_AbandonTasks", 2, item + ", \"task\": 101, \"delay\": 0}]"), 1,
       kPages},
      {"discard",
       CallOf("_DiscardEventsAndUnlockInstance", 2, item + ", \"seqs\": [1], \"release\": true}]"),
       1, kPages},
      {"read an inbox",
       CallOf("_ReadInbox", 2, item + "}], \"max_messages\": 10, \"max_bytes\": 100000"), 1,
       kPages},
  };
}

// Each instance is found, locked and deleted, its history too, and all other tables are looked at.
std::vector<Call> Purges() {
  constexpr int kPages = kPage * 10 * kPagesPerProbe;
  const std::string rows = absl::StrCat("\"rows\": ", kPage);
  const std::string to = absl::StrCat(", \"to\": ", Micros(kInstancesMax));
  return {
      {"purge of all", CallOf("_PurgeInstances", 1, rows), 1, kPages},
      {"purge by creation", CallOf("_PurgeInstances", 1, rows + to), 1, kPages},
      {"purge by completion", CallOf("_PurgeInstances", 1, rows + to + ", \"completed\": true"), 1,
       kPages},
      {"purge of failed ones", CallOf("_PurgeInstances", 1, rows + to + ", \"statuses\": 8"), 1,
       kPages},
      {"purge of trees", CallOf("_PurgeInstances", 1, rows + to + ", \"recursive\": true"), 1,
       kPages},
  };
}

// Entities of hub 1 that nobody uses now: each with a state, but for every hundredth.
std::string EntityRows(int64_t count) {
  const std::string numbers = absl::StrCat("generate_series(1, ", count, ") n");
  return absl::StrCat(
      "insert into Instances (instance_key, hub_id, kind, instance_id, name, created_time, "
      "last_updated_time, stored_status) overriding system value "
      "select 30000000 + n, 1, 1, '@counter@' || n, 'counter', ",
      kBegin, ", ", kBegin, ", 0 from ", numbers, "; ",
      "insert into Entities (instance_key, state, last_modified_time) "
      "select 30000000 + n, case when n % 100 > 0 then 'a state'::bytea end, now() from ",
      numbers, "; ",
      "insert into ReadyInstances (instance_key, hub_id, kind, lower_name, turn) "
      "select 30000000 + n, 1, 1, 'counter', 1 from ",
      numbers, "; ");
}

// What a row of a list costs: its rows, its inbox, and their places in indexes.
std::vector<Call> EntityCalls() {
  constexpr int kPagesPerEntity = 1 + 2 * kPagesPerProbe;
  const auto page = [](const std::string& prefix, const std::string& after,
                       const std::string& more) {
    return CallOf(
        "_QueryEntities", 1,
        absl::StrCat("\"prefix\": \"", prefix, "\", \"after\": \"", after, "\", \"rows\": ", kPage,
                     ", \"bytes\": 1000000, \"looked_at\": 1000", more));
  };
  constexpr int kPages = 4 * kPagesPerProbe + (kPage + 60) * kPagesPerEntity;
  return {
      {"get entity",
       CallOf("_GetEntity", 1, "\"items\": [{\"id\": \"@counter@501\", \"state\": true}]"), 1,
       5 * kPagesPerProbe},
      {"page of entities", page("@", "", ", \"states\": true"), kPage + 1, kPages},
      {"page of entities, deep", page("@counter@", "@counter@5", ""), kPage + 1, kPages},
      {"page of entities of which there are none", page("@other", "", ""), 0, 3 * kPagesPerProbe},
      {"page of entities that shows none", page("@", "", ", \"from\": 9000000000000000"), 1,
       1100 * kPagesPerEntity},
      {"clean entities",
       CallOf("_CleanEntityStorage", 1,
              absl::StrCat("\"after\": \"@counter@5\", \"rows\": ", kPage,
                           ", \"remove_empty\": true, \"release_orphaned\": true")),
       1, 20 * kPage * kPagesPerProbe},
      {"next entities of a deleted hub",
       absl::StrCat("select * from dt.__EntitiesOfHub(1, '@counter@5', ", kPage, ")"), 1,
       3 * kPagesPerProbe + kPage},
  };
}

std::vector<Call> AllCalls() {
  std::vector<Call> calls;
  for (std::vector<Call>& some :
       std::vector<std::vector<Call>>{Claims(), Queries(), ByKey(), Leased(), Purges()}) {
    for (Call& call : some) calls.push_back(std::move(call));
  }
  return calls;
}

enum class Statistics { kNew, kOld };

// `full`: the hub has as many instances as the calls expect.
void CheckCosts(Connection& connection, const std::vector<Call>& calls, Statistics statistics,
                bool full) {
  for (const Call& call : calls) {
    if (call.needs_statistics && statistics == Statistics::kOld) continue;
    INFO(call.name);
    const Cost cost = CostOf(connection, call.sql);
    CHECK(cost.pages <= call.pages);
    // Otherwise a page that finds nothing would be a cheap one.
    if (full) CHECK(cost.rows == call.rows);
  }
}

std::unique_ptr<Connection> NewHubs() {
  auto connection = NewSchema();
  MustBeOk(connection->RunScript("insert into dt.TaskHubs (name) values ('one'), ('two')"));
  return connection;
}

TEST_CASE("sql_calls_cost_the_same_in_an_empty_hub_and_with_a_million_instances") {
  auto connection = NewHubs();
  const std::vector<Call> calls = AllCalls();
  int64_t filled = 0;
  for (const int64_t size : {int64_t{0}, int64_t{1000}, kInstancesMax / 10, kInstancesMax}) {
    INFO("instances: " << size);
    Add(*connection,
        absl::StrCat(Rows(filled, size), OtherRows(filled / 10, size / 10),
                     filled == 0 && size > 0 ? WorkRows() : ""),
        size > 10000);
    filled = size;
    MustBeOk(connection->RunScript("vacuum analyze"));
    CheckCosts(*connection, calls, Statistics::kNew, size == kInstancesMax);
  }
}

TEST_CASE("sql_idle_poll_of_a_million_waiting_instances_is_one_probe") {
  auto connection = NewHubs();
  Add(*connection,
      absl::StrCat("insert into ReadyInstances (instance_key, hub_id, next_due, lower_name, "
                   "lease_token) select n, 1, case when n % 2 = 0 then now() + interval '1 d' end, "
                   "'work', case when n % 5 = 1 then n end from generate_series(1, ",
                   kInstancesMax, ") n; "),
      /*rebuild=*/true);
  MustBeOk(connection->RunScript("vacuum analyze"));
  for (const Call& call : Claims()) {
    if (call.name.find("idle") == std::string::npos) continue;
    INFO(call.name);
    CHECK(CostOf(*connection, call.sql).pages <= call.pages);
  }
}

TEST_CASE("sql_a_million_idle_entities_cost_orchestrations_nothing") {
  auto connection = NewHubs();
  Add(*connection, absl::StrCat(Rows(0, 1000), EntityRows(kInstancesMax), WorkRows()),
      /*rebuild=*/true);
  MustBeOk(connection->RunScript("vacuum analyze"));
  CheckCosts(*connection, AllCalls(), Statistics::kNew, /*full=*/false);
  CheckCosts(*connection, EntityCalls(), Statistics::kNew, /*full=*/true);
}

TEST_CASE("sql_plans_made_for_few_rows_stay_right_when_the_tables_have_grown") {
  for (const int64_t few : {0, 1000}) {
    INFO("planned for " << few << " instances");
    auto connection = NewHubs();
    const std::vector<Call> calls = AllCalls();
    if (few > 0) Add(*connection, Rows(0, few) + WorkRows(), /*rebuild=*/false);
    MustBeOk(connection->RunScript("vacuum analyze"));
    // A session keeps a plan for all values after five calls.
    for (const Call& call : calls) {
      for (int i = 0; i < 6; ++i) {
        MustBeOk(connection->RunScript(absl::StrCat("begin; ", call.sql, "; rollback")));
      }
    }
    // Without ANALYZE, which would make the session plan again.
    Add(*connection,
        absl::StrCat(Rows(few, kGrown), OtherRows(0, kGrown), few == 0 ? WorkRows() : ""),
        /*rebuild=*/false);
    CheckCosts(*connection, calls, Statistics::kOld, /*full=*/false);
  }
}

}  // namespace
}  // namespace dt::testing
