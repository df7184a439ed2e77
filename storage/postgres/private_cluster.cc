#include "storage/postgres/private_cluster.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

#include "absl/random/random.h"
#include "fmt/format.h"
#include "spdlog/spdlog.h"
#include "storage/postgres/backoff.h"
#include "storage/postgres/connection.h"
#include "storage/postgres/sqlstate.h"
#include "storage/postgres/steady_clock.h"

namespace dt::postgres {
namespace {

namespace fs = std::filesystem;

constexpr int kOldestMajor = 14;
constexpr int kPort = 5432;  // of a socket in a directory of its own, so it collides with nobody
constexpr size_t kSocketPathMax = 107;
constexpr int64_t kLogBytesMax = 64 << 20;

absl::Status FileError(const std::string& what, const std::string& path, int error) {
  return absl::FailedPreconditionError(fmt::format("{} {}: {}", what, path, std::strerror(error)));
}

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The major version in "postgres (PostgreSQL) 15.20 (Debian ...)"; 0 if there is none.
int MajorVersionOf(const std::string& programs) {
  absl::StatusOr<std::string> line = FirstOutputLine({programs + "/postgres", "--version"});
  if (!line.ok()) return 0;
  size_t at = line->find("(PostgreSQL) ");
  return at == std::string::npos ? 0 : std::atoi(line->c_str() + at + 13);
}

bool HasPrograms(const fs::path& directory) {
  return access((directory / "initdb").c_str(), X_OK) == 0 &&
         access((directory / "postgres").c_str(), X_OK) == 0;
}

// Where PostgreSQL may be installed: the directories of PATH, then Debian's and Red Hat's places.
std::vector<fs::path> ProgramDirectories() {
  std::vector<fs::path> found;
  const char* path = std::getenv("PATH");
  std::stringstream directories(path == nullptr ? "" : path);
  for (std::string directory; std::getline(directories, directory, ':');) {
    if (!directory.empty() && HasPrograms(directory)) found.push_back(directory);
  }
  std::error_code ignored;  // a missing directory has no entries
  for (const auto& entry : fs::directory_iterator("/usr/lib/postgresql", ignored)) {
    if (HasPrograms(entry.path() / "bin")) found.push_back(entry.path() / "bin");
  }
  for (const auto& entry : fs::directory_iterator("/usr", ignored)) {
    if (entry.path().filename().string().rfind("pgsql-", 0) == 0 &&
        HasPrograms(entry.path() / "bin")) {
      found.push_back(entry.path() / "bin");
    }
  }
  return found;
}

std::string PercentEncode(const std::string& text) {
  std::string encoded;
  for (unsigned char c : text) {
    if (std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == '/') {
      encoded += static_cast<char>(c);
    } else {
      encoded += fmt::format("%{:02X}", c);
    }
  }
  return encoded;
}

// The processes whose working directory is this one.
std::vector<pid_t> ProcessesIn(const std::string& directory) {
  std::vector<pid_t> found;
  std::error_code error;
  fs::path wanted = fs::canonical(directory, error);
  if (error) return found;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    pid_t pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0) continue;
    std::error_code gone;  // the process ended meanwhile, or is not ours to look at
    if (fs::read_symlink(entry.path() / "cwd", gone) == wanted && !gone) found.push_back(pid);
  }
  return found;
}

// Brings what was written to the disk, in one call: many times faster than initdb's file by file.
absl::Status SyncFileSystem(const std::string& directory) {
  int descriptor = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return FileError("cannot open", directory, errno);
  int failed = syncfs(descriptor) != 0 ? errno : 0;
  close(descriptor);
  return failed == 0 ? absl::OkStatus() : FileError("cannot sync", directory, failed);
}

absl::Status MakePrivateDirectory(const std::string& path, const SystemUser& user) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return FileError("cannot make the directory", path, errno);
  }
  if (chown(path.c_str(), user.uid, user.gid) != 0 || chmod(path.c_str(), 0700) != 0) {
    return FileError("cannot give PostgreSQL the directory", path, errno);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<PrivateCluster>> PrivateCluster::Start(
    PrivateClusterOptions options) {
  std::error_code error;
  fs::path absolute = fs::absolute(options.data_dir, error);
  if (options.data_dir.empty() || error) {
    return absl::InvalidArgumentError("the data directory is not given; use --data-dir DIR");
  }
  options.data_dir = absolute.lexically_normal().string();
  while (options.data_dir.size() > 1 && options.data_dir.back() == '/') options.data_dir.pop_back();
  std::unique_ptr<PrivateCluster> cluster(new PrivateCluster(std::move(options)));
  absl::StatusOr<SystemUser> user = UserForPostgres(cluster->options_.system_user);
  if (!user.ok()) return user.status();
  cluster->user_ = *std::move(user);
  if (absl::Status status = cluster->MakeDirectories(); !status.ok()) return status;
  if (absl::Status status = cluster->Lock(); !status.ok()) return status;
  if (absl::Status status = cluster->FindPrograms(); !status.ok()) return status;
  if (absl::Status status = cluster->Initialize(); !status.ok()) return status;
  if (absl::Status status = cluster->StartAgain(); !status.ok()) return status;
  return cluster;
}

PrivateCluster::~PrivateCluster() {
  if (absl::Status status = Stop(); !status.ok()) spdlog::error("{}", status.ToString());
  if (lock_ >= 0) close(lock_);
}

std::string PrivateCluster::PostgresDir() const { return options_.data_dir + "/postgres"; }
std::string PrivateCluster::SocketDir() const { return options_.data_dir + "/socket"; }
std::string PrivateCluster::log_file() const { return options_.data_dir + "/postgres.log"; }

std::string PrivateCluster::UrlOf(const std::string& database) const {
  return fmt::format("postgresql:///{}?host={}&port={}&user=postgres", PercentEncode(database),
                     PercentEncode(SocketDir()), kPort);
}

absl::Status PrivateCluster::MakeDirectories() {
  std::string socket = fmt::format("{}/.s.PGSQL.{}", SocketDir(), kPort);
  if (socket.size() > kSocketPathMax) {
    return absl::InvalidArgumentError(fmt::format(
        "the data directory's path {} is {} bytes too long for a unix socket; choose a shorter one "
        "with --data-dir",
        options_.data_dir, socket.size() - kSocketPathMax));
  }
  std::error_code error;
  bool existed = fs::exists(options_.data_dir, error);
  if (fs::create_directories(options_.data_dir, error); error) {
    return absl::FailedPreconditionError(
        fmt::format("cannot make the data directory {}: {}; choose another one with --data-dir",
                    options_.data_dir, error.message()));
  }
  // The server's user must reach the two directories inside, no more.
  if (!existed && !user_.is_caller && chmod(options_.data_dir.c_str(), 0711) != 0) {
    return FileError("cannot set the rights of", options_.data_dir, errno);
  }
  return MakePrivateDirectory(SocketDir(), user_);
}

absl::Status PrivateCluster::Lock() {
  std::string path = options_.data_dir + "/lock";
  lock_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_ < 0) return FileError("cannot open", path, errno);
  if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(
        fmt::format("the data directory {} is in use by process {}; stop that one, or choose "
                    "another directory with --data-dir",
                    options_.data_dir, FirstLine(path)));
  }
  std::string pid = fmt::format("{}\n", getpid());
  if (ftruncate(lock_, 0) != 0 || pwrite(lock_, pid.data(), pid.size(), 0) < 0) {
    return FileError("cannot write", path, errno);
  }
  return absl::OkStatus();
}

// The newest programs for a new directory; for an existing one those of its version only.
absl::Status PrivateCluster::FindPrograms() {
  std::string version = FirstLine(PostgresDir() + "/PG_VERSION");
  int wanted = std::atoi(version.c_str());
  int best = 0;
  std::string seen;
  for (const fs::path& directory : ProgramDirectories()) {
    int major = MajorVersionOf(directory.string());
    seen += fmt::format("{}{} (version {})", seen.empty() ? "" : ", ", directory.string(), major);
    if (major < kOldestMajor || major <= best || (wanted != 0 && major != wanted)) continue;
    best = major;
    programs_ = directory.string();
  }
  if (best != 0) return absl::OkStatus();
  if (seen.empty()) seen = "none";
  if (wanted != 0) {
    return absl::FailedPreconditionError(fmt::format(
        "the data directory {} belongs to PostgreSQL {}, but the installed ones are: {}; install "
        "postgresql-{}, or carry the data over with pg_upgrade, or start anew with another "
        "--data-dir",
        options_.data_dir, version, seen, version));
  }
  return absl::FailedPreconditionError(fmt::format(
      "no PostgreSQL server of version {} or later was found in PATH or /usr/lib/postgresql "
      "(found: "
      "{}); install the package postgresql, or use `serve --postgres URL` with a server elsewhere",
      kOldestMajor, seen));
}

absl::Status PrivateCluster::Initialize() {
  std::error_code error;
  if (fs::exists(PostgresDir() + "/PG_VERSION", error)) return absl::OkStatus();
  // Made under another name first: a directory of the final name is always complete.
  std::string unfinished = PostgresDir() + ".unfinished";
  if (fs::remove_all(unfinished, error); error) {
    return FileError("cannot remove", unfinished, error.value());
  }
  if (absl::Status status = MakePrivateDirectory(unfinished, user_); !status.ok()) return status;
  ProcessOptions initdb;
  initdb.arguments = {programs_ + "/initdb", "--pgdata=" + unfinished,
                      "--username=postgres", "--auth=trust",
                      "--encoding=UTF8",     "--locale=C",
                      "--no-instructions",   "--no-sync"};
  initdb.user = user_;
  initdb.directory = unfinished;
  initdb.output_file = options_.data_dir + "/initdb.log";
  if (absl::Status status = RunProcess(initdb); !status.ok()) {
    return absl::FailedPreconditionError(fmt::format(
        "cannot make a PostgreSQL cluster in {} as user {}; every directory above it must let this "
        "user pass (a home directory often does not): choose another one with --data-dir. {}",
        options_.data_dir, user_.name, status.ToString()));
  }
  if (options_.durable) {
    if (absl::Status status = SyncFileSystem(unfinished); !status.ok()) return status;
  }
  if (fs::rename(unfinished, PostgresDir(), error); error) {
    return FileError("cannot rename the new cluster to", PostgresDir(), error.value());
  }
  return options_.durable ? SyncFileSystem(options_.data_dir) : absl::OkStatus();
}

absl::Status PrivateCluster::StartAgain() {
  if (pid_ != 0 && IsRunning(pid_)) return absl::OkStatus();
  pid_ = FindRunningServer();
  was_running_ = pid_ != 0;
  if (!was_running_) {
    // Sessions of a server that was killed end by themselves a moment later, and until then a new
    // one refuses to start.
    for (pid_t session : ProcessesIn(PostgresDir())) {
      absl::Status status = WaitForEnd(session, options_.start_timeout);
      if (!status.ok()) return status;
    }
    if (absl::Status status = Launch(); !status.ok()) return status;
  }
  if (absl::Status status = WaitUntilReady(); !status.ok()) return status;
  return EnsureDatabase();
}

// postmaster.pid outlives a crash and numbers are used again, so the process must also have our
// directory as its working directory, as every PostgreSQL server does.
pid_t PrivateCluster::FindRunningServer() const {
  pid_t pid = std::atoi(FirstLine(PostgresDir() + "/postmaster.pid").c_str());
  if (pid <= 0 || !IsRunning(pid)) return 0;
  std::vector<pid_t> servers = ProcessesIn(PostgresDir());
  return std::find(servers.begin(), servers.end(), pid) == servers.end() ? 0 : pid;
}

absl::Status PrivateCluster::Launch() {
  std::error_code error;
  if (static_cast<int64_t>(fs::file_size(log_file(), error)) > kLogBytesMax && !error) {
    fs::rename(log_file(), log_file() + ".1", error);
  }
  std::vector<std::pair<std::string, std::string>> settings = {
      {"listen_addresses", ""},
      {"port", fmt::format("{}", kPort)},
      {"unix_socket_directories", fmt::format("\"{}\"", SocketDir())},
      {"unix_socket_permissions", "0700"},
      {"shared_buffers", "256MB"},
      {"max_wal_size", "4GB"},
      {"wal_compression", "on"},
      {"checkpoint_timeout", "15min"},
      {"autovacuum_naptime", "10s"},
      {"recovery_init_sync_method", "syncfs"},  // after a crash: not file by file
      {"jit", "off"},
      {"log_timezone", "UTC"},
      {"log_line_prefix", "%m [%p] %a "},
  };
  if (!options_.durable) {
    settings.insert(settings.end(), {{"fsync", "off"}, {"full_page_writes", "off"}});
  }
  settings.insert(settings.end(), options_.settings.begin(), options_.settings.end());
  ProcessOptions server;
  server.arguments = {programs_ + "/postgres", "-D", PostgresDir()};
  for (const auto& [name, value] : settings) {
    server.arguments.push_back("-c");
    server.arguments.push_back(name + "=" + value);
  }
  server.user = user_;
  server.directory = PostgresDir();
  server.output_file = log_file();
  if (options_.ends_with_thread) server.signal_when_parent_ends = SIGQUIT;
  absl::StatusOr<pid_t> pid = StartProcess(server);
  if (!pid.ok()) return pid.status();
  pid_ = *pid;
  return absl::OkStatus();
}

absl::Status PrivateCluster::WaitUntilReady() {
  ConnectionOptions options;
  options.url = UrlOf("postgres");
  absl::Time deadline = SteadyNow() + options_.start_timeout;
  Backoff backoff(absl::Milliseconds(5), absl::Milliseconds(100));
  absl::BitGen random;
  while (true) {
    absl::StatusOr<std::unique_ptr<Connection>> connection = Connection::Connect(options);
    if (connection.ok()) return absl::OkStatus();
    if (!IsRunning(pid_)) {
      pid_ = 0;
      return absl::UnavailableError(fmt::format(
          "PostgreSQL ended while starting; the end of {} says: {}", log_file(), Tail(log_file())));
    }
    if (Classify(connection.status()) != FaultClass::kReconnect) return connection.status();
    if (SteadyNow() > deadline) {
      return absl::UnavailableError(fmt::format(
          "PostgreSQL (process {}) does not accept connections after {}; see {}. Last error: {}",
          pid_, absl::FormatDuration(options_.start_timeout), log_file(),
          connection.status().ToString()));
    }
    absl::SleepFor(backoff.Next(random));
  }
}

absl::Status PrivateCluster::EnsureDatabase() {
  ConnectionOptions options;
  options.url = UrlOf("postgres");
  absl::StatusOr<std::unique_ptr<Connection>> connection = Connection::Connect(options);
  if (!connection.ok()) return connection.status();
  absl::StatusOr<Result> found =
      (*connection)
          ->ExecuteOnce("select 1 from pg_catalog.pg_database where datname = $1",
                        Params().Text(options_.database));
  if (!found.ok()) return found.status();
  if (found->rows() > 0) return absl::OkStatus();
  return (*connection)
      ->RunScript(fmt::format("create database {} template template0 encoding 'UTF8' locale 'C'",
                              Connection::QuoteIdentifier(options_.database)));
}

absl::Status PrivateCluster::Stop() {
  if (pid_ == 0 || !IsRunning(pid_)) {
    pid_ = 0;
    return absl::OkStatus();
  }
  if (kill(pid_, SIGINT) != 0 && errno != ESRCH) {  // SIGINT asks PostgreSQL for a fast shutdown
    return FileError("cannot signal PostgreSQL, process", fmt::format("{}", pid_), errno);
  }
  if (!WaitForEnd(pid_, options_.stop_timeout).ok()) {
    return absl::UnavailableError(
        fmt::format("PostgreSQL (process {}) is still shutting down; see {}. It will be found "
                    "again at the next "
                    "start",
                    pid_, log_file()));
  }
  pid_ = 0;
  return absl::OkStatus();
}

absl::Status PrivateCluster::Kill() {
  // The server first, so that it starts no new session; then those it leaves behind.
  std::vector<pid_t> processes = ProcessesIn(PostgresDir());
  if (pid_ != 0) processes.insert(processes.begin(), pid_);
  for (pid_t pid : processes) kill(pid, SIGKILL);
  for (pid_t pid : processes) {
    absl::Status status = WaitForEnd(pid, options_.stop_timeout);
    if (!status.ok()) return status;
  }
  pid_ = 0;
  return absl::OkStatus();
}

}  // namespace dt::postgres
