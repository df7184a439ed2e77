// Folding events into what the next turn must know. The same code folds a loaded history, the
// messages that a turn may deliver, and the events that a turn writes, so that a resident and a
// freshly claimed instance cannot differ.
#ifndef DT_SERVER_ORCHESTRATION_FOLD_H_
#define DT_SERVER_ORCHESTRATION_FOLD_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/orchestration/event_bytes.h"
#include "server/orchestration/instance_state.h"

namespace dt::orchestration {

// The committed state with further events on top of it; the state itself is not touched.
class Fold {
 public:
  // `state` must outlive this.
  explicit Fold(const InstanceState& state);

  // Folds one event. False if the bytes of its message cannot be read; nothing is folded then.
  bool Add(const EventView& event);

  // Whether a result for this id is awaited.
  bool IsOutstanding(WorkId id) const;
  // Whether an action with this id would repeat an earlier one: its work is outstanding, or it was
  // resolved while the orchestration is suspended (3.22).
  bool WouldRepeat(WorkId id) const;

  // Whether an earlier turn of the generation has sent this event under this id: the Java SDK sends
  // its events again with every later turn (3.22).
  bool WouldRepeat(int32_t event_id, const EventSentEvent& sent) const;

  // Whether an answer of an entity with this message type (EntityOperationCompleted, ...Failed,
  // EntityLockGranted) is awaited: each is delivered at most once (7.20).
  bool AwaitsAnswer(int message_type, std::string_view request_id) const;
  // Whether the entity is locked by the orchestration, as far as it knows.
  bool Holds(const std::string& entity_id) const;
  // Whether locks are held or asked for that were not given up.
  bool in_sections() const { return !Sections().empty(); }

  bool suspended() const { return delta_.suspended; }
  bool has_started() const { return started() != nullptr; }
  // nullptr before the first turn of a generation.
  const ExecutionStartedEvent* started() const;
  const google::protobuf::Timestamp& last_started() const { return delta_.last_started; }

  // Moves the folded part of the delta out; this must not be used any more.
  StateDelta TakeDelta() { return std::move(delta_); }

 private:
  const Outstanding* Find(WorkId id) const;
  Outstanding& Change(WorkId id);
  void Create(WorkId id);
  void Resolve(WorkId id);
  void ForgetResolved();

  static uint64_t SentEventName(int32_t event_id, std::string_view body);
  StateDelta::Sent& ChangeSent();
  bool IsWaitingCall(const std::string& request_id) const;
  const CriticalSections& Sections() const;
  CriticalSections& ChangeSections();
  bool AddEntityEvent(const EventView& event);
  void AddAnswer(const EventView& event);
  void AddJsonEvent(const EventSentEvent& sent);
  void Enter(std::string_view section_id, std::vector<std::string> entities);
  void Leave(std::string_view section_id, const std::string& entity_id);

  const InstanceState& state_;
  StateDelta delta_;
};

// What kind of work an event resolves or creates.
WorkKind WorkKindOf(HistoryEvent::EventTypeCase type);

// Whether messages of this type are answers of entities; their bytes may be an EventRaised.
bool IsEntityAnswer(int message_type);

// Whether the event is a result of a task, a timer or a child.
bool IsResult(HistoryEvent::EventTypeCase type);

// Whether the event stays in the history but is never delivered to a worker (3.15).
bool IsHidden(HistoryEvent::EventTypeCase type);

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_FOLD_H_
