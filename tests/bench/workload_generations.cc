// generations: continues as new until the last one, the input accumulating a value. The input
// counts the generations, so one that is lost or run twice gives another output.
#include "tests/bench/answer.h"
#include "tests/bench/replay.h"
#include "tests/bench/workloads.h"

namespace dt::bench {
namespace {

class GenerationsWorkload final : public Workload {
 public:
  absl::string_view name() const override { return "generations"; }
  absl::string_view orchestration() const override { return "DtbenchGenerations"; }

  Amounts Each(const Parameters& parameters) const override {
    Amounts amounts;
    amounts.generations = parameters.generations;
    return amounts;
  }
  std::string InputOf(const Parameters& parameters, uint64_t number) const override {
    return InputAt(parameters, number, 1);
  }
  std::string LastInputOf(const Parameters& parameters, uint64_t number) const override {
    return InputAt(parameters, number, parameters.generations);
  }
  uint64_t OutputOf(const Parameters& parameters, uint64_t number) const override {
    return ValueAt(number, parameters.generations + 1);
  }

  bool PlanOf(const Input& input, Plan& plan) const override {
    plan = {};
    return HasAmounts(input, 2) && input.numbers[1] <= input.numbers[0];
  }
  void Decide(const Replay& replay, Answer& answer) const override {
    const Input& input = replay.input();
    const uint64_t generations = input.numbers[0];
    const uint64_t generation = input.numbers[1];
    const uint64_t value = Mix(input.value);
    if (generation == generations) {
      answer.Complete(0, value, input.payload_bytes);
    } else {
      answer.ContinueAsNew(0,
                           EncodeInput({generations, generation + 1}, value, input.payload_bytes));
    }
  }

 private:
  // What the generation starts with; the first one has the number 1.
  static uint64_t ValueAt(uint64_t number, int generation) {
    uint64_t value = Mix(number);
    for (int i = 1; i < generation; ++i) value = Mix(value);
    return value;
  }
  static std::string InputAt(const Parameters& parameters, uint64_t number, int generation) {
    return EncodeInput(
        {static_cast<uint64_t>(parameters.generations), static_cast<uint64_t>(generation)},
        ValueAt(number, generation), parameters.payload_bytes);
  }
};

}  // namespace

const Workload& Generations() {
  static const GenerationsWorkload kWorkload;
  return kWorkload;
}

}  // namespace dt::bench
