#include "tests/support/pooler_fixture.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "storage/postgres/child_process.h"
#include "tests/support/postgres_fixture.h"

namespace dt::testing {
namespace {

constexpr char kProgram[] = "/usr/sbin/pgbouncer";
constexpr int kPort = 6432;

struct CloseConnection {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};

// The pooler's own console speaks the simple protocol only. False while it cannot be reached.
bool RunOnConsole(const std::string& url, const std::string& sql) {
  const std::unique_ptr<PGconn, CloseConnection> console(PQconnectdb(url.c_str()));
  PGresult* result = PQexec(console.get(), sql.c_str());
  const ExecStatusType status = PQresultStatus(result);
  PQclear(result);
  return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
}

}  // namespace

PoolerFixture::PoolerFixture(const std::string& mode, int sessions) {
  std::string path = (std::filesystem::temp_directory_path() / "dt-pooler-XXXXXX").string();
  if (mkdtemp(path.data()) == nullptr) MustBeOk(absl::InternalError("mkdtemp " + path));
  directory_ = path;
  auto server = PostgresFixture::Connect(PostgresFixture::Shared().cluster().UrlOf("postgres"));
  server_socket_ = std::string(
      ValueOf(server->ExecuteOnce("select btrim(current_setting('unix_socket_directories'), '\"')"))
          .Text(0, 0));
  sessions_ = sessions;
  WriteSettings(mode);
  postgres::ProcessOptions options;
  options.arguments = {kProgram, SettingsFile()};
  // Like PostgreSQL it refuses to run as root.
  options.user = ValueOf(postgres::UserForPostgres("postgres"));
  if (!options.user.is_caller && chown(path.c_str(), options.user.uid, options.user.gid) != 0) {
    MustBeOk(absl::InternalError("chown " + path));
  }
  options.signal_when_parent_ends = SIGKILL;
  process_ = ValueOf(postgres::StartProcess(options));
  while (!RunOnConsole(UrlOf("pgbouncer"), "show version")) {
    if (!postgres::IsRunning(process_)) {
      MustBeOk(absl::NotFoundError(absl::StrCat(
          kProgram, " does not run; install the Debian package pgbouncer (deploy/install test)")));
    }
  }
}

PoolerFixture::~PoolerFixture() {
  kill(process_, SIGKILL);
  MustBeOk(postgres::WaitForEnd(process_, absl::Seconds(60)));
  std::error_code left_over;
  std::filesystem::remove_all(directory_, left_over);
}

std::string PoolerFixture::UrlOf(const std::string& database) const {
  return absl::StrCat("postgresql:///", database, "?host=", directory_, "&port=", kPort,
                      "&user=postgres");
}

std::string PoolerFixture::SettingsFile() const {
  return absl::StrCat(directory_, "/pgbouncer.ini");
}

void PoolerFixture::WriteSettings(const std::string& mode) const {
  std::ofstream(SettingsFile())
      << "[databases]\n* = host=" << server_socket_
      << " port=5432 user=postgres\n[pgbouncer]\nlisten_addr =\nlisten_port = " << kPort
      << "\nunix_socket_dir = " << directory_ << "\nauth_type = any\npool_mode = " << mode
      << "\ndefault_pool_size = " << sessions_
      << "\nmax_client_conn = 200\nadmin_users = postgres\n";
}

void PoolerFixture::ChangeMode(const std::string& mode) {
  WriteSettings(mode);
  if (!RunOnConsole(UrlOf("pgbouncer"), "reload")) {
    MustBeOk(absl::InternalError("the pooler does not read its settings again"));
  }
}

std::string DatabaseOf(const std::string& url) {
  const size_t begin = url.find(":///") + 4;
  return url.substr(begin, url.find('?') - begin);
}

}  // namespace dt::testing
