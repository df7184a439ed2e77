// What every program that runs a daemon does around it: gathers the settings, runs it until a
// signal, and says on stderr why it could not. durabletask-sidecar is the one that is installed.
#ifndef DT_SERVER_PROGRAM_H_
#define DT_SERVER_PROGRAM_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/backend.h"
#include "server/command_line.h"
#include "server/config.h"

namespace dt {

// Exit codes, beside 0.
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;  // wrong usage or settings
// Of `doctor`, by the worst that it found.
inline constexpr int kFoundWarnings = 3;
inline constexpr int kFoundProblems = 4;

// Prints the error, passwords of URLs masked; returns `code`.
int Fail(int code, const absl::Status& status);

// The environment variable, or "".
const char* Variable(const char* name);

// Flags, environment and settings file of this process.
absl::StatusOr<ConfigSources> GatherSources(const CommandLine& line);

// Serves until SIGTERM or SIGINT. Returns the exit code.
int RunDaemon(const Config& config, std::unique_ptr<Backend> backend);

}  // namespace dt

#endif  // DT_SERVER_PROGRAM_H_
