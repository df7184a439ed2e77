// dtbench's entity: it counts operations and sums their inputs; each answers with its input, mixed.
// Pure functions, as the workloads are.
#ifndef DT_TESTS_BENCH_ENTITY_H_
#define DT_TESTS_BENCH_ENTITY_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/orchestrator_service.pb.h"
#include "tests/bench/workload.h"

namespace dt::bench {

inline constexpr absl::string_view kOperationName = "step";

// Where the ids of all entities of a run begin. `run` is how the ids of its orchestrations begin.
std::string EntityPrefix(absl::string_view run);
// The entity with this number in the run of an orchestration.
std::string EntityId(absl::string_view orchestration, uint64_t number);

// A GUID that names an action of an orchestration, and what it says.
std::string RequestId(absl::string_view orchestration, uint64_t action);
bool ActionOfRequest(absl::string_view orchestration, absl::string_view request, uint64_t& action);

bool DecodeTotals(absl::string_view state, EntityTotals& totals);

// Runs the operations of one work item: fills `result`, but for its completion token. An error says
// what is wrong with the request; each operation has then failed with it and the state is kept.
absl::Status RunEntity(const EntityRequest& request, EntityBatchResult& result);

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_ENTITY_H_
