// What `doctor` reads of a database, and what it makes of it.
#include "storage/postgres/doctor.h"

#include <algorithm>
#include <functional>

#include "storage/postgres/migrator.h"
#include "tests/support/catch.h"
#include "tests/support/postgres_fixture.h"

namespace dt::postgres {
namespace {

using testing::MustBeOk;
using testing::PostgresFixture;
using testing::ValueOf;

DatabaseFacts HealthyFacts() {
  DatabaseFacts facts;
  facts.server_version = 150004;
  facts.server_version_text = "15.4";
  facts.database = "d";
  facts.role = "r";
  facts.schema.state = SchemaState::kCurrent;
  facts.schema.explanation = "schema dt has version 1.0.0";
  facts.sees_sessions = true;
  facts.settings = {{"fsync", "on"},
                    {"full_page_writes", "on"},
                    {"autovacuum", "on"},
                    {"track_counts", "on"},
                    {"shared_buffers", "32768"},
                    {"default_transaction_isolation", "read committed"}};
  facts.connections = 10;
  facts.connections_max = 97;
  facts.round_trip = absl::Milliseconds(1);
  facts.tables.push_back({"newtasks", 1 << 20, 10, 100, 5000, absl::UnixEpoch(), 2000, 20'000});
  facts.snapshots.push_back({"session 1 of app (active)", 5, absl::Seconds(3)});
  facts.slots.push_back({"standby", true, 1 << 20});
  facts.daemons_alive = 2;
  facts.daemon_versions = {{"1.0.0", 2}};
  return facts;
}

// What is not good, as "check severity".
std::vector<std::string> Found(const DatabaseFacts& facts) {
  std::vector<std::string> found;
  for (const Finding& finding : Judge(facts)) {
    CHECK(!finding.what.empty());
    CHECK(finding.advice.empty() == (finding.severity == Severity::kGood));
    if (finding.severity == Severity::kGood) continue;
    const char* const severity = finding.severity == Severity::kNote      ? " note"
                                 : finding.severity == Severity::kWarning ? " warning"
                                                                          : " problem";
    found.push_back(finding.check + severity);
  }
  return found;
}

TEST_CASE("doctor_finds_nothing_in_a_healthy_database") {
  const std::vector<Finding> findings = Judge(HealthyFacts());
  CHECK(WorstOf(findings) == Severity::kGood);
  for (const char* check : {"server", "schema", "rights", "settings", "pooler", "connections",
                            "clock", "tables", "snapshots", "slots", "daemons"}) {
    CAPTURE(check);
    CHECK(std::count_if(findings.begin(), findings.end(),
                        [&](const Finding& finding) { return finding.check == check; }) == 1);
  }
}

TEST_CASE("doctor_says_what_is_not_good") {
  struct Case {
    const char* name;
    std::function<void(DatabaseFacts&)> change;
    std::vector<std::string> found;
  };
  using Facts = DatabaseFacts;
  const Case cases[] = {
      {"standby", [](Facts& f) { f.read_only = true; }, {"server problem"}},
      {"too new", [](Facts& f) { f.server_version = 190000; }, {"server note"}},
      {"no TLS", [](Facts& f) { f.remote = true; }, {"server warning"}},
      {"TLS", [](Facts& f) { f.remote = f.encrypted = true; }, {}},
      {"hidden", [](Facts& f) { f.schema_hidden = true; }, {"schema problem"}},
      {"no schema", [](Facts& f) { f.schema.state = SchemaState::kMissing; }, {"schema problem"}},
      {"newer schema", [](Facts& f) { f.schema.state = SchemaState::kNewer; }, {}},
      {"logic differs", [](Facts& f) { f.schema.logic_differs = true; }, {"schema warning"}},
      {"missing index", [](Facts& f) { f.missing_indexes = {"a"}; }, {"schema problem"}},
      {"invalid index", [](Facts& f) { f.invalid_indexes = {"a"}; }, {"schema problem"}},
      {"denied", [](Facts& f) { f.denied = {"_f()"}; }, {"rights problem"}},
      {"superuser", [](Facts& f) { f.superuser = true; }, {"rights note"}},
      {"owner", [](Facts& f) { f.schema_is_own = true; }, {"rights note"}},
      {"sees little", [](Facts& f) { f.sees_sessions = false; }, {"rights note"}},
      {"fsync", [](Facts& f) { f.settings["fsync"] = "off"; }, {"settings problem"}},
      {"pages", [](Facts& f) { f.settings["full_page_writes"] = "off"; }, {"settings problem"}},
      {"autovacuum", [](Facts& f) { f.settings["autovacuum"] = "off"; }, {"settings problem"}},
      {"counts", [](Facts& f) { f.settings["track_counts"] = "off"; }, {"settings problem"}},
      {"commits", [](Facts& f) { f.settings["synchronous_commit"] = "off"; }, {"settings note"}},
      {"isolation",
       [](Facts& f) { f.settings["default_transaction_isolation"] = "serializable"; },
       {"settings note"}},
      {"idle", [](Facts& f) { f.settings["idle_session_timeout"] = "60000"; }, {"settings note"}},
      {"buffers", [](Facts& f) { f.settings["shared_buffers"] = "1024"; }, {"settings note"}},
      {"pooler", [](Facts& f) { f.session_is_shared = true; }, {"pooler note"}},
      {"connections", [](Facts& f) { f.connections = 78; }, {"connections warning"}},
      {"of the database",
       [](Facts& f) { f.database_connections = f.database_connections_max = 5; },
       {"connections warning"}},
      {"of the role",
       [](Facts& f) { f.role_connections = f.role_connections_max = 5; },
       {"connections warning"}},
      {"ahead", [](Facts& f) { f.clock_ahead = absl::Seconds(2); }, {"clock warning"}},
      {"behind", [](Facts& f) { f.clock_ahead = absl::Seconds(-2); }, {"clock warning"}},
      {"unknown",
       [](Facts& f) {
         f.clock_ahead = absl::Seconds(2);
         f.clock_error = absl::Seconds(1);
       },
       {}},
      {"far away", [](Facts& f) { f.round_trip = absl::Milliseconds(20); }, {"clock note"}},
      {"no vacuum", [](Facts& f) { f.tables[0].vacuum_threshold.reset(); }, {"tables problem"}},
      {"dead rows", [](Facts& f) { f.tables[0].dead_rows = 50'001; }, {"tables warning"}},
      {"dead rows of a large one",
       [](Facts& f) {
         f.tables[0].dead_rows = 50'001;
         f.tables[0].vacuum_threshold = 100'000;
       },
       {}},
      {"scans", [](Facts& f) { f.tables[0].sequential_rows = 30'000'000; }, {"tables warning"}},
      {"old", [](Facts& f) { f.snapshots[0].age = absl::Minutes(6); }, {"snapshots warning"}},
      {"old by count",
       [](Facts& f) { f.snapshots[0].transactions = 200'000; },
       {"snapshots warning"}},
      {"slot",
       [](Facts& f) {
         f.slots[0] = {"gone", false, int64_t{2} << 30};
       },
       {"slots warning"}},
      {"slow slot",
       [](Facts& f) { f.slots[0].retained_bytes = int64_t{11} << 30; },
       {"slots warning"}},
      {"frozen", [](Facts& f) { f.frozen_age = 1'100'000'000; }, {"slots warning"}},
      {"silent", [](Facts& f) { f.daemons_not_alive = {"h"}; }, {"daemons note"}},
      {"versions", [](Facts& f) { f.daemon_versions["2.0.0"] = 1; }, {"daemons note"}},
  };
  for (const Case& one : cases) {
    CAPTURE(one.name);
    DatabaseFacts facts = HealthyFacts();
    one.change(facts);
    CHECK(Found(facts) == one.found);
  }
}

TEST_CASE("doctor_names_only_some_of_many_old_snapshots") {
  DatabaseFacts facts = HealthyFacts();
  facts.snapshots.assign(50, {"session 1 of app (idle in transaction)", 5, absl::Hours(1)});
  CHECK(Found(facts) == std::vector<std::string>(5, "snapshots warning"));
}

// A database with the schema.
class Patient {
 public:
  Patient() : session(PostgresFixture::Connect(url)) {
    MustBeOk(MigrateSchema(*session, "dt").status());
  }
  DatabaseFacts Facts() const { return ValueOf(ReadDatabaseFacts(*session, "dt")); }

  const std::string url = PostgresFixture::Shared().NewDatabase();
  const std::unique_ptr<Connection> session;
};

TEST_CASE("doctor_reads_a_database_without_the_schema") {
  const auto session = PostgresFixture::Connect(PostgresFixture::Shared().NewDatabase());
  const DatabaseFacts facts = ValueOf(ReadDatabaseFacts(*session, "dt"));
  CHECK(facts.schema.state == SchemaState::kMissing);
  CHECK(facts.tables.empty());
  CHECK(facts.role == "postgres");
  CHECK(facts.superuser);
  CHECK(facts.sees_sessions);
}

TEST_CASE("doctor_reads_what_is_there") {
  const Patient patient;
  const DatabaseFacts facts = patient.Facts();
  CHECK(facts.server_version >= 140000);
  CHECK(facts.schema.usable());
  CHECK(facts.denied.empty());
  CHECK(facts.missing_indexes.empty());
  CHECK(facts.invalid_indexes.empty());
  CHECK(facts.settings.at("fsync") == "off");  // of the test's server
  CHECK(facts.connections >= 1);
  CHECK(facts.database_connections == 1);
  CHECK(facts.connections_max > 10);
  CHECK(absl::AbsDuration(facts.clock_ahead) <= facts.clock_error + absl::Milliseconds(10));
  CHECK(facts.frozen_age > 0);
  const auto tasks = std::find_if(facts.tables.begin(), facts.tables.end(),
                                  [](const TableFacts& table) { return table.name == "newtasks"; });
  REQUIRE(tasks != facts.tables.end());
  CHECK(tasks->vacuum_threshold == 5000);
}

TEST_CASE("doctor_sees_what_somebody_did_to_the_schema") {
  const Patient patient;
  MustBeOk(patient.session->RunScript(
      "drop index dt.newtasks_free; alter table dt.NewTasks set (autovacuum_enabled = false)"));
  const std::vector<std::string> found = Found(patient.Facts());
  CHECK(std::count(found.begin(), found.end(), "schema problem") == 1);
  CHECK(std::count(found.begin(), found.end(), "tables problem") == 1);
}

TEST_CASE("doctor_sees_who_keeps_dead_rows_and_the_log") {
  const Patient patient;
  const auto idle = PostgresFixture::Connect(patient.url);
  MustBeOk(idle->RunScript("begin isolation level repeatable read; select 1"));
  MustBeOk(
      patient.session->RunScript("select pg_create_physical_replication_slot('dt_doctor', true)"));
  const DatabaseFacts facts = patient.Facts();
  MustBeOk(patient.session->RunScript("select pg_drop_replication_slot('dt_doctor')"));
  const std::string what = "session " + std::to_string(idle->backend_pid()) +
                           " of durabletask-sidecar (idle in transaction)";
  CHECK(std::count_if(facts.snapshots.begin(), facts.snapshots.end(), [&](const auto& holder) {
          return holder.what == what && holder.age.has_value();
        }) == 1);
  REQUIRE(facts.slots.size() == 1);
  CHECK(facts.slots[0].name == "dt_doctor");
  CHECK_FALSE(facts.slots[0].active);
}

TEST_CASE("doctor_sees_what_a_role_may_not_do") {
  const Patient patient;
  MustBeOk(patient.session->RunScript("drop role if exists poor; create role poor login"));
  const auto poor = PostgresFixture::Connect(patient.url + "&user=poor");
  MustBeOk(poor->RunScript("select 1"));
  const auto facts = ReadDatabaseFacts(*poor, "dt");
  const std::vector<std::string> found = Found(ValueOf(facts));
  CHECK(std::count(found.begin(), found.end(), "rights problem") == 1);
  CHECK(std::count(found.begin(), found.end(), "schema problem") == 1);
  CHECK_FALSE(facts->superuser);
  CHECK_FALSE(facts->sees_sessions);
  // With the daemon's role it may.
  MustBeOk(patient.session->RunScript("grant dt_daemon to poor"));
  const std::vector<std::string> now = Found(ValueOf(ReadDatabaseFacts(*poor, "dt")));
  CHECK(std::count(now.begin(), now.end(), "rights problem") == 0);
  MustBeOk(patient.session->RunScript("drop role poor"));
}

}  // namespace
}  // namespace dt::postgres
