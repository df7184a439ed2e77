// PlanTurn: which of the due messages make the next turn, in which order.

#include <algorithm>
#include <utility>
#include <vector>

#include "server/orchestration/event_bytes.h"
#include "server/orchestration/fold.h"
#include "server/orchestration/timestamps.h"
#include "server/orchestration/turn.h"

namespace dt::orchestration {
namespace {

// The order of 3.2. Within a rank the inbox order stays.
enum class Rank : int8_t { kStarted, kFront, kOther, kTerminated };

Rank RankOf(const Message& message) {
  switch (message.event_type) {
    case HistoryEvent::kExecutionStarted:
      return Rank::kStarted;
    case HistoryEvent::kEventRaised:
    case HistoryEvent::kExecutionSuspended:
      return message.generation == kAnyGeneration ? Rank::kOther : Rank::kFront;
    case HistoryEvent::kExecutionTerminated:
      return Rank::kTerminated;
    default:
      return Rank::kOther;
  }
}

std::vector<const Message*> Ordered(absl::Span<const Message> messages) {
  std::vector<const Message*> ordered;
  ordered.reserve(messages.size());
  for (const Message& message : messages) ordered.push_back(&message);
  const auto before = [](const Message* a, const Message* b) { return RankOf(*a) < RankOf(*b); };
  if (!std::is_sorted(ordered.begin(), ordered.end(), before)) {
    std::stable_sort(ordered.begin(), ordered.end(), before);
  }
  return ordered;
}

// Fills one turn message by message.
class Planner {
 public:
  // `cancels_suspend`: the repeated suspend of a generation that has not begun is taken back by the
  // resume that follows it, and neither is delivered.
  Planner(const InstanceState& state, const TurnLimits& limits, bool cancels_suspend)
      : state_(state),
        limits_(limits),
        fold_(state),
        fire_at_max_(state.last_started),
        cancels_suspend_(cancels_suspend) {}

  void Offer(const Message& message) {
    EventView event;
    if (cancels_suspend_ && IsControl(message)) {
      TakeBack(message);
    } else if (const char* reason = Reject(message, event)) {
      Drop(message, reason);
    } else if (event.type == HistoryEvent::kOrchestratorStarted) {
      BeginEvents();
      turn_.wake_ups.push_back(message.seq);
    } else if (full_ && event.type != HistoryEvent::kExecutionTerminated) {
      if (RankOf(message) == Rank::kFront) turn_.deferred.push_back(ToTurnEvent(message));
    } else {
      Deliver(message, event);
    }
  }

  void Drop(const Message& message, const char* reason) {
    turn_.dropped.push_back(message.seq);
    turn_.drop_reasons.push_back(reason);
  }

  Turn Take(absl::Time now) {
    if (!turn_.events.empty()) turn_.events.front() = OrchestratorStarted(now);
    return std::move(turn_);
  }

 private:
  static bool IsControl(const Message& message) {
    return message.event_type == HistoryEvent::kExecutionSuspended ||
           message.event_type == HistoryEvent::kExecutionResumed;
  }

  // Consumes the repeated suspend and what comes up to the resume, without history.
  void TakeBack(const Message& message) {
    const bool resumes = message.event_type == HistoryEvent::kExecutionResumed;
    if (resumes || RankOf(message) == Rank::kFront) {
      turn_.wake_ups.push_back(message.seq);
    } else {
      Drop(message, "the orchestration is already suspended");
    }
    if (resumes) cancels_suspend_ = false;
  }

  static TurnEvent ToTurnEvent(const Message& message) {
    return {message.seq, message.event_type, message.generation, message.visible_at, message.event};
  }

  // Why the message is not delivered (3.4); nullptr if it is. Fills `event`.
  const char* Reject(const Message& message, EventView& event) {
    if (message.generation != kAnyGeneration && message.generation != state_.generation) {
      return "it belongs to another generation";
    }
    if (message.event == nullptr || !ReadEvent(*message.event, event)) {
      return "its bytes are no event";
    }
    // By the message, as the event may be an EventRaised of the JSON dialect.
    if (IsEntityAnswer(message.event_type)) {
      return fold_.AwaitsAnswer(message.event_type, ReadFirstText(event))
                 ? nullptr
                 : "nobody waits for this answer";
    }
    switch (event.type) {
      case HistoryEvent::kExecutionStarted:
        return fold_.has_started() ? "the execution has already started" : nullptr;
      case HistoryEvent::kExecutionSuspended:
        return fold_.suspended() ? "the orchestration is already suspended" : nullptr;
      case HistoryEvent::kExecutionResumed:
        return fold_.suspended() ? nullptr : "the orchestration is not suspended";
      case HistoryEvent::kExecutionTerminated:
        return terminated_ ? "the orchestration is already being terminated" : nullptr;
      case HistoryEvent::kEventRaised:
      case HistoryEvent::kOrchestratorStarted:
        return nullptr;
      default:
        if (!IsResult(event.type)) return "its kind is never delivered to an orchestration";
        return fold_.IsOutstanding({WorkKindOf(event.type), ReadWorkId(event)})
                   ? nullptr
                   : "nobody waits for this result";
    }
  }

  void Deliver(const Message& message, const EventView& event) {
    const auto bytes = static_cast<int64_t>(message.event->size());
    const bool terminates = event.type == HistoryEvent::kExecutionTerminated;
    // The first message is taken whatever its size, else it would never be delivered.
    if (count_ > 0 && !terminates &&
        (count_ >= limits_.messages_max || bytes_ + bytes > limits_.message_bytes_max)) {
      full_ = true;
      if (RankOf(message) == Rank::kFront) turn_.deferred.push_back(ToTurnEvent(message));
      return;
    }
    if (!fold_.Add(event)) {
      Drop(message, "its bytes are no event");
      return;
    }
    if (event.type == HistoryEvent::kTimerFired) NoteFireAt(ReadFireAt(event));
    BeginEvents();
    turn_.events.push_back(ToTurnEvent(message));
    terminated_ = terminated_ || terminates;
    // What follows waits in the inbox: an SDK keeps it until the resume, and loses it when the turn
    // continues as new (3.23).
    full_ = full_ || event.type == HistoryEvent::kExecutionSuspended;
    ++count_;
    bytes_ += bytes;
  }

  void BeginEvents() {
    if (turn_.events.empty()) turn_.events.emplace_back();  // the place of OrchestratorStarted
  }

  void NoteFireAt(const google::protobuf::Timestamp& fire_at) {
    if (!IsValidTimestamp(fire_at)) return;
    const auto later = ToTimestamp(ToTimerDueTime(fire_at));
    if (ToTime(later) > ToTime(fire_at_max_)) fire_at_max_ = later;
  }

  // The orchestrator's clock (3.8): not before the last turn, and after every timer of this one.
  TurnEvent OrchestratorStarted(absl::Time now) const {
    google::protobuf::Timestamp clock = ToTimestamp(now);
    if (ToTime(fire_at_max_) > ToTime(clock)) clock = fire_at_max_;
    HistoryEvent event = MakeEvent(kNoEventId, clock);
    event.mutable_orchestratorstarted();
    TurnEvent started;
    started.event_type = HistoryEvent::kOrchestratorStarted;
    started.generation = state_.generation;
    started.visible_at = now;
    started.event = SerializeEvent(event);
    return started;
  }

  const InstanceState& state_;
  const TurnLimits& limits_;
  Fold fold_;
  Turn turn_;
  // The lower bound of the clock: the last OrchestratorStarted or a later fireAt.
  google::protobuf::Timestamp fire_at_max_;
  int count_ = 0;
  int64_t bytes_ = 0;
  bool full_ = false;
  bool terminated_ = false;
  bool cancels_suspend_;
};

Turn DropAll(absl::Span<const Message> messages, const char* reason) {
  Turn turn;
  for (const Message& message : messages) {
    turn.dropped.push_back(message.seq);
    turn.drop_reasons.push_back(reason);
  }
  return turn;
}

bool HasType(absl::Span<const Message> messages, int type) {
  return std::any_of(messages.begin(), messages.end(),
                     [type](const Message& message) { return message.event_type == type; });
}

// Whether the generation has not begun and was suspended before it.
bool BeginsSuspended(const InstanceState& state, absl::Span<const Message> messages) {
  return !state.started && std::any_of(messages.begin(), messages.end(), [&](const Message& m) {
    return m.event_type == HistoryEvent::kExecutionSuspended && m.generation == state.generation;
  });
}

bool IsStartOf(const InstanceState& state, const Message& message) {
  return message.event_type == HistoryEvent::kExecutionStarted &&
         (message.generation == kAnyGeneration || message.generation == state.generation);
}

}  // namespace

Turn PlanTurn(const InstanceState& state, absl::Span<const Message> messages, absl::Time now,
              const TurnLimits& limits, bool more_messages) {
  if (IsTerminal(state.status)) return DropAll(messages, "the instance has ended");
  if (!state.started && state.event_count > 0) {
    return DropAll(messages, "the stored history has no ExecutionStarted");
  }
  const bool starts = std::any_of(messages.begin(), messages.end(),
                                  [&](const Message& m) { return IsStartOf(state, m); });
  if (!state.started && !starts) {
    if (more_messages || state.turn == 0) return {};
    return DropAll(messages, "there is no execution that it could belong to");
  }
  const bool suspended = BeginsSuspended(state, messages);
  const bool resumed = HasType(messages, HistoryEvent::kExecutionResumed);
  if (suspended && !resumed && !more_messages &&
      !HasType(messages, HistoryEvent::kExecutionTerminated)) {
    Turn turn;
    turn.held = true;
    return turn;
  }
  Planner planner(state, limits, suspended && resumed);
  for (const Message* message : Ordered(messages)) planner.Offer(*message);
  return planner.Take(now);
}

bool Turn::HasTermination() const {
  return std::any_of(events.begin(), events.end(), [](const TurnEvent& event) {
    return event.event_type == HistoryEvent::kExecutionTerminated;
  });
}

}  // namespace dt::orchestration
