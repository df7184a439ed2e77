// Starting the programs of PostgreSQL as another user and watching them: the process side of
// private_cluster. They get a small environment: PATH, HOME and the name of their user, and of the
// caller's the language and the time zone. Safe in a program with threads: nothing but system calls
// runs between fork and exec.
#ifndef DT_STORAGE_POSTGRES_CHILD_PROCESS_H_
#define DT_STORAGE_POSTGRES_CHILD_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dt::postgres {

// The system user a program runs as.
struct SystemUser {
  std::string name;
  std::string home = "/";
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  bool is_caller = true;  // nothing to switch
};

// The caller itself, or `name` when the caller is root, since PostgreSQL refuses to run as root.
absl::StatusOr<SystemUser> UserForPostgres(const std::string& name);

struct ProcessOptions {
  std::vector<std::string> arguments;  // the first is the program's path
  SystemUser user;
  // Open descriptors, not paths: the caller may be root, and has looked at what they lead to.
  int directory = -1;  // to work in; -1 = /
  int output = -1;     // of a file, receives stdout and stderr; -1 = /dev/null
  // The kernel sends the process this signal when the calling thread ends; 0 = it lives on.
  int signal_when_parent_ends = 0;
};

// Starts the program in a session of its own, so that a Ctrl-C in the terminal does not reach it.
absl::StatusOr<pid_t> StartProcess(const ProcessOptions& options);

// Runs a program to its end. An error names its exit and the end of its output, which must be open
// for reading, too.
absl::Status RunProcess(const ProcessOptions& options);

// The first line that a program writes, run as this user; for `postgres --version`.
absl::StatusOr<std::string> FirstOutputLine(const std::vector<std::string>& arguments,
                                            const SystemUser& user);

// True while the process exists and is no zombie. Takes the exit status of an own child.
bool IsRunning(pid_t pid);

// Waits until the process is gone; kDeadlineExceeded after `timeout`.
absl::Status WaitForEnd(pid_t pid, absl::Duration timeout);

// The last lines of an open text file, for error messages; empty if it cannot be read.
std::string Tail(int file, size_t bytes_max = 2000);

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_CHILD_PROCESS_H_
