// What dtbench's orchestrations compute: pure functions, no clock, no thread, no gRPC.
//
// An activity mixes its input into a new number, and each workload combines numbers so that a lost,
// repeated, swapped or stale result gives another output; the client, which computes the same
// without a server, sees it.
//
// An orchestration's input carries all that its worker needs: a worker can finish what an earlier
// run left in the hub. So the objects here have no state: what the client chose is an argument.
#ifndef DT_TESTS_BENCH_WORKLOAD_H_
#define DT_TESTS_BENCH_WORKLOAD_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/orchestrator_service.pb.h"
#include "tests/bench/payload.h"

namespace dt::bench {

class Answer;
class Replay;

// What the client chooses. Each workload reads its own.
struct Parameters {
  int payload_bytes = 22;
  int activities = 5;  // chain, fanout
  int width = 3;       // tree
  int depth = 3;
  int64_t timer_first_due_us = 0;  // since 1970
  int64_t timer_spread_us = 0;     // from the first to the last of `timers`
  int64_t timers = 1;
  int events_each = 1;
  int generations = 1000;
  // entity_...; negative = the workload's own.
  int entities = -1;  // that the orchestrations of a run share
  int signals = -1;   // of one orchestration
  int calls = -1;
};

// What one orchestration is, its descendants included.
struct Amounts {
  int64_t activities = 0;
  int64_t activities_at_once = 0;
  int64_t instances = 1;
  int64_t events = 0;
  int64_t generations = 1;
  int64_t operations = 0;  // of entities
};

// What operations come to: how many, and the sum of their inputs.
struct EntityTotals {
  uint64_t operations = 0;
  uint64_t sum = 0;
};

// What the instances of a batch wait for, once they run.
enum class Trigger { kNone, kTimer, kEvents };

enum class TaskKind { kNone, kActivity, kSubOrchestration, kTimer, kEntity };

// What an orchestration does in one generation: so many tasks of one kind, and takes so many
// events.
struct Plan {
  TaskKind kind = TaskKind::kNone;
  uint64_t tasks = 0;
  uint64_t events = 0;
};

class Workload {
 public:
  virtual ~Workload() = default;

  virtual absl::string_view name() const = 0;  // on the command line
  virtual absl::string_view orchestration() const = 0;
  virtual Trigger trigger() const { return Trigger::kNone; }
  // Sets what the command line left to the workload.
  virtual void FillDefaults(Parameters&) const {}

  // The client's side: what the orchestration with this number is started with, and what it must
  // come to. The input is another one at the end where generations follow each other.
  virtual Amounts Each(const Parameters& parameters) const = 0;
  virtual std::string InputOf(const Parameters& parameters, uint64_t number) const = 0;
  virtual std::string LastInputOf(const Parameters& parameters, uint64_t number) const {
    return InputOf(parameters, number);
  }
  virtual uint64_t OutputOf(const Parameters& parameters, uint64_t number) const = 0;
  // What it does to entities.
  virtual EntityTotals TotalsOf(const Parameters&, uint64_t) const { return {}; }

  // The worker's side. False when the numbers of the input are none of this workload's.
  virtual bool PlanOf(const Input& input, Plan& plan) const = 0;
  // The next actions, after events that fit the plan.
  virtual void Decide(const Replay& replay, Answer& answer) const = 0;
};

absl::Span<const Workload* const> AllWorkloads();
// Null when there is none.
const Workload* FindWorkload(absl::string_view name);
const Workload* FindOrchestration(absl::string_view orchestration);

inline constexpr absl::string_view kActivityName = "DtbenchStep";
inline constexpr absl::string_view kEventName = "DtbenchEvent";
inline constexpr absl::string_view kEntityName = "dtbenchentity";

std::string ExpectedOutput(const Workload& workload, const Parameters& parameters, uint64_t number);

// What the event `index` carries that is raised to the orchestration with this number.
std::string EventInput(const Parameters& parameters, uint64_t number, uint64_t index);

// Answers one turn after its replay, of which `status` tells: fills `response` with the actions. An
// error says what is wrong with the request (it cannot come from a right server); the response is
// then a completion as FAILED that carries the text.
absl::Status AnswerTurn(const Replay& replay, absl::Status status, OrchestratorResponse& response);

// The same for a request that carries its whole history.
absl::Status RunTurn(const OrchestratorRequest& request, OrchestratorResponse& response);

// Runs one activity: fills `response` with its result, or with failure details and returns what is
// wrong with the request.
absl::Status RunActivity(const ActivityRequest& request, ActivityResponse& response);

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_WORKLOAD_H_
