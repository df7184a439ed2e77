// The short cuts for what comes alone: that they are taken, and what they must see. Their results
// are those of batches: the conformance suite plays both.
#include <thread>

#include "absl/strings/str_cat.h"
#include "storage/postgres/migrator.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"
#include "tests/support/postgres_fixture.h"

namespace dt::testing {
namespace {

class LoneForms {
 public:
  explicit LoneForms(postgres::PreparedStatements prepared = postgres::PreparedStatements::kAuto)
      : harness(WorldOn(Migrated(url_, prepared))),
        other_(PostgresFixture::Connect(url_)),
        session_(PostgresFixture::Connect(url_)) {}

  int64_t Count(const std::string& from_where) {
    const auto result = session_->ExecuteOnce(
        absl::StrCat("select count(*)::bigint from ", from_where), postgres::Params());
    INFO(result.status().ToString());
    REQUIRE(result.ok());
    return result->Int(0, 0);
  }
  // How many sessions of the daemons run this statement, or have run it last.
  int64_t Sessions(const std::string& statement, const std::string& condition = "true") {
    return Count(
        absl::StrCat("pg_stat_activity where datname = current_database() and query like "
                     "'/* ",
                     statement, " */%' and ", condition));
  }
  // In a session of its own: what happens is not seen anew within a transaction.
  void Run(const std::string& sql) { REQUIRE(other_->ExecuteOnce(sql, postgres::Params()).ok()); }

 private:
  static postgres::ConnectionOptions Migrated(const std::string& url,
                                              postgres::PreparedStatements prepared) {
    REQUIRE(postgres::MigrateSchema(*PostgresFixture::Connect(url), "dt").ok());
    postgres::ConnectionOptions options;
    options.url = url;
    options.prepared_statements = prepared;
    return options;
  }

  const std::string url_ = PostgresFixture::Shared().NewDatabase();

 public:
  Harness harness;

 private:
  const std::unique_ptr<postgres::Connection> other_;
  const std::unique_ptr<postgres::Connection> session_;
};

Checkpoint EndOf(const Claim& claim) {
  Checkpoint end = TurnOf(claim);
  end.ends = true;
  end.update = InstanceUpdate{};
  end.update->status = RuntimeStatus::kCompleted;
  end.update->output = "42";
  return end;
}

TEST_CASE("lone_forms_are_taken") {
  LoneForms lone;
  Harness& h = lone.harness;
  h.a().Create(h.Instance("one"));
  CHECK(lone.Sessions("create_instance") == 1);
  const Claim claim = h.a().ClaimOne(h.hub);
  const Checkpoint turn = TurnOf(claim);
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  CHECK(lone.Sessions("checkpoint_turn") == 1);
  REQUIRE(h.a().Commit(EndOf(After(turn, claim))).outcome == CheckpointOutcome::kCommitted);
  CHECK(lone.Sessions("checkpoint_end") == 1);
}

// PL/pgSQL keeps the plans of a function; those of a statement are kept only when it is prepared.
TEST_CASE("lone_forms_are_not_taken_where_statements_are_not_prepared") {
  LoneForms lone(postgres::PreparedStatements::kOff);
  lone.harness.a().Create(lone.harness.Instance("one"));
  CHECK(lone.Sessions("create_instance") == 0);
}

// Whoever adds a message holds the hot row, as here. It is not there for the statement that waits
// for that row, and must go all the same: nobody would ever look for it again.
TEST_CASE("lone_end_takes_out_what_came_while_it_waited") {
  LoneForms lone;
  Harness& h = lone.harness;
  h.a().Create(h.Instance("one"));
  const Claim claim = h.a().ClaimOne(h.hub);
  const std::string of_instance = absl::StrCat(" where instance_key = ", claim.key);
  lone.Run("begin");
  lone.Run(absl::StrCat("select 1 from dt.ReadyInstances", of_instance, " for no key update"));
  lone.Run(absl::StrCat(
      "insert into dt.NewEvents (instance_key, visible_at, event_type, event) values (", claim.key,
      ", now(), 17, 'late')"));
  CheckpointResult result;
  std::thread ends([&] { result = h.a().Commit(EndOf(claim)); });
  while (lone.Sessions("checkpoint_end", "wait_event_type = 'Lock'") == 0)
    std::this_thread::yield();
  lone.Run("commit");
  ends.join();
  CHECK(result.outcome == CheckpointOutcome::kCommitted);
  CHECK(lone.Count(absl::StrCat("dt.NewEvents", of_instance)) == 0);
}

}  // namespace
}  // namespace dt::testing
