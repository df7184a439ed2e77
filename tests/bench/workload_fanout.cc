// fanout: activities all at once, then the sum of their results.
#include "tests/bench/answer.h"
#include "tests/bench/replay.h"
#include "tests/bench/workloads.h"

namespace dt::bench {
namespace {

class FanoutWorkload final : public Workload {
 public:
  absl::string_view name() const override { return "fanout"; }
  absl::string_view orchestration() const override { return "DtbenchFanout"; }

  Amounts Each(const Parameters& parameters) const override {
    Amounts amounts;
    amounts.activities = parameters.activities;
    amounts.activities_at_once = parameters.activities;
    return amounts;
  }
  std::string InputOf(const Parameters& parameters, uint64_t number) const override {
    return EncodeInput({static_cast<uint64_t>(parameters.activities)}, Mix(number),
                       parameters.payload_bytes);
  }
  uint64_t OutputOf(const Parameters& parameters, uint64_t number) const override {
    const uint64_t value = Mix(number);
    uint64_t sum = 0;
    for (int i = 0; i < parameters.activities; ++i) sum += Mix(PartValue(value, i));
    return sum;
  }

  bool PlanOf(const Input& input, Plan& plan) const override {
    plan = {TaskKind::kActivity, input.numbers[0], 0};
    return HasAmounts(input, 1);
  }
  void Decide(const Replay& replay, Answer& answer) const override {
    const Input& input = replay.input();
    const uint64_t tasks = replay.plan().tasks;
    if (replay.completed() == tasks) {
      answer.Complete(replay.scheduled(), replay.sum(), input.payload_bytes);
    } else if (replay.scheduled() == 0) {
      for (uint64_t i = 0; i < tasks; ++i) {
        answer.ScheduleActivity(i, PartValue(input.value, i), input.payload_bytes);
      }
    }
  }
};

}  // namespace

const Workload& Fanout() {
  static const FanoutWorkload kWorkload;
  return kWorkload;
}

}  // namespace dt::bench
