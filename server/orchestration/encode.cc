// The work items as bytes. What is large, history, messages and activity requests, is spliced in as
// the shared slices it already is; only what is small is written here.

#include <memory>
#include <string>
#include <utility>

#include "server/orchestration/frame_writer.h"
#include "server/orchestration/turn.h"
#include "server/orchestration/wire.h"

namespace dt::orchestration {
namespace {

// entityParameters { entityMessageReorderWindow { } }: zero seconds, and present (3.13).
void AppendEntityParameters(std::string& out) {
  std::string parameters;
  AppendBytesField(OrchestratorEntityParameters::kEntityMessageReorderWindowFieldNumber, "",
                   parameters);
  AppendBytesField(OrchestratorRequest::kEntityParametersFieldNumber, parameters, out);
}

}  // namespace

Frame EncodeOrchestratorItem(const InstanceState& state, const Turn& turn,
                             const RequestOptions& options) {
  FrameWriter request;
  AppendBytesField(OrchestratorRequest::kInstanceIdFieldNumber, state.instance_id, request.open());
  AppendStringValue(OrchestratorRequest::kExecutionIdFieldNumber, state.execution_id,
                    request.open());
  if (!options.stream_history) {
    for (const HistoryChunk& chunk : state.history) request.Splice(chunk.events);
  }
  for (const TurnEvent& event : turn.events) {
    request.AddEvent(OrchestratorRequest::kNewEventsFieldNumber, event.event);
  }
  AppendEntityParameters(request.open());
  if (options.stream_history) {
    AppendVarintField(OrchestratorRequest::kRequiresHistoryStreamingFieldNumber, 1, request.open());
  }
  if (state.orchestration_trace_context) {
    AppendBytesField(OrchestratorRequest::kOrchestrationTraceContextFieldNumber,
                     *state.orchestration_trace_context, request.open());
  }
  return WrapRequest(WorkItem::kOrchestratorRequestFieldNumber, std::move(request),
                     options.completion_token);
}

Frame EncodeActivityItem(const ActivityTask& task, std::string_view completion_token) {
  FrameWriter request;
  AppendBytesField(ActivityRequest::kNameFieldNumber, task.name, request.open());
  std::string instance;
  AppendBytesField(OrchestrationInstance::kInstanceIdFieldNumber, task.instance_id, instance);
  AppendStringValue(OrchestrationInstance::kExecutionIdFieldNumber, task.execution_id, instance);
  AppendBytesField(ActivityRequest::kOrchestrationInstanceFieldNumber, instance, request.open());
  AppendVarintField(ActivityRequest::kTaskIdFieldNumber,
                    static_cast<uint64_t>(int64_t{task.task_id}), request.open());
  // Fields in any order are one message.
  request.AddBytes(task.request);
  return WrapRequest(WorkItem::kActivityRequestFieldNumber, std::move(request), completion_token);
}

Frame EncodeHealthPing() {
  std::string ping;
  AppendBytesField(WorkItem::kHealthPingFieldNumber, "", ping);
  return {std::make_shared<const std::string>(std::move(ping))};
}

}  // namespace dt::orchestration
