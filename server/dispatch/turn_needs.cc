#include "server/dispatch/turn_needs.h"

#include "absl/strings/str_cat.h"
#include "server/dispatch/failures.h"

namespace dt::dispatch {

std::optional<TaskFailureDetails> FailureOf(const Resident& resident, const StepContext& step,
                                            const LargeItems& large_items) {
  const bool poisoned = step.Poisoned(resident.lost_leases);
  const auto too_large = large_items.Failure(resident.stored_id(), poisoned);
  if (too_large.has_value()) return ServerFailure("WorkItemTooLarge", *too_large);
  if (!poisoned) return std::nullopt;
  return ServerFailure(
      "PoisonMessage",
      absl::StrCat(resident.entity == nullptr ? "The orchestration was" : "The operations were",
                   " given up after ", resident.lost_leases,
                   " dispatches that no worker answered."));
}

Matcher::Needs NeedsOf(const Resident& resident, const StepContext& step, LargeItems& large_items) {
  Matcher::Needs needs;
  needs.streams_history = resident.state.history_bytes > step.limits.history_streaming_from_bytes;
  if (resident.bytes <= LargeItems::kReceiveBytes ||
      FailureOf(resident, step, large_items).has_value()) {
    return needs;
  }
  for (const Message& message : resident.inbox.Due(step.now)) {
    const auto bytes = message.event == nullptr ? 0 : static_cast<int64_t>(message.event->size());
    const int64_t sum = needs.streamed_bytes + bytes;
    if (needs.streamed_bytes > 0 && sum > step.limits.turn.message_bytes_max) break;
    needs.streamed_bytes = sum;
  }
  const bool has_state = resident.entity != nullptr && resident.entity->state.state != nullptr;
  if (has_state) needs.streamed_bytes += static_cast<int64_t>(resident.entity->state.state->size());
  needs.bytes = needs.streamed_bytes + resident.state.history_bytes;
  needs.overdue = needs.bytes > LargeItems::kReceiveBytes &&
                  large_items.IsOverdue(resident.stored_id(), step.steady);
  return needs;
}

}  // namespace dt::dispatch
