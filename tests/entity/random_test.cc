// One entity under random clients, lock owners, grants at random moments and batches in flight,
// against a model of what the store does with its locks: the holder is alone, order is kept, and
// nothing is left over in the end.

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/entity/entity.h"
#include "tests/support/catch.h"

namespace dt::entity {
namespace {

using Section = std::pair<std::string, std::string>;  // owner, section

class Model {
 public:
  explicit Model(unsigned seed) : random_(seed) { counter_.batch_limits.operations_max = 3; }

  void Run(int steps) {
    for (int i = 0; i < steps; ++i) Step();
    Drain();
  }

 private:
  struct Owner {
    enum class Phase { kIdle, kAsked, kHolds } phase = Phase::kIdle;
    std::string section;
  };
  struct Row {
    Section section;
    bool arrived = false;
  };

  bool Chance(int one_in) { return random_() % static_cast<unsigned>(one_in) == 0; }

  void Step() {
    const std::string name = absl::StrCat("owner", random_() % 3);
    switch (random_() % 7) {
      case 0:
        counter_.Put(Operation("client"));
        break;
      case 1:
      case 2:
        Act(name, owners_[name]);
        break;
      case 3:
        GrantOne();
        break;
      case 4:
        if (Chance(4)) WithdrawElsewhere();
        if (Chance(4)) Reload();
        break;
      default:
        if (in_flight_) {
          Finish();
        } else {
          Plan();
        }
        break;
    }
  }

  // The next operation of a sender; its number is its name.
  EntityMessage Operation(const std::string& sender) {
    EntityMessage message = Signal(absl::StrCat(sender, ":", ++sent_[sender]));
    return sender == "client" ? message : From(sender, message);
  }

  void Act(const std::string& name, Owner& owner) {
    if (owner.phase == Owner::Phase::kIdle) {
      owner.section = absl::StrCat("s", ++sections_);
      owner.phase = Owner::Phase::kAsked;
      const int64_t seq = counter_.Put(From(name, LockOf(owner.section)));
      rows_[seq].section = {name, owner.section};
    } else if (owner.phase == Owner::Phase::kHolds && !Chance(3)) {
      counter_.Put(Operation(name), /*front=*/true);
    } else if (owner.phase == Owner::Phase::kHolds || Chance(3)) {
      Leave(name, owner);
    }
  }

  void Leave(const std::string& name, Owner& owner) {
    counter_.Put(From(name, UnlockOf(owner.section)), /*front=*/true);
    owner.phase = Owner::Phase::kIdle;
  }

  // The release of a waiting request has reached another member of its set first.
  void WithdrawElsewhere() {
    if (rows_.empty()) return;
    const Section section = rows_.begin()->second.section;
    Owner& owner = owners_[section.first];
    rows_.erase(rows_.begin());
    if (owner.section == section.second) owner.phase = Owner::Phase::kIdle;
    counter_.Put(From(section.first, UnlockOf(section.second)), /*front=*/true);
  }

  // Another daemon claims the entity; a batch in flight is lost.
  void Reload() {
    in_flight_ = false;
    counter_.state.arrived_seq = 0;
    counter_.state.lock.reset();
    if (lock_) counter_.state.lock = EntityLock{lock_->first, "x", lock_->second};
    std::erase_if(counter_.inbox, [&](const Message& message) {
      return message.event_type == HistoryEvent::kEntityLockRequested &&
             !rows_.contains(message.seq);
    });
  }

  // The last member arrives elsewhere.
  void GrantOne() {
    const auto row = std::find_if(rows_.begin(), rows_.end(),
                                  [](const auto& entry) { return entry.second.arrived; });
    if (row == rows_.end()) return;
    counter_.Grant(row->first);
    Lock(row->second.section);
    rows_.erase(row);
  }

  void Lock(const Section& section) {
    CHECK_FALSE(lock_);
    lock_ = section;
    Owner& owner = owners_[section.first];
    if (owner.phase != Owner::Phase::kAsked || owner.section != section.second) return;
    owner.phase = Owner::Phase::kHolds;
    if (in_flight_) CheckAlone();
  }

  // While an owner is inside of its section, only its operations run.
  void CheckAlone() {
    for (const auto& [name, owner] : owners_) {
      if (owner.phase != Owner::Phase::kHolds) continue;
      for (const auto& operation : counter_.batch.operations) {
        CHECK(operation.message.sender_id == name);
      }
    }
  }

  void Plan() {
    counter_.Plan();
    in_flight_ = !counter_.batch.empty();
    CheckAlone();
  }

  void Finish() {
    in_flight_ = false;
    const size_t count = counter_.batch.operations.size();
    const size_t results = count > 1 && Chance(4) ? count - 1 : count;
    for (size_t i = 0; i < results; ++i) CheckOrder(counter_.batch.operations[i].message);
    counter_.arrival = Arrive();
    counter_.Finish(Results("1", std::vector<OperationResult>(results, Ok())));
    const EntityUpdate& update = *counter_.checkpoint.entity;
    if (update.unlock) {
      CHECK(lock_);
      lock_.reset();
    }
    for (const LockWithdrawal& withdrawal : update.withdrawals) Withdraw(withdrawal);
    if (!update.arrival) return;
    const auto row = rows_.find(update.arrival->request_seq);
    if (row == rows_.end()) return;
    if (counter_.arrival == ArrivalOutcome::kWaits) {
      row->second.arrived = true;
    } else {
      Lock(row->second.section);
      rows_.erase(row);
    }
  }

  ArrivalOutcome Arrive() {
    if (!counter_.batch.barrier || !rows_.contains(counter_.batch.barrier->seq)) {
      return ArrivalOutcome::kGone;
    }
    return Chance(2) ? ArrivalOutcome::kWaits : ArrivalOutcome::kGranted;
  }

  void Withdraw(const LockWithdrawal& withdrawal) {
    const Section section{withdrawal.owner_id, withdrawal.critical_section};
    std::erase_if(rows_, [&](const auto& entry) { return entry.second.section == section; });
    if (lock_ != section) return;
    // Granted while the batch was in flight: the lock is released, and the news of it goes.
    lock_.reset();
    const auto is_news = [&](const Message& message) {
      return message.event_type == HistoryEvent::kEntityLockGranted &&
             orchestration::ReadEntityMessage(message.event_type, *message.event)->request_id ==
                 section.second;
    };
    CHECK(std::erase_if(counter_.inbox, is_news) == 1);
  }

  void CheckOrder(const EntityMessage& message) {
    const size_t colon = message.operation.find(':');
    int number = 0;
    REQUIRE(absl::SimpleAtoi(message.operation.substr(colon + 1), &number));
    CHECK(++run_[message.operation.substr(0, colon)] == number);
  }

  void Drain() {
    for (auto& [name, owner] : owners_) {
      if (owner.phase != Owner::Phase::kIdle) Leave(name, owner);
    }
    for (int i = 0; i < 1000 && !counter_.inbox.empty(); ++i) {
      if (!in_flight_) Plan();
      if (in_flight_) Finish();
    }
    CHECK(counter_.inbox.empty());
    CHECK_FALSE(counter_.state.blocked());
    CHECK_FALSE(lock_);
    CHECK(rows_.empty());
    CHECK(run_ == sent_);
  }

  std::mt19937 random_;
  Entity counter_;
  std::map<std::string, Owner> owners_;
  std::map<std::string, int> sent_;
  std::map<std::string, int> run_;
  std::map<int64_t, Row> rows_;  // of the store, by the number of the message
  std::optional<Section> lock_;  // of the store
  int sections_ = 0;
  bool in_flight_ = false;
};

}  // namespace

TEST_CASE("entity_random: locks, releases and batches in any order") {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    INFO("seed " << seed);
    Model(seed).Run(300);
  }
}

}  // namespace dt::entity
