#include "tests/bench/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace dt::bench {
namespace {

// Beyond this a stream's credit no longer limits anything; it keeps a fan-out of thousands polite.
constexpr int kWorkerItemsMax = 4096;
constexpr int64_t kTreeInstancesMax = 100'000;
// A default for slow machines: so many instances start and take their first turn in a second.
constexpr double kWaitingPerSecond = 1000;
constexpr double kTimerLeadSecondsMin = 2;

std::vector<std::string> WorkloadNames() {
  std::vector<std::string> names;
  for (const Workload* workload : AllWorkloads()) names.emplace_back(workload->name());
  return names;
}

void AddWorkload(CLI::App& app, Options& options) {
  app.add_option_function<std::string>(
         "--workload",
         [&options](const std::string& name) { options.workload = FindWorkload(name); },
         "What an orchestration does: chain (the default): activities one after the other; fanout: "
         "all at once, then a sum; tree: sub-orchestrations; timers; events; generations: "
         "continue-as-new; entity_hot: signals and calls of one entity; entity_many: of a "
         "thousand; "
         "entity_lock: critical sections of two")
      ->check(CLI::IsMember(WorkloadNames()));
  Parameters& parameters = options.parameters;
  app.add_option("--activities", parameters.activities,
                 "Activities of one orchestration of chain or fanout")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("--width", parameters.width, "Children of each parent of a tree")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  app.add_option("--depth", parameters.depth, "Levels of a tree below its root")
      ->check(CLI::Range(0, 16))
      ->capture_default_str();
  app.add_option_function<double>(
         "--timer-spread-seconds",
         [&parameters](double seconds) {
           parameters.timer_spread_us = static_cast<int64_t>(seconds * 1e6);
         },
         "The timers are due evenly over this time; 0, the default: all at one instant")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--timer-lead-seconds", options.timer_lead_seconds,
                 "From the beginning to the first due timer, time for all to start; default: 2 s "
                 "and 1 ms for each")
      ->check(CLI::PositiveNumber);
  app.add_option("--events-each", parameters.events_each,
                 "Events that each orchestration waits for")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--raise-in-flight", options.raise_in_flight,
                 "Calls of RaiseEvent at the same time")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("--generations", parameters.generations,
                 "Generations of one orchestration that continues as new")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--entities", parameters.entities,
                 "Entities that the orchestrations share; default: entity_hot 1, entity_many 1000, "
                 "entity_lock 100")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--signals", parameters.signals,
                 "Signals of one orchestration; default: entity_hot 10, entity_many 0")
      ->check(CLI::Range(0, 1000000));
  app.add_option("--calls", parameters.calls,
                 "Calls of one orchestration, one after the other; default: entity_hot 1, "
                 "entity_many 5")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--payload-bytes", parameters.payload_bytes,
                 "Size of every input and result; the least is 22")
      ->check(CLI::Range(22, 64 << 20))
      ->capture_default_str();
}

// The names of options that say how long, for CheckBatch.
constexpr char kSeconds[] = "--seconds";
constexpr char kWarmupSeconds[] = "--warmup-seconds";
constexpr char kStartsPerSecond[] = "--starts-per-second";

void AddLoad(CLI::App& app, Options& options) {
  app.add_option("--in-flight", options.in_flight, "Orchestrations that run at the same time")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  auto* starts = app.add_option(kStartsPerSecond, options.starts_per_second,
                                "Start so many a second, however many are in flight")
                     ->check(CLI::Range(0.01, 100000.0));
  auto* queue =
      app.add_flag("--queue-first", options.queue_first,
                   "Start all of --count, then connect the workers and measure how they drain it")
          ->excludes(starts);
  auto* seconds = app.add_option(kSeconds, options.seconds, "Length of the measurement")
                      ->check(CLI::PositiveNumber)
                      ->capture_default_str();
  auto* count = app.add_option("--count", options.count,
                               "Run exactly so many orchestrations instead of a time")
                    ->check(CLI::PositiveNumber)
                    ->excludes(seconds);
  auto* warmup =
      app.add_option(kWarmupSeconds, options.warmup_seconds, "Load before the measurement begins")
          ->check(CLI::NonNegativeNumber)
          ->capture_default_str();
  app.add_flag("--serve", options.serve,
               "Be a worker alone, for orchestrations that others start, until the stream ends")
      ->excludes(starts)
      ->excludes(queue)
      ->excludes(seconds)
      ->excludes(count)
      ->excludes(warmup);
  app.add_option(
         "--timeout-seconds", options.timeout_seconds,
         "A call of the client that takes longer fails the run, and so long without progress")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

void AddWorkers(CLI::App& app, Options& options) {
  app.add_option("--workers", options.workers, "GetWorkItems streams, of each address")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--worker-orchestrations", options.worker_orchestrations,
                 "Concurrent orchestrations each stream announces; default: all in flight, at most "
                 "4096 unless --in-flight is more")
      ->check(CLI::PositiveNumber);
  app.add_option(
         "--worker-activities", options.worker_activities,
         "Concurrent activities each stream announces; default: all in flight, at most 4096")
      ->check(CLI::PositiveNumber);
  app.add_option("--activity-seconds", options.activity_seconds, "How long each activity takes")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--activity-concurrency", options.activity_concurrency,
                 "Activities that each stream runs at once; the others that it was given wait in "
                 "the worker, as in the SDKs; default: all of them")
      ->check(CLI::PositiveNumber);
  app.add_flag("--history-streaming", options.history_streaming,
               "The workers take long histories through StreamInstanceHistory");
}

void AddServer(CLI::App& app, Options& options) {
  app.add_option("--address,--addresses", options.addresses,
                 "HOST:PORT of the server, or of several servers of one hub, with commas between: "
                 "each gets worker streams")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->default_str(options.addresses.front());
  app.add_option("--client-addresses", options.client_addresses,
                 "The servers that clients call, in turns; default: those of the workers")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_flag("--reconnect", options.reconnect,
               "A server that is away (UNAVAILABLE, CANCELLED) is no error: clients make their "
               "call again, streams are opened again, and what ran twice is counted");
  app.add_option("--hub", options.hub,
                 "Task hub (metadata `taskhub`); absent: the server's default");
  app.add_option("--token", options.token,
                 "Bearer token (metadata `authorization`); better given as DTBENCH_TOKEN, which "
                 "other users of the machine do not see")
      ->envname("DTBENCH_TOKEN");
  app.add_option("--connect-seconds", options.connect_seconds, "How long to wait for the server")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--postgres", options.postgres,
                 "libpq URL of the server's database, for commits, round trips and WAL; default: "
                 "found through the process that listens at the first address");
  app.add_option("--daemon-pid", options.daemon_pid,
                 "The server's process, for its CPU time; default: who listens at the addresses")
      ->check(CLI::PositiveNumber);
  app.add_option("--postgres-pid", options.postgres_pid,
                 "The postmaster, for its CPU time; default: found through the connection")
      ->check(CLI::PositiveNumber);
  app.add_flag("--json", options.json, "End with one line of JSON");
}

// What is wrong with the options together.
void Check(const CLI::App& app, const Options& options) {
  const Amounts each = options.workload->Each(options.parameters);
  if (each.instances > kTreeInstancesMax) {
    throw CLI::ValidationError(absl::StrCat("--width, --depth: a tree of ", each.instances,
                                            " instances; the most is ", kTreeInstancesMax));
  }
  if (options.workload == &EntityLock() && options.parameters.entities == 1) {
    throw CLI::ValidationError("--entities: entity_lock needs two");
  }
  if (!options.is_batch()) return;
  const std::string way =
      options.queue_first ? "--queue-first" : absl::StrCat("--workload ", options.workload->name());
  for (const char* name : {kSeconds, kStartsPerSecond}) {
    if (app.count(name) > 0) {
      throw CLI::ValidationError(absl::StrCat(name, ": not with ", way, ", which runs --count"));
    }
  }
  if (app.count(kWarmupSeconds) > 0 && options.warmup_seconds > 0) {
    throw CLI::ValidationError(absl::StrCat(kWarmupSeconds, ": there is no warm-up with ", way));
  }
  if (options.queue_first && options.workload->trigger() != Trigger::kNone) {
    throw CLI::ValidationError(
        absl::StrCat("--queue-first: not with --workload ", options.workload->name()));
  }
}

void FillDefaults(Options& options) {
  if (options.client_addresses.empty()) options.client_addresses = options.addresses;
  if (options.is_batch()) {
    options.warmup_seconds = 0;
    if (options.count == 0) options.count = options.in_flight;
  }
  options.parameters.timers = std::max<int64_t>(1, options.count);
  if (options.timer_lead_seconds == 0) {
    options.timer_lead_seconds =
        kTimerLeadSecondsMin + static_cast<double>(options.count) / kWaitingPerSecond;
  }
  const int64_t per_stream = (options.in_flight + options.workers - 1) / options.workers;
  options.workload->FillDefaults(options.parameters);
  const Amounts each = options.workload->Each(options.parameters);
  const auto credit = [per_stream](int64_t of_each) {
    const int64_t all = per_stream * std::max<int64_t>(1, of_each);
    return static_cast<int>(std::max(per_stream, std::min<int64_t>(kWorkerItemsMax, all)));
  };
  if (options.worker_orchestrations == 0) options.worker_orchestrations = credit(each.instances);
  if (options.worker_activities == 0) {
    options.worker_activities = std::min(kWorkerItemsMax, credit(each.activities_at_once));
  }
  options.worker_entities = std::min(kWorkerItemsMax, credit(each.operations));
}

}  // namespace

ParsedOptions ParseOptions(int argc, const char* const* argv) {
  ParsedOptions parsed;
  Options& options = parsed.options;
  CLI::App app(
      "dtbench: load for a server of the Durable Task sidecar protocol. It is client and worker at "
      "once, checks every output, and prints throughput, latency and what it cost.");
  AddServer(app, options);
  AddWorkload(app, options);
  AddLoad(app, options);
  AddWorkers(app, options);
  try {
    app.parse(argc, argv);
    Check(app, options);
  } catch (const CLI::Error& error) {
    parsed.exit_code = app.exit(error);
    return parsed;
  }
  FillDefaults(options);
  parsed.run = true;
  return parsed;
}

}  // namespace dt::bench
