// Responses in parts, partly processed ones, and those that cannot be applied
// (RULES.md 3.17-3.21, 10.1): whatever a worker sends, the turn ends with a checkpoint and
// never begins anew for ever.

#include "server/orchestration/response_check.h"
#include "tests/orchestration/harness.h"
#include "tests/support/catch.h"

namespace dt::orchestration {
namespace {

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

OrchestratorResponse Part(int32_t index, bool last, std::vector<OrchestratorAction> actions) {
  OrchestratorResponse part = Response(std::move(actions));
  part.mutable_chunkindex()->set_value(index);
  part.set_ispartial(!last);
  return part;
}

#pragma GCC diagnostic pop

// Runs a first turn with this answer, which must fail, and shows how.
std::string Failure(OrchestratorResponse response, TurnLimits limits = {}) {
  Orchestration order;
  order.limits = limits;
  order.Request();
  order.AnswerWith(std::move(response));
  CHECK(order.checkpoint.ends);
  CHECK(order.inbox.empty());
  CHECK(order.checkpoint.tasks.empty());
  CHECK(order.checkpoint.messages.empty());
  CHECK(order.checkpoint.children.empty());
  REQUIRE(order.checkpoint.history);
  CHECK(order.checkpoint.history->event_count == 3);  // started, started, completed
  REQUIRE(order.checkpoint.update);
  CHECK(order.checkpoint.update->status == RuntimeStatus::kFailed);
  TaskFailureDetails details;
  REQUIRE(details.ParseFromString(order.checkpoint.update->failure.value_or("?")));
  CHECK(details.isnonretriable());
  return details.errortype() + ": " + details.errormessage();
}

std::string Failure(std::vector<OrchestratorAction> actions, TurnLimits limits = {}) {
  return Failure(Response(std::move(actions)), limits);
}

OrchestratorAction With(OrchestratorAction action, void (*change)(OrchestratorAction&)) {
  change(action);
  return action;
}

}  // namespace

TEST_CASE("chunked_response: three parts are one commit") {
  OrchestratorResponse merged;
  CHECK_FALSE(MergeChunk(Part(0, false, {Task(2, "B")}), merged));
  CHECK_FALSE(MergeChunk(Part(1, false, {Task(1, "A")}), merged));
  CHECK(MergeChunk(Part(2, true, {Task(3, "C")}), merged));
  Orchestration order;
  order.Request();
  CHECK(order.AnswerWith(merged) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order"
      history TaskScheduled #1 @1000 name="A"
      history TaskScheduled #2 @1000 name="B"
      history TaskScheduled #3 @1000 name="C"
      task 1 A
      task 2 B
      task 3 C
      )"));
}

TEST_CASE("chunked_response: a response in one part is complete") {
  OrchestratorResponse merged;
  CHECK(MergeChunk(Response({Task(1, "A")}), merged));
  CHECK(merged.actions_size() == 1);
}

TEST_CASE("chunked_response: repeated parts count once, part 0 begins anew") {
  OrchestratorResponse merged;
  MergeChunk(Part(0, false, {Task(1, "A")}), merged);
  MergeChunk(Part(1, false, {Task(2, "B")}), merged);
  MergeChunk(Part(1, false, {Task(2, "B")}), merged);
  CHECK(merged.actions_size() == 2);
  MergeChunk(Part(0, false, {Task(1, "A")}), merged);
  CHECK(merged.actions_size() == 1);
  CHECK(MergeChunk(Part(1, true, {Task(2, "B")}), merged));
  CHECK(merged.actions_size() == 2);
}

TEST_CASE("chunk_metadata: status, trace and the count come from part 0") {
  OrchestratorResponse first = Part(0, false, {Task(1, "A")});
  first.mutable_customstatus()->set_value("busy");
  first.mutable_orchestrationtracecontext()->mutable_spanid()->set_value("span");
  first.mutable_numeventsprocessed()->set_value(3);
  OrchestratorResponse last = Part(1, true, {Task(2, "B")});
  last.mutable_numeventsprocessed()->set_value(0);
  OrchestratorResponse merged;
  MergeChunk(first, merged);
  CHECK(MergeChunk(last, merged));
  Orchestration order;
  order.Raise("a");
  order.Request();
  CHECK(order.AnswerWith(merged) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order"
      history EventRaised @1000 name="a"
      history TaskScheduled #1 @1000 name="A"
      history TaskScheduled #2 @1000 name="B"
      task 1 A
      task 2 B
      status RUNNING custom="busy" trace={spanID="span"}
      )"));
}

TEST_CASE("num_events_processed: what was not processed comes in the next turn, in order") {
  Orchestration order;
  order.Run({});
  order.Raise("a");
  order.Raise("b");
  order.Raise("c");
  order.Request();
  OrchestratorResponse response = Response({});
  response.mutable_numeventsprocessed()->set_value(2);  // OrchestratorStarted and a
  CHECK(order.AnswerWith(response) == Text(R"(
      history OrchestratorStarted @1000
      history EventRaised @1000 name="a"
      )"));
  CHECK(order.inbox.size() == 2);
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history EventRaised @1000 name="b"
      history EventRaised @1000 name="c"
      )"));
}

TEST_CASE("num_events_processed: a suspension that was not processed does not suspend") {
  Orchestration order;
  order.Run({});
  order.Raise("a");
  order.Suspend();
  order.Request();
  OrchestratorResponse response = Response({});
  response.mutable_numeventsprocessed()->set_value(2);
  order.AnswerWith(response);
  CHECK(order.state.status == RuntimeStatus::kRunning);
  order.Run({});
  CHECK(order.state.status == RuntimeStatus::kSuspended);
}

TEST_CASE("num_events_processed: nothing, too much and less than nothing count as all") {
  const int32_t count = GENERATE(0, 1, -5, 3, 100);
  Orchestration order;
  order.Run({});
  order.Raise("a");
  order.Raise("b");
  order.Request();
  OrchestratorResponse response = Response({});
  response.mutable_numeventsprocessed()->set_value(count);
  order.AnswerWith(response);
  CHECK(order.inbox.empty());
}

TEST_CASE("unknown_action: FAILED, no loop") {
  OrchestratorAction unknown;
  unknown.set_id(4);
  CHECK(Failure({Task(1, "A"), unknown}) ==
        "UnsupportedAction: the action with id 4 has no type that this server knows: update the "
        "server");
}

OrchestratorAction RewindTo(std::vector<HistoryEvent> events) {
  OrchestratorAction action;
  action.mutable_rewindorchestration();
  for (HistoryEvent& event : events) {
    *action.mutable_rewindorchestration()->add_newhistory() = std::move(event);
  }
  return action;
}

TEST_CASE("rewind_action: a new history that cannot be used fails the orchestration") {
  HistoryEvent started;
  started.mutable_executionstarted()->set_name("o");
  HistoryEvent nameless;
  nameless.mutable_taskscheduled();
  HistoryEvent timeless;
  timeless.mutable_timercreated()->mutable_fireat()->set_nanos(-1);
  HistoryEvent childless;
  childless.mutable_suborchestrationinstancecreated()->set_name("c");
  const std::string action = "InvalidAction: action rewindOrchestration: ";
  CHECK(Failure({RewindTo({})}) ==
        action + "newHistory has 0 events ExecutionStarted; it must have one");
  CHECK(Failure({RewindTo({started, started})}) ==
        action + "newHistory has 2 events ExecutionStarted; it must have one");
  CHECK(Failure({RewindTo({started, HistoryEvent()})}) ==
        action + "newHistory has an event without a type");
  CHECK(Failure({RewindTo({started, nameless})}) ==
        action + "newHistory.taskScheduled.name is empty");
  CHECK(Failure({RewindTo({started, timeless})}) ==
        action + "newHistory.fireAt is not a valid time");
  CHECK(Failure({RewindTo({started, childless})}) == action + "newHistory.instanceId is empty");
  CHECK(Failure({RewindTo({started}), Task(1, "A")}) ==
        "InvalidAction: the action rewindOrchestration is one of 2 actions; it must be the only "
        "one");

  Orchestration order;
  order.limits.history_bytes_max = 100;
  started.mutable_executionstarted()->mutable_input()->set_value(std::string(200, 'x'));
  order.Request();
  order.AnswerWith(Response({RewindTo({started})}));
  CHECK(order.state.status == RuntimeStatus::kFailed);
}

TEST_CASE("rewind_action: what the turn consumes, and a termination that comes before it") {
  HistoryEvent started;
  started.mutable_executionstarted()->set_name("o");
  HistoryEvent rewound;
  rewound.mutable_executionrewound()->mutable_reason()->set_value("why");
  Orchestration order;
  order.Run({Task(1, "A")});
  order.FinishTask(1, "ok");
  order.Raise("later");
  order.Request();
  OrchestratorResponse response = Response({RewindTo({started, rewound})});
  response.mutable_numeventsprocessed()->set_value(2);
  const TurnResult result =
      FinishTurn(order.state, order.turn, response, 5, order.now(), order.ids, order.limits);
  REQUIRE(result.rewind.has_value());
  CHECK(result.rewind->instanceid() == "order-1");
  CHECK(result.rewind->reason().value() == "why");
  CHECK(result.checkpoint.turn == 2);
  CHECK(result.checkpoint.lease_token == 5);
  CHECK(result.checkpoint.consumed == std::vector<int64_t>{order.turn.events[1].seq});
  CHECK(result.checkpoint.history->event_count == 2);
  CHECK(result.checkpoint.history->first_event == 0);
  for (const HistoryEvent& event : ParseChunk(*result.checkpoint.history)) {
    CHECK(event.has_timestamp());
  }

  order.Terminate("enough");
  order.Request();
  order.AnswerWith(Response({RewindTo({started})}));
  CHECK(order.state.status == RuntimeStatus::kTerminated);
}

TEST_CASE("bad_entity_message: the field is named") {
  OrchestratorAction action;
  action.set_id(3);
  action.mutable_sendentitymessage();
  CHECK(Failure({Task(1, "A"), action}) ==
        "InvalidAction: action sendEntityMessage with id 3: it has no message that this server "
        "knows");
  auto& signal = *action.mutable_sendentitymessage()->mutable_entityoperationsignaled();
  signal.mutable_targetinstanceid()->set_value("counter");
  CHECK(Failure({action}) ==
        "InvalidAction: action sendEntityMessage with id 3: "
        "entityOperationSignaled.targetInstanceId is no id of an entity, which is @name@key with a "
        "name that is not empty");
  signal.mutable_targetinstanceid()->set_value("@counter@a");
  signal.mutable_input()->set_value("12345678901");
  TurnLimits limits;
  limits.payload_bytes_max = 10;
  CHECK(Failure({action}, limits) ==
        "PayloadTooLarge: action sendEntityMessage with id 3: input has 11 bytes, the limit is 10 "
        "(limits.payload-bytes-max)");
  signal.clear_input();
  signal.set_requestid(std::string(limits.name_bytes_max + 1, 'x'));
  CHECK(Failure({action}).starts_with(
      "InvalidAction: action sendEntityMessage with id 3: the length of requestId is 1025 bytes"));
  auto& unlock = *action.mutable_sendentitymessage()->mutable_entityunlocksent();
  unlock.mutable_targetinstanceid()->set_value("@counter@a");
  unlock.set_criticalsectionid(std::string(1, '\0'));
  CHECK(Failure({action}).starts_with(
      "InvalidAction: action sendEntityMessage with id 3: criticalSectionId contains the "
      "character U+0000"));
  auto& lock = *action.mutable_sendentitymessage()->mutable_entitylockrequested();
  for (int i = 0; i < 10; ++i) lock.add_lockset("@counter@a");
  limits.actions_max = 10;
  CHECK(Failure({action}, limits).starts_with("TooManyActions: the turn has 11 actions"));
}

TEST_CASE("invalid_action: names, ids, versions, tags and times are checked") {
  const std::string nul("a\0b", 3);
  const char* const cannot = " contains the character U+0000, which cannot be stored in a text";
  CHECK(Failure({Task(1, "")}) == "InvalidAction: action scheduleTask with id 1: name is empty");
  CHECK(Failure({Task(1, nul)}) ==
        std::string("InvalidAction: action scheduleTask with id 1: name") + cannot);
  CHECK(Failure({Task(1, std::string(1025, 'x'))}) ==
        "InvalidAction: action scheduleTask with id 1: the length of name is 1025 bytes, the limit "
        "is 1024 (limits.name-bytes-max)");
  CHECK(Failure({With(Task(1, "A"),
                      [](OrchestratorAction& a) {
                        a.mutable_scheduletask()->mutable_version()->set_value(
                            std::string(257, '1'));
                      })}) ==
        "InvalidAction: action scheduleTask with id 1: the length of version is 257 bytes, the "
        "limit is 256 (limits.version-bytes-max)");
  CHECK(Failure({With(Task(1, "A"),
                      [](OrchestratorAction& a) {
                        (*a.mutable_scheduletask()->mutable_tags())["k"] = std::string(65536, 'v');
                      })}) ==
        "InvalidAction: action scheduleTask with id 1: tags have 65537 bytes of keys and values "
        "together, the limit is 65536 (limits.tags-bytes-max)");
  CHECK(Failure({Child(2, "kid", "")}) ==
        "InvalidAction: action createSubOrchestration with id 2: name is empty");
  CHECK(Failure({Child(2, nul, "Kid")}) ==
        std::string("InvalidAction: action createSubOrchestration with id 2: instanceId") + cannot);
  CHECK(Failure({Child(2, std::string(513, 'x'), "Kid")}) ==
        "InvalidAction: action createSubOrchestration with id 2: the length of instanceId is 513 "
        "characters, the limit is 512 (limits.instance-id-chars-max)");
  CHECK(Failure({Send(3, "", "e")}) ==
        "InvalidAction: action sendEvent with id 3: instance.instanceId is empty");
  CHECK(Failure({Send(3, "x", nul)}) ==
        std::string("InvalidAction: action sendEvent with id 3: name") + cannot);
  CHECK(Failure({TerminateOther(4, nul, "x", false)}) ==
        std::string("InvalidAction: action terminateOrchestration with id 4: instanceId") + cannot);
  OrchestratorAction no_time;
  no_time.set_id(5);
  no_time.mutable_createtimer();
  CHECK(Failure({no_time}) == "InvalidAction: action createTimer with id 5: fireAt is not set");
  CHECK(Failure({Timer(6, Seconds(1, -1))}) ==
        "InvalidAction: action createTimer with id 6: fireAt is 1 s and -1 ns after 1970; the "
        "years 1 to 9999 and 0 to 999999999 ns are allowed");
  CHECK(Failure({Timer(7, 253402300800)}).find("fireAt is 253402300800 s") != std::string::npos);
  CHECK(Failure({Complete(8, ORCHESTRATION_STATUS_RUNNING)}) ==
        "InvalidAction: action completeOrchestration: orchestrationStatus is 0, which ends no "
        "orchestration");
  CHECK(Failure({Complete(8, static_cast<OrchestrationStatus>(55))}).find("is 55") !=
        std::string::npos);
}

TEST_CASE("payload_too_large: each kind of payload, with its size and the limit") {
  TurnLimits limits;
  limits.payload_bytes_max = 10;
  const std::string large(11, 'x');
  const std::string tail = " has 11 bytes, the limit is 10 (limits.payload-bytes-max)";
  CHECK(Failure({Task(1, "A", large)}, limits) ==
        "PayloadTooLarge: action scheduleTask with id 1: input" + tail);
  CHECK(Failure({Child(1, "kid", "Kid", large)}, limits) ==
        "PayloadTooLarge: action createSubOrchestration with id 1: input" + tail);
  CHECK(Failure({Send(1, "x", "e", large)}, limits) ==
        "PayloadTooLarge: action sendEvent with id 1: data" + tail);
  CHECK(Failure({TerminateOther(1, "x", large, false)}, limits) ==
        "PayloadTooLarge: action terminateOrchestration with id 1: reason" + tail);
  CHECK(Failure({Completed(large)}, limits) ==
        "PayloadTooLarge: action completeOrchestration: result" + tail);
  CHECK(Failure({ContinueAsNew("x", {{"a", large}})}, limits) ==
        "PayloadTooLarge: action completeOrchestration: carryoverEvents.input" + tail);
  OrchestratorResponse response = Response({});
  response.mutable_customstatus()->set_value(large);
  CHECK(Failure(response, limits) == "PayloadTooLarge: customStatus" + tail);

  ActivityResponse activity;
  activity.set_taskid(3);
  activity.mutable_result()->set_value(large);
  CHECK(RenderMessage(ActivityResult(activity, 0, absl::FromUnixSeconds(5), limits)) ==
        "TaskFailed @5 taskScheduledId=3 failureDetails={errorType=\"PayloadTooLarge\""
        " errorMessage=\"the result of the activity has 11 bytes, the limit is 10 "
        "(limits.payload-bytes-max)\""
        " isNonRetriable=true} gen 0");
}

TEST_CASE("turn_actions_limit: more actions than a turn may have fail the orchestration") {
  TurnLimits limits;
  limits.actions_max = 3;
  CHECK(Failure({Task(1, "A"), Task(2, "A"), Task(3, "A"), Task(4, "A")}, limits) ==
        "TooManyActions: the turn has 4 actions and carried-over events, the limit is 3 "
        "(limits.turn-actions-max): spread them over several turns, or over sub-orchestrations");
  OrchestratorAction next = Complete(9, ORCHESTRATION_STATUS_CONTINUED_AS_NEW);
  for (int i = 0; i < 3; ++i) {
    next.mutable_completeorchestration()->add_carryoverevents()->mutable_eventraised();
  }
  CHECK(Failure({Task(1, "A"), next}, limits).find("TooManyActions: the turn has 4 ") == 0);
  Orchestration order;
  order.limits = limits;
  order.Request();
  order.AnswerWith(Response({Task(1, "A"), Task(2, "A"), Task(3, "A")}));
  CHECK(order.checkpoint.tasks.size() == 3);
}

TEST_CASE("trace_limit: a trace context of a worker is bounded") {
  OrchestratorAction task = Task(1, "A");
  task.mutable_scheduletask()->mutable_parenttracecontext()->mutable_tracestate()->set_value(
      std::string(8190, 'x'));
  CHECK(Failure({task}) ==
        "InvalidAction: action scheduleTask with id 1: parentTraceContext has 8196 bytes, the "
        "limit is 8192");
}

TEST_CASE("payload_bytes: are kept as they are, also NUL") {
  const std::string bytes("a\0b\x7f\n", 5);
  Orchestration order(StartRequest(bytes));
  order.Run({Task(1, "A", bytes)});
  order.FinishTask(1, bytes);
  order.Request();
  CHECK(order.ParsedRequest().pastevents(1).executionstarted().input().value() == bytes);
  CHECK(order.ParsedRequest().newevents(1).taskcompleted().result().value() == bytes);
  order.Answer({Completed(bytes)});
  CHECK(order.checkpoint.update->output == bytes);
}

TEST_CASE("history_too_large: the orchestration ends with the reason, but may complete") {
  TurnLimits limits;
  limits.history_bytes_max = 1000;
  CHECK(Failure({Task(1, "A", std::string(2000, 'x'))}, limits)
            .find("HistoryTooLarge: the history would have ") == 0);
  Orchestration order;
  order.limits = limits;
  order.Run({Completed(std::string(2000, 'x'))});
  CHECK(order.state.status == RuntimeStatus::kCompleted);
}

TEST_CASE("fail_instance: ends without a worker and tells the parent") {
  Orchestration parent;
  parent.Run({Child(1, "kid", "Kid")});
  Orchestration child(parent.checkpoint.children[0].instance);
  const TaskFailureDetails details = MakeFailure("PoisonMessage", "lost 100 leases");
  const auto fail = [&](const Turn& turn) {
    return FailInstance(child.state, turn, details, 9, child.now(), child.ids, child.limits);
  };
  SECTION("with the planned turn") {
    child.Request();
    const TurnResult result = fail(child.turn);
    CHECK(result.checkpoint.lease_token == 9);
    CHECK(result.checkpoint.consumed.size() == 1);
    CHECK(RenderCheckpoint(result.checkpoint) == Text(R"(
        history OrchestratorStarted @1000
        history ExecutionStarted @1000 name="Kid"
        history ExecutionCompleted @1000 orchestrationStatus=FAILED \
            failureDetails={errorType="PoisonMessage" errorMessage="lost 100 leases" \
                isNonRetriable=true}
        parent SubOrchestrationInstanceFailed @1000 taskScheduledId=1 \
            failureDetails={errorType="PoisonMessage" errorMessage="lost 100 leases" \
                isNonRetriable=true} gen 0
        status FAILED failure={errorType="PoisonMessage" errorMessage="lost 100 leases" \
            isNonRetriable=true}
        ends
        )"));
  }
  SECTION("without a turn") {
    const TurnResult result = fail(Turn{});
    CHECK(result.checkpoint.consumed.empty());
    CHECK(result.checkpoint.history->event_count == 1);
    CHECK(result.checkpoint.ends);
  }
}

}  // namespace dt::orchestration
