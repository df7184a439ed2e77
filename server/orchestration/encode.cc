// The work items as bytes. What is large, history, messages and activity requests, is spliced in as
// the shared slices it already is; only what is small is written here.

#include <memory>
#include <string>
#include <utility>

#include "server/orchestration/event_bytes.h"
#include "server/orchestration/turn.h"
#include "server/orchestration/wire.h"

namespace dt::orchestration {
namespace {

// Bytes of this size or more get a slice of their own instead of being copied.
constexpr size_t kSliceBytesMin = 4096;

// Gathers slices and bytes into a frame.
class FrameWriter {
 public:
  // The bytes that are not yet a slice.
  std::string& open() { return open_; }

  void Splice(SharedBytes bytes) {
    Close();
    size_ += bytes->size();
    frame_.push_back(std::move(bytes));
  }

  void AddEvent(int field, const SharedBytes& event) {
    AppendBytesHeader(field, event->size(), open_);
    AddBytes(event);
  }

  void AddBytes(const SharedBytes& bytes) {
    if (bytes->size() >= kSliceBytesMin) {
      Splice(bytes);
    } else {
      open_.append(*bytes);
    }
  }

  size_t size() const { return size_ + open_.size(); }

  // The frame with `head` before everything.
  Frame Take(std::string head) {
    Close();
    frame_.insert(frame_.begin(), std::make_shared<const std::string>(std::move(head)));
    return std::move(frame_);
  }

 private:
  void Close() {
    if (open_.empty()) return;
    size_ += open_.size();
    frame_.push_back(std::make_shared<const std::string>(std::exchange(open_, {})));
  }

  Frame frame_;
  std::string open_;
  size_t size_ = 0;
};

// A StringValue as a field: a message with the text as field 1, which proto3 leaves out when empty.
void AppendStringValue(int field, std::string_view text, std::string& out) {
  constexpr int kValue = 1;
  AppendBytesHeader(field, text.empty() ? 0 : BytesFieldSize(text.size()), out);
  if (!text.empty()) AppendBytesField(kValue, text, out);
}

// entityParameters { entityMessageReorderWindow { } }: zero seconds, and present (3.13).
void AppendEntityParameters(std::string& out) {
  std::string parameters;
  AppendBytesField(OrchestratorEntityParameters::kEntityMessageReorderWindowFieldNumber, "",
                   parameters);
  AppendBytesField(OrchestratorRequest::kEntityParametersFieldNumber, parameters, out);
}

// The work item around `request`, whose length is known only when it is written.
Frame WrapRequest(int field, FrameWriter request, std::string_view completion_token) {
  std::string head;
  AppendBytesHeader(field, request.size(), head);
  AppendBytesField(WorkItem::kCompletionTokenFieldNumber, completion_token, request.open());
  return request.Take(std::move(head));
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
