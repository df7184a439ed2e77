// The orchestration turn as pure functions: due messages -> request (PlanTurn, Encode...Item), and
// the worker's response -> one Checkpoint (FinishTurn). Rule numbers are those of RULES.md.
//
// A turn is: PlanTurn, then EncodeOrchestratorItem once per dispatch, then FinishTurn, then
// ApplyCheckpoint on the state when the checkpoint has committed. Nothing here changes a state
// before that.
//
// Front messages. ContinueAsNew binds to the next generation what must reach it before everything
// that already waits in the inbox: the carried-over events, the repeated suspend, and what the
// orchestration sent to itself beside it (3.2, 3.25, 4.21). PlanTurn knows them by that: an
// EventRaised or an ExecutionSuspended with a generation is one of these, since everybody else
// sends those kinds without.
#ifndef DT_SERVER_ORCHESTRATION_TURN_H_
#define DT_SERVER_ORCHESTRATION_TURN_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "proto/orchestrator_service.pb.h"
#include "server/orchestration/instance_state.h"
#include "storage/records.h"

namespace dt::orchestration {

// Fresh ids, as an argument, so that a test can give known ones.
class IdSource {
 public:
  virtual ~IdSource() = default;
  virtual std::string NewExecutionId() = 0;  // 32 lower-case hex digits
};

struct TurnLimits {
  int messages_max = 1000;
  int64_t message_bytes_max = 3 << 20;
  int64_t payload_bytes_max = 64 << 20;          // one input, result, event or custom status
  int64_t history_bytes_max = int64_t{1} << 30;  // of one generation
  size_t instance_id_chars_max = 512;
  size_t name_bytes_max = 1024;
  size_t version_bytes_max = 256;
  size_t tags_bytes_max = 64 << 10;
  int actions_max = 100'000;  // of one turn, carried-over events included
};

// One event of a turn's newEvents: serialized, and the message it came from.
struct TurnEvent {
  int64_t seq = 0;  // 0 = made by the server (OrchestratorStarted)
  int16_t event_type = 0;
  Generation generation = kAnyGeneration;
  absl::Time visible_at;
  SharedBytes event;
};

// A planned turn. Kept by the dispatcher with the lease until FinishTurn, so that the commit stores
// what was sent (3.9).
struct Turn {
  std::vector<TurnEvent> events;  // newEvents in order; the first is OrchestratorStarted (3.7)
  std::vector<int64_t> dropped;   // consumed without history (3.4)
  // Why each was dropped, parallel to `dropped`: for log event 313.
  std::vector<const char*> drop_reasons;
  // Wake-ups: consumed, with no event of their own. A rewind asks for a turn so (5.30).
  std::vector<int64_t> wake_ups;
  // No events, and none until the orchestration is resumed or terminated: it continued as new while
  // it was suspended (3.25).
  bool held = false;
  // Front messages that the limits kept out. A ContinueAsNew of this turn consumes them and sends
  // them again, bound to the next generation and after what it carries over itself.
  std::vector<TurnEvent> deferred;
  bool HasTermination() const;
  // No events: nothing to run; the caller discards `dropped`.
  bool empty() const { return events.empty(); }
};

// Selects, orders and filters (3.1-3.8). `messages` are the due messages in inbox order. Those that
// do not fit the limits stay in the inbox; an ExecutionTerminated always fits, so that a flooded
// orchestration can be ended. `more_messages`: the caller does not hold the whole inbox. Then, and
// before the first turn, which a scheduled start may hold back (3.3), a missing ExecutionStarted is
// waited for: the turn is empty and drops nothing.
Turn PlanTurn(const InstanceState& state, absl::Span<const Message> messages, absl::Time now,
              const TurnLimits& limits, bool more_messages = false);

struct RequestOptions {
  std::string_view completion_token;
  // Leave pastEvents empty and set requiresHistoryStreaming (3.16).
  bool stream_history = false;
};

// A serialized WorkItem in slices: the chunks of history are shared, not copied.
using Frame = std::vector<SharedBytes>;
Frame EncodeOrchestratorItem(const InstanceState& state, const Turn& turn,
                             const RequestOptions& options);
// Completes `task.request` by what the task's other fields say.
Frame EncodeActivityItem(const ActivityTask& task, std::string_view completion_token);
Frame EncodeHealthPing();

// The result of a turn.
struct TurnResult {
  Checkpoint checkpoint;
  // For ApplyCheckpoint, once the checkpoint has committed.
  StateDelta delta;
  // Set: the worker rewinds the orchestration (4.28). The checkpoint is then the turn without its
  // effects, with the new history whole as its chunk, for PlanOwnRewind; there is no delta.
  std::optional<RewindInstanceRequest> rewind;
  std::vector<std::string> warnings;  // for the log: what was left out, and why
};

// Applies a complete response (all chunks merged, see MergeChunk) as one checkpoint (section 4).
// Never fails for bad worker input: an unknown action, a bad payload or anything that cannot be
// stored completes the orchestration as FAILED with details (3.21, 10.1). `lease_token` fences the
// checkpoint. Children and tasks are written free (lease_token 0): the dispatcher may lease them to
// itself before it commits.
TurnResult FinishTurn(const InstanceState& state, const Turn& turn, OrchestratorResponse response,
                      LeaseToken lease_token, absl::Time now, IdSource& ids,
                      const TurnLimits& limits);

// Ends an instance without a worker: FAILED with these details (poison, 2.10; history limit).
TurnResult FailInstance(const InstanceState& state, const Turn& turn,
                        const TaskFailureDetails& details, LeaseToken lease_token, absl::Time now,
                        IdSource& ids, const TurnLimits& limits);

// Ends an instance as TERMINATED without a worker, by the ExecutionTerminated that the turn
// delivers (2.10).
TurnResult TerminateInstance(const InstanceState& state, const Turn& turn, LeaseToken lease_token,
                             absl::Time now, IdSource& ids, const TurnLimits& limits);

// Whether the response comes by itself, and is no part of a chunked one.
bool IsWhole(const OrchestratorResponse& response);
// Adds one part of a chunked response (3.18). Returns true when `merged` is complete.
bool MergeChunk(OrchestratorResponse part, OrchestratorResponse& merged);

// The answer of an activity as the message for its parent (6.2). The caller has set the response's
// taskId to that of the task, whatever the worker wrote there. A result over the limit becomes a
// TaskFailed that says so (10.1).
NewMessage ActivityResult(ActivityResponse response, Generation generation, absl::Time now,
                          const TurnLimits& limits = {});
// TaskFailed made by the server: poison, or a result that cannot be stored.
NewMessage ActivityFailure(int32_t task_id, Generation generation,
                           const TaskFailureDetails& details, absl::Time now);

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_TURN_H_
