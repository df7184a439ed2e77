// durabletask-sidecar: the program. Exit codes: 0 done, 1 failed (the reason is on stderr), 2 wrong
// usage or settings; the verbs for people (server/cli) have more.
#include <memory>
#include <string>
#include <string_view>

#include "absl/synchronization/mutex.h"
#include "fmt/format.h"
#include "server/cli/cli.h"
#include "server/command_line.h"
#include "server/config.h"
#include "server/daemon.h"
#include "server/database.h"
#include "server/doctor.h"
#include "server/logging.h"
#include "server/memory.h"
#include "server/postgres_backend.h"
#include "server/program.h"
#include "server/rpc/bearer_token.h"
#include "server/rpc/health_client.h"
#include "server/rpc/listen_address.h"
#include "server/version.h"

// Read by jemalloc before main. It gives back what was freed within a second and not in ten, by a
// thread of its own, so that a burst of large messages is forgotten soon.
extern "C" const char* const malloc_conf = "background_thread:true,dirty_decay_ms:1000";

namespace dt {
namespace {

constexpr absl::Duration kHealthCheckTimeout = absl::Seconds(5);

// Prints the answer of a verb, or its error.
int Report(const absl::StatusOr<std::string>& text) {
  if (!text.ok()) return Fail(kFailed, text.status());
  fmt::print("{}", *text);
  return 0;
}

// libpq falls back to a database named like the user on the local socket, which is hardly ever
// meant.
bool NamesDatabase(const Config& config) {
  if (!config.store.connection.url.empty()) return true;
  for (const char* name : {"PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE"}) {
    if (*Variable(name) != '\0') return true;
  }
  return false;
}

int CheckServing(const CommandLine& line, const Config& config) {
  std::string address = line.address;
  if (address.empty() && !config.server.addresses.empty()) address = config.server.addresses[0];
  // A daemon that listens everywhere is asked on this machine.
  for (const std::string_view any : {"0.0.0.0:", "[::]:", "*:"}) {
    if (address.rfind(any, 0) == 0) address = "127.0.0.1:" + address.substr(any.size());
  }
  // As the daemon itself listens: a unix socket never speaks TLS.
  const bool tls = line.tls || (config.server.tls.enabled() && !rpc::IsUnixSocket(address));
  const absl::Status status =
      rpc::CheckHealth(address, tls, kHealthCheckTimeout,
                       line.live ? rpc::HealthQuestion::kAlive : rpc::HealthQuestion::kServing);
  if (!status.ok()) return Fail(kFailed, status);
  fmt::print("{} {}\n", address, line.live ? "answers" : "is serving");
  return 0;
}

absl::StatusOr<std::string> FreshToken() {
  const absl::StatusOr<std::string> token = rpc::NewToken();
  if (!token.ok()) return token.status();
  return fmt::format(
      "# For the caller, who sends `authorization: Bearer TOKEN`; it is stored nowhere:\n"
      "{}\n"
      "# For the principal in the access file:\n"
      "sha256 = \"{}\"\n",
      *token, rpc::FormatDigest(rpc::DigestOf(*token)));
}

int CheckConfig(const Config& config) {
  const absl::Status access = OpenAccess(config).status();
  if (!access.ok()) return Fail(kUsage, access);
  return Report(std::string("the settings are good\n"));
}

int ReportFindings(const CommandLine& line, const Config& config) {
  const absl::StatusOr<std::vector<postgres::Finding>> findings = ExamineDatabase(config);
  if (!findings.ok()) return Fail(kFailed, findings.status());
  fmt::print("{}", line.json ? FindingsJson(*findings) : FindingsText(*findings));
  return ExitCodeOf(*findings);
}

// The verbs that need a database.
int RunWithDatabase(const CommandLine& line, const Config& config) {
  const bool dev = line.verb == CommandVerb::kDev;
  if (!dev && !NamesDatabase(config)) {
    return Fail(kUsage, absl::InvalidArgumentError(
                            "which database? Give --postgres URL or DURABLETASK_POSTGRES_URL; "
                            "`durabletask-sidecar dev` brings its own"));
  }
  switch (line.verb) {
    case CommandVerb::kSchemaUp:
      return Report(SchemaUp(config));
    case CommandVerb::kSchemaStatus:
      return Report(SchemaStatus(config));
    case CommandVerb::kDoctor:
      return ReportFindings(line, config);
    case CommandVerb::kSchemaDrop:
      if (!line.yes) {
        return Fail(kUsage, absl::InvalidArgumentError(fmt::format(
                                "this deletes schema {} with all task hubs and instances in it; "
                                "add --yes if you mean it",
                                config.store.schema)));
      }
      return Report(SchemaDrop(config));
    default: {
      Config shared = config;
      ShareMemory(MemoryBytesMax(config, MemoryOfMachine()), shared);
      return RunDaemon(shared, std::make_unique<PostgresBackend>(
                                   shared, dev && config.store.connection.url.empty()));
    }
  }
}

int Run(const CommandLine& line) {
  if (line.verb == CommandVerb::kHelp) return Report(HelpText(SettingsShown::kCommon));
  if (line.verb == CommandVerb::kHelpAll) return Report(HelpText(SettingsShown::kAll));
  if (line.verb == CommandVerb::kVersion)
    return Report(fmt::format("{} ({})\n", Version(), Commit()));
  if (line.verb == CommandVerb::kConfigDocs) return Report(SettingsMarkdown());
  if (line.verb == CommandVerb::kToken) return Report(FreshToken());
  const absl::StatusOr<ConfigSources> sources = GatherSources(line);
  if (!sources.ok()) return Fail(kUsage, sources.status());
  const absl::StatusOr<LoadedConfig> loaded = LoadConfig(*sources);
  if (!loaded.ok()) return Fail(kUsage, loaded.status());
  const Config& config = loaded->config;
  SetUpLogging(config.log_level, config.log_format);
  if (line.print_config || line.verb == CommandVerb::kConfigPrint) {
    return Report(PrintConfig(*loaded));
  }
  if (line.verb == CommandVerb::kConfigCheck) return CheckConfig(config);
  if (line.verb == CommandVerb::kHealthCheck) return CheckServing(line, config);
  if (line.verb == CommandVerb::kSchemaPrint) return Report(SchemaScript(config));
  return RunWithDatabase(line, config);
}

}  // namespace
}  // namespace dt

int main(int argc, char** argv) {
  // Debian builds Abseil with its search for lock cycles on: one global lock around every mutex of
  // gRPC and of ours. Our mutexes are never nested, which clang's thread safety analysis watches.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  if (dt::cli::IsForPeople(argc, argv)) return dt::cli::Run(argc, argv);
  const absl::StatusOr<dt::CommandLine> line = dt::ParseCommandLine(argc, argv);
  if (!line.ok()) return dt::Fail(dt::kUsage, line.status());
  return dt::Run(*line);
}
