// First turns that go to a worker before their instance is created
// (server/dispatch/starts.h).
#include "absl/strings/str_cat.h"
#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

// Ids as SDKs make them; those that people choose are not started early.
constexpr char kChain[] = "0f8fad5bd9cb469fa16570867728950e";
constexpr char kListen[] = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

TEST_CASE("early_start the first turn runs while its instance is created") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Settle();
  one.daemon.Start(one.hub, kChain, "Chain", "2");
  one.daemon.Turn();  // without the store
  const WorkItem item = stream.sink->Take().value();
  CHECK(one.database.Count().live == 0);
  std::optional<absl::Status> first, second;
  one.daemon.Answer(one.hub, RunTurn(functions, item), &first);
  one.daemon.Answer(one.hub, RunTurn(functions, item), &second);
  one.daemon.Turn();
  CHECK(!first.has_value());  // it waits for the creation
  CHECK(second == absl::OkStatus());
  one.daemon.Settle();
  CHECK(first == absl::OkStatus());
  CHECK(one.database.Count().checkpoints == 1);
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output(kChain) == "1,2");
  CHECK(one.daemon.dispatcher().Count().items_in_flight == 0);
}

TEST_CASE("early_start_order instances are offered in the order of their starts") {
  OneDaemon one;
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Settle();
  const std::vector<std::string> ids = {std::string(32, 'a'), std::string(32, 'b'),
                                        std::string(32, 'c')};
  for (const std::string& id : ids) one.daemon.Start(one.hub, id, "Chain", "1");
  one.daemon.Start(one.hub, "by hand", "Chain", "1");
  one.daemon.Turn();
  REQUIRE(stream.sink->waiting() == 3);
  for (const std::string& id : ids) {
    CHECK(stream.sink->Take().value().orchestratorrequest().instanceid() == id);
  }
}

TEST_CASE("early_start_answered_later the token stands when the instance has its key") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Settle();
  one.daemon.Start(one.hub, kChain, "Chain", "1");
  one.daemon.Turn();
  const WorkItem item = stream.sink->Take().value();
  one.daemon.Settle();
  const bool gives_back = GENERATE(false, true);
  if (gives_back) {
    one.daemon.Post(dispatch::Abandoned{dispatch::WorkType::kTurn, one.hub, item.completiontoken(),
                                        [](const absl::Status&) {}});
    one.Pass(absl::Minutes(1));
  } else {
    one.daemon.Answer(one.hub, RunTurn(functions, item));
  }
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output(kChain) == "1");
}

TEST_CASE("early_start_refused a turn of what exists already changes nothing") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, kListen, "Listen", "");
  one.daemon.RunWorkers({stream}, functions);
  one.Pass(absl::Minutes(5), absl::Seconds(1));  // it is not held any more
  REQUIRE(one.daemon.dispatcher().Count().residents == 0);
  absl::StatusOr<CreateResult> answer;
  one.daemon.Start(one.hub, kListen, "Chain", "1", &answer);
  one.daemon.Turn();
  const WorkItem item = stream.sink->Take().value();
  std::optional<absl::Status> answered;
  one.daemon.Answer(one.hub, RunTurn(functions, item), &answered);
  one.daemon.Settle();
  REQUIRE(answer.ok());
  CHECK(answer->outcome == CreateOutcome::kExists);
  CHECK(answered == absl::OkStatus());
  CHECK(one.Row(kListen).name == "Listen");
  CHECK(one.daemon.dispatcher().Count().items_in_flight == 0);
  // The next ones wait for their creation.
  one.daemon.Start(one.hub, kListen, "Chain", "1", &answer);
  one.daemon.Settle();
  CHECK(stream.sink->waiting() == 0);
  one.daemon.Start(one.hub, kChain, "Chain", "1");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output(kChain) == "1");
}

TEST_CASE("early_start_fails nothing is left of a creation that failed, or was not known to work") {
  OneDaemon one;
  const bool applied = GENERATE(false, true);
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Settle();
  one.faults.FailNext(FaultStore::Verb::kCreate, absl::UnavailableError("away"), applied);
  absl::StatusOr<CreateResult> answer;
  one.daemon.Start(one.hub, kChain, "Chain", "1", &answer);
  one.daemon.Turn();
  REQUIRE(stream.sink->Take().has_value());
  one.daemon.Settle();
  CHECK(absl::IsUnavailable(answer.status()));
  CHECK(one.daemon.dispatcher().Count().residents == 0);
  CHECK(one.daemon.dispatcher().Count().items_in_flight == 0);
  if (!applied) return;
  one.Pass(absl::Seconds(10));  // what the lost answer told is found under its token
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.database.ReadInstance(one.hub, kChain, true)->output == "1");
}

TEST_CASE("early_start_stream_lost another worker gets it when it is created") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream first = one.daemon.Open(one.hub);
  one.daemon.Settle();
  one.daemon.Start(one.hub, kChain, "Chain", "1");
  one.daemon.Turn();
  REQUIRE(first.sink->waiting() == 1);
  const bool answered = GENERATE(false, true);
  if (answered) one.daemon.Work(first, functions);
  const FakeStream second = one.daemon.Open(one.hub);
  one.daemon.Close(first);
  one.daemon.Turn();
  one.daemon.RunWorkers({second}, functions);
  CHECK(one.Output(kChain) == "1");
  CHECK(one.daemon.dispatcher().Count().items_in_flight == 0);
}

TEST_CASE("early_start_orphan no stream is left when it is created") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream first = one.daemon.Open(one.hub);
  one.daemon.Settle();
  one.daemon.Start(one.hub, kChain, "Chain", "1");
  one.daemon.Turn();
  one.daemon.Post(dispatch::Abandoned{dispatch::WorkType::kTurn, one.hub,
                                      first.sink->Take().value().completiontoken(),
                                      [](const absl::Status&) {}});
  one.daemon.Close(first);
  one.daemon.Settle();
  CHECK(one.database.Count().leased_instances == 0);
  const FakeStream second = one.daemon.Open(one.hub);
  one.Pass(absl::Seconds(5));
  one.daemon.RunWorkers({second}, functions);
  CHECK(one.Output(kChain) == "1");
}

TEST_CASE("early_start_abandoned it is forgotten, and comes back with its creation") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Settle();
  one.daemon.Start(one.hub, kChain, "Chain", "1");
  one.daemon.Turn();
  const WorkItem item = stream.sink->Take().value();
  one.daemon.Post(dispatch::Abandoned{dispatch::WorkType::kTurn, one.hub, item.completiontoken(),
                                      [](const absl::Status&) {}});
  one.daemon.Turn();
  CHECK(one.daemon.dispatcher().Count().residents == 0);
  CHECK(one.daemon.dispatcher().Count().items_in_flight == 0);
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output(kChain) == "1");
  CHECK(one.database.Count().leased_instances == 0);
}

TEST_CASE("early_start_event an event that overtakes the answer to the creation is not lost") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Settle();
  one.daemon.Start(one.hub, kListen, "Listen", "");
  one.daemon.Turn();
  one.daemon.Raise(one.hub, kListen, "go", "now");
  one.daemon.Work(stream, functions);
  one.daemon.RunWorkers({stream}, functions);
  one.Pass(absl::Seconds(5));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output(kListen) == "now");
}

TEST_CASE("early_start_drain what is being created while the daemon stops is given back") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Settle();
  one.daemon.Start(one.hub, kChain, "Chain", "1");
  one.daemon.Turn();
  const bool answered = GENERATE(false, true);
  if (answered) one.daemon.Work(stream, functions);
  one.daemon.Post(dispatch::DrainBegun{});
  one.daemon.Post(dispatch::DrainEnded{});
  one.daemon.Settle();
  CHECK(one.daemon.dispatcher().released());
  CHECK(one.database.Count().live == 1);
  CHECK(one.database.Count().leased_instances == 0);
  CHECK(one.database.Count().leased_tasks == 0);
}

}  // namespace
}  // namespace dt::testing
