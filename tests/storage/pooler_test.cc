// Poolers between the daemon and PostgreSQL: found out, in either mode, and without harm to
// anybody.
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "storage/postgres/connection.h"
#include "storage/postgres/listener.h"
#include "storage/postgres/session_settings.h"
#include "storage/postgres/sqlstate.h"
#include "tests/support/catch.h"
#include "tests/support/log_capture.h"
#include "tests/support/pooler_fixture.h"
#include "tests/support/postgres_fixture.h"

namespace dt::postgres {
namespace {

using testing::DatabaseOf;
using testing::MustBeOk;
using testing::PoolerFixture;
using testing::PostgresFixture;
using testing::ValueOf;

ConnectionOptions OptionsOf(const std::string& url,
                            PreparedStatements prepared = PreparedStatements::kAuto) {
  ConnectionOptions options;
  options.url = url;
  options.prepared_statements = prepared;
  return options;
}

std::unique_ptr<Connection> ConnectedTo(const ConnectionOptions& options) {
  return ValueOf(Connection::Connect(options));
}

std::string SettingIn(Connection& connection, const std::string& name) {
  return std::string(
      ValueOf(connection.ExecuteOnce("select current_setting($1)", Params().Text(name)))
          .Text(0, 0));
}

std::string NewDatabase() { return DatabaseOf(PostgresFixture::Shared().NewDatabase()); }

TEST_CASE("pooler_is_found_and_its_mode_decides_what_is_prepared") {
  const std::string mode = GENERATE("none", "session", "transaction");
  INFO(mode);
  const std::string database = NewDatabase();
  std::optional<PoolerFixture> pooler;
  if (mode != "none") pooler.emplace(mode);
  const std::string url =
      pooler ? pooler->UrlOf(database) : PostgresFixture::Shared().cluster().UrlOf(database);
  auto connection = ConnectedTo(OptionsOf(url));
  CHECK(connection->session_is_shared() == (mode == "transaction"));
  CHECK(connection->uses_prepared_statements() == (mode != "transaction"));
  // What the operator says goes before what was found.
  CHECK_FALSE(ConnectedTo(OptionsOf(url, PreparedStatements::kOff))->uses_prepared_statements());
  CHECK(ConnectedTo(OptionsOf(url, PreparedStatements::kOn))->uses_prepared_statements());
}

// Also where the pool has room for one only, and the second connection has to wait for it in vain.
TEST_CASE("pooler_of_one_session_is_found") {
  const std::string mode = GENERATE("session", "transaction");
  INFO(mode);
  PoolerFixture pooler(mode, /*sessions=*/1);
  auto connection = ConnectedTo(OptionsOf(pooler.UrlOf(NewDatabase())));
  // Whether it is shared could not be seen in a pool that is used up, so it is taken to be.
  CHECK_FALSE(connection->uses_prepared_statements());
  const Statement one{"one", "select $1"};
  for (int i = 0; i < 3; ++i) {
    CHECK(ValueOf(connection->Execute(one, Params().Int4(i))).Int(0, 0) == i);
  }
}

TEST_CASE("pooler_settings_are_there_for_each_statement_and_for_nobody_else") {
  const std::string mode = GENERATE("none", "session", "transaction");
  const PreparedStatements prepared = GENERATE(PreparedStatements::kAuto, PreparedStatements::kOff);
  INFO(mode);
  const std::string database = NewDatabase();
  auto administrator =
      PostgresFixture::Connect(PostgresFixture::Shared().cluster().UrlOf(database));
  for (const char* setting :
       {"default_transaction_isolation = 'repeatable read'", "array_nulls = off",
        "statement_timeout = '7s'", "synchronous_commit = off"}) {
    MustBeOk(administrator->RunScript(absl::StrCat("alter database ", database, " set ", setting)));
  }
  std::optional<PoolerFixture> pooler;
  if (mode != "none") pooler.emplace(mode);
  ConnectionOptions options = OptionsOf(
      pooler ? pooler->UrlOf(database) : PostgresFixture::Shared().cluster().UrlOf(database),
      prepared);
  auto durable = ConnectedTo(options);
  options.durability = Durability::kAsynchronous;
  auto fast = ConnectedTo(options);
  MustBeOk(durable->SetLockTimeout(absl::Milliseconds(20)));
  for (int i = 0; i < 3; ++i) {
    CHECK(SettingIn(*durable, "transaction_isolation") == "read committed");
    CHECK(SettingIn(*durable, "array_nulls") == "on");
    CHECK(SettingIn(*durable, "statement_timeout") == "30s");
    CHECK(SettingIn(*durable, "search_path") == "pg_catalog");
    CHECK(SettingIn(*durable, "synchronous_commit") == "on");
    CHECK(SettingIn(*durable, "lock_timeout") == "20ms");
    CHECK(SettingIn(*fast, "synchronous_commit") == "off");
    CHECK(SettingIn(*fast, "lock_timeout") == "10s");
  }
  // By statements that are prepared as well.
  const Statement isolation{"isolation", "select current_setting('transaction_isolation')"};
  for (int i = 0; i < 2; ++i) {
    CHECK(ValueOf(durable->Execute(isolation, {})).Text(0, 0) == "read committed");
  }
  if (mode == "transaction") {
    // A script has no settings but those that it makes: it sees those that others would get here.
    MustBeOk(
        durable->RunScript("do $$begin if current_setting('statement_timeout') <> '7s' or "
                           "current_setting('array_nulls') <> 'off' "
                           "then raise exception 'left behind'; end if; end$$"));
  }
}

TEST_CASE("pooler_calls_cost_no_more_round_trips") {
  PoolerFixture pooler("transaction");
  auto connection = ConnectedTo(OptionsOf(pooler.UrlOf(NewDatabase())));
  const Statement one{"one", "select $1"};
  MustBeOk(connection->Execute(one, Params().Int4(1)).status());
  const int64_t before = connection->round_trips();
  MustBeOk(connection->Execute(one, Params().Int4(1)).status());
  CHECK(connection->round_trips() == before + 1);
}

TEST_CASE("pooler_errors_leave_no_transaction_open") {
  PoolerFixture pooler("transaction", 1);
  const std::string url = pooler.UrlOf(NewDatabase());
  auto connection = ConnectedTo(OptionsOf(url));
  CHECK(Sqlstate(connection->ExecuteOnce("select 1 / $1", Params().Int4(0)).status()) == "22012");
  CHECK_FALSE(connection->in_transaction());
  // What came before the error is undone, and the only session is free for others.
  MustBeOk(connection->ExecuteOnce("create table public.t (n int)").status());
  MustBeOk(ConnectedTo(OptionsOf(url))->ExecuteOnce("select 1").status());
  CHECK(ValueOf(connection->ExecuteOnce("select count(*) from public.t")).Int(0, 0) == 0);
}

// The mode is changed under a connection that has found another one.
TEST_CASE("pooler_that_becomes_one_of_transactions_is_noticed") {
  PoolerFixture pooler("session");
  const std::string url = pooler.UrlOf(NewDatabase());
  auto connection = ConnectedTo(OptionsOf(url));
  auto other = ConnectedTo(OptionsOf(url));
  const Statement one{"one", "select $1"};
  MustBeOk(connection->Execute(one, Params().Int4(1)).status());
  REQUIRE(connection->uses_prepared_statements());
  pooler.ChangeMode("transaction");
  // The other one takes the session that the first has left with its next transaction.
  for (int i = 0; i < 3; ++i) {
    CHECK(ValueOf(connection->Execute(one, Params().Int4(i))).Int(0, 0) == i);
    MustBeOk(other->RunScript("begin"));
    CHECK(ValueOf(connection->Execute(one, Params().Int4(i))).Int(0, 0) == i);
    MustBeOk(other->RunScript("commit"));
  }
  CHECK_FALSE(connection->uses_prepared_statements());
  CHECK(connection->session_is_shared());
}

TEST_CASE("pooler_that_has_no_server_is_waited_for") {
  PoolerFixture pooler("transaction");
  const absl::Status status =
      Connection::Connect(OptionsOf(pooler.UrlOf("no_such_database"))).status();
  INFO(status.ToString());
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK(Classify(status) == FaultClass::kReconnect);
}

}  // namespace
}  // namespace dt::postgres
