// When a daemon reads all of its inboxes: after a lost connection, and not because of a lock.
#include <memory>
#include <string>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "storage/postgres/migrator.h"
#include "storage/postgres/postgres_store.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"
#include "tests/support/postgres_fixture.h"

namespace dt::testing {
namespace {

// A database of its own, and a session that keeps a lock of what the daemon needs.
class KeptWorld : public World {
 public:
  // A call waits so long for a lock.
  explicit KeptWorld(absl::Duration patience)
      : patience_(patience), url_(PostgresFixture::Shared().NewDatabase()) {
    session_ = PostgresFixture::Connect(url_);
    MustBeOk(postgres::MigrateSchema(*session_, "dt").status());
  }
  std::unique_ptr<Store> NewStore() override {
    postgres::PostgresStoreOptions options;
    options.connection.url = url_;
    options.lane_lock_timeout = patience_;
    auto store = std::make_unique<postgres::PostgresStore>(std::move(options));
    store_ = store.get();
    return store;
  }
  void DeclareDead(WorkerId) override { FAIL("not needed"); }

  void Keep() { MustBeOk(session_->RunScript("begin; select from dt.ReadyInstances for update")); }
  void LetGo() { MustBeOk(session_->RunScript("commit")); }
  // Waits until a call of the store was refused, as one whose lock is kept.
  void AwaitRefusal() const {
    while (store_->counters().retries == 0) absl::SleepFor(absl::Milliseconds(1));
  }
  // Waits until a call of the store waits for the lock, and ends its session.
  void EndWaitingSession() {
    while (ValueOf(session_->ExecuteOnce("select pg_terminate_backend(pid) from pg_stat_activity"
                                         " where datname = current_database()"
                                         " and wait_event_type = 'Lock'"))
               .rows() == 0) {
      absl::SleepFor(absl::Milliseconds(1));
    }
  }

 private:
  const absl::Duration patience_;
  const std::string url_;
  std::unique_ptr<postgres::Connection> session_;
  postgres::PostgresStore* store_ = nullptr;
};

// The daemon holds two instances with a message each, and commits a turn of one while the lock is
// kept.
class KeptDaemon {
 public:
  explicit KeptDaemon(absl::Duration patience) : world(patience), daemon(world) {
    const HubId hub = daemon
                          .Wait<HubId>([&](auto done) {
                            daemon.store().ResolveHub("hub", true, std::move(done));
                          })
                          .value();
    Create(hub, "one");
    const Claim one = daemon.ClaimOne(hub);
    Create(hub, "two");
    daemon.ClaimOne(hub);
    world.Keep();
    daemon.store().CommitCheckpoint(
        TurnOf(one), [this](const Checkpoint&, absl::StatusOr<CheckpointResult> result) {
          committed = std::move(result);
          ended.Notify();
        });
  }

  KeptWorld world;
  Daemon daemon;
  absl::StatusOr<CheckpointResult> committed;
  absl::Notification ended;

 private:
  void Create(HubId hub, const std::string& id) {
    NewInstance instance;
    instance.hub = hub;
    instance.instance_id = id;
    instance.execution_id = "0123456789abcdef0123456789abcdef";
    instance.name = "Work";
    instance.started = Event("start of " + id, 3);
    daemon.Create(std::move(instance));
  }
};

TEST_CASE("reread_is_not_owed_to_a_call_that_was_refused_for_a_lock") {
  KeptDaemon kept(absl::Milliseconds(50));
  kept.world.AwaitRefusal();
  kept.world.LetGo();
  kept.ended.WaitForNotification();
  REQUIRE(kept.committed.ok());
  CHECK(kept.committed->outcome == CheckpointOutcome::kCommitted);
  CHECK(kept.daemon.ReadNew().empty());
}

TEST_CASE("reread_is_owed_to_a_call_whose_session_has_ended") {
  KeptDaemon kept(absl::Minutes(1));
  kept.world.EndWaitingSession();
  kept.world.LetGo();
  kept.ended.WaitForNotification();
  REQUIRE(kept.committed.ok());
  CHECK(kept.committed->outcome == CheckpointOutcome::kCommitted);
  const std::vector<InboxRead> inboxes = kept.daemon.ReadNew();
  REQUIRE(inboxes.size() == 1);
  CHECK(TextsOf(inboxes.front().messages) == std::vector<std::string>{"start of two"});
  CHECK(kept.daemon.ReadNew().empty());
}

}  // namespace
}  // namespace dt::testing
