// What a hub's work may use of the daemon's memory, and what happens at the bound.
#include "absl/strings/str_cat.h"
#include "server/dispatch/fair_bytes.h"
#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

constexpr int64_t kWork = 4 << 20;
constexpr size_t kInput = 100'000;
constexpr int kStarts = 100;  // more than fits

dispatch::DispatchLimits SmallMemory() {
  dispatch::DispatchLimits limits;
  limits.work_bytes_max = kWork;
  limits.claim_bytes_max = kWork / 8;
  limits.response_bytes_max = kWork;
  limits.stream_items_default = 1000;
  return limits;
}

TEST_CASE("work_bytes_pure a hub has at most what is left for all others") {
  dispatch::FairBytes work(1000);
  int64_t one = 0;
  int64_t other = 0;
  CHECK(work.Room(one) == 1000);
  work.Add(one, 500);
  CHECK(work.Room(one) == 0);
  CHECK(work.Room(other) == 500);
  work.Add(other, 250);
  CHECK(work.Room(other) == 0);
  CHECK(work.Room(0) == 250);
  work.Add(one, -400);
  CHECK(work.Room(one) == 550);
  work.Add(one, 5000);  // one item may be larger than the room
  CHECK(work.Room(0) == 0);
  work.Add(one, -5100);
  CHECK(work.total() == 250);
  work.SetScarce(true);
  CHECK(work.Room(one) == 0);
}

TEST_CASE("work_bytes_registered claims of an earlier registration are not counted for ever") {
  OneDaemon one;
  one.daemon.Open(one.hub);
  one.daemon.Turn();  // claims are on their way
  REQUIRE(one.daemon.dispatcher().Count().work_bytes > 0);
  one.daemon.Post(dispatch::Registered{one.store.worker()});
  one.daemon.Settle();
  CHECK(one.daemon.dispatcher().Count().work_bytes == 0);
}

TEST_CASE("work_bytes_unread work that lies at workers is bounded, and other hubs are served") {
  OneDaemon one(SmallMemory());
  const Functions functions = SomeFunctions(one.clock);
  const HubId other = *one.database.ResolveHub("other", true);
  const FakeStream unread = one.daemon.Open(one.hub);
  const FakeStream other_stream = one.daemon.Open(other);
  one.daemon.Settle();
  for (int i = 0; i < kStarts; ++i) {
    one.daemon.Start(one.hub, absl::StrCat("l", i), "Listen", std::string(kInput, 'x'));
  }
  one.Pass(absl::Seconds(5));
  // A hub has half of the memory at most, and what one claim brings beyond its room.
  const auto held = one.daemon.dispatcher().Count();
  CHECK(held.work_bytes > kWork / 4);
  CHECK(held.work_bytes <= kWork / 2 + 2 * static_cast<int64_t>(kInput));
  CHECK(held.items_in_flight < kStarts / 2);
  one.daemon.Start(other, "c", "Chain", "2");
  one.Pass(absl::Seconds(1));
  one.daemon.RunWorkers({other_stream}, functions);
  CHECK(one.database.ReadInstance(other, "c", true)->output == "1,2");
  // It goes on when the worker reads and answers.
  for (int i = 0; i < 50; ++i) {
    one.daemon.RunWorkers({unread}, functions);
    one.Pass(absl::Milliseconds(200));
  }
  for (int i = 0; i < kStarts; ++i) {
    INFO(i);
    CHECK(one.Row(absl::StrCat("l", i)).status == RuntimeStatus::kRunning);
  }
}

TEST_CASE("work_bytes_awakened instances that wait idle do not all become work at once") {
  dispatch::DispatchLimits limits = SmallMemory();
  limits.resident_linger = absl::Hours(1);
  OneDaemon one(limits);
  const Functions functions = SomeFunctions(one.clock);
  const HubId other = *one.database.ResolveHub("other", true);
  const FakeStream stream = one.daemon.Open(one.hub);
  const FakeStream other_stream = one.daemon.Open(other);
  for (int i = 0; i < kStarts; ++i) {
    one.daemon.Start(one.hub, absl::StrCat("l", i), "Listen", std::string(kInput, 'x'));
    one.daemon.RunWorkers({stream}, functions);
  }
  REQUIRE(one.daemon.dispatcher().Count().resident_bytes > 2 * kWork);
  REQUIRE(one.daemon.dispatcher().Count().work_bytes == 0);
  for (int i = 0; i < kStarts; ++i) one.daemon.Raise(one.hub, absl::StrCat("l", i), "go", "x");
  one.Pass(absl::Seconds(1));
  CHECK(one.daemon.dispatcher().Count().work_bytes <= kWork / 2 + 2 * static_cast<int64_t>(kInput));
  one.daemon.Start(other, "c", "Chain", "2");
  one.Pass(absl::Seconds(1));
  one.daemon.RunWorkers({other_stream}, functions);
  CHECK(one.database.ReadInstance(other, "c", true)->output == "1,2");
  for (int i = 0; i < 50; ++i) {
    one.daemon.RunWorkers({stream}, functions);
    one.Pass(absl::Milliseconds(200));
  }
  for (int i = 0; i < kStarts; ++i) {
    INFO(i);
    CHECK(one.Output(absl::StrCat("l", i)) == "x");
  }
}

TEST_CASE("work_bytes_tasks activities count as turns do") {
  OneDaemon one(SmallMemory());
  Functions functions = SomeFunctions(one.clock);
  functions.orchestrators["Large"] = [](const Replay&, Actions& actions) {
    for (int id = 1; id <= kStarts; ++id) actions.Task(id, "Echo", std::string(kInput, 'x'));
  };
  dispatch::StreamOptions turns_only;
  turns_only.activity_filters.emplace();
  const FakeStream turns = one.daemon.Open(one.hub, turns_only);
  one.daemon.Start(one.hub, "l", "Large", "");
  one.daemon.RunWorkers({turns}, functions);
  one.Pass(absl::Seconds(10));  // the instance is not held any more
  one.daemon.Close(turns);
  REQUIRE(one.database.Count().tasks == kStarts);
  dispatch::StreamOptions tasks_only;
  tasks_only.orchestration_filters.emplace();
  const FakeStream tasks = one.daemon.Open(one.hub, tasks_only);
  one.Pass(absl::Seconds(5));
  const auto held = one.daemon.dispatcher().Count();
  CHECK(held.held_tasks > 0);
  CHECK(held.work_bytes <= kWork / 2 + 2 * static_cast<int64_t>(kInput));
  for (int i = 0; i < 50; ++i) {
    one.daemon.RunWorkers({tasks}, functions);
    one.Pass(absl::Milliseconds(200));
  }
  CHECK(one.database.Count().tasks == 0);
  CHECK(one.daemon.dispatcher().Count().work_bytes == 0);
}

TEST_CASE("work_bytes_parts answers in parts that never end are refused, and the turn is left") {
  OneDaemon one(SmallMemory());
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "a", "Listen", "");
  one.daemon.Settle();
  const std::optional<WorkItem> item = stream.sink->Take();
  REQUIRE(item.has_value());
  OrchestratorResponse part;
  part.set_instanceid("a");
  part.set_completiontoken(item->completiontoken());
  OrchestratorAction& action = *part.add_actions();
  action.set_id(1);
  action.mutable_scheduletask()->set_name("Echo");
  action.mutable_scheduletask()->mutable_input()->set_value(std::string(kInput, 'x'));
  std::optional<absl::Status> answer = absl::OkStatus();
  int parts = 0;
  while (answer->ok() && parts < 1000) {
    MakePart(part, parts++, /*last=*/false);
    one.daemon.Answer(one.hub, part, &answer);
    one.daemon.Settle();
    REQUIRE(answer.has_value());
  }
  CHECK(absl::IsResourceExhausted(*answer));
  CHECK(parts <= kWork / 2 / static_cast<int64_t>(kInput) + 2);
  CHECK(one.daemon.dispatcher().Count().work_bytes < static_cast<int64_t>(kInput));
  one.Pass(absl::Seconds(5));
  one.daemon.RunWorkers({stream}, functions);
  one.daemon.Raise(one.hub, "a", "go", "x");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("a") == "x");
}

TEST_CASE("work_bytes_scarce nothing is taken on while memory is scarce, and idle ones go") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "l", "Listen", "");
  one.daemon.RunWorkers({stream}, functions);
  REQUIRE(one.daemon.dispatcher().Count().residents == 1);
  one.daemon.Post(dispatch::MemoryScarce{true});
  one.daemon.Settle();
  CHECK(one.daemon.dispatcher().Count().residents == 0);
  one.daemon.Start(one.hub, "c", "Chain", "2");
  one.Pass(absl::Seconds(10));
  CHECK(one.daemon.dispatcher().Count().residents == 0);
  CHECK(one.Row("c").status == RuntimeStatus::kPending);
  one.daemon.Post(dispatch::MemoryScarce{false});
  one.Pass(absl::Seconds(4));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("c") == "1,2");
}

TEST_CASE(
    "work_bytes_scarce_unread streams that are not read end when memory is scarce, others stay") {
  OneDaemon one;
  const FakeStream unread = one.daemon.Open(one.hub);
  const HubId other = *one.database.ResolveHub("other", true);
  const FakeStream small = one.daemon.Open(other);
  one.daemon.Start(one.hub, "l", "Listen", std::string(2 << 20, 'x'));
  one.daemon.Start(other, "l", "Listen", "");
  one.daemon.Settle();
  REQUIRE(unread.sink->UnreadBytes() > 2 << 20);
  REQUIRE(small.sink->UnreadBytes() > 0);
  one.daemon.Post(dispatch::MemoryScarce{true});
  one.daemon.Settle();
  CHECK(absl::IsResourceExhausted(unread.sink->finished()));
  CHECK(small.sink->finished().ok());
  CHECK(one.daemon.dispatcher().Count().items_in_flight == 1);
  CHECK(one.daemon.dispatcher().Count().work_bytes < 100'000);
}

TEST_CASE("claims_too_slow a claim that takes too long is followed by smaller ones") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Settle();
  const ClaimRequest before = one.faults.last_turn_claim();
  one.faults.Break(FaultStore::Verb::kClaim, absl::DeadlineExceededError("too long"));
  one.Pass(absl::Minutes(1));
  CHECK(one.faults.last_turn_claim().max_total_bytes < before.max_total_bytes / 100);
  CHECK(one.faults.last_turn_claim().groups.at(0).max_items == 1);
  one.faults.Mend(FaultStore::Verb::kClaim);
  one.Pass(absl::Minutes(1));
  CHECK(one.faults.last_turn_claim().max_total_bytes == before.max_total_bytes);
  CHECK(one.faults.last_turn_claim().groups.at(0).max_items == before.groups.at(0).max_items);
}

}  // namespace
}  // namespace dt::testing
