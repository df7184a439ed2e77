// The schema: installed, found, upgraded, refused, dropped; versions compared.
#include "storage/postgres/migrator.h"

#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/postgres/embedded_sql.h"
#include "storage/postgres/semver.h"
#include "tests/support/catch.h"
#include "tests/support/log_capture.h"
#include "tests/support/postgres_fixture.h"

namespace dt::postgres {
namespace {

using testing::MustBeOk;
using testing::PostgresFixture;
using testing::ValueOf;

// A file of sql/ as it is in the source tree.
std::string FileOnDisk(const std::string& name) {
  std::ifstream file(absl::StrCat(DT_SOURCE_DIR "/sql/", name), std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST_CASE("semver_orders_numbers_as_numbers_and_prereleases_below") {
  const char* const ordered[] = {
      "0.9.9",        "1.0.0-alpha",  "1.0.0-alpha.1", "1.0.0-alpha.beta",
      "1.0.0-beta",   "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
      "1.0.0",        "1.0.2",        "1.0.10",        "1.2.0",
      "1.10.0-rc.10", "1.10.0",       "2.0.0",         "10.0.0"};
  int count = std::size(ordered);
  for (int i = 0; i < count; ++i) {
    for (int j = 0; j < count; ++j) {
      CAPTURE(ordered[i], ordered[j]);
      int order = CompareSemver(*ParseSemver(ordered[i]), *ParseSemver(ordered[j]));
      CHECK((order < 0) == (i < j));
      CHECK((order > 0) == (i > j));
    }
  }
  CHECK(CompareSemver(*ParseSemver("1.0.0+a"), *ParseSemver("1.0.0+b")) == 0);
}

TEST_CASE("semver_refuses_what_is_no_version") {
  std::string text =
      GENERATE("", "1", "1.0", "1.0.0.0", "v1.0.0", "1.0.x", "01.0.0", "1.0.0-", "1.0.",
               "1.0.0-a..b", "1.0.0-01", "-1.0.0", "1.0.0 ", "99999999999.0.0");
  CAPTURE(text);
  CHECK_FALSE(ParseSemver(text).has_value());
}

TEST_CASE("migrator_carries_the_files_of_sql_byte_for_byte") {
  REQUIRE(!EmbeddedSql().empty());
  for (const EmbeddedFile& file : EmbeddedSql()) {
    std::string path(file.path);
    CAPTURE(path);
    CHECK(std::string(file.text) == FileOnDisk(path));
  }
}

TEST_CASE("migrator_up_installs_once_and_status_tells") {
  auto connection = PostgresFixture::Connect(PostgresFixture::Shared().NewDatabase());
  SchemaStatus status = ValueOf(ReadSchemaStatus(*connection, "dt"));
  CHECK(status.state == SchemaState::kMissing);
  CHECK_FALSE(status.usable());
  CHECK(status.explanation.find("schema up") != std::string::npos);

  status = ValueOf(MigrateSchema(*connection, "dt"));
  CHECK(status.state == SchemaState::kCurrent);
  CHECK(status.usable());
  CHECK_FALSE(status.logic_differs);
  CHECK(status.installed_version == ProgramVersion());
  CHECK_FALSE(connection->in_transaction());

  // A second time nothing is made again, but the rights are set.
  testing::LogCapture log;
  CHECK(ValueOf(MigrateSchema(*connection, "dt")).state == SchemaState::kCurrent);
  CHECK(log.Has("permissions.sql"));
  CHECK_FALSE(log.Has("logic/"));
  CHECK_FALSE(log.Has("schema/"));
}

// Rights and owners, as a reader of the schema "late" finds them.
std::string RightsOfLateReader(Connection& connection) {
  Result result = ValueOf(connection.ExecuteOnce(
      "select has_table_privilege('late_reader', 'late.vInstances', 'select'), "
      "has_function_privilege('late_reader', 'late.CurrentTaskHub()', 'execute'), "
      "(select relowner::regrole::text from pg_class where oid = 'late.vInstances'::regclass)"));
  return absl::StrCat(result.Bool(0, 0) ? "view " : "", result.Bool(0, 1) ? "function " : "",
                      std::string(result.Text(0, 2)));
}

TEST_CASE("migrator_sets_the_rights_of_roles_that_were_made_later") {
  const std::string url = PostgresFixture::Shared().NewDatabase();
  auto admin = PostgresFixture::Connect(url);
  MustBeOk(
      admin->RunScript("create role installer login; do $$ begin execute format('grant create on "
                       "database %I to installer', current_database()); end $$"));
  auto installer = PostgresFixture::Connect(url + "&user=installer");
  {
    testing::LogCapture log;
    ValueOf(MigrateSchema(*installer, "late"));
    CHECK(log.Has("these roles are missing"));
    CHECK(log.Has("late_reader"));
    CHECK(log.Has("create role NAME nologin"));  // what to do
  }
  for (const char* role : {"owner", "daemon", "reader", "runtime", "admin"}) {
    MustBeOk(admin->RunScript(absl::StrCat("create role late_", role, " nologin")));
  }
  CHECK(RightsOfLateReader(*admin) == "installer");
  MustBeOk(admin->RunScript("grant late_owner to installer"));
  testing::LogCapture log;
  CHECK(ValueOf(MigrateSchema(*installer, "late")).state == SchemaState::kCurrent);
  CHECK_FALSE(log.Has("missing"));
  CHECK(RightsOfLateReader(*admin) == "view function late_owner");
  // Also what somebody has taken away.
  MustBeOk(admin->RunScript("revoke select on late.vInstances from late_reader"));
  ValueOf(MigrateSchema(*installer, "late"));
  CHECK(RightsOfLateReader(*admin) == "view function late_owner");
}

TEST_CASE("migrator_schema_name_is_free") {
  auto connection = PostgresFixture::Connect(PostgresFixture::Shared().NewDatabase());
  std::string odd = R"(Odd "name"; it's)";
  CHECK(ValueOf(MigrateSchema(*connection, odd)).usable());
  CHECK(ValueOf(MigrateSchema(*connection, "other")).usable());
  // Functions of one schema use the tables of that schema.
  MustBeOk(connection->RunScript("select other._ResolveHub('h', true)"));
  Result hubs = ValueOf(connection->ExecuteOnce(
      "select (select count(*) from other.TaskHubs), (select count(*) from " +
      Connection::QuoteIdentifier(odd) + ".TaskHubs)"));
  CHECK(hubs.Int(0, 0) == 1);
  CHECK(hubs.Int(0, 1) == 0);
  MustBeOk(DropSchema(*connection, odd));
  CHECK(ValueOf(ReadSchemaStatus(*connection, odd)).state == SchemaState::kMissing);
  CHECK(ValueOf(ReadSchemaStatus(*connection, "other")).usable());
}

TEST_CASE("migrator_many_at_once_install_once") {
  std::string url = PostgresFixture::Shared().NewDatabase();
  std::vector<std::thread> threads;
  std::vector<absl::Status> statuses(8);
  for (absl::Status& status : statuses) {
    threads.emplace_back([&status, url] {
      auto connection = PostgresFixture::Connect(url);
      status = MigrateSchema(*connection, "dt").status();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) {
    CAPTURE(status.ToString());
    CHECK(status.ok());
  }
}

TEST_CASE("migrator_newer_schema_is_left_alone_or_refused") {
  auto connection = PostgresFixture::Connect(PostgresFixture::Shared().NewDatabase());
  ValueOf(MigrateSchema(*connection, "dt"));
  // Written first, so that the highest version is not the latest row.
  MustBeOk(
      connection->RunScript("insert into dt.Versions values ('99.0.0', '1.0.0', '2000-01-01')"));
  CHECK(ValueOf(ReadSchemaStatus(*connection, "dt")).state == SchemaState::kNewer);
  CHECK(ValueOf(MigrateSchema(*connection, "dt")).state == SchemaState::kNewer);
  MustBeOk(
      connection->RunScript("update dt.Versions set min_daemon_version = '98.0.0' where "
                            "semantic_version = '99.0.0'"));
  SchemaStatus status = ValueOf(ReadSchemaStatus(*connection, "dt"));
  CHECK(status.state == SchemaState::kTooNew);
  CHECK_FALSE(status.usable());
  absl::Status refused = MigrateSchema(*connection, "dt").status();
  CHECK(refused.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_FALSE(connection->in_transaction());
}

TEST_CASE("migrator_renews_functions_of_another_build_and_refuses_other_tables") {
  auto connection = PostgresFixture::Connect(PostgresFixture::Shared().NewDatabase());
  ValueOf(MigrateSchema(*connection, "dt"));
  MustBeOk(
      connection->RunScript("comment on table dt.Versions is null; create or replace function "
                            "dt.CurrentTaskHub() returns text language sql as 'select ''x'''"));
  SchemaStatus status = ValueOf(ReadSchemaStatus(*connection, "dt"));
  CHECK(status.usable());
  CHECK(status.logic_differs);
  CHECK_FALSE(ValueOf(MigrateSchema(*connection, "dt")).logic_differs);
  Result hub = ValueOf(connection->ExecuteOnce("select dt.CurrentTaskHub()"));
  CHECK(hub.Text(0, 0) == "postgres");

  MustBeOk(connection->RunScript("comment on table dt.Versions is 'tables 0 functions 0'"));
  CHECK(ValueOf(ReadSchemaStatus(*connection, "dt")).state == SchemaState::kOtherBuild);
  CHECK(MigrateSchema(*connection, "dt").status().code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("migrator_failed_migration_leaves_nothing") {
  auto connection = PostgresFixture::Connect(PostgresFixture::Shared().NewDatabase());
  // A view of an operator where a table should be: the script fails in its middle.
  MustBeOk(connection->RunScript("create schema dt; create view dt.History as select 1"));
  absl::Status status = MigrateSchema(*connection, "dt").status();
  CHECK_FALSE(status.ok());
  CHECK(std::string(status.message()).find("schema/1.0.0.sql") != std::string::npos);
  CHECK(ValueOf(ReadSchemaStatus(*connection, "dt")).state == SchemaState::kMissing);
  CHECK_FALSE(connection->in_transaction());
}

TEST_CASE("migrator_says_which_right_is_missing") {
  std::string url = PostgresFixture::Shared().NewDatabase();
  auto owner = PostgresFixture::Connect(url);
  MustBeOk(owner->RunScript("drop role if exists weak; create role weak login"));
  auto weak = PostgresFixture::Connect(url + "&user=weak");
  absl::Status status = MigrateSchema(*weak, "dt").status();
  CHECK(status.code() == absl::StatusCode::kPermissionDenied);
  CHECK(std::string(status.message()).find("grant create on database") != std::string::npos);
  ValueOf(MigrateSchema(*owner, "dt"));
  status = ReadSchemaStatus(*weak, "dt").status();
  CHECK(status.code() == absl::StatusCode::kPermissionDenied);
  // Who does not own it finds it current, and sets no rights.
  MustBeOk(
      owner->RunScript("grant usage on schema dt to weak; grant select on dt.Versions to weak"));
  CHECK(ValueOf(MigrateSchema(*weak, "dt")).state == SchemaState::kCurrent);
}

TEST_CASE("migrator_runs_nothing_of_others") {
  const std::string url = PostgresFixture::Shared().NewDatabase();
  MustBeOk(PostgresFixture::Connect(url)->RunScript(
      "create function public.hashtextextended(text, int) returns bigint language plpgsql as "
      "'begin raise exception ''somebody else runs as %'', current_user; end'"));
  auto connection = PostgresFixture::Connect(url);
  ValueOf(MigrateSchema(*connection, "dt"));
  MustBeOk(connection->RunScript(ValueOf(MigrationScript("printed", ""))));
  MustBeOk(DropSchema(*connection, "dt"));
}

TEST_CASE("migrator_refuses_a_schema_of_somebody_else_and_names_that_are_too_long") {
  auto connection = PostgresFixture::Connect(PostgresFixture::Shared().NewDatabase());
  MustBeOk(connection->RunScript(
      "drop role if exists squatter; create role squatter; create schema theirs authorization "
      "squatter"));
  absl::Status status = MigrateSchema(*connection, "theirs").status();
  CHECK(std::string(status.message()).find("schema \"theirs\" belongs to \"squatter\"") !=
        std::string::npos);
  CHECK(std::string(status.message()).find("set role squatter") != std::string::npos);
  // As that role, or when it is a superuser's, it is nobody else's.
  MustBeOk(connection->RunScript("set role squatter"));
  ValueOf(MigrateSchema(*connection, "theirs"));
  MustBeOk(connection->RunScript("reset role; drop owned by squatter cascade"));

  const std::string longest(55, 's');
  ValueOf(MigrateSchema(*connection, longest));
  MustBeOk(DropSchema(*connection, longest));
  status = MigrateSchema(*connection, longest + "s").status();
  CHECK(std::string(status.message()).find("has 56 bytes, the limit is 55") != std::string::npos);
}

TEST_CASE("migrator_drop_keeps_the_objects_of_others") {
  auto connection = PostgresFixture::Connect(PostgresFixture::Shared().NewDatabase());
  CHECK(DropSchema(*connection, "dt").code() == absl::StatusCode::kNotFound);
  ValueOf(MigrateSchema(*connection, "dt"));
  MustBeOk(connection->RunScript("create table dt.mine (a int)"));
  absl::Status status = DropSchema(*connection, "dt");
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(ValueOf(ReadSchemaStatus(*connection, "dt")).usable());
  MustBeOk(connection->RunScript("drop table dt.mine"));
  MustBeOk(DropSchema(*connection, "dt"));
  Result left =
      ValueOf(connection->ExecuteOnce("select count(*) from pg_namespace where nspname = 'dt'"));
  CHECK(left.Int(0, 0) == 0);
}

TEST_CASE("migrator_printed_script_and_install_sql_make_what_up_makes") {
  std::string url = PostgresFixture::Shared().NewDatabase();
  auto connection = PostgresFixture::Connect(url);
  MustBeOk(connection->RunScript(ValueOf(MigrationScript("printed"))));
  SchemaStatus status = ValueOf(ReadSchemaStatus(*connection, "printed"));
  CHECK(status.state == SchemaState::kCurrent);
  CHECK_FALSE(status.logic_differs);
  CHECK(MigrationScript("x", "one").status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(ValueOf(MigrationScript("x", ProgramVersion())).find("create table") == std::string::npos);

  // psql alone: the same version row.
  std::string install = FileOnDisk("install.sql");
  CHECK(install.find("values ('" + ProgramVersion() + "', '" + status.min_daemon_version + "')") !=
        std::string::npos);
}

}  // namespace
}  // namespace dt::postgres
