// Work items that a worker may refuse for their size: last, alone, charged alone, given up (1.17).
#include "server/dispatch/large_items.h"

#include "absl/strings/match.h"
#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

const std::string& FiveMebibytes() {
  static const auto* const text = new std::string(5 << 20, '5');
  return *text;
}

// What waits on the stream: the ids of turns, and of activities those of their instances.
std::vector<std::string> TakenFrom(const FakeStream& stream, FakeDaemon& daemon,
                                   const Functions* functions) {
  std::vector<std::string> ids;
  while (const std::optional<WorkItem> item = stream.sink->Take()) {
    if (item->has_orchestratorrequest()) {
      ids.push_back(item->orchestratorrequest().instanceid());
      if (functions != nullptr) daemon.Answer(stream.hub, RunTurn(*functions, *item));
    } else {
      ids.push_back(item->activityrequest().orchestrationinstance().instanceid());
      if (functions != nullptr) daemon.Answer(stream.hub, RunActivity(*functions, *item));
    }
  }
  daemon.Settle();
  return ids;
}

using Ids = std::vector<std::string>;

TEST_CASE("large_item_alone: it goes when nothing else is to do, and nothing beside it") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "a", "Listen", "");
  one.daemon.Start(one.hub, "large", "Listen", FiveMebibytes());
  one.daemon.Start(one.hub, "b", "Listen", "");
  one.daemon.Settle();
  CHECK(stream.sink->waiting() == 2);
  CHECK(TakenFrom(stream, one.daemon, &functions) == Ids{"a", "b"});
  CHECK(TakenFrom(stream, one.daemon, nullptr) == Ids{"large"});
  one.daemon.Start(one.hub, "c", "Listen", "");
  one.daemon.Settle();
  CHECK(stream.sink->waiting() == 0);
  one.Pass(dispatch::LargeItems::kTrial);  // it has not ended its stream, so it is any other item
  CHECK(TakenFrom(stream, one.daemon, nullptr) == Ids{"c"});
}

TEST_CASE("large_item_taken: what a worker has taken once is not large for it any more") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "first", "Listen", FiveMebibytes());
  one.daemon.Settle();
  CHECK(TakenFrom(stream, one.daemon, &functions) == Ids{"first"});
  one.daemon.Start(one.hub, "second", "Listen", FiveMebibytes());
  one.daemon.Start(one.hub, "small", "Listen", "");
  one.daemon.Settle();
  CHECK(stream.sink->waiting() == 2);
}

TEST_CASE("large_item_overdue: a stream that always has something to do gets it after a minute") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "busy", "Chain", "1");
  one.daemon.Settle();
  one.daemon.Start(one.hub, "large", "Listen", FiveMebibytes());
  one.daemon.Settle();
  CHECK(TakenFrom(stream, one.daemon, nullptr) == Ids{"busy"});
  one.Pass(dispatch::LargeItems::kPatience - absl::Seconds(1), absl::Seconds(1));
  CHECK(stream.sink->waiting() == 0);
  one.Pass(absl::Seconds(2), absl::Seconds(1));
  CHECK(TakenFrom(stream, one.daemon, nullptr) == Ids{"large"});
}

// A worker whose stream ends at the large item again and again, while others are on it.
TEST_CASE("large_item_charged: only it is charged when its stream ends, and the others complete") {
  dispatch::DispatchLimits limits;
  limits.lost_leases_max = dispatch::LargeItems::kStreamsMax - 1;
  OneDaemon one(limits);
  Functions functions = SomeFunctions(one.clock);
  bool of_activity = false;
  SECTION("a turn") {}
  SECTION("an activity") { of_activity = true; }
  functions.orchestrators["Large"] = [](const Replay&, Actions& actions) {
    const auto result = actions.Task(1, "Echo", FiveMebibytes());
    if (result.has_value()) actions.Complete(*result);
  };
  FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "others", "FanOut", "3");
  one.daemon.Settle();
  CHECK(TakenFrom(stream, one.daemon, &functions) == Ids{"others"});
  CHECK(TakenFrom(stream, one.daemon, nullptr) == Ids{"others", "others", "others"});  // long ones
  if (of_activity) {
    one.daemon.Start(one.hub, "large", "Large", "");
    one.daemon.Settle();
    CHECK(TakenFrom(stream, one.daemon, &functions) == Ids{"large"});
  } else {
    one.daemon.Start(one.hub, "large", "Listen", FiveMebibytes());
    one.daemon.Settle();
  }
  for (int streams = 1; streams <= dispatch::LargeItems::kStreamsMax; ++streams) {
    INFO(streams);
    one.Pass(dispatch::LargeItems::kPatience + absl::Seconds(1), absl::Seconds(1));
    CHECK(TakenFrom(stream, one.daemon, nullptr) == Ids{"large"});
    one.daemon.Close(stream);
    stream = one.daemon.Open(one.hub);
    one.Pass(absl::Seconds(3), absl::Seconds(1));  // the back-off of what was lost twice
    if (streams == dispatch::LargeItems::kStreamsMax) break;
    CHECK(TakenFrom(stream, one.daemon, nullptr) == Ids{"others", "others", "others"});
  }
  const InstanceRow row = one.Row("large");
  if (of_activity) {
    // Its history is as large, for a worker that takes that.
    one.daemon.RunWorkers({stream}, functions);
    CHECK(one.Row("large").output == "!WorkItemTooLarge");
  } else {
    CHECK(row.status == RuntimeStatus::kFailed);
    TaskFailureDetails failure;
    REQUIRE(failure.ParseFromString(row.failure.value()));
    CHECK(failure.errortype() == "WorkItemTooLarge");
    CHECK(absl::StrContains(failure.errormessage(), "grpc.max_receive_message_length"));
  }
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("others") == "3");
}

}  // namespace
}  // namespace dt::testing
