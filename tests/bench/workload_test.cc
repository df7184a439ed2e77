// The workloads without a server: a right history leads to the expected output, every wrong one is
// told.
#include "tests/bench/workload.h"

#include <string>
#include <utility>
#include <vector>

#include "google/protobuf/util/time_util.h"
#include "tests/bench/entity.h"
#include "tests/bench/replay.h"
#include "tests/bench/workloads.h"
#include "tests/support/catch.h"

namespace dt::bench {
namespace {

using google::protobuf::util::TimeUtil;

constexpr int64_t kDueUs = 1'800'000'000'000'000;

OrchestratorRequest FirstTurn(const std::string& id, const std::string& name,
                              const std::string& input) {
  OrchestratorRequest request;
  request.set_instanceid(id);
  request.add_newevents()->mutable_orchestratorstarted();
  ExecutionStartedEvent* started = request.add_newevents()->mutable_executionstarted();
  started->set_name(name);
  started->mutable_input()->set_value(input);
  return request;
}

OrchestratorRequest FirstTurn(const Workload& workload, const Parameters& parameters,
                              uint64_t number) {
  return FirstTurn("one", std::string(workload.orchestration()),
                   workload.InputOf(parameters, number));
}

void AddTimer(const OrchestratorAction& action, OrchestratorRequest& request) {
  HistoryEvent* created = request.add_pastevents();
  created->set_eventid(action.id());
  *created->mutable_timercreated()->mutable_fireat() = action.createtimer().fireat();
  HistoryEvent* started = request.add_newevents();
  *started->mutable_timestamp() = TimeUtil::MicrosecondsToTimestamp(
      TimeUtil::TimestampToMicroseconds(action.createtimer().fireat()) + 1);
  started->mutable_orchestratorstarted();
  TimerFiredEvent* fired = request.add_newevents()->mutable_timerfired();
  fired->set_timerid(action.id());
  *fired->mutable_fireat() = action.createtimer().fireat();
}

void AddActivity(const OrchestratorAction& action, OrchestratorRequest& request) {
  HistoryEvent* scheduled = request.add_pastevents();
  scheduled->set_eventid(action.id());
  scheduled->mutable_taskscheduled()->set_name(action.scheduletask().name());
  ActivityRequest activity;
  activity.set_name(action.scheduletask().name());
  activity.set_taskid(action.id());
  *activity.mutable_input() = action.scheduletask().input();
  ActivityResponse result;
  REQUIRE(RunActivity(activity, result).ok());
  TaskCompletedEvent* completed = request.add_newevents()->mutable_taskcompleted();
  completed->set_taskscheduledid(result.taskid());
  *completed->mutable_result() = result.result();
}

std::string RunToEnd(OrchestratorRequest request);

// Runs it on an entity without a state, which its answer does not show.
void AddEntityMessage(const OrchestratorAction& action, OrchestratorRequest& request) {
  const SendEntityMessageAction& message = action.sendentitymessage();
  HistoryEvent* sent = request.add_pastevents();
  sent->set_eventid(action.id());
  if (message.has_entitylockrequested()) {
    *sent->mutable_entitylockrequested() = message.entitylockrequested();
    request.add_newevents()->mutable_entitylockgranted()->set_criticalsectionid(
        message.entitylockrequested().criticalsectionid());
  } else if (message.has_entityoperationsignaled()) {
    *sent->mutable_entityoperationsignaled() = message.entityoperationsignaled();
  } else if (message.has_entityoperationcalled()) {
    *sent->mutable_entityoperationcalled() = message.entityoperationcalled();
    EntityRequest batch;
    *batch.add_operationrequests() = *sent;
    EntityBatchResult result;
    REQUIRE(RunEntity(batch, result).ok());
    EntityOperationCompletedEvent* completed =
        request.add_newevents()->mutable_entityoperationcompleted();
    completed->set_requestid(message.entityoperationcalled().requestid());
    *completed->mutable_output() = result.results(0).success().result();
  }
}

void AddChild(const OrchestratorAction& action, OrchestratorRequest& request) {
  const CreateSubOrchestrationAction& create = action.createsuborchestration();
  CHECK(create.instanceid() == request.instanceid() + ":" + std::to_string(action.id()));
  HistoryEvent* created = request.add_pastevents();
  created->set_eventid(action.id());
  created->mutable_suborchestrationinstancecreated()->set_name(create.name());
  SubOrchestrationInstanceCompletedEvent* completed =
      request.add_newevents()->mutable_suborchestrationinstancecompleted();
  completed->set_taskscheduledid(action.id());
  completed->mutable_result()->set_value(
      RunToEnd(FirstTurn(create.instanceid(), create.name(), create.input().value())));
}

// Runs the actions of a turn as a server would, and makes the next request. The completion's
// output, or "" while the orchestration goes on.
std::string Advance(const OrchestratorResponse& response, OrchestratorRequest& request) {
  request.mutable_pastevents()->MergeFrom(request.newevents());
  request.clear_newevents();
  for (const OrchestratorAction& action : response.actions()) {
    if (action.has_scheduletask()) AddActivity(action, request);
    if (action.has_createsuborchestration()) AddChild(action, request);
    if (action.has_createtimer()) AddTimer(action, request);
    if (action.has_sendentitymessage()) AddEntityMessage(action, request);
    if (!action.has_completeorchestration()) continue;
    const CompleteOrchestrationAction& complete = action.completeorchestration();
    if (complete.orchestrationstatus() != ORCHESTRATION_STATUS_CONTINUED_AS_NEW) {
      return complete.result().value();
    }
    const std::string name = request.pastevents(1).executionstarted().name();
    request = FirstTurn(request.instanceid(), name, complete.result().value());
  }
  return "";
}

std::string RunToEnd(OrchestratorRequest request) {
  OrchestratorResponse response;
  while (request.newevents_size() > 0) {
    const absl::Status status = RunTurn(request, response);
    INFO(status);
    REQUIRE(status.ok());
    if (std::string output = Advance(response, request); !output.empty()) return output;
  }
  return "";
}

std::string RunToEnd(const Workload& workload, const Parameters& parameters, uint64_t number) {
  return RunToEnd(FirstTurn(workload, parameters, number));
}

void Raise(OrchestratorRequest& request, const std::string& input) {
  EventRaisedEvent* raised = request.add_newevents()->mutable_eventraised();
  raised->set_name(std::string(kEventName));
  raised->mutable_input()->set_value(input);
}

// A request after one activity of two.
OrchestratorRequest SecondTurn() {
  Parameters parameters;
  parameters.activities = 2;
  OrchestratorRequest request = FirstTurn(Chain(), parameters, 1);
  OrchestratorResponse response;
  REQUIRE(RunTurn(request, response).ok());
  Advance(response, request);
  return request;
}

bool IsBroken(const OrchestratorRequest& request, const std::string& text) {
  OrchestratorResponse response;
  const absl::Status status = RunTurn(request, response);
  INFO(status);
  REQUIRE(response.actions_size() == 1);
  CHECK(response.actions(0).completeorchestration().orchestrationstatus() ==
        ORCHESTRATION_STATUS_FAILED);
  return status.message().find(text) != std::string::npos;
}

TEST_CASE("a workload gives the expected output, at every payload size") {
  for (const Workload* workload : {&Chain(), &Fanout(), &Tree(), &Timers(), &Generations(),
                                   &EntityHot(), &EntityMany(), &EntityLock()}) {
    for (const int payload_bytes : {22, 23, 5000}) {
      Parameters parameters;
      parameters.payload_bytes = payload_bytes;
      parameters.activities = 7;
      parameters.generations = 9;
      parameters.timer_first_due_us = kDueUs;
      workload->FillDefaults(parameters);
      const std::string output = RunToEnd(*workload, parameters, 42);
      CHECK(output == ExpectedOutput(*workload, parameters, 42));
      CHECK(output.size() == static_cast<size_t>(payload_bytes));
      CHECK(output != ExpectedOutput(*workload, parameters, 43));
    }
  }
}

TEST_CASE("another number of parts gives another output") {
  Parameters less, more;
  more.activities = less.activities + 1;
  more.width = less.width + 1;
  more.events_each = less.events_each + 1;
  more.generations = less.generations + 1;
  for (const Workload* workload : {&Chain(), &Fanout(), &Tree(), &Events(), &Generations()}) {
    CHECK(workload->OutputOf(less, 1) != workload->OutputOf(more, 1));
  }
}

TEST_CASE("a workload is found by both of its names") {
  for (const Workload* workload : AllWorkloads()) {
    CHECK(FindWorkload(workload->name()) == workload);
    CHECK(FindOrchestration(workload->orchestration()) == workload);
  }
  CHECK(FindWorkload("none") == nullptr);
  CHECK(FindOrchestration("none") == nullptr);
}

TEST_CASE("a tree has as many activities and instances as its levels say") {
  Parameters parameters;
  const Amounts three = Tree().Each(parameters);
  CHECK(three.activities == 27);
  CHECK(three.instances == 1 + 3 + 9 + 27);
  parameters.depth = 0;
  const Amounts none = Tree().Each(parameters);
  CHECK(none.activities == 1);
  CHECK(none.instances == 1);
  CHECK(RunToEnd(Tree(), parameters, 5) == ExpectedOutput(Tree(), parameters, 5));
}

TEST_CASE("an orchestration does to entities what its totals say") {
  for (const Workload* workload : {&EntityHot(), &EntityMany(), &EntityLock()}) {
    Parameters parameters;
    workload->FillDefaults(parameters);
    OrchestratorRequest request = FirstTurn(*workload, parameters, 42);
    EntityTotals totals;
    OrchestratorResponse response;
    std::string output;
    while (output.empty()) {
      REQUIRE(RunTurn(request, response).ok());
      for (const OrchestratorAction& action : response.actions()) {
        const SendEntityMessageAction& message = action.sendentitymessage();
        const std::string input = message.has_entityoperationcalled()
                                      ? message.entityoperationcalled().input().value()
                                      : message.entityoperationsignaled().input().value();
        uint64_t value = 0;
        if (!DecodeValue(input, value)) continue;
        ++totals.operations;
        totals.sum += value;
      }
      output = Advance(response, request);
    }
    CHECK(totals.operations == workload->TotalsOf(parameters, 42).operations);
    CHECK(totals.operations == static_cast<uint64_t>(workload->Each(parameters).operations));
    CHECK(totals.sum == workload->TotalsOf(parameters, 42).sum);
  }
}

TEST_CASE("timers are due evenly over the spread, or all at once") {
  Parameters parameters;
  parameters.timer_first_due_us = kDueUs;
  parameters.timers = 10;
  const auto due = [&parameters](uint64_t number) {
    Input input;
    REQUIRE(DecodeInput(Timers().InputOf(parameters, number), input));
    return static_cast<int64_t>(input.numbers[0]) - kDueUs;
  };
  CHECK(due(0) == 0);
  CHECK(due(9) == 0);
  parameters.timer_spread_us = 1'000'000;
  CHECK(due(0) == 0);
  CHECK(due(5) == 500'000);
  CHECK(due(9) == 900'000);
}

TEST_CASE("the last input of generations is the one that the last generation started with") {
  Parameters parameters;
  parameters.generations = 3;
  OrchestratorRequest request = FirstTurn(Generations(), parameters, 7);
  OrchestratorResponse response;
  for (int generation = 1; generation < 3; ++generation) {
    REQUIRE(RunTurn(request, response).ok());
    CHECK(Advance(response, request).empty());
  }
  CHECK(request.newevents(1).executionstarted().input().value() ==
        Generations().LastInputOf(parameters, 7));
  CHECK(Chain().LastInputOf(parameters, 7) == Chain().InputOf(parameters, 7));
}

TEST_CASE("an input survives its text, and nothing else is one") {
  Input input;
  REQUIRE(DecodeInput(EncodeInput({3, 18446744073709551615u}, 77, 30), input));
  CHECK(input.number_count == 2);
  CHECK(input.numbers[0] == 3);
  CHECK(input.numbers[1] == 18446744073709551615u);
  CHECK(input.value == 77);
  CHECK(input.payload_bytes == 30);
  for (const std::string text : {"", "\"", "3:", "\"3:\"", "\"3\"", "\"00000000000000000077\"",
                                 "\":00000000000000000077\"", "\"3:00000000000000000077",
                                 "\"3:0000000000000000007\"", "\"1:2:3:4:00000000000000000077\""}) {
    INFO(text);
    CHECK_FALSE(DecodeInput(text, input));
  }
}

TEST_CASE("values and inputs of all sizes survive their texts") {
  for (uint64_t number = 0; number < 500; ++number) {
    const size_t size = 22 + number;
    uint64_t value = 0;
    REQUIRE(DecodeValue(EncodeValue(Mix(number), size), value));
    CHECK(value == Mix(number));
    Input input;
    REQUIRE(DecodeInput(EncodeInput({number, 1}, Mix(number), size), input));
    CHECK(input.value == Mix(number));
    CHECK(input.numbers[0] == number);
    CHECK(input.payload_bytes == size);
  }
}

TEST_CASE("a padding of another value, or changed anywhere, is no value") {
  uint64_t value = 0;
  for (const size_t size : {size_t{30}, size_t{300'000}}) {
    const std::string text = EncodeValue(77, size);
    CHECK(text.size() == size);
    REQUIRE(DecodeValue(text, value));
    CHECK(value == 77);
    for (const size_t place : {size_t{21}, size / 2, size - 2}) {
      std::string changed = text;
      changed[place] ^= 1;
      CHECK_FALSE(DecodeValue(changed, value));
    }
    std::string other = text;
    other[20] = '8';
    CHECK_FALSE(DecodeValue(other, value));
  }
}

TEST_CASE("events sum up in any order and in any turns, and are waited for") {
  Parameters parameters;
  parameters.events_each = 3;
  OrchestratorRequest request = FirstTurn(Events(), parameters, 4);
  OrchestratorResponse response;
  REQUIRE(RunTurn(request, response).ok());
  CHECK(response.actions_size() == 0);
  Advance(response, request);
  Raise(request, EventInput(parameters, 4, 2));
  REQUIRE(RunTurn(request, response).ok());
  CHECK(response.actions_size() == 0);
  Advance(response, request);
  Raise(request, EventInput(parameters, 4, 1));
  Raise(request, EventInput(parameters, 4, 0));
  REQUIRE(RunTurn(request, response).ok());
  CHECK(Advance(response, request) == ExpectedOutput(Events(), parameters, 4));
}

TEST_CASE("an event that comes twice, or is another instance's, is an error") {
  Parameters parameters;
  parameters.events_each = 2;
  OrchestratorRequest request = FirstTurn(Events(), parameters, 4);
  Raise(request, EventInput(parameters, 4, 1));
  Raise(request, EventInput(parameters, 4, 1));
  CHECK(IsBroken(request, "event 1 for the second time"));

  request = FirstTurn(Events(), parameters, 4);
  Raise(request, EventInput(parameters, 5, 1));
  CHECK(IsBroken(request, "event 1 of another instance"));

  request = FirstTurn(Events(), parameters, 4);
  Raise(request, EventInput(parameters, 4, 2));
  CHECK(IsBroken(request, "event 2 of another instance"));

  request = FirstTurn(Chain(), parameters, 4);
  Raise(request, EventInput(parameters, 4, 0));
  CHECK(IsBroken(request, "event 0 of another instance"));

  request = FirstTurn(Events(), parameters, 4);
  Raise(request, EventInput(parameters, 4, 0));
  request.mutable_newevents(2)->mutable_eventraised()->set_name("other");
  CHECK(IsBroken(request, "event of the name 'other'"));
}

// A request after the timer has fired.
OrchestratorRequest FiredTurn() {
  Parameters parameters;
  parameters.timer_first_due_us = kDueUs;
  OrchestratorRequest request = FirstTurn(Timers(), parameters, 1);
  OrchestratorResponse response;
  REQUIRE(RunTurn(request, response).ok());
  Advance(response, request);
  return request;
}

TEST_CASE("a timer that fires early, as another one, or twice is an error") {
  OrchestratorRequest request = FiredTurn();
  *request.mutable_newevents(0)->mutable_timestamp() = TimeUtil::MicrosecondsToTimestamp(kDueUs);
  CHECK(IsBroken(request, "by the server's clock"));

  request = FiredTurn();
  *request.mutable_newevents(1)->mutable_timerfired()->mutable_fireat() =
      TimeUtil::MicrosecondsToTimestamp(kDueUs + 1);
  CHECK(IsBroken(request, "fired as one of"));

  request = FiredTurn();
  request.mutable_newevents(1)->mutable_timerfired()->set_timerid(1);
  CHECK(IsBroken(request, "task 1, which was not scheduled"));

  request = FiredTurn();
  *request.add_newevents() = request.newevents(1);
  CHECK(IsBroken(request, "second result of task 0"));
}

TEST_CASE("a timer is due in the turn that has its news, and in no other") {
  const OrchestratorRequest request = FiredTurn();
  Replay replay("one");
  REQUIRE(replay.ApplyPast(request.pastevents()).ok());
  CHECK_FALSE(replay.fired_due_us().has_value());
  CHECK_FALSE(replay.is_first_turn());
  REQUIRE(replay.ApplyNew(request.newevents()).ok());
  CHECK(replay.fired_due_us() == kDueUs);

  Replay later("one");
  REQUIRE(later.ApplyPast(request.pastevents()).ok());
  REQUIRE(later.ApplyPast(request.newevents()).ok());
  CHECK_FALSE(later.fired_due_us().has_value());
}

TEST_CASE("a result of a child that comes twice, or a task of another kind, is an error") {
  const Parameters parameters;
  OrchestratorRequest request = FirstTurn(Tree(), parameters, 1);
  OrchestratorResponse response;
  REQUIRE(RunTurn(request, response).ok());
  REQUIRE(response.actions_size() == 3);
  Advance(response, request);
  OrchestratorRequest doubled = request;
  *doubled.add_newevents() = request.newevents(1);
  CHECK(IsBroken(doubled, "second result of task 1"));

  OrchestratorRequest other = request;
  other.mutable_newevents(0)->mutable_taskcompleted()->set_taskscheduledid(0);
  CHECK(IsBroken(other, "task 0, which was not scheduled"));

  other = request;
  other.mutable_pastevents(2)->mutable_taskscheduled();
  CHECK(IsBroken(other, "TaskScheduled of an orchestration with SubOrchestrationInstanceCreated"));

  other = request;
  other.mutable_newevents(0)
      ->mutable_suborchestrationinstancefailed()
      ->mutable_failuredetails()
      ->set_errormessage("no luck");
  CHECK(IsBroken(other, "failed: 'no luck'"));
}

TEST_CASE("an answer to a signal, one that comes twice, or another instance's is an error") {
  Parameters parameters;
  parameters.signals = 1;
  parameters.calls = 2;
  EntityHot().FillDefaults(parameters);
  OrchestratorRequest request = FirstTurn(EntityHot(), parameters, 1);
  OrchestratorResponse response;
  REQUIRE(RunTurn(request, response).ok());
  Advance(response, request);
  REQUIRE(request.newevents_size() == 1);
  const std::string call = request.newevents(0).entityoperationcompleted().requestid();
  OrchestratorRequest twice = request;
  *twice.add_newevents() = request.newevents(0);
  CHECK(IsBroken(twice, "second result of task 1"));
  const auto answered_as = [&request](const std::string& id) {
    OrchestratorRequest changed = request;
    changed.mutable_newevents(0)->mutable_entityoperationcompleted()->set_requestid(id);
    return changed;
  };
  CHECK(IsBroken(answered_as(RequestId("one", 0)), "second result of task 0"));
  CHECK(IsBroken(answered_as(RequestId("two", 1)), "of another instance"));
  CHECK(IsBroken(answered_as(RequestId("one", 2)), "task 2, which was not scheduled"));
  CHECK(RequestId("one", 1) == call);
}

TEST_CASE("a generation that sees the one before is an error") {
  Parameters parameters;
  OrchestratorRequest request = FirstTurn(Generations(), parameters, 1);
  const OrchestratorRequest first = request;
  OrchestratorResponse response;
  REQUIRE(RunTurn(request, response).ok());
  Advance(response, request);
  request.mutable_pastevents()->CopyFrom(first.newevents());
  CHECK(IsBroken(request, "second ExecutionStarted"));
}

TEST_CASE("a chain turn with no result schedules nothing again") {
  OrchestratorRequest request = SecondTurn();
  request.clear_newevents();
  request.add_newevents()->mutable_orchestratorstarted();
  OrchestratorResponse response;
  REQUIRE(RunTurn(request, response).ok());
  CHECK(response.actions_size() == 0);
}

TEST_CASE("a result that comes twice is an error") {
  OrchestratorRequest request = SecondTurn();
  *request.add_newevents() = request.newevents(0);
  CHECK(IsBroken(request, "second result of task 0"));
}

TEST_CASE("a result of a task that was never scheduled is an error") {
  OrchestratorRequest request = SecondTurn();
  request.mutable_newevents(0)->mutable_taskcompleted()->set_taskscheduledid(1);
  CHECK(IsBroken(request, "task 1"));
}

TEST_CASE("a result of other bytes is an error") {
  for (const std::string text : {"", "\"\"", "\"0000000000000000000x\"", "null"}) {
    OrchestratorRequest request = SecondTurn();
    request.mutable_newevents(0)->mutable_taskcompleted()->mutable_result()->set_value(text);
    CHECK(IsBroken(request, "has the result '" + text + "'"));
  }
}

TEST_CASE("a long payload that is wrong is shown by its head") {
  OrchestratorRequest request = SecondTurn();
  request.mutable_newevents(0)->mutable_taskcompleted()->mutable_result()->set_value(
      std::string(1'000'000, 'x'));
  OrchestratorResponse response;
  const absl::Status status = RunTurn(request, response);
  CHECK(status.message().size() < 300);
  CHECK(status.message().find("(1000000 bytes)") != std::string::npos);
}

TEST_CASE("a history without its start, with a gap or with a strange event is an error") {
  OrchestratorRequest request = SecondTurn();
  request.mutable_pastevents()->DeleteSubrange(1, 1);
  CHECK(IsBroken(request, "TaskScheduled without a start"));

  request = SecondTurn();
  request.mutable_pastevents(2)->set_eventid(1);
  CHECK(IsBroken(request, "TaskScheduled 1 in the place of 0"));

  request = SecondTurn();
  request.add_newevents()->mutable_timerfired();
  CHECK(IsBroken(request, "task 0, which was not scheduled"));

  request = SecondTurn();
  request.add_newevents()->mutable_executionterminated();
  CHECK(IsBroken(request, "unexpected event type"));

  request = SecondTurn();
  request.clear_newevents();
  CHECK(IsBroken(request, "no news"));
}

TEST_CASE("an orchestration of another name, or with another input, fails in words") {
  CHECK(IsBroken(FirstTurn("one", "Other", "1"), "orchestration of the name 'Other'"));
  for (const Workload* workload : AllWorkloads()) {
    CHECK(IsBroken(FirstTurn("one", std::string(workload->orchestration()), "\"12\""),
                   "input is '\"12\"'"));
  }
  CHECK(IsBroken(FirstTurn("one", "DtbenchChain", EncodeInput({0}, 1, 22)), "input is"));
  CHECK(IsBroken(FirstTurn("one", "DtbenchGenerations", EncodeInput({2, 3}, 1, 22)), "input is"));
}

TEST_CASE("an activity with another input or name fails in words") {
  ActivityRequest request;
  request.set_name(std::string(kActivityName));
  request.mutable_input()->set_value("12");
  ActivityResponse response;
  CHECK_FALSE(RunActivity(request, response).ok());
  CHECK(response.failuredetails().errormessage().find("'12'") != std::string::npos);
  CHECK_FALSE(response.has_result());
}

}  // namespace
}  // namespace dt::bench
