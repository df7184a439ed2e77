// What a sweep for dead workers costs: it comes every few seconds for as long as a daemon runs.
#include "storage/postgres/postgres_store.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

TEST_CASE("sweep_is_one_call_while_nobody_is_dead") {
  Harness h(StoreKind::kPostgres, Database::kOwn);
  h.a().Create(h.Instance("one"));
  h.b().ClaimOne(h.hub);
  const auto& store = dynamic_cast<const postgres::PostgresStore&>(h.a().store());
  const auto sweep = [&](int64_t freed) {
    const int64_t calls = store.counters().calls;
    CHECK(h.a().Sweep() == freed);
    return store.counters().calls - calls;
  };
  CHECK(sweep(0) == 1);
  h.world().DeclareDead(h.b().worker());
  CHECK(sweep(1) == 2);
  // Its row stays, and is swept again only after a while.
  CHECK(sweep(0) == 1);
}

}  // namespace
}  // namespace dt::testing
