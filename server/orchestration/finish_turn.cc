// FinishTurn and FailInstance: from a worker's response to one checkpoint.

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/orchestration/failure_depth.h"
#include "server/orchestration/response_check.h"
#include "server/orchestration/timestamps.h"
#include "server/orchestration/turn.h"
#include "server/orchestration/turn_builder.h"

namespace dt::orchestration {
namespace {

// How many entries of newEvents the worker has processed (3.19). An answer that claims to have
// processed none of the messages counts as all: to deliver the same messages again would never end.
size_t ProcessedCount(const Turn& turn, const OrchestratorResponse& response) {
  const size_t all = turn.events.size();
  constexpr int kFirstMessage = 1;  // after OrchestratorStarted
  if (!response.has_numeventsprocessed()) return all;
  const int32_t processed = response.numeventsprocessed().value();
  return processed <= kFirstMessage ? all : std::min(all, static_cast<size_t>(processed));
}

// The ExecutionTerminated that the worker has processed in this turn.
std::optional<ExecutionTerminatedEvent> FindTermination(const TurnContext& context) {
  for (size_t i = 0; i < context.processed; ++i) {
    const TurnEvent& turn_event = context.turn.events[i];
    if (turn_event.event_type != HistoryEvent::kExecutionTerminated) continue;
    HistoryEvent event;
    if (event.ParseFromString(*turn_event.event)) return event.executionterminated();
  }
  return std::nullopt;
}

// Only when a turn fails does an absent custom status leave the stored one (3.34).
Payload EffectiveCustomStatus(const InstanceState& state, const OrchestratorResponse& response,
                              bool failed) {
  if (!response.customstatus().value().empty()) return response.customstatus().value();
  return failed ? state.custom_status : state.saved_custom_status;
}

std::optional<std::string> EffectiveTrace(const InstanceState& state,
                                          const OrchestratorResponse& response) {
  if (response.orchestrationtracecontext().spanid().value().empty()) {
    return state.orchestration_trace_context;
  }
  return response.orchestrationtracecontext().SerializeAsString();
}

// The failure details of a FAILED completion; a worker may leave them out (4.15).
TaskFailureDetails FailureOf(CompleteOrchestrationAction& completion) {
  if (completion.has_failuredetails()) {
    LimitDepth(*completion.mutable_failuredetails());
    return std::move(*completion.mutable_failuredetails());
  }
  TaskFailureDetails details;
  details.set_errortype("OrchestrationFailed");
  details.set_errormessage(completion.has_details() ? completion.details().value()
                                                    : completion.result().value());
  return details;
}

TurnResult Fail(const TurnContext& context, const TaskFailureDetails& details) {
  const std::optional<ExecutionTerminatedEvent> termination = FindTermination(context);
  TurnBuilder builder(context, TurnEnd::kEnds);
  if (termination && termination->recurse()) builder.TerminateChildren(*termination);
  builder.Complete(RuntimeStatus::kFailed, std::nullopt, details);
  builder.SetVisible(context.state.custom_status, context.state.orchestration_trace_context);
  return builder.Take();
}

TaskFailureDetails HistoryTooLarge(int64_t bytes, const TurnLimits& limits) {
  return MakeFailure(
      kHistoryTooLarge,
      absl::StrCat("the history would have ", bytes, " bytes, the limit is ",
                   limits.history_bytes_max,
                   " (limits.history-bytes-max); ContinueAsNew begins a new history"));
}

TurnEnd EndOf(const ResponsePlan& plan) {
  if (plan.completion == nullptr) return TurnEnd::kGoesOn;
  return plan.completion->orchestrationstatus() == ORCHESTRATION_STATUS_CONTINUED_AS_NEW
             ? TurnEnd::kContinuesAsNew
             : TurnEnd::kEnds;
}

void Complete(CompleteOrchestrationAction& completion, TurnBuilder& builder) {
  const auto status = static_cast<RuntimeStatus>(completion.orchestrationstatus());
  std::optional<TaskFailureDetails> failure;
  if (status == RuntimeStatus::kFailed) failure = FailureOf(completion);
  Payload result;
  if (completion.has_result()) result = std::move(*completion.mutable_result()->mutable_value());
  builder.Complete(status, std::move(result), std::move(failure));
}

// Applies what has been checked.
TurnResult ApplyPlan(const TurnContext& context, const OrchestratorResponse& response,
                     const ResponsePlan& plan,
                     const std::optional<ExecutionTerminatedEvent>& termination) {
  const TurnEnd end = EndOf(plan);
  const OrchestrationStatus status = end == TurnEnd::kGoesOn
                                         ? ORCHESTRATION_STATUS_RUNNING
                                         : plan.completion->orchestrationstatus();
  // However it ends: what is below it must end all the same (3.30).
  const bool recurses = termination && termination->recurse() && end == TurnEnd::kEnds;
  TurnBuilder builder(context, end, recurses);
  if (recurses) builder.TerminateChildren(*termination);
  for (OrchestratorAction* action : plan.actions) builder.Apply(*action);
  const int64_t history_bytes = context.state.history_bytes + builder.history_bytes();
  if (end == TurnEnd::kGoesOn && history_bytes > context.limits.history_bytes_max) {
    return Fail(context, HistoryTooLarge(history_bytes, context.limits));
  }
  const Payload custom_status =
      EffectiveCustomStatus(context.state, response, status == ORCHESTRATION_STATUS_FAILED);
  if (end == TurnEnd::kEnds) Complete(*plan.completion, builder);
  if (end == TurnEnd::kContinuesAsNew) builder.ContinueAsNew(*plan.completion, custom_status);
  builder.SetVisible(custom_status, EffectiveTrace(context.state, response));
  return builder.Take();
}

// The turn of a worker that rewinds its orchestration (4.28): what else it does is decided from
// what is in flight, by PlanOwnRewind.
TurnResult FinishRewind(const TurnContext& context, RewindOrchestrationAction& action) {
  TurnResult result;
  BeginCheckpoint(context, result);
  result.checkpoint.releases_locks = !context.state.sections.empty();
  result.rewind.emplace().set_instanceid(context.state.instance_id);
  ChunkWriter writer;
  for (HistoryEvent& event : *action.mutable_newhistory()) {
    if (IsUnset(event.timestamp())) *event.mutable_timestamp() = ToTimestamp(context.now);
    if (event.has_executionrewound() && event.executionrewound().has_reason()) {
      *result.rewind->mutable_reason() = event.executionrewound().reason();
    }
    LimitDepth(event);
    writer.Append(event);
  }
  if (writer.bytes() > context.limits.history_bytes_max) {
    return Fail(context, HistoryTooLarge(writer.bytes(), context.limits));
  }
  result.checkpoint.history = writer.Take(result.checkpoint.turn, /*first_event=*/0);
  return result;
}

}  // namespace

TurnResult FinishTurn(const InstanceState& state, const Turn& turn, OrchestratorResponse response,
                      LeaseToken lease_token, absl::Time now, IdSource& ids,
                      const TurnLimits& limits) {
  const size_t processed = ProcessedCount(turn, response);
  const TurnContext context{state, turn, processed, lease_token, now, ids, limits};
  const std::optional<ExecutionTerminatedEvent> termination = FindTermination(context);
  ResponsePlan plan = ArrangeResponse(response);
  CompleteOrchestrationAction terminated;
  if (termination && !LetTerminationWin(response, plan)) {
    terminated.set_orchestrationstatus(ORCHESTRATION_STATUS_TERMINATED);
    if (termination->has_input()) *terminated.mutable_result() = termination->input();
    plan.completion = &terminated;
  }
  if (const auto failure = CheckResponse(response, plan, limits)) return Fail(context, *failure);
  if (plan.rewind != nullptr) return FinishRewind(context, *plan.rewind);
  return ApplyPlan(context, response, plan, termination);
}

TurnResult FailInstance(const InstanceState& state, const Turn& turn,
                        const TaskFailureDetails& details, LeaseToken lease_token, absl::Time now,
                        IdSource& ids, const TurnLimits& limits) {
  return Fail({state, turn, turn.events.size(), lease_token, now, ids, limits}, details);
}

TurnResult TerminateInstance(const InstanceState& state, const Turn& turn, LeaseToken lease_token,
                             absl::Time now, IdSource& ids, const TurnLimits& limits) {
  OrchestratorResponse response;  // without actions, so the termination that was delivered wins
  if (state.custom_status) response.mutable_customstatus()->set_value(*state.custom_status);
  return FinishTurn(state, turn, std::move(response), lease_token, now, ids, limits);
}

}  // namespace dt::orchestration
