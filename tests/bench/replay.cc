#include "tests/bench/replay.h"

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/time_util.h"
#include "tests/bench/entity.h"

namespace dt::bench {
namespace {

using google::protobuf::util::TimeUtil;

absl::string_view KindName(TaskKind kind) {
  switch (kind) {
    case TaskKind::kActivity:
      return "TaskScheduled";
    case TaskKind::kSubOrchestration:
      return "SubOrchestrationInstanceCreated";
    case TaskKind::kTimer:
      return "TimerCreated";
    case TaskKind::kEntity:
      return "message to an entity";
    case TaskKind::kNone:
      break;
  }
  return "no task";
}

std::string ShownTime(int64_t ns) {
  return TimeUtil::ToString(TimeUtil::NanosecondsToTimestamp(ns));
}

}  // namespace

absl::Status Replay::Broken(absl::string_view what) const {
  return absl::DataLossError(absl::StrCat("turn of ", instance_id_, ": ", what, " (after ", past_,
                                          " past and ", new_, " new events)"));
}

absl::Status Replay::ApplyPast(const HistoryEvents& events) {
  for (const HistoryEvent& event : events) {
    if (absl::Status status = Apply(event); !status.ok()) return status;
    ++past_;
  }
  fired_due_us_.reset();
  return absl::OkStatus();
}

absl::Status Replay::ApplyNew(const HistoryEvents& events) {
  for (const HistoryEvent& event : events) {
    if (absl::Status status = Apply(event); !status.ok()) return status;
    ++new_;
  }
  return absl::OkStatus();
}

absl::Status Replay::Check() const {
  if (workload_ == nullptr) return Broken("no ExecutionStarted");
  if (new_ == 0) return Broken("no news");
  return absl::OkStatus();
}

absl::Status Replay::Apply(const HistoryEvent& event) {
  switch (event.eventType_case()) {
    case HistoryEvent::kExecutionStarted:
      return ApplyStart(event.executionstarted());
    case HistoryEvent::kTaskScheduled:
      return ApplyScheduled(TaskKind::kActivity, event.eventid());
    case HistoryEvent::kSubOrchestrationInstanceCreated:
      return ApplyScheduled(TaskKind::kSubOrchestration, event.eventid());
    case HistoryEvent::kTimerCreated:
      timer_due_ns_ = TimeUtil::TimestampToNanoseconds(event.timercreated().fireat());
      return ApplyScheduled(TaskKind::kTimer, event.eventid());
    case HistoryEvent::kTaskCompleted:
      return ApplyResult(TaskKind::kActivity, event.taskcompleted().taskscheduledid(),
                         &event.taskcompleted().result());
    case HistoryEvent::kSubOrchestrationInstanceCompleted:
      return ApplyResult(TaskKind::kSubOrchestration,
                         event.suborchestrationinstancecompleted().taskscheduledid(),
                         &event.suborchestrationinstancecompleted().result());
    case HistoryEvent::kTimerFired:
      return ApplyFired(event.timerfired());
    case HistoryEvent::kEventRaised:
      return ApplyRaised(event.eventraised());
    case HistoryEvent::kTaskFailed:
      return Failed(event.taskfailed().taskscheduledid(), event.taskfailed().failuredetails());
    case HistoryEvent::kSubOrchestrationInstanceFailed:
      return Failed(event.suborchestrationinstancefailed().taskscheduledid(),
                    event.suborchestrationinstancefailed().failuredetails());
    case HistoryEvent::kEntityOperationSignaled:
    case HistoryEvent::kEntityUnlockSent:
      return ApplySent(event.eventid());
    case HistoryEvent::kEntityOperationCalled:
    case HistoryEvent::kEntityLockRequested:
      return ApplyScheduled(TaskKind::kEntity, event.eventid());
    case HistoryEvent::kEntityOperationCompleted:
      return ApplyAnswer(event.entityoperationcompleted().requestid(),
                         &event.entityoperationcompleted().output());
    case HistoryEvent::kEntityLockGranted:
      return ApplyAnswer(event.entitylockgranted().criticalsectionid(), nullptr);
    case HistoryEvent::kEntityOperationFailed:
      return Failed(-1, event.entityoperationfailed().failuredetails());
    case HistoryEvent::kOrchestratorStarted:
      started_at_ns_ = TimeUtil::TimestampToNanoseconds(event.timestamp());
      return absl::OkStatus();
    case HistoryEvent::kOrchestratorCompleted:
      return absl::OkStatus();
    default:
      return Broken(absl::StrCat("unexpected event type ", event.eventType_case()));
  }
}

absl::Status Replay::ApplyStart(const ExecutionStartedEvent& event) {
  if (workload_ != nullptr) return Broken("second ExecutionStarted");
  const Workload* workload = FindOrchestration(event.name());
  if (workload == nullptr) {
    return Broken(absl::StrCat("orchestration of the name ", Shown(event.name())));
  }
  if (!DecodeInput(event.input().value(), input_) || !workload->PlanOf(input_, plan_)) {
    return Broken(absl::StrCat("input is ", Shown(event.input().value())));
  }
  workload_ = workload;
  seen_.resize(plan_.tasks + plan_.events);
  return absl::OkStatus();
}

absl::Status Replay::ApplyScheduled(TaskKind kind, int32_t id) {
  if (workload_ == nullptr) return Broken(absl::StrCat(KindName(kind), " without a start"));
  if (kind != plan_.kind) {
    return Broken(absl::StrCat(KindName(kind), " of an orchestration with ", KindName(plan_.kind)));
  }
  if (id != static_cast<int64_t>(scheduled_)) {
    return Broken(absl::StrCat(KindName(kind), " ", id, " in the place of ", scheduled_));
  }
  if (scheduled_ == plan_.tasks) return Broken(absl::StrCat("too many ", KindName(kind)));
  ++scheduled_;
  return absl::OkStatus();
}

absl::Status Replay::ApplySent(int32_t id) {
  if (absl::Status status = ApplyScheduled(TaskKind::kEntity, id); !status.ok()) return status;
  seen_[id] = true;  // An answer would be the second one.
  return absl::OkStatus();
}

absl::Status Replay::ApplyAnswer(const std::string& request,
                                 const google::protobuf::StringValue* result) {
  uint64_t id = 0;
  if (!ActionOfRequest(instance_id_, request, id)) {
    return Broken(absl::StrCat("answer to the request ", Shown(request), " of another instance"));
  }
  return ApplyResult(TaskKind::kEntity, static_cast<int32_t>(id), result);
}

absl::Status Replay::ApplyResult(TaskKind kind, int32_t id,
                                 const google::protobuf::StringValue* result) {
  if (id < 0 || static_cast<uint64_t>(id) >= scheduled_ || kind != plan_.kind) {
    return Broken(absl::StrCat("result of task ", id, ", which was not scheduled"));
  }
  if (seen_[id]) return Broken(absl::StrCat("second result of task ", id));
  seen_[id] = true;
  ++completed_;
  if (result == nullptr) return absl::OkStatus();
  if (!DecodeValue(result->value(), last_value_)) {
    return Broken(absl::StrCat("task ", id, " has the result ", Shown(result->value())));
  }
  sum_ += last_value_;
  return absl::OkStatus();
}

absl::Status Replay::ApplyFired(const TimerFiredEvent& event) {
  if (absl::Status status = ApplyResult(TaskKind::kTimer, event.timerid(), nullptr); !status.ok()) {
    return status;
  }
  if (TimeUtil::TimestampToNanoseconds(event.fireat()) != timer_due_ns_) {
    return Broken(absl::StrCat("timer of ", ShownTime(timer_due_ns_), " fired as one of ",
                               TimeUtil::ToString(event.fireat())));
  }
  if (started_at_ns_ <= timer_due_ns_) {
    return Broken(absl::StrCat("timer of ", ShownTime(timer_due_ns_), " fired at ",
                               ShownTime(started_at_ns_), " by the server's clock"));
  }
  fired_due_us_ = timer_due_ns_ / 1000;
  return absl::OkStatus();
}

absl::Status Replay::ApplyRaised(const EventRaisedEvent& event) {
  Input carried;
  if (event.name() != kEventName || !DecodeInput(event.input().value(), carried)) {
    return Broken(absl::StrCat("event of the name ", Shown(event.name()), " with ",
                               Shown(event.input().value())));
  }
  const uint64_t index = carried.numbers[0];
  if (index >= plan_.events || carried.value != PartValue(input_.value, index)) {
    return Broken(
        absl::StrCat("event ", index, " of another instance: ", Shown(event.input().value())));
  }
  if (seen_[plan_.tasks + index])
    return Broken(absl::StrCat("event ", index, " for the second time"));
  seen_[plan_.tasks + index] = true;
  ++events_;
  sum_ += carried.value;
  return absl::OkStatus();
}

absl::Status Replay::Failed(int32_t id, const TaskFailureDetails& details) const {
  return Broken(absl::StrCat("task ", id, " failed: ", Shown(details.errormessage())));
}

}  // namespace dt::bench
