// Rewinds as pure functions: a FAILED orchestration goes on as if what decided its end had not been
// tried yet (RULES.md 5.29-5.31; undo.h says what that is).
//
// A rewind of a tree is: PlanRewind of the instance, then for each of the children that it names
// ResolveChild with the child's state; a child that is to be rewound as well is planned in the same
// way. Then all plans are one RewindRequest.
//
// An orchestration that its own worker rewinds (4.28) is live, and begins with PlanOwnRewind; the
// rest is the same.
//
// The generation stays. So what is in flight for the instance, the results of activities and of
// live children, reaches it without being touched, and no stale message can: those went with its
// end.
#ifndef DT_SERVER_ORCHESTRATION_REWIND_H_
#define DT_SERVER_ORCHESTRATION_REWIND_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/orchestrator_service.pb.h"
#include "server/orchestration/instance_state.h"
#include "server/orchestration/turn.h"
#include "storage/management_records.h"

namespace dt::orchestration {

// A child of which the rewritten history awaits a result, or one that it does not know any more.
struct AwaitedChild {
  int32_t task_id = 0;
  bool undone = false;                           // the latter: of `created` only the id is set
  SubOrchestrationInstanceCreatedEvent created;  // what the parent created it with
};

struct RewindPlan {
  Rewind rewind;
  InstanceState state;  // on the rewritten history, with the new execution id
  std::vector<AwaitedChild> children;
  absl::Time now;
};

// Rewrites the history and creates again what is outstanding in it, but for the children. NotFound;
// FailedPrecondition unless the status is FAILED, or if the rewritten history holds the lock of an
// entity; DataLoss for a history that cannot be read.
absl::StatusOr<RewindPlan> PlanRewind(const std::string& instance_id, RewindSource source,
                                      const RewindInstanceRequest& request, absl::Time now,
                                      IdSource& ids);

// The rewind of a live instance by its worker. `turn` is what FinishTurn made of the answer.
// Aborted if the source is not the live instance that the turn is of.
absl::StatusOr<RewindPlan> PlanOwnRewind(Checkpoint turn, RewindSource source, absl::Time now,
                                         IdSource& ids);

// What becomes of an awaited child: an ended one gives its result, a missing one is created again,
// a live one goes on. True for a FAILED one, which is to be rewound itself. An undone child that
// has ended stays as it is; FailedPrecondition for one that is live, whose result would be taken
// for that of whatever gets its id next.
absl::StatusOr<bool> ResolveChild(const AwaitedChild& child, const RewindSource& source,
                                  IdSource& ids, RewindPlan& plan);

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_REWIND_H_
