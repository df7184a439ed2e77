// Settings: one table, four sources (deploy/OPERATIONS.md, section 4).
#include "server/config.h"

#include <set>

#include "fmt/format.h"
#include "server/command_line.h"
#include "tests/support/catch.h"

namespace dt {
namespace {

LoadedConfig Load(const ConfigSources& sources) {
  absl::StatusOr<LoadedConfig> loaded = LoadConfig(sources);
  INFO(loaded.status().ToString());
  REQUIRE(loaded.ok());
  return *std::move(loaded);
}

std::string ErrorOf(const ConfigSources& sources) {
  const absl::StatusOr<LoadedConfig> loaded = LoadConfig(sources);
  REQUIRE(absl::IsInvalidArgument(loaded.status()));
  return std::string(loaded.status().message());
}

CommandLine Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "durabletask-sidecar");
  absl::StatusOr<CommandLine> line =
      ParseCommandLine(static_cast<int>(arguments.size()), arguments.data());
  INFO(line.status().ToString());
  REQUIRE(line.ok());
  return *std::move(line);
}

TEST_CASE("config_precedence: flags beat the environment, which beats the file and the defaults") {
  ConfigSources sources;
  CHECK(Load(sources).config.store.schema == "dt");
  sources.defaults = {{"postgres.schema", "verb"}};
  CHECK(Load(sources).config.store.schema == "verb");
  sources.file_name = "dt.toml";
  sources.file_text = "[postgres]\nschema = 'file'\n";
  CHECK(Load(sources).config.store.schema == "file");
  sources.environment = {{"PATH", "/bin"}, {"DURABLETASK_POSTGRES_SCHEMA", "environment"}};
  CHECK(Load(sources).config.store.schema == "environment");
  sources.flags = {{"postgres-schema", "flag"}};
  const LoadedConfig loaded = Load(sources);
  CHECK(loaded.config.store.schema == "flag");
  CHECK(loaded.origins.at("postgres.schema") == "--postgres-schema");
}

TEST_CASE("config_unknown_key: an unknown key is an error that names the nearest one") {
  ConfigSources file;
  file.file_name = "dt.toml";
  file.file_text = "[listen]\nadresses = ['127.0.0.1:1']\n";
  CHECK(ErrorOf(file) ==
        "dt.toml: setting 'listen.adresses' is unknown; did you mean 'listen.addresses'?");

  ConfigSources environment;
  environment.environment = {{"DURABLETASK_POSTGRES_URI", "x"}};
  CHECK(ErrorOf(environment) ==
        "environment variable 'DURABLETASK_POSTGRES_URI' is unknown; did you mean "
        "'DURABLETASK_POSTGRES_URL'?");

  const std::vector<const char*> arguments = {"durabletask-sidecar", "serve", "--postgress", "x"};
  const absl::StatusOr<CommandLine> line = ParseCommandLine(4, arguments.data());
  CHECK(line.status().message() == "flag '--postgress' is unknown; did you mean '--postgres'?");
  CHECK(UnknownKeyMessage("flag", "--tsl", {"--tls", "--yes"}) ==
        "flag '--tsl' is unknown; did you mean '--tls'?");
  CHECK(UnknownKeyMessage("flag", "--reverse", {"--tls", "--yes"}) ==
        "flag '--reverse' is unknown");
}

TEST_CASE("config_service_links: variables of a Kubernetes service are no settings") {
  ConfigSources sources;
  sources.environment = {{"DURABLETASK_SERVICE_HOST", "10.0.0.1"},
                         {"DURABLETASK_PORT_4001_TCP", "tcp://10.0.0.1:4001"},
                         {"DURABLETASK_PORT", "tcp://10.0.0.1:4001"}};
  CHECK(Load(sources).origins.empty());
}

TEST_CASE("config_bad_values: a bad value names setting, source and what is accepted") {
  const auto error = [](const char* flag, const char* value) {
    ConfigSources sources;
    sources.flags = {{flag, value}};
    return ErrorOf(sources);
  };
  CHECK(error("workers-items-default", "0") ==
        "workers.items-default (--workers-items-default): '0' is not a whole number from 1 to "
        "10000");
  CHECK(error("workers-items-default", "ten") ==
        "workers.items-default (--workers-items-default): 'ten' is not a whole number from 1 to "
        "10000");
  // A longer one could not stand in an index of the database.
  CHECK(error("limits-name-bytes-max", "2049") ==
        "limits.name-bytes-max (--limits-name-bytes-max): '2049' is not a whole number from 1 to "
        "2048");
  CHECK(error("limits-version-bytes-max", "513") ==
        "limits.version-bytes-max (--limits-version-bytes-max): '513' is not a whole number from 1 "
        "to 512");
  CHECK(error("schema-up", "perhaps") == "schema.up (--schema-up): 'perhaps' is not true or false");
  for (const char* mode : {"0o660", "66", "1660", "668", ""}) {
    CHECK(error("listen-unix-mode", mode) ==
          fmt::format("listen.unix-mode (--listen-unix-mode): '{}' is not a mode of three octal "
                      "digits, such as 660",
                      mode));
  }
  CHECK(error("log-format", "xml") == "log.format (--log-format): 'xml' is not text or json");
  CHECK(error("postgres-prepared-statements", "true") ==
        "postgres.prepared-statements (--postgres-prepared-statements): 'true' is not auto, on or "
        "off");
  CHECK(error("postgres-schema", "x; drop") ==
        "postgres.schema (--postgres-schema): 'x; drop' is not a name of a-z, 0-9 and _, at most "
        "63 characters");
  ConfigSources toml;
  toml.file_name = "dt.toml";
  toml.file_text = "[listen\n";
  CHECK(ErrorOf(toml).find("dt.toml, line 1") == 0);
  toml.file_text = "[listen]\naddresses = 4.5\n";
  CHECK(ErrorOf(toml).find("dt.toml: listen.addresses must be") == 0);
}

TEST_CASE("config_unix_mode: in octal, for the owner alone by default") {
  ConfigSources sources;
  CHECK(Load(sources).config.server.unix_mode == 0600);
  sources.flags = {{"listen-unix-mode", "660"}};
  CHECK(Load(sources).config.server.unix_mode == 0660);
  CHECK(PrintConfig(Load(sources)).find("unix-mode = \"660\"") != std::string::npos);
  sources.flags = {{"listen-unix-mode", "0666"}};
  CHECK(Load(sources).config.server.unix_mode == 0666);
}

TEST_CASE("config_retention: off by default; empty hours go by the default, -1 keeps for ever") {
  ConfigSources sources;
  CHECK_FALSE(Load(sources).config.retention.enabled);
  sources.file_name = "dt.toml";
  sources.file_text = "[retention]\nenabled = true\ndefault-hours = 720\ncompleted-hours = 0\n";
  sources.flags = {{"retention-failed-hours", "-1"}, {"retention-canceled-hours", ""}};
  const RetentionOptions retention = Load(sources).config.retention;
  CHECK(retention.enabled);
  CHECK(retention.default_hours == 720);
  CHECK(retention.completed_hours == 0);
  CHECK(retention.failed_hours == -1);
  CHECK_FALSE(retention.canceled_hours.has_value());
  CHECK_FALSE(retention.terminated_hours.has_value());
  sources.flags = {{"retention-failed-hours", "week"}};
  CHECK(ErrorOf(sources) ==
        "retention.failed-hours (--retention-failed-hours): 'week' is not a whole number from -1 "
        "to 876000");
}

TEST_CASE("config_masking: secrets are never printed and may come from a file") {
  const std::string path = fmt::format("{}/secret", std::string(P_tmpdir)) +
                           std::to_string(reinterpret_cast<uintptr_t>(&path));
  FILE* file = std::fopen(path.c_str(), "w");
  REQUIRE(file != nullptr);
  std::fputs("postgresql://u:hunter2@h/d\n", file);
  std::fclose(file);
  ConfigSources sources;
  sources.environment = {{"DURABLETASK_POSTGRES_URL_FILE", path}};
  const LoadedConfig loaded = Load(sources);
  std::remove(path.c_str());
  CHECK(loaded.config.store.connection.url == "postgresql://u:hunter2@h/d");
  const std::string printed = PrintConfig(loaded);
  CHECK(printed.find("hunter2") == std::string::npos);
  CHECK(printed.find("url = \"***\"  # DURABLETASK_POSTGRES_URL_FILE") != std::string::npos);

  sources.environment = {{"DURABLETASK_POSTGRES_URL_FILE", "/nowhere/secret"}};
  CHECK(ErrorOf(sources) == "cannot read the file '/nowhere/secret'");
}

TEST_CASE("config_password: from a file or a command, not both") {
  ConfigSources sources;
  sources.flags = {{"postgres-password-file", "/run/secrets/pg"}};
  CHECK(Load(sources).config.store.connection.password.file == "/run/secrets/pg");
  sources.environment = {{"DURABLETASK_POSTGRES_PASSWORD_COMMAND", "print"}};
  CHECK(ErrorOf(sources).find("not both") != std::string::npos);
  sources.flags.clear();
  CHECK(Load(sources).config.store.connection.password.command == "print");
}

TEST_CASE("config_malformed_url: named with its setting and what to do, without its password") {
  for (const char* name : {"url", "listen-url"}) {
    ConfigSources sources;
    sources.file_name = "dt.toml";
    sources.file_text =
        fmt::format("[postgres]\n{} = 'postgresql://u:hun%ter2@h/d'\n", std::string(name));
    const std::string error = ErrorOf(sources);
    CHECK(error.find(fmt::format("postgres.{} (dt.toml): the database URL is malformed: ",
                                 std::string(name))) == 0);
    CHECK(error.find("% as %25") != std::string::npos);
    CHECK(error.find("hun") == std::string::npos);
    CHECK(error.find("ter2") == std::string::npos);
  }
  ConfigSources sources;
  sources.environment = {{"DURABLETASK_POSTGRES_URL", "postgresql://u:hunter@2@h/d"}};
  CHECK(ErrorOf(sources).find("postgres.url (DURABLETASK_POSTGRES_URL): ") == 0);
}

TEST_CASE("config_print_reads_back: what is printed is a file that means the same") {
  ConfigSources sources;
  sources.flags = {{"listen", "127.0.0.1:1,unix:/tmp/x"}, {"hubs", "a,b"}, {"log-format", "json"}};
  const LoadedConfig first = Load(sources);
  ConfigSources again;
  again.file_name = "printed";
  again.file_text = PrintConfig(first);
  const LoadedConfig second = Load(again);
  for (const Setting& setting : Settings()) {
    INFO(setting.name());
    CHECK(setting.get(second.config) == setting.get(first.config));
  }
}

TEST_CASE(
    "config_defaults_are_valid: every setting accepts its own default, and names are unique") {
  const Config defaults;
  std::set<std::string> names;
  for (const Setting& setting : Settings()) {
    INFO(setting.name());
    Config config;
    CHECK(setting.set(config, setting.get(defaults)).ok());
    CHECK(setting.get(config) == setting.get(defaults));
    CHECK(names.insert(setting.flag).second);
    CHECK(names.insert(setting.environment()).second);
    CHECK(HelpText(SettingsShown::kAll).find("--" + setting.flag) != std::string::npos);
    CHECK(SettingsMarkdown().find("`" + setting.name() + "`") != std::string::npos);
  }
}

TEST_CASE("help_shows_the_settings_that_people_need_and_says_where_the_rest_is") {
  const std::string help = HelpText(SettingsShown::kCommon);
  int common = 0;
  for (const Setting& setting : Settings()) {
    INFO(setting.name());
    // With what follows its name, so that no longer flag that begins so is taken for it.
    const bool shown = help.find("\n  --" + setting.flag + " VALUE\n") != std::string::npos ||
                       help.find("\n  --" + setting.flag + "[=true|false]\n") != std::string::npos;
    CHECK(shown == setting.common);
    common += setting.common ? 1 : 0;
  }
  CHECK(common == 10);
  CHECK(help.find("--help-all") != std::string::npos);
  CHECK(help.find("deploy/SETTINGS.md") != std::string::npos);
  const std::string all = HelpText(SettingsShown::kAll);
  CHECK(all.find("deploy/SETTINGS.md show all") == std::string::npos);
  CHECK(all.size() > 3 * help.size());
}

TEST_CASE("command_line: verbs, lists, switches") {
  CHECK(Parse({}).verb == CommandVerb::kHelp);
  CHECK(Parse({"serve", "--help"}).verb == CommandVerb::kHelp);
  CHECK(Parse({"--help-all"}).verb == CommandVerb::kHelpAll);
  CHECK(Parse({"serve", "--nonsense", "--help-all", "--help"}).verb == CommandVerb::kHelpAll);
  CHECK(Parse({"schema", "up"}).verb == CommandVerb::kSchemaUp);
  CHECK(Parse({"config", "docs"}).verb == CommandVerb::kConfigDocs);
  CHECK(Parse({"token"}).verb == CommandVerb::kToken);
  CHECK(Parse({"version"}).verb == CommandVerb::kVersion);
  CHECK(Parse({"--version"}).verb == CommandVerb::kVersion);
  CHECK(Parse({"-V"}).verb == CommandVerb::kVersion);
  CHECK(Parse({"healthcheck", "--tls"}).tls);
  CHECK_FALSE(Parse({"healthcheck"}).tls);
  CHECK(Parse({"healthcheck", "--live"}).live);
  CHECK_FALSE(Parse({"healthcheck"}).live);
  CHECK(Parse({"serve", "--insecure"}).flags == decltype(CommandLine::flags){{"insecure", "true"}});
  const CommandLine line =
      Parse({"serve", "--listen", "a:1", "--listen", "b:2,c:3", "--schema-up", "--postgres", "u"});
  CHECK(line.verb == CommandVerb::kServe);
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"postgres", "u"}, {"schema-up", "true"}, {"listen", "a:1,b:2,c:3"}};
  CHECK(line.flags == expected);
  const CommandLine off = Parse({"serve", "--schema-up=false"});
  CHECK(off.flags == decltype(off.flags){{"schema-up", "false"}});
  const CommandLine drop = Parse({"schema", "drop", "--yes", "--postgres", "u"});
  CHECK(drop.verb == CommandVerb::kSchemaDrop);
  CHECK(drop.yes);

  CHECK(Parse({"doctor"}).verb == CommandVerb::kDoctor);
  CHECK_FALSE(Parse({"doctor"}).json);
  CHECK(Parse({"doctor", "-o", "json"}).json);
  const std::vector<const char*> unknown = {"durabletask-sidecar", "doctor", "--output", "xml"};
  CHECK(ParseCommandLine(4, unknown.data()).status().message() ==
        "--output is text or json, not 'xml'");
  const std::vector<const char*> arguments = {"durabletask-sidecar", "fly"};
  CHECK_FALSE(ParseCommandLine(2, arguments.data()).ok());
}

}  // namespace
}  // namespace dt
