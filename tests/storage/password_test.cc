// Passwords that change while the daemon runs.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_replace.h"
#include "storage/postgres/password_source.h"
#include "tests/storage/lane_bench.h"
#include "tests/support/log_capture.h"

namespace dt::postgres {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(10);

// A file in a directory of its own, removed at the end.
class PasswordFile {
 public:
  PasswordFile() {
    char name[] = "/tmp/dt-password-XXXXXX";
    directory_ = mkdtemp(name);
  }
  ~PasswordFile() { std::filesystem::remove_all(directory_); }
  PasswordFile(const PasswordFile&) = delete;
  PasswordFile& operator=(const PasswordFile&) = delete;

  std::string path() const { return directory_ + "/password"; }
  // Exchanged at once, as mounted secrets are.
  void Write(const std::string& text) const {
    const std::string fresh = directory_ + "/fresh";
    std::ofstream(fresh) << text;
    std::filesystem::rename(fresh, path());
  }
  void Remove() const { std::filesystem::remove(path()); }

 private:
  std::string directory_;
};

absl::StatusOr<std::string> Print(const std::string& command, absl::Duration timeout = kTimeout) {
  return ReadPassword({"", command}, timeout);
}

TEST_CASE("password_is_what_the_file_holds_now") {
  const PasswordFile file;
  const PasswordSource source{file.path(), ""};
  const auto missing = ReadPassword(source, kTimeout);
  CHECK(absl::IsUnavailable(missing.status()));
  CHECK(std::string(missing.status().message()).find(file.path()) != std::string::npos);
  for (const char* text : {"one", "two\n", " t h r e e\r\n"}) {
    file.Write(text);
    const std::string expected =
        std::string(text).substr(0, std::string(text).find_first_of("\r\n"));
    CHECK(ValueOf(ReadPassword(source, kTimeout)) == expected);
  }
  for (const std::string& bad : {std::string(), std::string("\n"), std::string("a\nb"),
                                 std::string("a\0b", 3), std::string(65537, 'x')}) {
    file.Write(bad);
    CHECK(absl::IsUnavailable(ReadPassword(source, kTimeout).status()));
  }
}

TEST_CASE("password_is_what_the_command_prints") {
  CHECK(ValueOf(Print("printf secret")) == "secret");
  CHECK(ValueOf(Print("echo of stderr >&2; echo secret")) == "secret");
  setenv("DT_TEST_REGION", "north", 1);
  CHECK(ValueOf(Print("echo $DT_TEST_REGION")) == "north");
  const auto failed = Print("echo secret; exit 3");
  CHECK(absl::IsUnavailable(failed.status()));
  CHECK(std::string(failed.status().message()) ==
        "there is no password for PostgreSQL: the command of postgres.password-command exited with "
        "3; run it by hand to see why");
  CHECK(absl::IsUnavailable(Print("kill -9 $$").status()));
  CHECK(absl::IsUnavailable(Print("true").status()));
  CHECK(absl::IsUnavailable(Print("yes").status()));
}

TEST_CASE("password_command_that_does_not_end_is_ended_with_its_children") {
  for (const char* command :
       {"sleep 1000", "echo secret; exec >&-; sleep 1000", "sleep 1000 & wait"}) {
    const absl::Time begin = absl::Now();
    const auto password = Print(command, absl::Milliseconds(200));
    CHECK(absl::IsUnavailable(password.status()));
    CHECK(std::string(password.status().message()).find("did not end within 200ms") !=
          std::string::npos);
    CHECK(absl::Now() - begin < kTimeout);
  }
}

// A database, and a login that needs a password there.
class Rotation {
 public:
  Rotation()
      : url_(PostgresFixture::Shared().NewDatabase()), admin_(PostgresFixture::Connect(url_)) {
    const auto found = ValueOf(admin_->ExecuteOnce("select current_setting('hba_file')"));
    hba_file_ = std::string(found.Text(0, 0));
    std::ifstream hba(hba_file_);
    hba_before_.assign(std::istreambuf_iterator<char>(hba), {});
    WriteHba("local all rotating scram-sha-256\n" + hba_before_);
    MustBeOk(admin_->RunScript("drop role if exists rotating; create role rotating login"));
    Change("one");
    options_.url = absl::StrReplaceAll(url_, {{"user=postgres", "user=rotating"}});
    options_.password.file = file_.path();
  }
  ~Rotation() { WriteHba(hba_before_); }

  // The server wants another one from now on.
  void Change(const std::string& password) {
    MustBeOk(admin_->RunScript("alter role rotating password '" + password + "'"));
  }
  absl::Status Connect() const { return Connection::Connect(options_).status(); }
  const PasswordFile& file() const { return file_; }
  ConnectionOptions& options() { return options_; }
  Connection& admin() { return *admin_; }

 private:
  void WriteHba(const std::string& text) {
    std::ofstream(hba_file_) << text;
    MustBeOk(admin_->RunScript("select pg_reload_conf()"));
    // The reload is asynchronous; a new session sees whether it has happened.
    const std::string sql =
        "select count(*) from pg_hba_file_rules where 'rotating' = any (user_name)";
    while (ValueOf(admin_->ExecuteOnce(sql)).Int(0, 0) != (text == hba_before_ ? 0 : 1)) {
    }
  }

  const PasswordFile file_;
  std::string url_;
  std::unique_ptr<Connection> admin_;
  std::string hba_file_;
  std::string hba_before_;
  ConnectionOptions options_;
};

TEST_CASE("password_rotates_between_connections") {
  Rotation rotation;
  CHECK(absl::IsUnavailable(rotation.Connect()));  // no file yet
  rotation.file().Write("one\n");
  // A reload that the postmaster has not seen yet lets the login in without a password.
  rotation.options().password = {"", "echo wrong"};
  while (rotation.Connect().ok()) {
  }
  rotation.options().password = {rotation.file().path(), ""};
  MustBeOk(rotation.Connect());
  rotation.Change("two");
  CHECK(absl::IsUnauthenticated(rotation.Connect()));
  rotation.file().Write("two");
  MustBeOk(rotation.Connect());
  rotation.options().password = {"", "cat " + rotation.file().path()};
  MustBeOk(rotation.Connect());
}

TEST_CASE("password_rotates_under_a_lane") {
  testing::LogCapture log;
  Rotation rotation;
  rotation.file().Write("one");
  WriteVerb verb("w");
  LaneOptions options;
  options.connection.password.file = rotation.file().path();
  options.connection.age_max = absl::Nanoseconds(1);
  Bench bench(options);
  MustBeOk(bench.Submit(&verb, "k", "1"));
  bench.ends.WaitFor(1);
  CHECK(bench.lane->counters().connects == 1);
  // There is none for a new connection, so the old one stays, although its time is over.
  rotation.file().Remove();
  MustBeOk(bench.Submit(&verb, "k", "2"));
  bench.ends.WaitFor(2);
  CHECK(bench.lane->counters().connects == 1);
  CHECK(log.Has("is 1ns old and stays, as there is no new one"));
  // It breaks, and what is submitted waits for the password.
  MustBeOk(bench.session
               ->ExecuteOnce("select pg_terminate_backend(pid, 60000) from pg_stat_activity where "
                             "datname = current_database() and pid <> pg_backend_pid()")
               .status());
  MustBeOk(bench.Submit(&verb, "k", "3"));
  while (!log.Has("there is no password for PostgreSQL")) {
  }
  rotation.file().Write("two");
  bench.ends.WaitFor(3);
  CHECK(bench.ends.failed() == 0);
}

}  // namespace
}  // namespace dt::postgres
