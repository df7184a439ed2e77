// tree: sub-orchestrations of a width, so many levels below the first; those of the last level run
// an activity each, parents sum what their children come to.
#include "tests/bench/answer.h"
#include "tests/bench/replay.h"
#include "tests/bench/workloads.h"

namespace dt::bench {
namespace {

uint64_t SumOf(uint64_t value, int width, int depth) {
  if (depth == 0) return Mix(value);
  uint64_t sum = 0;
  for (int i = 0; i < width; ++i) sum += SumOf(PartValue(value, i), width, depth - 1);
  return sum;
}

class TreeWorkload final : public Workload {
 public:
  absl::string_view name() const override { return "tree"; }
  absl::string_view orchestration() const override { return "DtbenchTree"; }

  Amounts Each(const Parameters& parameters) const override {
    Amounts amounts;
    amounts.activities = 1;
    for (int level = 0; level < parameters.depth; ++level) {
      amounts.activities *= parameters.width;
      amounts.instances += amounts.activities;
    }
    amounts.activities_at_once = amounts.activities;
    return amounts;
  }
  std::string InputOf(const Parameters& parameters, uint64_t number) const override {
    return EncodeInput(
        {static_cast<uint64_t>(parameters.width), static_cast<uint64_t>(parameters.depth)},
        Mix(number), parameters.payload_bytes);
  }
  uint64_t OutputOf(const Parameters& parameters, uint64_t number) const override {
    return SumOf(Mix(number), parameters.width, parameters.depth);
  }

  bool PlanOf(const Input& input, Plan& plan) const override {
    if (input.number_count != 2 || input.numbers[0] == 0 || input.numbers[0] > kAmountMax) {
      return false;
    }
    const bool is_leaf = input.numbers[1] == 0;
    plan = is_leaf ? Plan{TaskKind::kActivity, 1, 0}
                   : Plan{TaskKind::kSubOrchestration, input.numbers[0], 0};
    return true;
  }
  void Decide(const Replay& replay, Answer& answer) const override {
    const Input& input = replay.input();
    if (replay.completed() == replay.plan().tasks) {
      answer.Complete(replay.scheduled(), replay.sum(), input.payload_bytes);
    } else if (replay.scheduled() == 0 && replay.plan().kind == TaskKind::kActivity) {
      answer.ScheduleActivity(0, input.value, input.payload_bytes);
    } else if (replay.scheduled() == 0) {
      for (uint64_t i = 0; i < replay.plan().tasks; ++i) {
        answer.CreateSubOrchestration(i, orchestration(),
                                      EncodeInput({input.numbers[0], input.numbers[1] - 1},
                                                  PartValue(input.value, i), input.payload_bytes));
      }
    }
  }
};

}  // namespace

const Workload& Tree() {
  static const TreeWorkload kWorkload;
  return kWorkload;
}

}  // namespace dt::bench
