// What a worker's response asks for, put in order and checked, before anything of it is applied:
// either the whole response is applied or, with failure details, nothing of it.
#ifndef DT_SERVER_ORCHESTRATION_RESPONSE_CHECK_H_
#define DT_SERVER_ORCHESTRATION_RESPONSE_CHECK_H_

#include <optional>
#include <string>
#include <vector>

#include "proto/orchestrator_service.pb.h"
#include "server/orchestration/turn.h"

namespace dt::orchestration {

// Points into the response.
struct ResponsePlan {
  // By id, equal ids in the order of the response (4.1); without completions.
  std::vector<OrchestratorAction*> actions;
  // The one that counts (4.2); nullptr: the orchestration goes on.
  CompleteOrchestrationAction* completion = nullptr;
  // Not nullptr: the orchestration is rewound (4.28); a checked response has nothing else then.
  RewindOrchestrationAction* rewind = nullptr;
};

ResponsePlan ArrangeResponse(OrchestratorResponse& response);

// Terminate wins (3.28): takes ContinueAsNew out of the plan, for a turn that delivered an
// ExecutionTerminated. Returns false when no completion is left; then the actions are gone too, and
// the caller ends the orchestration as TERMINATED.
bool LetTerminationWin(OrchestratorResponse& response, ResponsePlan& plan);

// Why the response cannot be applied (3.21, 10.1): an action that is unknown or not served, a field
// that cannot be stored. nullopt: it can.
std::optional<TaskFailureDetails> CheckResponse(const OrchestratorResponse& response,
                                                const ResponsePlan& plan, const TurnLimits& limits);

// Failure details made by the server; such a failure is never worth a retry.
TaskFailureDetails MakeFailure(std::string error_type, std::string error_message);

// Error types of the server's failure details.
inline constexpr char kInvalidAction[] = "InvalidAction";
inline constexpr char kUnsupportedAction[] = "UnsupportedAction";
inline constexpr char kPayloadTooLarge[] = "PayloadTooLarge";
inline constexpr char kHistoryTooLarge[] = "HistoryTooLarge";
inline constexpr char kTooManyActions[] = "TooManyActions";

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_RESPONSE_CHECK_H_
