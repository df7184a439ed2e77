// Batches of entities as the dispatcher sees them: one at a time, lost, refused, failed, starved.
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/dispatch/entity_fixture.h"

namespace dt::testing {
namespace {

using Verb = FaultStore::Verb;

int OperationsOf(const WorkItem& item) { return item.entityrequestv2().operationrequests_size(); }

// A stream for entities of these names only.
dispatch::StreamOptions OnlyEntities(NameFilters filters, int entities_max = 0) {
  dispatch::StreamOptions options;
  options.orchestration_filters = std::vector<NameFilter>{};
  options.activity_filters = std::vector<NameFilter>{};
  options.entity_filters = std::move(filters);
  options.entities_max = entities_max;
  return options;
}
dispatch::StreamOptions NoEntities() {
  dispatch::StreamOptions options;
  options.entity_filters = std::vector<NameFilter>{};
  return options;
}

TEST_CASE("entity_one_batch what comes while a batch is at a worker is the next batch") {
  OneDaemon one;
  const Functions functions = EntityFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Signal(one.hub, "@counter@a", "add", "1");
  one.daemon.Settle();
  REQUIRE(stream.sink->waiting() == 1);
  for (int i = 0; i < 4; ++i) one.daemon.Signal(one.hub, "@Counter@a", "add", "10");
  one.Pass(absl::Seconds(1));
  REQUIRE(stream.sink->waiting() == 1);
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  const WorkItem next = stream.sink->Take().value();
  CHECK(OperationsOf(next) == 4);
  CHECK(next.entityrequestv2().entitystate().value() == "1");
  one.daemon.Answer(one.hub, RunBatch(functions, next));
  one.daemon.Settle();
  CHECK(StateOf(one, "@counter@a") == "41");
}

TEST_CASE("entity_batch_limit a long inbox comes in batches, in order") {
  dispatch::DispatchLimits limits;
  limits.entity_operations_max = 3;
  OneDaemon one(limits);
  const Functions functions = EntityFunctions(one.clock);
  for (int i = 0; i < 8; ++i) one.daemon.Signal(one.hub, "@list@a", "add", absl::StrCat(i));
  one.daemon.Settle();
  const FakeStream stream = one.daemon.Open(one.hub);
  std::vector<int> sizes;
  one.daemon.Settle();
  while (stream.sink->waiting() > 0) {
    const WorkItem item = stream.sink->Take().value();
    sizes.push_back(OperationsOf(item));
    one.daemon.Answer(one.hub, RunBatch(functions, item));
    one.daemon.Settle();
  }
  CHECK(sizes == std::vector<int>{3, 3, 2});
  CHECK(StateOf(one, "@list@a") == "01234567");
}

TEST_CASE("entity_stream_drop a lost batch goes to another stream at once, and by its hold") {
  dispatch::DispatchLimits limits;
  limits.entity_hold_max = absl::Minutes(1);
  OneDaemon one(limits);
  const Functions functions = EntityFunctions(one.clock);
  const FakeStream first = one.daemon.Open(one.hub);
  one.daemon.Signal(one.hub, "@counter@a", "add", "1");
  one.daemon.Settle();
  const WorkItem lost = first.sink->Take().value();
  const FakeStream second = one.daemon.Open(one.hub);
  one.daemon.Close(first);
  one.daemon.Settle();
  const WorkItem silent = second.sink->Take().value();
  CHECK(silent.completiontoken() != lost.completiontoken());
  std::optional<absl::Status> answer;
  one.daemon.Answer(one.hub, RunBatch(functions, lost), &answer);
  one.daemon.Settle();
  CHECK(answer == absl::OkStatus());
  CHECK(StateOf(one, "@counter@a") == "");
  one.Pass(absl::Seconds(70), absl::Seconds(1));
  REQUIRE(second.sink->waiting() == 1);
  one.daemon.Work(second, functions);
  one.daemon.Settle();
  one.daemon.Answer(one.hub, RunBatch(functions, silent));
  one.daemon.Settle();
  CHECK(StateOf(one, "@counter@a") == "1");
}

TEST_CASE(
    "poison_entity callers of a batch that no worker survives get failures, the state stays") {
  dispatch::DispatchLimits limits;
  limits.lost_leases_max = 3;
  OneDaemon one(limits);
  const Functions functions = EntityFunctions(one.clock);
  const FakeStream good = one.daemon.Open(one.hub);
  one.daemon.Signal(one.hub, "@counter@a", "add", "5");
  one.daemon.RunWorkers({good}, functions);
  one.daemon.Close(good);
  const FakeStream orchestrator = one.daemon.Open(one.hub, NoEntities());
  one.daemon.Start(one.hub, "c", "CallAdd", "@counter@a");
  int dispatches = 0;
  for (int i = 0; i < 10; ++i) {
    const FakeStream stream = one.daemon.Open(one.hub, OnlyEntities(std::nullopt));
    one.daemon.RunWorkers({orchestrator}, functions);
    for (int waited = 0; waited < 200 && stream.sink->waiting() == 0; ++waited) {
      one.Pass(absl::Milliseconds(100));
    }
    dispatches += static_cast<int>(stream.sink->waiting());
    one.daemon.Close(stream);
    one.daemon.RunWorkers({orchestrator}, functions);
  }
  CHECK(dispatches == 4);
  CHECK(one.Output("c") == "!PoisonMessage");
  CHECK(StateOf(one, "@counter@a") == "5");
}

TEST_CASE("batch_failure_back_off a worker that fails as a whole is asked seldom, and counts") {
  dispatch::DispatchLimits limits;
  limits.lost_leases_max = 5;
  OneDaemon one(limits);
  Functions functions = EntityFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Signal(one.hub, "@counter@a", "add", "5");
  one.daemon.RunWorkers({stream}, functions);
  int batches = 0;
  functions.operations_run = [&batches](int) { return ++batches, 0; };
  one.daemon.Start(one.hub, "c", "CallAdd", "@counter@a");
  const auto pass = [&](absl::Duration time) {
    for (absl::Duration passed; passed < time; passed += absl::Milliseconds(100)) {
      one.Pass(absl::Milliseconds(100));
      one.daemon.RunWorkers({stream}, functions);
    }
  };
  pass(absl::Seconds(5));
  CHECK(batches >= 2);
  CHECK(batches <= 4);
  CHECK(StateOf(one, "@counter@a") == "5");
  SECTION("the worker is mended") {
    functions.operations_run = nullptr;
    pass(absl::Minutes(1));
    CHECK(one.Output("c") == "6");
  }
  SECTION("it never is") {
    pass(absl::Minutes(3));
    CHECK(batches == 6);
    CHECK(one.Output("c") == "!PoisonMessage");
    CHECK(StateOf(one, "@counter@a") == "5");
  }
}

TEST_CASE("entity_given_back abandoned, or answered without the state: it comes again, and later") {
  dispatch::DispatchLimits limits;
  limits.lost_leases_max = 1;
  OneDaemon one(limits);
  const Functions functions = EntityFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Signal(one.hub, "@counter@a", "add", "1");
  one.daemon.Settle();
  const bool abandons = GENERATE(true, false);
  for (int i = 0; i < 4; ++i) {
    const WorkItem item = stream.sink->Take().value();
    if (abandons) {
      one.daemon.Abandon(one.hub, item);
    } else {
      EntityBatchResult result;
      result.set_completiontoken(item.completiontoken());
      result.set_requiresstate(true);
      one.daemon.Answer(one.hub, result);
    }
    one.Pass(absl::Milliseconds(500));
    CHECK(stream.sink->waiting() == 0);
    for (int waited = 0; waited < 200 && stream.sink->waiting() == 0; ++waited) {
      one.Pass(absl::Milliseconds(100));
    }
    REQUIRE(stream.sink->waiting() == 1);
  }
  one.daemon.RunWorkers({stream}, functions);
  CHECK(StateOf(one, "@counter@a") == "1");
}

TEST_CASE("entity_turns_fair an entity with a long inbox does not starve others of one credit") {
  dispatch::DispatchLimits limits;
  limits.entity_operations_max = 1;
  OneDaemon one(limits);
  const Functions functions = EntityFunctions(one.clock);
  for (int i = 0; i < 50; ++i) one.daemon.Signal(one.hub, "@counter@hot", "add", "1");
  one.daemon.Settle();
  const FakeStream stream = one.daemon.Open(one.hub, OnlyEntities(std::nullopt, 1));
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.Pass(absl::Milliseconds(10), absl::Milliseconds(1));
  one.daemon.Signal(one.hub, "@counter@cold", "add", "1");
  int batches = 0;
  while (StateOf(one, "@counter@cold").empty() && batches < 50) {
    one.Pass(absl::Milliseconds(1), absl::Milliseconds(1));
    if (one.daemon.Work(stream, functions)) ++batches;
  }
  CHECK(batches <= 4);
}

TEST_CASE("entity_filters batches go to the streams that accept the name of their entity") {
  OneDaemon one;
  const FakeStream none = one.daemon.Open(one.hub, NoEntities());
  const FakeStream other = one.daemon.Open(one.hub, OnlyEntities({{{"list", {}}}}));
  one.daemon.Signal(one.hub, "@COUNTER@a", "add", "1");
  one.Pass(absl::Seconds(10));
  CHECK(none.sink->waiting() + other.sink->waiting() == 0);
  CHECK(one.database.Count().leased_instances == 0);
  const FakeStream late = one.daemon.Open(one.hub, OnlyEntities({{{"counter", {}}}}));
  one.daemon.Settle();
  CHECK(late.sink->waiting() == 1);
}

TEST_CASE("entity_removed nothing is left of one without a state") {
  OneDaemon one;
  const Functions functions = EntityFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Signal(one.hub, "@list@a", "add", "");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.database.Count().live == 0);
  CHECK(one.daemon.dispatcher().Count().residents == 0);
  one.daemon.Signal(one.hub, "@list@a", "add", "x");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(StateOf(one, "@list@a") == "x");
}

TEST_CASE("entity_stale_token a result that matches nothing is answered, and changes nothing") {
  OneDaemon one;
  const Functions functions = EntityFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Signal(one.hub, "@counter@a", "add", "1");
  one.daemon.Settle();
  const WorkItem item = stream.sink->Take().value();
  EntityBatchResult result = RunBatch(functions, item);
  const std::string token = item.completiontoken();
  const HubId other = *one.database.ResolveHub("other", true);
  for (const auto& [hub, bad] : std::vector<std::pair<HubId, std::string>>{
           {one.hub, ""}, {one.hub, "nonsense"}, {one.hub, token + "0"}, {other, token}}) {
    std::optional<absl::Status> answer;
    result.set_completiontoken(bad);
    one.daemon.Answer(hub, result, &answer);
    one.daemon.Settle();
    CHECK(answer == absl::OkStatus());
  }
  CHECK(StateOf(one, "@counter@a") == "");
  result.set_completiontoken(token);
  for (int i = 0; i < 2; ++i) {  // the second one is stale
    one.daemon.Answer(one.hub, result);
    one.daemon.Settle();
    CHECK(StateOf(one, "@counter@a") == "1");
  }
  one.daemon.Abandon(one.hub, item);
  one.daemon.Settle();
}

TEST_CASE("entity_drain what is at workers ends, all else is given back") {
  OneDaemon one;
  const Functions functions = EntityFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub, OnlyEntities(std::nullopt, 1));
  one.daemon.Signal(one.hub, "@counter@a", "add", "1");
  one.daemon.Signal(one.hub, "@counter@b", "add", "1");
  one.daemon.Settle();
  one.daemon.Signal(one.hub, "@counter@a", "add", "1");
  one.daemon.Settle();
  one.daemon.Post(dispatch::DrainBegun{});
  one.daemon.Settle();
  CHECK(one.database.Count().leased_instances == 1);
  one.daemon.RunWorkers({stream}, functions);
  CHECK(StateOf(one, "@counter@a") == "1");
  CHECK(one.database.Count().leased_instances == 0);
  CHECK(one.database.Count().messages == 2);
  one.daemon.Post(dispatch::DrainEnded{});
  one.daemon.Settle();
}

// Whatever checkpoint fails, before or after it was applied: each operation has its effect once.
TEST_CASE(
    "entity_commit_unknown every checkpoint of a critical section may fail or lose its answer") {
  const int failing = GENERATE(range(0, 12));
  const bool applied = GENERATE(true, false);
  CAPTURE(failing, applied);
  OneDaemon one;
  const Functions functions = EntityFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "o", "LockAdd", "@counter@a,@counter@b");
  for (int i = 0; i < 60; ++i) {
    if (i == failing) {
      one.faults.FailNext(Verb::kCheckpoint, absl::UnavailableError("lost"), applied);
    }
    one.daemon.Settle();
    if (i == 3) one.daemon.Signal(one.hub, "@counter@a", "add", "10");
    if (i == 3) one.daemon.Raise(one.hub, "o", "go", "");
    if (!one.daemon.Work(stream, functions)) one.Pass(absl::Seconds(1));
  }
  CHECK(one.Output("o") == "1,1");
  CHECK(StateOf(one, "@counter@a") == "11");
  CHECK(StateOf(one, "@counter@b") == "1");
  CHECK(one.database.Count().messages == 0);
  CHECK(one.database.Count().live == 2);
  CHECK(LockedBy(one, "@counter@a") == "");
}

}  // namespace
}  // namespace dt::testing
