#include "server/dispatch/counts.h"

#include <algorithm>
#include <optional>

namespace dt::dispatch {
namespace {

using metrics::ActionKind;

// nullopt for one without a type, which is refused later.
std::optional<ActionKind> ActionKindOf(const OrchestratorAction& action) {
  switch (action.orchestratorActionType_case()) {
    case OrchestratorAction::kScheduleTask:
      return ActionKind::kActivity;
    case OrchestratorAction::kCreateSubOrchestration:
      return ActionKind::kSubOrchestration;
    case OrchestratorAction::kCreateTimer:
      return ActionKind::kTimer;
    case OrchestratorAction::kSendEvent:
      return ActionKind::kSendEvent;
    case OrchestratorAction::kSendEntityMessage:
      return ActionKind::kEntity;
    case OrchestratorAction::kTerminateOrchestration:
      return ActionKind::kTerminate;
    case OrchestratorAction::kRewindOrchestration:
      return ActionKind::kRewind;
    case OrchestratorAction::kCompleteOrchestration:
      return action.completeorchestration().orchestrationstatus() ==
                     ORCHESTRATION_STATUS_CONTINUED_AS_NEW
                 ? ActionKind::kContinueAsNew
                 : ActionKind::kComplete;
    default:
      return std::nullopt;
  }
}

}  // namespace

void CountActions(const OrchestratorResponse& response, metrics::HubMetrics& hub) {
  for (const OrchestratorAction& action : response.actions()) {
    if (const std::optional<ActionKind> kind = ActionKindOf(action)) hub.actions[*kind].Add();
  }
}

void CountTimerLag(const orchestration::Turn& turn, absl::Time now, metrics::HubMetrics& hub) {
  for (const orchestration::TurnEvent& event : turn.events) {
    if (event.event_type == HistoryEvent::kTimerFired) {
      hub.timer_lag.Observe(now - event.visible_at);
    }
  }
}

metrics::Answer AnswerOf(const EntityBatchResult& result) {
  const bool failed =
      std::any_of(result.results().begin(), result.results().end(),
                  [](const OperationResult& operation) { return operation.has_failure(); });
  return failed ? metrics::Answer::kFailure : metrics::Answer::kOk;
}

}  // namespace dt::dispatch
