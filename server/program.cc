#include "server/program.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "fmt/format.h"
#include "server/daemon.h"
#include "server/stop_signals.h"
#include "spdlog/spdlog.h"
#include "storage/postgres/connection_url.h"

namespace dt {
namespace {

// The two variables that people know from the emulator, as ours; `dev` obeys them.
void AddEmulatorVariables(ConfigSources& sources) {
  const std::string names = Variable("DTS_TASK_HUB_NAMES");
  if (!names.empty()) sources.environment.emplace_back("DURABLETASK_HUBS_NAMES", names);
  const std::string dynamic = Variable("DTS_USE_DYNAMIC_TASK_HUBS");
  if (dynamic.empty()) return;
  sources.environment.emplace_back("DURABLETASK_HUBS_CREATE_UNKNOWN",
                                   dynamic == "true" || dynamic == "1" ? "true" : "false");
}

}  // namespace

int Fail(int code, const absl::Status& status) {
  // Where an URL stands in the wrong place, as a verb or as the name of a file, it is quoted.
  fmt::print(stderr, "durabletask-sidecar: {}\n",
             postgres::MaskPasswords(std::string(status.message())));
  return code;
}

const char* Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

absl::StatusOr<ConfigSources> GatherSources(const CommandLine& line) {
  ConfigSources sources;
  if (line.verb == CommandVerb::kDev) {
    sources.defaults = {{"hubs.create-unknown", "true"},
                        {"schema.up", "true"},
                        {"admin.listen", "127.0.0.1:4002"},
                        {"admin.optional", "true"}};
    AddEmulatorVariables(sources);
  }
  sources.flags = line.flags;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    sources.environment.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  sources.file_name = line.config_file.empty() ? Variable("DURABLETASK_CONFIG") : line.config_file;
  if (sources.file_name.empty()) return sources;
  std::ifstream file(sources.file_name, std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  if (!file) {
    return absl::InvalidArgumentError(
        fmt::format("cannot read the settings file '{}'", sources.file_name));
  }
  sources.file_text = text.str();
  return sources;
}

int RunDaemon(const Config& config, std::unique_ptr<Backend> backend) {
  StopSignals stop;
  absl::StatusOr<std::unique_ptr<Daemon>> daemon = Daemon::Start(config, std::move(backend), stop);
  if (!daemon.ok()) {
    if (stop.asked() && absl::IsCancelled(daemon.status())) return 0;
    return Fail(kFailed, daemon.status());
  }
  fmt::print("{}", (*daemon)->Banner());
  std::fflush(stdout);
  stop.Wait();
  (*daemon)->Stop();
  spdlog::info("stopped");
  return 0;
}

}  // namespace dt
