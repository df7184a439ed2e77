// One orchestration with its inbox and its row, kept as the store keeps them, and the pure
// functions in between: a test puts messages in, reads the request, gives the worker's answer and
// reads the checkpoint. After every commit the harness loads the instance anew from its stored
// history and checks that this gives the same state as the one held in memory.
#ifndef DT_TESTS_ORCHESTRATION_HARNESS_H_
#define DT_TESTS_ORCHESTRATION_HARNESS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/orchestration/requests.h"
#include "server/orchestration/turn.h"
#include "tests/orchestration/actions.h"
#include "tests/orchestration/render.h"

namespace dt::orchestration {

// 0001..., 0002..., each of 32 digits.
class CountingIds : public IdSource {
 public:
  std::string NewExecutionId() override;

 private:
  int count_ = 0;
};

// A request for the orchestration "Order" with the id "order-1".
CreateInstanceRequest StartRequest(const Input& input = std::nullopt);

// An answer with these actions.
OrchestratorResponse Response(std::vector<OrchestratorAction> actions);

class Orchestration {
 public:
  // Starts as a client would, at second 1000.
  explicit Orchestration(const CreateInstanceRequest& request = StartRequest());
  // Starts as a child of somebody's turn.
  explicit Orchestration(const NewInstance& instance);

  // Sets the clock.
  void At(double seconds);
  absl::Time now() const { return now_; }

  void Put(NewMessage message);
  void Raise(const std::string& name, const Input& input = std::nullopt);
  void Suspend(const Input& reason = std::nullopt);
  void Resume(const Input& reason = std::nullopt);
  void Terminate(const Input& output, bool recursive = false);
  // The end of an activity of the current generation, or of the one given.
  void FinishTask(int32_t id, const Input& result, Generation generation = kAnyGeneration);
  void FailTask(int32_t id, const TaskFailureDetails& details);

  // Whether a message is due.
  bool has_work() const;
  // Plans the turn of the due messages and shows the request; "" when there is nothing to run.
  std::string Request();
  // The request as the worker reads it.
  OrchestratorRequest ParsedRequest() const;
  // Finishes the turn, commits, and shows the checkpoint.
  std::string AnswerWith(OrchestratorResponse response);
  std::string Answer(std::vector<OrchestratorAction> actions);
  // Request and Answer, for turns that a test is not about.
  std::string Run(std::vector<OrchestratorAction> actions);

  // As the store would load it now.
  Claim Load() const;

  InstanceState state;
  std::vector<Message> inbox;
  Turn turn;
  Checkpoint checkpoint;  // of the last Answer
  TurnLimits limits;
  CountingIds ids;

 private:
  void Begin(const NewInstance& instance);
  std::vector<Message> Due() const;
  void Store(const NewMessage& message, bool front);
  void Commit(TurnResult result);
  void CheckReload() const;

  absl::Time now_;
  absl::Time held_until_ = absl::InfinitePast();  // the scheduled start: the store holds all back
  Claim row_;                                     // without messages
  int64_t last_seq_ = 0;
};

}  // namespace dt::orchestration

#endif  // DT_TESTS_ORCHESTRATION_HARNESS_H_
