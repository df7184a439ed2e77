// chain: activities one after the other, each fed with the result of the one before.
#include "tests/bench/answer.h"
#include "tests/bench/replay.h"
#include "tests/bench/workloads.h"

namespace dt::bench {
namespace {

class ChainWorkload final : public Workload {
 public:
  absl::string_view name() const override { return "chain"; }
  absl::string_view orchestration() const override { return "DtbenchChain"; }

  Amounts Each(const Parameters& parameters) const override {
    Amounts amounts;
    amounts.activities = parameters.activities;
    amounts.activities_at_once = 1;
    return amounts;
  }
  std::string InputOf(const Parameters& parameters, uint64_t number) const override {
    return EncodeInput({static_cast<uint64_t>(parameters.activities)}, Mix(number),
                       parameters.payload_bytes);
  }
  uint64_t OutputOf(const Parameters& parameters, uint64_t number) const override {
    uint64_t value = Mix(number);
    for (int i = 0; i < parameters.activities; ++i) value = Mix(value);
    return value;
  }

  bool PlanOf(const Input& input, Plan& plan) const override {
    plan = {TaskKind::kActivity, input.numbers[0], 0};
    return HasAmounts(input, 1);
  }
  void Decide(const Replay& replay, Answer& answer) const override {
    const Input& input = replay.input();
    const uint64_t value = replay.completed() == 0 ? input.value : replay.last_value();
    if (replay.completed() == replay.plan().tasks) {
      answer.Complete(replay.scheduled(), value, input.payload_bytes);
    } else if (replay.scheduled() == replay.completed()) {
      answer.ScheduleActivity(replay.scheduled(), value, input.payload_bytes);
    }
  }
};

}  // namespace

const Workload& Chain() {
  static const ChainWorkload kWorkload;
  return kWorkload;
}

}  // namespace dt::bench
