#include "storage/postgres/child_process.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>

#include "fmt/format.h"
#include "storage/postgres/descriptor.h"
#include "storage/steady_clock.h"

namespace dt::postgres {
namespace {

constexpr int kExecFailed = 127;

absl::Status SystemError(const std::string& what, int error) {
  return absl::InternalError(fmt::format("{}: {}", what, std::strerror(error)));
}

// Between fork and exec. Does not return.
[[noreturn]] void BecomeProgram(const ProcessOptions& options, char* const* arguments,
                                char* const* environment, int output, int error_pipe) {
  int step = setsid() < 0 ? errno : 0;
  // A signal mask is inherited, and the daemon blocks its signals in all threads.
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (step == 0 && !options.user.is_caller) {
    if (setgroups(options.user.groups.size(), options.user.groups.data()) != 0 ||
        setgid(options.user.gid) != 0 || setuid(options.user.uid) != 0) {
      step = errno;
    }
  }
  // After the change of user, which clears it.
  if (step == 0 && options.signal_when_parent_ends != 0 &&
      prctl(PR_SET_PDEATHSIG, options.signal_when_parent_ends) != 0) {
    step = errno;
  }
  if (step == 0 && (options.directory >= 0 ? fchdir(options.directory) : chdir("/")) != 0) {
    step = errno;
  }
  if (step == 0) {
    int input = open("/dev/null", O_RDONLY);
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execve(arguments[0], arguments, environment);
    step = errno;
  }
  if (write(error_pipe, &step, sizeof(step)) < 0) _exit(kExecFailed);
  _exit(kExecFailed);
}

// What the program gets of the caller's environment, which may hold secrets of root.
std::vector<std::string> EnvironmentOf(const SystemUser& user) {
  std::vector<std::string> environment = {
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      "HOME=" + user.home,
      "USER=" + user.name,
      "LOGNAME=" + user.name,
  };
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view variable(*entry);
    for (std::string_view kept : {"LANG=", "LANGUAGE=", "LC_", "TZ="}) {
      if (variable.substr(0, kept.size()) == kept) environment.emplace_back(variable);
    }
  }
  return environment;
}

// For exec: ends with a null pointer, and lives as long as `texts`.
std::vector<char*> PointersTo(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

absl::StatusOr<pid_t> StartWithOutput(const ProcessOptions& options, int output) {
  const std::vector<char*> arguments = PointersTo(options.arguments);
  const std::vector<std::string> variables = EnvironmentOf(options.user);
  const std::vector<char*> environment = PointersTo(variables);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return SystemError("cannot make a pipe", errno);
  Descriptor read_end(ends[0]);
  Descriptor write_end(ends[1]);
  pid_t pid = fork();
  if (pid < 0) return SystemError("cannot start a process", errno);
  if (pid == 0) {
    BecomeProgram(options, arguments.data(), environment.data(), output, write_end.number());
  }
  write_end.Close();
  // Exec closes the pipe without a word; a failure writes its errno.
  int error = 0;
  ssize_t got;
  do {
    got = read(read_end.number(), &error, sizeof(error));
  } while (got < 0 && errno == EINTR);
  if (got <= 0) return pid;
  waitpid(pid, nullptr, 0);
  return SystemError(fmt::format("cannot run {} as {}", options.arguments[0], options.user.name),
                     error);
}

}  // namespace

absl::StatusOr<SystemUser> UserForPostgres(const std::string& name) {
  SystemUser user;
  user.uid = geteuid();
  user.gid = getegid();
  bool root = user.uid == 0;
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(16 << 10);
  int error = root ? getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found)
                   : getpwuid_r(user.uid, &entry, buffer.data(), buffer.size(), &found);
  if (found != nullptr) user.home = entry.pw_dir;
  if (!root) {
    user.name = found != nullptr ? entry.pw_name : fmt::format("uid {}", user.uid);
    return user;
  }
  if (found == nullptr) {
    return absl::FailedPreconditionError(fmt::format(
        "PostgreSQL does not run as root, and there is no system user {}{}; install the package "
        "postgresql, which makes one, or start this program as another user",
        name, error == 0 ? "" : fmt::format(" ({})", std::strerror(error))));
  }
  user.name = name;
  user.uid = entry.pw_uid;
  user.gid = entry.pw_gid;
  user.is_caller = false;
  int count = 64;
  user.groups.resize(count);
  if (getgrouplist(name.c_str(), user.gid, user.groups.data(), &count) < 0) {
    user.groups.resize(count);
    getgrouplist(name.c_str(), user.gid, user.groups.data(), &count);
  }
  user.groups.resize(count);
  return user;
}

absl::StatusOr<pid_t> StartProcess(const ProcessOptions& options) {
  if (options.output >= 0) return StartWithOutput(options, options.output);
  Descriptor null(open("/dev/null", O_WRONLY | O_CLOEXEC));
  if (!null.open()) return SystemError("cannot write /dev/null", errno);
  return StartWithOutput(options, null.number());
}

absl::Status RunProcess(const ProcessOptions& options) {
  absl::StatusOr<pid_t> pid = StartProcess(options);
  if (!pid.ok()) return pid.status();
  int result = 0;
  while (waitpid(*pid, &result, 0) < 0) {
    if (errno != EINTR) return SystemError("cannot wait for a process", errno);
  }
  if (WIFEXITED(result) && WEXITSTATUS(result) == 0) return absl::OkStatus();
  return absl::InternalError(fmt::format(
      "{} {} {}: {}", options.arguments[0], WIFEXITED(result) ? "exited with" : "ended by signal",
      WIFEXITED(result) ? WEXITSTATUS(result) : WTERMSIG(result), Tail(options.output)));
}

absl::StatusOr<std::string> FirstOutputLine(const std::vector<std::string>& arguments,
                                            const SystemUser& user) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return SystemError("cannot make a pipe", errno);
  Descriptor read_end(ends[0]);
  Descriptor write_end(ends[1]);
  ProcessOptions options;
  options.arguments = arguments;
  options.user = user;
  absl::StatusOr<pid_t> pid = StartWithOutput(options, write_end.number());
  if (!pid.ok()) return pid.status();
  write_end.Close();
  std::string text;
  char buffer[512];
  while (true) {
    ssize_t got = read(read_end.number(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(buffer, got);
  }
  waitpid(*pid, nullptr, 0);
  return text.substr(0, text.find('\n'));
}

bool IsRunning(pid_t pid) {
  int result = 0;
  if (waitpid(pid, &result, WNOHANG) == pid) return false;
  if (kill(pid, 0) != 0 && errno == ESRCH) return false;
  // Somebody else's child that has ended but was not taken yet: "pid (name) Z".
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  std::getline(file, line);
  size_t name_end = line.rfind(')');
  return name_end == std::string::npos || line.compare(name_end, 3, ") Z") != 0;
}

absl::Status WaitForEnd(pid_t pid, absl::Duration timeout) {
  absl::Time deadline = SteadyNow() + timeout;
  // A descriptor of the process becomes readable at its end, whoever its parent is. Without one
  // (kernels before 5.3) look again every few milliseconds.
  Descriptor process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  while (IsRunning(pid)) {
    absl::Duration left = deadline - SteadyNow();
    if (left <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError(
          fmt::format("process {} did not end within {}", pid, absl::FormatDuration(timeout)));
    }
    absl::Duration step = process.number() >= 0 ? left : absl::Milliseconds(5);
    pollfd ready = {process.number(), POLLIN, 0};
    poll(&ready, 1, static_cast<int>(absl::ToInt64Milliseconds(step)) + 1);
  }
  return absl::OkStatus();
}

std::string Tail(int file, size_t bytes_max) {
  struct stat found {};
  if (fstat(file, &found) != 0) return {};
  const auto size = static_cast<size_t>(found.st_size);
  const size_t from = size > bytes_max ? size - bytes_max : 0;
  std::string text(size - from, '\0');
  const ssize_t got = pread(file, text.data(), text.size(), static_cast<off_t>(from));
  text.resize(got < 0 ? 0 : got);
  if (from > 0) text.erase(0, text.find('\n') + 1);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace dt::postgres
