#include "server/orchestration/turn_builder.h"

#include <utility>

#include "server/orchestration/timestamps.h"

namespace dt::orchestration {
namespace {

Change<std::string> ChangeOf(const std::optional<std::string>& before,
                             const std::optional<std::string>& after) {
  if (before == after) return Change<std::string>::Keep();
  return after ? Change<std::string>::Set(*after) : Change<std::string>::Clear();
}

}  // namespace

void BeginCheckpoint(const TurnContext& context, TurnResult& result) {
  Checkpoint& checkpoint = result.checkpoint;
  checkpoint.key = context.state.key;
  checkpoint.hub = context.state.hub;
  checkpoint.instance_id = context.state.instance_id;
  checkpoint.lease_token = context.lease_token;
  checkpoint.turn = context.state.turn + 1;
  checkpoint.generation = context.state.generation;
  const Turn& turn = context.turn;
  checkpoint.consumed.reserve(context.processed + turn.dropped.size() + turn.wake_ups.size());
  // Events that the worker did not process (3.19) are not consumed and stay in the inbox.
  const size_t processed = std::min(context.processed, turn.events.size());
  for (size_t i = 0; i < processed; ++i) {
    if (turn.events[i].seq != 0) checkpoint.consumed.push_back(turn.events[i].seq);
  }
  for (const std::vector<int64_t>* seqs : {&turn.dropped, &turn.wake_ups}) {
    checkpoint.consumed.insert(checkpoint.consumed.end(), seqs->begin(), seqs->end());
  }
}

TurnBuilder::TurnBuilder(const TurnContext& context, TurnEnd end, bool terminates_children)
    : context_(context),
      state_(context.state),
      end_(end),
      terminates_children_(terminates_children),
      now_(ToTimestamp(context.now)),
      fold_(context.state) {
  BeginCheckpoint(context, result_);
  for (size_t i = 0; i < context.processed; ++i) {
    const SharedBytes& bytes = context.turn.events[i].event;
    EventView event;
    // PlanTurn has read these bytes before.
    if (ReadEvent(*bytes, event)) fold_.Add(event);
    chunk_.Append(*bytes);
  }
  status_ = fold_.suspended() ? RuntimeStatus::kSuspended : RuntimeStatus::kRunning;
}

void TurnBuilder::AppendAction(const HistoryEvent& event) {
  EventView view;
  if (ReadEvent(chunk_.Append(event), view)) fold_.Add(view);
}

void TurnBuilder::Complete(RuntimeStatus status, Payload result,
                           std::optional<TaskFailureDetails> failure) {
  HistoryEvent event = EventNow(kNoEventId);
  ExecutionCompletedEvent* completed = event.mutable_executioncompleted();
  completed->set_orchestrationstatus(static_cast<OrchestrationStatus>(status));
  if (result) completed->mutable_result()->set_value(*result);
  if (failure) *completed->mutable_failuredetails() = *failure;
  AppendAction(event);
  NotifyParent(status, result, failure);
  status_ = status;
  if (failure) failure_ = failure->SerializeAsString();
  output_ = std::move(result);
  result_.checkpoint.ends = true;
}

void TurnBuilder::NotifyParent(RuntimeStatus status, const Payload& result,
                               const std::optional<TaskFailureDetails>& failure) {
  if (!state_.parent || !state_.parent->task_id) return;
  const HistoryEvent event = ChildResultEvent(now_, *state_.parent->task_id, status, result,
                                              failure ? &*failure : nullptr);
  result_.checkpoint.parent_message = ToMessage(event, state_.parent->generation);
  result_.checkpoint.parent_key = state_.parent->key;
  result_.checkpoint.parent_generation = state_.parent->generation;
}

void TurnBuilder::TerminateChildren(const ExecutionTerminatedEvent& termination) {
  HistoryEvent event = EventNow(kNoEventId);
  *event.mutable_executionterminated() = termination;
  SubtreeTermination& subtree = result_.checkpoint.subtree_termination.emplace();
  if (termination.has_input()) subtree.reason = termination.input().value();
  subtree.message = ToMessage(event, kAnyGeneration);
}

void TurnBuilder::ContinueAsNew(CompleteOrchestrationAction& action, const Payload& custom_status) {
  NextGeneration next;
  next.execution_id = context_.ids.NewExecutionId();
  next.saved_custom_status = custom_status;

  HistoryEvent event = EventNow(kNoEventId);
  ExecutionStartedEvent* started = event.mutable_executionstarted();
  if (const ExecutionStartedEvent* current = fold_.started()) *started = *current;
  started->clear_scheduledstarttimestamp();
  started->clear_orchestrationspanid();
  started->set_allocated_input(action.release_result());
  if (action.has_newversion()) started->set_allocated_version(action.release_newversion());
  started->mutable_orchestrationinstance()->set_instanceid(state_.instance_id);
  started->mutable_orchestrationinstance()->mutable_executionid()->set_value(next.execution_id);
  if (started->has_version()) next.version = started->version().value();
  result_.checkpoint.own_messages.push_back(ToMessage(event, state_.generation + 1));
  CarryOver(action);

  result_.delta.next_generation = next;
  if (started->has_input()) next.input = started->input().value();
  result_.checkpoint.next_generation = std::move(next);
}

// Everything that must reach the next generation before what already waits, in that order.
void TurnBuilder::CarryOver(CompleteOrchestrationAction& action) {
  const Generation next = state_.generation + 1;
  auto& messages = result_.checkpoint.own_messages;
  for (HistoryEvent& event : *action.mutable_carryoverevents()) {
    if (!event.has_eventraised()) continue;  // 4.22: only these are carried over
    event.set_eventid(kNoEventId);
    if (IsUnset(event.timestamp())) *event.mutable_timestamp() = now_;
    messages.push_back(ToMessage(event, next));
  }
  if (fold_.suspended()) {
    HistoryEvent event = EventNow(kNoEventId);
    event.mutable_executionsuspended();
    messages.push_back(ToMessage(event, next));
  }
  for (NewMessage& event : self_events_) messages.push_back(std::move(event));
  // Front messages that this turn was given but did not process follow. The store moves on those
  // that it was not given.
  const auto send_again = [&](const TurnEvent& event) {
    messages.push_back({next, absl::InfinitePast(), event.event_type, event.event});
    result_.checkpoint.consumed.push_back(event.seq);
  };
  for (size_t i = context_.processed; i < context_.turn.events.size(); ++i) {
    const TurnEvent& event = context_.turn.events[i];
    const bool front = event.generation != kAnyGeneration &&
                       (event.event_type == HistoryEvent::kEventRaised ||
                        event.event_type == HistoryEvent::kExecutionSuspended);
    if (front) send_again(event);
  }
  for (const TurnEvent& event : context_.turn.deferred) send_again(event);
}

void TurnBuilder::SetVisible(Payload custom_status, std::optional<std::string> trace_context) {
  custom_status_ = std::move(custom_status);
  trace_context_ = std::move(trace_context);
}

TurnResult TurnBuilder::Take() {
  Checkpoint& checkpoint = result_.checkpoint;
  const bool in_sections = fold_.in_sections();
  StateDelta delta = fold_.TakeDelta();
  delta.next_generation = std::move(result_.delta.next_generation);
  delta.turn = checkpoint.turn;
  delta.status = status_;
  checkpoint.releases_locks = (checkpoint.ends || delta.next_generation) && in_sections;
  if (end_ == TurnEnd::kContinuesAsNew) {
    trace_context_.reset();
  } else {
    checkpoint.history = chunk_.Take(checkpoint.turn, state_.event_count);
    delta.history = checkpoint.history;
  }
  InstanceUpdate update;
  update.status = status_;
  update.custom_status = ChangeOf(state_.custom_status, custom_status_);
  update.orchestration_trace_context = ChangeOf(state_.orchestration_trace_context, trace_context_);
  // The first turn makes a PENDING instance RUNNING without being told (records.h, InstanceUpdate).
  const RuntimeStatus before =
      state_.status == RuntimeStatus::kPending ? RuntimeStatus::kRunning : state_.status;
  const bool visible = status_ != before || checkpoint.ends ||
                       update.custom_status.kind != Change<std::string>::Kind::kKeep ||
                       update.orchestration_trace_context.kind != Change<std::string>::Kind::kKeep;
  if (visible) {
    update.output = std::move(output_);
    update.failure = std::move(failure_);
    checkpoint.update = std::move(update);
  }
  delta.custom_status = std::move(custom_status_);
  delta.orchestration_trace_context = std::move(trace_context_);
  result_.delta = std::move(delta);
  return std::move(result_);
}

}  // namespace dt::orchestration
