// The part of Fold that is about entities: which calls wait for an answer, which critical sections
// are asked for and entered. In the JSON dialect requests are EventSent to the id of an entity, and
// answers are EventRaised that are called like the request.

#include <algorithm>
#include <utility>

#include "server/orchestration/entity_messages.h"
#include "server/orchestration/field_checks.h"
#include "server/orchestration/fold.h"

namespace dt::orchestration {
namespace {

template <typename Event>
bool Parse(const EventView& view, Event& event) {
  return event.ParseFromArray(view.body.data(), static_cast<int>(view.body.size()));
}

// As messages to it are addressed; what is no id of an entity is left as it is.
std::string EntityIdOf(const std::string& id) {
  auto normalized = NormalizeEntityId("id", id);
  return normalized.ok() ? *std::move(normalized) : id;
}

}  // namespace

bool Fold::AddEntityEvent(const EventView& event) {
  switch (event.type) {
    case HistoryEvent::kEntityOperationCalled:
      ChangeSent().entity_calls[CanonicalRequestId(ReadFirstText(event))] = true;
      return true;
    case HistoryEvent::kEntityOperationCompleted:
    case HistoryEvent::kEntityOperationFailed:
    case HistoryEvent::kEntityLockGranted:
    case HistoryEvent::kEventRaised:
      AddAnswer(event);
      return true;
    case HistoryEvent::kEntityLockRequested: {
      EntityLockRequestedEvent requested;
      if (!Parse(event, requested)) return false;
      std::vector<std::string> entities;
      for (const std::string& id : requested.lockset()) entities.push_back(EntityIdOf(id));
      Enter(requested.criticalsectionid(), std::move(entities));
      return true;
    }
    case HistoryEvent::kEntityUnlockSent: {
      EntityUnlockSentEvent unlock;
      if (!Parse(event, unlock)) return false;
      Leave(unlock.criticalsectionid(), EntityIdOf(unlock.targetinstanceid().value()));
      return true;
    }
    case HistoryEvent::kEventSent: {
      EventSentEvent sent;
      ChangeSent().events.push_back(SentEventName(event.event_id, event.body));
      if (!IsEntityId(ReadFirstText(event))) return true;
      if (!Parse(event, sent)) return false;
      AddJsonEvent(sent);
      return true;
    }
    default:
      return true;
  }
}

void Fold::AddAnswer(const EventView& event) {
  // Most orchestrations have nothing to do with entities, and many events.
  const bool calls = delta_.sent != nullptr && !delta_.sent->entity_calls.empty();
  if (!calls && state_.entity_calls.empty() && Sections().empty()) return;
  const std::string request_id = CanonicalRequestId(ReadFirstText(event));
  if (event.type != HistoryEvent::kEntityLockGranted && IsWaitingCall(request_id)) {
    ChangeSent().entity_calls[request_id] = false;
    return;
  }
  const bool grants =
      event.type == HistoryEvent::kEntityLockGranted || event.type == HistoryEvent::kEventRaised;
  if (!grants || !Sections().contains(request_id)) return;
  ChangeSections()[request_id].granted = true;
}

void Fold::AddJsonEvent(const EventSentEvent& sent) {
  const auto outgoing = FromJsonEvent(EntityIdOf(sent.instanceid()), sent.name(),
                                      ToPayload(sent.has_input(), sent.input()), state_.instance_id,
                                      state_.execution_id);
  if (!outgoing) return;
  const EntityMessage& message = outgoing->message;
  switch (message.kind) {
    case EntityMessage::Kind::kSignal:
      break;
    case EntityMessage::Kind::kCall:
      ChangeSent().entity_calls[CanonicalRequestId(message.request_id)] = true;
      break;
    case EntityMessage::Kind::kLockRequest:
      Enter(message.request_id, message.lock_set);
      break;
    case EntityMessage::Kind::kUnlock:
      Leave(message.request_id, outgoing->targets.front());
      break;
  }
}

void Fold::Enter(std::string_view section_id, std::vector<std::string> entities) {
  // A request that is sent again takes no grant back.
  ChangeSections().try_emplace(CanonicalRequestId(section_id),
                               CriticalSection{/*granted=*/false, std::move(entities)});
}

void Fold::Leave(std::string_view section_id, const std::string& entity_id) {
  const std::string id = CanonicalRequestId(section_id);
  if (!Sections().contains(id)) return;
  CriticalSection& section = ChangeSections()[id];
  std::erase(section.entities, entity_id);
  if (entity_id.empty()) section.entities.clear();  // the worker does not say which
  // One that is taken back before it is granted goes as a whole (7.26); but it may be granted by
  // now, so what is left of it is released at the end.
  if (section.entities.empty()) ChangeSections().erase(id);
}

bool Fold::IsWaitingCall(const std::string& request_id) const {
  if (delta_.sent != nullptr) {
    const auto changed = delta_.sent->entity_calls.find(request_id);
    if (changed != delta_.sent->entity_calls.end()) return changed->second;
  }
  return state_.entity_calls.contains(request_id);
}

const CriticalSections& Fold::Sections() const {
  return delta_.sent != nullptr && delta_.sent->sections ? *delta_.sent->sections : state_.sections;
}

CriticalSections& Fold::ChangeSections() {
  std::optional<CriticalSections>& sections = ChangeSent().sections;
  if (!sections) sections = state_.sections;
  return *sections;
}

bool Fold::AwaitsAnswer(int message_type, std::string_view request_id) const {
  const std::string id = CanonicalRequestId(request_id);
  if (message_type != HistoryEvent::kEntityLockGranted) return IsWaitingCall(id);
  const auto section = Sections().find(id);
  return section != Sections().end() && !section->second.granted;
}

bool Fold::Holds(const std::string& entity_id) const {
  return std::any_of(Sections().begin(), Sections().end(), [&](const auto& entry) {
    const CriticalSection& section = entry.second;
    return section.granted && std::find(section.entities.begin(), section.entities.end(),
                                        entity_id) != section.entities.end();
  });
}

}  // namespace dt::orchestration
