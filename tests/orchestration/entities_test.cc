// What orchestrations send to entities, in both dialects, and what they get from them (RULES.md
// 4.13, 7.16-7.21, 7.26-7.30, 7.43).

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/orchestration/entity_messages.h"
#include "server/orchestration/timestamps.h"
#include "tests/orchestration/harness.h"
#include "tests/support/catch.h"

namespace dt::orchestration {
namespace {

constexpr char kGuid[] = "0123abcd-0123-0123-0123-0123456789ab";
constexpr char kUpperGuid[] = "0123ABCD-0123-0123-0123-0123456789AB";
constexpr char kCounter[] = "@Counter@A";
constexpr char kExecution[] = "00010000000000000000000000000000";

OrchestratorAction CallEntity(int32_t id, const std::string& request,
                              const std::string& target = kCounter) {
  OrchestratorAction action;
  action.set_id(id);
  auto& called = *action.mutable_sendentitymessage()->mutable_entityoperationcalled();
  called.set_requestid(request);
  called.set_operation("get");
  called.mutable_targetinstanceid()->set_value(target);
  return action;
}

OrchestratorAction SignalEntity(int32_t id, const std::string& target = kCounter,
                                int64_t due_seconds = 0) {
  OrchestratorAction action;
  action.set_id(id);
  auto& signaled = *action.mutable_sendentitymessage()->mutable_entityoperationsignaled();
  signaled.set_requestid(kGuid);
  signaled.set_operation("add");
  signaled.mutable_targetinstanceid()->set_value(target);
  if (due_seconds > 0) *signaled.mutable_scheduledtime() = Seconds(due_seconds);
  return action;
}

OrchestratorAction LockEntities(int32_t id, const std::string& section,
                                const std::vector<std::string>& entities) {
  OrchestratorAction action;
  action.set_id(id);
  auto& lock = *action.mutable_sendentitymessage()->mutable_entitylockrequested();
  lock.set_criticalsectionid(section);
  for (const std::string& entity : entities) lock.add_lockset(entity);
  return action;
}

OrchestratorAction UnlockEntity(int32_t id, const std::string& section,
                                const std::string& target = kCounter) {
  OrchestratorAction action;
  action.set_id(id);
  auto& unlock = *action.mutable_sendentitymessage()->mutable_entityunlocksent();
  unlock.set_criticalsectionid(section);
  unlock.mutable_targetinstanceid()->set_value(target);
  return action;
}

// What was sent, as an entity reads it.
EntityMessage Read(int16_t type, const SharedBytes& event) {
  auto read = ReadEntityMessage(type, *event);
  REQUIRE(read);
  return *std::move(read);
}

EntityMessage Sent(const Orchestration& order, size_t index = 0) {
  REQUIRE(order.checkpoint.messages.size() > index);
  const NewMessage& message = order.checkpoint.messages[index].message;
  return Read(message.event_type, message.event);
}

// As the store delivers it: bound to the generation that asked.
void Deliver(Orchestration& order, NewMessage answer) {
  answer.generation = order.state.generation;
  order.Put(std::move(answer));
}

void Grant(Orchestration& order) {
  REQUIRE(order.checkpoint.lock_requests.size() == 1);
  Deliver(order, LockGrantedAnswer(Read(HistoryEvent::kEntityLockRequested,
                                        order.checkpoint.lock_requests[0].request),
                                   ToTimestamp(order.now())));
}

}  // namespace

TEST_CASE("call_entity: the history is the action's, the message the turn's") {
  Orchestration order;
  CHECK(order.Run({CallEntity(1, kGuid), SignalEntity(2, kCounter, 1010)}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order"
      history EntityOperationCalled #1 @1000 requestId="0123abcd-0123-0123-0123-0123456789ab" \
          operation="get" targetInstanceId="@Counter@A"
      history EntityOperationSignaled #2 @1000 requestId="0123abcd-0123-0123-0123-0123456789ab" \
          operation="add" scheduledTime=1010 targetInstanceId="@Counter@A"
      send @counter@A: EntityOperationCalled @1000 requestId="0123abcd-0123-0123-0123-\
          0123456789ab" operation="get" parentInstanceId="order-1" \
          parentExecutionId="00010000000000000000000000000000"
      send @counter@A: EntityOperationSignaled @1000 requestId="0123abcd-0123-0123-0123-\
          0123456789ab" operation="add" scheduledTime=1010 due 1010
      )"));
  CHECK(Sent(order, 1).sender_id == "order-1");
  CHECK(Sent(order, 1).sender_execution_id == kExecution);
}

TEST_CASE("duplicate_entity_response: an answer is delivered once, in one batch and after it") {
  Orchestration order;
  order.Run({CallEntity(1, kUpperGuid)});
  const EntityMessage call = Sent(order);
  const auto answer = [&](const std::string& result) {
    Deliver(order, CompletedAnswer(call, result, Seconds(1000)).message);
  };
  answer("1");
  answer("2");
  CHECK(order.Request() == Text(R"(
      past OrchestratorStarted @1000
      past ExecutionStarted @1000 name="Order"
      past EntityOperationCalled #1 @1000 requestId="0123ABCD-0123-0123-0123-0123456789AB" \
          operation="get" targetInstanceId="@Counter@A"
      new OrchestratorStarted @1000
      new EntityOperationCompleted @1000 requestId="0123ABCD-0123-0123-0123-0123456789AB" \
          output="1"
      )"));
  REQUIRE(order.turn.drop_reasons.size() == 1);
  CHECK(std::string(order.turn.drop_reasons[0]) == "nobody waits for this answer");
  order.Answer({});
  answer("3");
  CHECK(order.Request() == "");
  CHECK(order.turn.dropped.size() == 1);
  CHECK(order.state.entity_calls.empty());
}

TEST_CASE("call_failure_delivered: failures are answers too, of the generation that called") {
  Orchestration order;
  order.Run({CallEntity(1, "abc")});
  const EntityMessage call = Sent(order);
  NewMessage failed = FailedAnswer(call, {}, Seconds(1000)).message;
  failed.generation = 7;
  order.Put(failed);
  CHECK(order.Request() == "");
  Deliver(order, failed);
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history EntityOperationFailed @1000 requestId="abc" failureDetails={}
      )"));
}

TEST_CASE("json_call: history keeps the raw event, the answer is an event") {
  Orchestration order;
  CHECK(order.Run({Send(1, kCounter, "op",
                        R"({"op":"get","id":"0123ABCD-0123-0123-0123-)"
                        R"(0123456789AB"})")}) == Text(R"--(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order"
      history EventSent #1 @1000 instanceId="@Counter@A" name="op" input="{"op":"get",\
          "id":"0123ABCD-0123-0123-0123-0123456789AB"}"
      send @counter@A: EntityOperationCalled @1000 requestId="0123ABCD-0123-0123-0123-\
          0123456789AB" operation="get" parentInstanceId="order-1" \
          parentExecutionId="00010000000000000000000000000000"
      )--"));
  const EntityMessage call = Sent(order);
  for (int i = 0; i < 2; ++i) Deliver(order, CompletedAnswer(call, "1", Seconds(1000)).message);
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history EventRaised @1000 name="0123abcd-0123-0123-0123-0123456789ab" \
          input="{"result":"1"}"
      )"));
  CHECK(order.turn.dropped.size() == 1);
}

TEST_CASE("json_signal_delayed: the message is due when the JSON says") {
  Orchestration order;
  order.Run({Send(1, kCounter, "op@1970-01-01T00:50:00Z",
                  R"({"op":"add","signal":true,"id":"G","due":"1970-01-01T01:00:00Z"})")});
  REQUIRE(order.checkpoint.messages.size() == 1);
  CHECK(order.checkpoint.messages[0].message.visible_at == absl::FromUnixSeconds(3600));
  CHECK(order.state.entity_calls.empty());
}

TEST_CASE("json_dropped: what is no message stays in the history and goes nowhere") {
  Orchestration order;
  order.Request();
  const TurnResult result =
      FinishTurn(order.state, order.turn,
                 Response({Send(1, kCounter, "other"), Send(2, kCounter, "op", "no JSON"),
                           Send(3, "@@", "op", R"({"id":"G"})"), Send(4, "plain", "op")}),
                 7, order.now(), order.ids, order.limits);
  CHECK(result.checkpoint.history->event_count == 6);
  REQUIRE(result.checkpoint.messages.size() == 1);
  CHECK(result.checkpoint.messages[0].instance_id == "plain");
  CHECK(result.warnings.size() == 3);
}

TEST_CASE("lock_duplicates: the set is sorted and distinct, the history is as it was sent") {
  Orchestration order;
  CHECK(order.Run({LockEntities(1, "S", {"@b@K", "@A@k", "@a@k"})}) == Text(R"(
      history OrchestratorStarted @1000
      history ExecutionStarted @1000 name="Order"
      history EntityLockRequested #1 @1000 criticalSectionId="S" lockSet=["@b@K", "@A@k", "@a@k"]
      lock S: @a@k @b@K
      )"));
  const EntityMessage request =
      Read(HistoryEvent::kEntityLockRequested, order.checkpoint.lock_requests[0].request);
  CHECK(request.sender_id == "order-1");
  CHECK(request.sender_execution_id == kExecution);
  CHECK(request.lock_set == std::vector<std::string>{"@a@k", "@b@K"});
  Grant(order);
  Grant(order);
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history EntityLockGranted @1000 criticalSectionId="S"
      )"));
  CHECK(order.turn.dropped.size() == 1);
}

TEST_CASE("lock_asked_again: a request that is sent again takes no grant back") {
  Orchestration order;
  order.Run({LockEntities(1, "S", {kCounter})});
  Grant(order);
  order.Run({LockEntities(2, "S", {kCounter})});
  CHECK(order.state.sections.begin()->second.granted);
  order.Raise("go");
  order.Run({CallEntity(3, kGuid)});
  REQUIRE(order.checkpoint.messages.size() == 1);
  CHECK(order.checkpoint.messages.front().front);  // else an entity that is held does not see it
}

TEST_CASE("lock_front: what goes to an entity that is held goes in front, and so do releases") {
  Orchestration order;
  order.Run({LockEntities(1, "S", {kCounter, "@b@k"})});
  Grant(order);
  order.Run({CallEntity(2, kGuid), CallEntity(3, "other", "@other@o"),
             SignalEntity(4, kCounter, 1010), UnlockEntity(5, "S"), CallEntity(6, "late"),
             SignalEntity(7, "@B@k")});
  std::string sent;
  for (const AddressedMessage& message : order.checkpoint.messages) {
    absl::StrAppend(&sent, message.instance_id, message.front ? " front\n" : "\n");
  }
  CHECK(sent == Text(R"(
      @counter@A front
      @other@o
      @counter@A
      @counter@A front
      @counter@A
      @b@k front
      )"));
  CHECK(Sent(order, 3).kind == EntityMessage::Kind::kUnlock);
  CHECK(Sent(order, 3).sender_id == "order-1");
  CHECK(Sent(order, 3).sender_execution_id == kExecution);
  REQUIRE(order.state.sections.size() == 1);
  order.Raise("go");
  order.Run({UnlockEntity(8, "S", "@b@k")});
  CHECK(order.state.sections.empty());
}

TEST_CASE("json_locks: as in the native dialect") {
  Orchestration order;
  order.Run({Send(1, "@a@k", "op", R"({"op":null,"id":"S","lockset":[{"name":"B","key":"k"},
      {"name":"a","key":"k"}]})")});
  CHECK(order.checkpoint.messages.empty());
  CHECK(order.checkpoint.lock_requests[0].entity_ids == std::vector<std::string>{"@a@k", "@b@k"});
  Grant(order);
  CHECK(order.Run({Send(2, "@b@k", "op", R"({"op":"add","id":"G"})"),
                   Send(3, "@b@k", "release", R"({"id":"S"})")}) == Text(R"--(
      history OrchestratorStarted @1000
      history EventRaised @1000 name="S" input="{"result":"Lock Acquisition Completed"}"
      history EventSent #2 @1000 instanceId="@b@k" name="op" input="{"op":"add","id":"G"}"
      history EventSent #3 @1000 instanceId="@b@k" name="release" input="{"id":"S"}"
      send @b@k in front: EntityOperationCalled @1000 requestId="G" operation="add" \
          parentInstanceId="order-1" parentExecutionId="00010000000000000000000000000000"
      send @b@k in front: EntityUnlockSent @1000 criticalSectionId="S" parentInstanceId="order-1"
      )--"));
}

TEST_CASE("lock_taken_back: in a later turn, and in the same one") {
  Orchestration order;
  order.Run({LockEntities(1, "S", {kCounter, "@b@k"})});
  const Checkpoint asked = order.checkpoint;
  order.Raise("go");
  order.Run({UnlockEntity(2, "S"), UnlockEntity(3, "S", "@b@k"), LockEntities(4, "T", {kCounter}),
             UnlockEntity(5, "T")});
  CHECK(order.checkpoint.messages.size() == 2);
  CHECK(order.checkpoint.lock_requests.empty());
  CHECK(order.state.sections.empty());
  order.checkpoint = asked;
  Grant(order);
  CHECK(order.Request() == "");
}

TEST_CASE("locks_at_end: what was not given up is released with the generation") {
  Orchestration order;
  order.Run({LockEntities(1, "S", {kCounter})});
  CHECK_FALSE(order.checkpoint.releases_locks);
  SECTION("ends inside of the section, with the id of the completion") {
    Grant(order);
    CHECK(order.Run({UnlockEntity(2, "S"), Complete(2, ORCHESTRATION_STATUS_COMPLETED),
                     SignalEntity(3, "@b@k")}) == Text(R"(
        history OrchestratorStarted @1000
        history EntityLockGranted @1000 criticalSectionId="S"
        history EntityUnlockSent #2 @1000 criticalSectionId="S" targetInstanceId="@Counter@A"
        history EntityOperationSignaled #3 @1000 requestId="0123abcd-0123-0123-0123-\
            0123456789ab" operation="add" targetInstanceId="@b@k"
        history ExecutionCompleted @1000 orchestrationStatus=COMPLETED
        send @counter@A in front: EntityUnlockSent @1000 criticalSectionId="S" \
            parentInstanceId="order-1"
        send @b@k: EntityOperationSignaled @1000 requestId="0123abcd-0123-0123-0123-\
            0123456789ab" operation="add"
        status COMPLETED
        ends
        )"));
  }
  SECTION("ends inside of the section, and gives up a part of it") {
    order.Raise("go");
    order.Run({UnlockEntity(2, "S"), LockEntities(3, "T", {kCounter, "@b@k"})});
    Grant(order);
    order.Run({UnlockEntity(4, "T"), Complete(5, ORCHESTRATION_STATUS_COMPLETED)});
    CHECK(order.checkpoint.releases_locks);
  }
  SECTION("continues as new") {
    order.Raise("go");
    order.Run({SignalEntity(2), LockEntities(3, "T", {kCounter}), ContinueAsNew("next")});
    CHECK(order.checkpoint.releases_locks);
    CHECK(order.checkpoint.messages.size() == 1);
    CHECK(order.checkpoint.lock_requests.empty());
    order.Run({});
    CHECK(order.state.sections.empty());
    order.Raise("go");
    order.Run({Completed()});
    CHECK_FALSE(order.checkpoint.releases_locks);
  }
  SECTION("is failed or terminated by the server") {
    order.Terminate("enough");
    order.Request();
    CHECK(FailInstance(order.state, order.turn, {}, 7, order.now(), order.ids, order.limits)
              .checkpoint.releases_locks);
    CHECK(TerminateInstance(order.state, order.turn, 7, order.now(), order.ids, order.limits)
              .checkpoint.releases_locks);
  }
  SECTION("rewinds itself") {
    order.Raise("go");
    order.Request();
    OrchestratorAction rewind;
    rewind.mutable_rewindorchestration()->add_newhistory()->mutable_executionstarted();
    CHECK(FinishTurn(order.state, order.turn, Response({rewind}), 7, order.now(), order.ids,
                     order.limits)
              .checkpoint.releases_locks);
  }
}

TEST_CASE("locks_none: an orchestration without locks releases none") {
  Orchestration order;
  order.Run({CallEntity(1, kGuid), Completed()});
  CHECK_FALSE(order.checkpoint.releases_locks);
}

TEST_CASE("entity_answer_order: answers wait their turn, like events") {
  Orchestration order;
  order.Run({CallEntity(1, kGuid), ContinueAsNew("next", {{"carried", "1"}})});
  order.Run({Send(1, kCounter, "op", R"({"op":"get","id":"G"})")});
  const EntityMessage call = Sent(order);
  order.Raise("first");
  Deliver(order, CompletedAnswer(call, "1", Seconds(1000)).message);
  CHECK(order.Run({}) == Text(R"(
      history OrchestratorStarted @1000
      history EventRaised @1000 name="first"
      history EventRaised @1000 name="G" input="{"result":"1"}"
      )"));
}

}  // namespace dt::orchestration
