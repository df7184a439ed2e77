// The command line: verbs and flags. CLI11 only splits it; what a flag means stands in the table of
// settings (config.h).
#ifndef DT_SERVER_COMMAND_LINE_H_
#define DT_SERVER_COMMAND_LINE_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/config.h"

namespace dt {

enum class CommandVerb {
  kHelp,
  kHelpAll,
  kVersion,
  kServe,
  kDev,
  kSchemaUp,
  kSchemaStatus,
  kSchemaPrint,
  kSchemaDrop,
  kHealthCheck,
  kDoctor,
  kToken,
  kConfigCheck,
  kConfigPrint,
  kConfigDocs,
};

struct CommandLine {
  CommandVerb verb = CommandVerb::kHelp;
  std::string config_file;  // --config
  std::string address;      // healthcheck --address
  bool tls = false;         // healthcheck --tls
  bool live = false;        // healthcheck --live
  bool yes = false;         // schema drop --yes
  bool json = false;        // doctor --output json
  bool print_config = false;
  std::vector<std::pair<std::string, std::string>> flags;  // of settings: name, value
};

// kInvalidArgument with a message for the user.
absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv);

// What `--help` prints: verbs, the settings that people need, and where the others are; and what
// `--help-all` prints: all of them.
std::string HelpText(SettingsShown shown);

}  // namespace dt

#endif  // DT_SERVER_COMMAND_LINE_H_
