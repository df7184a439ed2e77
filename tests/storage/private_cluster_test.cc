// The private server of `dev`: made once, kept, found again, refused with advice.
#include "storage/postgres/private_cluster.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/support/catch.h"
#include "tests/support/postgres_fixture.h"

namespace dt::postgres {
namespace {

namespace fs = std::filesystem;
using testing::MustBeOk;
using testing::PostgresFixture;
using testing::ValueOf;

// A directory that goes at the end, with no server left in it.
class DataDir {
 public:
  DataDir() {
    path = (fs::temp_directory_path() / "dt-cluster-XXXXXX").string();
    REQUIRE(mkdtemp(path.data()) != nullptr);
    REQUIRE(chmod(path.c_str(), 0711) == 0);
  }
  ~DataDir() { fs::remove_all(path); }
  PrivateClusterOptions options() const {
    PrivateClusterOptions options;
    options.data_dir = path;
    options.ends_with_thread = true;
    options.durable = false;  // the disk is slow, and most tests need none
    options.settings = {{"shared_buffers", "32MB"}};
    return options;
  }
  std::string path;
};

int64_t ReadBack(const std::string& url) {
  return ValueOf(PostgresFixture::Connect(url)->ExecuteOnce("select a from public.t")).Int(0, 0);
}

TEST_CASE("private_cluster_keeps_its_data_between_runs_and_after_a_crash") {
  DataDir dir;
  PrivateClusterOptions options = dir.options();
  options.durable = true;
  auto cluster = ValueOf(PrivateCluster::Start(options));
  std::string url = cluster->url();
  auto session = PostgresFixture::Connect(url);
  Result facts = ValueOf(session->ExecuteOnce(
      "select current_database()::text, current_setting('fsync'), "
      "current_setting('synchronous_commit'), current_setting('listen_addresses'), "
      "current_setting('server_encoding'), (select datcollate::text from pg_database where datname "
      "= current_database())"));
  CHECK(facts.Text(0, 0) == "durabletask");
  CHECK(facts.Text(0, 1) == "on");
  CHECK(facts.Text(0, 2) == "on");
  CHECK(facts.Text(0, 3) == "");
  CHECK(facts.Text(0, 4) == "UTF8");
  CHECK(facts.Text(0, 5) == "C");
  MustBeOk(session->RunScript("create table public.t as select 1 as a"));
  pid_t pid = cluster->pid();
  cluster.reset();
  CHECK_FALSE(IsRunning(pid));

  cluster = ValueOf(PrivateCluster::Start(options));
  CHECK_FALSE(cluster->was_running());
  CHECK(cluster->url() == url);
  CHECK(ReadBack(url) == 1);
  MustBeOk(cluster->Kill());
  MustBeOk(cluster->StartAgain());
  CHECK(ReadBack(url) == 1);
}

TEST_CASE("private_cluster_finds_the_server_that_outlived_its_daemon") {
  DataDir dir;
  PrivateClusterOptions options = dir.options();
  options.ends_with_thread = false;
  pid_t daemon = fork();
  if (daemon == 0) {
    auto started = PrivateCluster::Start(options);
    _exit(started.ok() ? 0 : 1);  // like kill -9: no destructor runs
  }
  int result = 0;
  waitpid(daemon, &result, 0);
  REQUIRE(WIFEXITED(result));
  REQUIRE(WEXITSTATUS(result) == 0);

  auto cluster = ValueOf(PrivateCluster::Start(options));
  CHECK(cluster->was_running());
  pid_t pid = cluster->pid();
  MustBeOk(PostgresFixture::Connect(cluster->url())->ExecuteOnce("select 1").status());
  MustBeOk(cluster->Stop());
  CHECK_FALSE(IsRunning(pid));
}

TEST_CASE("private_cluster_refuses_a_directory_in_use") {
  DataDir dir;
  auto cluster = ValueOf(PrivateCluster::Start(dir.options()));
  absl::Status status = PrivateCluster::Start(dir.options()).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(std::string(status.message()).find("in use by process " + std::to_string(getpid())) !=
        std::string::npos);
}

TEST_CASE("private_cluster_refuses_the_data_of_another_version") {
  DataDir dir;
  fs::create_directory(dir.path + "/postgres");
  std::ofstream(dir.path + "/postgres/PG_VERSION") << "9.6\n";
  absl::Status status = PrivateCluster::Start(dir.options()).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(std::string(status.message()).find("belongs to PostgreSQL 9.6") != std::string::npos);
  CHECK(std::string(status.message()).find("pg_upgrade") != std::string::npos);
}

TEST_CASE("private_cluster_refuses_directories_it_cannot_use") {
  PrivateClusterOptions options;
  absl::Status status = PrivateCluster::Start(options).status();
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  options.data_dir = "/tmp/" + std::string(120, 'x');
  status = PrivateCluster::Start(options).status();
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK_FALSE(fs::exists(options.data_dir));
  options.data_dir = "/proc/nothing";
  status = PrivateCluster::Start(options).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(std::string(status.message()).find("--data-dir") != std::string::npos);
}

TEST_CASE("private_cluster_tells_why_the_server_did_not_start") {
  DataDir dir;
  PrivateClusterOptions options = dir.options();
  options.settings = {{"shared_buffers", "nonsense"}};
  absl::Status status = PrivateCluster::Start(options).status();
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK(std::string(status.message()).find("nonsense") != std::string::npos);
  // The next start is not harmed by it.
  CHECK(PrivateCluster::Start(dir.options()).ok());
}

TEST_CASE("private_cluster_begins_anew_after_an_unfinished_first_start") {
  DataDir dir;
  fs::create_directory(dir.path + "/postgres.unfinished");
  std::ofstream(dir.path + "/postgres.unfinished/half") << "written";
  auto cluster = ValueOf(PrivateCluster::Start(dir.options()));
  MustBeOk(PostgresFixture::Connect(cluster->url())->ExecuteOnce("select 1").status());
}

// A symbolic link of another user's in the directory that root uses.
void PlantLink(const std::string& target, const std::string& link) {
  fs::create_symlink(target, link);
  REQUIRE(lchown(link.c_str(), 65534, 65534) == 0);
}

TEST_CASE("private_cluster_of_root_is_led_nowhere_by_links") {
  if (geteuid() != 0) {
    WARN("only root can make links of other users");
    return;
  }
  const DataDir dir;
  const DataDir victim;
  const std::string name =
      GENERATE("socket", "lock", "postgres", "postgres.unfinished", "initdb.log", "postgres.log");
  INFO(name);
  const bool is_file = name == "lock" || name == "initdb.log" || name == "postgres.log";
  const std::string file = victim.path + "/file";
  std::ofstream(file) << "precious\n";
  PlantLink(is_file ? file : victim.path, dir.path + "/" + name);
  const absl::Status status = PrivateCluster::Start(dir.options()).status();
  INFO(status.ToString());
  // The unfinished cluster of an earlier start is removed: that was the link, and no more.
  CHECK(status.ok() == (name == "postgres.unfinished"));
  if (!status.ok()) {
    CHECK(std::string(status.message()).find(dir.path + "/" + name) != std::string::npos);
  }
  struct stat found {};
  REQUIRE(stat(victim.path.c_str(), &found) == 0);
  CHECK(found.st_uid == 0);
  CHECK((found.st_mode & 07777) == 0711);
  CHECK(std::distance(fs::directory_iterator(victim.path), {}) == 1);
  CHECK(fs::file_size(file) == 9);
}

TEST_CASE("private_cluster_of_root_refuses_the_directory_of_another_user") {
  if (geteuid() != 0) {
    WARN("only root can give a directory away");
    return;
  }
  const DataDir dir;
  REQUIRE(chown(dir.path.c_str(), 65534, 65534) == 0);
  const absl::Status status = PrivateCluster::Start(dir.options()).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK(std::string(status.message()).find("belongs to") != std::string::npos);
  CHECK(fs::is_empty(dir.path));
}

TEST_CASE("private_cluster_keeps_the_environment_and_the_network_from_its_server") {
  const DataDir dir;
  setenv("DTPG_TEST_SECRET", "of-the-caller", 1);
  auto cluster = ValueOf(PrivateCluster::Start(dir.options()));
  unsetenv("DTPG_TEST_SECRET");
  auto session = PostgresFixture::Connect(cluster->url());
  MustBeOk(session->RunScript(
      "create table public.e(line text); copy public.e from program 'env' delimiter E'\\x01'"));
  const Result variables = ValueOf(
      session->ExecuteOnce("select count(*) filter (where line like 'PATH=%'), "
                           "count(*) filter (where line like '%of-the-caller%') from public.e"));
  CHECK(variables.Int(0, 0) == 1);
  CHECK(variables.Int(0, 1) == 0);
  const Result rules = ValueOf(session->ExecuteOnce(
      "select string_agg(distinct auth_method, ',') filter (where type = 'local'), "
      "string_agg(distinct auth_method, ',') filter (where type <> 'local') "
      "from pg_hba_file_rules"));
  CHECK(rules.Text(0, 0) == "trust");
  CHECK(rules.Text(0, 1) == "reject");
}

// Whoever owns a directory above may put his own server in the place of ours.
TEST_CASE("private_cluster_of_root_trusts_no_other_server_at_its_socket") {
  if (geteuid() != 0) {
    WARN("only root runs its server as another user");
    return;
  }
  const DataDir dir;
  auto cluster = ValueOf(PrivateCluster::Start(dir.options()));
  const std::string socket_path = dir.path + "/socket/.s.PGSQL.5432";
  fs::rename(dir.path + "/socket", dir.path + "/away");
  fs::create_directory(dir.path + "/socket");
  const Descriptor imposter(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE(socket_path.size() < sizeof(address.sun_path));
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size() + 1);
  REQUIRE(bind(imposter.number(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) ==
          0);
  REQUIRE(listen(imposter.number(), 8) == 0);
  ConnectionOptions options;
  options.url = cluster->url();
  options.connect_timeout = absl::Seconds(2);
  const absl::Status status = Connection::Connect(options).status();
  CHECK(std::string(status.message()).find("requirepeer") != std::string::npos);
}

}  // namespace
}  // namespace dt::postgres
