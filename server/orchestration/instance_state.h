// What a turn needs to know about an orchestration's past, folded from its history. Pure values: no
// clock, thread, log, gRPC or database here (server/README.md, section 2).
#ifndef DT_SERVER_ORCHESTRATION_INSTANCE_STATE_H_
#define DT_SERVER_ORCHESTRATION_INSTANCE_STATE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "google/protobuf/timestamp.pb.h"
#include "proto/orchestrator_service.pb.h"
#include "storage/records.h"

namespace dt::orchestration {

// Outstanding work is counted, not kept as a set: Python uses one task id for every attempt
// (RULES.md 3.5).
enum class WorkKind : int8_t { kTask = 0, kTimer = 1, kSubOrchestration = 2 };
using WorkId = std::pair<WorkKind, int32_t>;

struct Outstanding {
  int count = 0;
  // Resolved since the orchestration was suspended: a Go worker may still send the action that
  // created it, which must not create it again (3.22). Forgotten at the resume.
  bool resolved_while_suspended = false;
};
using OutstandingMap = absl::flat_hash_map<WorkId, Outstanding>;

// A critical section that the orchestration has asked for and not left.
struct CriticalSection {
  bool granted = false;
  std::vector<std::string> entities;  // normalized, those that it has left taken out
};
// By canonical id, see CanonicalRequestId.
using CriticalSections = absl::flat_hash_map<std::string, CriticalSection>;

// The state of one generation after its last committed turn.
struct InstanceState {
  InstanceKey key = 0;
  HubId hub = 0;
  std::string instance_id;
  std::string execution_id;
  Generation generation = 0;
  int64_t turn = 0;
  std::string name;  // name and version route the instance to a worker (9.6)
  Payload version;
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
  OutstandingMap outstanding;  // without the fire-and-forget children, of which nobody waits
  absl::flat_hash_set<std::string> entity_calls;  // without an answer, by canonical request id
  CriticalSections sections;
  absl::flat_hash_set<uint64_t> sent_events;  // what was sent by sendEvent, see Fold::WouldRepeat

  // As workers get it: without the events that they never see (3.15), which only a rewind leaves
  // there. Turns are joined: a history of thousands of turns is a few slices, so that to send it
  // shares them and copies next to nothing.
  std::vector<HistoryChunk> history;
  // As stored.
  int64_t history_bytes = 0;
  int32_t event_count = 0;
};

// Builds the state of a claimed instance; folds its history. An instance whose stored history
// cannot be read, or has events but no ExecutionStarted, yields kDataLoss (RULES.md 3.4, first
// row).
absl::StatusOr<InstanceState> StateFromClaim(const Claim& claim);
// The state of an instance that is created with this key, before its first turn.
InstanceState StateOfNew(const NewInstance& instance, InstanceKey key);

// What a committed turn changes in the state of its instance. Made by FinishTurn, used up by
// ApplyCheckpoint; a delta instead of a second state, so that a turn costs what it changes and not
// what the instance holds.
struct StateDelta {
  int64_t turn = 0;
  RuntimeStatus status = RuntimeStatus::kRunning;
  Payload custom_status;
  std::optional<std::string> orchestration_trace_context;
  std::optional<ExecutionStartedEvent> started;  // set by the first turn of a generation
  bool suspended = false;
  bool has_hidden_events = false;  // some of the folded events are never delivered (3.15)
  google::protobuf::Timestamp last_started;
  OutstandingMap outstanding;  // new values of the entries that changed
  // What is changed by events and messages for others, which most turns have none of.
  struct Sent {
    std::vector<uint64_t> events;                         // more of them
    absl::flat_hash_map<std::string, bool> entity_calls;  // those that changed: whether they wait
    std::optional<CriticalSections> sections;             // all, if one has changed
  };
  std::unique_ptr<Sent> sent;
  std::optional<HistoryChunk> history;
  // Set by ContinueAsNew: what was folded so far is forgotten. Without the input.
  std::optional<NextGeneration> next_generation;
};

// Brings a state to what it is after the commit of the checkpoint that came with `delta`.
void ApplyCheckpoint(StateDelta delta, InstanceState& state);

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_INSTANCE_STATE_H_
