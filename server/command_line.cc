#include "server/command_line.h"

#include <map>
#include <string_view>

#include "CLI/CLI.hpp"
#include "absl/strings/str_join.h"
#include "fmt/format.h"

namespace dt {
namespace {

constexpr char kUsage[] = R"(durabletask-sidecar: Durable Task orchestrations, kept in PostgreSQL.

  durabletask-sidecar dev [--data-dir DIR] [--listen HOST:PORT]
      Runs everything on this machine: a private PostgreSQL under DIR (unless --postgres is given),
      the schema, task hubs on first use. For development and tests.
  durabletask-sidecar serve --postgres URL
      Serves SDK clients and workers from an existing database. Stops cleanly on SIGTERM.
  durabletask-sidecar schema up | status | print | drop --yes   [--postgres URL]
      Creates or migrates the schema; tells its version; prints its SQL; deletes it with all data.
  durabletask-sidecar healthcheck [--address HOST:PORT] [--tls] [--live]
      Exit code 0 when the daemon at the address (default: the first listen address) is serving: not
      while it starts or drains, or its database takes no writes. With --live when it answers at all,
      for who would start it again. It needs no token. TLS is spoken with --tls, or when the settings
      name a certificate, which is not verified.
  durabletask-sidecar doctor [--postgres URL] [-o json]
      Looks at the database: rights, settings, dead rows, old snapshots, clocks, connections; says
      what to do. Exit code 3 when it warns, 4 when something is wrong.
  durabletask-sidecar token
      Prints a fresh bearer token for a caller, and its hash for the access file.
  durabletask-sidecar config check | print | docs
      Checks the settings; prints the effective ones, secrets masked; prints them as a table.
  durabletask-sidecar version
  durabletask-sidecar instance | hub | entity | worker VERB ...
      What people ask of a daemon over gRPC, such as `instance why ID`: what it waits for. These read
      no settings; `durabletask-sidecar instance --help` lists the verbs.
  durabletask-sidecar completion bash
      Prints a completion of all verbs: source <(durabletask-sidecar completion bash)

Flags of all verbs:
  --help             this text
  --help-all         the same with all settings
  --version          as the verb
  --config FILE      settings as TOML (environment DURABLETASK_CONFIG)
  --print-config     print the effective settings, secrets masked, and exit

Settings (flags > environment > file > defaults; a secret may also be read from a file, by the flag
--NAME-file, the variable NAME_FILE or the file key NAME-file):
)";

// A setting as given on the command line: all values of its flag, and of the flag of its file.
struct Given {
  std::string flag;
  std::vector<std::string> values;
};

void AddSettings(CLI::App& app, std::vector<Given>& given) {
  for (const Setting& setting : Settings()) {
    given.push_back({setting.flag, {}});
    if (setting.secret) given.push_back({setting.flag + "-file", {}});
  }
  // Two loops: the options keep references to the values, which must not move any more.
  for (Given& one : given) {
    const Setting* setting = nullptr;
    for (const Setting& candidate : Settings()) {
      if (candidate.flag == one.flag) setting = &candidate;
    }
    const std::string name = "--" + one.flag;
    if (setting != nullptr && setting->kind == SettingKind::kBool) {
      app.add_flag(name + "{true}", one.values);
    } else if (setting != nullptr && setting->kind == SettingKind::kList) {
      app.add_option(name, one.values)->allow_extra_args(false)->delimiter(',');
    } else {
      app.add_option(name, one.values)->allow_extra_args(false)->expected(1);
    }
  }
}

absl::Status UnknownArgument(const std::string& argument) {
  if (argument.rfind("--", 0) != 0) {
    return absl::InvalidArgumentError("'" + argument +
                                      "' is no verb; `durabletask-sidecar --help` lists them");
  }
  std::vector<std::string> names = {"--help",         "--help-all", "--version", "--config",
                                    "--print-config", "--address",  "--tls",     "--live",
                                    "--yes",          "--output"};
  for (const Setting& setting : Settings()) names.push_back("--" + setting.flag);
  return absl::InvalidArgumentError(
      UnknownKeyMessage("flag", argument.substr(0, argument.find('=')), names));
}

// The verbs as CLI11 sees them; the deepest one that was parsed is meant.
std::map<CLI::App*, CommandVerb> AddVerbs(CLI::App& app) {
  std::map<CLI::App*, CommandVerb> verbs;
  const auto add = [](CLI::App& parent, const char* name) {
    CLI::App* verb = parent.add_subcommand(name);
    verb->set_help_flag();
    verb->fallthrough();
    return verb;
  };
  verbs[add(app, "serve")] = CommandVerb::kServe;
  verbs[add(app, "dev")] = CommandVerb::kDev;
  verbs[add(app, "healthcheck")] = CommandVerb::kHealthCheck;
  verbs[add(app, "doctor")] = CommandVerb::kDoctor;
  verbs[add(app, "token")] = CommandVerb::kToken;
  verbs[add(app, "version")] = CommandVerb::kVersion;
  verbs[add(app, "help")] = CommandVerb::kHelp;
  CLI::App* schema = add(app, "schema");
  schema->require_subcommand(1);
  verbs[add(*schema, "up")] = CommandVerb::kSchemaUp;
  verbs[add(*schema, "status")] = CommandVerb::kSchemaStatus;
  verbs[add(*schema, "print")] = CommandVerb::kSchemaPrint;
  verbs[add(*schema, "drop")] = CommandVerb::kSchemaDrop;
  CLI::App* config = add(app, "config");
  config->require_subcommand(1);
  verbs[add(*config, "check")] = CommandVerb::kConfigCheck;
  verbs[add(*config, "print")] = CommandVerb::kConfigPrint;
  verbs[add(*config, "docs")] = CommandVerb::kConfigDocs;
  return verbs;
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  CommandLine line;
  bool help = false;
  app.add_flag("--help,-h", help);
  bool help_all = false;
  app.add_flag("--help-all", help_all);
  bool version = false;
  app.add_flag("--version,-V", version);
  app.add_option("--config", line.config_file);
  app.add_option("--address", line.address);
  app.add_flag("--tls", line.tls);
  app.add_flag("--live", line.live);
  app.add_flag("--yes", line.yes);
  std::string output = "text";
  app.add_option("--output,-o", output);
  app.add_flag("--print-config", line.print_config);
  std::vector<Given> given;
  AddSettings(app, given);
  const std::map<CLI::App*, CommandVerb> verbs = AddVerbs(app);
  app.require_subcommand(0, 1);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (!help && !help_all && !version) return absl::InvalidArgumentError(error.what());
  }
  if (help || help_all) {
    CommandLine asked;
    asked.verb = help_all ? CommandVerb::kHelpAll : CommandVerb::kHelp;
    return asked;
  }
  if (version) {
    CommandLine asked;
    asked.verb = CommandVerb::kVersion;
    return asked;
  }
  const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
  if (!unknown.empty()) return UnknownArgument(unknown.front());
  if (output != "text" && output != "json") {
    return absl::InvalidArgumentError("--output is text or json, not '" + output + "'");
  }
  line.json = output == "json";
  for (const auto& [verb, meaning] : verbs) {
    if (verb->parsed()) line.verb = meaning;
  }
  for (Given& one : given) {
    if (one.values.empty()) continue;
    line.flags.emplace_back(std::move(one.flag), absl::StrJoin(one.values, ","));
  }
  return line;
}

std::string HelpText(SettingsShown shown) {
  std::string text = kUsage + SettingsHelp(shown);
  if (shown == SettingsShown::kCommon) {
    text += fmt::format(
        "\nThese are the settings that most need, of {}: durabletask-sidecar --help-all and\n"
        "deploy/SETTINGS.md show all of them.\n",
        Settings().size());
  }
  return text;
}

}  // namespace dt
