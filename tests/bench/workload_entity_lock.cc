// entity_lock: locks two entities, calls both, and sums their results.
#include <vector>

#include "tests/bench/answer.h"
#include "tests/bench/entity.h"
#include "tests/bench/replay.h"
#include "tests/bench/workloads.h"

namespace dt::bench {
namespace {

constexpr int kEntitiesDefault = 100;
constexpr uint64_t kMembers = 2;
// By their ids: the lock, the calls, the unlocks.
constexpr uint64_t kLockAction = 0;
constexpr uint64_t kActions = 1 + kMembers + kMembers;

class EntityLockWorkload final : public Workload {
 public:
  absl::string_view name() const override { return "entity_lock"; }
  absl::string_view orchestration() const override { return "DtbenchEntityLock"; }
  void FillDefaults(Parameters& parameters) const override {
    if (parameters.entities < 0) parameters.entities = kEntitiesDefault;
    parameters.signals = 0;
    parameters.calls = kMembers;
  }

  Amounts Each(const Parameters&) const override {
    Amounts amounts;
    amounts.operations = kMembers;
    return amounts;
  }
  std::string InputOf(const Parameters& parameters, uint64_t number) const override {
    return EncodeInput({static_cast<uint64_t>(parameters.entities)}, Mix(number),
                       parameters.payload_bytes);
  }
  uint64_t OutputOf(const Parameters&, uint64_t number) const override {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < kMembers; ++i) sum += Mix(PartValue(Mix(number), i));
    return sum;
  }
  EntityTotals TotalsOf(const Parameters&, uint64_t number) const override {
    EntityTotals totals{kMembers, 0};
    for (uint64_t i = 0; i < kMembers; ++i) totals.sum += PartValue(Mix(number), i);
    return totals;
  }

  bool PlanOf(const Input& input, Plan& plan) const override {
    plan = {TaskKind::kEntity, kActions, 0};
    return HasAmounts(input, 1) && input.numbers[0] >= kMembers;
  }
  void Decide(const Replay& replay, Answer& answer) const override {
    const Input& input = replay.input();
    const std::vector<std::string> members = MembersOf(replay);
    if (replay.scheduled() == 0) {
      answer.LockEntities(kLockAction, members);
    } else if (replay.scheduled() == 1 && replay.completed() == 1) {
      for (uint64_t i = 0; i < kMembers; ++i) {
        answer.CallEntity(1 + i, members[i], PartValue(input.value, i), input.payload_bytes);
      }
    } else if (replay.completed() == 1 + kMembers) {
      for (uint64_t i = 0; i < kMembers; ++i) {
        answer.UnlockEntity(1 + kMembers + i, members[i], kLockAction);
      }
      answer.Complete(kActions, replay.sum(), input.payload_bytes);
    }
  }

 private:
  // Two different ones, in any order, so that requests cross.
  static std::vector<std::string> MembersOf(const Replay& replay) {
    const uint64_t entities = replay.input().numbers[0];
    const uint64_t first = PartValue(replay.input().value, kActions) % entities;
    const uint64_t step = 1 + PartValue(replay.input().value, kActions + 1) % (entities - 1);
    return {EntityId(replay.instance_id(), first),
            EntityId(replay.instance_id(), (first + step) % entities)};
  }
};

}  // namespace

const Workload& EntityLock() {
  static const EntityLockWorkload kWorkload;
  return kWorkload;
}

}  // namespace dt::bench
