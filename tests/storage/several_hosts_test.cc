// Several hosts in the URL: the one that takes writes is found, and found again when another one
// does (deploy/DATABASE.md).
#include "storage/postgres/private_cluster.h"
#include "tests/storage/lane_bench.h"

namespace dt::postgres {
namespace {

// A server that takes writes or does not, as a primary and its standby.
class Host {
 public:
  explicit Host(PostgresFixture& server) {
    const auto admin = PostgresFixture::Connect(server.cluster().url());
    MustBeOk(admin->RunScript("drop database if exists several_hosts with (force)"));
    MustBeOk(admin->RunScript("create database several_hosts template template0"));
    const Result found = ValueOf(
        admin->ExecuteOnce("select trim('\"' from current_setting('unix_socket_directories')),"
                           " current_setting('port')"));
    directory = std::string(found.Text(0, 0));
    port = std::string(found.Text(0, 1));
    session = PostgresFixture::Connect(server.cluster().UrlOf("several_hosts"));
    MustBeOk(session->RunScript(kTables));
    MustBeOk(session->RunScript(kWriteLog));
  }
  // For statements of other sessions, too, from now on.
  void TakeWrites(bool takes) {
    const std::string read_only = takes ? "off" : "on";
    MustBeOk(session->RunScript(
        absl::StrCat("alter system set default_transaction_read_only = ", read_only)));
    MustBeOk(session->RunScript("select pg_reload_conf()"));
    const std::string show = "select current_setting('default_transaction_read_only')";
    while (ValueOf(session->ExecuteOnce(show)).Text(0, 0) != read_only) {
    }
  }
  int64_t Writes() { return ValueOf(session->ExecuteOnce("select count(*) from log")).Int(0, 0); }

  std::string directory;
  std::string port;
  std::unique_ptr<Connection> session;
};

TEST_CASE("lane_finds_the_host_that_takes_writes_and_another_one_after_a_failover") {
  PostgresFixture second_server{PrivateClusterOptions()};
  Host first(PostgresFixture::Shared());
  Host second(second_server);
  first.TakeWrites(false);
  Ends ends;
  WriteVerb verb("w");
  LaneOptions options;
  options.connection.extra_settings = {{"search_path", "public"}};
  options.connection.url = absl::StrCat("host=", first.directory, ",", second.directory,
                                        " port=", first.port, ",", second.port,
                                        " dbname=several_hosts user=postgres"
                                        " target_session_attrs=read-write");
  Lane lane(options);
  const auto submit = [&](const std::string& value) {
    auto write = std::make_unique<Write>(&verb, &ends);
    write->value = value;
    write->hub = 1;
    std::unique_ptr<Operation> operation = std::move(write);
    MustBeOk(lane.Submit(operation));
  };
  submit("1");
  ends.WaitFor(1);
  CHECK(second.Writes() == 1);
  // The connection is open, and its server takes no writes any more.
  second.TakeWrites(false);
  first.TakeWrites(true);
  submit("2");
  ends.WaitFor(2);
  CHECK(ends.failed() == 0);
  CHECK(first.Writes() == 1);
  CHECK(second.Writes() == 1);
  lane.Stop(absl::Seconds(1));
}

}  // namespace
}  // namespace dt::postgres
