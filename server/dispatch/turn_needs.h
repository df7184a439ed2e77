// What the next turn of a resident asks of a stream, and why it fails in place of being sent.
//
// Pure, but that a large item is noted as waiting.
#ifndef DT_SERVER_DISPATCH_TURN_NEEDS_H_
#define DT_SERVER_DISPATCH_TURN_NEEDS_H_

#include <optional>

#include "server/dispatch/matcher.h"
#include "server/dispatch/residents.h"
#include "server/dispatch/step_context.h"

namespace dt::dispatch {

Matcher::Needs NeedsOf(const Resident& resident, const StepContext& step, LargeItems& large_items);
// nullopt: it is sent.
std::optional<TaskFailureDetails> FailureOf(const Resident& resident, const StepContext& step,
                                            const LargeItems& large_items);

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_TURN_NEEDS_H_
