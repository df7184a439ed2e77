// Which answers leave work for other daemons.
#include "storage/postgres/hints.h"

#include "tests/support/catch.h"

namespace dt::postgres {
namespace {

constexpr WorkerId kOwn = 7;
constexpr WorkerId kOther = 8;

Delivery DeliveredTo(LeaseToken holder) {
  Delivery delivery;
  delivery.lease_token = holder;
  return delivery;
}

TEST_CASE("hints: a message is work for others unless this daemon holds the instance") {
  const ClientMessage message;
  CHECK(LeavesWork(message, DeliveredTo(0), kOwn));
  CHECK(LeavesWork(message, DeliveredTo(MakeLeaseToken(kOther, 1)), kOwn));
  CHECK_FALSE(LeavesWork(message, DeliveredTo(MakeLeaseToken(kOwn, 1)), kOwn));
  Delivery refused = DeliveredTo(0);
  refused.outcome = DeliveryOutcome::kTerminal;
  CHECK_FALSE(LeavesWork(message, refused, kOwn));
}

TEST_CASE("hints: a new instance is work for others unless it was created leased") {
  NewInstance instance;
  CreateResult created;
  CHECK(LeavesWork(instance, created, kOwn));
  instance.lease_token = MakeLeaseToken(kOwn, 1);
  CHECK_FALSE(LeavesWork(instance, created, kOwn));
  created.parent_notice = DeliveredTo(MakeLeaseToken(kOther, 1));
  CHECK(LeavesWork(instance, created, kOwn));
  CreateResult exists;
  exists.outcome = CreateOutcome::kExists;
  instance.lease_token = 0;
  CHECK_FALSE(LeavesWork(instance, exists, kOwn));
}

TEST_CASE("hints: a checkpoint is silent while all it makes stays here") {
  Checkpoint checkpoint;
  CheckpointResult result;
  checkpoint.tasks.resize(1);
  checkpoint.tasks[0].lease_token = MakeLeaseToken(kOwn, 2);
  result.messages.push_back(DeliveredTo(MakeLeaseToken(kOwn, 1)));
  CHECK_FALSE(LeavesWork(checkpoint, result, kOwn));

  SECTION("a free task") {
    checkpoint.tasks[0].lease_token = 0;
    CHECK(LeavesWork(checkpoint, result, kOwn));
  }
  SECTION("a message for an instance held elsewhere") {
    result.messages[0] = DeliveredTo(MakeLeaseToken(kOther, 1));
    CHECK(LeavesWork(checkpoint, result, kOwn));
  }
  SECTION("a parent that nobody holds") {
    result.parent = DeliveredTo(0);
    CHECK(LeavesWork(checkpoint, result, kOwn));
  }
  SECTION("a free child") {
    checkpoint.children.resize(1);
    result.children.resize(1);
    CHECK(LeavesWork(checkpoint, result, kOwn));
  }
  SECTION("nothing at all when the lease was lost") {
    checkpoint.tasks[0].lease_token = 0;
    result.outcome = CheckpointOutcome::kLeaseLost;
    CHECK_FALSE(LeavesWork(checkpoint, result, kOwn));
  }
}

TEST_CASE("hints: what is given back at once is work for others") {
  CHECK(LeavesWork(InstanceRelease(), LeaseOutcome::kReleased, kOwn));
  CHECK_FALSE(LeavesWork(InstanceRelease(), LeaseOutcome::kLeaseLost, kOwn));
  TaskRelease later;
  later.delay = absl::Seconds(1);
  CHECK_FALSE(LeavesWork(later, LeaseOutcome::kReleased, kOwn));
}

}  // namespace
}  // namespace dt::postgres
