#include "server/orchestration/fold.h"

#include <algorithm>

#include "absl/hash/hash.h"

namespace dt::orchestration {

WorkKind WorkKindOf(HistoryEvent::EventTypeCase type) {
  switch (type) {
    case HistoryEvent::kTimerCreated:
    case HistoryEvent::kTimerFired:
      return WorkKind::kTimer;
    case HistoryEvent::kSubOrchestrationInstanceCreated:
    case HistoryEvent::kSubOrchestrationInstanceCompleted:
    case HistoryEvent::kSubOrchestrationInstanceFailed:
      return WorkKind::kSubOrchestration;
    default:
      return WorkKind::kTask;
  }
}

bool IsResult(HistoryEvent::EventTypeCase type) {
  return type == HistoryEvent::kTaskCompleted || type == HistoryEvent::kTaskFailed ||
         type == HistoryEvent::kTimerFired ||
         type == HistoryEvent::kSubOrchestrationInstanceCompleted ||
         type == HistoryEvent::kSubOrchestrationInstanceFailed;
}

bool IsEntityAnswer(int message_type) {
  return message_type == HistoryEvent::kEntityOperationCompleted ||
         message_type == HistoryEvent::kEntityOperationFailed ||
         message_type == HistoryEvent::kEntityLockGranted;
}

bool IsHidden(HistoryEvent::EventTypeCase type) {
  return type == HistoryEvent::kExecutionCompleted || type == HistoryEvent::kExecutionRewound;
}

Fold::Fold(const InstanceState& state) : state_(state) {
  delta_.suspended = state.suspended;
  delta_.last_started = state.last_started;
}

bool Fold::Add(const EventView& event) {
  switch (event.type) {
    case HistoryEvent::kExecutionStarted: {
      ExecutionStartedEvent started;
      if (!ReadStarted(event, started)) return false;
      delta_.started = std::move(started);
      break;
    }
    case HistoryEvent::kOrchestratorStarted:
      delta_.last_started = event.timestamp;
      break;
    case HistoryEvent::kExecutionSuspended:
      delta_.suspended = true;
      break;
    case HistoryEvent::kExecutionResumed:
      delta_.suspended = false;
      ForgetResolved();
      break;
    case HistoryEvent::kTaskScheduled:
    case HistoryEvent::kTimerCreated:
      Create({WorkKindOf(event.type), event.event_id});
      break;
    case HistoryEvent::kSubOrchestrationInstanceCreated:
      if (!ReadChild(event).fire_and_forget) Create({WorkKindOf(event.type), event.event_id});
      break;
    default:
      if (IsResult(event.type)) {
        Resolve({WorkKindOf(event.type), ReadWorkId(event)});
      } else if (IsHidden(event.type)) {
        delta_.has_hidden_events = true;
      } else {
        return AddEntityEvent(event);
      }
      break;
  }
  return true;
}

const Outstanding* Fold::Find(WorkId id) const {
  const auto changed = delta_.outstanding.find(id);
  if (changed != delta_.outstanding.end()) return &changed->second;
  const auto known = state_.outstanding.find(id);
  return known == state_.outstanding.end() ? nullptr : &known->second;
}

Outstanding& Fold::Change(WorkId id) {
  const auto [entry, inserted] = delta_.outstanding.try_emplace(id);
  if (inserted) {
    const auto known = state_.outstanding.find(id);
    if (known != state_.outstanding.end()) entry->second = known->second;
  }
  return entry->second;
}

void Fold::Create(WorkId id) {
  Outstanding& outstanding = Change(id);
  ++outstanding.count;
  outstanding.resolved_while_suspended = false;
}

void Fold::Resolve(WorkId id) {
  const Outstanding* known = Find(id);
  // Only a rewritten history holds a result that nobody awaits; workers skip it too.
  if (known == nullptr || known->count == 0) return;
  Outstanding& outstanding = Change(id);
  if (--outstanding.count > 0) return;
  outstanding.resolved_while_suspended = delta_.suspended;
}

void Fold::ForgetResolved() {
  for (const auto& [id, outstanding] : state_.outstanding) {
    if (outstanding.resolved_while_suspended) Change(id);
  }
  for (auto& [id, outstanding] : delta_.outstanding) outstanding.resolved_while_suspended = false;
}

bool Fold::IsOutstanding(WorkId id) const {
  const Outstanding* outstanding = Find(id);
  return outstanding != nullptr && outstanding->count > 0;
}

bool Fold::WouldRepeat(WorkId id) const {
  const Outstanding* outstanding = Find(id);
  return outstanding != nullptr &&
         (outstanding->count > 0 || outstanding->resolved_while_suspended);
}

uint64_t Fold::SentEventName(int32_t event_id, std::string_view body) {
  return absl::HashOf(event_id, body);
}

bool Fold::WouldRepeat(int32_t event_id, const EventSentEvent& sent) const {
  if (state_.sent_events.empty()) return false;
  return state_.sent_events.contains(SentEventName(event_id, sent.SerializeAsString()));
}

StateDelta::Sent& Fold::ChangeSent() {
  if (delta_.sent == nullptr) delta_.sent = std::make_unique<StateDelta::Sent>();
  return *delta_.sent;
}

const ExecutionStartedEvent* Fold::started() const {
  if (delta_.started) return &*delta_.started;
  return state_.started ? &*state_.started : nullptr;
}

}  // namespace dt::orchestration
