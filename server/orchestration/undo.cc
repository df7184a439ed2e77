#include "server/orchestration/undo.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "proto/orchestrator_service.pb.h"
#include "server/orchestration/entity_messages.h"
#include "server/orchestration/fold.h"
#include "server/orchestration/history_events.h"

namespace dt::orchestration {
namespace {

constexpr int kNone = -1;
// In place of the orchestration, where it does not matter who asks.
constexpr char kSomebody[] = "somebody";

// One event of the history.
struct Step {
  HistoryEvent::EventTypeCase type = HistoryEvent::EVENTTYPE_NOT_SET;
  int32_t id = 0;  // of an action, or the one that a result names
  int turn = 0;
  // The turn in which the code was given a result: a suspended orchestration gets what arrives when
  // it is resumed (3.23).
  int given = kNone;
  int partner = kNone;  // the result of an action, or the action of a result
  bool undone = false;
  std::string child;  // the instance id of a child
};

// Whether the event is that of an action, so that its id is a number of the code's sequence.
bool IsAction(HistoryEvent::EventTypeCase type) {
  switch (type) {
    case HistoryEvent::kTaskScheduled:
    case HistoryEvent::kTimerCreated:
    case HistoryEvent::kSubOrchestrationInstanceCreated:
    case HistoryEvent::kEventSent:
    case HistoryEvent::kEntityOperationSignaled:
    case HistoryEvent::kEntityOperationCalled:
    case HistoryEvent::kEntityLockRequested:
    case HistoryEvent::kEntityUnlockSent:
      return true;
    default:
      return false;
  }
}

bool IsFailure(const Step& step) {
  return (step.type == HistoryEvent::kTaskFailed ||
          step.type == HistoryEvent::kSubOrchestrationInstanceFailed) &&
         step.partner != kNone;
}

// Whether an ExecutionCompleted tells that the replay did not make what the history holds. Each SDK
// has its own words for it, of which this is what they share.
bool IsRefusedReplay(const EventView& event) {
  ExecutionCompletedEvent completed;
  if (!completed.ParseFromArray(event.body.data(), static_cast<int>(event.body.size()))) {
    return false;
  }
  const TaskFailureDetails& failure = completed.failuredetails();
  const std::string words = absl::AsciiStrToLower(failure.errortype() + failure.errormessage());
  return absl::StrContains(words, "determinis");
}

class UndoSearch {
 public:
  // False if the history cannot be read.
  bool Read(const std::vector<HistoryChunk>& history);
  Undone Find();

 private:
  void BeginTurn();
  void Add(const EventView& event);
  void Pair(int index, std::deque<int>& open);
  void PairAnswer(int index, const EventView& event);
  void Give(int index);
  void Resume();

  std::vector<int> DecidingFailures() const;
  void UndoFailures(const std::vector<int>& failures);
  void UndoLastActions();
  bool Reacted(const Step& failure) const { return actions_of_turn_[failure.given] > 0; }
  // Undoes what followed from what is undone or was done in a tainted turn.
  void Spread();
  Undone Take() const;

  std::vector<Step> steps_;
  std::vector<int> actions_of_turn_;  // how many
  std::vector<bool> tainted_;         // turns that were given something that is undone
  int end_turn_ = kNone;              // of the last ExecutionCompleted
  int rewound_turn_ = kNone;          // of the last ExecutionRewound
  bool refused_ = false;              // the last end was that of a replay that did not fit

  // While reading.
  bool turn_is_empty_ = false;
  bool suspended_ = false;
  std::vector<int> held_back_;  // results that the code is given when it is resumed
  absl::flat_hash_map<WorkId, std::deque<int>> open_;
  absl::flat_hash_map<std::string, std::deque<int>> open_requests_;  // of entities, by request id
};

bool UndoSearch::Read(const std::vector<HistoryChunk>& history) {
  for (const HistoryChunk& chunk : history) {
    BeginTurn();
    if (!ForEachEvent(chunk, [this](const EventView& event, std::string_view) { Add(event); })) {
      return false;
    }
  }
  if (!history.empty()) Resume();
  tainted_.resize(actions_of_turn_.size());
  return true;
}

void UndoSearch::BeginTurn() {
  actions_of_turn_.push_back(0);
  turn_is_empty_ = true;
}

void UndoSearch::Resume() {
  for (const int index : held_back_) {
    steps_[index].given = static_cast<int>(actions_of_turn_.size()) - 1;
  }
  held_back_.clear();
  suspended_ = false;
}

void UndoSearch::Add(const EventView& event) {
  // A worker that rewinds its own orchestration leaves many turns in one chunk (4.28).
  if (event.type == HistoryEvent::kOrchestratorStarted && !turn_is_empty_) BeginTurn();
  turn_is_empty_ = false;
  const int index = static_cast<int>(steps_.size());
  Step& step = steps_.emplace_back();
  step.type = event.type;
  step.turn = static_cast<int>(actions_of_turn_.size()) - 1;
  step.id = event.event_id;
  if (IsAction(event.type)) ++actions_of_turn_.back();
  switch (event.type) {
    case HistoryEvent::kTaskScheduled:
    case HistoryEvent::kTimerCreated:
      open_[{WorkKindOf(event.type), step.id}].push_back(index);
      break;
    case HistoryEvent::kSubOrchestrationInstanceCreated: {
      const ChildView child = ReadChild(event);
      step.child = std::string(child.instance_id);
      if (!child.fire_and_forget) open_[{WorkKindOf(event.type), step.id}].push_back(index);
      break;
    }
    case HistoryEvent::kExecutionSuspended:
      suspended_ = true;
      break;
    case HistoryEvent::kExecutionResumed:
      Resume();
      break;
    case HistoryEvent::kExecutionCompleted:
      end_turn_ = step.turn;
      refused_ = IsRefusedReplay(event);
      break;
    case HistoryEvent::kExecutionRewound:
      rewound_turn_ = step.turn;
      break;
    case HistoryEvent::kEntityOperationCalled:
    case HistoryEvent::kEntityLockRequested:
    case HistoryEvent::kEventSent:
      if (const auto request = ReadAwaitedRequest(event, kSomebody, kSomebody)) {
        open_requests_[CanonicalRequestId(request->message.request_id)].push_back(index);
      }
      break;
    case HistoryEvent::kEventRaised:
    case HistoryEvent::kEntityOperationCompleted:
    case HistoryEvent::kEntityOperationFailed:
    case HistoryEvent::kEntityLockGranted:
      PairAnswer(index, event);
      break;
    default:
      if (!IsResult(event.type)) break;
      step.id = ReadWorkId(event);
      Give(index);
      Pair(index, open_[{WorkKindOf(step.type), step.id}]);
      break;
  }
}

void UndoSearch::Give(int index) {
  steps_[index].given = steps_[index].turn;
  if (suspended_) held_back_.push_back(index);
}

// The answer of an entity; in the JSON dialect an event that is called like the request.
void UndoSearch::PairAnswer(int index, const EventView& event) {
  if (open_requests_.empty()) return;
  const auto open = open_requests_.find(CanonicalRequestId(ReadFirstText(event)));
  if (open == open_requests_.end() || open->second.empty()) return;
  Give(index);
  Pair(index, open->second);
}

// The first action with this id that has no result yet is the one that the result is of.
void UndoSearch::Pair(int index, std::deque<int>& open) {
  if (open.empty()) return;  // left over by an earlier rewind
  steps_[index].partner = open.front();
  steps_[open.front()].partner = index;
  open.pop_front();
}

// The last failure, those that the code was given together with it, and those before it to which
// nothing was a reaction. A failure of an id that succeeded later was retried and decided nothing.
std::vector<int> UndoSearch::DecidingFailures() const {
  std::vector<int> deciding;
  absl::flat_hash_set<WorkId> succeeded;
  int last_turn = kNone;
  for (int index = static_cast<int>(steps_.size()) - 1; index >= 0; --index) {
    const Step& step = steps_[index];
    if (step.type == HistoryEvent::kTaskCompleted ||
        step.type == HistoryEvent::kSubOrchestrationInstanceCompleted) {
      succeeded.insert({WorkKindOf(step.type), step.id});
    }
    if (!IsFailure(step) || succeeded.contains({WorkKindOf(step.type), step.id})) continue;
    if (last_turn == kNone) last_turn = step.given;
    if (step.given == last_turn || !Reacted(step)) deciding.push_back(index);
  }
  return deciding;
}

void UndoSearch::UndoFailures(const std::vector<int>& failures) {
  for (const int index : failures) {
    steps_[index].undone = true;
    tainted_[steps_[index].given] = true;
    // The code schedules the activity again, at the same place and with the same id. A failed child
    // is rewound itself, and its creation stays.
    if (steps_[index].type == HistoryEvent::kTaskFailed) {
      steps_[steps_[index].partner].undone = true;
    }
  }
}

// The code itself threw: what it scheduled last it may schedule no more when it is mended.
void UndoSearch::UndoLastActions() {
  for (Step& step : steps_) {
    step.undone = step.turn == end_turn_ && (step.type == HistoryEvent::kTaskScheduled ||
                                             step.type == HistoryEvent::kTimerCreated);
  }
}

void UndoSearch::Spread() {
  int32_t first_undone = std::numeric_limits<int32_t>::max();  // all later numbers are others now
  int32_t last_seen = std::numeric_limits<int32_t>::min();
  for (Step& step : steps_) {
    if (step.partner != kNone && !IsAction(step.type) && steps_[step.partner].undone) {
      step.undone = true;
      tainted_[step.given] = true;
    }
    if (!IsAction(step.type)) continue;
    const bool is_retry = step.id <= last_seen;
    last_seen = std::max(last_seen, step.id);
    if (step.undone || (!tainted_[step.turn] && step.id <= first_undone)) continue;
    step.undone = true;
    if (!is_retry) first_undone = std::min(first_undone, step.id);
  }
}

Undone UndoSearch::Find() {
  const std::vector<int> failures = DecidingFailures();
  // A worker may send on what the code did before it met what does not fit. It may stay.
  const auto last_action = std::find_if(steps_.rbegin(), steps_.rend(), [this](const Step& step) {
    return IsAction(step.type) && step.turn < end_turn_;
  });
  const bool refused = refused_ && rewound_turn_ != kNone && end_turn_ == rewound_turn_ + 1;
  if (refused && last_action != steps_.rend()) {
    tainted_[last_action->turn] = true;
    Spread();
  } else if (!failures.empty()) {
    UndoFailures(failures);
    Spread();
  } else {
    UndoLastActions();
  }
  return Take();
}

Undone UndoSearch::Take() const {
  Undone undone;
  for (const Step& step : steps_) {
    undone.events.push_back(step.undone || step.type == HistoryEvent::kExecutionCompleted);
    if (!step.undone) continue;
    if (step.type == HistoryEvent::kTaskScheduled && step.partner == kNone) {
      undone.unanswered_tasks.push_back(step.id);
    } else if (step.type == HistoryEvent::kSubOrchestrationInstanceCreated) {
      undone.children.push_back({step.id, step.child});
    }
  }
  return undone;
}

}  // namespace

std::optional<Undone> FindUndone(const std::vector<HistoryChunk>& history) {
  UndoSearch search;
  if (!search.Read(history)) return std::nullopt;
  return search.Find();
}

}  // namespace dt::orchestration
