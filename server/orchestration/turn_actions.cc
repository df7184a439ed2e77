// The effects of the single actions: what each writes into the history, the own inbox, and for
// others.

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/orchestration/effects.h"
#include "server/orchestration/field_checks.h"
#include "server/orchestration/turn_builder.h"

namespace dt::orchestration {

void TurnBuilder::Apply(OrchestratorAction& action) {
  switch (action.orchestratorActionType_case()) {
    case OrchestratorAction::kScheduleTask:
      ScheduleTask(action.id(), *action.mutable_scheduletask());
      break;
    case OrchestratorAction::kCreateTimer:
      CreateTimer(action.id(), action.createtimer());
      break;
    case OrchestratorAction::kCreateSubOrchestration:
      CreateChild(action.id(), *action.mutable_createsuborchestration());
      break;
    case OrchestratorAction::kSendEvent:
      SendEvent(action.id(), *action.mutable_sendevent());
      break;
    case OrchestratorAction::kSendEntityMessage:
      SendEntityMessage(action.id(), *action.mutable_sendentitymessage());
      break;
    case OrchestratorAction::kTerminateOrchestration:
      TerminateOther(*action.mutable_terminateorchestration());
      break;
    default:
      break;  // CheckResponse lets no other action pass
  }
}

void TurnBuilder::ScheduleTask(int32_t id, ScheduleTaskAction& action) {
  if (fold_.WouldRepeat({WorkKind::kTask, id})) return;
  HistoryEvent event = EventNow(id);
  TaskScheduledEvent* scheduled = event.mutable_taskscheduled();
  *scheduled->mutable_name() = std::move(*action.mutable_name());
  scheduled->set_allocated_version(action.release_version());
  scheduled->set_allocated_input(action.release_input());
  scheduled->set_allocated_parenttracecontext(action.release_parenttracecontext());
  scheduled->mutable_tags()->swap(*action.mutable_tags());
  AppendAction(event);

  result_.checkpoint.tasks.push_back(MakeTask(Source(), id, *scheduled));
}

void TurnBuilder::CreateTimer(int32_t id, const CreateTimerAction& action) {
  // A timer of a generation that ends here can never fire (4.16, 4.25).
  if (end_ != TurnEnd::kGoesOn || fold_.WouldRepeat({WorkKind::kTimer, id})) return;
  HistoryEvent created = EventNow(id);
  *created.mutable_timercreated()->mutable_fireat() = action.fireat();
  AppendAction(created);

  result_.checkpoint.own_messages.push_back(MakeTimer(Source(), id, action.fireat()));
}

void TurnBuilder::CreateChild(int32_t id, CreateSubOrchestrationAction& action) {
  if (fold_.WouldRepeat({WorkKind::kSubOrchestration, id})) return;
  HistoryEvent event = EventNow(id);
  auto* created = event.mutable_suborchestrationinstancecreated();
  *created->mutable_instanceid() = action.instanceid().empty()
                                       ? absl::StrFormat("%s:%04x", state_.instance_id, id)
                                       : std::move(*action.mutable_instanceid());
  *created->mutable_name() = std::move(*action.mutable_name());
  created->set_allocated_version(action.release_version());
  created->set_allocated_input(action.release_input());
  created->set_allocated_parenttracecontext(action.release_parenttracecontext());
  created->mutable_tags()->swap(*action.mutable_tags());
  AppendAction(event);

  const std::string& child_id = created->instanceid();
  const absl::Status status =
      CheckId("instanceId", child_id, context_.limits.instance_id_chars_max);
  if (IsEntityId(child_id)) {
    FailChild(id, "InvalidInstanceId",
              absl::StrCat("\"", child_id, "\" is the id of an entity, not of an orchestration"));
  } else if (!status.ok()) {
    FailChild(id, "InvalidInstanceId", std::string(status.message()));
  } else if (child_id == state_.instance_id || !child_ids_.insert(child_id).second) {
    FailChild(id, "OrchestrationAlreadyExists",
              absl::StrCat("an orchestration with the id \"", child_id, "\" is running"));
  } else if (!terminates_children_) {
    result_.checkpoint.children.push_back(MakeChild(Source(), id, *created, context_.ids));
  }
}

// Actions act in the order of their ids (4.1): what follows the creation of a child of this turn
// must find the child, and what comes before it must not.
bool TurnBuilder::IsNewChild(const std::string& instance_id) const {
  return !terminates_children_ && child_ids_.contains(instance_id);
}

void TurnBuilder::FailChild(int32_t id, const std::string& error_type,
                            const std::string& error_message) {
  const bool awaited = fold_.IsOutstanding({WorkKind::kSubOrchestration, id});
  if (end_ != TurnEnd::kGoesOn || !awaited) return;
  result_.checkpoint.own_messages.push_back(
      MakeChildFailure(Source(), id, error_type, error_message));
}

void TurnBuilder::SendEvent(int32_t id, SendEventAction& action) {
  const std::string target = action.instance().instanceid();
  HistoryEvent sent = EventNow(id);
  sent.mutable_eventsent()->set_instanceid(target);
  sent.mutable_eventsent()->set_name(action.name());
  if (action.has_data()) *sent.mutable_eventsent()->mutable_input() = action.data();
  if (fold_.WouldRepeat(id, sent.eventsent())) return;
  if (IsEntityId(target)) {
    SendJsonEvent(action);
    AppendAction(sent);
    return;
  }
  AppendAction(sent);

  HistoryEvent raised = EventNow(kNoEventId);
  *raised.mutable_eventraised()->mutable_name() = std::move(*action.mutable_name());
  raised.mutable_eventraised()->set_allocated_input(action.release_data());
  if (target != state_.instance_id) {
    result_.checkpoint.messages.push_back(
        {target, ToMessage(raised, kAnyGeneration), IsNewChild(target)});
  } else if (end_ == TurnEnd::kGoesOn) {
    result_.checkpoint.own_messages.push_back(ToMessage(raised, kAnyGeneration));
  } else if (end_ == TurnEnd::kContinuesAsNew) {
    self_events_.push_back(ToMessage(raised, state_.generation + 1));
  }
}

void TurnBuilder::TerminateOther(TerminateOrchestrationAction& action) {
  HistoryEvent event = EventNow(kNoEventId);
  event.mutable_executionterminated()->set_recurse(action.recurse());
  if (action.has_reason()) *event.mutable_executionterminated()->mutable_input() = action.reason();
  NewMessage message = ToMessage(event, kAnyGeneration);
  if (action.instanceid() == state_.instance_id) {
    if (end_ != TurnEnd::kEnds) result_.checkpoint.own_messages.push_back(std::move(message));
    return;
  }
  if (IsEntityId(action.instanceid())) return;  // entities cannot be terminated
  Termination termination;
  termination.instance_id = action.instanceid();
  termination.reason = ToPayload(action.has_reason(), action.reason());
  termination.message = std::move(message);
  termination.after_children = IsNewChild(action.instanceid());
  result_.checkpoint.terminations.push_back(std::move(termination));
}

}  // namespace dt::orchestration
