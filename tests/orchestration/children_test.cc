// Sub-orchestrations, seen from the parent and from the child (RULES.md 4.6-4.11, 4.17, 4.18).

#include <set>

#include "tests/orchestration/harness.h"
#include "tests/support/catch.h"

namespace dt::orchestration {
namespace {

// The parent runs with these children and nothing else; the last one's instance is returned.
NewInstance Created(Orchestration& parent, std::vector<OrchestratorAction> actions) {
  parent.Run(std::move(actions));
  REQUIRE_FALSE(parent.checkpoint.children.empty());
  return parent.checkpoint.children.back().instance;
}

// What the child's end tells the parent, or "".
std::string ToParent(Orchestration& child, const OrchestratorAction& completion) {
  child.Run({completion});
  if (!child.checkpoint.parent_message) return "";
  CHECK(child.checkpoint.parent_key == 100);
  CHECK(child.checkpoint.parent_generation == child.checkpoint.parent_message->generation);
  return RenderMessage(*child.checkpoint.parent_message);
}

}  // namespace

TEST_CASE("child_fields: merged tags, the action's version only, the link to the parent") {
  CreateInstanceRequest request = StartRequest();
  request.mutable_version()->set_value("2.0");
  auto& tags = *request.mutable_tags();
  tags["team"] = "shop";
  tags["level"] = "parent";
  tags["FireAndForget"] = "not inherited";
  Orchestration parent(request);
  OrchestratorAction action = Child(7, "kid-1", "Kid", "in");
  (*action.mutable_createsuborchestration()->mutable_tags())["level"] = "child";
  const NewInstance kid = Created(parent, {action});
  CHECK(kid.instance_id == "kid-1");
  CHECK(kid.name == "Kid");
  CHECK(kid.version == std::nullopt);
  CHECK(kid.input == "in");
  CHECK(kid.tags == Tags{{"level", "child"}, {"team", "shop"}});
  CHECK(kid.replaceable == kTerminalStatuses);
  REQUIRE(kid.parent);
  CHECK(kid.parent->key == 100);
  CHECK(kid.parent->generation == 0);
  CHECK(kid.parent->task_id == 7);
  CHECK(kid.parent->instance_id == "order-1");
  CHECK(kid.started.generation == 0);
  CHECK(RenderWholeEvent(ParseEvent(*kid.started.event)) ==
        "ExecutionStarted @1000 name=\"Kid\" input=\"in\""
        " orchestrationInstance={instanceId=\"kid-1\""
        " executionId=\"00020000000000000000000000000000\"}"
        " parentInstance={taskScheduledId=7 name=\"Order\" version=\"2.0\""
        " orchestrationInstance={instanceId=\"order-1\""
        " executionId=\"00010000000000000000000000000000\"}}"
        " tags={level=\"child\" team=\"shop\"}");
}

TEST_CASE("child_fields: an explicit version and an empty input are kept as they are") {
  Orchestration parent;
  OrchestratorAction action = Child(1, "kid", "Kid", "");
  action.mutable_createsuborchestration()->mutable_version()->set_value("1.1");
  const NewInstance kid = Created(parent, {action});
  CHECK(kid.version == "1.1");
  CHECK(kid.input == "");
  Orchestration child(kid);
  CHECK(child.Request() == Text(R"(
      new OrchestratorStarted @1000
      new ExecutionStarted @1000 name="Kid" version="1.1" input=""
      )"));
}

TEST_CASE("child_completes: the parent gets the result once") {
  Orchestration parent;
  Orchestration child(Created(parent, {Child(3, "kid", "Kid")}));
  CHECK(ToParent(child, Completed("42")) ==
        "SubOrchestrationInstanceCompleted @1000 taskScheduledId=3 result=\"42\" gen 0");
  parent.Put(*child.checkpoint.parent_message);
  parent.Put(*child.checkpoint.parent_message);
  CHECK(parent.Run({Completed()}) == Text(R"(
      history OrchestratorStarted @1000
      history SubOrchestrationInstanceCompleted @1000 taskScheduledId=3 result="42"
      history ExecutionCompleted @1000 orchestrationStatus=COMPLETED
      status COMPLETED
      ends
      )"));
}

TEST_CASE("child_terminated: the parent gets failure details, whatever the end was") {
  Orchestration parent;
  Orchestration child(Created(parent, {Child(3, "kid", "Kid")}));
  const std::string head = "SubOrchestrationInstanceFailed @1000 taskScheduledId=3 failureDetails=";
  SECTION("terminated with a reason") {
    CHECK(ToParent(child, Complete(1, ORCHESTRATION_STATUS_TERMINATED, "why")) ==
          head + "{errorType=\"OrchestrationTerminated\" errorMessage=\"why\"} gen 0");
  }
  SECTION("terminated without a reason") {
    CHECK(ToParent(child, Complete(1, ORCHESTRATION_STATUS_TERMINATED)) ==
          head +
              "{errorType=\"OrchestrationTerminated\""
              " errorMessage=\"The orchestration was terminated\"} gen 0");
  }
  SECTION("canceled") {
    CHECK(ToParent(child, Complete(1, ORCHESTRATION_STATUS_CANCELED)) ==
          head +
              "{errorType=\"OrchestrationCanceled\""
              " errorMessage=\"The orchestration was canceled\"} gen 0");
  }
  SECTION("failed") {
    CHECK(ToParent(child, Failed("Oops", "bad")) ==
          head + "{errorType=\"Oops\" errorMessage=\"bad\"} gen 0");
  }
}

TEST_CASE("child_retry_same_id: a failed child's id is used again, with a new execution") {
  Orchestration parent;
  std::vector<std::string> executions;
  for (int run = 0; run < 3; ++run) {
    const NewInstance kid = Created(parent, {Child(run, "kid", "Kid")});
    CHECK(kid.replaceable == kTerminalStatuses);
    executions.push_back(kid.execution_id);
    Orchestration child(kid);
    const bool last = run == 2;
    ToParent(child, last ? Completed("ok") : Failed("Oops", "bad"));
    parent.Put(*child.checkpoint.parent_message);
  }
  CHECK(std::set<std::string>(executions.begin(), executions.end()).size() == 3);
  CHECK(parent.Run({Completed()})
            .find("SubOrchestrationInstanceCompleted @1000 "
                  "taskScheduledId=2 result=\"ok\"") != std::string::npos);
}

TEST_CASE(
    "child_id_running: the failure for a live id is ready to be put into the parent's inbox") {
  Orchestration parent;
  Created(parent, {Child(5, "busy", "Kid")});
  CHECK(RenderMessage(*parent.checkpoint.children[0].conflict) ==
        "SubOrchestrationInstanceFailed @1000 taskScheduledId=5"
        " failureDetails={errorType=\"OrchestrationAlreadyExists\""
        " errorMessage=\"an orchestration with the id \"busy\" is running\"} gen 0");
  parent.Put(*parent.checkpoint.children[0].conflict);
  CHECK(parent.Request() != "");
}

TEST_CASE("child_id_running: two children of one answer with the same id") {
  Orchestration parent;
  CHECK(parent.Run({Child(1, "kid", "Kid"), Child(2, "kid", "Kid")}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order"
      history SubOrchestrationInstanceCreated #1 @1000 instanceId="kid" name="Kid"
      history SubOrchestrationInstanceCreated #2 @1000 instanceId="kid" name="Kid"
      child kid Kid
      own SubOrchestrationInstanceFailed @1000 taskScheduledId=2 \
          failureDetails={errorType="OrchestrationAlreadyExists" errorMessage="an orchestration \
              with the id "kid" is running"} gen 0
      )"));
}

TEST_CASE("event_to_child_of_same_turn: what follows a child's creation comes after it") {
  Orchestration parent(StartRequest());
  parent.Run({Send(1, "kid", "before"), TerminateOther(2, "kid", "old", false),
              Child(3, "kid", "Kid"), Send(4, "kid", "after"), Send(5, "other", "x"),
              TerminateOther(6, "kid", "new", false)});
  std::vector<bool> after;
  for (const auto& message : parent.checkpoint.messages) after.push_back(message.after_children);
  for (const auto& ended : parent.checkpoint.terminations) after.push_back(ended.after_children);
  CHECK(after == std::vector<bool>{false, true, false, false, true});
}

TEST_CASE("event_to_child_of_same_turn: a child that is not made has nothing to come after") {
  Orchestration parent(StartRequest());
  parent.Run({Child(1, "order-1", "Kid"), TerminateOther(2, "@counter@a", "x", false),
              Child(3, "@counter@a", "Kid"), Send(4, "@counter@a", "x")});
  for (const auto& message : parent.checkpoint.messages) CHECK_FALSE(message.after_children);
}

TEST_CASE("child_id_self: fails instead of waiting for itself") {
  Orchestration parent;
  CHECK(parent.Run({Child(1, "order-1", "Kid")}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order"
      history SubOrchestrationInstanceCreated #1 @1000 instanceId="order-1" name="Kid"
      own SubOrchestrationInstanceFailed @1000 taskScheduledId=1 \
          failureDetails={errorType="OrchestrationAlreadyExists" errorMessage="an orchestration \
              with the id "order-1" is running"} gen 0
      )"));
  CHECK(parent.Request() != "");
}

TEST_CASE("child_id_entity: an entity's id is no child's id") {
  Orchestration parent;
  CHECK(parent.Run({Child(1, "@counter@a", "Kid")}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order"
      history SubOrchestrationInstanceCreated #1 @1000 instanceId="@counter@a" name="Kid"
      own SubOrchestrationInstanceFailed @1000 taskScheduledId=1 \
          failureDetails={errorType="InvalidInstanceId" errorMessage=""@counter@a" is the id of \
              an entity, not of an orchestration"} gen 0
      )"));
}

TEST_CASE("go_empty_child_id: is made of the parent's id and the action's") {
  Orchestration parent;
  CHECK(Created(parent, {Child(1, "", "Kid")}).instance_id == "order-1:0001");
  parent.Raise("more");
  CHECK(Created(parent, {Child(0xabcd, "", "Kid")}).instance_id == "order-1:abcd");
}

TEST_CASE("go_empty_child_id: an id that grows beyond the limit fails the child") {
  CreateInstanceRequest request = StartRequest();
  request.set_instanceid(std::string(510, 'x'));
  Orchestration parent(request);
  parent.Run({Child(1, "", "Kid")});
  CHECK(parent.checkpoint.children.empty());
  REQUIRE(parent.checkpoint.own_messages.size() == 1);
  CHECK(RenderMessage(parent.checkpoint.own_messages[0]).find("InvalidInstanceId") !=
        std::string::npos);
}

TEST_CASE("child_ids_over_continue: a terminal child of the last generation is replaced") {
  Orchestration parent;
  Created(parent, {Child(1, "order-1:0001", "Kid")});
  parent.Raise("next");
  parent.Run({ContinueAsNew("2")});
  const NewInstance kid = Created(parent, {Child(1, "order-1:0001", "Kid")});
  CHECK(kid.replaceable == kTerminalStatuses);
  CHECK(kid.parent->generation == 1);
}

TEST_CASE("parent_continues_before_child_ends: the result of the old generation is dropped") {
  Orchestration parent;
  Orchestration child(Created(parent, {Child(1, "kid", "Kid")}));
  parent.Raise("next");
  parent.Run({ContinueAsNew("2")});
  parent.Run({Child(1, "kid-2", "Kid")});
  ToParent(child, Completed("late"));
  parent.Put(*child.checkpoint.parent_message);
  CHECK(parent.Request() == "");
  CHECK(parent.turn.dropped.size() == 1);
  CHECK(parent.state.outstanding.size() == 1);
}

TEST_CASE("fire_and_forget: the parent is never told") {
  Orchestration parent;
  OrchestratorAction action = Child(1, "kid", "Kid");
  (*action.mutable_createsuborchestration()->mutable_tags())["FireAndForget"] = "";
  const NewInstance kid = Created(parent, {action});
  CHECK(kid.parent->task_id == std::nullopt);
  CHECK(kid.tags == Tags{{"FireAndForget", ""}});
  Orchestration child(kid);
  CHECK(ToParent(child, Completed("done")) == "");
  CHECK(parent.state.outstanding.empty());
}

TEST_CASE("child_continues_then_completes: the parent is told once, by the last generation") {
  Orchestration parent;
  Orchestration child(Created(parent, {Child(1, "kid", "Kid")}));
  CHECK(ToParent(child, ContinueAsNew("2")) == "");
  CHECK(ToParent(child, ContinueAsNew("3")) == "");
  CHECK(child.Request() == Text(R"(
      new OrchestratorStarted @1000
      new ExecutionStarted @1000 name="Kid" input="3"
      )"));
  const OrchestratorRequest request = child.ParsedRequest();
  CHECK(RenderFields(request.newevents(1).executionstarted().parentinstance()) ==
        "taskScheduledId=1 name=\"Order\" orchestrationInstance={instanceId=\"order-1\""
        " executionId=\"00010000000000000000000000000000\"}");
  CHECK(ToParent(child, Completed("end")) ==
        "SubOrchestrationInstanceCompleted @1000 taskScheduledId=1 result=\"end\" gen 0");
}

}  // namespace dt::orchestration
