// RewindInstance over real gRPC: tests/CASES.md, group "Rewind". Orchestrators replay here as in an
// SDK.
#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/rpc/rpc_fixture.h"
#include "tests/support/catch.h"
#include "tests/support/fake_worker.h"

namespace dt::testing {
namespace {

constexpr OrchestrationStatus kFailed = ORCHESTRATION_STATUS_FAILED;
constexpr OrchestrationStatus kCompleted = ORCHESTRATION_STATUS_COMPLETED;

// Fails when one of the results is a failure, else completes with all of them, joined. `at_once`:
// does not wait for the others before it fails.
void FinishWith(const std::vector<std::optional<std::string>>& results, Actions& actions,
                bool at_once = false) {
  const bool all = std::all_of(results.begin(), results.end(),
                               [](const auto& result) { return result.has_value(); });
  if (!all && !at_once) return;
  for (const std::optional<std::string>& result : results) {
    if (result && result->rfind('!', 0) == 0) return actions.Complete(*result, kFailed);
  }
  if (!all) return;
  actions.Complete(absl::StrJoin(
      results, ",", [](std::string* out, const auto& result) { absl::StrAppend(out, *result); }));
}

//   Two     activities Good and Flaky side by side
//   Family  a child of Two
//   Crowd   activity Slow, a child that listens, a timer, activity Flaky, side by side; fails at
//   once Listen  completes with the input of event "go"
Functions RewindFunctions(absl::Time fire_at) {
  Functions functions;
  const auto echo = [](const ActivityRequest& request) { return request.name(); };
  functions.activities = {{"Good", echo}, {"Flaky", echo}, {"Slow", echo}};
  functions.orchestrators["Two"] = [](const Replay&, Actions& actions) {
    const auto good = actions.Task(1, "Good", "");
    const auto flaky = actions.Task(2, "Flaky", "");
    FinishWith({good, flaky}, actions);
  };
  functions.orchestrators["Family"] = [](const Replay&, Actions& actions) {
    FinishWith({actions.Child(1, "child", "Two", "")}, actions);
  };
  functions.orchestrators["Crowd"] = [fire_at](const Replay&, Actions& actions) {
    const auto slow = actions.Task(1, "Slow", "");
    const auto child = actions.Child(2, "child", "Listen", "");
    const bool fired = actions.Timer(3, fire_at);
    const auto flaky = actions.Task(4, "Flaky", "");
    FinishWith({slow, child, fired ? std::optional<std::string>("fired") : std::nullopt, flaky},
               actions, /*at_once=*/true);
  };
  functions.orchestrators["Listen"] = [](const Replay& replay, Actions& actions) {
    const std::vector<std::string> events = replay.Events("go");
    if (!events.empty()) actions.Complete(events.front());
  };
  return functions;
}

// A server with one worker that runs these functions; activities of some names fail so many times,
// or are kept until the test completes them.
class RewindWorld {
 public:
  explicit RewindWorld(absl::Time fire_at = absl::Now())
      : worker_(server_.stub()), functions_(RewindFunctions(fire_at)) {}

  TestServer& server() { return server_; }
  std::map<std::string, int> failures;
  std::set<std::string> kept_names;
  std::vector<WorkItem> kept;
  std::vector<std::string> ran;  // activities, in order
  std::vector<OrchestratorRequest> turns;

  // Works until the instance has this status.
  void WorkUntil(const std::string& instance_id, OrchestrationStatus status) {
    const absl::Time give_up = absl::Now() + kPatience;
    while (State(instance_id).orchestrationstatus() != status) {
      REQUIRE(absl::Now() < give_up);
      if (const auto item = worker_.Next(absl::Milliseconds(20))) Answer(*item);
    }
  }
  // Works until there is nothing to do for a moment.
  void WorkUntilKept(size_t count) {
    const absl::Time give_up = absl::Now() + kPatience;
    while (kept.size() < count) {
      REQUIRE(absl::Now() < give_up);
      if (const auto item = worker_.Next(absl::Milliseconds(20))) Answer(*item);
    }
  }
  void Finish(const WorkItem& item) {
    CompleteTaskResponse response;
    REQUIRE(server_.stub()
                .CompleteActivityTask(NewContext().get(), RunActivity(functions_, item), &response)
                .ok());
  }
  OrchestrationState State(const std::string& instance_id) {
    return server_.Get(instance_id).orchestrationstate();
  }
  grpc::Status Rewind(const std::string& instance_id) {
    RewindInstanceRequest request;
    request.set_instanceid(instance_id);
    request.mutable_reason()->set_value("fixed");
    RewindInstanceResponse response;
    return server_.stub().RewindInstance(NewContext().get(), request, &response);
  }
  void Raise(const std::string& instance_id, const std::string& input) {
    RaiseEventRequest request;
    request.set_instanceid(instance_id);
    request.set_name("go");
    request.mutable_input()->set_value(input);
    RaiseEventResponse response;
    REQUIRE(server_.stub().RaiseEvent(NewContext().get(), request, &response).ok());
  }

 private:
  void Answer(const WorkItem& item) {
    CompleteTaskResponse response;
    if (item.has_orchestratorrequest()) {
      turns.push_back(item.orchestratorrequest());
      REQUIRE(
          server_.stub()
              .CompleteOrchestratorTask(NewContext().get(), RunTurn(functions_, item), &response)
              .ok());
      return;
    }
    const std::string& name = item.activityrequest().name();
    if (kept_names.contains(name)) {
      kept.push_back(item);
      return;
    }
    ran.push_back(name);
    if (failures[name]-- <= 0) return Finish(item);
    ActivityResponse failed;
    failed.set_instanceid(item.activityrequest().orchestrationinstance().instanceid());
    failed.set_taskid(item.activityrequest().taskid());
    failed.set_completiontoken(item.completiontoken());
    failed.mutable_failuredetails()->set_errortype("Boom");
    REQUIRE(server_.stub().CompleteActivityTask(NewContext().get(), failed, &response).ok());
  }

  TestServer server_;
  FakeWorker worker_;
  const Functions functions_;
};

std::vector<std::string> TypesOf(const google::protobuf::RepeatedPtrField<HistoryEvent>& events) {
  std::vector<std::string> types;
  for (const HistoryEvent& event : events) {
    const google::protobuf::OneofDescriptor* type =
        HistoryEvent::descriptor()->FindOneofByName("eventType");
    const google::protobuf::FieldDescriptor* field =
        HistoryEvent::GetReflection()->GetOneofFieldDescriptor(event, type);
    types.push_back(field == nullptr ? "?" : field->name());
  }
  return types;
}

TEST_CASE("rewind_failed_activity: only the failed one runs again, under a new execution id") {
  RewindWorld world;
  world.failures["Flaky"] = 1;
  world.server().Start("Two", "t");
  world.WorkUntil("t", kFailed);
  const std::string old_execution = world.State("t").executionid().value();
  world.ran.clear();
  world.turns.clear();
  REQUIRE(world.Rewind("t").ok());
  const OrchestrationState rewound = world.State("t");
  CHECK(rewound.orchestrationstatus() == ORCHESTRATION_STATUS_RUNNING);
  CHECK_FALSE(rewound.has_completedtimestamp());
  CHECK_FALSE(rewound.has_failuredetails());
  world.WorkUntil("t", kCompleted);
  CHECK(world.ran == std::vector<std::string>{"Flaky"});
  CHECK(world.State("t").output().value() == "Good,Flaky");
  CHECK(world.State("t").executionid().value() != old_execution);

  REQUIRE(world.turns.size() == 2);
  const OrchestratorRequest& first = world.turns.front();
  CHECK(TypesOf(first.newevents()) == std::vector<std::string>{"orchestratorStarted"});
  const std::vector<std::string> past = TypesOf(first.pastevents());
  CHECK(std::count(past.begin(), past.end(), "taskScheduled") == 1);
  CHECK(std::count(past.begin(), past.end(), "taskFailed") == 0);
  CHECK(std::count(past.begin(), past.end(), "executionCompleted") == 0);
  CHECK(std::count(past.begin(), past.end(), "executionRewound") == 0);
  CHECK(first.executionid().value() == world.State("t").executionid().value());
  for (const HistoryEvent& event : first.pastevents()) {
    if (!event.has_executionstarted()) continue;
    CHECK(event.executionstarted().orchestrationinstance().executionid().value() ==
          first.executionid().value());
  }
}

TEST_CASE("rewind_failed_child: the child is rewound with its parent") {
  RewindWorld world;
  world.failures["Flaky"] = 1;
  world.server().Start("Family", "f");
  world.WorkUntil("f", kFailed);
  world.ran.clear();
  REQUIRE(world.Rewind("f").ok());
  world.WorkUntil("f", kCompleted);
  CHECK(world.ran == std::vector<std::string>{"Flaky"});
  CHECK(world.State("f").output().value() == "Good,Flaky");
  CHECK(world.State("child").orchestrationstatus() == kCompleted);
}

TEST_CASE("rewind_purged_child: the child is created again") {
  RewindWorld world;
  world.failures["Flaky"] = 1;
  world.server().Start("Family", "f");
  world.WorkUntil("f", kFailed);
  PurgeInstancesRequest purge;
  purge.set_instanceid("child");
  PurgeInstancesResponse purged;
  REQUIRE(world.server().stub().PurgeInstances(NewContext().get(), purge, &purged).ok());
  REQUIRE(purged.deletedinstancecount() == 1);
  world.ran.clear();
  REQUIRE(world.Rewind("f").ok());
  world.WorkUntil("f", kCompleted);
  CHECK(world.ran.size() == 2);
  CHECK(world.State("f").output().value() == "Good,Flaky");
}

TEST_CASE("rewind_twice: what fails again is rewound again") {
  RewindWorld world;
  world.failures["Flaky"] = 2;
  world.server().Start("Family", "f");
  for (int i = 0; i < 2; ++i) {
    world.WorkUntil("f", kFailed);
    REQUIRE(world.Rewind("f").ok());
  }
  world.WorkUntil("f", kCompleted);
  CHECK(world.State("f").output().value() == "Good,Flaky");
}

TEST_CASE("rewind_sibling_running: what is in flight arrives in the new life, and nothing hangs") {
  RewindWorld world(absl::Now() + absl::Seconds(1));
  world.failures["Flaky"] = 1;
  world.kept_names = {"Slow"};
  world.server().Start("Crowd", "c");
  world.WorkUntil("c", kFailed);
  world.WorkUntilKept(1);
  world.ran.clear();
  REQUIRE(world.Rewind("c").ok());
  world.Finish(world.kept.front());
  world.Raise("child", "gone");
  world.turns.clear();
  world.WorkUntil("c", kCompleted);
  for (const OrchestratorRequest& turn : world.turns) {
    if (turn.instanceid() != "c") continue;
    CHECK(turn.executionid().value() == world.State("c").executionid().value());
  }
  CHECK(world.State("c").output().value() == "Slow,gone,fired,Flaky");
  CHECK(world.ran == std::vector<std::string>{"Flaky"});
  CHECK(world.kept.size() == 1);
}

TEST_CASE("rewind_catch: an undone activity that still runs answers nobody") {
  TestServer server;
  FakeWorker worker(server.stub());
  server.Start("o", "r");
  CompleteTaskResponse done;
  const auto finish = [&](const WorkItem& item, const std::string& result) {
    ActivityResponse response;
    response.set_instanceid("r");
    response.set_taskid(item.activityrequest().taskid());
    response.set_completiontoken(item.completiontoken());
    if (result.empty()) response.mutable_failuredetails()->set_errortype("Boom");
    response.mutable_result()->set_value(result);
    REQUIRE(server.stub().CompleteActivityTask(NewContext().get(), response, &done).ok());
  };
  REQUIRE(worker.Complete(worker.Next().value(), {ScheduleAction(0, "fails", "")}).ok());
  finish(worker.Next().value(), "");
  OrchestratorAction failed = CompleteAction(2, "");
  failed.mutable_completeorchestration()->set_orchestrationstatus(kFailed);
  REQUIRE(worker.Complete(worker.Next().value(), {ScheduleAction(1, "handles", ""), failed}).ok());
  const WorkItem handles = worker.Next().value();
  REQUIRE(handles.activityrequest().name() == "handles");

  RewindInstanceRequest request;
  request.set_instanceid("r");
  RewindInstanceResponse response;
  REQUIRE(server.stub().RewindInstance(NewContext().get(), request, &response).ok());
  REQUIRE(worker.Complete(worker.Next().value(), {ScheduleAction(0, "fails", "")}).ok());
  finish(worker.Next().value(), "mended");
  REQUIRE(worker.Complete(worker.Next().value(), {ScheduleAction(1, "next", "")}).ok());
  const WorkItem next = worker.Next().value();
  REQUIRE(next.activityrequest().name() == "next");
  finish(handles, "of the first life");
  finish(next, "of the second life");
  const WorkItem last = worker.Next().value();
  REQUIRE(last.orchestratorrequest().newevents_size() == 2);
  const HistoryEvent& result = last.orchestratorrequest().newevents(1);
  CHECK(result.taskcompleted().result().value() == "of the second life");
}

// The events without those of an activity that failed, and with the mark of the rewind.
RewindOrchestrationAction WithoutTask(int32_t id, const OrchestratorRequest& request) {
  RewindOrchestrationAction action;
  for (const auto* events : {&request.pastevents(), &request.newevents()}) {
    for (const HistoryEvent& event : *events) {
      const bool scheduled = event.has_taskscheduled() && event.eventid() == id;
      const bool failed = event.has_taskfailed() && event.taskfailed().taskscheduledid() == id;
      if (!scheduled && !failed) *action.add_newhistory() = event;
    }
  }
  action.add_newhistory()->mutable_executionrewound()->mutable_reason()->set_value("fixed");
  return action;
}

TEST_CASE("rewind_action: the new history of a worker replaces the old one") {
  TestServer server;
  FakeWorker worker(server.stub());
  server.Start("o", "r");
  const WorkItem first = worker.Next().value();
  const std::string old_execution = first.orchestratorrequest().executionid().value();
  REQUIRE(worker
              .Complete(first, {ScheduleAction(1, "kept", ""), ScheduleAction(2, "fails", ""),
                                TimerAction(3, absl::Now() + absl::Hours(1)),
                                ChildAction(4, "c", "ended"), ChildAction(5, "c", "lives")})
              .ok());
  std::map<std::string, WorkItem> items;
  while (items.size() < 4) {
    const WorkItem item = worker.Next().value();
    items[item.has_activityrequest() ? item.activityrequest().name()
                                     : item.orchestratorrequest().instanceid()] = item;
  }
  CompleteTaskResponse done;
  ActivityResponse failed;
  failed.set_instanceid("r");
  failed.set_taskid(2);
  failed.set_completiontoken(items["fails"].completiontoken());
  failed.mutable_failuredetails()->set_errortype("Boom");
  REQUIRE(server.stub().CompleteActivityTask(NewContext().get(), failed, &done).ok());
  const WorkItem second = worker.Next().value();
  REQUIRE(second.orchestratorrequest().newevents_size() == 2);
  // This result waits in the inbox when the rewind comes, which must not lose it.
  REQUIRE(worker.Complete(items["ended"], {CompleteAction(0, "\"ended\"")}).ok());
  OrchestratorAction rewind;
  *rewind.mutable_rewindorchestration() = WithoutTask(2, second.orchestratorrequest());
  const RewindOrchestrationAction& sent = rewind.rewindorchestration();
  REQUIRE(worker.Complete(second, {rewind}).ok());

  const OrchestrationState state = server.Get("r").orchestrationstate();
  CHECK(state.orchestrationstatus() == ORCHESTRATION_STATUS_RUNNING);
  CHECK(state.executionid().value() != old_execution);
  const WorkItem third = worker.Next().value();
  const OrchestratorRequest& request = third.orchestratorrequest();
  CHECK(request.executionid().value() == state.executionid().value());
  CHECK(TypesOf(request.newevents()) ==
        std::vector<std::string>{"orchestratorStarted", "subOrchestrationInstanceCompleted"});
  REQUIRE(request.pastevents_size() == sent.newhistory_size() - 1);  // the mark is not delivered
  for (int i = 0; i < request.pastevents_size(); ++i) {
    HistoryEvent expected = sent.newhistory(i);
    if (expected.has_executionstarted()) {
      *expected.mutable_executionstarted()->mutable_orchestrationinstance()->mutable_executionid() =
          request.executionid();
    }
    CHECK(request.pastevents(i).SerializeAsString() == expected.SerializeAsString());
  }

  // What is awaited arrives, once: the child that has ended, the activity and the child in flight.
  std::multiset<std::string> results;
  const auto collect = [&results](const OrchestratorRequest& turn) {
    for (const HistoryEvent& event : turn.newevents()) {
      if (event.has_taskcompleted()) results.insert(event.taskcompleted().result().value());
      if (event.has_suborchestrationinstancecompleted()) {
        results.insert(event.suborchestrationinstancecompleted().result().value());
      }
    }
  };
  collect(request);
  CHECK(results == std::multiset<std::string>{"\"ended\""});
  REQUIRE(worker.Complete(third, {ScheduleAction(2, "fails", "")}).ok());
  REQUIRE(worker.CompleteActivity(items["kept"], "kept").ok());
  REQUIRE(worker.Complete(items["lives"], {CompleteAction(0, "\"lived\"")}).ok());
  WorkItem turn;
  while (results.size() < 4) {
    const WorkItem item = worker.Next().value();
    if (item.has_activityrequest()) {
      CHECK(item.activityrequest().name() == "fails");
      CHECK(item.activityrequest().orchestrationinstance().executionid().value() ==
            state.executionid().value());
      REQUIRE(worker.CompleteActivity(item, "again").ok());
      continue;
    }
    collect(item.orchestratorrequest());
    if (results.size() < 4) REQUIRE(worker.Complete(item, {}).ok());
    turn = item;
  }
  CHECK(results == std::multiset<std::string>{"\"ended\"", "\"lived\"", "again", "kept"});
  REQUIRE(worker.Complete(turn, {CompleteAction(9, "\"end\"")}).ok());
  CHECK(server.Get("r").orchestrationstate().output().value() == "\"end\"");
}

TEST_CASE("rewind_action: a worker whose lease is gone rewinds nothing") {
  TestServer server;
  FakeWorker lost(server.stub());
  server.Start("o", "r");
  const WorkItem stale = lost.Next().value();
  lost.Cancel();
  REQUIRE(lost.WaitForEnd().has_value());
  FakeWorker worker(server.stub());
  const WorkItem item = worker.Next().value();
  OrchestratorAction rewind;
  *rewind.mutable_rewindorchestration() = WithoutTask(0, stale.orchestratorrequest());
  REQUIRE(worker.Complete(stale, {rewind}).ok());
  REQUIRE(worker.Complete(item, {CompleteAction(0, "1")}).ok());
  const OrchestrationState state = server.Get("r").orchestrationstate();
  CHECK(state.orchestrationstatus() == kCompleted);
  CHECK(state.executionid().value() == item.orchestratorrequest().executionid().value());
}

TEST_CASE("rewind_child_ended_meanwhile: a child that ended without its parent gives its result") {
  RewindWorld world;
  world.failures["Flaky"] = 1;
  world.kept_names = {"Slow"};
  world.server().Start("Crowd", "c");
  world.WorkUntil("c", kFailed);
  world.WorkUntilKept(1);
  world.Raise("child", "early");
  world.WorkUntil("child", kCompleted);
  // Its result goes nowhere, and so the activity is to run again.
  world.Finish(world.kept.front());
  world.kept_names.clear();
  world.ran.clear();
  REQUIRE(world.Rewind("c").ok());
  world.WorkUntil("c", kCompleted);
  CHECK(world.State("c").output().value() == "Slow,early,fired,Flaky");
  CHECK(std::multiset<std::string>(world.ran.begin(), world.ran.end()) ==
        std::multiset<std::string>{"Flaky", "Slow"});
}

TEST_CASE("rewind_not_failed / rewind_missing: refused, with a text that JavaScript knows") {
  RewindWorld world;
  world.server().Start("Two", "t");
  for (const OrchestrationStatus status : {ORCHESTRATION_STATUS_PENDING, kCompleted}) {
    world.WorkUntil("t", status);
    const grpc::Status refused = world.Rewind("t");
    CHECK(refused.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
    CHECK(refused.error_message().find("not allowed") != std::string::npos);
  }
  CHECK(world.Rewind("missing").error_code() == grpc::StatusCode::NOT_FOUND);
  CHECK(world.Rewind(std::string(600, 'x')).error_code() == grpc::StatusCode::INVALID_ARGUMENT);
}

}  // namespace
}  // namespace dt::testing
