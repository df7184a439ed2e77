// The effects of the single actions: what each writes into the history, the own inbox, and for
// others.

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/orchestration/field_checks.h"
#include "server/orchestration/timestamps.h"
#include "server/orchestration/turn_builder.h"

namespace dt::orchestration {
namespace {

Payload ToPayload(bool present, const google::protobuf::StringValue& value) {
  return present ? Payload(value.value()) : std::nullopt;
}

}  // namespace

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
    case OrchestratorAction::kTerminateOrchestration:
      TerminateOther(*action.mutable_terminateorchestration());
      break;
    default:
      break;  // CheckResponse lets no other action pass
  }
}

const TraceContext* TurnBuilder::FallbackTrace() const {
  const ExecutionStartedEvent* started = fold_.started();
  return started != nullptr && started->has_parenttracecontext() ? &started->parenttracecontext()
                                                                 : nullptr;
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

  NewTask task;
  task.task_id = id;
  task.name = scheduled->name();
  task.version = ToPayload(scheduled->has_version(), scheduled->version());
  ActivityRequest request;
  *request.mutable_name() = std::move(*scheduled->mutable_name());
  request.set_allocated_version(scheduled->release_version());
  request.set_allocated_input(scheduled->release_input());
  request.mutable_orchestrationinstance()->set_instanceid(state_.instance_id);
  request.mutable_orchestrationinstance()->mutable_executionid()->set_value(state_.execution_id);
  request.set_taskid(id);
  if (scheduled->has_parenttracecontext()) {
    request.set_allocated_parenttracecontext(scheduled->release_parenttracecontext());
  } else if (const TraceContext* fallback = FallbackTrace()) {
    *request.mutable_parenttracecontext() = *fallback;
  }
  request.mutable_tags()->swap(*scheduled->mutable_tags());
  task.request = std::make_shared<const std::string>(request.SerializeAsString());
  result_.checkpoint.tasks.push_back(std::move(task));
}

void TurnBuilder::CreateTimer(int32_t id, const CreateTimerAction& action) {
  // A timer of a generation that ends here can never fire (4.16, 4.25).
  if (end_ != TurnEnd::kGoesOn || fold_.WouldRepeat({WorkKind::kTimer, id})) return;
  HistoryEvent created = EventNow(id);
  *created.mutable_timercreated()->mutable_fireat() = action.fireat();
  AppendAction(created);

  HistoryEvent fired = EventNow(kNoEventId);
  *fired.mutable_timerfired()->mutable_fireat() = action.fireat();
  fired.mutable_timerfired()->set_timerid(id);
  result_.checkpoint.own_messages.push_back(
      ToMessage(fired, state_.generation, ToDueTime(action.fireat())));
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
    result_.checkpoint.children.push_back(MakeChild(id, *created));
  }
}

NewMessage TurnBuilder::ChildFailure(int32_t id, const std::string& error_type,
                                     const std::string& error_message) const {
  HistoryEvent event = EventNow(kNoEventId);
  auto* failed = event.mutable_suborchestrationinstancefailed();
  failed->set_taskscheduledid(id);
  failed->mutable_failuredetails()->set_errortype(error_type);
  failed->mutable_failuredetails()->set_errormessage(error_message);
  return ToMessage(event, state_.generation);
}

void TurnBuilder::FailChild(int32_t id, const std::string& error_type,
                            const std::string& error_message) {
  const bool awaited = fold_.IsOutstanding({WorkKind::kSubOrchestration, id});
  if (end_ != TurnEnd::kGoesOn || !awaited) return;
  result_.checkpoint.own_messages.push_back(ChildFailure(id, error_type, error_message));
}

// Takes what the child needs out of the event, which is already written.
NewChild TurnBuilder::MakeChild(int32_t id, SubOrchestrationInstanceCreatedEvent& created) {
  const ExecutionStartedEvent* parent = fold_.started();
  NewChild child;
  NewInstance& instance = child.instance;
  instance.hub = state_.hub;
  instance.instance_id = created.instanceid();
  instance.execution_id = context_.ids.NewExecutionId();
  instance.name = created.name();
  instance.version = ToPayload(created.has_version(), created.version());
  instance.input = ToPayload(created.has_input(), created.input());
  instance.parent = ParentLink{state_.key, state_.generation, id, state_.instance_id};
  if (created.tags().contains(std::string(kFireAndForgetTag))) instance.parent->task_id.reset();

  HistoryEvent event = EventNow(kNoEventId);
  ExecutionStartedEvent* started = event.mutable_executionstarted();
  *started->mutable_name() = std::move(*created.mutable_name());
  started->set_allocated_version(created.release_version());
  started->set_allocated_input(created.release_input());
  started->mutable_orchestrationinstance()->set_instanceid(instance.instance_id);
  started->mutable_orchestrationinstance()->mutable_executionid()->set_value(instance.execution_id);
  ParentInstanceInfo* link = started->mutable_parentinstance();
  link->set_taskscheduledid(id);
  link->mutable_orchestrationinstance()->set_instanceid(state_.instance_id);
  link->mutable_orchestrationinstance()->mutable_executionid()->set_value(state_.execution_id);
  if (created.has_parenttracecontext()) {
    started->set_allocated_parenttracecontext(created.release_parenttracecontext());
  } else if (const TraceContext* fallback = FallbackTrace()) {
    *started->mutable_parenttracecontext() = *fallback;
  }
  started->mutable_tags()->swap(*created.mutable_tags());
  if (parent != nullptr) {
    link->mutable_name()->set_value(parent->name());
    if (parent->has_version()) *link->mutable_version() = parent->version();
    for (const auto& [key, value] : parent->tags()) {
      if (key != kFireAndForgetTag) started->mutable_tags()->insert({key, value});
    }
  }
  instance.tags = ToTags(started->tags());
  if (started->has_parenttracecontext()) {
    instance.trace_context = started->parenttracecontext().SerializeAsString();
  }
  instance.started = ToMessage(event, 0);
  child.conflict = ChildFailure(
      id, "OrchestrationAlreadyExists",
      absl::StrCat("an orchestration with the id \"", instance.instance_id, "\" is running"));
  return child;
}

void TurnBuilder::SendEvent(int32_t id, SendEventAction& action) {
  const std::string target = action.instance().instanceid();
  HistoryEvent sent = EventNow(id);
  sent.mutable_eventsent()->set_instanceid(target);
  sent.mutable_eventsent()->set_name(action.name());
  if (action.has_data()) *sent.mutable_eventsent()->mutable_input() = action.data();
  AppendAction(sent);

  HistoryEvent raised = EventNow(kNoEventId);
  *raised.mutable_eventraised()->mutable_name() = std::move(*action.mutable_name());
  raised.mutable_eventraised()->set_allocated_input(action.release_data());
  if (target != state_.instance_id) {
    result_.checkpoint.messages.push_back({target, ToMessage(raised, kAnyGeneration)});
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
  result_.checkpoint.terminations.push_back(std::move(termination));
}

}  // namespace dt::orchestration
