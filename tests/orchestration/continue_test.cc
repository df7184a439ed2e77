// ContinueAsNew (RULES.md 4.20-4.27).

#include <set>

#include "tests/orchestration/harness.h"
#include "tests/support/catch.h"

namespace dt::orchestration {

TEST_CASE("carryover_order: carried-over events come before what was queued") {
  Orchestration order;
  order.Run({});
  order.Raise("trigger");
  order.Request();
  order.Raise("c", "3");  // waits in the inbox while the worker runs
  CHECK(order.Answer({ContinueAsNew("next", {{"a", "1"}, {"b", "2"}})}) == Text(R"(
      own ExecutionStarted @1000 name="Order" input="next" gen 1
      own EventRaised @1 name="a" input="1" gen 1
      own EventRaised @1 name="b" input="2" gen 1
      continues as 0002 input="next"
      )"));
  CHECK(order.Request() == Text(R"(
      new OrchestratorStarted @1000
      new ExecutionStarted @1000 name="Order" input="next"
      new EventRaised @1 name="a" input="1"
      new EventRaised @1 name="b" input="2"
      new EventRaised @1000 name="c" input="3"
      )"));
}

TEST_CASE("carryover_order: the same where the inbox lost the order of the front") {
  // A store that stamps the messages with its clock like all others: PlanTurn knows them anyway.
  Orchestration order;
  order.Run({});
  order.Raise("trigger");
  order.Request();
  order.Raise("c");
  order.At(1001);
  order.Answer({ContinueAsNew("next", {{"a", "1"}, {"b", "2"}})});
  for (Message& message : order.inbox) {
    message.visible_at = std::max(message.visible_at, order.now());
  }
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1001
      history ExecutionStarted @1001 name="Order" input="next"
      history EventRaised @1 name="a" input="1"
      history EventRaised @1 name="b" input="2"
      history EventRaised @1000 name="c"
      )"));
}

TEST_CASE("carryover_order: what does not fit one turn survives the next ContinueAsNew") {
  Orchestration order;
  order.Raise("c");
  order.Run({ContinueAsNew("1", {{"a", "1"}, {"b", "2"}, {"d", "3"}})});
  order.limits.messages_max = 2;
  CHECK(order.Request() == Text(R"(
      new OrchestratorStarted @1000
      new ExecutionStarted @1000 name="Order" input="1"
      new EventRaised @1 name="a" input="1"
      )"));
  CHECK(order.Answer({ContinueAsNew("2", {{"a", "1"}})}) == Text(R"(
      own ExecutionStarted @1000 name="Order" input="2" gen 2
      own EventRaised @1 name="a" input="1" gen 2
      own EventRaised @1 name="b" input="2" gen 2
      own EventRaised @1 name="d" input="3" gen 2
      continues as 0003 input="2"
      )"));
  CHECK(order.inbox.size() == 4);  // those that were sent again are consumed
}

TEST_CASE("carryover_order: only raised events are carried over") {
  OrchestratorAction action = ContinueAsNew("next", {{"a", "1"}});
  HistoryEvent* other = action.mutable_completeorchestration()->add_carryoverevents();
  other->mutable_taskcompleted()->set_taskscheduledid(1);
  Orchestration order;
  order.Run({action});
  CHECK(order.checkpoint.own_messages.size() == 2);
}

TEST_CASE("send_to_self_then_continue: arrives in the new generation, before what waits") {
  Orchestration order;
  order.Request();
  order.Raise("waiting");
  CHECK(order.Answer({Send(1, "order-1", "mine", "1"), ContinueAsNew("next", {{"a", "1"}})}) ==
        Text(R"(
      own ExecutionStarted @1000 name="Order" input="next" gen 1
      own EventRaised @1 name="a" input="1" gen 1
      own EventRaised @1000 name="mine" input="1" gen 1
      continues as 0002 input="next"
      )"));
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order" input="next"
      history EventRaised @1 name="a" input="1"
      history EventRaised @1000 name="mine" input="1"
      history EventRaised @1000 name="waiting"
      )"));
}

TEST_CASE("event_during_continue_turn: is delivered to the new generation") {
  Orchestration order;
  order.Request();
  order.Raise("meanwhile");
  order.Answer({ContinueAsNew(std::nullopt)});
  CHECK(order.Request() == Text(R"(
      new OrchestratorStarted @1000
      new ExecutionStarted @1000 name="Order"
      new EventRaised @1000 name="meanwhile"
      )"));
}

TEST_CASE("continue_sends_and_unlocks: other actions beside it are done, but the timer") {
  Orchestration order;
  CHECK(order.Run({Task(1, "A"), Timer(2, 2000), Child(3, "kid", "Kid"), Send(4, "other", "Ping"),
                   ContinueAsNew("next")}) == Text(R"(
      task 1 A
      child kid Kid
      own ExecutionStarted @1000 name="Order" input="next" gen 1
      send other: EventRaised @1000 name="Ping"
      continues as 0003 input="next"
      )"));
  // They belong to the generation that ended, so nobody waits for them.
  CHECK(order.checkpoint.generation == 0);
  CHECK(order.checkpoint.children[0].instance.parent->generation == 0);
  CHECK(order.state.outstanding.empty());
}

TEST_CASE("continue_tags_version_created: kept, or replaced by the new version") {
  CreateInstanceRequest request = StartRequest("old");
  request.mutable_version()->set_value("1.0");
  (*request.mutable_tags())["team"] = "shop";
  request.mutable_parenttracecontext()->set_traceparent("trace");
  Orchestration order(request);
  OrchestratorAction action = ContinueAsNew("new");
  SECTION("newVersion unset") {
    order.Run({action});
    CHECK(order.Request() == Text(R"(
        new OrchestratorStarted @1000
        new ExecutionStarted @1000 name="Order" version="1.0" input="new" \
            parentTraceContext={traceParent="trace"} tags={team="shop"}
        )"));
    CHECK(order.state.version == "1.0");
  }
  SECTION("newVersion set") {
    action.mutable_completeorchestration()->mutable_newversion()->set_value("2.0");
    order.Run({action});
    CHECK(order.checkpoint.next_generation->version == "2.0");
    CHECK(order.state.version == "2.0");
    CHECK(order.Request().find("version=\"2.0\" input=\"new\"") != std::string::npos);
  }
  SECTION("no input") {
    order.Run({ContinueAsNew(std::nullopt)});
    CHECK(order.checkpoint.next_generation->input == std::nullopt);
    CHECK(order.Request().find("input") == std::string::npos);
  }
}

TEST_CASE("custom_status_over_continue: kept until the new generation sets its own") {
  Orchestration order;
  OrchestratorResponse response = Response({ContinueAsNew("2")});
  response.mutable_customstatus()->set_value("one");
  order.Request();
  CHECK(order.AnswerWith(response) == Text(R"(
      own ExecutionStarted @1000 name="Order" input="2" gen 1
      status RUNNING custom="one"
      continues as 0002 input="2" saved="one"
      )"));
  order.Run({});
  CHECK(order.state.custom_status == "one");
  order.Raise("a");
  response = Response({});
  response.mutable_customstatus()->set_value("two");
  order.Request();
  order.AnswerWith(response);
  CHECK(order.state.custom_status == "two");
  order.Raise("b");
  order.Run({});
  CHECK(order.state.custom_status == "one");
}

TEST_CASE("stale_timer_after_continue: the timer of the old generation is never seen") {
  Orchestration order;
  order.Run({Timer(1, 1010)});
  const Message stale = order.inbox[0];
  order.Raise("next");
  order.Run({ContinueAsNew("2")});
  CHECK(order.inbox.size() == 1);  // the store deletes what is bound to the old generation
  order.Run({Timer(1, 5000)});
  order.inbox.push_back(stale);
  order.At(1011);
  CHECK(order.Request() == "");
  CHECK(std::string(order.turn.drop_reasons.at(0)) == "it belongs to another generation");
  order.At(5001);
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @5001
      history TimerFired @1000 fireAt=5000 timerId=1
      )"));
}

TEST_CASE("stale_activity_after_continue: the late result is dropped") {
  Orchestration order;
  order.Run({Task(1, "A")});
  order.Raise("next");
  order.Run({ContinueAsNew("2")});
  order.Run({Task(1, "A")});
  order.FinishTask(1, "late", 0);
  CHECK(order.Request() == "");
  CHECK(order.turn.dropped.size() == 1);
  order.FinishTask(1, "mine", 1);
  CHECK(order.Request().find("result=\"mine\"") != std::string::npos);
}

TEST_CASE("continue_tight_loop_1000: ends, and keeps nothing of the past") {
  Orchestration order;
  for (int i = 0; i < 1000; ++i) {
    order.Run({ContinueAsNew(std::to_string(i), {{"tick", "x"}})});
    CHECK(order.state.history.empty());
    CHECK(order.state.history_bytes == 0);
    CHECK(order.inbox.size() == 2);
    // What a reader could see in between (continue_status).
    CHECK(order.state.status == RuntimeStatus::kRunning);
  }
  CHECK(order.state.generation == 1000);
  order.Run({Completed("end")});
  CHECK(order.checkpoint.turn == 1001);
}

TEST_CASE("continue_status: never CONTINUED_AS_NEW, and never PENDING again") {
  Orchestration order;
  CHECK(order.state.status == RuntimeStatus::kPending);
  order.Run({ContinueAsNew("1")});
  CHECK_FALSE(order.checkpoint.update);
  CHECK(order.state.status == RuntimeStatus::kRunning);
  order.Run({ContinueAsNew("2")});
  CHECK_FALSE(order.checkpoint.update);
  CHECK(order.state.status == RuntimeStatus::kRunning);
}

TEST_CASE("execution_id_form: each generation has a new one of 32 hex digits") {
  Orchestration order;
  std::set<std::string> seen{order.state.execution_id};
  for (int i = 0; i < 5; ++i) {
    order.Run({ContinueAsNew("x")});
    CHECK(order.checkpoint.next_generation->execution_id == order.state.execution_id);
    CHECK(order.state.execution_id.size() == 32);
    CHECK(order.state.execution_id.find_first_not_of("0123456789abcdef") == std::string::npos);
    seen.insert(order.state.execution_id);
    order.Request();
    const OrchestratorRequest request = order.ParsedRequest();
    CHECK(request.executionid().value() == order.state.execution_id);
    const ExecutionStartedEvent& started = request.newevents(1).executionstarted();
    CHECK(started.orchestrationinstance().executionid().value() == order.state.execution_id);
  }
  CHECK(seen.size() == 6);
}

}  // namespace dt::orchestration
