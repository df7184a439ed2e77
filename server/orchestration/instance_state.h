// What a turn needs to know about an orchestration's past, folded from its history. Pure values: no
// clock, thread, log, gRPC or database here (DESIGN.md, section 2).
#ifndef DT_SERVER_ORCHESTRATION_INSTANCE_STATE_H_
#define DT_SERVER_ORCHESTRATION_INSTANCE_STATE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/timestamp.pb.h"
#include "proto/orchestrator_service.pb.h"
#include "storage/records.h"

namespace dt::orchestration {

// Outstanding work is counted, not kept as a set: Python uses one task id for every attempt
// (semantics.md 3.5).
enum class WorkKind : int8_t { kTask = 0, kTimer = 1, kSubOrchestration = 2 };

struct Outstanding {
  int count = 0;
  // For sub-orchestrations: whom a recursive termination reaches.
  std::string child_instance_id;
  bool fire_and_forget = false;
  // For timers: the timestamp of TimerCreated, which TimerFired repeats (semantics.md 3.11).
  google::protobuf::Timestamp created_at;
};

// The state of one generation after its last committed turn.
struct InstanceState {
  InstanceKey key = 0;
  HubId hub = 0;
  std::string instance_id;
  std::string execution_id;
  Generation generation = 0;
  int64_t turn = 0;
  RuntimeStatus status = RuntimeStatus::kPending;
  std::optional<ParentLink> parent;
  Payload custom_status;
  Payload saved_custom_status;
  std::optional<std::string> orchestration_trace_context;

  // Folded from the history. `started` is ExecutionStarted without its input; unset before the
  // first turn of the generation.
  std::optional<ExecutionStartedEvent> started;
  bool suspended = false;
  google::protobuf::Timestamp last_started;  // of the last OrchestratorStarted
  absl::flat_hash_map<std::pair<WorkKind, int32_t>, Outstanding> outstanding;

  std::vector<HistoryChunk> history;
  int64_t history_bytes = 0;
  int32_t event_count = 0;
};

// Builds the state of a claimed instance; folds its history. An instance whose stored history cannot
// be read, or has events but no ExecutionStarted, yields kDataLoss (semantics.md 3.4, first row).
absl::StatusOr<InstanceState> StateFromClaim(const Claim& claim);

// Folds one event that became history. Used for loaded history and for the events of a new turn, so
// that a resident and a freshly claimed instance cannot differ.
void FoldEvent(const HistoryEvent& event, InstanceState& state);

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_INSTANCE_STATE_H_
