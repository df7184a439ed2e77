// Hints between daemons on a real server: who hears what, gathering, reconnecting.
#include "storage/postgres/listener.h"

#include <map>

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
    listener = std::make_unique<Listener>(options, [this](HubId hub) {
      absl::MutexLock lock(&mutex_);
      ++heard_[hub];
    });
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

  std::unique_ptr<Listener> listener;

 private:
  absl::Mutex mutex_;
  std::map<HubId, int> heard_ ABSL_GUARDED_BY(mutex_);
};

// Waits until so many sessions of the database listen.
void WaitForListeners(const std::string& url, int count) {
  auto session = PostgresFixture::Connect(url);
  Params params;
  params.Int4(count);
  while (ValueOf(session->ExecuteOnce("select 1 from pg_stat_activity where datname = "
                                      "current_database() and query like 'listen %' having "
                                      "count(*) >= $1",
                                      params))
             .rows() == 0) {
  }
}

TEST_CASE("listener_hints_reach_the_others_of_the_schema_and_not_the_sender") {
  std::string url = PostgresFixture::Shared().NewDatabase();
  ListenerOptions elsewhere;
  elsewhere.schema = "other";
  Daemon a(url, 1);
  Daemon b(url, 2);
  Daemon c(url, 3, elsewhere);
  WaitForListeners(url, 3);
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
  WaitForListeners(url, 2);
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
  WaitForListeners(url, 1);
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
  WaitForListeners(url, 2);
  PostgresFixture::Shared().Restart();
  WaitForListeners(url, 2);
  while (b.Heard(7) == 0) a.listener->Notify(7);  // one that breaks off is dropped, not repeated
  CHECK(b.listener->counters().connects >= 2);
}

TEST_CASE("listener_may_only_send") {
  std::string url = PostgresFixture::Shared().NewDatabase();
  ListenerOptions sender;
  sender.listen = false;
  Daemon a(url, 1, sender);
  Daemon b(url, 2);
  WaitForListeners(url, 1);
  CHECK(a.listener->counters().connects == 0);
  a.listener->Notify(7);
  b.WaitFor(7, 1);
  b.listener->Notify(8);
  a.listener->Notify(9);
  b.WaitFor(9, 1);
  CHECK(a.Heard(8) == 0);
}

}  // namespace
}  // namespace dt::postgres
