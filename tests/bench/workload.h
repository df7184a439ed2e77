// What dtbench's orchestrations compute: pure functions, no clock, no thread, no gRPC.
//
// Every value is a 64 bit number inside a JSON string, padded to the wanted size. An activity mixes
// its input into a new number. A chain feeds each result to the next activity; a fan-out sums the
// results of N inputs. So a lost, repeated, swapped or stale result gives another output, and the
// client, which computes the same without a server, sees it.
//
// An orchestration's input carries the number of activities: a worker needs nothing but the
// request, and can finish what an earlier run left in the hub.
#ifndef DT_TESTS_BENCH_WORKLOAD_H_
#define DT_TESTS_BENCH_WORKLOAD_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/orchestrator_service.pb.h"

namespace dt::bench {

enum class WorkloadKind { kChain, kFanout };

struct Workload {
  WorkloadKind kind = WorkloadKind::kChain;
  int activities = 5;
  int payload_bytes = 22;
};

inline constexpr absl::string_view kChainName = "DtbenchChain";
inline constexpr absl::string_view kFanoutName = "DtbenchFanout";
inline constexpr absl::string_view kActivityName = "DtbenchStep";

absl::string_view WorkloadName(const Workload& workload);

// The input of the orchestration with this number, and the output that it must have.
std::string OrchestrationInput(const Workload& workload, uint64_t number);
std::string ExpectedOutput(const Workload& workload, uint64_t number);

// Answers one turn by replaying the request's events: fills `response` with the actions. An error
// says what is wrong with the request (it cannot come from a right server); the response is then a
// completion as FAILED that carries the text.
absl::Status RunTurn(const OrchestratorRequest& request, OrchestratorResponse& response);

// Runs one activity: fills `response` with its result, or with failure details and returns what is
// wrong with the request.
absl::Status RunActivity(const ActivityRequest& request, ActivityResponse& response);

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_WORKLOAD_H_
