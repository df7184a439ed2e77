// One session with PostgreSQL: values both ways, errors, prepared statements, cancel,
// notifications.
#include "storage/postgres/connection.h"

#include <thread>

#include "absl/synchronization/notification.h"
#include "storage/postgres/sqlstate.h"
#include "tests/support/catch.h"
#include "tests/support/postgres_fixture.h"

namespace dt::postgres {
namespace {

using testing::MustBeOk;
using testing::PostgresFixture;
using testing::ValueOf;

std::unique_ptr<Connection> NewConnection(ConnectionOptions options = {}) {
  options.url = PostgresFixture::Shared().NewDatabase();
  options.extra_settings.emplace_back("search_path", "public");
  return ValueOf(Connection::Connect(options));
}

TEST_CASE("connection_values_go_both_ways_unchanged") {
  auto connection = NewConnection();
  std::string bytes("\0\xff\\x' \n", 7);
  absl::Time time = absl::FromUnixMicros(1'700'000'000'123'456);
  Statement echo{"echo", "select $1, $2, $3, $4, $5, $6, $7, $8"};
  Params params;
  params.Bool(true).Int4(-2).Int4(-2'000'000'000).Int8(INT64_MIN);
  params.Text("grüße 'x' \\").Jsonb(R"({"a": [1, null]})").Bytea(bytes).Timestamp(time);
  for (int i = 0; i < 2; ++i) {  // the second time by the prepared statement
    Result result = ValueOf(connection->Execute(echo, params));
    REQUIRE(result.rows() == 1);
    REQUIRE(result.columns() == 8);
    CHECK(result.Bool(0, 0));
    CHECK(result.Int(0, 1) == -2);
    CHECK(result.Int(0, 2) == -2'000'000'000);
    CHECK(result.Int(0, 3) == INT64_MIN);
    CHECK(result.Text(0, 4) == "grüße 'x' \\");
    CHECK(result.Text(0, 5) == R"({"a": [1, null]})");
    CHECK(result.Bytes(0, 6) == bytes);
    CHECK(result.Timestamp(0, 7) == time);
  }
}

TEST_CASE("connection_arrays_keep_null_and_empty_apart") {
  auto connection = NewConnection();
  std::string bytes("\0a", 2);
  std::vector<std::optional<std::string_view>> blobs = {bytes, std::nullopt, ""};
  Params params;
  params.ByteaArray(blobs).Int8Array({1, -1, INT64_MAX}).TextArray({"x", ""}).ByteaArray({});
  Result result = ValueOf(connection->ExecuteOnce(
      "select $1, $2, $3, $4, cardinality($4), $1[1], $1[2] is null, $1[3] = ''", params));
  CHECK(result.ByteaArray(0, 0) == blobs);
  CHECK(result.IntArray(0, 1) == std::vector<int64_t>{1, -1, INT64_MAX});
  CHECK(result.TextArray(0, 2) == std::vector<std::string_view>{"x", ""});
  CHECK(result.ByteaArray(0, 3).empty());
  CHECK(result.Int(0, 4) == 0);
  CHECK(result.Bytes(0, 5) == bytes);
  CHECK(result.Bool(0, 6));
  CHECK(result.Bool(0, 7));
}

TEST_CASE("connection_optional_values_are_null_when_absent") {
  auto connection = NewConnection();
  Params params;
  params.OptionalText(std::nullopt).OptionalTimestamp(std::nullopt).OptionalText("").Int8(7);
  params.Bytea("b");
  Result result = ValueOf(
      connection->ExecuteOnce("select $1, $2, $3, $4, $5, null::int8, null::bytea", params));
  CHECK(result.OptionalText(0, 0) == std::nullopt);
  CHECK(result.OptionalTimestamp(0, 1) == std::nullopt);
  CHECK(result.OptionalText(0, 2) == "");
  CHECK(result.OptionalInt(0, 3) == 7);
  CHECK(result.OptionalBytes(0, 4) == "b");
  CHECK(result.OptionalInt(0, 5) == std::nullopt);
  CHECK(result.OptionalBytes(0, 6) == std::nullopt);
}

TEST_CASE("connection_times_are_rounded_up_to_the_microsecond") {
  auto connection = NewConnection();
  absl::Time whole = absl::FromUnixMicros(1'700'000'000'000'001);
  auto stored = [&](absl::Time time) {
    return ValueOf(connection->ExecuteOnce("select $1", Params().Timestamp(time))).Timestamp(0, 0);
  };
  CHECK(stored(whole) == whole);
  CHECK(stored(whole + absl::Nanoseconds(1)) == whole + absl::Microseconds(1));
  CHECK(stored(absl::FromUnixNanos(-1)) == absl::UnixEpoch());
  CHECK(stored(absl::FromUnixNanos(-1001)) == absl::FromUnixMicros(-1));
  CHECK(stored(absl::InfiniteFuture()) == absl::InfiniteFuture());
  CHECK(stored(absl::InfinitePast()) == absl::InfinitePast());
}

TEST_CASE("connection_errors_carry_the_sqlstate_and_no_stored_values") {
  auto connection = NewConnection();
  MustBeOk(connection->RunScript("create table t (secret text not null, n int not null)"));
  absl::Status status =
      connection->ExecuteOnce("insert into t values ($1, null)", Params().Text("hunter2")).status();
  CHECK(Sqlstate(status) == "23502");
  CHECK(std::string(status.message()).find("hunter2") == std::string::npos);
  CHECK(connection->connected());

  status = connection->ExecuteOnce("select 1 from missing").status();
  CHECK(Sqlstate(status) == "42P01");
  CHECK(status.code() == absl::StatusCode::kInternal);
  status = connection->ExecuteOnce("select $1::text", Params().Text("\xff")).status();
  CHECK(Sqlstate(status) == "22021");
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK(connection->ExecuteOnce("select 1").ok());
}

TEST_CASE("connection_finds_nothing_of_others_by_the_names_of_postgresql") {
  ConnectionOptions options;
  options.url = PostgresFixture::Shared().NewDatabase();
  auto connection = ValueOf(Connection::Connect(options));
  MustBeOk(connection->RunScript(
      "create function public.lower(int) returns text language sql as 'select 1::text'"));
  CHECK(Sqlstate(connection->ExecuteOnce("select lower(1)").status()) == "42883");
}

TEST_CASE("connection_session_settings_are_applied") {
  ConnectionOptions options;
  options.statement_timeout = absl::Milliseconds(1234);
  options.extra_settings = {{"plan_cache_mode", "force_generic_plan"}};
  auto connection = NewConnection(options);
  auto setting = [&](const std::string& name) {
    Result result =
        ValueOf(connection->ExecuteOnce("select current_setting($1)", Params().Text(name)));
    return std::string(result.Text(0, 0));
  };
  CHECK(setting("statement_timeout") == "1234ms");
  CHECK(setting("lock_timeout") == "10s");
  CHECK(setting("idle_in_transaction_session_timeout") == "30s");
  CHECK(setting("TimeZone") == "UTC");
  CHECK(setting("DateStyle") == "ISO, MDY");
  CHECK(setting("client_encoding") == "UTF8");
  CHECK(setting("jit") == "off");
  CHECK(setting("plan_cache_mode") == "force_generic_plan");
  CHECK(setting("application_name") == "durabletask-sidecar");
  CHECK(setting("synchronous_commit") == "on");
}

TEST_CASE("connection_commits_are_never_asynchronous_by_the_servers_default") {
  std::string url = PostgresFixture::Shared().NewDatabase();
  auto setup = PostgresFixture::Connect(url);
  MustBeOk(
      setup->RunScript("do $$begin execute format('alter database %I set synchronous_commit "
                       "= off', current_database()); end$$"));
  auto value = [&](Durability durability) {
    ConnectionOptions options;
    options.url = url;
    options.durability = durability;
    auto connection = ValueOf(Connection::Connect(options));
    Result result = ValueOf(connection->ExecuteOnce("show synchronous_commit"));
    return std::string(result.Text(0, 0));
  };
  CHECK(value(Durability::kDurable) == "on");
  CHECK(value(Durability::kAsynchronous) == "off");
}

TEST_CASE("connection_prepares_again_when_the_result_type_changed") {
  auto connection = NewConnection();
  MustBeOk(connection->RunScript("create table t (a int); insert into t values (1)"));
  Statement statement{"read", "select * from t"};
  CHECK(ValueOf(connection->Execute(statement, {})).columns() == 1);
  MustBeOk(connection->RunScript("alter table t add b int"));
  CHECK(ValueOf(connection->Execute(statement, {})).columns() == 2);
  MustBeOk(connection->RunScript("deallocate all"));
  CHECK(ValueOf(connection->Execute(statement, {})).columns() == 2);
  // In a transaction the first error has already ended it: no silent repeat.
  MustBeOk(connection->RunScript("alter table t add c int"));
  MustBeOk(connection->RunScript("begin"));
  CHECK(Sqlstate(connection->Execute(statement, {}).status()) == "0A000");
  MustBeOk(connection->RunScript("rollback"));
  CHECK(ValueOf(connection->Execute(statement, {})).columns() == 3);
}

TEST_CASE("connection_prepares_nothing_when_the_setting_is_off") {
  ConnectionOptions options;
  options.prepared_statements = PreparedStatements::kOff;
  auto connection = NewConnection(options);
  CHECK(ValueOf(connection->Execute({"one", "select $1"}, Params().Int4(1))).Int(0, 0) == 1);
  Result left = ValueOf(connection->ExecuteOnce("select count(*) from pg_prepared_statements"));
  CHECK(left.Int(0, 0) == 0);
}

TEST_CASE("connection_cancel_ends_the_statement_in_flight") {
  auto connection = NewConnection();
  auto watcher = PostgresFixture::Connect(PostgresFixture::Shared().cluster().url());
  std::unique_ptr<Canceler> canceler = connection->canceler();
  int pid = connection->backend_pid();
  absl::Status status;
  std::thread thread([&] { status = connection->ExecuteOnce("select pg_sleep(60)").status(); });
  Params of_pid;
  of_pid.Int4(pid);
  while (ValueOf(watcher->ExecuteOnce("select 1 from pg_stat_activity where pid = $1 and "
                                      "wait_event = 'PgSleep'",
                                      of_pid))
             .rows() == 0) {
  }
  CHECK(canceler->Cancel().ok());
  thread.join();
  CHECK(Sqlstate(status) == "57014");
  CHECK(connection->ExecuteOnce("select 1").ok());
}

TEST_CASE("connection_lost_is_told_and_found_while_idle") {
  auto connection = NewConnection();
  auto other = PostgresFixture::Connect(PostgresFixture::Shared().cluster().url());
  Params of_pid;
  of_pid.Int4(connection->backend_pid());
  CHECK(connection->StillConnected());
  // Waits up to a minute for the end of the session.
  Result ended = ValueOf(other->ExecuteOnce("select pg_terminate_backend($1, 60000)", of_pid));
  REQUIRE(ended.Bool(0, 0));
  CHECK_FALSE(connection->StillConnected());
  absl::Status status = connection->ExecuteOnce("select 1").status();
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK(Classify(status) == FaultClass::kReconnect);
}

TEST_CASE("connection_refused_says_why") {
  ConnectionOptions options;
  options.url = PostgresFixture::Shared().cluster().UrlOf("no_such_database");
  absl::Status status = Connection::Connect(options).status();
  CHECK(Sqlstate(status) == "3D000");
  options.url = "host=/nonexistent dbname=x";
  status = Connection::Connect(options).status();
  CHECK(Sqlstate(status) == kCannotConnect);
  CHECK(Classify(status) == FaultClass::kReconnect);
  options.url = "postgresql://h/x?colour=blue";
  status = Connection::Connect(options).status();
  CHECK(std::string(status.message()).find("colour") != std::string::npos);
}

TEST_CASE("connection_large_values_pass") {
  auto connection = NewConnection();
  std::string large(20 << 20, 'x');
  Params params;
  params.Bytea(large);
  Result result = ValueOf(connection->ExecuteOnce("select $1", params));
  CHECK(result.Bytes(0, 0) == large);
}

TEST_CASE("connection_notifications_arrive_and_waiting_can_be_woken") {
  std::string url = PostgresFixture::Shared().NewDatabase();
  auto listener = PostgresFixture::Connect(url);
  auto sender = PostgresFixture::Connect(url);
  MustBeOk(listener->RunScript("listen \"dt/x\""));
  MustBeOk(sender->RunScript("notify \"dt/x\", 'hello'"));
  auto got = ValueOf(listener->WaitForNotifications(absl::Seconds(60)));
  REQUIRE(got.size() == 1);
  CHECK(got[0].channel == "dt/x");
  CHECK(got[0].payload == "hello");
  CHECK(got[0].backend_pid == sender->backend_pid());
  CHECK(ValueOf(listener->WaitForNotifications(absl::Milliseconds(1))).empty());
}

TEST_CASE("connection_quotes_names_and_values") {
  auto connection = NewConnection();
  std::string value = R"(it's \ "odd")";
  Result result = ValueOf(connection->ExecuteOnce("select " + Connection::QuoteLiteral(value) +
                                                  " as " + Connection::QuoteIdentifier(value)));
  CHECK(result.Text(0, result.Column(value)) == value);
}

}  // namespace
}  // namespace dt::postgres
