// What a run of dtbench is: the command line as a value.
#ifndef DT_TESTS_BENCH_OPTIONS_H_
#define DT_TESTS_BENCH_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/bench/workload.h"
#include "tests/bench/workloads.h"

namespace dt::bench {

struct Options {
  std::vector<std::string> addresses = {"127.0.0.1:4001"};  // each gets the worker streams
  std::vector<std::string> client_addresses;  // taken in turns; never empty when parsed
  std::string hub;                            // metadata `taskhub`; empty = not sent
  std::string token;  // metadata `authorization: Bearer ...`; empty = not sent
  const Workload* workload = &Chain();
  Parameters parameters;
  int in_flight = 64;
  int raise_in_flight = 64;       // calls of RaiseEvent
  double starts_per_second = 0;   // > 0: an open loop
  bool queue_first = false;       // start all, then connect the workers
  bool serve = false;             // a worker alone: no client and no measurement
  double timer_lead_seconds = 0;  // from the beginning to the first due timer
  double seconds = 15;
  double warmup_seconds = 2;
  int64_t count = 0;       // > 0: exactly so many orchestrations instead of a time
  bool reconnect = false;  // a server that is away is no error
  int workers = 1;         // GetWorkItems streams, of each address
  bool history_streaming = false;
  int worker_orchestrations = 0;  // what each stream announces; 0 = enough for all in flight
  int worker_activities = 0;
  int worker_entities = 0;
  double activity_seconds = 0;   // how long each activity takes
  int activity_concurrency = 0;  // that run at once in each stream; 0 = all that it has
  double timeout_seconds = 60;   // for each call of the client, and without any progress
  double connect_seconds = 10;   // how long the server may take to appear
  std::string postgres;          // libpq URL or conninfo; empty = look for the daemon's
  int daemon_pid = 0;    // 0 = whoever listens at the addresses, if they are of this machine
  int postgres_pid = 0;  // the postmaster; 0 = the parent of our own backend
  bool json = false;

  // Starts `count` instances, makes them run, and asks for their outputs at the end, instead of
  // waiting for each one.
  bool is_batch() const { return queue_first || workload->trigger() != Trigger::kNone; }
};

// What became of the command line. `exit_code` is for the process when there is nothing to run:
// help was asked for (0) or an option is wrong (the text is already printed).
struct ParsedOptions {
  bool run = false;
  int exit_code = 0;
  Options options;
};

ParsedOptions ParseOptions(int argc, const char* const* argv);

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_OPTIONS_H_
