// One turn: which messages, in which order, at which time (RULES.md 3.1-3.16).

#include "absl/container/flat_hash_set.h"
#include "server/orchestration/event_bytes.h"
#include "tests/orchestration/harness.h"
#include "tests/support/catch.h"

namespace dt::orchestration {

TEST_CASE("first_turn: a start, an activity, its result, the end") {
  Orchestration order(StartRequest("in"));
  CHECK(order.Request() == Text(R"(
      new OrchestratorStarted @1000
      new ExecutionStarted @1000 name="Order" input="in"
      )"));
  CHECK(order.Answer({Task(1, "Charge", "10")}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order" input="in"
      history TaskScheduled #1 @1000 name="Charge" input="10"
      task 1 Charge
      )"));
  order.At(1002);
  order.FinishTask(1, "ok");
  CHECK(order.Request() == Text(R"(
      past OrchestratorStarted @1000
      past ExecutionStarted @1000 name="Order" input="in"
      past TaskScheduled #1 @1000 name="Charge" input="10"
      new OrchestratorStarted @1002
      new TaskCompleted @1002 taskScheduledId=1 result="ok"
      )"));
  order.At(1003);
  CHECK(order.Answer({Completed("done")}) == Text(R"(
      history OrchestratorStarted @1002
      history TaskCompleted @1002 taskScheduledId=1 result="ok"
      history ExecutionCompleted @1003 orchestrationStatus=COMPLETED result="done"
      status COMPLETED output="done"
      ends
      )"));
}

TEST_CASE("timer_not_early: an event wakes the orchestration, not the timer of later") {
  Orchestration order;
  order.Run({Timer(1, 4600)});
  order.At(1010);
  order.Raise("go");
  CHECK(order.Request() == Text(R"(
      past OrchestratorStarted @1000
      past ExecutionStarted @1000 name="Order"
      past TimerCreated #1 @1000 fireAt=4600
      new OrchestratorStarted @1010
      new EventRaised @1010 name="go"
      )"));
  order.Answer({});
  order.At(4599.999999);
  CHECK_FALSE(order.has_work());
  order.At(4601);
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @4601
      history TimerFired @1000 fireAt=4600 timerId=1
      )"));
}

TEST_CASE("event_before_timer_order: an event raised before the timer was due comes first") {
  Orchestration order;
  order.Run({Timer(1, 1020)});
  order.At(1010);
  order.Raise("go");
  order.At(1030);
  order.Raise("late");
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1030
      history EventRaised @1010 name="go"
      history TimerFired @1000 fireAt=1020 timerId=1
      history EventRaised @1030 name="late"
      )"));
}

TEST_CASE("started_first_terminated_last: whatever the order of arrival") {
  Orchestration order;
  const NewMessage started{0, absl::InfinitePast(), order.inbox[0].event_type,
                           order.inbox[0].event};
  order.inbox.clear();
  order.Raise("a");
  order.Terminate("stop");
  order.Raise("b");
  order.Put(started);
  CHECK(order.Request() == Text(R"(
      new OrchestratorStarted @1000
      new ExecutionStarted @1000 name="Order"
      new EventRaised @1000 name="a"
      new EventRaised @1000 name="b"
      new ExecutionTerminated @1000 input="stop"
      )"));
}

TEST_CASE("monotonic_clock: the orchestrator's clock never runs back") {
  Orchestration order;
  order.Run({Timer(1, 1020)});
  order.At(990);  // the server's clock was set back
  order.Raise("a");
  order.inbox.back().visible_at = order.now();
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history EventRaised @990 name="a"
      )"));
  order.At(1021);
  order.Run({});
  order.At(1019);
  order.Raise("b");
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1021
      history EventRaised @1019 name="b"
      )"));
}

TEST_CASE("clock_after_fire_at: OrchestratorStarted is later than a delivered fireAt, cut to ms") {
  Orchestration order;
  order.Run({Timer(1, Seconds(1020, 999'999)), Timer(2, 1020), Timer(3, Seconds(1020, 1'000'000))});
  order.At(1020.000999);
  CHECK_FALSE(order.has_work());
  order.At(1020.001);
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1020.001
      history TimerFired @1000 fireAt=1020.000999999 timerId=1
      history TimerFired @1000 fireAt=1020 timerId=2
      )"));
  order.At(1020.0019);
  CHECK_FALSE(order.has_work());
  order.At(1020.002);
  CHECK(order.has_work());
}

TEST_CASE("clock_after_fire_at: also of a timer that an older daemon stored as due at once") {
  Orchestration order;
  order.Run({Timer(1, Seconds(1020, 500))});
  order.inbox[0].visible_at = absl::FromUnixMicros(1'020'000'001);
  order.At(1020.000001);
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1020.001
      history TimerFired @1000 fireAt=1020.0000005 timerId=1
      )"));
}

TEST_CASE("replay_byte_exact: what a turn got is what the next one reads as past") {
  CreateInstanceRequest request = StartRequest("");
  (*request.mutable_tags())["a"] = "1";
  (*request.mutable_tags())["b"] = "2";
  Orchestration order(request);
  const auto bytes_of = [](const auto& events) {
    std::vector<std::string> bytes;
    for (const HistoryEvent& event : events) bytes.push_back(RenderWholeEvent(event));
    return bytes;
  };
  order.Request();
  const auto first = order.ParsedRequest();
  const SharedBytes sent_start = order.turn.events[1].event;
  CHECK(first.newevents(1).executionstarted().has_input());
  order.Answer({Task(0, "A", ""), Task(1, "B"), Timer(2, Seconds(1001, 100))});
  order.FinishTask(0, "");
  order.FinishTask(1, std::nullopt);
  order.Raise("absent");
  order.Raise("empty", "");
  order.At(1002);
  order.Request();
  const auto second = order.ParsedRequest();
  std::vector<std::string> expected = bytes_of(first.newevents());
  const auto past = bytes_of(second.pastevents());
  CHECK(std::vector(past.begin(), past.begin() + 2) == expected);
  // The stored bytes are the very ones that were sent.
  CHECK(order.state.history[0].events->find(*sent_start) != std::string::npos);
  CHECK(RenderRequest(second) == Text(R"(
      past OrchestratorStarted @1000
      past ExecutionStarted @1000 name="Order" input="" tags={a="1" b="2"}
      past TaskScheduled #0 @1000 name="A" input=""
      past TaskScheduled #1 @1000 name="B"
      past TimerCreated #2 @1000 fireAt=1001.0000001
      new OrchestratorStarted @1002
      new TaskCompleted @1000 result=""
      new TaskCompleted @1000 taskScheduledId=1
      new EventRaised @1000 name="absent"
      new EventRaised @1000 name="empty" input=""
      new TimerFired @1000 fireAt=1001.0000001 timerId=2
      )"));
}

TEST_CASE("event_before_scheduled_start: events wait for the start and follow it") {
  CreateInstanceRequest request = StartRequest();
  *request.mutable_scheduledstarttimestamp() = Seconds(1003);
  Orchestration order(request);
  order.Raise("early", "1");
  CHECK(order.Request() == "");
  CHECK(order.inbox.size() == 2);
  CHECK(order.turn.dropped.empty());
  order.At(1003);
  CHECK(order.Request() == Text(R"(
      new OrchestratorStarted @1003
      new ExecutionStarted @1000 name="Order" scheduledStartTimestamp=1003
      new EventRaised @1000 name="early" input="1"
      )"));
}

TEST_CASE("history_corrupt: stored history without ExecutionStarted drops all messages") {
  Orchestration order;
  order.Run({});
  Claim claim = order.Load();
  ChunkWriter chunk;
  HistoryEvent event = MakeEvent(-1, Seconds(1000));
  event.mutable_orchestratorstarted();
  chunk.Append(event);
  claim.history = {chunk.Take(1, 0)};
  CHECK(StateFromClaim(claim).status().code() == absl::StatusCode::kDataLoss);

  InstanceState state = order.state;
  state.started.reset();
  order.Raise("a");
  const Turn turn = PlanTurn(state, order.inbox, order.now(), {});
  CHECK(turn.drop_reasons[0] == std::string("the stored history has no ExecutionStarted"));
  CHECK(turn.empty());
  CHECK(turn.dropped == std::vector<int64_t>{order.inbox[0].seq});
}

TEST_CASE("history_corrupt: bytes that are no events are data loss") {
  Orchestration order;
  order.Run({});
  Claim claim = order.Load();
  const std::string good = *claim.history[0].events;
  for (const std::string& bad : {good.substr(0, good.size() - 1), good + "\x1a", good + "x",
                                 std::string("\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11)}) {
    claim.history[0].events = std::make_shared<const std::string>(bad);
    CHECK(StateFromClaim(claim).status().code() == absl::StatusCode::kDataLoss);
  }
  claim.history[0].events = std::make_shared<const std::string>(good);
  claim.history[0].event_count += 1;
  CHECK(StateFromClaim(claim).status().code() == absl::StatusCode::kDataLoss);
}

TEST_CASE("message_without_instance: a late result without any execution is dropped") {
  Orchestration order;
  order.inbox.clear();
  order.state.turn = 3;  // the generation's history and start are gone
  order.FinishTask(1, "late");
  CHECK(order.Request() == "");
  CHECK(order.turn.dropped.size() == 1);
  CHECK(order.turn.drop_reasons[0] == std::string("there is no execution that it could belong to"));

  order.FinishTask(1, "late");
  const Turn waiting = PlanTurn(order.state, order.inbox, order.now(), {}, true);
  CHECK(waiting.empty());
  CHECK(waiting.dropped.empty());  // the start may be among the messages that were not read
}

TEST_CASE("late_messages_of_an_ended_instance: all are dropped") {
  Orchestration order;
  order.Run({Task(1, "A"), Completed()});
  order.FinishTask(1, "late");
  order.Raise("late");
  CHECK(order.Request() == "");
  CHECK(order.turn.dropped.size() == 2);
}

TEST_CASE("duplicate_start_same_batch: a second ExecutionStarted is dropped") {
  Orchestration order;
  Message again = order.inbox[0];
  again.seq = 50;
  order.inbox.push_back(again);
  CHECK(order.Request() == Text(R"(
      new OrchestratorStarted @1000
      new ExecutionStarted @1000 name="Order"
      )"));
  CHECK(order.turn.dropped == std::vector<int64_t>{50});
  order.Answer({});
  CHECK(order.inbox.empty());
}

TEST_CASE("unreadable_message: bytes that are no event are dropped with a reason") {
  Orchestration order;
  order.Raise("a");
  order.inbox.back().event = std::make_shared<const std::string>("\xff\xff");
  order.Request();
  CHECK(order.turn.dropped == std::vector<int64_t>{order.inbox.back().seq});
  CHECK(std::string(order.turn.drop_reasons[0]) == "its bytes are no event");
}

TEST_CASE("strip_terminal_events: hidden events stay stored and are never delivered") {
  Orchestration order;
  order.Run({Task(1, "A")});
  // What a rewind leaves behind: a completion in the middle of the history.
  ChunkWriter chunk;
  HistoryEvent completed = MakeEvent(-1, Seconds(1001));
  completed.mutable_executioncompleted()->set_orchestrationstatus(ORCHESTRATION_STATUS_FAILED);
  HistoryEvent rewound = MakeEvent(-1, Seconds(1001));
  rewound.mutable_executionrewound()->mutable_reason()->set_value("again");
  chunk.Append(completed);
  chunk.Append(rewound);
  Claim claim = order.Load();
  claim.turn = 2;
  claim.history.push_back(chunk.Take(2, order.state.event_count));
  order.state = *StateFromClaim(claim);
  CHECK(order.state.event_count == 5);
  order.FinishTask(1, "ok");
  CHECK(order.Request() == Text(R"(
      past OrchestratorStarted @1000
      past ExecutionStarted @1000 name="Order"
      past TaskScheduled #1 @1000 name="A"
      new OrchestratorStarted @1000
      new TaskCompleted @1000 taskScheduledId=1 result="ok"
      )"));
}

TEST_CASE("entity_parameters: the window is present and zero") {
  Orchestration order;
  order.Request();
  const OrchestratorRequest request = order.ParsedRequest();
  REQUIRE(request.has_entityparameters());
  REQUIRE(request.entityparameters().has_entitymessagereorderwindow());
  CHECK(request.entityparameters().entitymessagereorderwindow().seconds() == 0);
  CHECK(request.entityparameters().entitymessagereorderwindow().nanos() == 0);
  CHECK(request.instanceid() == "order-1");
  CHECK(request.executionid().value() == order.state.execution_id);
  CHECK_FALSE(request.requireshistorystreaming());
}

TEST_CASE("history_1mib: a streaming worker gets no past events, any other all of them") {
  Orchestration order(StartRequest(std::string(1 << 20, 'x')));
  order.Run({Task(1, "A")});
  order.FinishTask(1, std::string(100'000, 'y'));
  order.Request();
  RequestOptions options;
  options.completion_token = "t";
  options.stream_history = true;
  const WorkItem streamed = ParseFrame(EncodeOrchestratorItem(order.state, order.turn, options));
  CHECK(streamed.orchestratorrequest().requireshistorystreaming());
  CHECK(streamed.orchestratorrequest().pastevents().empty());
  CHECK(streamed.orchestratorrequest().newevents_size() == 2);
  CHECK(order.ParsedRequest().pastevents_size() == 3);
  CHECK(order.state.history_bytes > 1 << 20);

  // The bytes of the history are shared with the frame, not copied.
  const Frame frame = EncodeOrchestratorItem(order.state, order.turn, {});
  CHECK(std::count(frame.begin(), frame.end(), order.state.history[0].events) == 1);
  CHECK(std::count(frame.begin(), frame.end(), order.turn.events[1].event) == 1);
}

TEST_CASE("history_slices: thousands of turns are few slices, and little is copied to join them") {
  Claim claim;
  claim.instance_id = "long";
  claim.execution_id = "e";
  InstanceState state = *StateFromClaim(claim);
  constexpr int kTurns = 6667;
  int64_t copied = 0;
  std::string all;
  size_t slices_max = 0;
  for (int turn = 1; turn <= kTurns; ++turn) {
    ChunkWriter chunk;
    HistoryEvent started = MakeEvent(-1, Seconds(1000 + turn));
    started.mutable_orchestratorstarted();
    if (turn == 1) started.mutable_executionstarted()->set_name("Long");
    chunk.Append(started);
    HistoryEvent scheduled = MakeEvent(turn, Seconds(1000 + turn));
    scheduled.mutable_taskscheduled()->set_name("An activity with a name");
    chunk.Append(scheduled);
    HistoryEvent completed = MakeEvent(-1, Seconds(1000 + turn));
    completed.mutable_taskcompleted()->set_taskscheduledid(turn);
    chunk.Append(completed);
    claim.history.push_back(chunk.Take(turn, state.event_count));
    all += *claim.history.back().events;

    absl::flat_hash_set<const std::string*> known;
    for (const HistoryChunk& slice : state.history) known.insert(slice.events.get());
    known.insert(claim.history.back().events.get());
    StateDelta delta;
    delta.turn = turn;
    delta.history = claim.history.back();
    ApplyCheckpoint(std::move(delta), state);
    for (const HistoryChunk& slice : state.history) {
      if (!known.contains(slice.events.get())) copied += static_cast<int64_t>(slice.events->size());
    }
    slices_max = std::max(slices_max, state.history.size());
  }
  CHECK(state.event_count == 3 * kTurns);
  CHECK(state.history_bytes == static_cast<int64_t>(all.size()));
  CHECK(slices_max < 30);
  // A dozen doublings from one turn to a slice that is left alone.
  CHECK(copied < 12 * state.history_bytes);
  // A claimed instance gets the same.
  const InstanceState loaded = *StateFromClaim(claim);
  for (const InstanceState* each : {&std::as_const(state), &loaded}) {
    std::string joined;
    for (const HistoryChunk& slice : each->history) joined += *slice.events;
    CHECK(joined == all);
    CHECK(each->history.size() == state.history.size());
    CHECK(each->outstanding.empty());
  }
}

TEST_CASE("big_batch: 5000 events come in several turns, in order, within the limits") {
  Orchestration order;
  order.Run({});
  constexpr int kEvents = 5000;
  for (int i = 0; i < kEvents; ++i) order.Raise("e", std::to_string(i) + std::string(2000, 'x'));
  int turns = 0;
  int next = 0;
  while (order.has_work()) {
    order.turn = PlanTurn(order.state, order.inbox, order.now(), order.limits);
    const OrchestratorRequest request = order.ParsedRequest();
    int64_t bytes = 0;
    for (int i = 1; i < request.newevents_size(); ++i, ++next) {
      const std::string prefix = std::to_string(next) + "x";
      CHECK(request.newevents(i).eventraised().input().value().compare(0, prefix.size(), prefix) ==
            0);
      bytes += static_cast<int64_t>(request.newevents(i).ByteSizeLong());
    }
    CHECK(bytes <= order.limits.message_bytes_max);
    CHECK(request.newevents_size() <= order.limits.messages_max + 1);
    order.Answer({});
    ++turns;
  }
  CHECK(next == kEvents);
  CHECK(turns == 5);
}

TEST_CASE("big_batch: a message over the limit still comes, alone") {
  Orchestration order;
  order.Run({});
  order.limits.message_bytes_max = 1000;
  order.Raise("big", std::string(5000, 'x'));
  order.Raise("small");
  order.Request();
  CHECK(order.turn.events.size() == 2);
  order.Answer({});
  CHECK(order.inbox.size() == 1);
}

TEST_CASE("big_batch: a flooded orchestration is terminated in its next turn") {
  Orchestration order;
  order.Run({});
  order.limits.messages_max = 2;
  for (const char* name : {"a", "b", "c", "d"}) order.Raise(name);
  order.Terminate("stop");
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history EventRaised @1000 name="a"
      history EventRaised @1000 name="b"
      history ExecutionTerminated @1000 input="stop"
      history ExecutionCompleted @1000 orchestrationStatus=TERMINATED result="stop"
      status TERMINATED output="stop"
      ends
      )"));
}

}  // namespace dt::orchestration
