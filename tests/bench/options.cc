#include "tests/bench/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>

namespace dt::bench {
namespace {

// Beyond this a stream's credit no longer limits anything; it keeps a fan-out of thousands polite.
constexpr int kWorkerActivitiesMax = 4096;

void FillDefaults(Options& options) {
  const int per_stream = (options.in_flight + options.workers - 1) / options.workers;
  if (options.worker_orchestrations == 0) options.worker_orchestrations = per_stream;
  if (options.worker_activities == 0) {
    const int64_t width =
        options.workload.kind == WorkloadKind::kFanout ? options.workload.activities : 1;
    options.worker_activities =
        static_cast<int>(std::min<int64_t>(kWorkerActivitiesMax, per_stream * width));
  }
}

}  // namespace

ParsedOptions ParseOptions(int argc, char** argv) {
  ParsedOptions parsed;
  Options& options = parsed.options;
  CLI::App app(
      "dtbench: load for a server of the Durable Task sidecar protocol. It is client and worker at "
      "once, checks every output, and prints throughput, latency and what it cost.");
  app.add_option("--address", options.address, "HOST:PORT of the server")->capture_default_str();
  app.add_option("--hub", options.hub,
                 "Task hub (metadata `taskhub`); absent: the server's default");
  app.add_option("--token", options.token,
                 "Bearer token (metadata `authorization`); better given as DTBENCH_TOKEN, which "
                 "other users of the machine do not see")
      ->envname("DTBENCH_TOKEN");
  std::string workload = "chain";
  app.add_option("--workload", workload,
                 "chain: activities one after the other; fanout: all at once, then a sum")
      ->check(CLI::IsMember({"chain", "fanout"}))
      ->capture_default_str();
  app.add_option("--activities", options.workload.activities, "Activities of one orchestration")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("--payload-bytes", options.workload.payload_bytes,
                 "Size of every input and result; the least is 22")
      ->check(CLI::Range(22, 64 << 20))
      ->capture_default_str();
  app.add_option("--in-flight", options.in_flight, "Orchestrations that run at the same time")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  auto* seconds = app.add_option("--seconds", options.seconds, "Length of the measurement")
                      ->check(CLI::PositiveNumber)
                      ->capture_default_str();
  app.add_option("--count", options.count, "Run exactly so many orchestrations instead of a time")
      ->check(CLI::PositiveNumber)
      ->excludes(seconds);
  app.add_option("--warmup-seconds", options.warmup_seconds, "Load before the measurement begins")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--workers", options.workers, "GetWorkItems streams")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--worker-orchestrations", options.worker_orchestrations,
                 "Concurrent orchestrations each stream announces; default: all in flight")
      ->check(CLI::PositiveNumber);
  app.add_option(
         "--worker-activities", options.worker_activities,
         "Concurrent activities each stream announces; default: all in flight, at most 4096")
      ->check(CLI::PositiveNumber);
  app.add_option("--timeout-seconds", options.timeout_seconds,
                 "A call of the client that takes longer fails the run")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--connect-seconds", options.connect_seconds, "How long to wait for the server")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--postgres", options.postgres,
                 "libpq URL of the server's database, for commits, round trips and WAL; default: "
                 "found through the process that listens at the address");
  app.add_option("--daemon-pid", options.daemon_pid,
                 "The server's process, for its CPU time; default: who listens at the address")
      ->check(CLI::PositiveNumber);
  app.add_option("--postgres-pid", options.postgres_pid,
                 "The postmaster, for its CPU time; default: found through the connection")
      ->check(CLI::PositiveNumber);
  app.add_flag("--json", options.json, "End with one line of JSON");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    parsed.exit_code = app.exit(error);
    return parsed;
  }
  options.workload.kind = workload == "chain" ? WorkloadKind::kChain : WorkloadKind::kFanout;
  FillDefaults(options);
  parsed.run = true;
  return parsed;
}

}  // namespace dt::bench
