// How deep failure details may be nested (RULES.md 10.2). Readers of protocol buffers stop at 100
// levels of messages: what is stored deeper breaks the stream of each worker and the answer of each
// client that gets it.
#ifndef DT_SERVER_ORCHESTRATION_FAILURE_DEPTH_H_
#define DT_SERVER_ORCHESTRATION_FAILURE_DEPTH_H_

#include "proto/orchestrator_service.pb.h"

namespace dt::orchestration {

// Levels of innerFailure, the outermost included.
inline constexpr int kFailureLevelsMax = 32;
// Levels of messages below the outermost failure, those of properties included; the rest is for
// what failures are put into: work items, events, and the failures of parents.
inline constexpr int kMessageLevelsMax = 64;

// Cuts what is deeper, with a remark in the last failure that stays, and in the place of a
// property. Never recurses deeper than kMessageLevelsMax itself.
void LimitDepth(TaskFailureDetails& details);

// The same for the failure of an event, if it has one.
void LimitDepth(HistoryEvent& event);

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_FAILURE_DEPTH_H_
