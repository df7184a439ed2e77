// The turn of an entity as pure functions: due messages and the state -> one batch of operations
// (PlanBatch, EncodeEntityItem), and the worker's result -> one Checkpoint (FinishBatch). Rule
// numbers are those of server/RULES.md, section 7.
//
// A batch is: PlanBatch, then EncodeEntityItem once per dispatch if it has operations, then
// FinishBatch, then ApplyDelta on the state when the checkpoint has committed. Nothing here changes
// a state before that. No clock, thread, log, gRPC or database here.
//
// Locks. A lock request is a barrier in the inbox: the operations before it run, then the entity
// arrives at it (LockArrival) and waits for a message in front of all: that it is granted, or taken
// back. A locked entity runs what its owner sends, which comes in front of all, too. So a blocked
// entity looks at messages with a visible_at of InfinitePast only.
#ifndef DT_SERVER_ENTITY_BATCH_H_
#define DT_SERVER_ENTITY_BATCH_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "proto/orchestrator_service.pb.h"
#include "server/orchestration/entity_messages.h"
#include "server/orchestration/instance_state.h"
#include "server/orchestration/turn.h"
#include "storage/records.h"

namespace dt::entity {

// What an entity has beside what every instance has (orchestration::InstanceState).
struct EntityState {
  SharedBytes state;  // null: none, the entity does not exist for clients
  std::optional<EntityLock> lock;
  // The number of the lock request at which the entity has arrived and waits; 0 = none.
  int64_t arrived_seq = 0;
  EntityLock arrived_request;  // whose it is, with `arrived_seq`
  bool blocked() const { return lock.has_value() || arrived_seq != 0; }
};

// Of a claimed entity.
EntityState StateFromClaim(Claim& claim);

struct Operation {
  int64_t seq = 0;
  orchestration::EntityMessage message;  // without the input, which is in `event`
  SharedBytes event;                     // for the worker, see OperationBytes
};

// A planned batch, kept with the lease until FinishBatch.
struct Batch {
  // What the batch takes from the inbox, in its order. Those that are no operation take effect when
  // all operations before them have run.
  struct Step {
    enum class Kind : int8_t { kOperation, kUnlock, kWithdraw, kGranted, kDrop };
    Kind kind = Kind::kOperation;
    int64_t seq = 0;
    LockWithdrawal withdrawal;       // of kWithdraw
    std::optional<EntityLock> lock;  // of kGranted: who holds it now
    std::vector<int64_t> gone;       // requests that are gone from the database: memory only
    const char* reason = nullptr;    // of kDrop, for log event 313
  };
  std::vector<Step> steps;
  std::vector<Operation> operations;  // those of the steps, in their order
  // The barrier behind all that, at which the entity has not arrived yet.
  std::optional<Operation> barrier;

  bool needs_worker() const { return !operations.empty(); }
  // Nothing to do before another message comes.
  bool empty() const { return steps.empty() && !barrier.has_value(); }
};

struct BatchLimits {
  int operations_max = 1000;
  int64_t bytes_max = 3 << 20;  // of the operations of a batch; the first one always fits
};

// `messages`: the due ones in inbox order, a prefix of the inbox. Of those behind a lock nothing is
// read, but the lock requests when one of them is granted or taken back.
Batch PlanBatch(const EntityState& entity, absl::Span<const Message> messages,
                orchestration::IdSource& ids, const BatchLimits& limits);

// A serialized WorkItem with an EntityRequest (V2). The execution id is the instance's key.
orchestration::Frame EncodeEntityItem(const orchestration::InstanceState& instance,
                                      const EntityState& entity, const Batch& batch,
                                      std::string_view completion_token);

// What a committed batch changes in the state; used up by ApplyDelta.
struct EntityDelta {
  int64_t turn = 0;
  SharedBytes state;
  std::optional<EntityLock> lock;
  std::optional<Operation> arrival;  // of the checkpoint
  std::vector<int64_t> gone;         // beside those consumed: memory only
};

struct BatchResult {
  Checkpoint checkpoint;
  EntityDelta delta;
  std::vector<std::string> warnings;  // for the log: what was left out, and why
};

// Whether the worker has failed as a whole (7.10, 7.12): nothing is applied, and the batch is given
// back as if it had been lost.
bool IsBatchFailure(const Batch& batch, const EntityBatchResult& result);

// Applies a result that is no batch failure. Of a batch without operations: an empty result.
BatchResult FinishBatch(const orchestration::InstanceState& instance, const EntityState& entity,
                        const Batch& batch, EntityBatchResult result, LeaseToken lease_token,
                        absl::Time now, orchestration::IdSource& ids,
                        const orchestration::TurnLimits& limits);

// Answers the operations of the batch with this failure, in place of a worker (2.10). The state
// stays.
BatchResult FailBatch(const orchestration::InstanceState& instance, const EntityState& entity,
                      const Batch& batch, const TaskFailureDetails& details, LeaseToken lease_token,
                      absl::Time now, orchestration::IdSource& ids,
                      const orchestration::TurnLimits& limits);

// Brings the state to what it is after the commit. Returns further numbers that are gone from the
// inbox.
std::vector<int64_t> ApplyDelta(EntityDelta delta, const CheckpointResult& result,
                                EntityState& entity);

}  // namespace dt::entity

#endif  // DT_SERVER_ENTITY_BATCH_H_
