#include "server/orchestration/effects.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/orchestration/event_bytes.h"
#include "server/orchestration/field_checks.h"
#include "server/orchestration/timestamps.h"

namespace dt::orchestration {
namespace {

const TraceContext* FallbackTrace(const EffectSource& source) {
  return source.started != nullptr && source.started->has_parenttracecontext()
             ? &source.started->parenttracecontext()
             : nullptr;
}

// The child's ExecutionStarted.
HistoryEvent ChildStarted(const EffectSource& source, int32_t id,
                          SubOrchestrationInstanceCreatedEvent& created,
                          const std::string& execution_id) {
  HistoryEvent event = MakeEvent(kNoEventId, source.now);
  ExecutionStartedEvent* started = event.mutable_executionstarted();
  started->mutable_orchestrationinstance()->set_instanceid(created.instanceid());
  started->mutable_orchestrationinstance()->mutable_executionid()->set_value(execution_id);
  *started->mutable_name() = std::move(*created.mutable_name());
  started->set_allocated_version(created.release_version());
  started->set_allocated_input(created.release_input());
  ParentInstanceInfo* link = started->mutable_parentinstance();
  link->set_taskscheduledid(id);
  link->mutable_orchestrationinstance()->set_instanceid(source.state.instance_id);
  link->mutable_orchestrationinstance()->mutable_executionid()->set_value(
      source.state.execution_id);
  if (created.has_parenttracecontext()) {
    started->set_allocated_parenttracecontext(created.release_parenttracecontext());
  } else if (const TraceContext* fallback = FallbackTrace(source)) {
    *started->mutable_parenttracecontext() = *fallback;
  }
  started->mutable_tags()->swap(*created.mutable_tags());
  if (source.started == nullptr) return event;
  link->mutable_name()->set_value(source.started->name());
  if (source.started->has_version()) *link->mutable_version() = source.started->version();
  for (const auto& [key, value] : source.started->tags()) {
    if (key != kFireAndForgetTag) started->mutable_tags()->insert({key, value});
  }
  return event;
}

}  // namespace

NewTask MakeTask(const EffectSource& source, int32_t id, TaskScheduledEvent& scheduled) {
  NewTask task;
  task.task_id = id;
  task.name = std::move(*scheduled.mutable_name());
  task.version =
      scheduled.has_version() ? Payload(scheduled.version().value()) : source.state.version;
  task.execution_id = source.state.execution_id;
  ActivityRequest request;
  request.set_allocated_version(scheduled.release_version());
  request.set_allocated_input(scheduled.release_input());
  task.in_history = true;
  if (scheduled.has_parenttracecontext()) {
    request.set_allocated_parenttracecontext(scheduled.release_parenttracecontext());
  } else if (const TraceContext* fallback = FallbackTrace(source)) {
    *request.mutable_parenttracecontext() = *fallback;
    task.in_history = false;
  }
  request.mutable_tags()->swap(*scheduled.mutable_tags());
  task.request = std::make_shared<const std::string>(request.SerializeAsString());
  return task;
}

NewMessage MakeTimer(const EffectSource& source, int32_t id,
                     const google::protobuf::Timestamp& fire_at) {
  HistoryEvent fired = MakeEvent(kNoEventId, source.now);
  *fired.mutable_timerfired()->mutable_fireat() = fire_at;
  fired.mutable_timerfired()->set_timerid(id);
  return ToMessage(fired, source.state.generation, ToTimerDueTime(fire_at));
}

NewChild MakeChild(const EffectSource& source, int32_t id,
                   SubOrchestrationInstanceCreatedEvent& created, IdSource& ids) {
  NewChild child;
  NewInstance& instance = child.instance;
  instance.hub = source.state.hub;
  instance.instance_id = created.instanceid();
  instance.execution_id = ids.NewExecutionId();
  instance.name = created.name();
  instance.version = ToPayload(created.has_version(), created.version());
  instance.input = ToPayload(created.has_input(), created.input());
  instance.parent =
      ParentLink{source.state.key, source.state.generation, id, source.state.instance_id};
  if (created.tags().contains(std::string(kFireAndForgetTag))) instance.parent->task_id.reset();
  const HistoryEvent event = ChildStarted(source, id, created, instance.execution_id);
  const ExecutionStartedEvent& started = event.executionstarted();
  instance.tags = ToTags(started.tags());
  if (started.has_parenttracecontext()) {
    instance.trace_context = started.parenttracecontext().SerializeAsString();
  }
  instance.started = ToMessage(event, 0);
  child.conflict = MakeChildFailure(
      source, id, "OrchestrationAlreadyExists",
      absl::StrCat("an orchestration with the id \"", instance.instance_id, "\" is running"));
  return child;
}

NewMessage MakeChildFailure(const EffectSource& source, int32_t id, const std::string& error_type,
                            const std::string& error_message) {
  HistoryEvent event = MakeEvent(kNoEventId, source.now);
  auto* failed = event.mutable_suborchestrationinstancefailed();
  failed->set_taskscheduledid(id);
  failed->mutable_failuredetails()->set_errortype(error_type);
  failed->mutable_failuredetails()->set_errormessage(error_message);
  return ToMessage(event, source.state.generation);
}

HistoryEvent ChildResultEvent(const google::protobuf::Timestamp& now, int32_t task_id,
                              RuntimeStatus status, const Payload& result,
                              const TaskFailureDetails* failure) {
  HistoryEvent event = MakeEvent(kNoEventId, now);
  if (status == RuntimeStatus::kCompleted) {
    auto* completed = event.mutable_suborchestrationinstancecompleted();
    completed->set_taskscheduledid(task_id);
    if (result) completed->mutable_result()->set_value(*result);
    return event;
  }
  auto* failed = event.mutable_suborchestrationinstancefailed();
  failed->set_taskscheduledid(task_id);
  TaskFailureDetails* details = failed->mutable_failuredetails();
  if (failure != nullptr) {
    *details = *failure;
    return event;
  }
  const bool canceled = status == RuntimeStatus::kCanceled;
  details->set_errortype(canceled ? "OrchestrationCanceled" : "OrchestrationTerminated");
  details->set_errormessage(result && !result->empty() ? *result
                            : canceled                 ? "The orchestration was canceled"
                                                       : "The orchestration was terminated");
  return event;
}

}  // namespace dt::orchestration
