// Callers that wait at one daemon for what happens on another one (RULES.md 5.18).
#include "server/dispatch/remote_waits.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

using dispatch::WaitName;
using dispatch::WaitNames;
using WaitFor = dispatch::DispatchThread::WaitFor;

// Callers wait at `a`, and the worker is at `b`.
struct TwoDaemons {
  TwoDaemons() {
    a.OnHearing(true);
    b.OnHearing(true);
    Pass(absl::Seconds(1));  // each has seen that there is another one
  }

  void Settle() {
    do {
      a.Settle();
      b.Settle();
    } while (Deliver());
  }
  // What was said meanwhile arrives, unless hints get lost. False if nothing was said.
  bool Deliver() {
    const std::vector<HubId> woken = database.TakeWoken();
    const std::vector<SentHints> hints = database.TakeHints();
    said += static_cast<size_t>(std::count_if(hints.begin(), hints.end(), [](const auto& sent) {
      return sent.hints.kind != WaitHintKind::kWorkersChanged;
    }));
    if (!lost) {
      for (MemoryStore* store : {&store_a, &store_b}) {
        store->Notify(woken);
        store->Hear(hints);
      }
    }
    return !hints.empty() || !woken.empty();
  }
  void Pass(absl::Duration time) {
    for (absl::Duration passed; passed < time; passed += absl::Milliseconds(100)) {
      clock.Advance(absl::Milliseconds(100));
      store_a.Heartbeat();
      store_b.Heartbeat();
      Settle();
    }
  }
  void RunWorker() {
    b.RunWorkers({stream}, functions);
    Settle();
  }
  void Wait(const std::string& instance_id, WaitFor wait_for = WaitFor::kCompletion) {
    a.Wait(hub, instance_id, wait_for, &answer);
  }
  int64_t StatusReads() const { return database.Count().status_reads; }

  FakeClock clock;
  MemoryDatabase database{clock.Reader()};
  const HubId hub = *database.ResolveHub("default", true);
  const Functions functions = SomeFunctions(clock);
  MemoryStore store_a{&database, MemoryStore::Mode::kStepped};
  MemoryStore store_b{&database, MemoryStore::Mode::kStepped};
  FakeDaemon a{&store_a, &store_a};
  FakeDaemon b{&store_b, &store_b};
  FakeStream stream = b.Open(hub);
  std::optional<absl::Status> answer;
  bool lost = false;
  size_t said = 0;  // hints about waits
};

TEST_CASE("wait_elsewhere a wait ends by a hint, without a look, as the other daemon commits") {
  TwoDaemons two;
  const WaitFor wait_for = GENERATE(WaitFor::kStart, WaitFor::kCompletion);
  two.a.Start(two.hub, "l", "Listen", "");
  two.a.Settle();
  two.Wait("l", wait_for);
  two.Settle();
  CHECK(!two.answer.has_value());
  const int64_t reads = two.StatusReads();
  two.RunWorker();
  CHECK(two.answer.has_value() == (wait_for == WaitFor::kStart));
  two.b.Raise(two.hub, "l", "go", "x");
  two.RunWorker();
  CHECK(two.answer == absl::OkStatus());
  CHECK(two.StatusReads() == reads + 1);
  CHECK(two.b.dispatcher().Count().waits == 0);
}

TEST_CASE("wait_elsewhere_ended what ended before the other daemon heard of the wait is told too") {
  TwoDaemons two;
  two.a.Start(two.hub, "c", "Chain", "1");
  two.a.Settle();
  two.Wait("c");
  two.a.Settle();  // the look finds that it has not ended
  two.b.OnWake(two.hub);
  two.b.RunWorkers({two.stream}, two.functions);
  two.b.Settle();
  CHECK(!two.answer.has_value());
  two.Settle();
  CHECK(two.answer == absl::OkStatus());
}

TEST_CASE("wait_elsewhere_hint_lost a rare look finds the end") {
  TwoDaemons two;
  two.a.Start(two.hub, "c", "Chain", "1");
  two.a.Settle();
  two.lost = true;
  two.Wait("c");
  two.Settle();
  two.b.OnWake(two.hub);
  two.RunWorker();
  CHECK(!two.answer.has_value());
  two.Pass(absl::Seconds(6));
  CHECK(two.answer == absl::OkStatus());
}

TEST_CASE("wait_elsewhere_deaf without hints the looks are denser, and their rate has a bound") {
  TwoDaemons two;
  two.a.OnHearing(false);
  two.a.Start(two.hub, "l", "Listen", "");
  two.a.Settle();
  two.Wait("l");
  two.RunWorker();
  const int64_t reads = two.StatusReads();
  two.Pass(absl::Seconds(10));
  CHECK(two.StatusReads() - reads >= 10);
  CHECK(two.StatusReads() - reads <= 18);  // the first ones come after 25, 50, 100, ... ms
  CHECK(two.said == 0);                    // nobody's answer would be heard
  two.b.Raise(two.hub, "l", "go", "x");
  two.RunWorker();
  CHECK(!two.answer.has_value());
  two.Pass(absl::Seconds(1));
  CHECK(two.answer == absl::OkStatus());
}

TEST_CASE("wait_elsewhere_heard_again what was told while nothing was heard is found at once") {
  TwoDaemons two;
  two.a.Start(two.hub, "c", "Chain", "1");
  two.a.Settle();
  two.Wait("c");
  two.Settle();
  two.lost = true;
  two.b.OnWake(two.hub);
  two.RunWorker();
  CHECK(!two.answer.has_value());
  two.lost = false;
  two.a.OnHearing(true);
  two.Settle();
  CHECK(two.answer == absl::OkStatus());
}

TEST_CASE("wait_elsewhere_new_daemon a daemon that has heard nothing asks what is awaited") {
  TwoDaemons two;
  two.a.Start(two.hub, "l", "Listen", "");
  two.a.Settle();
  two.lost = true;
  two.Wait("l");
  two.Settle();
  two.lost = false;
  two.store_b.TellOthers({0, WaitHintKind::kTellAgain, {}});
  two.RunWorker();
  two.b.Raise(two.hub, "l", "go", "x");
  two.RunWorker();
  CHECK(two.answer == absl::OkStatus());
}

TEST_CASE("wait_elsewhere_given_up an instance that is held here no more is told of") {
  TwoDaemons two;
  const FakeStream stream = two.a.Open(two.hub);
  two.a.Start(two.hub, "l", "Listen", "");
  two.a.RunWorkers({stream}, two.functions);
  two.Wait("l");
  two.Settle();
  CHECK(two.said == 0);
  two.a.Close(stream);
  two.Pass(absl::Seconds(7));  // it lingers, and is given back
  two.b.Raise(two.hub, "l", "go", "x");
  two.RunWorker();
  CHECK(two.answer == absl::OkStatus());
}

TEST_CASE("wait_nowhere nothing is said while nobody waits elsewhere") {
  TwoDaemons two;
  for (int i = 0; i < 20; ++i) two.b.Start(two.hub, absl::StrCat("c", i), "Chain", "2");
  two.b.Settle();
  std::optional<absl::Status> at_home;
  two.b.Wait(two.hub, "c1", WaitFor::kCompletion, &at_home);
  two.RunWorker();
  CHECK(at_home == absl::OkStatus());
  CHECK(two.said == 0);
}

TEST_CASE("waits_10000 many waits cost a bounded number of looks while nothing ends") {
  TwoDaemons two;
  std::vector<std::optional<absl::Status>> answers(10'000);
  for (size_t i = 0; i < answers.size(); ++i) {
    two.a.Wait(two.hub, absl::StrCat("i", i), WaitFor::kCompletion, &answers[i]);
    if (i % 500 == 0) two.Settle();
  }
  two.Pass(absl::Seconds(1));
  const int64_t reads = two.StatusReads();
  two.Pass(absl::Seconds(30));
  CHECK(two.StatusReads() - reads <= 33 * 100);
}

TEST_CASE("wait_hints_forged hints that bring nothing make a bounded number of looks") {
  TwoDaemons two;
  two.a.Start(two.hub, "l", "Listen", "");
  two.RunWorker();
  two.Wait("l");
  two.Settle();
  const int64_t reads = two.StatusReads();
  const uint64_t name = WaitName(WaitFor::kCompletion, "l");
  for (int ms = 0; ms < 10'000; ms += 2) {
    two.a.OnWaitHints({two.hub, WaitHintKind::kChanged, {name, name + 1}});
    two.clock.Advance(absl::Milliseconds(2));
    two.Settle();
  }
  CHECK(two.StatusReads() - reads >= dispatch::kHintsAtOnce);
  CHECK(two.StatusReads() - reads <= dispatch::kHintsAtOnce + 10'000 / 50 + 10);
}

TEST_CASE("wait_hints_forged who asks again and again what is awaited gets few answers") {
  TwoDaemons two;
  two.a.Start(two.hub, "l", "Listen", "");
  two.RunWorker();
  two.Wait("l");
  two.Settle();
  const size_t said = two.said;
  for (int i = 0; i < 10'000; ++i) two.a.OnWaitHints({0, WaitHintKind::kTellAgain, {}});
  two.Settle();
  CHECK(two.said - said >= 1);
  CHECK(two.said - said <= dispatch::kHintsAtOnce + 1);
}

TEST_CASE("wait_elsewhere_replaced who is told of an end that is none any more waits on in peace") {
  TwoDaemons two;
  two.b.Start(two.hub, "c", "Chain", "1");
  two.RunWorker();
  two.b.Start(two.hub, "c", "Listen", "");  // in place of the ended one
  two.RunWorker();
  two.Wait("c");
  two.Settle();
  CHECK(two.said <= 4);  // told, answered by what ended before, and told again
  CHECK(!two.answer.has_value());
  two.b.Raise(two.hub, "c", "go", "x");
  two.RunWorker();
  CHECK(two.answer == absl::OkStatus());
}

TEST_CASE("wait_names_pure each is forgotten in its time, and the oldest when there are too many") {
  const absl::Time begin = absl::UnixEpoch();
  WaitNames names(absl::Seconds(10), 3);
  names.Add({1, 1}, begin);
  names.Add({1, 2}, begin + absl::Seconds(1));
  names.Add({1, 1}, begin + absl::Seconds(9));
  names.Add({2, 1}, begin + absl::Seconds(10.5));
  CHECK(names.Contains({1, 1}));  // it was added again
  CHECK(names.Contains({1, 2}));
  names.Add({2, 2}, begin + absl::Seconds(12));
  CHECK(!names.Contains({1, 2}));
  CHECK(names.size() == 3);
  names.Add({2, 3}, begin + absl::Seconds(12));
  CHECK(names.size() == 3);
  CHECK(!names.Contains({1, 1}));
  CHECK(names.Remove({2, 3}));
  CHECK(!names.Remove({2, 3}));
  CHECK(WaitName(WaitFor::kStart, "x") != WaitName(WaitFor::kCompletion, "x"));
  CHECK(WaitName(WaitFor::kCompletion, "") == 0xaf63d84c8601e5c0u);
}

}  // namespace
}  // namespace dt::testing
