// Long histories: what a turn of a resident costs, and who gets a large history (RULES.md 1.17,
// 3.16).
#include "absl/strings/str_cat.h"
#include "tests/dispatch/fixture.h"
#include "tests/support/log_capture.h"

namespace dt::testing {
namespace {

dispatch::StreamOptions Streaming() {
  dispatch::StreamOptions options;
  options.history_streaming = true;
  return options;
}

// Schedules the next activity whenever one is done, and looks at newEvents only: as a worker that
// caches what it has replayed.
struct LongChain {
  explicit LongChain(dispatch::StreamOptions options, dispatch::DispatchLimits limits = {})
      : one(std::move(limits)), stream(one.daemon.Open(one.hub, std::move(options))) {
    one.daemon.Start(one.hub, "long", "Long", "");
    one.daemon.Settle();
  }

  // One turn, which schedules an activity, and that activity. Returns the request of the turn.
  OrchestratorRequest Step(const std::string& result = "ok") {
    const WorkItem turn = stream.sink->Take().value();
    OrchestratorResponse response;
    response.set_instanceid("long");
    response.set_completiontoken(turn.completiontoken());
    OrchestratorAction* action = response.add_actions();
    action->set_id(++last_id);
    action->mutable_scheduletask()->set_name("Echo");
    one.daemon.Answer(one.hub, response);
    one.daemon.Settle();
    const WorkItem task = stream.sink->Take().value();
    ActivityResponse done;
    done.set_instanceid("long");
    done.set_taskid(task.activityrequest().taskid());
    done.set_completiontoken(task.completiontoken());
    done.mutable_result()->set_value(result);
    one.daemon.Answer(one.hub, done);
    one.daemon.Settle();
    return turn.orchestratorrequest();
  }

  OneDaemon one;
  FakeStream stream;
  int last_id = 0;
};

TEST_CASE("history_20000_events a resident's turn reads nothing and sends only what is new") {
  dispatch::DispatchLimits limits;
  limits.history_streaming_from_bytes = 10'000;
  LongChain chain(Streaming(), limits);
  // Until the history is streamed; from then on every item is as small as the first of these.
  while (!chain.Step().requireshistorystreaming()) {
  }
  const int64_t claims = chain.one.database.Count().claims;
  size_t largest = 0;
  int events = 0;
  for (; chain.last_id < 6667; ++events) {
    const OrchestratorRequest request = chain.Step();
    REQUIRE(request.requireshistorystreaming());
    REQUIRE(request.pastevents_size() == 0);
    REQUIRE(request.newevents_size() == 2);
    largest = std::max(largest, request.ByteSizeLong());
  }
  CHECK(largest < 300);
  // Time stands still here, so no poll is due: a claim would be one that the turns have caused.
  CHECK(chain.one.database.Count().claims == claims);
  CHECK(chain.one.daemon.dispatcher().Count().residents == 1);

  // The whole history is there for who asks, as few slices.
  const WorkItem item = chain.stream.sink->Take().value();
  std::vector<HistoryChunk> slices;
  chain.one.daemon.Post(dispatch::HistoryAsked{
      chain.one.hub, "long", item.orchestratorrequest().executionid().value(),
      [&slices](absl::StatusOr<std::vector<HistoryChunk>> chunks) { slices = *chunks; }});
  chain.one.daemon.Settle();
  CHECK(slices.size() < 30);
  OrchestratorRequest past;
  std::string bytes;
  for (const HistoryChunk& slice : slices) bytes += *slice.events;
  REQUIRE(past.ParseFromString(bytes));
  CHECK(past.pastevents_size() == 3 * 6667);
}

TEST_CASE("history_4mib a worker that takes nothing apart gets all of it, with a warning") {
  LogCapture log;
  LongChain chain(dispatch::StreamOptions{});
  const std::string large(600 << 10, 'x');
  size_t bytes = 0;
  int turns = 0;
  for (; bytes < 6 << 20; ++turns) {
    const OrchestratorRequest request = chain.Step(large);
    CHECK_FALSE(request.requireshistorystreaming());
    CHECK(request.pastevents_size() == (turns == 0 ? 0 : 3 * turns));
    bytes = request.ByteSizeLong();
  }
  CHECK(log.Count("instance long: its work item has ") == 1);

  // One that can take it apart gets it, as long as it has room.
  const FakeStream streaming = chain.one.daemon.Open(chain.one.hub, Streaming());
  CHECK(chain.stream.sink->waiting() == 1);
  chain.one.daemon.Abandon(chain.one.hub, chain.stream.sink->Take().value());
  chain.one.daemon.Settle();
  REQUIRE(streaming.sink->waiting() == 1);
  const WorkItem item = streaming.sink->Take().value();
  CHECK(item.orchestratorrequest().requireshistorystreaming());
  CHECK(item.orchestratorrequest().pastevents_size() == 0);
}

TEST_CASE("history_prefers_streaming a large history goes to the stream that takes it apart") {
  dispatch::StreamOptions one_turn;
  one_turn.orchestrations_max = 1;
  LongChain chain(one_turn);
  // The worker that streams is the busier one: only size makes it the better one.
  const FakeStream streaming = chain.one.daemon.Open(chain.one.hub, Streaming());
  for (int i = 0; i < 4; ++i) chain.one.daemon.Start(chain.one.hub, absl::StrCat(i), "Other", "");
  chain.one.daemon.Settle();
  REQUIRE(streaming.sink->waiting() == 4);
  chain.Step(std::string(1 << 20, 'x'));
  CHECK(chain.stream.sink->waiting() == 1);  // the large result is no history yet
  CHECK(streaming.sink->waiting() == 4);
  chain.Step();
  CHECK(chain.stream.sink->waiting() == 0);
  CHECK(streaming.sink->waiting() == 5);
}

}  // namespace
}  // namespace dt::testing
