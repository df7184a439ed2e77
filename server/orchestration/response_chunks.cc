// IsWhole, MergeChunk: a response that a worker sends in several parts (3.18).

#include <utility>

#include "server/orchestration/turn.h"

namespace dt::orchestration {

// .NET and Java still send parts, although the protocol calls these fields deprecated.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

bool IsWhole(const OrchestratorResponse& response) {
  return !response.ispartial() && response.chunkindex().value() <= 0;
}

bool MergeChunk(OrchestratorResponse part, OrchestratorResponse& merged) {
  const bool last = !part.ispartial();
  const int32_t index = part.chunkindex().value();
  if (index <= 0) {
    // The first part says everything but the actions, and begins anew what was sent before.
    merged = std::move(part);
    return last;
  }
  // A part that is sent again, because its answer was lost, adds nothing.
  if (merged.has_chunkindex() && index <= merged.chunkindex().value()) return last;
  merged.mutable_chunkindex()->set_value(index);
  merged.mutable_actions()->Reserve(merged.actions_size() + part.actions_size());
  for (OrchestratorAction& action : *part.mutable_actions()) {
    *merged.add_actions() = std::move(action);
  }
  return last;
}

#pragma GCC diagnostic pop

}  // namespace dt::orchestration
