#include "storage/postgres/hints.h"

#include <algorithm>

namespace dt::postgres {
namespace {

// A message for an instance that nobody or somebody else holds.
bool ForOthers(const Delivery& delivery, WorkerId own) {
  return delivery.outcome == DeliveryOutcome::kOk &&
         (delivery.lease_token == 0 || LeaseTokenWorker(delivery.lease_token) != own);
}

bool Created(CreateOutcome outcome) {
  return outcome == CreateOutcome::kCreated || outcome == CreateOutcome::kReplaced;
}

// A termination that ended its target at once has told that one's parent, whose holder is not
// named.
bool Ended(const Delivery& delivery) { return delivery.outcome == DeliveryOutcome::kDone; }

}  // namespace

bool LeavesWork(const NewInstance& request, const CreateResult& reply, WorkerId own) {
  return (Created(reply.outcome) && request.lease_token == 0) ||
         (reply.parent_notice.has_value() && ForOthers(*reply.parent_notice, own));
}

bool LeavesWork(const ClientMessage&, const Delivery& reply, WorkerId own) {
  return ForOthers(reply, own);
}

bool LeavesWork(const ClientTermination&, const Delivery& reply, WorkerId own) {
  return ForOthers(reply, own) || Ended(reply);
}

bool LeavesWork(const Checkpoint& request, const CheckpointResult& reply, WorkerId own) {
  if (reply.outcome != CheckpointOutcome::kCommitted) return false;
  const auto for_others = [own](const Delivery& delivery) { return ForOthers(delivery, own); };
  if (request.release && !request.own_messages.empty()) return true;
  if (request.subtree_termination.has_value()) return true;  // whom it reached is not told
  if (std::any_of(reply.messages.begin(), reply.messages.end(), for_others)) return true;
  if (reply.parent.has_value() && ForOthers(*reply.parent, own)) return true;
  for (const Delivery& delivery : reply.terminations) {
    if (ForOthers(delivery, own) || Ended(delivery)) return true;
  }
  for (size_t i = 0; i < reply.children.size(); ++i) {
    if (Created(reply.children[i].outcome) && request.children[i].instance.lease_token == 0) {
      return true;
    }
  }
  return std::any_of(request.tasks.begin(), request.tasks.end(),
                     [](const NewTask& task) { return task.lease_token == 0; });
}

bool LeavesWork(const TaskCompletion&, const TaskResult& reply, WorkerId own) {
  return reply.outcome == TaskOutcome::kOk && ForOthers(reply.delivery, own);
}

bool LeavesWork(const InstanceRelease& request, LeaseOutcome reply, WorkerId) {
  return reply == LeaseOutcome::kReleased && request.delay == absl::ZeroDuration();
}

bool LeavesWork(const TaskRelease& request, LeaseOutcome reply, WorkerId) {
  return reply == LeaseOutcome::kReleased && request.delay == absl::ZeroDuration();
}

}  // namespace dt::postgres
