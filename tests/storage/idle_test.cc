// The connections of a daemon that has nothing to do: a fleet of many has to fit into one
// PostgreSQL.
#include "absl/status/statusor.h"
#include "storage/postgres/look_pace.h"
#include "storage/postgres/migrator.h"
#include "storage/postgres/postgres_store.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"
#include "tests/support/postgres_fixture.h"

namespace dt::testing {
namespace {

// A database of its own, a session to look at it, and stores whose lanes close their connections
// after so long.
class IdleWorld : public World {
 public:
  explicit IdleWorld(absl::Duration idle_max, absl::Duration look_max = absl::InfiniteDuration()) {
    options_.look_max = look_max;
    options_.connection.url = PostgresFixture::Shared().NewDatabase();
    options_.lane.idle_max = idle_max;
    session_ = PostgresFixture::Connect(options_.connection.url);
    MustBeOk(postgres::MigrateSchema(*session_, "dt").status());
  }
  std::unique_ptr<Store> NewStore() override {
    return std::make_unique<postgres::PostgresStore>(options_);
  }
  void DeclareDead(WorkerId) override {}

  HubId Hub() { return static_cast<HubId>(Number("select dt._ResolveHub('shop', true)")); }
  int64_t Number(const std::string& sql) { return ValueOf(session_->ExecuteOnce(sql)).Int(0, 0); }
  // Of the stores.
  int64_t Sessions(const std::string& condition = "true") {
    return Number(
        "select count(*) from pg_stat_activity where backend_type = 'client backend' and datname = "
        "current_database() and pid <> pg_backend_pid() and " +
        condition);
  }

 private:
  postgres::PostgresStoreOptions options_;
  std::unique_ptr<postgres::Connection> session_;
};

// What a daemon asks when nothing happens.
void LookAround(Daemon& daemon, HubId hub) {
  CHECK(daemon.ClaimAll(hub).claims.empty());
  CHECK(daemon.Sweep() == 0);
  UnacceptedSearch search;
  search.hub = hub;
  search.turns.emplace();
  search.tasks.emplace();
  const absl::StatusOr<UnacceptedWork> unaccepted = daemon.Wait<UnacceptedWork>(
      [&](auto done) { daemon.store().FindUnacceptedWork(search, std::move(done)); });
  REQUIRE(unaccepted.ok());
  CHECK(unaccepted->empty());
  CHECK(daemon
            .Wait<HubCleanupResult>([&](auto done) {
              daemon.store().CleanHubs({100, absl::Minutes(1)}, std::move(done));
            })
            .ok());
}

TEST_CASE("idle_daemon_looks_around_with_the_connection_of_its_claims") {
  IdleWorld world(absl::ZeroDuration());  // what was connected once stays so
  const HubId hub = world.Hub();
  Daemon daemon(world);
  daemon.worker();
  LookAround(daemon, hub);
  // Claims, hints and the lease; the one for hints may come late.
  while (world.Sessions() < 3) {
  }
  CHECK(world.Sessions() == 3);
}

TEST_CASE("idle_daemon_looks_around_elsewhere_after_a_look_that_took_long") {
  IdleWorld world(absl::ZeroDuration(), /*look_max=*/absl::ZeroDuration());
  Daemon daemon(world);
  daemon.worker();
  // The fourth is of the lane of upkeep, which a look goes to that follows another one soon.
  while (world.Sessions() < 4) CHECK(daemon.Sweep() == 0);
}

TEST_CASE("idle_daemon_keeps_the_connections_of_its_lease_and_its_hints") {
  IdleWorld world(absl::Milliseconds(20));
  const HubId hub = world.Hub();
  Daemon daemon(world);
  daemon.worker();
  for (const std::string id : {"one", "two"}) {
    NewInstance instance;
    instance.hub = hub;
    instance.instance_id = id;
    instance.name = "Ship";
    CHECK(daemon.Create(std::move(instance)).outcome == CreateOutcome::kCreated);
    CHECK(daemon.Read(hub, id).has_value());
    while (world.Sessions() != 2) {
    }
    CHECK(world.Sessions("pid in (select session_pid from dt.Workers)") == 1);
    CHECK(daemon.store().Writable().ok());
  }
  // One that holds nothing open leaves as any other.
  daemon.Stop();
  CHECK(world.Number("select count(*) from dt.Workers") == 0);
}

TEST_CASE("look_pace_pure: looks that take long leave the time to the claims") {
  postgres::LookPace pace(absl::Milliseconds(100));
  const absl::Time now = absl::FromUnixSeconds(1000);
  CHECK(!pace.Apart(now));
  pace.Took(absl::Milliseconds(100), now);
  CHECK(!pace.Apart(now));
  pace.Took(absl::Seconds(5), now);
  CHECK(pace.Apart(now + absl::Seconds(499)));
  pace.Took(absl::Milliseconds(1), now);  // it was on its way before
  CHECK(pace.Apart(now + absl::Seconds(499)));
  CHECK(!pace.Apart(now + absl::Seconds(500)));
}

}  // namespace
}  // namespace dt::testing
