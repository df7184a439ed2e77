// events: waits for events and sums what they carry. Each says which one it is, so that one that is
// lost, doubled or another instance's is told.
#include "tests/bench/answer.h"
#include "tests/bench/replay.h"
#include "tests/bench/workloads.h"

namespace dt::bench {
namespace {

class EventsWorkload final : public Workload {
 public:
  absl::string_view name() const override { return "events"; }
  absl::string_view orchestration() const override { return "DtbenchEvents"; }
  Trigger trigger() const override { return Trigger::kEvents; }

  Amounts Each(const Parameters& parameters) const override {
    Amounts amounts;
    amounts.events = parameters.events_each;
    return amounts;
  }
  std::string InputOf(const Parameters& parameters, uint64_t number) const override {
    return EncodeInput({static_cast<uint64_t>(parameters.events_each)}, Mix(number),
                       parameters.payload_bytes);
  }
  uint64_t OutputOf(const Parameters& parameters, uint64_t number) const override {
    uint64_t sum = 0;
    for (int i = 0; i < parameters.events_each; ++i) sum += PartValue(Mix(number), i);
    return sum;
  }

  bool PlanOf(const Input& input, Plan& plan) const override {
    plan = {TaskKind::kNone, 0, input.numbers[0]};
    return HasAmounts(input, 1);
  }
  void Decide(const Replay& replay, Answer& answer) const override {
    if (replay.events() == replay.plan().events) {
      answer.Complete(0, replay.sum(), replay.input().payload_bytes);
    }
  }
};

}  // namespace

const Workload& Events() {
  static const EventsWorkload kWorkload;
  return kWorkload;
}

}  // namespace dt::bench
