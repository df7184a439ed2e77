// One entity with its inbox, kept as the store keeps them, and the pure functions in between: a
// test puts messages in, reads the batch, gives the worker's result and reads the checkpoint.
#ifndef DT_TESTS_ENTITY_ENTITY_H_
#define DT_TESTS_ENTITY_ENTITY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/entity/batch.h"
#include "tests/orchestration/harness.h"

namespace dt::entity {

using orchestration::EntityMessage;
using orchestration::Input;
using orchestration::Text;

// A GUID that ends with this number.
std::string Guid(int number);

// What the orchestrations "order-1" and others send, each in the execution "x".
EntityMessage Signal(const std::string& operation, const Input& input = std::nullopt);
EntityMessage Call(int request, const std::string& operation, const Input& input = std::nullopt);
EntityMessage LockOf(const std::string& section, std::vector<std::string> entity_ids = {});
EntityMessage UnlockOf(const std::string& section);
EntityMessage From(const std::string& sender, EntityMessage message,
                   const std::string& execution = "x");
EntityMessage InJson(EntityMessage message);

// The result of one operation.
OperationResult Ok(const Input& result = std::nullopt);
OperationResult Fault(const std::string& error_type);
EntityBatchResult Results(const Input& state, std::vector<OperationResult> results);

class Entity {
 public:
  Entity();

  void At(int64_t seconds) { now_ = absl::FromUnixSeconds(seconds); }
  absl::Time now() const { return now_; }

  // Returns the number of the message.
  int64_t Put(const EntityMessage& message, bool front = false);
  int64_t Put(NewMessage message, bool front = false);
  // The store grants a lock request that waits here, at the arrival of another member.
  void Grant(int64_t request_seq);

  // Plans the batch of the due messages and shows its steps.
  std::string Plan();
  // The item as the worker reads it.
  EntityRequest Request() const;
  // Finishes the batch, commits, and shows the checkpoint.
  std::string Finish(EntityBatchResult result = {});
  std::string Fail(const TaskFailureDetails& details);

  EntityState state;
  orchestration::InstanceState instance;
  std::vector<Message> inbox;
  Batch batch;
  Checkpoint checkpoint;                              // of the last batch
  std::vector<std::string> warnings;                  // of the last batch
  ArrivalOutcome arrival = ArrivalOutcome::kGranted;  // of the next arrival
  BatchLimits batch_limits;
  orchestration::TurnLimits limits;
  orchestration::CountingIds ids;

 private:
  std::vector<Message> Due() const;
  std::string Commit(BatchResult result);

  absl::Time now_;
  int64_t last_seq_ = 0;
};

}  // namespace dt::entity

#endif  // DT_TESTS_ENTITY_ENTITY_H_
