#include "server/orchestration/ended_row.h"

#include <cstddef>
#include <string_view>
#include <utility>

#include "proto/orchestrator_service.pb.h"
#include "server/orchestration/event_bytes.h"
#include "server/orchestration/field_checks.h"
#include "server/orchestration/wire.h"

namespace dt::orchestration {
namespace {

// Of ExecutionStarted and of ExecutionCompleted each.
constexpr size_t kEventBytesMax = 256 << 10;

// The first event of this type in a chunk; nullopt if it has none or one that is too large.
template <typename Event>
std::optional<Event> FindEvent(const HistoryChunk& chunk, HistoryEvent::EventTypeCase type) {
  WireReader reader(*chunk.events);
  WireField field;
  while (reader.Next(field)) {
    EventView view;
    if (!ReadEvent(field.bytes, view)) return std::nullopt;
    if (view.type != type) continue;
    Event event;
    const bool read = view.body.size() <= kEventBytesMax &&
                      event.ParseFromArray(view.body.data(), static_cast<int>(view.body.size()));
    return read ? std::make_optional(std::move(event)) : std::nullopt;
  }
  return std::nullopt;
}

// Every generation begins with its ExecutionStarted.
std::optional<ExecutionStartedEvent> FindStarted(const InstanceState& state,
                                                 const HistoryChunk& last) {
  const HistoryChunk& first = state.history.empty() ? last : state.history.front();
  return FindEvent<ExecutionStartedEvent>(first, HistoryEvent::kExecutionStarted);
}

}  // namespace

std::optional<InstanceRow> EndedRow(const InstanceState& state, const StateDelta& delta,
                                    absl::Time created_at, absl::Time ended_at) {
  if (!delta.history.has_value()) return std::nullopt;
  auto started = FindStarted(state, *delta.history);
  auto completed =
      FindEvent<ExecutionCompletedEvent>(*delta.history, HistoryEvent::kExecutionCompleted);
  if (!started.has_value() || !completed.has_value()) return std::nullopt;
  InstanceRow row;
  row.key = state.key;
  row.instance_id = state.instance_id;
  row.execution_id = state.execution_id;
  row.generation = state.generation;
  row.name = state.name;
  row.version = state.version;
  row.status = delta.status;
  row.created_at = created_at;
  row.last_updated_at = ended_at;
  row.completed_at = ended_at;
  if (state.parent.has_value()) row.parent_instance_id = state.parent->instance_id;
  row.tags = ToTags(started->tags());
  if (started->has_input()) row.input = std::move(*started->mutable_input()->mutable_value());
  if (completed->has_result())
    row.output = std::move(*completed->mutable_result()->mutable_value());
  row.custom_status = delta.custom_status;
  if (completed->has_failuredetails()) {
    row.failure = completed->failuredetails().SerializeAsString();
  }
  return row;
}

}  // namespace dt::orchestration
