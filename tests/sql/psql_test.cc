// The scripts of sql/ run by psql alone, without the daemon: install, install again, drop.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "storage/postgres/migrator.h"
#include "tests/support/catch.h"
#include "tests/support/postgres_fixture.h"

namespace dt::testing {
namespace {

// The exit code of psql with a script, and what it says goes to `output`.
int PsqlFile(const std::string& url, const std::string& file, const std::string& schema,
             const std::string& output = "/dev/null") {
  const std::string command = absl::StrCat("psql -X -q -v ON_ERROR_STOP=1 -v 'schema=", schema,
                                           "' -f '", file, "' '", url, "' > '", output, "' 2>&1");
  return std::system(command.c_str());
}

// The same with a script of sql/.
int Psql(const std::string& url, const std::string& script, const std::string& schema,
         const std::string& output = "/dev/null") {
  return PsqlFile(url, absl::StrCat(DT_SOURCE_DIR "/sql/", script), schema, output);
}

int64_t Objects(postgres::Connection& connection, const std::string& schema) {
  postgres::Params params;
  params.Text(schema);
  return ValueOf(connection.ExecuteOnce("select count(*) from pg_class c join pg_namespace n "
                                        "on n.oid = c.relnamespace where n.nspname = $1",
                                        params))
      .Int(0, 0);
}

TEST_CASE("psql_installs_upgrades_and_drops_any_schema") {
  const std::string url = PostgresFixture::Shared().NewDatabase();
  auto connection = PostgresFixture::Connect(url);
  for (const char* schema : {"dt", "My Schema"}) {
    REQUIRE(Psql(url, "install.sql", schema) == 0);
    const int64_t objects = Objects(*connection, schema);
    CHECK(objects > 20);
    REQUIRE(Psql(url, "install.sql", schema) == 0);
    CHECK(Objects(*connection, schema) == objects);
  }
  // A function of one schema works on the tables of that schema, whoever calls it.
  MustBeOk(connection->RunScript("select \"My Schema\"._ResolveHub('one', true)"));
  CHECK(ValueOf(connection->ExecuteOnce("select count(*) from dt.TaskHubs")).Int(0, 0) == 0);
  CHECK(ValueOf(connection->ExecuteOnce("select count(*) from \"My Schema\".TaskHubs")).Int(0, 0) ==
        1);
  REQUIRE(Psql(url, "drop-schema.sql", "dt") == 0);
  CHECK(Objects(*connection, "dt") == 0);
  CHECK(Objects(*connection, "My Schema") > 20);
  // What a user keeps in the schema stops the drop, and nothing is gone then.
  MustBeOk(connection->RunScript("create table \"My Schema\".mine (id int)"));
  const int64_t before = Objects(*connection, "My Schema");
  CHECK(Psql(url, "drop-schema.sql", "My Schema") != 0);
  CHECK(Objects(*connection, "My Schema") == before);
}

// A database made by this statement, as it is found somewhere.
std::string FoundDatabase(const std::string& name, const std::string& statement) {
  auto connection = PostgresFixture::Connect(PostgresFixture::Shared().cluster().UrlOf("postgres"));
  MustBeOk(connection->RunScript(
      absl::StrCat("create database ", name, " template template0 ", statement)));
  return PostgresFixture::Shared().cluster().UrlOf(name);
}

// A file with this text, which goes with the object.
class ScratchFile {
 public:
  explicit ScratchFile(const std::string& text) {
    const int file = mkstemp(path_.data());
    REQUIRE(file >= 0);
    close(file);
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~ScratchFile() { unlink(path_.c_str()); }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_ = (std::filesystem::temp_directory_path() / "dt-psql-XXXXXX").string();
};

std::string Read(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

TEST_CASE("psql_installs_whatever_the_database_sets") {
  const std::string url = FoundDatabase("found", "encoding 'UTF8' locale 'C'");
  auto connection = PostgresFixture::Connect(url);
  for (const char* setting : {"default_transaction_isolation = serializable",
                              "array_nulls = off",
                              "standard_conforming_strings = off",
                              "backslash_quote = off",
                              "transform_null_equals = on",
                              "quote_all_identifiers = on",
                              "exit_on_error = on",
                              "TimeZone = 'Asia/Kathmandu'",
                              "DateStyle = 'German'",
                              "IntervalStyle = sql_standard",
                              "bytea_output = escape",
                              "extra_float_digits = -15",
                              "client_encoding = 'LATIN1'",
                              "search_path = ''",
                              "row_security = off",
                              "session_replication_role = replica",
                              "check_function_bodies = off",
                              "plpgsql.extra_errors = 'all'",
                              "plpgsql.variable_conflict = 'use_variable'",
                              "statement_timeout = '20ms'",
                              "idle_in_transaction_session_timeout = '100ms'",
                              "lock_timeout = '1ms'"}) {
    MustBeOk(connection->RunScript(absl::StrCat("alter database found set ", setting)));
  }
  if (connection->server_version() >= 170000) {
    MustBeOk(connection->RunScript("alter database found set transaction_timeout = '20ms'"));
  }
  for (int i = 0; i < 2; ++i) REQUIRE(Psql(url, "install.sql", "dt") == 0);
  ScratchFile script(ValueOf(postgres::MigrationScript("printed")));
  REQUIRE(PsqlFile(url, script.path(), "") == 0);
  const auto bodies = [&](const std::string& schema) {
    return std::string(
        ValueOf(
            connection->ExecuteOnce(
                "select md5(string_agg(p.prosrc, '' order by p.proname, p.prosrc)) from pg_proc p "
                "where p.pronamespace = $1::regnamespace and p.prokind = 'f'",
                postgres::Params().Text(schema)))
            .Text(0, 0));
  };
  CHECK(bodies("dt") == bodies("printed"));
  REQUIRE(Psql(url, "drop-schema.sql", "dt") == 0);
  CHECK(Objects(*connection, "dt") == 0);
  CHECK(Objects(*connection, "printed") > 20);
}

TEST_CASE("psql_installs_in_no_other_encoding_than_utf8") {
  ScratchFile script(ValueOf(postgres::MigrationScript("dt")));
  for (const char* encoding : {"SQL_ASCII", "LATIN1", "EUC_JP"}) {
    INFO(encoding);
    const std::string url = FoundDatabase(absl::AsciiStrToLower(absl::StrCat("encoded_", encoding)),
                                          absl::StrCat("encoding '", encoding, "' locale 'C'"));
    ScratchFile said("");
    for (const bool printed : {false, true}) {
      CHECK((printed ? PsqlFile(url, script.path(), "", said.path())
                     : Psql(url, "install.sql", "dt", said.path())) != 0);
      CHECK(Read(said.path())
                .find(absl::StrCat("has the encoding ", encoding, ", but UTF8 is needed")) !=
            std::string::npos);
    }
    auto connection = PostgresFixture::Connect(url);
    CHECK(Objects(*connection, "dt") == 0);
    CHECK(ValueOf(connection->ExecuteOnce("select 1 from pg_namespace where nspname = 'dt'"))
              .rows() == 0);
  }
}

}  // namespace
}  // namespace dt::testing
