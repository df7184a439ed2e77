// timers: waits for one durable timer, whose time the client chose.
#include "tests/bench/answer.h"
#include "tests/bench/replay.h"
#include "tests/bench/workloads.h"

namespace dt::bench {
namespace {

class TimersWorkload final : public Workload {
 public:
  absl::string_view name() const override { return "timers"; }
  absl::string_view orchestration() const override { return "DtbenchTimer"; }
  Trigger trigger() const override { return Trigger::kTimer; }

  Amounts Each(const Parameters&) const override { return {}; }
  std::string InputOf(const Parameters& parameters, uint64_t number) const override {
    const auto place = static_cast<int64_t>(number % static_cast<uint64_t>(parameters.timers));
    const int64_t due_us =
        parameters.timer_first_due_us +
        static_cast<int64_t>(static_cast<double>(parameters.timer_spread_us) *
                             static_cast<double>(place) / static_cast<double>(parameters.timers));
    return EncodeInput({static_cast<uint64_t>(due_us)}, Mix(number), parameters.payload_bytes);
  }
  uint64_t OutputOf(const Parameters&, uint64_t number) const override { return Mix(Mix(number)); }

  bool PlanOf(const Input& input, Plan& plan) const override {
    plan = {TaskKind::kTimer, 1, 0};
    return input.number_count == 1;
  }
  void Decide(const Replay& replay, Answer& answer) const override {
    const Input& input = replay.input();
    if (replay.completed() == 1) {
      answer.Complete(replay.scheduled(), Mix(input.value), input.payload_bytes);
    } else if (replay.scheduled() == 0) {
      answer.CreateTimer(0, static_cast<int64_t>(input.numbers[0]));
    }
  }
};

}  // namespace

const Workload& Timers() {
  static const TimersWorkload kWorkload;
  return kWorkload;
}

}  // namespace dt::bench
