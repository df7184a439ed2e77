// The scripts of sql/ run by psql alone, without the daemon: install, install again, drop.
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/support/catch.h"
#include "tests/support/postgres_fixture.h"

namespace dt::testing {
namespace {

// The exit code of psql with a script of sql/.
int Psql(const std::string& url, const std::string& script, const std::string& schema) {
  const std::string command =
      absl::StrCat("psql -X -q -v ON_ERROR_STOP=1 -v 'schema=", schema, "' -f '", DT_SOURCE_DIR,
                   "/sql/", script, "' '", url, "' > /dev/null");
  return std::system(command.c_str());
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

}  // namespace
}  // namespace dt::testing
