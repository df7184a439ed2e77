// Which operations are tried while others wait for a kept lock, and how much time that may take. No
// database is needed.
#include "storage/postgres/blocked_operations.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "storage/postgres/suspect_hubs.h"
#include "tests/support/catch.h"

namespace dt::postgres {
namespace {

struct Named : Operation {
  Named(std::string its_name, uint64_t key) : Operation(nullptr), name(std::move(its_name)) {
    order_key = key;
  }
  void Fail(absl::Status) override {}
  std::string name;
};

std::unique_ptr<Operation> Make(const std::string& name, uint64_t key) {
  return std::make_unique<Named>(name, key);
}

std::string NameOf(const std::unique_ptr<Operation>& operation) {
  return operation == nullptr ? "none" : static_cast<const Named&>(*operation).name;
}

std::vector<std::string> NamesOf(const Batch& batch) {
  std::vector<std::string> names;
  for (const std::unique_ptr<Operation>& operation : batch) names.push_back(NameOf(operation));
  return names;
}

absl::Time At(int seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

void FollowBehind(BlockedOperations& blocked, const std::string& name, uint64_t key) {
  std::unique_ptr<Operation> operation = Make(name, key);
  CHECK(blocked.Follow(operation));
}

TEST_CASE("blocked_operations_are_tried_when_they_are_due_and_keep_their_order") {
  BlockedOperations blocked;
  blocked.Add(Make("a1", 1), At(20));
  blocked.Add(Make("b1", 2), At(10));
  FollowBehind(blocked, "a2", 1);
  FollowBehind(blocked, "a3", 1);
  std::unique_ptr<Operation> other = Make("c1", 3);
  CHECK_FALSE(blocked.Follow(other));
  CHECK(blocked.next_due() == At(10));
  CHECK(blocked.TakeDue(At(9)) == nullptr);

  CHECK(NameOf(blocked.TakeDue(At(10))) == "b1");
  CHECK(blocked.TakeFollowers().empty());
  // It is still locked the first time, and those behind it go on waiting, also one that comes now.
  std::unique_ptr<Operation> first = blocked.TakeDue(At(20));
  FollowBehind(blocked, "a4", 1);
  CHECK(blocked.next_due() == absl::InfiniteFuture());
  blocked.Add(std::move(first), At(30));
  CHECK(blocked.TakeFollowers().empty());
  CHECK(NameOf(blocked.TakeDue(At(30))) == "a1");
  CHECK(NamesOf(blocked.TakeFollowers()) == std::vector<std::string>{"a2", "a3", "a4"});
  CHECK(blocked.empty());
}

TEST_CASE("blocked_operations_without_an_order_wait_for_none_of_them") {
  BlockedOperations blocked;
  blocked.Add(Make("x", 0), At(1));
  blocked.Add(Make("y", 0), At(2));
  std::unique_ptr<Operation> other = Make("z", 0);
  CHECK_FALSE(blocked.Follow(other));
  CHECK(NameOf(blocked.TakeDue(At(5))) == "x");
  CHECK(blocked.TakeFollowers().empty());
  CHECK(NamesOf(blocked.TakeAll()) == std::vector<std::string>{"y"});
  CHECK(blocked.empty());
}

TEST_CASE("suspect_hub_rests_for_what_its_locks_cost_and_others_do_not") {
  SuspectHubs suspects(absl::Seconds(5), 19);
  suspects.Charge(1, absl::Seconds(1), At(0));  // not suspect: nothing happens
  CHECK(suspects.RestsUntil(1) == absl::InfinitePast());
  suspects.Note(1, At(0));
  suspects.Charge(1, absl::Milliseconds(100), At(1));
  CHECK(suspects.RestsUntil(1) == At(1) + absl::Milliseconds(1900));
  CHECK(suspects.RestsUntil(2) == absl::InfinitePast());
  CHECK_FALSE(suspects.IsSuspect(2));
  suspects.Forget(At(4));
  suspects.Note(1, At(4));
  suspects.Forget(At(8));
  CHECK(suspects.IsSuspect(1));
  suspects.Forget(At(9));
  CHECK_FALSE(suspects.IsSuspect(1));
}

}  // namespace
}  // namespace dt::postgres
