#include "server/orchestration/response_check.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/orchestration/entity_messages.h"
#include "server/orchestration/field_checks.h"
#include "server/orchestration/timestamps.h"

namespace dt::orchestration {
namespace {

using google::protobuf::StringValue;

// The first failing check of a list.
template <typename... Checks>
absl::Status FirstError(const Checks&... checks) {
  absl::Status status;
  (void)((status = checks(), status.ok()) && ...);
  return status;
}

absl::Status CheckValue(absl::string_view field, bool present, const StringValue& value,
                        const TurnLimits& limits) {
  return present ? CheckPayload(field, value.value().size(), limits.payload_bytes_max)
                 : absl::OkStatus();
}

absl::Status Check(const ScheduleTaskAction& action, const TurnLimits& limits) {
  return FirstError(
      [&] { return CheckTrace("parentTraceContext", action.parenttracecontext()); },
      [&] { return CheckName("name", action.name(), limits.name_bytes_max); },
      [&] { return CheckVersion("version", action.version().value(), limits.version_bytes_max); },
      [&] { return CheckTags("tags", action.tags(), limits.tags_bytes_max); },
      [&] { return CheckValue("input", action.has_input(), action.input(), limits); });
}

absl::Status Check(const CreateTimerAction& action) {
  if (action.has_fireat() && IsValidTimestamp(action.fireat())) return absl::OkStatus();
  if (!action.has_fireat()) return absl::InvalidArgumentError("fireAt is not set");
  return absl::InvalidArgumentError(
      absl::StrCat("fireAt is ", action.fireat().seconds(), " s and ", action.fireat().nanos(),
                   " ns after 1970; the years 1 to 9999 and 0 to 999999999 ns are allowed"));
}

absl::Status Check(const CreateSubOrchestrationAction& action, const TurnLimits& limits) {
  return FirstError(
      [&] { return CheckTrace("parentTraceContext", action.parenttracecontext()); },
      [&] { return CheckName("name", action.name(), limits.name_bytes_max); },
      [&] {
        return action.instanceid().empty()
                   ? absl::OkStatus()
                   : CheckId("instanceId", action.instanceid(), limits.instance_id_chars_max);
      },
      [&] { return CheckVersion("version", action.version().value(), limits.version_bytes_max); },
      [&] { return CheckTags("tags", action.tags(), limits.tags_bytes_max); },
      [&] { return CheckValue("input", action.has_input(), action.input(), limits); });
}

absl::Status Check(const SendEventAction& action, const TurnLimits& limits) {
  return FirstError(
      [&] {
        return CheckId("instance.instanceId", action.instance().instanceid(),
                       limits.instance_id_chars_max);
      },
      [&] { return CheckEventName("name", action.name(), limits.name_bytes_max); },
      [&] { return CheckValue("data", action.has_data(), action.data(), limits); });
}

absl::Status Check(const TerminateOrchestrationAction& action, const TurnLimits& limits) {
  return FirstError(
      [&] { return CheckId("instanceId", action.instanceid(), limits.instance_id_chars_max); },
      [&] { return CheckValue("reason", action.has_reason(), action.reason(), limits); });
}

template <typename Event>
absl::Status CheckOperation(const Event& event, const TurnLimits& limits) {
  return FirstError(
      [&] { return CheckEventName("operation", event.operation(), limits.name_bytes_max); },
      [&] { return CheckEventName("requestId", event.requestid(), limits.name_bytes_max); },
      [&] { return CheckValue("input", event.has_input(), event.input(), limits); });
}

absl::Status CheckSection(const std::string& section_id, const TurnLimits& limits) {
  return CheckEventName("criticalSectionId", section_id, limits.name_bytes_max);
}

absl::Status Check(const SendEntityMessageAction& action, const TurnLimits& limits) {
  absl::Status status = CheckEntityAction(action);
  if (!status.ok()) return status;
  switch (action.EntityMessageType_case()) {
    case SendEntityMessageAction::kEntityOperationSignaled:
      return CheckOperation(action.entityoperationsignaled(), limits);
    case SendEntityMessageAction::kEntityOperationCalled:
      return CheckOperation(action.entityoperationcalled(), limits);
    case SendEntityMessageAction::kEntityLockRequested:
      return CheckSection(action.entitylockrequested().criticalsectionid(), limits);
    case SendEntityMessageAction::kEntityUnlockSent:
      return CheckSection(action.entityunlocksent().criticalsectionid(), limits);
    default:
      return status;
  }
}

// A scheduling event of a new history, of which the work may be created again.
template <typename Event>
absl::Status CheckWork(absl::string_view field, const Event& event, const TurnLimits& limits) {
  return FirstError(
      [&] { return CheckName(absl::StrCat(field, ".name"), event.name(), limits.name_bytes_max); },
      [&] {
        return CheckVersion(absl::StrCat(field, ".version"), event.version().value(),
                            limits.version_bytes_max);
      });
}

absl::Status CheckCarryover(const CompleteOrchestrationAction& action, const TurnLimits& limits) {
  for (const HistoryEvent& event : action.carryoverevents()) {
    const EventRaisedEvent& raised = event.eventraised();
    absl::Status status = FirstError(
        [&] {
          return CheckEventName("carryoverEvents.name", raised.name(), limits.name_bytes_max);
        },
        [&] {
          return CheckValue("carryoverEvents.input", raised.has_input(), raised.input(), limits);
        });
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status Check(const CompleteOrchestrationAction& action, const TurnLimits& limits) {
  switch (action.orchestrationstatus()) {
    case ORCHESTRATION_STATUS_COMPLETED:
    case ORCHESTRATION_STATUS_FAILED:
    case ORCHESTRATION_STATUS_TERMINATED:
    case ORCHESTRATION_STATUS_CANCELED:
    case ORCHESTRATION_STATUS_CONTINUED_AS_NEW:
      break;
    default:
      return absl::InvalidArgumentError(absl::StrCat("orchestrationStatus is ",
                                                     static_cast<int>(action.orchestrationstatus()),
                                                     ", which ends no orchestration"));
  }
  return FirstError(
      [&] { return CheckValue("result", action.has_result(), action.result(), limits); },
      [&] { return CheckValue("details", action.has_details(), action.details(), limits); },
      [&] {
        return CheckPayload("failureDetails", action.failuredetails().ByteSizeLong(),
                            limits.payload_bytes_max);
      },
      [&] {
        return CheckVersion("newVersion", action.newversion().value(), limits.version_bytes_max);
      },
      [&] { return CheckCarryover(action, limits); });
}

absl::Status CheckFields(const OrchestratorAction& action, const TurnLimits& limits) {
  switch (action.orchestratorActionType_case()) {
    case OrchestratorAction::kScheduleTask:
      return Check(action.scheduletask(), limits);
    case OrchestratorAction::kCreateTimer:
      return Check(action.createtimer());
    case OrchestratorAction::kCreateSubOrchestration:
      return Check(action.createsuborchestration(), limits);
    case OrchestratorAction::kSendEvent:
      return Check(action.sendevent(), limits);
    case OrchestratorAction::kTerminateOrchestration:
      return Check(action.terminateorchestration(), limits);
    case OrchestratorAction::kSendEntityMessage:
      return Check(action.sendentitymessage(), limits);
    default:
      return absl::OkStatus();
  }
}

absl::Status Check(const RewindOrchestrationAction& action, const TurnLimits& limits) {
  int started = 0;
  for (const HistoryEvent& event : action.newhistory()) {
    absl::Status status;
    switch (event.eventType_case()) {
      case HistoryEvent::EVENTTYPE_NOT_SET:
        return absl::InvalidArgumentError("newHistory has an event without a type");
      case HistoryEvent::kExecutionStarted:
        ++started;
        break;
      case HistoryEvent::kTaskScheduled:
        status = CheckWork("newHistory.taskScheduled", event.taskscheduled(), limits);
        break;
      case HistoryEvent::kSubOrchestrationInstanceCreated:
        status = FirstError(
            [&] {
              return CheckId("newHistory.instanceId",
                             event.suborchestrationinstancecreated().instanceid(),
                             limits.instance_id_chars_max);
            },
            [&] {
              return CheckWork("newHistory.subOrchestrationInstanceCreated",
                               event.suborchestrationinstancecreated(), limits);
            });
        break;
      case HistoryEvent::kTimerCreated:
        if (!IsValidTimestamp(event.timercreated().fireat())) {
          status = absl::InvalidArgumentError("newHistory.fireAt is not a valid time");
        }
        break;
      default:
        break;
    }
    if (!status.ok()) return status;
  }
  if (started == 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("newHistory has ", started, " events ExecutionStarted; it must have one"));
}

// The name of the set action type, as the protocol spells it.
std::string ActionName(const OrchestratorAction& action) {
  const auto* field = OrchestratorAction::descriptor()->FindFieldByNumber(
      static_cast<int>(action.orchestratorActionType_case()));
  return field == nullptr ? "unknown" : field->name();
}

std::optional<TaskFailureDetails> CheckServed(const OrchestratorAction& action) {
  if (action.orchestratorActionType_case() == OrchestratorAction::ORCHESTRATORACTIONTYPE_NOT_SET) {
    return MakeFailure(kUnsupportedAction,
                       absl::StrCat("the action with id ", action.id(),
                                    " has no type that this server knows: update the server"));
  }
  return std::nullopt;
}

// How many things a turn writes for others, or for its next generation.
std::optional<TaskFailureDetails> CheckCount(const ResponsePlan& plan, const TurnLimits& limits) {
  size_t count = plan.actions.size();
  for (const OrchestratorAction* action : plan.actions) {
    if (!action->has_sendentitymessage()) continue;
    // A lock request goes to each entity of its set.
    const auto& message = action->sendentitymessage();
    count += static_cast<size_t>(message.entitylockrequested().lockset_size());
  }
  if (plan.completion != nullptr) {
    count += static_cast<size_t>(plan.completion->carryoverevents_size());
  }
  if (count <= static_cast<size_t>(limits.actions_max)) return std::nullopt;
  return MakeFailure(kTooManyActions,
                     absl::StrCat("the turn has ", count,
                                  " actions and carried-over events, the "
                                  "limit is ",
                                  limits.actions_max,
                                  " (limits.turn-actions-max): spread them over several turns, or "
                                  "over sub-orchestrations"));
}

TaskFailureDetails ToFailure(const absl::Status& status, std::string_view where) {
  return MakeFailure(absl::IsResourceExhausted(status) ? kPayloadTooLarge : kInvalidAction,
                     std::string(where) + std::string(status.message()));
}

}  // namespace

TaskFailureDetails MakeFailure(std::string error_type, std::string error_message) {
  TaskFailureDetails details;
  details.set_errortype(std::move(error_type));
  details.set_errormessage(std::move(error_message));
  details.set_isnonretriable(true);
  return details;
}

ResponsePlan ArrangeResponse(OrchestratorResponse& response) {
  ResponsePlan plan;
  plan.actions.reserve(static_cast<size_t>(response.actions_size()));
  for (OrchestratorAction& action : *response.mutable_actions()) plan.actions.push_back(&action);
  const auto before = [](const auto* a, const auto* b) { return a->id() < b->id(); };
  std::stable_sort(plan.actions.begin(), plan.actions.end(), before);
  const auto ends = [&plan](OrchestratorAction* action) {
    if (action->has_completeorchestration()) {
      if (plan.completion == nullptr) plan.completion = action->mutable_completeorchestration();
      return true;
    }
    if (!action->has_rewindorchestration()) return false;
    if (plan.rewind == nullptr) plan.rewind = action->mutable_rewindorchestration();
    return true;
  };
  std::erase_if(plan.actions, ends);
  return plan;
}

bool LetTerminationWin(OrchestratorResponse& response, ResponsePlan& plan) {
  plan.rewind = nullptr;
  const OrchestratorAction* lowest = nullptr;
  for (OrchestratorAction& action : *response.mutable_actions()) {
    if (!action.has_completeorchestration() ||
        action.completeorchestration().orchestrationstatus() ==
            ORCHESTRATION_STATUS_CONTINUED_AS_NEW) {
      continue;
    }
    if (lowest == nullptr || action.id() < lowest->id()) {
      lowest = &action;
      plan.completion = action.mutable_completeorchestration();
    }
  }
  if (lowest != nullptr) return true;
  plan.completion = nullptr;
  plan.actions.clear();
  return false;
}

std::optional<TaskFailureDetails> CheckResponse(const OrchestratorResponse& response,
                                                const ResponsePlan& plan,
                                                const TurnLimits& limits) {
  absl::Status status =
      CheckValue("customStatus", response.has_customstatus(), response.customstatus(), limits);
  if (status.ok()) {
    status = CheckTrace("orchestrationTraceContext", response.orchestrationtracecontext());
  }
  if (!status.ok()) return ToFailure(status, "");
  if (auto failure = CheckCount(plan, limits)) return failure;
  for (const OrchestratorAction* action : plan.actions) {
    if (auto failure = CheckServed(*action)) return failure;
    status = CheckFields(*action, limits);
    if (!status.ok()) {
      return ToFailure(
          status, absl::StrCat("action ", ActionName(*action), " with id ", action->id(), ": "));
    }
  }
  if (plan.rewind != nullptr) {
    if (response.actions_size() > 1) {
      return MakeFailure(kInvalidAction, absl::StrCat("the action rewindOrchestration is one of ",
                                                      response.actions_size(),
                                                      " actions; it must be the only one"));
    }
    status = Check(*plan.rewind, limits);
    if (!status.ok()) return ToFailure(status, "action rewindOrchestration: ");
  }
  if (plan.completion == nullptr) return std::nullopt;
  status = Check(*plan.completion, limits);
  if (!status.ok()) return ToFailure(status, "action completeOrchestration: ");
  return std::nullopt;
}

}  // namespace dt::orchestration
