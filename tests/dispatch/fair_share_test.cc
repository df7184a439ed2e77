// How daemons share work that workers of several of them take (RULES.md 2.12).
#include "server/dispatch/fair_share.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

using dispatch::FairShare;

constexpr absl::Duration kTick = absl::Milliseconds(10);

// A worker that is always at its limit and runs so many items at once, each for so long: the limit
// after `time`.
int LimitAfter(absl::Duration time, int at_once, absl::Duration takes) {
  absl::Time now = absl::UnixEpoch() + absl::Hours(1);
  FairShare share;
  share.SetContested(true, now);
  std::deque<absl::Time> waiting;                         // since when
  std::deque<std::pair<absl::Time, absl::Time>> running;  // until when, since when
  for (const absl::Time end = now + time; now < end; now += kTick) {
    while (!running.empty() && running.front().first <= now) {
      share.Finished(running.front().second, /*limited=*/true, now);
      running.pop_front();
    }
    while (static_cast<int>(waiting.size() + running.size()) < share.limit())
      waiting.push_back(now);
    while (!waiting.empty() && static_cast<int>(running.size()) < at_once) {
      running.emplace_back(now + takes, waiting.front());
      waiting.pop_front();
    }
    share.Waited(now);
  }
  return share.limit();
}

TEST_CASE("fair_share_pure a stream may hold what its worker gets done, and a few more") {
  // Six at once of 0.2 s: 30 a second, of which 0.7 s may be there.
  const int short_ones = LimitAfter(absl::Seconds(20), 6, absl::Milliseconds(200));
  CHECK(short_ones >= 6);
  CHECK(short_ones <= 30);
  // Whoever keeps up is not held back, however many it runs at once.
  CHECK(LimitAfter(absl::Seconds(20), 200, absl::Milliseconds(200)) >= 200);
  CHECK(LimitAfter(absl::Seconds(60), 20, absl::Seconds(2)) >= 20);
  // Nothing ends for long: it takes more and more.
  CHECK(LimitAfter(absl::Seconds(9), 30, absl::Minutes(10)) >= 30);
  // A worker that is slow holds few.
  CHECK(LimitAfter(absl::Seconds(20), 1, absl::Milliseconds(500)) <= FairShare::kFew);
}

TEST_CASE("fair_share_pure a stream has all its credits where nobody else takes such work") {
  FairShare share;
  CHECK(share.limit() == FairShare::kNoLimit);
  share.SetContested(true, absl::UnixEpoch());
  CHECK(share.limit() == FairShare::kFew);
  share.SetContested(false, absl::UnixEpoch());
  CHECK(share.limit() == FairShare::kNoLimit);
}

// A worker at a daemon of its own, that announces many credits and runs a few items at once.
struct Member {
  Member(MemoryDatabase* database, uint64_t seed)
      : store(database, MemoryStore::Mode::kStepped), daemon(&store, &store, {}, seed) {}

  MemoryStore store;
  FakeDaemon daemon;
  FakeStream stream;
  int at_once = 0;
  std::deque<WorkItem> waiting;
  std::deque<std::pair<absl::Time, WorkItem>> running;
  int done = 0;
};

// A hub whose activities take 0.2 s, and a daemon for each of these numbers of them at once, all of
// whose workers have been there for some time.
class Fleet {
 public:
  explicit Fleet(const std::vector<int>& at_once, absl::Duration time = absl::Seconds(7)) {
    functions_ = SomeFunctions(clock_);
    for (const int number : at_once) {
      members_.push_back(std::make_unique<Member>(&database_, members_.size() + 1));
      members_.back()->at_once = number;
    }
    Pass(absl::Seconds(7));  // The daemons hear of each other.
    for (auto& member : members_) {
      if (member->at_once == 0) continue;  // No worker.
      dispatch::StreamOptions options;
      options.activities_max = 200;
      options.orchestrations_max = 200;
      member->stream = member->daemon.Open(hub_, options);
    }
    Pass(time);
  }

  // How long a fan-out of so many activities takes.
  absl::Duration FanOut(int activities) {
    const absl::Time begin = clock_.Now();
    Start(activities);
    while (!Ended("f")) {
      Pass(kTick);
      REQUIRE(clock_.Now() < begin + absl::Minutes(10));
    }
    return clock_.Now() - begin;
  }
  void Start(int activities) {
    members_[0]->daemon.Start(hub_, "f", "FanOut", absl::StrCat(activities));
  }
  int done(size_t member) const { return members_[member]->done; }
  // Activities at the worker of this one.
  size_t held(size_t member) const {
    return members_[member]->waiting.size() + members_[member]->running.size();
  }
  void Pass(absl::Duration time) {
    for (absl::Duration passed; passed < time; passed += kTick) {
      clock_.Advance(kTick);
      for (auto& member : members_) {
        member->store.Heartbeat();
        Work(*member);
      }
      const std::vector<HubId> woken = database_.TakeWoken();
      const std::vector<SentHints> hints = database_.TakeHints();
      for (auto& member : members_) {
        member->store.Notify(woken);
        member->store.Hear(hints);
        member->daemon.Settle();
      }
    }
  }

 private:
  bool Ended(const std::string& instance_id) {
    const auto row = database_.ReadInstance(hub_, instance_id, false);
    return row.has_value() && IsTerminal(row->status);
  }
  static std::optional<WorkItem> Take(Member& member) {
    return member.stream.sink == nullptr ? std::nullopt : member.stream.sink->Take();
  }
  void Work(Member& member) {
    member.daemon.Settle();
    while (std::optional<WorkItem> item = Take(member)) {
      if (item->has_activityrequest()) {
        member.waiting.push_back(*std::move(item));
      } else if (item->has_orchestratorrequest()) {
        member.daemon.Answer(hub_, RunTurn(functions_, *item));
      }
    }
    while (!member.running.empty() && member.running.front().first <= clock_.Now()) {
      member.daemon.Answer(hub_, RunActivity(functions_, member.running.front().second));
      member.running.pop_front();
      ++member.done;
    }
    while (!member.waiting.empty() && static_cast<int>(member.running.size()) < member.at_once) {
      member.running.emplace_back(clock_.Now() + absl::Milliseconds(200),
                                  std::move(member.waiting.front()));
      member.waiting.pop_front();
    }
    member.daemon.Settle();
  }

  FakeClock clock_;
  MemoryDatabase database_{clock_.Reader()};
  const HubId hub_ = *database_.ResolveHub("default", true);
  Functions functions_;
  std::vector<std::unique_ptr<Member>> members_;
};

TEST_CASE("fair_share_fleet daemons with unequal workers get done in time, each its part") {
  const std::vector<int> at_once =
      GENERATE(std::vector<int>{6}, std::vector<int>{6, 6}, std::vector<int>{2, 10},
               std::vector<int>{6, 6, 6, 6}, std::vector<int>{1, 4, 8, 12},
               std::vector<int>{6, 6, 6, 6, 6, 6, 6, 6});
  CAPTURE(at_once.size(), at_once.front());
  Fleet fleet(at_once);
  constexpr int kActivities = 400;
  const absl::Duration took = fleet.FanOut(kActivities);
  int together = 0;
  for (const int number : at_once) together += number;
  const absl::Duration ideal = kActivities * absl::Milliseconds(200) / together;
  INFO("took " << took << ", ideal " << ideal);
  CHECK(took <= 1.3 * ideal);
  for (size_t i = 0; i < at_once.size(); ++i) {
    const double share = 1.0 * kActivities * at_once[i] / together;
    CAPTURE(i, fleet.done(i), share);
    CHECK(fleet.done(i) >= 0.5 * share);
    CHECK(fleet.done(i) <= 1.5 * share);
  }
}

TEST_CASE("fair_share_new_workers daemons share at once what comes soon after their workers") {
  constexpr int kActivities = 400;
  const absl::Duration time = absl::Milliseconds(GENERATE(0, 400, 1200));
  CAPTURE(time);
  Fleet fleet({6, 6, 6, 6}, time);
  const absl::Duration ideal = kActivities * absl::Milliseconds(200) / 24;
  CHECK(fleet.FanOut(kActivities) <= 1.3 * ideal);
}

TEST_CASE("fair_share_new_workers whose daemon is the only one with workers has all its credits") {
  const auto [time, limited] =
      GENERATE(std::pair(absl::ZeroDuration(), true), std::pair(absl::Milliseconds(1200), false));
  Fleet fleet({6, 0}, time);
  fleet.Start(100);
  fleet.Pass(absl::Milliseconds(50));
  CHECK(fleet.held(0) == (limited ? size_t{FairShare::kFew} : size_t{100}));
  // Nor does it stay limited with what it holds.
  fleet.Pass(absl::Milliseconds(1200));
  CHECK(fleet.held(0) + static_cast<size_t>(fleet.done(0)) == 100);
}

}  // namespace
}  // namespace dt::testing
