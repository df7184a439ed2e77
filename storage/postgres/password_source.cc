#include "storage/postgres/password_source.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "fmt/format.h"
#include "storage/postgres/descriptor.h"
#include "storage/steady_clock.h"

namespace dt::postgres {
namespace {

// Tokens of clouds have some 2,000 bytes.
constexpr size_t kBytesMax = 64 << 10;

absl::Status NoPassword(const std::string& why) {
  return absl::UnavailableError(fmt::format("there is no password for PostgreSQL: {}", why));
}

// Reads to the end, to more than a password has, or to the deadline (kDeadlineExceeded).
absl::StatusOr<std::string> ReadAll(int file, absl::Time deadline) {
  std::string text;
  char buffer[4096];
  while (text.size() <= kBytesMax) {
    pollfd ready = {file, POLLIN, 0};
    const absl::Duration left = deadline - SteadyNow();
    if (left <= absl::ZeroDuration()) return absl::DeadlineExceededError("");
    if (poll(&ready, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1) <= 0) continue;
    const ssize_t got = read(file, buffer, sizeof(buffer));
    if (got < 0 && errno != EINTR) return absl::InternalError(std::strerror(errno));
    if (got == 0) break;
    if (got > 0) text.append(buffer, got);
  }
  return text;
}

absl::StatusOr<std::string> PasswordIn(std::string text, const std::string& source) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (text.empty()) return NoPassword(fmt::format("{} gave nothing", source));
  if (text.size() > kBytesMax) {
    return NoPassword(fmt::format("{} gave more than {} bytes, the limit", source, kBytesMax));
  }
  if (text.find('\0') != std::string::npos || text.find('\n') != std::string::npos) {
    return NoPassword(fmt::format("{} gave more than one line, or a zero byte", source));
  }
  return text;
}

absl::StatusOr<std::string> PasswordOfFile(const std::string& path, absl::Duration timeout) {
  const std::string source = fmt::format("the file {} (postgres.password-file)", path);
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.open()) {
    return NoPassword(fmt::format("{} cannot be read: {}", source, std::strerror(errno)));
  }
  absl::StatusOr<std::string> text = ReadAll(file.number(), SteadyNow() + timeout);
  if (!text.ok()) {
    return NoPassword(
        fmt::format("{} cannot be read: {}", source, std::string(text.status().message())));
  }
  return PasswordIn(*std::move(text), source);
}

// Starts it as the leader of a process group, with `output` as its stdout.
absl::StatusOr<pid_t> StartCommand(const std::string& command, int output) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // The daemon blocks its signals in all threads, which a child inherits.
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  const char* const arguments[] = {"sh", "-c", command.c_str(), nullptr};
  pid_t pid = -1;
  const int error = posix_spawn(&pid, "/bin/sh", &files, &attributes,
                                const_cast<char* const*>(arguments), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (error != 0) return NoPassword(fmt::format("/bin/sh cannot be run: {}", std::strerror(error)));
  return pid;
}

// Whether the child ends by then. It may have closed its output long before.
bool EndsUntil(pid_t pid, absl::Time deadline) {
  const Descriptor process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!process.open()) return true;  // a kernel before 5.3: who waits for the end has to wait
  pollfd ended = {process.number(), POLLIN, 0};
  for (absl::Duration left; (left = deadline - SteadyNow()) > absl::ZeroDuration();) {
    if (poll(&ended, 1, static_cast<int>(absl::ToInt64Milliseconds(left)) + 1) > 0) return true;
  }
  return false;
}

absl::StatusOr<std::string> PasswordOfCommand(const std::string& command, absl::Duration timeout) {
  constexpr char kSource[] = "the command of postgres.password-command";
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return NoPassword(std::strerror(errno));
  const Descriptor read_end(ends[0]);
  Descriptor write_end(ends[1]);
  const absl::StatusOr<pid_t> pid = StartCommand(command, write_end.number());
  if (!pid.ok()) return pid.status();
  write_end.Close();
  const absl::Time deadline = SteadyNow() + timeout;
  absl::StatusOr<std::string> text = ReadAll(read_end.number(), deadline);
  const bool too_long = text.ok() && text->size() > kBytesMax;
  const bool ended = text.ok() && !too_long && EndsUntil(*pid, deadline);
  if (!ended) kill(-*pid, SIGKILL);
  int result = 0;
  while (waitpid(*pid, &result, 0) < 0 && errno == EINTR) {
  }
  if (too_long) return PasswordIn(*std::move(text), kSource);
  if (!ended) {
    return NoPassword(
        fmt::format("{} did not end within {}", kSource, absl::FormatDuration(timeout)));
  }
  if (!WIFEXITED(result) || WEXITSTATUS(result) != 0) {
    return NoPassword(fmt::format("{} {} {}; run it by hand to see why", kSource,
                                  WIFEXITED(result) ? "exited with" : "ended by signal",
                                  WIFEXITED(result) ? WEXITSTATUS(result) : WTERMSIG(result)));
  }
  return PasswordIn(*std::move(text), kSource);
}

}  // namespace

absl::StatusOr<std::string> ReadPassword(const PasswordSource& source, absl::Duration timeout) {
  if (!source.file.empty()) return PasswordOfFile(source.file, timeout);
  return PasswordOfCommand(source.command, timeout);
}

}  // namespace dt::postgres
