// What the daemon can be told, and where it was told: flags > environment > file > defaults.
//
// One table (settings.cc) makes the flags, the environment variables, the file keys, --help-all and
// the page deploy/SETTINGS.md. The defaults are those of the option structs themselves, so they are
// written down once. Every limit has a name with its unit.
#ifndef DT_SERVER_CONFIG_H_
#define DT_SERVER_CONFIG_H_

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/admin/listener.h"
#include "server/dispatch/dispatch_thread.h"
#include "server/retention.h"
#include "server/rpc/access_control.h"
#include "server/rpc/server.h"
#include "server/rpc/sidecar_service.h"
#include "server/work_sampler.h"
#include "storage/postgres/postgres_store.h"

namespace dt {

enum class LogFormat { kText, kJson };

struct Config {
  // With an empty URL `dev` starts a private PostgreSQL; everything else uses the PG* variables.
  postgres::PostgresStoreOptions store;
  bool schema_up = false;
  std::string data_dir = "./durabletask-data";
  std::vector<std::string> hub_names = {"default"};
  rpc::ServerOptions server{.addresses = {"127.0.0.1:4001"}};
  rpc::AccessOptions access;
  int metrics_hubs_max = 50;
  WorkSamplerOptions sampler;    // hubs: as above
  admin::ListenerOptions admin;  // TLS and the mode of unix sockets are those of `server`
  bool admin_optional = false;
  rpc::ServiceOptions service;
  dispatch::DispatchLimits dispatch;
  RetentionOptions retention;
  int64_t memory_bytes_max = 0;  // 0 = by the machine, see memory.h
  absl::Duration drain_timeout = absl::Seconds(30);
  absl::Duration shutdown_grace = absl::Seconds(5);
  std::string log_level = "info";
  LogFormat log_format = LogFormat::kText;
};

enum class SettingKind { kText, kNumber, kBool, kList };

// One row of the table.
struct Setting {
  std::string section;
  std::string key;
  std::string flag;  // without dashes
  SettingKind kind = SettingKind::kText;
  bool secret = false;  // never printed; may also be read from a file (..._FILE, ...-file)
  std::string help;
  // What it says of a malformed value quotes nothing of a secret.
  std::function<absl::Status(Config&, std::string_view)> set;
  std::function<std::string(const Config&)> get;
  bool common = false;  // one of the few that --help shows

  std::string name() const { return section + "." + key; }
  std::string environment() const;  // DURABLETASK_SECTION_KEY
};

// All settings, in the order of their documentation.
const std::vector<Setting>& Settings();

// What was given, by source. Values of lists are separated by commas.
struct ConfigSources {
  std::vector<std::pair<std::string, std::string>> defaults;  // of the verb: setting name, value
  std::string file_name;                                      // for messages
  std::string file_text;                                      // TOML
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<std::pair<std::string, std::string>> flags;  // flag without dashes, value
};

struct LoadedConfig {
  Config config;
  // Setting name -> where its value comes from; settings with their default are missing.
  std::map<std::string, std::string> origins;
};

// kInvalidArgument for an unknown key (naming the nearest one), a value that is malformed or
// outside its limits, or a secret file that cannot be read; the message names the source.
absl::StatusOr<LoadedConfig> LoadConfig(const ConfigSources& sources);

// `what` 'key' is unknown; did you mean ...? The nearest of `candidates` by edit distance, if it is
// near.
std::string UnknownKeyMessage(std::string_view what, std::string_view key,
                              const std::vector<std::string>& candidates);

// The effective settings as TOML, secrets masked, each with its origin as a comment.
std::string PrintConfig(const LoadedConfig& loaded);
// Settings as they are written on the command line.
enum class SettingsShown { kCommon, kAll };
std::string SettingsHelp(SettingsShown shown);
// The settings as a markdown table.
std::string SettingsMarkdown();

}  // namespace dt

#endif  // DT_SERVER_CONFIG_H_
