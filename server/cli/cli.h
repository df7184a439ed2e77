// The command line for people: `durabletask-sidecar instance ...`, `hub ...`, `entity ...`,
// `worker ...`, and `completion`. They call a daemon over gRPC, as SDK clients do, and read no
// settings.
#ifndef DT_SERVER_CLI_CLI_H_
#define DT_SERVER_CLI_CLI_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "server/cli/verbs.h"

namespace dt::cli {

// Whether the first argument is one of these.
bool IsForPeople(int argc, const char* const* argv);
// Does what the arguments say and returns the exit code; errors go to stderr.
int Run(int argc, const char* const* argv);

// What Run makes of the arguments.
struct Parsed {
  const Verb* verb = nullptr;  // null: `help` is to be printed
  SessionOptions session;
  Request request;
  std::string help;
};
// `variable` gives the value of an environment variable, empty where it is not set.
// kInvalidArgument with a message for the user.
absl::StatusOr<Parsed> Parse(int argc, const char* const* argv,
                             const std::function<std::string(const char*)>& variable);

// The completion for bash: `source <(durabletask-sidecar completion bash)`.
std::string BashCompletion();

}  // namespace dt::cli

#endif  // DT_SERVER_CLI_CLI_H_
