// A PostgreSQL server of our own in a data directory, for `dev` and for tests: made on first use,
// kept between runs, reached only through a unix socket in that directory, ended with its owner.
//
// Layout of the data directory
//   lock            held while a process uses the directory
//   postgres/       PostgreSQL's own data (0700, owned by the user it runs as)
//   socket/         its unix socket (0700); whoever can enter needs no password
//   postgres.log    its log; initdb.log, what initdb said
//
// The caller may be root, and the directory or the way to it somebody else's: what is refused and
// why, data_directory.h says. The server runs as another user then, with a small environment, and
// the sessions of url() are with a server of that user only.
//
// A server that survived its owner (kill -9) is found by postmaster.pid and used again. What was
// committed survives a crash: fsync and synchronous_commit stay on, unless `durable` is false.
//
// Threads. Use it from one thread; with `ends_with_thread` the one that started it must live on.
#ifndef DT_STORAGE_POSTGRES_PRIVATE_CLUSTER_H_
#define DT_STORAGE_POSTGRES_PRIVATE_CLUSTER_H_

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/postgres/child_process.h"
#include "storage/postgres/data_directory.h"
#include "storage/postgres/descriptor.h"

namespace dt::postgres {

struct PrivateClusterOptions {
  std::string data_dir;
  // The system user when the caller is root; otherwise the caller.
  std::string system_user = "postgres";
  std::string database = "durabletask";  // created if missing
  std::string programs;                  // the directory of postgres and initdb; empty: found
  bool durable = true;                   // false only for tests: fsync off
  bool ends_with_thread = false;         // the kernel stops it when the starting thread ends
  absl::Duration start_timeout = absl::Seconds(60);  // recovery after a crash takes its time
  absl::Duration stop_timeout = absl::Seconds(60);
  // More server settings; they win over the ones chosen here.
  std::vector<std::pair<std::string, std::string>> settings;
};

class PrivateCluster {
 public:
  // Makes the cluster if needed, starts the server or finds the one that runs, and returns when it
  // accepts connections. Errors say what to do next.
  static absl::StatusOr<std::unique_ptr<PrivateCluster>> Start(PrivateClusterOptions options);
  // Stop(), with an error only logged.
  ~PrivateCluster();
  PrivateCluster(const PrivateCluster&) = delete;
  PrivateCluster& operator=(const PrivateCluster&) = delete;

  // A libpq URL of the database; the second of any other one of this cluster.
  std::string url() const { return UrlOf(options_.database); }
  std::string UrlOf(const std::string& database) const;
  pid_t pid() const { return pid_; }
  bool was_running() const { return was_running_; }  // found, not started
  std::string log_file() const;

  // Ends the sessions, writes a checkpoint, waits for the end. Does nothing if it does not run.
  absl::Status Stop();
  // kill -9 of the whole server, for fault tests; waits for the end.
  absl::Status Kill();
  // After Stop or Kill.
  absl::Status StartAgain();

 private:
  explicit PrivateCluster(PrivateClusterOptions options) : options_(std::move(options)) {}
  std::string SocketDir() const;
  absl::Status MakeDirectories();
  absl::Status Lock();
  absl::Status OpenPostgresDir();
  absl::Status FindPrograms();
  absl::Status Initialize();
  absl::Status Launch();
  absl::Status OpenLog();
  absl::Status WaitUntilReady();
  absl::Status EnsureDatabase();
  pid_t FindRunningServer() const;
  std::vector<pid_t> Processes() const;

  PrivateClusterOptions options_;
  SystemUser user_;
  std::string programs_;  // the directory of initdb and postgres
  std::optional<DataDirectory> directory_;
  Descriptor postgres_dir_;  // not open before there is a cluster
  Descriptor lock_;
  Descriptor log_;
  pid_t pid_ = 0;
  bool was_running_ = false;
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_PRIVATE_CLUSTER_H_
