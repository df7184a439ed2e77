// Locks as one entity sees them (RULES.md 7.22-7.27). That several are granted together is the
// store's part.

#include "absl/strings/str_cat.h"
#include "tests/entity/entity.h"
#include "tests/support/catch.h"

namespace dt::entity {
namespace {

// Locked by the critical section "S" of order-1.
void Lock(Entity& counter) { counter.state.lock = EntityLock{"order-1", "x", "S"}; }

}  // namespace

TEST_CASE("lock_basic: earlier operations, then the holder's, then those that waited") {
  Entity counter;
  counter.Put(Signal("before"));
  counter.Put(LockOf("S"));
  counter.Put(Signal("client"));
  CHECK(counter.Plan() == "run before\nbarrier S\n");
  CHECK(counter.Finish(Results("1", {Ok()})) == Text(R"(
      state="1"
      worked
      arrives at 2: EntityLockGranted @1000 criticalSectionId="S"
      )"));
  CHECK(counter.state.lock->owner_id == "order-1");
  CHECK(counter.state.lock->owner_execution_id == "x");
  CHECK(counter.Plan() == "");
  counter.Put(Call(1, "get"), /*front=*/true);
  CHECK(counter.Plan() == "run get\n");
  counter.Finish(Results("1", {Ok()}));
  counter.Put(From("order-1", Signal("add")), /*front=*/true);
  counter.Put(UnlockOf("S"), /*front=*/true);
  CHECK(counter.Plan() == "run add\nunlock\nrun client\n");
  CHECK(counter.Finish(Results("1", {Ok(), Ok()})) == "worked\nunlocks\n");
  CHECK_FALSE(counter.state.blocked());
  CHECK(counter.inbox.empty());
}

TEST_CASE("lock_nonexistent_entity: needs no worker and changes no state") {
  Entity counter;
  counter.Put(LockOf("S"));
  CHECK(counter.Plan() == "barrier S\n");
  CHECK_FALSE(counter.batch.needs_worker());
  CHECK(counter.Finish() == "arrives at 1: EntityLockGranted @1000 criticalSectionId=\"S\"\n");
  counter.Put(UnlockOf("S"), /*front=*/true);
  CHECK(counter.Plan() == "unlock\n");
  CHECK(counter.Finish() == "unlocks\n");
}

TEST_CASE("lock_wait: an arrived entity serves nobody before the grant") {
  Entity counter;
  counter.arrival = ArrivalOutcome::kWaits;
  const int64_t request = counter.Put(LockOf("S"));
  counter.Plan();
  counter.Finish();
  CHECK(counter.state.arrived_seq == request);
  CHECK(counter.state.blocked());
  counter.Put(Signal("client"));
  counter.Put(From("order-2", LockOf("T")));
  counter.Put(Call(1, "early"), /*front=*/true);
  CHECK(counter.Plan() == "");
  counter.Grant(request);
  CHECK(counter.Plan() == "granted to order-1 S\n");
  CHECK(counter.Finish() == "");
  CHECK(counter.state.lock->critical_section == "S");
  CHECK(counter.state.arrived_seq == 0);
  // The call that came before the grant is the holder's.
  CHECK(counter.Plan() == "run early\n");
  counter.Finish(Results("1", {Ok()}));
  counter.Put(UnlockOf("S"), /*front=*/true);
  CHECK(counter.Plan() == "unlock\nrun client\nbarrier T\n");
}

TEST_CASE("lock_grant_and_release_at_once: in one batch") {
  Entity counter;
  counter.arrival = ArrivalOutcome::kWaits;
  const int64_t request = counter.Put(LockOf("S"));
  counter.Plan();
  counter.Finish();
  counter.Grant(request);
  counter.Put(Call(1, "get"), /*front=*/true);
  counter.Put(UnlockOf("S"), /*front=*/true);
  counter.Put(Signal("client"));
  CHECK(counter.Plan() == "granted to order-1 S\nrun get\nunlock\nrun client\n");
  counter.Finish(Results("1", {Ok(), Ok()}));
  CHECK(counter.checkpoint.entity->unlock);
  CHECK_FALSE(counter.state.blocked());
  CHECK(counter.inbox.empty());
}

TEST_CASE("lock_only_front: a locked entity looks at what stands in front of all") {
  Entity counter;
  Lock(counter);
  counter.Put(Call(1, "of the holder"));
  counter.Put(Signal("client"));
  CHECK(counter.Plan() == "");
  counter.Put(From("order-2", Signal("not the holder's")), /*front=*/true);
  CHECK(counter.Plan() == "");
  counter.Put(Call(2, "get"), /*front=*/true);
  CHECK(counter.Plan() == "run get\n");
}

TEST_CASE("lock_overlapping: the next request is met when the lock is free again") {
  Entity counter;
  Lock(counter);
  counter.Put(From("order-2", LockOf("T")));
  CHECK(counter.Plan() == "");
  counter.Put(UnlockOf("S"), /*front=*/true);
  CHECK(counter.Plan() == "unlock\nbarrier T\n");
  CHECK(counter.Finish() ==
        "unlocks\narrives at 1: EntityLockGranted @1000 criticalSectionId=\"T\"\n");
  CHECK(counter.state.lock->owner_id == "order-2");
}

TEST_CASE("unlock_before_grant: the request is taken back, also where the entity has arrived") {
  Entity counter;
  counter.arrival = ArrivalOutcome::kWaits;
  const int64_t request = counter.Put(LockOf("S"));
  counter.Plan();
  counter.Finish();
  counter.Put(Signal("client"));
  counter.Put(UnlockOf("S"), /*front=*/true);
  CHECK(counter.Plan() == "withdraw order-1 S\nrun client\n");
  CHECK(counter.batch.steps[0].gone == std::vector<int64_t>{request});
  CHECK(counter.Finish(Results("1", {Ok()})) == Text(R"(
      state="1"
      worked
      withdraws order-1 S
      )"));
  CHECK_FALSE(counter.state.blocked());
  CHECK(counter.inbox.empty());
}

TEST_CASE("unlock_before_arrival: the barrier is none any more") {
  Entity counter;
  counter.Put(LockOf("S"));
  counter.Put(Signal("client"));
  counter.Put(From("order-2", LockOf("T")));
  counter.Put(UnlockOf("S"), /*front=*/true);
  CHECK(counter.Plan() == "withdraw order-1 S\nrun client\nbarrier T\n");
  counter.Finish(Results("1", {Ok()}));
  CHECK(counter.state.lock->critical_section == "T");
  CHECK(counter.inbox.empty());
}

TEST_CASE("unlock_beside_grant: a release that comes before the news of the grant") {
  Entity counter;
  counter.arrival = ArrivalOutcome::kWaits;
  const int64_t request = counter.Put(LockOf("S"));
  counter.Plan();
  counter.Finish();
  counter.Put(UnlockOf("S"), /*front=*/true);
  counter.Grant(request);
  CHECK(counter.Plan() == "withdraw order-1 S\nunlock\n");
  CHECK(counter.Finish() == "unlocks\nwithdraws order-1 S\n");
  CHECK_FALSE(counter.state.blocked());
  CHECK(counter.inbox.empty());
}

TEST_CASE("lock_gone: a request that was taken back while the entity arrived") {
  Entity counter;
  counter.arrival = ArrivalOutcome::kGone;
  counter.Put(LockOf("S"));
  counter.Plan();
  counter.Finish();
  CHECK_FALSE(counter.state.blocked());
  CHECK(counter.inbox.empty());
}

TEST_CASE("lock_reload: an entity that was claimed anew arrives once more") {
  Entity counter;
  counter.arrival = ArrivalOutcome::kWaits;
  counter.Put(LockOf("S"));
  counter.Plan();
  counter.Finish();
  CHECK(counter.Plan() == "");
  counter.state = EntityState();
  CHECK(counter.Plan() == "barrier S\n");
}

TEST_CASE("recreated_owner: another execution of the owner cannot use the lock") {
  Entity counter;
  Lock(counter);
  counter.Put(From("order-1", Call(1, "get"), "y"), /*front=*/true);
  counter.Put(From("order-1", UnlockOf("other")), /*front=*/true);
  counter.Put(From("order-2", UnlockOf("S")), /*front=*/true);
  CHECK(counter.Plan() == "withdraw order-1 other\nwithdraw order-2 S\n");
  counter.Finish();
  CHECK(counter.state.lock);
  counter.Put(UnlockOf("S"), /*front=*/true);
  // What was passed over comes first the next time.
  counter.Put(Signal("client"));
  CHECK(counter.Plan() == "unlock\n");
  counter.Finish();
  CHECK(counter.Plan() == "run get\nrun client\n");
}

TEST_CASE("unlock_before_news: an entity that was claimed after the grant, with its lock") {
  Entity counter;
  const int64_t request = counter.Put(LockOf("S"));
  counter.Put(From("order-2", Signal("passed over")), /*front=*/true);
  counter.Put(UnlockOf("S"), /*front=*/true);
  counter.Grant(request);
  Lock(counter);
  CHECK(counter.Plan() == "unlock\nunlock\n");
  counter.Finish();
  CHECK(counter.checkpoint.entity->unlock);
  CHECK_FALSE(counter.state.blocked());
}

TEST_CASE("fix_orphaned_lock: releases whatever its owner holds, and nothing else") {
  Entity counter;
  counter.Put(UnlockOf("fix-orphaned-lock"), /*front=*/true);
  CHECK(counter.Plan() == "drop, as there is no lock that it could release\n");
  counter.Finish();
  Lock(counter);
  counter.Put(From("order-2", UnlockOf("fix-orphaned-lock")), /*front=*/true);
  counter.Put(UnlockOf("fix-orphaned-lock"), /*front=*/true);
  CHECK(counter.Plan() == "drop, as there is no lock that it could release\nunlock\n");
  counter.Finish();
  CHECK_FALSE(counter.state.lock);
  counter.state.lock = EntityLock{"", "", "S"};  // the owner is purged
  counter.Put(Signal("client"));
  CHECK(counter.Plan() == "");
  counter.Put(UnlockOf("S"), /*front=*/true);
  CHECK(counter.Plan() == "unlock\nrun client\n");
}

TEST_CASE("lock_and_limits: no barrier beyond what a batch takes") {
  Entity counter;
  counter.batch_limits.operations_max = 1;
  counter.Put(Signal("a"));
  counter.Put(Signal("b"));
  counter.Put(LockOf("S"));
  CHECK(counter.Plan() == "run a\n");
  counter.Finish(Results("1", {Ok()}));
  CHECK(counter.Plan() == "run b\nbarrier S\n");
}

}  // namespace dt::entity
