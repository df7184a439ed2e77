// What the history of one generation says, event by event, with everything that a right server
// never sends told apart.
#ifndef DT_TESTS_BENCH_REPLAY_H_
#define DT_TESTS_BENCH_REPLAY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "proto/orchestrator_service.pb.h"
#include "tests/bench/payload.h"
#include "tests/bench/workload.h"

namespace dt::bench {

using HistoryEvents = google::protobuf::RepeatedPtrField<HistoryEvent>;

// Fed with the past events, in one piece or in chunks, then with the new ones; then asked. Copies
// what it keeps. After an error nothing but the error means anything.
class Replay {
 public:
  explicit Replay(std::string instance_id) : instance_id_(std::move(instance_id)) {}

  absl::Status ApplyPast(const HistoryEvents& events);
  absl::Status ApplyNew(const HistoryEvents& events);
  // What is wrong with the events as a whole.
  absl::Status Check() const;

  const std::string& instance_id() const { return instance_id_; }
  const Workload& workload() const { return *workload_; }  // after Check
  const Input& input() const { return input_; }
  const Plan& plan() const { return plan_; }

  uint64_t scheduled() const { return scheduled_; }  // tasks
  uint64_t completed() const { return completed_; }
  uint64_t last_value() const { return last_value_; }  // of the newest result
  uint64_t sum() const { return sum_; }                // of all results and events
  uint64_t events() const { return events_; }          // that were raised and taken

  // No event came before the new ones.
  bool is_first_turn() const { return past_ == 0; }
  // When the timer was due that this turn has news of.
  std::optional<int64_t> fired_due_us() const { return fired_due_us_; }

 private:
  absl::Status Apply(const HistoryEvent& event);
  absl::Status ApplyStart(const ExecutionStartedEvent& event);
  absl::Status ApplyScheduled(TaskKind kind, int32_t id);
  // What no answer comes to.
  absl::Status ApplySent(int32_t id);
  absl::Status ApplyAnswer(const std::string& request, const google::protobuf::StringValue* result);
  absl::Status ApplyResult(TaskKind kind, int32_t id, const google::protobuf::StringValue* result);
  absl::Status ApplyFired(const TimerFiredEvent& event);
  absl::Status ApplyRaised(const EventRaisedEvent& event);
  absl::Status Failed(int32_t id, const TaskFailureDetails& details) const;
  absl::Status Broken(absl::string_view what) const;

  const std::string instance_id_;
  const Workload* workload_ = nullptr;
  Input input_;
  Plan plan_;
  uint64_t past_ = 0;  // events
  uint64_t new_ = 0;
  uint64_t scheduled_ = 0;
  uint64_t completed_ = 0;
  uint64_t events_ = 0;
  std::vector<bool> seen_;  // by task id, or by the index of an event: has come
  uint64_t last_value_ = 0;
  uint64_t sum_ = 0;
  int64_t started_at_ns_ = 0;  // of the newest OrchestratorStarted, since 1970
  int64_t timer_due_ns_ = 0;
  std::optional<int64_t> fired_due_us_;
};

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_REPLAY_H_
