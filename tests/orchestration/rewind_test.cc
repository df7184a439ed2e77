// PlanRewind: what is rewritten and what is created again (RULES.md 5.29, 5.30). That a rewound
// instance runs on is tested over gRPC in tests/rpc/rewind_test.cc.
#include "server/orchestration/rewind.h"

#include <string>
#include <vector>

#include "server/orchestration/event_bytes.h"
#include "server/orchestration/wire.h"
#include "tests/orchestration/harness.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using orchestration::ChunkWriter;
using orchestration::RewindPlan;

HistoryEvent Scheduled(int32_t id) {
  HistoryEvent event;
  event.set_eventid(id);
  event.mutable_taskscheduled()->set_name("a");
  return event;
}

HistoryEvent Completed(int32_t id) {
  HistoryEvent event;
  event.set_eventid(-1);
  event.mutable_taskcompleted()->set_taskscheduledid(id);
  return event;
}

HistoryEvent Failed(int32_t id) {
  HistoryEvent event;
  event.set_eventid(-1);
  event.mutable_taskfailed()->set_taskscheduledid(id);
  return event;
}

HistoryEvent Started() {
  HistoryEvent event;
  event.set_eventid(-1);
  event.mutable_executionstarted()->set_name("o");
  event.mutable_executionstarted()
      ->mutable_orchestrationinstance()
      ->mutable_executionid()
      ->set_value("old");
  return event;
}

// A FAILED instance; each list is a turn.
RewindSource SourceWith(const std::vector<std::vector<HistoryEvent>>& turns) {
  RewindSource source;
  source.exists = true;
  source.claim.key = 7;
  source.claim.instance_id = "i";
  source.claim.execution_id = "old";
  source.claim.status = RuntimeStatus::kFailed;
  int32_t first_event = 0;
  for (const std::vector<HistoryEvent>& turn : turns) {
    ChunkWriter writer;
    for (const HistoryEvent& event : turn) writer.Append(event);
    source.claim.history.push_back(writer.Take(++source.claim.turn, first_event));
    first_event += static_cast<int32_t>(turn.size());
  }
  return source;
}

// The events of the rewritten history by type and id, as "taskScheduled 1".
std::vector<std::string> Rewritten(const RewindPlan& plan) {
  std::vector<std::string> shown;
  for (const HistoryChunk& chunk : plan.state.history) {
    orchestration::WireReader reader(*chunk.events);
    orchestration::WireField field;
    while (reader.Next(field)) {
      HistoryEvent event;
      REQUIRE(event.ParseFromArray(field.bytes.data(), static_cast<int>(field.bytes.size())));
      if (event.has_taskscheduled())
        shown.push_back("scheduled " + std::to_string(event.eventid()));
      if (event.has_taskcompleted()) {
        shown.push_back("completed " + std::to_string(event.taskcompleted().taskscheduledid()));
      }
      if (event.has_taskfailed()) {
        shown.push_back("failed " + std::to_string(event.taskfailed().taskscheduledid()));
      }
    }
  }
  return shown;
}

absl::StatusOr<RewindPlan> Plan(RewindSource source) {
  orchestration::CountingIds ids;
  RewindInstanceRequest request;
  request.set_instanceid("i");
  return orchestration::PlanRewind("i", std::move(source), request, absl::FromUnixSeconds(1000),
                                   ids);
}

TEST_CASE("rewind_python_ids an id that failed and then succeeded keeps all its events") {
  const auto plan = Plan(SourceWith({{Started(), Scheduled(1), Scheduled(2)},
                                     {Failed(1), Scheduled(1)},
                                     {Completed(1)},
                                     {Failed(2)}}));
  REQUIRE(plan.ok());
  CHECK(Rewritten(*plan) ==
        std::vector<std::string>{"scheduled 1", "failed 1", "scheduled 1", "completed 1"});
  // Turn 1 has lost an event, so turns 2 and 3 move up; turn 4 is empty now.
  std::vector<std::string> changed;
  for (const HistoryChunk& chunk : plan->rewind.history) {
    changed.push_back(std::to_string(chunk.turn) + " at " + std::to_string(chunk.first_event) +
                      (chunk.events == nullptr ? " moved" : "") + " with " +
                      std::to_string(chunk.event_count));
  }
  CHECK(changed == std::vector<std::string>{"1 at 0 with 2", "2 at 2 moved with 2",
                                            "3 at 4 moved with 1", "4 at 5 with 0"});
  CHECK(plan->rewind.checkpoint.tasks.empty());
  CHECK(plan->rewind.checkpoint.turn == 5);
  CHECK(plan->rewind.checkpoint.history->first_event == 5);
}

TEST_CASE("rewind_catch an activity in flight that is undone is taken back") {
  RewindSource source = SourceWith(
      {{Started(), Scheduled(0), Scheduled(1)}, {Failed(0), Scheduled(2), Scheduled(3)}});
  source.task_ids = {1, 3};
  const auto plan = Plan(std::move(source));
  REQUIRE(plan.ok());
  CHECK(Rewritten(*plan) == std::vector<std::string>{"scheduled 1"});
  CHECK(plan->rewind.dropped_task_ids == std::vector<int32_t>{3});
  CHECK(plan->rewind.found_task_ids == std::vector<int32_t>{1, 3});
  CHECK(plan->rewind.checkpoint.tasks.empty());
}

TEST_CASE("rewind_catch an undone child must have ended") {
  HistoryEvent created;
  created.set_eventid(1);
  created.mutable_suborchestrationinstancecreated()->set_instanceid("child");
  const auto plan = Plan(SourceWith({{Started(), Scheduled(0)}, {Failed(0), created}}));
  REQUIRE(plan.ok());
  REQUIRE(plan->children.size() == 1);
  RewindSource child;
  child.exists = true;
  child.claim.key = 9;
  const auto resolve = [&](RuntimeStatus status, int32_t task_id) {
    orchestration::CountingIds ids;
    child.claim.status = status;
    child.claim.parent = ParentLink{7, 0, task_id, "i"};
    RewindPlan copy = *plan;
    const absl::StatusOr<bool> failed =
        orchestration::ResolveChild(copy.children[0], child, ids, copy);
    CHECK(copy.rewind.checkpoint.children.empty());
    CHECK(copy.rewind.checkpoint.own_messages.size() == 1);
    if (!failed.ok()) return std::string(failed.status().message());
    CHECK_FALSE(*failed);
    return std::to_string(copy.rewind.found_children.size()) + " found";
  };
  // One that failed is not rewound; that it has ended must still be so when this is written.
  CHECK(resolve(RuntimeStatus::kFailed, 1) == "1 found");
  CHECK(resolve(RuntimeStatus::kCompleted, 1) == "1 found");
  CHECK(resolve(RuntimeStatus::kRunning, 2) == "0 found");  // a child of another action
  const std::string refused = resolve(RuntimeStatus::kRunning, 1);
  CHECK(refused.find("not allowed") != std::string::npos);
  CHECK(refused.find("'child'") != std::string::npos);
  child.exists = false;
  CHECK(resolve(RuntimeStatus::kRunning, 1) == "0 found");
}

TEST_CASE("rewind_outstanding what is awaited is created again, unless it is in flight") {
  RewindSource source =
      SourceWith({{Started(), Scheduled(1), Scheduled(2), Scheduled(3)}, {Failed(3)}});
  source.task_ids = {2};
  const auto plan = Plan(std::move(source));
  REQUIRE(plan.ok());
  REQUIRE(plan->rewind.checkpoint.tasks.size() == 1);
  CHECK(plan->rewind.checkpoint.tasks[0].task_id == 1);
  CHECK(plan->rewind.checkpoint.tasks[0].execution_id == plan->rewind.execution_id);
  CHECK(plan->rewind.found_task_ids == std::vector<int32_t>{2});
  // Nothing else but the message that asks for a turn.
  REQUIRE(plan->rewind.checkpoint.own_messages.size() == 1);
  CHECK(plan->rewind.checkpoint.own_messages[0].event_type == HistoryEvent::kOrchestratorStarted);
}

TEST_CASE("rewind_child_states live, ended, failed, missing, and somebody else's") {
  HistoryEvent created;
  created.set_eventid(4);
  created.mutable_suborchestrationinstancecreated()->set_instanceid("child");
  created.mutable_suborchestrationinstancecreated()->set_name("c");
  RewindSource child;
  child.exists = true;
  child.claim.key = 9;
  child.claim.parent = ParentLink{7, 0, 4, "i"};
  child.output = "\"out\"";
  const auto resolve = [&](const RewindSource& found, RewindPlan& plan) {
    orchestration::CountingIds ids;
    REQUIRE(plan.children.size() == 1);
    return orchestration::ResolveChild(plan.children[0], found, ids, plan).value();
  };
  const auto new_plan = [&] {
    auto plan = Plan(SourceWith({{Started(), created}}));
    REQUIRE(plan.ok());
    return *std::move(plan);
  };
  const std::vector<std::pair<RuntimeStatus, size_t>> messages = {{RuntimeStatus::kRunning, 1},
                                                                  {RuntimeStatus::kSuspended, 1},
                                                                  {RuntimeStatus::kFailed, 1},
                                                                  {RuntimeStatus::kCompleted, 2},
                                                                  {RuntimeStatus::kTerminated, 2}};
  for (const auto& [status, count] : messages) {
    INFO(static_cast<int>(status));
    child.claim.status = status;
    RewindPlan plan = new_plan();
    CHECK(resolve(child, plan) == (status == RuntimeStatus::kFailed));
    CHECK(plan.rewind.checkpoint.own_messages.size() == count);
    CHECK(plan.rewind.checkpoint.children.empty());
    CHECK(plan.rewind.found_children.size() == 1);
  }
  for (const bool exists : {false, true}) {
    child.exists = exists;
    child.claim.parent->key = 8;
    RewindPlan plan = new_plan();
    CHECK_FALSE(resolve(child, plan));
    REQUIRE(plan.rewind.checkpoint.children.size() == 1);
    CHECK(plan.rewind.checkpoint.children[0].instance.instance_id == "child");
    CHECK(plan.rewind.found_children.empty());
  }
}

TEST_CASE("rewind_open_lock a critical section that was not left cannot be entered again") {
  HistoryEvent requested;
  requested.set_eventid(0);
  requested.mutable_entitylockrequested()->set_criticalsectionid("section");
  requested.mutable_entitylockrequested()->add_lockset("@counter@a");
  HistoryEvent granted;
  granted.mutable_entitylockgranted()->set_criticalsectionid("section");
  HistoryEvent unlocked;
  unlocked.set_eventid(1);
  unlocked.mutable_entityunlocksent()->set_criticalsectionid("section");
  unlocked.mutable_entityunlocksent()->mutable_targetinstanceid()->set_value("@counter@a");
  const auto open = Plan(SourceWith({{Started(), requested}, {granted}}));
  CHECK(open.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(open.status().message().find("not allowed") != std::string::npos);
  CHECK(open.status().message().find("section") != std::string::npos);
  CHECK(Plan(SourceWith({{Started(), requested}, {granted, unlocked}})).ok());
  // SDKs leave the section on their own when the code throws, which is undone.
  unlocked.set_eventid(2);
  const auto undone =
      Plan(SourceWith({{Started(), requested, Scheduled(1)}, {granted}, {Failed(1), unlocked}}));
  CHECK(undone.status().code() == absl::StatusCode::kFailedPrecondition);
}

TEST_CASE(
    "rewind_asks_again calls and lock requests without an answer are sent by the new execution") {
  HistoryEvent answered;
  answered.set_eventid(1);
  answered.mutable_entityoperationcalled()->set_requestid("answered");
  answered.mutable_entityoperationcalled()->mutable_targetinstanceid()->set_value("@C@k");
  HistoryEvent waiting = answered;
  waiting.set_eventid(2);
  waiting.mutable_entityoperationcalled()->set_requestid("waiting");
  HistoryEvent json;
  json.set_eventid(3);
  json.mutable_eventsent()->set_instanceid("@C@k");
  json.mutable_eventsent()->set_name("op");
  json.mutable_eventsent()->mutable_input()->set_value(R"({"op":"get","id":"json"})");
  HistoryEvent lock;
  lock.set_eventid(4);
  lock.mutable_entitylockrequested()->set_criticalsectionid("section");
  lock.mutable_entitylockrequested()->add_lockset("@C@k");
  HistoryEvent answer;
  answer.mutable_entityoperationcompleted()->set_requestid("answered");
  const auto plan = Plan(SourceWith(
      {{Started(), answered, waiting, json, lock, Scheduled(5)}, {answer}, {Failed(5)}}));
  REQUIRE(plan.ok());
  const Checkpoint& checkpoint = plan->rewind.checkpoint;
  REQUIRE(checkpoint.messages.size() == 2);
  std::string shown;
  for (const AddressedMessage& message : checkpoint.messages) {
    shown += message.instance_id + ": " + orchestration::RenderMessage(message.message) + "\n";
  }
  CHECK(shown == orchestration::Text(R"(
      @c@k: EntityOperationCalled @1000 requestId="waiting" parentInstanceId="i" \
          parentExecutionId="00010000000000000000000000000000"
      @c@k: EntityOperationCalled @1000 requestId="json" operation="get" parentInstanceId="i" \
          parentExecutionId="00010000000000000000000000000000"
      )"));
  REQUIRE(checkpoint.lock_requests.size() == 1);
  CHECK(checkpoint.lock_requests[0].critical_section == "section");
  CHECK(checkpoint.lock_requests[0].entity_ids == std::vector<std::string>{"@c@k"});
}

TEST_CASE("rewind_unreadable a history that is no history is refused") {
  RewindSource source = SourceWith({{Started()}});
  source.claim.history[0].events = std::make_shared<const std::string>("\x1A\x7F");
  CHECK(Plan(std::move(source)).status().code() == absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace dt::testing
