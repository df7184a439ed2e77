#include "server/orchestration/requests.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/unknown_field_set.h"
#include "server/orchestration/event_bytes.h"
#include "server/orchestration/field_checks.h"
#include "server/orchestration/timestamps.h"

namespace dt::orchestration {
namespace {

using google::protobuf::StringValue;

constexpr size_t kExecutionIdDigits = 32;

constexpr StatusSet kLiveStatuses = StatusBit(RuntimeStatus::kRunning) |
                                    StatusBit(RuntimeStatus::kPending) |
                                    StatusBit(RuntimeStatus::kSuspended);

bool IsExecutionId(std::string_view id) {
  return id.size() == kExecutionIdDigits && std::all_of(id.begin(), id.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

absl::Status CheckStart(const CreateInstanceRequest& request, const RequestLimits& limits) {
  absl::Status status = CheckName("name", request.name(), limits.name_bytes_max);
  if (status.ok() && !request.instanceid().empty()) {
    status = CheckInstanceId(request.instanceid(), limits);
  }
  if (status.ok() && IsEntityId(request.instanceid())) {
    status = absl::InvalidArgumentError(
        "instanceId begins with @, which is kept for entities: choose another id");
  }
  if (status.ok()) {
    status = CheckVersion("version", request.version().value(), limits.version_bytes_max);
  }
  if (status.ok()) {
    status = CheckPayload("input", request.input().value().size(), limits.payload_bytes_max);
  }
  if (status.ok()) status = CheckTags("tags", request.tags(), limits.tags_bytes_max);
  if (status.ok()) status = CheckTrace("parentTraceContext", request.parenttracecontext());
  if (status.ok() && request.has_scheduledstarttimestamp() &&
      !IsValidTimestamp(request.scheduledstarttimestamp())) {
    status = absl::InvalidArgumentError(
        absl::StrCat("scheduledStartTimestamp is ", request.scheduledstarttimestamp().seconds(),
                     " s and ", request.scheduledstarttimestamp().nanos(),
                     " ns after 1970; the years 1 to 9999 and 0 to 999999999 ns are allowed"));
  }
  return status;
}

// The older action of the Go SDK, field 2 of the policy (proto/README.md 11).
enum class OlderAction : int8_t { kNone = 0, kIgnore = 1, kTerminate = 2 };

absl::StatusOr<OlderAction> ReadOlderAction(const OrchestrationIdReusePolicy& policy) {
  constexpr int kAction = 2;
  OlderAction action = OlderAction::kNone;
  const auto& unknown = policy.GetReflection()->GetUnknownFields(policy);
  for (int i = 0; i < unknown.field_count(); ++i) {
    const auto& field = unknown.field(i);
    if (field.number() != kAction || field.type() != google::protobuf::UnknownField::TYPE_VARINT) {
      continue;
    }
    if (field.varint() > static_cast<uint64_t>(OlderAction::kTerminate)) {
      return absl::InvalidArgumentError(absl::StrCat("orchestrationIdReusePolicy.action is ",
                                                     field.varint(), ", the highest known is 2"));
    }
    action = static_cast<OlderAction>(field.varint());
  }
  return action;
}

// What an existing instance with the id means (5.7-5.10).
absl::Status ApplyReusePolicy(const OrchestrationIdReusePolicy& policy, StartPlan& plan) {
  StatusSet listed = 0;
  for (const int status : policy.replaceablestatus()) {
    if (!OrchestrationStatus_IsValid(status)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "orchestrationIdReusePolicy.replaceableStatus contains the unknown status ", status));
    }
    listed |= StatusBit(static_cast<RuntimeStatus>(status));
  }
  const absl::StatusOr<OlderAction> action = ReadOlderAction(policy);
  if (!action.ok()) return action.status();
  if (*action == OlderAction::kIgnore) {
    plan.answers.ignored = listed;
    plan.instance.replaceable = 0;
    return absl::OkStatus();
  }
  const bool excludes_terminated = (listed & StatusBit(RuntimeStatus::kTerminated)) == 0;
  if (*action == OlderAction::kNone && excludes_terminated) {
    plan.answers.excluded = listed & kLiveStatuses;
  }
  plan.instance.replaceable = static_cast<StatusSet>(listed & ~plan.answers.excluded);
  return absl::OkStatus();
}

NewMessage StartMessage(const CreateInstanceRequest& request, const NewInstance& instance,
                        absl::Time now) {
  HistoryEvent event = MakeEvent(kNoEventId, ToTimestamp(now));
  ExecutionStartedEvent* started = event.mutable_executionstarted();
  started->set_name(request.name());
  if (request.has_version()) *started->mutable_version() = request.version();
  if (request.has_input()) *started->mutable_input() = request.input();
  started->mutable_orchestrationinstance()->set_instanceid(instance.instance_id);
  started->mutable_orchestrationinstance()->mutable_executionid()->set_value(instance.execution_id);
  if (instance.scheduled_start) {
    *started->mutable_scheduledstarttimestamp() = request.scheduledstarttimestamp();
  }
  if (request.has_parenttracecontext()) {
    *started->mutable_parenttracecontext() = request.parenttracecontext();
  }
  *started->mutable_tags() = request.tags();
  // Visible at once also when the start is scheduled: the store holds the whole inbox back until
  // then (3.3), and so this message stays before all that is sent meanwhile, however much it is.
  return ToMessage(event, 0);
}

absl::Status CheckTarget(const std::string& instance_id, absl::string_view field,
                         const StringValue& payload, const RequestLimits& limits) {
  absl::Status status = CheckInstanceId(instance_id, limits);
  if (!status.ok()) return status;
  return CheckPayload(field, payload.value().size(), limits.payload_bytes_max);
}

// The same for what only an orchestration can be told.
absl::Status CheckOrchestration(const std::string& instance_id, absl::string_view field,
                                const StringValue& payload, const RequestLimits& limits) {
  if (IsEntityId(instance_id)) {
    return absl::InvalidArgumentError(
        "instanceId begins with @, so it is that of an entity: only orchestrations can be "
        "suspended, resumed and terminated");
  }
  return CheckTarget(instance_id, field, payload, limits);
}

}  // namespace

absl::Status CheckInstanceId(const std::string& instance_id, const RequestLimits& limits) {
  return CheckId("instanceId", instance_id, limits.instance_id_chars_max);
}

absl::StatusOr<StartPlan> BuildStart(const CreateInstanceRequest& request, HubId hub,
                                     absl::Time now, IdSource& ids, const RequestLimits& limits) {
  absl::Status status = CheckStart(request, limits);
  if (!status.ok()) return status;
  StartPlan plan;
  if (request.has_orchestrationidreusepolicy()) {
    status = ApplyReusePolicy(request.orchestrationidreusepolicy(), plan);
    if (!status.ok()) return status;
  }
  NewInstance& instance = plan.instance;
  instance.hub = hub;
  instance.instance_id = request.instanceid().empty() ? ids.NewExecutionId() : request.instanceid();
  instance.execution_id = IsExecutionId(request.executionid().value())
                              ? request.executionid().value()
                              : ids.NewExecutionId();
  instance.name = request.name();
  instance.version = ToPayload(request.has_version(), request.version());
  instance.input = ToPayload(request.has_input(), request.input());
  instance.tags = ToTags(request.tags());
  // JavaScript always sends a time, 1970 when there is none (5.5).
  if (request.has_scheduledstarttimestamp() && ToTime(request.scheduledstarttimestamp()) > now) {
    instance.scheduled_start = ToDueTime(request.scheduledstarttimestamp());
  }
  if (request.has_parenttracecontext()) {
    instance.trace_context = request.parenttracecontext().SerializeAsString();
  }
  instance.started = StartMessage(request, instance, now);
  return plan;
}

absl::Status AnswerExisting(const ReuseAnswers& answers, RuntimeStatus existing,
                            const std::string& instance_id) {
  if ((answers.ignored & StatusBit(existing)) != 0) return absl::OkStatus();
  if ((answers.excluded & StatusBit(existing)) != 0) {
    return absl::InvalidArgumentError(
        "Invalid reusable statuses: cannot exclude 'Terminated' while also allowing reuse of "
        "running instances");
  }
  return absl::AlreadyExistsError(
      absl::StrCat("orchestration instance already exists: '", instance_id, "' has status ",
                   OrchestrationStatus_Name(static_cast<OrchestrationStatus>(existing))));
}

absl::StatusOr<NewInstance> BuildRestart(const RestartInstanceRequest& request,
                                         const std::optional<InstanceRow>& row, HubId hub,
                                         absl::Time now, IdSource& ids) {
  if (!row) {
    return absl::NotFoundError(
        absl::StrCat("no orchestration instance '", request.instanceid(), "'"));
  }
  const bool new_id = request.restartwithnewinstanceid();
  if (!new_id && !IsTerminal(row->status)) {
    return absl::FailedPreconditionError(absl::StrCat(
        "instance '", row->instance_id, "' has status ",
        OrchestrationStatus_Name(static_cast<OrchestrationStatus>(row->status)),
        " and can be restarted under its id only when it has ended: wait, terminate it, or set "
        "restartWithNewInstanceId"));
  }
  NewInstance instance;
  instance.hub = hub;
  instance.instance_id = new_id ? ids.NewExecutionId() : row->instance_id;
  instance.execution_id = ids.NewExecutionId();
  instance.name = row->name;
  instance.version = row->version;
  instance.input = row->input;
  instance.tags = row->tags;
  // The message of a start that says the same.
  CreateInstanceRequest start;
  start.set_name(row->name);
  if (row->version) start.mutable_version()->set_value(*row->version);
  if (row->input) start.mutable_input()->set_value(*row->input);
  for (const auto& [key, value] : row->tags) (*start.mutable_tags())[key] = value;
  instance.started = StartMessage(start, instance, now);
  return instance;
}

absl::Status CheckRewind(const RewindInstanceRequest& request, const RequestLimits& limits) {
  return CheckTarget(request.instanceid(), "reason", request.reason(), limits);
}

absl::StatusOr<ImmediateTermination> BuildImmediateTermination(
    const SkipGracefulOrchestrationTerminationsRequest& request, HubId hub,
    const RequestLimits& limits) {
  ImmediateTermination termination;
  termination.hub = hub;
  termination.reason = ToPayload(request.has_reason(), request.reason());
  absl::Status status =
      CheckPayload("reason", request.reason().value().size(), limits.payload_bytes_max);
  if (status.ok()) status = AddIds(request.instancebatch(), limits, termination.instance_ids);
  if (!status.ok()) return status;
  return termination;
}

absl::Status AddIds(const InstanceBatch& batch, const RequestLimits& limits,
                    std::vector<std::string>& ids) {
  if (batch.instanceids_size() > kBatchIdsMax) {
    return absl::InvalidArgumentError(absl::StrCat("instanceBatch has ", batch.instanceids_size(),
                                                   " ids, the limit is ", kBatchIdsMax,
                                                   ": send several batches"));
  }
  for (const std::string& id : batch.instanceids()) {
    absl::Status status = CheckInstanceId(id, limits);
    if (!status.ok()) return status;
    ids.push_back(id);
  }
  return absl::OkStatus();
}

absl::StatusOr<ClientMessagePlan> BuildRaiseEvent(const RaiseEventRequest& request, absl::Time now,
                                                  const RequestLimits& limits) {
  absl::Status status = CheckTarget(request.instanceid(), "input", request.input(), limits);
  if (status.ok()) status = CheckEventName("name", request.name(), limits.name_bytes_max);
  if (!status.ok()) return status;
  HistoryEvent event = MakeEvent(kNoEventId, ToTimestamp(now));
  event.mutable_eventraised()->set_name(request.name());
  if (request.has_input()) *event.mutable_eventraised()->mutable_input() = request.input();
  return ClientMessagePlan{request.instanceid(), ToMessage(event, kAnyGeneration)};
}

absl::StatusOr<ClientMessagePlan> BuildSuspend(const SuspendRequest& request, absl::Time now,
                                               const RequestLimits& limits) {
  const absl::Status status =
      CheckOrchestration(request.instanceid(), "reason", request.reason(), limits);
  if (!status.ok()) return status;
  HistoryEvent event = MakeEvent(kNoEventId, ToTimestamp(now));
  ExecutionSuspendedEvent* suspended = event.mutable_executionsuspended();
  if (request.has_reason()) *suspended->mutable_input() = request.reason();
  return ClientMessagePlan{request.instanceid(), ToMessage(event, kAnyGeneration)};
}

absl::StatusOr<ClientMessagePlan> BuildResume(const ResumeRequest& request, absl::Time now,
                                              const RequestLimits& limits) {
  const absl::Status status =
      CheckOrchestration(request.instanceid(), "reason", request.reason(), limits);
  if (!status.ok()) return status;
  HistoryEvent event = MakeEvent(kNoEventId, ToTimestamp(now));
  ExecutionResumedEvent* resumed = event.mutable_executionresumed();
  if (request.has_reason()) *resumed->mutable_input() = request.reason();
  return ClientMessagePlan{request.instanceid(), ToMessage(event, kAnyGeneration)};
}

absl::StatusOr<Termination> BuildTerminate(const TerminateRequest& request, absl::Time now,
                                           const RequestLimits& limits) {
  const absl::Status status =
      CheckOrchestration(request.instanceid(), "output", request.output(), limits);
  if (!status.ok()) return status;
  HistoryEvent event = MakeEvent(kNoEventId, ToTimestamp(now));
  ExecutionTerminatedEvent* terminated = event.mutable_executionterminated();
  if (request.has_output()) *terminated->mutable_input() = request.output();
  terminated->set_recurse(request.recursive());
  Termination termination;
  termination.instance_id = request.instanceid();
  termination.reason = ToPayload(request.has_output(), request.output());
  termination.message = ToMessage(event, kAnyGeneration);
  return termination;
}

OrchestrationState RenderState(const InstanceRow& row, bool payloads) {
  OrchestrationState state;
  state.set_instanceid(row.instance_id);
  state.set_name(row.name);
  if (row.version) state.mutable_version()->set_value(*row.version);
  state.set_orchestrationstatus(static_cast<OrchestrationStatus>(row.status));
  if (row.scheduled_start) {
    *state.mutable_scheduledstarttimestamp() = ToTimestamp(*row.scheduled_start);
  }
  *state.mutable_createdtimestamp() = ToTimestamp(row.created_at);
  *state.mutable_lastupdatedtimestamp() = ToTimestamp(row.last_updated_at);
  state.mutable_executionid()->set_value(row.execution_id);
  if (row.completed_at) *state.mutable_completedtimestamp() = ToTimestamp(*row.completed_at);
  if (row.parent_instance_id) state.mutable_parentinstanceid()->set_value(*row.parent_instance_id);
  state.mutable_tags()->insert(row.tags.begin(), row.tags.end());
  if (!payloads) return state;
  if (row.input) state.mutable_input()->set_value(*row.input);
  if (row.output) state.mutable_output()->set_value(*row.output);
  if (row.custom_status) state.mutable_customstatus()->set_value(*row.custom_status);
  if (row.failure && row.status == RuntimeStatus::kFailed) {
    // The bytes were written by this server from a parsed message.
    state.mutable_failuredetails()->ParseFromString(*row.failure);
  }
  return state;
}

}  // namespace dt::orchestration
