// durabletask-null: the daemon as it is, calls, dispatch, settings and signals, on a store in
// memory in place of PostgreSQL: what our own transport can do at most. It forgets everything at
// its end. Never installed.
//
//   durabletask-null serve [--listen HOST:PORT] [settings of durabletask-sidecar]
//
// Settings of PostgreSQL are accepted and mean nothing. Exit codes as durabletask-sidecar.
#include <memory>
#include <string>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "fmt/format.h"
#include "server/command_line.h"
#include "server/config.h"
#include "server/logging.h"
#include "server/program.h"
#include "tests/support/memory_store.h"

namespace dt::bench {
namespace {

class MemoryBackend : public Backend {
 public:
  explicit MemoryBackend(absl::Duration lease) : lease_(lease) {}

  absl::StatusOr<std::unique_ptr<Store>> Open(StopSignals&, metrics::Metrics*) override {
    return std::make_unique<testing::MemoryStore>(&database_, testing::MemoryStore::Mode::kThread,
                                                  lease_);
  }
  std::string Describe() const override {
    return "  database   none: everything is in the memory of this process and ends with it\n";
  }
  void Close() override {}

 private:
  const absl::Duration lease_;
  testing::MemoryDatabase database_{[] { return absl::Now(); }};
};

int Run(int argc, char** argv) {
  const absl::StatusOr<CommandLine> line = ParseCommandLine(argc, argv);
  if (!line.ok()) return Fail(kUsage, line.status());
  if (line->verb != CommandVerb::kServe && line->verb != CommandVerb::kDev) {
    return Fail(kUsage, absl::InvalidArgumentError(
                            "durabletask-null does nothing but serve: `durabletask-null serve "
                            "--listen HOST:PORT`, with the settings of durabletask-sidecar"));
  }
  const absl::StatusOr<ConfigSources> sources = GatherSources(*line);
  if (!sources.ok()) return Fail(kUsage, sources.status());
  const absl::StatusOr<LoadedConfig> loaded = LoadConfig(*sources);
  if (!loaded.ok()) return Fail(kUsage, loaded.status());
  const Config& config = loaded->config;
  SetUpLogging(config.log_level, config.log_format);
  return RunDaemon(config, std::make_unique<MemoryBackend>(config.store.lease));
}

}  // namespace
}  // namespace dt::bench

int main(int argc, char** argv) {
  // As durabletask-sidecar, or the figures would not compare.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  return dt::bench::Run(argc, argv);
}
