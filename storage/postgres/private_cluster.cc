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
#include <optional>
#include <sstream>
#include <thread>

#include "absl/random/random.h"
#include "fmt/format.h"
#include "spdlog/spdlog.h"
#include "storage/postgres/backoff.h"
#include "storage/postgres/connection.h"
#include "storage/postgres/sqlstate.h"
#include "storage/steady_clock.h"

namespace dt::postgres {
namespace {

namespace fs = std::filesystem;

constexpr int kOldestMajor = 14;
constexpr int kPort = 5432;  // of a socket in a directory of its own, so it collides with nobody
constexpr size_t kSocketPathMax = 107;
constexpr int64_t kLogBytesMax = 64 << 20;
constexpr char kPostgresName[] = "postgres";
constexpr char kSocketName[] = "socket";
constexpr char kLogName[] = "postgres.log";
constexpr char kVersionName[] = "PG_VERSION";

absl::Status FileError(const std::string& what, const std::string& path, int error) {
  return absl::FailedPreconditionError(fmt::format("{} {}: {}", what, path, std::strerror(error)));
}

// The major version in "postgres (PostgreSQL) 15.20 (Debian ...)"; 0 if there is none.
int MajorVersionOf(const std::string& programs, const SystemUser& user) {
  absl::StatusOr<std::string> line = FirstOutputLine({programs + "/postgres", "--version"}, user);
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

// Brings what was written to the disk, in one call: many times faster than initdb's file by file.
absl::Status SyncFileSystem(int directory, const std::string& path) {
  return syncfs(directory) == 0 ? absl::OkStatus() : FileError("cannot sync", path, errno);
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
  if (absl::Status status = cluster->OpenPostgresDir(); !status.ok()) return status;
  if (absl::Status status = cluster->FindPrograms(); !status.ok()) return status;
  if (absl::Status status = cluster->Initialize(); !status.ok()) return status;
  if (absl::Status status = cluster->StartAgain(); !status.ok()) return status;
  return cluster;
}

PrivateCluster::~PrivateCluster() {
  if (absl::Status status = Stop(); !status.ok()) spdlog::error("{}", status.ToString());
}

std::string PrivateCluster::SocketDir() const { return options_.data_dir + "/" + kSocketName; }
std::string PrivateCluster::log_file() const { return options_.data_dir + "/" + kLogName; }

std::string PrivateCluster::UrlOf(const std::string& database) const {
  std::string url = fmt::format("postgresql:///{}?host={}&port={}&user=postgres",
                                PercentEncode(database), PercentEncode(SocketDir()), kPort);
  // Whoever owns a directory above may put another one, with a server of his own, in our place.
  if (!user_.is_caller) url += "&requirepeer=" + PercentEncode(user_.name);
  return url;
}

absl::Status PrivateCluster::MakeDirectories() {
  std::string socket = fmt::format("{}/.s.PGSQL.{}", SocketDir(), kPort);
  if (socket.size() > kSocketPathMax) {
    return absl::InvalidArgumentError(fmt::format(
        "the data directory's path {} is {} bytes too long for a unix socket; choose a shorter one "
        "with --data-dir",
        options_.data_dir, socket.size() - kSocketPathMax));
  }
  absl::StatusOr<DataDirectory> directory = DataDirectory::Open(options_.data_dir, user_);
  if (!directory.ok()) return directory.status();
  directory_ = *std::move(directory);
  return directory_->MakePrivateDirectory(kSocketName).status();
}

absl::Status PrivateCluster::Lock() {
  absl::StatusOr<Descriptor> lock = directory_->OpenFile(DataDirectory::kLockFile, false);
  if (!lock.ok()) return lock.status();
  lock_ = *std::move(lock);
  if (flock(lock_.number(), LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(
        fmt::format("the data directory {} is in use by process {}; stop that one, or choose "
                    "another directory with --data-dir",
                    options_.data_dir, FirstLineOf(lock_.number())));
  }
  std::string pid = fmt::format("{}\n", getpid());
  if (ftruncate(lock_.number(), 0) != 0 || pwrite(lock_.number(), pid.data(), pid.size(), 0) < 0) {
    return FileError("cannot write", directory_->PathOf(DataDirectory::kLockFile), errno);
  }
  return absl::OkStatus();
}

absl::Status PrivateCluster::OpenPostgresDir() {
  if (!directory_->Has(kPostgresName)) return absl::OkStatus();
  absl::StatusOr<Descriptor> opened = directory_->OpenDirectory(kPostgresName);
  if (!opened.ok()) return opened.status();
  postgres_dir_ = *std::move(opened);
  return absl::OkStatus();
}

// The newest programs for a new directory; for an existing one those of its version only.
absl::Status PrivateCluster::FindPrograms() {
  programs_ = options_.programs;
  if (!programs_.empty()) return absl::OkStatus();
  std::string version = FirstLineIn(postgres_dir_.number(), kVersionName);
  int wanted = std::atoi(version.c_str());
  int best = 0;
  std::string seen;
  for (const fs::path& directory : ProgramDirectories()) {
    int major = MajorVersionOf(directory.string(), user_);
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
  if (!FirstLineIn(postgres_dir_.number(), kVersionName).empty()) return absl::OkStatus();
  // Made under another name first: a directory of the final name is always complete.
  const std::string unfinished_name = std::string(kPostgresName) + ".unfinished";
  if (absl::Status status = directory_->Remove(unfinished_name); !status.ok()) return status;
  absl::StatusOr<Descriptor> unfinished = directory_->MakePrivateDirectory(unfinished_name);
  if (!unfinished.ok()) return unfinished.status();
  absl::StatusOr<Descriptor> output = directory_->OpenFile("initdb.log", /*append=*/true);
  if (!output.ok()) return output.status();
  ProcessOptions initdb;
  // Over sockets no one but those who can enter their directory; over TCP nobody, should somebody
  // start a server of his own on this data.
  initdb.arguments = {programs_ + "/initdb", "--pgdata=.",         "--username=postgres",
                      "--auth-local=trust",  "--auth-host=reject", "--encoding=UTF8",
                      "--locale=C",          "--no-instructions",  "--no-sync"};
  initdb.user = user_;
  initdb.directory = unfinished->number();
  initdb.output = output->number();
  if (absl::Status status = RunProcess(initdb); !status.ok()) {
    return absl::FailedPreconditionError(fmt::format(
        "cannot make a PostgreSQL cluster in {} as user {}; every directory above it must let this "
        "user pass (a home directory often does not): choose another one with --data-dir. {}",
        options_.data_dir, user_.name, status.ToString()));
  }
  if (options_.durable) {
    absl::Status status = SyncFileSystem(unfinished->number(), options_.data_dir);
    if (!status.ok()) return status;
  }
  if (absl::Status status = directory_->Rename(unfinished_name, kPostgresName); !status.ok()) {
    return status;
  }
  postgres_dir_ = *std::move(unfinished);
  return options_.durable ? SyncFileSystem(directory_->descriptor(), options_.data_dir)
                          : absl::OkStatus();
}

absl::Status PrivateCluster::StartAgain() {
  if (pid_ != 0 && IsRunning(pid_)) return absl::OkStatus();
  pid_ = FindRunningServer();
  was_running_ = pid_ != 0;
  if (absl::Status status = OpenLog(); !status.ok()) return status;
  if (!was_running_) {
    // Sessions of a server that was killed end by themselves a moment later, and until then a new
    // one refuses to start.
    for (pid_t session : Processes()) {
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
  pid_t pid = std::atoi(FirstLineIn(postgres_dir_.number(), "postmaster.pid").c_str());
  if (pid <= 0 || !IsRunning(pid)) return 0;
  std::vector<pid_t> servers = Processes();
  return std::find(servers.begin(), servers.end(), pid) == servers.end() ? 0 : pid;
}

// The processes whose working directory is PostgreSQL's.
std::vector<pid_t> PrivateCluster::Processes() const {
  std::vector<pid_t> found;
  struct stat ours {};
  if (fstat(postgres_dir_.number(), &ours) != 0) return found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    pid_t pid = std::atoi(entry.path().filename().c_str());
    struct stat theirs {};
    // Fails when the process ended meanwhile, or is not ours to look at.
    if (pid <= 0 || stat((entry.path() / "cwd").c_str(), &theirs) != 0) continue;
    if (theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino) found.push_back(pid);
  }
  return found;
}

absl::Status PrivateCluster::OpenLog() {
  absl::StatusOr<Descriptor> log = directory_->OpenFile(kLogName, /*append=*/true);
  struct stat found {};
  if (log.ok() && !was_running_ && fstat(log->number(), &found) == 0 &&
      found.st_size > kLogBytesMax) {
    absl::Status renamed = directory_->Rename(kLogName, std::string(kLogName) + ".1");
    if (!renamed.ok()) return renamed;
    log = directory_->OpenFile(kLogName, /*append=*/true);
  }
  if (!log.ok()) return log.status();
  log_ = *std::move(log);
  return absl::OkStatus();
}

absl::Status PrivateCluster::Launch() {
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
  server.arguments = {programs_ + "/postgres", "-D", "."};
  for (const auto& [name, value] : settings) {
    server.arguments.push_back("-c");
    server.arguments.push_back(name + "=" + value);
  }
  server.user = user_;
  server.directory = postgres_dir_.number();
  server.output = log_.number();
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
      return absl::UnavailableError(
          fmt::format("PostgreSQL ended while starting; the end of {} says: {}", log_file(),
                      Tail(log_.number())));
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
  std::vector<pid_t> processes = Processes();
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
