// The actions of a turn, in a protocol message.
#ifndef DT_TESTS_BENCH_ANSWER_H_
#define DT_TESTS_BENCH_ANSWER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/orchestrator_service.pb.h"

namespace dt::bench {

class Answer {
 public:
  // Adds to `response`, which must outlive this.
  explicit Answer(OrchestratorResponse& response) : response_(response) {}

  void ScheduleActivity(uint64_t id, uint64_t value, size_t payload_bytes);
  // A child's id is that of its parent, a colon and the id of the action.
  void CreateSubOrchestration(uint64_t id, absl::string_view orchestration, std::string input);
  void CreateTimer(uint64_t id, int64_t due_us);
  // The ids of requests and sections name the action, for its answer.
  void SignalEntity(uint64_t id, std::string entity, uint64_t value, size_t payload_bytes);
  void CallEntity(uint64_t id, std::string entity, uint64_t value, size_t payload_bytes);
  void LockEntities(uint64_t id, const std::vector<std::string>& entities);
  // Of the section that the action `lock` asked for.
  void UnlockEntity(uint64_t id, std::string entity, uint64_t lock);
  void Complete(uint64_t id, uint64_t value, size_t payload_bytes);
  void ContinueAsNew(uint64_t id, std::string input);
  void Fail(const absl::Status& status);

 private:
  OrchestratorAction& Add(int64_t id);

  OrchestratorResponse& response_;
};

// The completion of a turn's answer, the one as CONTINUED_AS_NEW included; null when the
// orchestration goes on.
const CompleteOrchestrationAction* FindCompletion(const OrchestratorResponse& response);

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_ANSWER_H_
