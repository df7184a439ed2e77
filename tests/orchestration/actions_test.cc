// Actions and activities (RULES.md 3.5, 4.1-4.5, 4.12-4.16, 6.1-6.5).

#include "tests/orchestration/harness.h"
#include "tests/support/catch.h"

namespace dt::orchestration {
namespace {

// Value of the google.protobuf.Value kind that failure properties carry.
google::protobuf::Value Property(const std::string& text) {
  google::protobuf::Value value;
  value.set_string_value(text);
  return value;
}

TaskFailureDetails NestedFailure() {
  TaskFailureDetails details;
  details.set_errortype("Outer");
  details.set_errormessage("outer failed");
  details.mutable_stacktrace()->set_value("at line 1");
  details.set_isnonretriable(true);
  (*details.mutable_properties())["code"] = Property("E42");
  details.mutable_innerfailure()->set_errortype("Inner");
  details.mutable_innerfailure()->mutable_stacktrace()->set_value("");
  return details;
}

}  // namespace

TEST_CASE("python_retry_same_task_id: one id for every attempt") {
  Orchestration order;
  order.Run({Task(1, "A")});
  TaskFailureDetails details;
  details.set_errortype("Oops");
  order.FailTask(1, details);
  order.Run({Timer(2, 1010)});
  order.At(1011);
  CHECK(order.Run({Task(1, "A")}) == Text(R"(
      history OrchestratorStarted @1011
      history TimerFired @1000 fireAt=1010 timerId=2
      history TaskScheduled #1 @1011 name="A"
      task 1 A
      )"));
  order.FinishTask(1, "ok");
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1011
      history TaskCompleted @1011 taskScheduledId=1 result="ok"
      )"));
  CHECK(order.state.outstanding.empty());
}

TEST_CASE("duplicate_activity_completion: the second is dropped, in one batch and after it") {
  Orchestration order;
  order.Run({Task(1, "A")});
  order.FinishTask(1, "ok");
  order.FinishTask(1, "again");
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history TaskCompleted @1000 taskScheduledId=1 result="ok"
      )"));
  order.FinishTask(1, "and again");
  CHECK(order.Request() == "");
  CHECK(order.turn.dropped.size() == 1);
}

TEST_CASE("failure_with_empty_message: present but empty details are a failure") {
  Orchestration order;
  order.Run({Task(1, "A")});
  ActivityResponse response;
  response.set_taskid(1);
  response.mutable_failuredetails();
  order.Put(ActivityResult(response, 0, order.now()));
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history TaskFailed @1000 taskScheduledId=1 failureDetails={}
      )"));
}

TEST_CASE("empty_result: an empty result and an absent one stay what they are") {
  ActivityResponse response;
  response.set_taskid(1);
  CHECK(RenderMessage(ActivityResult(response, 0, absl::FromUnixSeconds(5))) ==
        "TaskCompleted @5 taskScheduledId=1 gen 0");
  response.mutable_result();
  CHECK(RenderMessage(ActivityResult(response, 0, absl::FromUnixSeconds(5))) ==
        "TaskCompleted @5 taskScheduledId=1 result=\"\" gen 0");
}

TEST_CASE("failure_details_round_trip: equal at the orchestrator and in the state") {
  Orchestration order;
  order.Run({Task(1, "A")});
  order.FailTask(1, NestedFailure());
  order.Request();
  const std::string expected = NestedFailure().SerializeAsString();
  CHECK(order.ParsedRequest().newevents(1).taskfailed().failuredetails().SerializeAsString() ==
        expected);
  OrchestratorAction failed = Complete(2, ORCHESTRATION_STATUS_FAILED);
  *failed.mutable_completeorchestration()->mutable_failuredetails() = NestedFailure();
  order.Answer({failed});
  REQUIRE(order.checkpoint.update);
  CHECK(order.checkpoint.update->failure == expected);

  InstanceRow row;
  row.status = RuntimeStatus::kFailed;
  row.failure = order.checkpoint.update->failure;
  CHECK(RenderState(row, true).failuredetails().SerializeAsString() == expected);
}

TEST_CASE("activity_request: what the worker of an activity gets") {
  CreateInstanceRequest request = StartRequest();
  (*request.mutable_tags())["team"] = "shop";
  Orchestration order(request);
  OrchestratorAction action = Task(3, "Charge", "10");
  action.mutable_scheduletask()->mutable_version()->set_value("1.0");
  (*action.mutable_scheduletask()->mutable_tags())["size"] = "big";
  order.Run({action});
  REQUIRE(order.checkpoint.tasks.size() == 1);
  const NewTask& task = order.checkpoint.tasks[0];
  CHECK(task.task_id == 3);
  CHECK(task.name == "Charge");
  CHECK(task.version == "1.0");
  ActivityTask leased;
  leased.name = task.name;
  leased.version = task.version;
  leased.task_id = task.task_id;
  leased.instance_id = order.state.instance_id;
  leased.execution_id = task.execution_id;
  leased.request = task.request;
  const WorkItem item = ParseFrame(EncodeActivityItem(leased, "token-2"));
  CHECK(item.completiontoken() == "token-2");
  // What the task's other fields say is stored nowhere else.
  ActivityRequest stored;
  REQUIRE(stored.ParseFromString(*task.request));
  CHECK(RenderFields(stored) == "version=\"1.0\" input=\"10\" tags={size=\"big\"}");
  CHECK(RenderFields(item.activityrequest()) ==
        "name=\"Charge\" version=\"1.0\" input=\"10\""
        " orchestrationInstance={instanceId=\"order-1\""
        " executionId=\"00010000000000000000000000000000\"} taskId=3 tags={size=\"big\"}");
}

TEST_CASE("activity_version_unset: routed by that of its orchestration, and sent as it was set") {
  CreateInstanceRequest request = StartRequest();
  request.mutable_version()->set_value("3.0.0");
  Orchestration order(request);
  OrchestratorAction unset = Task(1, "Charge");
  OrchestratorAction empty = Task(2, "Charge");
  empty.mutable_scheduletask()->mutable_version()->set_value("");
  OrchestratorAction own = Task(3, "Charge");
  own.mutable_scheduletask()->mutable_version()->set_value("1.0");
  order.Run({unset, empty, own});
  std::vector<std::string> routed, sent;
  for (const NewTask& task : order.checkpoint.tasks) {
    routed.push_back(task.version.value_or("unset"));
    ActivityRequest stored;
    REQUIRE(stored.ParseFromString(*task.request));
    sent.push_back(stored.has_version() ? stored.version().value() : "unset");
  }
  CHECK(routed == std::vector<std::string>{"3.0.0", "", "1.0"});
  CHECK(sent == std::vector<std::string>{"unset", "", "1.0"});
}

TEST_CASE("send_event_missing_target: EventSent stays in the history, the event goes by id") {
  Orchestration order;
  CHECK(order.Run({Send(1, "nobody", "Ping", "1")}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order"
      history EventSent #1 @1000 instanceId="nobody" name="Ping" input="1"
      send nobody: EventRaised @1000 name="Ping" input="1"
      )"));
}

TEST_CASE("java_repeats_events: what an earlier turn has sent under its id is not sent again") {
  Orchestration order;
  order.Run({Send(1, "other", "Ping", "1"), Send(2, "other", "Ping", "1"), Task(3, "Work")});
  CHECK(order.checkpoint.messages.size() == 2);  // each has an id of its own
  order.FinishTask(3, "done");
  CHECK(order.Run({Send(1, "other", "Ping", "1"), Send(2, "other", "Ping", "1"),
                   Send(4, "other", "Ping", "1"), Send(1, "other", "Ping", "2")}) == Text(R"(
      history OrchestratorStarted @1000
      history TaskCompleted @1000 taskScheduledId=3 result="done"
      history EventSent #1 @1000 instanceId="other" name="Ping" input="2"
      history EventSent #4 @1000 instanceId="other" name="Ping" input="1"
      send other: EventRaised @1000 name="Ping" input="2"
      send other: EventRaised @1000 name="Ping" input="1"
      )"));
  // Ids begin anew with each generation.
  order.Raise("next");
  order.Run({ContinueAsNew("next")});
  order.Run({Send(1, "other", "Ping", "1")});
  CHECK(order.checkpoint.messages.size() == 1);
}

TEST_CASE("send_event_to_self: comes in the next turn") {
  Orchestration order;
  CHECK(order.Run({Send(1, "order-1", "Ping", "")}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order"
      history EventSent #1 @1000 instanceId="order-1" name="Ping" input=""
      own EventRaised @1000 name="Ping" input=""
      )"));
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history EventRaised @1000 name="Ping" input=""
      )"));
}

TEST_CASE(
    "terminate_other: the target gets ExecutionTerminated, itself and entities handled apart") {
  Orchestration order;
  CHECK(order.Run({TerminateOther(1, "other", "why", true),
                   TerminateOther(2, "@entity@a", "why", false),
                   TerminateOther(3, "order-1", std::nullopt, false)}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order"
      own ExecutionTerminated @1000
      terminate other: ExecutionTerminated @1000 input="why" recurse=true
      )"));
  CHECK(order.checkpoint.terminations[0].reason == "why");
  order.Run({});
  CHECK(order.state.status == RuntimeStatus::kTerminated);
}

TEST_CASE("complete_with_other_actions: all are done but the timer") {
  Orchestration order;
  CHECK(order.Run({Task(1, "A"), Timer(2, 2000), Child(3, "kid", "Kid"), Send(4, "other", "Ping"),
                   Send(5, "order-1", "Self"), TerminateOther(6, "other", "x", false),
                   Complete(7, ORCHESTRATION_STATUS_COMPLETED, "done")}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order"
      history TaskScheduled #1 @1000 name="A"
      history SubOrchestrationInstanceCreated #3 @1000 instanceId="kid" name="Kid"
      history EventSent #4 @1000 instanceId="other" name="Ping"
      history EventSent #5 @1000 instanceId="order-1" name="Self"
      history ExecutionCompleted @1000 orchestrationStatus=COMPLETED result="done"
      task 1 A
      child kid Kid
      send other: EventRaised @1000 name="Ping"
      terminate other: ExecutionTerminated @1000 input="x"
      status COMPLETED output="done"
      ends
      )"));
}

TEST_CASE("random_action_order: the history is sorted by id, the completion last") {
  Orchestration order;
  CHECK(order.Run({Completed("done"), Task(2, "C"), Task(0, "A"), Task(1, "B")}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order"
      history TaskScheduled #0 @1000 name="A"
      history TaskScheduled #1 @1000 name="B"
      history TaskScheduled #2 @1000 name="C"
      history ExecutionCompleted @1000 orchestrationStatus=COMPLETED result="done"
      task 0 A
      task 1 B
      task 2 C
      status COMPLETED output="done"
      ends
      )"));
}

TEST_CASE("duplicate_action_ids: actions with the completion's id are applied, in their order") {
  Orchestration order;
  CHECK(order.Run({Send(5, "x", "second"), Send(5, "y", "third"), Send(2, "z", "first"),
                   Complete(5, ORCHESTRATION_STATUS_COMPLETED)}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order"
      history EventSent #2 @1000 instanceId="z" name="first"
      history EventSent #5 @1000 instanceId="x" name="second"
      history EventSent #5 @1000 instanceId="y" name="third"
      history ExecutionCompleted @1000 orchestrationStatus=COMPLETED
      send z: EventRaised @1000 name="first"
      send x: EventRaised @1000 name="second"
      send y: EventRaised @1000 name="third"
      status COMPLETED
      ends
      )"));
}

TEST_CASE("two_completions: the one with the lowest id counts") {
  Orchestration order;
  order.Run(
      {Complete(5, ORCHESTRATION_STATUS_FAILED), Complete(3, ORCHESTRATION_STATUS_COMPLETED)});
  CHECK(order.state.status == RuntimeStatus::kCompleted);
}

TEST_CASE("zero_event_id: action id 0 and completion id -1 work") {
  Orchestration order;
  order.Run({Task(0, "A")});
  order.FinishTask(0, "ok");
  CHECK(order.Request().find("new TaskCompleted @1000 result=\"ok\"") != std::string::npos);
  order.Answer({Completed()});
  CHECK(order.state.status == RuntimeStatus::kCompleted);
}

TEST_CASE("event_fields: every event has a timestamp, and an id only if an action made it") {
  Orchestration order;
  order.Run({Task(1, "A"), Timer(2, 1005), Child(3, "kid", "Kid"), Send(4, "x", "Ping")});
  order.Suspend();
  order.Run({});
  order.FinishTask(1, "ok");
  order.Raise("a");
  order.Resume();
  order.Terminate("stop");
  order.At(1006);
  order.Request();
  const OrchestratorRequest request = order.ParsedRequest();
  const auto check = [](const HistoryEvent& event) {
    INFO(RenderEvent(event));
    CHECK(event.has_timestamp());
    CHECK(event.eventType_case() != HistoryEvent::EVENTTYPE_NOT_SET);
    const bool action = event.has_taskscheduled() || event.has_timercreated() ||
                        event.has_suborchestrationinstancecreated() || event.has_eventsent();
    CHECK((event.eventid() == -1) == !action);
    if (event.has_timerfired()) CHECK(event.timerfired().has_fireat());
    if (event.has_executionstarted()) {
      CHECK(event.executionstarted().orchestrationinstance().instanceid() == "order-1");
      CHECK(event.executionstarted().orchestrationinstance().executionid().value().size() == 32);
    }
  };
  for (const HistoryEvent& event : request.pastevents()) check(event);
  for (const HistoryEvent& event : request.newevents()) check(event);
  CHECK(request.pastevents_size() == 8);
  CHECK(request.newevents_size() == 6);
  order.Answer({});
  for (const HistoryEvent& event : ParseChunk(*order.checkpoint.history)) check(event);
}

TEST_CASE("failed_without_details: they are made of what is there, for the parent too") {
  Orchestration parent;
  parent.Run({Child(1, "kid", "Kid")});
  Orchestration child(parent.checkpoint.children[0].instance);
  OrchestratorAction failed = Complete(1, ORCHESTRATION_STATUS_FAILED, "the result");
  std::string message = "the result";
  SECTION("details text") {
    message = "the details";
    failed.mutable_completeorchestration()->mutable_details()->set_value(message);
  }
  SECTION("only a result") {}
  CHECK(child.Run({failed}).find("failure={errorType=\"OrchestrationFailed\" errorMessage=\"" +
                                 message + "\"}") != std::string::npos);
  REQUIRE(child.checkpoint.parent_message);
  CHECK(RenderMessage(*child.checkpoint.parent_message) ==
        "SubOrchestrationInstanceFailed @1000 taskScheduledId=1"
        " failureDetails={errorType=\"OrchestrationFailed\" errorMessage=\"" +
            message + "\"} gen 0");
}

TEST_CASE("timer_in_the_past: fires at once") {
  Orchestration order;
  order.Run({Timer(1, 0)});
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history TimerFired @1000 fireAt=0 timerId=1
      )"));
}

TEST_CASE("timer_far: in ten years, and at the ends of time") {
  Orchestration order;
  constexpr int64_t kTenYears = 315'360'000;
  constexpr int64_t kYear1 = -62135596800;
  constexpr int64_t kYear9999 = 253402300799;
  order.Run({Timer(1, kTenYears), Timer(2, kYear1), Timer(3, Seconds(kYear9999, 999'999'999))});
  const auto& timers = order.checkpoint.own_messages;
  REQUIRE(timers.size() == 3);
  CHECK(timers[0].visible_at == absl::FromUnixSeconds(kTenYears) + absl::Milliseconds(1));
  CHECK(timers[1].visible_at == absl::FromUnixSeconds(kYear1) + absl::Milliseconds(1));
  CHECK(timers[2].visible_at == absl::FromUnixSeconds(kYear9999 + 1));
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history TimerFired @1000 fireAt=-62135596800 timerId=2
      )"));
}

TEST_CASE("fire_at_precision: echoed exactly, and due at the first full millisecond after it") {
  Orchestration order;
  order.Run({Timer(1, Seconds(1010, 100)), Timer(2, Seconds(1010, 999'999)),
             Timer(3, Seconds(1010)), Timer(4, Seconds(1010, 1'000'000))});
  CHECK(RenderMessage(order.checkpoint.own_messages[0]) ==
        "TimerFired @1000 fireAt=1010.0000001 timerId=1 gen 0 due 1010.001");
  CHECK(RenderMessage(order.checkpoint.own_messages[1]) ==
        "TimerFired @1000 fireAt=1010.000999999 timerId=2 gen 0 due 1010.001");
  CHECK(RenderMessage(order.checkpoint.own_messages[2]) ==
        "TimerFired @1000 fireAt=1010 timerId=3 gen 0 due 1010.001");
  CHECK(RenderMessage(order.checkpoint.own_messages[3]) ==
        "TimerFired @1000 fireAt=1010.001 timerId=4 gen 0 due 1010.002");
}

TEST_CASE("timer_fired_timestamp: is the time of TimerCreated") {
  Orchestration order;
  order.At(1001);
  order.Run({Timer(1, 1050)});
  order.At(1060);
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1060
      history TimerFired @1001 fireAt=1050 timerId=1
      )"));
}

TEST_CASE("custom_status_clear: absent in a later turn clears it, a failure keeps it") {
  Orchestration order;
  OrchestratorResponse set = Response({});
  set.mutable_customstatus()->set_value("\"half\"");
  order.Request();
  CHECK(order.AnswerWith(set).find("status RUNNING custom=\"\"half\"\"") != std::string::npos);
  order.Raise("a");
  SECTION("the same again changes nothing") {
    order.Request();
    order.AnswerWith(set);
    CHECK_FALSE(order.checkpoint.update);
  }
  SECTION("absent") {
    CHECK(order.Run({}).find("status RUNNING custom cleared") != std::string::npos);
    CHECK(order.state.custom_status == std::nullopt);
  }
  SECTION("empty is the same as absent") {
    OrchestratorResponse empty = Response({});
    empty.mutable_customstatus();
    order.Request();
    CHECK(order.AnswerWith(empty).find("custom cleared") != std::string::npos);
  }
  SECTION("two quotes are a value") {
    OrchestratorResponse quotes = Response({});
    quotes.mutable_customstatus()->set_value("\"\"");
    order.Request();
    CHECK(order.AnswerWith(quotes).find("custom=\"\"\"\"") != std::string::npos);
  }
  SECTION("the answer after a failure") {
    order.Run({Failed("Oops", "bad")});
    CHECK(order.state.custom_status == "\"half\"");
  }
}

}  // namespace dt::orchestration
