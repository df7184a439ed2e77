// MemoryDatabase: the end of all that is below an instance, as in sql/logic/terminations.sql.
#include <algorithm>

#include "proto/orchestrator_service.pb.h"
#include "tests/support/memory_database.h"

namespace dt::testing {

void MemoryDatabase::TerminateBelow(const Instance& above, const SubtreeTermination& termination) {
  std::vector<InstanceKey> ended = {above.row.key};
  std::vector<Instance*> live;
  for (size_t i = 0; i < ended.size(); ++i) {
    for (const auto& [key, child] : instances_) {
      const std::optional<ParentLink>& parent = child->parent;
      if (!parent || parent->key != ended[i] || !parent->task_id) continue;
      if (i == 0 && parent->generation != above.row.generation) continue;
      if (child->live) {
        live.push_back(child.get());
      } else {
        ended.push_back(key);
      }
    }
  }
  for (Instance* instance : live) {
    if (instance->turn == 0 && instance->lease == 0) {
      EndTerminated(*instance, termination.reason);
    } else {
      Deliver(/*worker=*/0, instance, termination.message);
    }
  }
}

std::vector<SubtreeTermination> MemoryDatabase::LateTerminations(const Instance& instance,
                                                                 const Checkpoint& checkpoint) {
  std::vector<SubtreeTermination> late;
  if (!checkpoint.ends) return late;
  for (const auto& [order, message] : instance.inbox) {
    const std::vector<int64_t>& consumed = checkpoint.consumed;
    if (std::find(consumed.begin(), consumed.end(), message.seq) != consumed.end()) continue;
    HistoryEvent event;
    if (!event.ParseFromString(*message.event) || !event.executionterminated().recurse()) continue;
    SubtreeTermination& termination = late.emplace_back();
    if (event.executionterminated().has_input()) {
      termination.reason = event.executionterminated().input().value();
    }
    termination.message.event_type = message.event_type;
    termination.message.event = message.event;
  }
  return late;
}

}  // namespace dt::testing
