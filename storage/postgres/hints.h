// Which answers of the database mean that other daemons may have something to do now: then a hint
// is sent to them (listener.h). Pure.
#ifndef DT_STORAGE_POSTGRES_HINTS_H_
#define DT_STORAGE_POSTGRES_HINTS_H_

#include "storage/records.h"
#include "storage/store.h"

namespace dt::postgres {

// One overload per verb that can leave work: `own` is the worker of this process. Free work counts
// as work for others, although this daemon may be the one to claim it: whether it has the workers
// for it is not known here.
bool LeavesWork(const NewInstance& request, const CreateResult& reply, WorkerId own);
bool LeavesWork(const ClientMessage& request, const Delivery& reply, WorkerId own);
bool LeavesWork(const ClientTermination& request, const Delivery& reply, WorkerId own);
bool LeavesWork(const Checkpoint& request, const CheckpointResult& reply, WorkerId own);
bool LeavesWork(const TaskCompletion& request, const TaskResult& reply, WorkerId own);
bool LeavesWork(const InstanceRelease& request, LeaseOutcome reply, WorkerId own);
bool LeavesWork(const TaskRelease& request, LeaseOutcome reply, WorkerId own);

// Every other verb leaves none.
template <typename Request, typename Reply>
bool LeavesWork(const Request&, const Reply&, WorkerId) {
  return false;
}

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_HINTS_H_
