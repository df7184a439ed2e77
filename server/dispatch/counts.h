// What the dispatcher counts (storage/metrics) that takes more than a line.
#ifndef DT_SERVER_DISPATCH_COUNTS_H_
#define DT_SERVER_DISPATCH_COUNTS_H_

#include "absl/time/time.h"
#include "proto/orchestrator_service.pb.h"
#include "server/orchestration/turn.h"
#include "storage/metrics/hub_metrics.h"

namespace dt::dispatch {

// What the worker of a turn asks for.
void CountActions(const OrchestratorResponse& response, metrics::HubMetrics& hub);
// How late the timers are that a turn brings, when it is sent.
void CountTimerLag(const orchestration::Turn& turn, absl::Time now, metrics::HubMetrics& hub);
// Whether an operation of the batch failed.
metrics::Answer AnswerOf(const EntityBatchResult& result);

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_COUNTS_H_
