// Batches and their results (RULES.md 7.4-7.17).

#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/entity/entity.h"
#include "tests/support/catch.h"

namespace dt::entity {
namespace {

using orchestration::Seconds;

EntityBatchResult WithSignal(EntityBatchResult result, const std::string& target,
                             const std::string& name,
                             std::optional<google::protobuf::Timestamp> due = std::nullopt) {
  SendSignalAction& signal = *result.add_actions()->mutable_sendsignal();
  signal.set_instanceid(target);
  signal.set_name(name);
  if (due) *signal.mutable_scheduledtime() = *due;
  return result;
}

EntityBatchResult WithStart(EntityBatchResult result, const std::string& id,
                            const std::string& name) {
  StartNewOrchestrationAction& start = *result.add_actions()->mutable_startneworchestration();
  start.set_instanceid(id);
  start.set_name(name);
  start.mutable_version();  // .NET always sets it (7.45)
  return result;
}

}  // namespace

TEST_CASE("entity_request: state, ids and operations as workers want them") {
  Entity counter;
  counter.Put(Call(1, "get", "in"));
  counter.Put(From("order-1", Signal("add")));
  CHECK(counter.Plan() == "run get\nrun add\n");
  const EntityRequest request = counter.Request();
  CHECK(request.instanceid() == "@counter@a");
  CHECK(request.executionid() == "0000000000000000000000000000002a");
  CHECK_FALSE(request.has_entitystate());
  REQUIRE(request.operationrequests_size() == 2);
  CHECK(orchestration::RenderEvent(request.operationrequests(0)) ==
        absl::StrCat("EntityOperationCalled @1000 requestId=\"", Guid(1),
                     "\" operation=\"get\" input=\"in\" parentInstanceId=\"order-1\" "
                     "parentExecutionId=\"x\""));
  CHECK(
      orchestration::RenderEvent(request.operationrequests(1)) ==
      absl::StrCat("EntityOperationSignaled @1000 requestId=\"", Guid(0), "\" operation=\"add\""));

  counter.state.state = std::make_shared<const std::string>(5000, 's');
  CHECK(counter.Request().entitystate().value() == std::string(5000, 's'));
}

TEST_CASE("call_success: answers to calls, none to signals") {
  Entity counter;
  counter.Put(Signal("add"));
  counter.Put(Call(1, "get"));
  counter.Put(Call(2, "reset"));
  counter.Plan();
  CHECK(counter.Finish(Results("1", {Ok("ignored"), Ok("1"), Ok()})) == Text(R"(
      send order-1/x: EntityOperationCompleted @1000 requestId="00000000-0000-0000-0000-\
      000000000001" output="1"
      send order-1/x: EntityOperationCompleted @1000 requestId="00000000-0000-0000-0000-\
      000000000002"
      state="1"
      worked
      )"));
  CHECK(*counter.state.state == "1");
  CHECK(counter.inbox.empty());
}

TEST_CASE("call_failure: failureDetails whatever the worker says") {
  Entity counter;
  counter.Put(Call(1, "get"));
  counter.Put(InJson(Call(2, "get")));
  counter.Put(Call(3, "get"));
  counter.Plan();
  OperationResult empty;
  empty.mutable_failure();
  CHECK(counter.Finish(Results("1", {empty, Fault("Oops"), OperationResult()})) == Text(R"(
      send order-1/x: EntityOperationFailed @1000 requestId="00000000-0000-0000-0000-\
      000000000001" failureDetails={errorType="EntityOperationFailed" errorMessage="the worker \
      gave neither a result nor failure details" isNonRetriable=true}
      send order-1/x: EventRaised @1000 name="00000000-0000-0000-0000-000000000002" \
      input="{"result":null,"failureDetails":{"ErrorType":"Oops","ErrorMessage":"",\
      "StackTrace":null,"InnerFailure":null,"IsNonRetriable":false,"Properties":null}}" as 26
      send order-1/x: EntityOperationFailed @1000 requestId="00000000-0000-0000-0000-\
      000000000003" failureDetails={errorType="EntityOperationFailed" errorMessage="the worker \
      gave neither a result nor failure details" isNonRetriable=true}
      state="1"
      worked
      )"));
}

TEST_CASE("mixed_dialects: each caller is answered in its own") {
  Entity counter;
  counter.Put(InJson(Call(1, "get")));
  counter.Put(Call(2, "get"));
  counter.Plan();
  CHECK(counter.Finish(Results("1", {Ok("1"), Ok("2")})) == Text(R"(
      send order-1/x: EventRaised @1000 name="00000000-0000-0000-0000-000000000001" \
      input="{"result":"1"}" as 25
      send order-1/x: EntityOperationCompleted @1000 requestId="00000000-0000-0000-0000-\
      000000000002" output="2"
      state="1"
      worked
      )"));
}

TEST_CASE("non_guid_request_id: the worker sees a GUID, the caller its own id") {
  Entity counter;
  EntityMessage call = Call(1, "get");
  call.request_id = "abc";
  counter.Put(call);
  counter.Plan();
  CHECK(counter.Request().operationrequests(0).entityoperationcalled().requestid() ==
        "00010000-0000-0000-0000-000000000000");
  CHECK(counter.Finish(Results("1", {Ok()})) == Text(R"(
      send order-1/x: EntityOperationCompleted @1000 requestId="abc"
      state="1"
      worked
      )"));
}

TEST_CASE("signal_order: a hundred signals in their order over batches") {
  Entity counter;
  counter.batch_limits.operations_max = 30;
  std::string sent, run;
  for (int i = 0; i < 100; ++i) {
    counter.Put(Signal(absl::StrCat("s", i)));
    absl::StrAppend(&sent, "run s", i, "\n");
  }
  int batches = 0;
  while (!counter.inbox.empty()) {
    run += counter.Plan();
    const auto count = counter.batch.operations.size();
    counter.Finish(Results("1", std::vector<OperationResult>(count, Ok())));
    ++batches;
  }
  CHECK(run == sent);
  CHECK(batches == 4);
}

TEST_CASE("batch_bytes: a batch has at most so many bytes, and at least one operation") {
  Entity counter;
  counter.batch_limits.bytes_max = 100;
  counter.Put(Signal("big", std::string(1000, 'x')));
  counter.Put(Signal("small"));
  CHECK(counter.Plan() == "run big\n");
  counter.Finish(Results("1", {Ok()}));
  CHECK(counter.Plan() == "run small\n");
}

TEST_CASE("fewer_results: the rest comes first the next time") {
  Entity counter;
  for (int i = 1; i <= 5; ++i) counter.Put(Call(i, absl::StrCat("op", i)));
  counter.Put(LockOf("S"));
  counter.Plan();
  CHECK(counter.batch.barrier);
  counter.Finish(Results("1", {Ok(), Ok(), Ok()}));
  CHECK(counter.checkpoint.consumed == std::vector<int64_t>{1, 2, 3});
  CHECK(counter.checkpoint.messages.size() == 3);
  CHECK_FALSE(counter.checkpoint.entity->arrival);
  CHECK(counter.Plan() == "run op4\nrun op5\nbarrier S\n");
}

TEST_CASE("batch_failure: nothing is applied") {
  Entity counter;
  counter.Put(Call(1, "get"));
  counter.Plan();
  EntityBatchResult failed;
  failed.mutable_failuredetails()->set_errortype("NotRegistered");
  CHECK(IsBatchFailure(counter.batch, failed));
  CHECK(IsBatchFailure(counter.batch, {}));
  CHECK(IsBatchFailure(counter.batch, Results("1", {Ok(), Ok()})));
  CHECK_FALSE(IsBatchFailure(counter.batch, Results("1", {Ok()})));
  CHECK_FALSE(IsBatchFailure(Batch(), {}));
  CHECK(IsBatchFailure(Batch(), Results("1", {Ok()})));
}

TEST_CASE("poison_batch: the server answers in place of the worker, and the state stays") {
  Entity counter;
  counter.state.state = std::make_shared<const std::string>("7");
  counter.Put(Call(1, "get"));
  counter.Put(Signal("add"));
  counter.Put(LockOf("S"));
  counter.Plan();
  TaskFailureDetails details;
  details.set_errortype("Poison");
  CHECK(counter.Fail(details) == Text(R"(
      send order-1/x: EntityOperationFailed @1000 requestId="00000000-0000-0000-0000-\
      000000000001" failureDetails={errorType="Poison"}
      arrives at 3: EntityLockGranted @1000 criticalSectionId="S"
      )"));
  CHECK(*counter.state.state == "7");
  CHECK(counter.inbox.empty());
}

TEST_CASE("state_unset_deletes: absent and empty alike") {
  Entity counter;
  for (const Input& none : {Input(), Input("")}) {
    counter.state.state = std::make_shared<const std::string>("1");
    counter.Put(Signal("delete"));
    counter.Plan();
    CHECK(counter.Finish(Results(none, {Ok()})) == Text(R"(
        state cleared
        worked
        )"));
    CHECK(counter.state.state == nullptr);
  }
  counter.Put(Signal("delete"));
  counter.Plan();
  CHECK(counter.Finish(Results(std::nullopt, {Ok()})) == "worked\n");
}

TEST_CASE("state_unchanged: the same bytes are not written again") {
  Entity counter;
  counter.state.state = std::make_shared<const std::string>("1");
  counter.Put(Signal("get"));
  counter.Plan();
  CHECK(counter.Finish(Results("1", {Ok()})) == "worked\n");
}

TEST_CASE("unregistered_entity: one failure per operation is a result") {
  Entity counter;
  counter.state.state = std::make_shared<const std::string>("1");
  counter.Put(Call(1, "get"));
  counter.Plan();
  counter.Finish(Results("1", {Fault("EntityTaskNotFound")}));
  CHECK(counter.checkpoint.messages.size() == 1);
  CHECK(counter.checkpoint.entity->state.kind == Change<std::string>::Kind::kKeep);
}

TEST_CASE("partial_failure: each operation has its own result, the state is as sent") {
  Entity counter;
  for (int i = 1; i <= 3; ++i) counter.Put(Call(i, "op"));
  counter.Plan();
  counter.Finish(Results("end", {Ok("a"), Fault("Oops"), Ok("c")}));
  REQUIRE(counter.checkpoint.messages.size() == 3);
  CHECK(counter.checkpoint.messages[0].message.event_type ==
        HistoryEvent::kEntityOperationCompleted);
  CHECK(counter.checkpoint.messages[1].message.event_type == HistoryEvent::kEntityOperationFailed);
  CHECK(*counter.state.state == "end");
}

TEST_CASE("delayed_signal: not before it is due, in either form") {
  Entity counter;
  EntityMessage signal = Signal("later");
  signal.scheduled_time = Seconds(1003);
  counter.Put(signal);
  CHECK(counter.Plan() == "");
  counter.Put(Signal("now"));
  CHECK(counter.Plan() == "run now\n");
  CHECK(counter.Finish(WithSignal(Results("1", {Ok()}), "@Counter@a", "own", Seconds(1002))) ==
        Text(R"(
        own EntityOperationSignaled @1000 requestId="00010000-0000-0000-0000-000000000000" \
        operation="own" scheduledTime=1002 due 1002
        state="1"
        worked
        )"));
  counter.At(1003);
  CHECK(counter.Plan() == "run own\nrun later\n");
}

TEST_CASE("entity_signals: to others in their order, bad ones left out with a warning") {
  Entity counter;
  counter.limits.payload_bytes_max = 10;
  counter.Put(Signal("go"));
  counter.Plan();
  EntityBatchResult result = Results("1", {Ok()});
  for (const char* target : {"@Other@B", "no entity", "@third@C"}) {
    result = WithSignal(std::move(result), target, "poke");
  }
  result = WithSignal(std::move(result), "@other@B", "big");
  result.mutable_actions(3)->mutable_sendsignal()->mutable_input()->set_value("12345678901");
  result.add_actions();
  CHECK(counter.Finish(std::move(result)) == Text(R"(
      send @other@B: EntityOperationSignaled @1000 requestId="00010000-0000-0000-0000-\
      000000000000" operation="poke"
      send @third@C: EntityOperationSignaled @1000 requestId="00020000-0000-0000-0000-\
      000000000000" operation="poke"
      state="1"
      worked
      )"));
  CHECK(counter.warnings ==
        std::vector<std::string>{
            "a signal of an entity is left out: instanceId is no id of an entity, which is "
            "@name@key with a name that is not empty",
            "a signal of an entity is left out: input has 11 bytes, the limit is 10 "
            "(limits.payload-bytes-max)",
            "the action with id 0 of an entity is left out: it has no type that this server "
            "knows"});
}

TEST_CASE("entity_starts_orchestration: no parent, nobody is told") {
  Entity counter;
  counter.Put(Signal("go"));
  counter.Plan();
  EntityBatchResult result = Results("1", {Ok()});
  result = WithStart(std::move(result), "order-2", "Order");
  result = WithStart(std::move(result), "", "Order");
  result = WithStart(std::move(result), "order-3", "");
  result = WithStart(std::move(result), "@a@b", "Order");
  result = WithStart(std::move(result), "order-2", "Order");
  auto& first = *result.mutable_actions(0)->mutable_startneworchestration();
  first.mutable_input()->set_value("in");
  first.mutable_parenttracecontext()->set_traceparent("trace");
  *first.mutable_scheduledtime() = Seconds(1010);
  CHECK(counter.Finish(std::move(result)) == Text(R"(
      child order-2 Order
      child 00020000000000000000000000000000 Order
      state="1"
      worked
      )"));
  const NewChild& child = counter.checkpoint.children[0];
  CHECK_FALSE(child.conflict);
  CHECK_FALSE(child.instance.parent);
  CHECK_FALSE(child.instance.version);
  CHECK(child.instance.hub == 3);
  CHECK(child.instance.input == "in");
  CHECK(child.instance.replaceable == kTerminalStatuses);
  CHECK(child.instance.scheduled_start == absl::FromUnixSeconds(1010));
  REQUIRE(child.instance.trace_context);
  CHECK(orchestration::RenderMessage(child.instance.started) ==
        "ExecutionStarted @1000 name=\"Order\" input=\"in\" scheduledStartTimestamp=1010 "
        "parentTraceContext={traceParent=\"trace\"} gen 0");
  CHECK(counter.warnings.size() == 3);
}

TEST_CASE("result_too_large: a failure that names it; a state fails the whole batch") {
  Entity counter;
  counter.limits.payload_bytes_max = 10;
  counter.state.state = std::make_shared<const std::string>("old");
  counter.Put(Call(1, "get"));
  counter.Plan();
  CHECK(counter.Finish(Results("new", {Ok("12345678901")})) == Text(R"--(
      send order-1/x: EntityOperationFailed @1000 requestId="00000000-0000-0000-0000-\
      000000000001" failureDetails={errorType="PayloadTooLarge" errorMessage="the result of the \
      operation has 11 bytes, the limit is 10 (limits.payload-bytes-max)" isNonRetriable=true}
      state="new"
      worked
      )--"));
  counter.Put(Call(1, "get"));
  counter.Put(Signal("add"));
  counter.Plan();
  CHECK(counter.Finish(WithSignal(Results("12345678901", {Ok()}), "@a@b", "poke")) == Text(R"--(
      send order-1/x: EntityOperationFailed @1000 requestId="00000000-0000-0000-0000-\
      000000000001" failureDetails={errorType="PayloadTooLarge" errorMessage="the state of the \
      entity has 11 bytes, the limit is 10 (limits.payload-bytes-max)" isNonRetriable=true}
      worked
      )--"));
  CHECK(*counter.state.state == "new");
  CHECK(counter.inbox.empty());
}

TEST_CASE("undecodable_entity_message: dropped without a worker") {
  Entity counter;
  NewMessage broken;
  broken.event_type = HistoryEvent::kEntityOperationCalled;
  broken.event = std::make_shared<const std::string>("\xff\xff");
  counter.Put(broken);
  broken.event_type = HistoryEvent::kEventRaised;
  counter.Put(broken);
  CHECK(counter.Plan() == Text(R"(
      drop, as its bytes are no message to an entity
      drop, as its bytes are no message to an entity
      )"));
  CHECK_FALSE(counter.batch.needs_worker());
  CHECK(counter.Finish() == "");
  CHECK(counter.inbox.empty());
}

TEST_CASE("entity_claim: state and lock as they are stored") {
  Claim claim;
  CHECK(StateFromClaim(claim).state == nullptr);
  claim.entity.emplace();
  claim.entity->state = "1";
  claim.entity->lock = EntityLock{"order-1", "x", "S"};
  const EntityState state = StateFromClaim(claim);
  CHECK(*state.state == "1");
  CHECK(state.lock->critical_section == "S");
  CHECK(state.blocked());
}

}  // namespace dt::entity
