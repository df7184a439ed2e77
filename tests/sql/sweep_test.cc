// What the end of a daemon frees, and what keeps it from nothing but itself: rows that an SQL
// user's transaction holds locked. (sql/RULES.md 5)
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/sql/schema.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using postgres::Connection;

// A worker 1 that holds instances 1 to 3, each with a message, and a task of each.
struct DeadDaemon {
  DeadDaemon() {
    MustBeOk(postgres::MigrateSchema(*daemon, "dt").status());
    MustBeOk(daemon->RunScript(
        "select * from dt._RegisterWorker('host', 'process', '1', '0'); "
        "insert into dt.ReadyInstances (instance_key, hub_id, lower_name, lease_token) "
        "select n, 1, 'work', (1::bigint << 40) + n from generate_series(1, 3) n; "
        "insert into dt.NewEvents (instance_key, visible_at, event_type) "
        "select n, now(), 13 from generate_series(1, 3) n; "
        "insert into dt.NewTasks (instance_key, task_key, hub_id, generation, task_id, name, "
        "ready_at, place, lease_token) overriding system value "
        "select n, n, 1, 0, 1, 'act', now(), now(), (1::bigint << 40) + 10 + n "
        "from generate_series(1, 3) n"));
  }

  int64_t Sweep() { return Run(*daemon, "select dt._SweepExpired('{}')").Int(0, 0); }
  int64_t Free() {
    return Run(*daemon,
               "select (select count(*) from dt.ReadyInstances where lease_token is null "
               "and next_due is not null) + (select count(*) from dt.NewTasks "
               "where lease_token is null)")
        .Int(0, 0);
  }
  int64_t Workers() { return Run(*daemon, "select count(*) from dt.Workers").Int(0, 0); }
  // The last sweep was so long ago that the next one is due.
  void Wait() {
    MustBeOk(daemon->RunScript("update dt.Workers set swept_at = now() - interval '6 seconds'"));
  }
  // The row has been swept for so long that it may go, and the next sweep is due.
  void Age() {
    MustBeOk(daemon->RunScript("update dt.Workers set started = now() - interval '3 minutes'"));
    Wait();
  }

  const std::string url = PostgresFixture::Shared().NewDatabase();
  std::unique_ptr<Connection> daemon = PostgresFixture::Connect(url);
  std::unique_ptr<Connection> person = PostgresFixture::Connect(url);
};

constexpr char kLockOne[] =
    "begin; select from dt.ReadyInstances where instance_key = 1 for update; "
    "select from dt.NewTasks where task_key = 2 for update";

TEST_CASE("sql_sweep_frees_all_but_what_somebody_keeps_locked_and_comes_back_for_it") {
  DeadDaemon dead;
  MustBeOk(dead.person->RunScript(kLockOne));
  CHECK(dead.Sweep() == 4);
  CHECK(dead.Free() == 4);
  // A sweep scans, so the next one does not follow at once.
  MustBeOk(dead.person->RunScript("commit"));
  CHECK(dead.Sweep() == 0);
  MustBeOk(dead.person->RunScript(kLockOne));
  // However long the lock is kept, the worker is not forgotten while it holds something.
  dead.Age();
  CHECK(dead.Sweep() == 0);
  CHECK(dead.Workers() == 1);
  MustBeOk(dead.person->RunScript("commit"));
  dead.Age();
  CHECK(dead.Sweep() == 2);
  CHECK(dead.Free() == 6);
  CHECK(dead.Workers() == 0);
}

TEST_CASE("sql_leaving_frees_all_but_what_somebody_keeps_locked_and_leaves_that_to_sweeps") {
  DeadDaemon leaving;
  MustBeOk(leaving.person->RunScript(kLockOne));
  CHECK(Run(*leaving.daemon, "select dt._UnregisterWorker(1)").Int(0, 0) == 4);
  CHECK(leaving.Free() == 4);
  CHECK(leaving.Workers() == 1);
  MustBeOk(leaving.person->RunScript("commit"));
  leaving.Wait();
  CHECK(leaving.Sweep() == 2);
  CHECK(leaving.Free() == 6);
  leaving.Age();
  CHECK(leaving.Sweep() == 0);
  CHECK(leaving.Workers() == 0);
}

// A worker 1 with a session, which holds instance 1, and somebody who looks at it.
struct Watched {
  explicit Watched(const std::string& own_session) : own(own_session) {
    MustBeOk(postgres::MigrateSchema(*watcher, "dt").status());
    session = PostgresFixture::Connect(url);
    MustBeOk(session->RunScript("select * from dt._RegisterWorker('host', 'process', '1', '1 h', " +
                                own + ")"));
    MustBeOk(watcher->RunScript(
        "insert into dt.ReadyInstances (instance_key, hub_id, lower_name, lease_token) "
        "values (1, 1, 'work', 1::bigint << 40)"));
  }

  void EndSession() {
    const int pid = session->backend_pid();
    session.reset();
    const std::string seen = absl::StrCat("select from pg_stat_activity where pid = ", pid);
    while (Run(*watcher, seen).rows() > 0) absl::SleepFor(absl::Milliseconds(1));
  }
  int64_t Sweep(const std::string& silence) {
    return Run(*watcher, "select dt._SweepExpired('{}', '" + silence + "')").Int(0, 0);
  }

  const std::string own;
  const std::string url = PostgresFixture::Shared().NewDatabase();
  std::unique_ptr<Connection> watcher = PostgresFixture::Connect(url);
  std::unique_ptr<Connection> session;
};

TEST_CASE("sql_sweep_takes_a_worker_whose_session_is_gone_for_dead") {
  Watched worker("true");
  CHECK(worker.Sweep("0") == 0);
  worker.EndSession();
  CHECK(worker.Sweep("1 h") == 0);  // it may come back
  SECTION("it has not come back") {
    CHECK(worker.Sweep("1 h") == 0);
    CHECK(worker.Sweep("0") == 1);
    CHECK_FALSE(Run(*worker.watcher, "select renewed from dt._RenewWorker(1, '1 h')").Bool(0, 0));
  }
  SECTION("it has come back with another session") {
    worker.session = PostgresFixture::Connect(worker.url);
    CHECK(Run(*worker.session, "select renewed from dt._RenewWorker(1, '1 h', true)").Bool(0, 0));
    CHECK(worker.Sweep("0") == 0);
    CHECK(worker.Sweep("0") == 0);
  }
}

TEST_CASE("sql_sweep_knows_nothing_of_sessions_that_a_pooler_gives_to_others") {
  Watched worker("false");
  worker.EndSession();
  CHECK(worker.Sweep("0") == 0);
  CHECK(worker.Sweep("0") == 0);
  MustBeOk(worker.watcher->RunScript("update dt.Workers set lease_until = now()"));
  CHECK(worker.Sweep("0") == 1);
}

}  // namespace
}  // namespace dt::testing
