// Gathers one turn as a checkpoint: the delivered events, the effects of each action, and the end
// of the orchestration or of its generation. Internal to FinishTurn; used once and thrown away.
#ifndef DT_SERVER_ORCHESTRATION_TURN_BUILDER_H_
#define DT_SERVER_ORCHESTRATION_TURN_BUILDER_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"
#include "proto/orchestrator_service.pb.h"
#include "server/orchestration/effects.h"
#include "server/orchestration/entity_messages.h"
#include "server/orchestration/event_bytes.h"
#include "server/orchestration/fold.h"
#include "server/orchestration/turn.h"

namespace dt::orchestration {

// What every part of a turn is made from; refers to the arguments of FinishTurn.
struct TurnContext {
  const InstanceState& state;
  const Turn& turn;
  size_t processed;  // how many of turn.events the worker has processed (3.19)
  LeaseToken lease_token;
  absl::Time now;
  IdSource& ids;
  const TurnLimits& limits;
};

// The fence, and what the turn consumes and gives back.
void BeginCheckpoint(const TurnContext& context, TurnResult& result);

// How the turn leaves the orchestration; the effects of its actions depend on it (4.16, 4.25).
enum class TurnEnd : int8_t { kGoesOn, kEnds, kContinuesAsNew };

class TurnBuilder {
 public:
  // Takes over the processed events. `terminates_children`: the turn ends by a recursive
  // termination, so a child that it would create ends before it begins and is not created.
  TurnBuilder(const TurnContext& context, TurnEnd end, bool terminates_children = false);

  // Applies an action that CheckResponse has passed; moves its contents out. Not for completions.
  void Apply(OrchestratorAction& action);

  // Ends the orchestration with a terminal status; `failure` is set for FAILED and only for it.
  void Complete(RuntimeStatus status, Payload result, std::optional<TaskFailureDetails> failure);
  // Sends the termination on to what is live below (3.30). The children of this turn's actions are
  // not created at all, if the builder was told so.
  void TerminateChildren(const ExecutionTerminatedEvent& termination);

  // `custom_status` is the effective one.
  void ContinueAsNew(CompleteOrchestrationAction& action, const Payload& custom_status);

  // The effective custom status and trace context after the turn.
  void SetVisible(Payload custom_status, std::optional<std::string> trace_context);

  // Bytes of this turn's history.
  int64_t history_bytes() const { return chunk_.bytes(); }

  TurnResult Take();

 private:
  void ScheduleTask(int32_t id, ScheduleTaskAction& action);
  void CreateTimer(int32_t id, const CreateTimerAction& action);
  void CreateChild(int32_t id, CreateSubOrchestrationAction& action);
  void SendEvent(int32_t id, SendEventAction& action);
  void SendEntityMessage(int32_t id, SendEntityMessageAction& action);
  void SendJsonEvent(const SendEventAction& action);
  void SendToEntities(OutgoingEntityMessage outgoing);
  void TakeBackOrRelease(const EntityMessage& unlock, const std::string& target);
  void TerminateOther(TerminateOrchestrationAction& action);

  EffectSource Source() const { return {state_, fold_.started(), now_}; }
  HistoryEvent EventNow(int32_t event_id) const { return MakeEvent(event_id, now_); }
  void AppendAction(const HistoryEvent& event);
  bool IsNewChild(const std::string& instance_id) const;
  void FailChild(int32_t id, const std::string& error_type, const std::string& error_message);
  void NotifyParent(RuntimeStatus status, const Payload& result,
                    const std::optional<TaskFailureDetails>& failure);
  void CarryOver(CompleteOrchestrationAction& action);

  const TurnContext context_;
  const InstanceState& state_;
  const TurnEnd end_;
  const bool terminates_children_;
  const google::protobuf::Timestamp now_;
  Fold fold_;
  ChunkWriter chunk_;
  TurnResult result_;
  RuntimeStatus status_ = RuntimeStatus::kRunning;
  Payload output_;
  std::optional<std::string> failure_;
  Payload custom_status_;
  std::optional<std::string> trace_context_;
  // Events that the orchestration sent to itself beside ContinueAsNew.
  std::vector<NewMessage> self_events_;
  // Ids of the children of this turn: a second one with the same id finds the first one live.
  absl::flat_hash_set<std::string> child_ids_;
  // Critical sections that this turn has asked for and taken back.
  absl::flat_hash_set<std::string> withdrawn_;
};

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_TURN_BUILDER_H_
