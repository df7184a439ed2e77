#include "server/orchestration/instance_state.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/orchestration/event_bytes.h"
#include "server/orchestration/fold.h"
#include "server/orchestration/wire.h"

namespace dt::orchestration {
namespace {

// Slices of this size are left as they are; smaller ones are joined with a neighbour of about their
// own size. So a byte is copied once per doubling, a dozen times in all, and few slices are small.
constexpr size_t kSliceBytesMax = 256 << 10;

absl::Status Unreadable(const Claim& claim, const HistoryChunk& chunk) {
  return absl::DataLossError(absl::StrCat(
      "the stored history of instance \"", claim.instance_id, "\" (key ", claim.key,
      ") cannot be read at turn ", chunk.turn, ": restore it from a backup or purge the instance"));
}

// Adds the events of one chunk. False if they are not what their row says.
bool FoldChunk(const HistoryChunk& chunk, Fold& fold) {
  if (chunk.events == nullptr) return false;
  WireReader reader(*chunk.events);
  WireField field;
  int32_t events = 0;
  while (reader.Next(field)) {
    EventView event;
    if (field.number != kPastEventsField || field.type != WireType::kBytes) return false;
    if (!ReadEvent(field.bytes, event) || !fold.Add(event)) return false;
    ++events;
  }
  return reader.AtEnd() && events == chunk.event_count;
}

// The part of a delta that comes from events, on top of the state.
void ApplyFolded(StateDelta& delta, InstanceState& state) {
  if (delta.started) state.started = std::move(delta.started);
  state.suspended = delta.suspended;
  state.last_started = delta.last_started;
  for (auto& [id, outstanding] : delta.outstanding) {
    if (outstanding.count == 0 && !outstanding.resolved_while_suspended) {
      state.outstanding.erase(id);
    } else {
      state.outstanding.insert_or_assign(id, std::move(outstanding));
    }
  }
  if (delta.sent == nullptr) return;
  StateDelta::Sent& sent = *delta.sent;
  state.sent_events.insert(sent.events.begin(), sent.events.end());
  for (const auto& [request, waits] : sent.entity_calls) {
    if (waits) {
      state.entity_calls.insert(request);
    } else {
      state.entity_calls.erase(request);
    }
  }
  if (sent.sections) state.sections = *std::move(sent.sections);
}

// The events of a chunk that workers may see.
SharedBytes WithoutHiddenEvents(const HistoryChunk& chunk) {
  std::string kept;
  WireReader reader(*chunk.events);
  WireField field;
  while (reader.Next(field)) {
    EventView event;
    if (ReadEvent(field.bytes, event) && IsHidden(event.type)) continue;
    kept.append(field.whole);
  }
  return std::make_shared<const std::string>(std::move(kept));
}

// Joins the last slices while the one before the last is not much larger than the last.
void JoinSlices(std::vector<HistoryChunk>& slices) {
  while (slices.size() > 1) {
    const HistoryChunk& last = slices.back();
    HistoryChunk& before = slices[slices.size() - 2];
    const size_t larger = std::max(before.events->size(), last.events->size());
    if (larger >= kSliceBytesMax || before.events->size() >= 2 * last.events->size()) return;
    before.events = std::make_shared<const std::string>(*before.events + *last.events);
    before.event_count += last.event_count;
    before.turn = last.turn;
    slices.pop_back();
  }
}

void AppendHistory(HistoryChunk chunk, bool has_hidden_events, InstanceState& state) {
  state.history_bytes += static_cast<int64_t>(chunk.events->size());
  state.event_count += chunk.event_count;
  if (has_hidden_events) chunk.events = WithoutHiddenEvents(chunk);
  if (chunk.events->empty()) return;
  state.history.push_back(std::move(chunk));
  JoinSlices(state.history);
}

void BeginGeneration(NextGeneration next, InstanceState& state) {
  ++state.generation;
  state.execution_id = std::move(next.execution_id);
  state.version = std::move(next.version);
  state.saved_custom_status = std::move(next.saved_custom_status);
  state.started.reset();
  state.suspended = false;
  state.outstanding.clear();
  state.entity_calls.clear();
  state.sections.clear();
  state.sent_events.clear();
  state.history.clear();
  state.history_bytes = 0;
  state.event_count = 0;
}

}  // namespace

absl::StatusOr<InstanceState> StateFromClaim(const Claim& claim) {
  InstanceState state;
  state.key = claim.key;
  state.hub = claim.hub;
  state.instance_id = claim.instance_id;
  state.execution_id = claim.execution_id;
  state.generation = claim.generation;
  state.turn = claim.turn;
  state.name = claim.name;
  state.version = claim.version;
  state.status = claim.status;
  state.parent = claim.parent;
  state.custom_status = claim.custom_status;
  state.saved_custom_status = claim.saved_custom_status;
  state.orchestration_trace_context = claim.orchestration_trace_context;
  Fold fold(state);
  for (const HistoryChunk& chunk : claim.history) {
    if (!FoldChunk(chunk, fold)) return Unreadable(claim, chunk);
  }
  StateDelta delta = fold.TakeDelta();
  ApplyFolded(delta, state);
  for (const HistoryChunk& chunk : claim.history) {
    AppendHistory(chunk, delta.has_hidden_events, state);
  }
  if (state.event_count > 0 && !state.started) {
    return absl::DataLossError(
        absl::StrCat("the stored history of instance \"", claim.instance_id, "\" (key ", claim.key,
                     ") has no ExecutionStarted: restore it from a backup or purge the instance"));
  }
  return state;
}

InstanceState StateOfNew(const NewInstance& instance, InstanceKey key) {
  InstanceState state;
  state.key = key;
  state.hub = instance.hub;
  state.instance_id = instance.instance_id;
  state.execution_id = instance.execution_id;
  state.name = instance.name;
  state.version = instance.version;
  state.parent = instance.parent;
  return state;
}

void ApplyCheckpoint(StateDelta delta, InstanceState& state) {
  state.turn = delta.turn;
  state.status = delta.status;
  state.custom_status = std::move(delta.custom_status);
  state.orchestration_trace_context = std::move(delta.orchestration_trace_context);
  if (delta.next_generation) {
    state.last_started = delta.last_started;
    BeginGeneration(*std::move(delta.next_generation), state);
    return;
  }
  ApplyFolded(delta, state);
  if (delta.history) {
    AppendHistory(*std::move(delta.history), delta.has_hidden_events, state);
  }
}

}  // namespace dt::orchestration
