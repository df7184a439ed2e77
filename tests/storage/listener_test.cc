// Hints between daemons on a real server: who hears what, gathering, reconnecting.
#include "storage/postgres/listener.h"

#include <algorithm>
#include <map>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/postgres_fixture.h"

namespace dt::postgres {
namespace {

using testing::MustBeOk;
using testing::PostgresFixture;
using testing::ValueOf;

// A daemon's listener and what it heard.
class Daemon {
 public:
  Daemon(const std::string& url, WorkerId worker, ListenerOptions options = {}) {
    options.connection.url = url;
    ListenerCallbacks callbacks;
    callbacks.on_wake = [this](HubId hub) {
      absl::MutexLock lock(&mutex_);
      ++heard_[hub];
    };
    callbacks.on_waits = [this](WaitHints hints) {
      absl::MutexLock lock(&mutex_);
      waits_.push_back(std::move(hints));
    };
    callbacks.on_hearing = [this](bool hears) {
      absl::MutexLock lock(&mutex_);
      hearing_.push_back(hears);
    };
    listener = std::make_unique<Listener>(options, std::move(callbacks));
    listener->SetWorker(worker);
  }
  ~Daemon() { listener->Stop(); }
  int Heard(HubId hub) {
    absl::MutexLock lock(&mutex_);
    return heard_[hub];
  }
  void WaitFor(HubId hub, int times) {
    absl::MutexLock lock(&mutex_);
    auto reached = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return heard_[hub] >= times; };
    REQUIRE(mutex_.AwaitWithTimeout(absl::Condition(&reached), absl::Seconds(60)));
  }

  // Waits for so many hints about waits of this kind, and returns what they name, sorted.
  std::vector<uint64_t> WaitForNames(WaitHintKind kind, size_t count) {
    absl::MutexLock lock(&mutex_);
    std::vector<uint64_t> names;
    auto reached = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      names.clear();
      size_t hints = 0;
      for (const WaitHints& heard : waits_) {
        if (heard.kind != kind) continue;
        ++hints;
        names.insert(names.end(), heard.waits.begin(), heard.waits.end());
      }
      return std::max(hints, names.size()) >= count;
    };
    REQUIRE(mutex_.AwaitWithTimeout(absl::Condition(&reached), absl::Seconds(60)));
    std::sort(names.begin(), names.end());
    return names;
  }
  // Waits until the hints of others arrive for the so many-th time.
  void WaitToHear(int times = 1) {
    absl::MutexLock lock(&mutex_);
    auto reached = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return std::count(hearing_.begin(), hearing_.end(), true) >= times;
    };
    REQUIRE(mutex_.AwaitWithTimeout(absl::Condition(&reached), absl::Seconds(60)));
  }
  std::vector<bool> hearing() {
    absl::MutexLock lock(&mutex_);
    return hearing_;
  }

  std::unique_ptr<Listener> listener;

 private:
  absl::Mutex mutex_;
  std::map<HubId, int> heard_ ABSL_GUARDED_BY(mutex_);
  std::vector<WaitHints> waits_ ABSL_GUARDED_BY(mutex_);
  std::vector<bool> hearing_ ABSL_GUARDED_BY(mutex_);
};

TEST_CASE("listener_hints_reach_the_others_of_the_schema_and_not_the_sender") {
  std::string url = PostgresFixture::Shared().NewDatabase();
  ListenerOptions elsewhere;
  elsewhere.schema = "other";
  Daemon a(url, 1);
  Daemon b(url, 2);
  Daemon c(url, 3, elsewhere);
  for (Daemon* daemon : {&a, &b, &c}) daemon->WaitToHear();
  a.listener->Notify(7);
  b.WaitFor(7, 1);
  b.listener->Notify(8);
  a.WaitFor(8, 1);
  CHECK(a.Heard(7) == 0);
  CHECK(b.Heard(8) == 0);
  CHECK(c.Heard(7) + c.Heard(8) == 0);
}

TEST_CASE("listener_gathers_hints_one_per_hub") {
  std::string url = PostgresFixture::Shared().NewDatabase();
  ListenerOptions options;
  options.gather = absl::Milliseconds(100);
  Daemon a(url, 1, options);
  Daemon b(url, 2, options);
  a.WaitToHear();
  b.WaitToHear();
  for (int i = 0; i < 1000; ++i) a.listener->Notify(i % 2 + 1);
  b.WaitFor(1, 1);
  b.WaitFor(2, 1);
  // 1000 calls take far less than the time of gathering, so they fit into few sends.
  CHECK(a.listener->counters().sent <= 6);
  a.listener->Notify(3);
  b.WaitFor(3, 1);
}

TEST_CASE("listener_ignores_what_is_no_hint") {
  std::string url = PostgresFixture::Shared().NewDatabase();
  Daemon a(url, 1);
  a.WaitToHear();
  auto session = PostgresFixture::Connect(url);
  for (const char* payload : {"", "x", "5", "5 ", "5 x", "5 2 3", "99999999999 2", "5 2"}) {
    Params params;
    params.Text(payload);
    MustBeOk(session->ExecuteOnce("select pg_notify('durabletask/dt', $1)", params).status());
  }
  a.WaitFor(5, 1);
  CHECK(a.listener->counters().received == 1);
}

TEST_CASE("listener_comes_back_after_postgres_restarted") {
  std::string url = PostgresFixture::Shared().NewDatabase();
  ListenerOptions options;
  options.reconnect_delay_min = absl::Milliseconds(5);
  Daemon a(url, 1, options);
  Daemon b(url, 2, options);
  a.WaitToHear();
  b.WaitToHear();
  PostgresFixture::Shared().Restart();
  a.WaitToHear(2);
  b.WaitToHear(2);
  while (b.Heard(7) == 0) a.listener->Notify(7);  // one that breaks off is dropped, not repeated
  CHECK(b.listener->counters().connects >= 2);
  const std::vector<bool> hearing = b.hearing();
  CHECK(hearing.front());
  CHECK(std::count(hearing.begin(), hearing.end(), false) >= 1);
  CHECK(hearing.back());
}

TEST_CASE("listener_tells_of_waits_and_asks_for_those_that_it_has_not_heard") {
  std::string url = PostgresFixture::Shared().NewDatabase();
  Daemon a(url, 1);
  a.WaitToHear();
  Daemon b(url, 2);
  a.WaitForNames(WaitHintKind::kTellAgain, 1);  // b listens
  std::vector<uint64_t> names(2000);
  for (size_t i = 0; i < names.size(); ++i) {
    names[i] = i;
    a.listener->Notify(WaitHints{7, WaitHintKind::kAwaited, {i}});
  }
  CHECK(b.WaitForNames(WaitHintKind::kAwaited, names.size()) == names);
  b.listener->Notify(WaitHints{7, WaitHintKind::kChanged, {5}});
  CHECK(a.WaitForNames(WaitHintKind::kChanged, 1) == std::vector<uint64_t>{5});
  CHECK(b.WaitForNames(WaitHintKind::kChanged, 0).empty());
  // What was said last is said before the end.
  b.listener->Notify(9);
  b.listener->Stop();
  a.WaitFor(9, 1);
}

TEST_CASE("listener_may_only_send") {
  std::string url = PostgresFixture::Shared().NewDatabase();
  ListenerOptions sender;
  sender.listen = false;
  Daemon a(url, 1, sender);
  Daemon b(url, 2);
  b.WaitToHear();
  CHECK(a.listener->counters().connects == 0);
  a.listener->Notify(7);
  b.WaitFor(7, 1);
  b.listener->Notify(8);
  a.listener->Notify(9);
  b.WaitFor(9, 1);
  CHECK(a.Heard(8) == 0);
}

TEST_CASE("listener_that_only_sends_is_connected_while_it_has_something_to_send") {
  const std::string url = PostgresFixture::Shared().NewDatabase();
  ListenerOptions sender;
  sender.listen = false;
  sender.idle_max = absl::Milliseconds(20);
  sender.connection.application_name = "sender";
  Daemon a(url, 1, sender);
  Daemon b(url, 2);
  b.WaitToHear();
  const auto session = PostgresFixture::Connect(url);
  const std::string sessions =
      "select from pg_stat_activity where application_name = 'sender' and datname = "
      "current_database()";
  for (HubId hub = 7; hub <= 8; ++hub) {
    a.listener->Notify(hub);
    b.WaitFor(hub, 1);
    while (ValueOf(session->ExecuteOnce(sessions)).rows() > 0) {
    }
  }
  CHECK(a.listener->counters().connects == 2);
}

}  // namespace
}  // namespace dt::postgres
