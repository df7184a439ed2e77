// entity_hot, entity_many: signals to entities, then calls one after the other, each fed with the
// result of the one before. An entity gets what one orchestration sends in order, so the answer of
// a call says that the signals before it to the same entity have run.
#include "tests/bench/answer.h"
#include "tests/bench/entity.h"
#include "tests/bench/replay.h"
#include "tests/bench/workloads.h"

namespace dt::bench {
namespace {

class EntitiesWorkload final : public Workload {
 public:
  EntitiesWorkload(absl::string_view name, absl::string_view orchestration, int entities,
                   int signals, int calls)
      : name_(name),
        orchestration_(orchestration),
        entities_(entities),
        signals_(signals),
        calls_(calls) {}

  absl::string_view name() const override { return name_; }
  absl::string_view orchestration() const override { return orchestration_; }
  void FillDefaults(Parameters& parameters) const override {
    if (parameters.entities < 0) parameters.entities = entities_;
    if (parameters.signals < 0) parameters.signals = signals_;
    if (parameters.calls < 0) parameters.calls = calls_;
  }

  Amounts Each(const Parameters& parameters) const override {
    Amounts amounts;
    amounts.operations = parameters.signals + parameters.calls;
    return amounts;
  }
  std::string InputOf(const Parameters& parameters, uint64_t number) const override {
    return EncodeInput(
        {static_cast<uint64_t>(parameters.entities), static_cast<uint64_t>(parameters.signals),
         static_cast<uint64_t>(parameters.calls)},
        Mix(number), parameters.payload_bytes);
  }
  uint64_t OutputOf(const Parameters& parameters, uint64_t number) const override {
    uint64_t value = Mix(number);
    for (int i = 0; i < parameters.calls; ++i) value = Mix(value);
    return value;
  }
  EntityTotals TotalsOf(const Parameters& parameters, uint64_t number) const override {
    EntityTotals totals;
    totals.operations = static_cast<uint64_t>(parameters.signals + parameters.calls);
    for (int i = 0; i < parameters.signals; ++i) totals.sum += PartValue(Mix(number), i);
    uint64_t value = Mix(number);
    for (int i = 0; i < parameters.calls; ++i) {
      totals.sum += value;
      value = Mix(value);
    }
    return totals;
  }

  bool PlanOf(const Input& input, Plan& plan) const override {
    const auto& [entities, signals, calls] = input.numbers;
    plan = {TaskKind::kEntity, signals + calls, 0};
    return input.number_count == 3 && entities > 0 && entities <= kAmountMax &&
           signals <= kAmountMax && calls > 0 && calls <= kAmountMax;
  }
  void Decide(const Replay& replay, Answer& answer) const override {
    const Input& input = replay.input();
    const auto& [entities, signals, calls] = input.numbers;
    const auto entity = [&replay, &input, entities = entities](uint64_t action) {
      return EntityId(replay.instance_id(), PartValue(input.value, action) % entities);
    };
    uint64_t next = replay.scheduled();
    for (; next < signals; ++next) {
      answer.SignalEntity(next, entity(next), PartValue(input.value, next), input.payload_bytes);
    }
    const uint64_t value = replay.completed() == 0 ? input.value : replay.last_value();
    if (replay.completed() == calls) {
      answer.Complete(next, value, input.payload_bytes);
    } else if (next == signals + replay.completed()) {
      answer.CallEntity(next, entity(next), value, input.payload_bytes);
    }
  }

 private:
  const absl::string_view name_;
  const absl::string_view orchestration_;
  const int entities_;
  const int signals_;
  const int calls_;
};

}  // namespace

const Workload& EntityHot() {
  static const EntitiesWorkload kWorkload("entity_hot", "DtbenchEntityHot", 1, 10, 1);
  return kWorkload;
}

const Workload& EntityMany() {
  static const EntitiesWorkload kWorkload("entity_many", "DtbenchEntityMany", 1000, 0, 5);
  return kWorkload;
}

}  // namespace dt::bench
