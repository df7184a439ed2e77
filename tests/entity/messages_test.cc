// The stored form of messages, and both dialects of requests and answers (RULES.md 7.1, 7.5, 7.16,
// 7.18-7.21, 7.28-7.32, 7.41-7.44).

#include "absl/strings/str_cat.h"
#include "server/orchestration/entity_messages.h"
#include "server/orchestration/failure_depth.h"
#include "server/orchestration/timestamps.h"
#include "tests/entity/entity.h"
#include "tests/support/catch.h"

namespace dt::orchestration {
namespace {

using entity::Call;
using entity::From;
using entity::Guid;
using entity::InJson;
using entity::LockOf;
using entity::UnlockOf;
using MessageKind = EntityMessage::Kind;

const google::protobuf::Timestamp kNow = Seconds(1000);

std::string Show(const EntityMessage& message) {
  const NewMessage stored = ToMessage(message, kNow);
  const auto read = ReadEntityMessage(stored.event_type, *stored.event);
  REQUIRE(read);
  CHECK(read->kind == message.kind);
  CHECK(read->dialect == message.dialect);
  CHECK(read->request_id == message.request_id);
  CHECK(read->operation == message.operation);
  CHECK(read->input == message.input);
  CHECK(read->scheduled_time.has_value() == message.scheduled_time.has_value());
  CHECK(read->sender_id == message.sender_id);
  CHECK(read->sender_execution_id == message.sender_execution_id);
  CHECK(read->lock_set == message.lock_set);
  return RenderMessage(stored);
}

// What an event of the JSON dialect becomes: the stored message, and where it goes.
std::string FromJson(const std::string& name, const Input& input,
                     const std::string& sender = "order-1") {
  const auto outgoing = FromJsonEvent("@counter@a", name, input, sender, sender.empty() ? "" : "x");
  if (!outgoing) return "nothing";
  CHECK(outgoing->message.dialect == EntityDialect::kJson);
  std::string text = RenderMessage(ToMessage(outgoing->message, kNow));
  absl::StrAppend(&text, " from ", outgoing->message.sender_id, "/",
                  outgoing->message.sender_execution_id, " to");
  for (const std::string& target : outgoing->targets) absl::StrAppend(&text, " ", target);
  return text;
}

std::string InputOf(const AddressedMessage& answer) {
  return ParseEvent(*answer.message.event).eventraised().input().value();
}

TaskFailureDetails NestedFailure() {
  TaskFailureDetails details;
  details.set_errortype("Outer \"quoted\"");
  details.set_errormessage("line 1\nline 2\t\\ \x01 \xC3\xA9");
  details.mutable_stacktrace()->set_value("");
  details.set_isnonretriable(true);
  (*details.mutable_properties())["b"].set_number_value(0.1);
  (*details.mutable_properties())["a"].set_string_value("E42");
  auto& list = *(*details.mutable_properties())["c"].mutable_list_value();
  list.add_values()->set_bool_value(true);
  list.add_values()->set_null_value(google::protobuf::NULL_VALUE);
  auto& fields = *list.add_values()->mutable_struct_value()->mutable_fields();
  fields["y"].set_number_value(12);
  fields["x"].mutable_struct_value();
  details.mutable_innerfailure()->set_errortype("Inner");
  return details;
}

}  // namespace

TEST_CASE("stored_form: what is written is read again, in both dialects") {
  EntityMessage signal;
  signal.request_id = Guid(1);
  signal.operation = "add";
  CHECK(Show(signal) == absl::StrCat("EntityOperationSignaled @1000 requestId=\"", Guid(1),
                                     "\" operation=\"add\""));
  signal.input = "";
  CHECK(Show(From("order-1", signal)) == absl::StrCat("EntityOperationSignaled @1000 requestId=\"",
                                                      Guid(1), "\" operation=\"add\" input=\"\""));
  CHECK(Show(InJson(Call(2, "get", "in"))) ==
        absl::StrCat("EntityOperationCalled @1000 requestId=\"", Guid(2),
                     "\" operation=\"get\" input=\"in\" parentInstanceId=\"order-1\" "
                     "parentExecutionId=\"x\""));
  CHECK(Show(LockOf("s", {"@a@1", "@b@2"})) ==
        "EntityLockRequested @1000 criticalSectionId=\"s\" lockSet=[\"@a@1\", \"@b@2\"] "
        "parentInstanceId=\"order-1\"");
  CHECK(Show(InJson(UnlockOf("s"))) ==
        "EntityUnlockSent @1000 criticalSectionId=\"s\" parentInstanceId=\"order-1\"");
}

TEST_CASE("stored_form_types: a grant is read as its request, others only as what they are") {
  const NewMessage request = ToMessage(LockOf("s"), kNow);
  CHECK(ReadEntityMessage(HistoryEvent::kEntityLockGranted, *request.event)->request_id == "s");
  CHECK_FALSE(ReadEntityMessage(HistoryEvent::kEntityUnlockSent, *request.event));
  CHECK_FALSE(ReadEntityMessage(HistoryEvent::kEntityLockRequested, "no event"));
  // As SQL writes the release of an owner that has ended: nothing but what must be there.
  HistoryEvent bare;
  bare.mutable_entityunlocksent()->set_criticalsectionid("s");
  bare.mutable_entityunlocksent()->mutable_parentinstanceid()->set_value("order-1");
  const auto read = ReadEntityMessage(HistoryEvent::kEntityUnlockSent, bare.SerializeAsString());
  REQUIRE(read);
  CHECK(read->sender_id == "order-1");
}

TEST_CASE("operation_bytes: workers get what is stored without our own fields") {
  const SharedBytes call = ToMessage(Call(1, "get"), kNow).event;
  CHECK(OperationBytes(call, std::nullopt) == call);  // shared, not copied
  const SharedBytes signal = ToMessage(From("order-1", entity::Signal("add", "1")), kNow).event;
  const SharedBytes sent = OperationBytes(signal, std::nullopt);
  CHECK(sent->size() < signal->size());
  const HistoryEvent event = ParseEvent(*sent);
  CHECK(event.GetReflection()->GetUnknownFields(event).empty());
  CHECK(event.eventid() == -1);
  CHECK(ParseEvent(*OperationBytes(signal, Guid(9))).entityoperationsignaled().requestid() ==
        Guid(9));
}

TEST_CASE("guids: what workers take for a request id") {
  CHECK(IsGuid("0123ABCD-0123-0123-0123-0123456789ab"));
  for (const char* text :
       {"", "abc", "0123abcd012301230123-0123456789ab", "0123abcd-0123-0123-0123-0123456789ag",
        "{123abcd-0123-0123-0123-0123456789ab}"}) {
    CHECK_FALSE(IsGuid(text));
  }
  CHECK(ToGuid("0123abcd012301230123"
               "0123456789ab") == "0123abcd-0123-0123-0123-0123456789ab");
  CHECK(CanonicalRequestId("0123ABCD-0123-0123-0123-0123456789AB") ==
        "0123abcd-0123-0123-0123-0123456789ab");
  CHECK(CanonicalRequestId("ABC") == "ABC");
}

TEST_CASE("entity_id_length: ids are names in lower case and keys as they are") {
  CHECK(NormalizeEntityId("id", "@Counter@Key@X").value() == "@counter@Key@X");
  CHECK(NormalizeEntityId("id", "@c@").value() == "@c@");
  CHECK(EntityNameOf("@counter@Key@X") == "counter");
  for (const char* id : {"", "counter", "@", "@counter", "@@key", "counter@key"}) {
    CHECK(NormalizeEntityId("instanceId", id).status().message() ==
          "instanceId is no id of an entity, which is @name@key with a name that is not empty");
  }
  CHECK_FALSE(NormalizeEntityId("id", std::string_view("@c@\0", 4)).ok());
  const std::string longest = "@c@" + std::string(97, 'k');
  CHECK(NormalizeEntityId("id", longest).ok());
  CHECK(NormalizeEntityId("instanceId", longest + "k").status() ==
        absl::InvalidArgumentError("the length of instanceId is 101 characters, the limit for "
                                   "entities is 100"));
}

TEST_CASE("json_lenient: requests are understood in any form that SDKs write") {
  // .NET, in its order of keys.
  CHECK(FromJson("op", R"({"op":"add","signal":true,"input":"\"5\"","id":"G","parent":"other",
      "parentExecution":"other","due":null,"Timestamp":"0001-01-01T00:00:00",
      "Predecessor":"0001-01-01T00:00:00","createTrace":true,"requestTime":"2026-01-01T00:00:00Z"})") ==
        "EntityOperationSignaled @1000 requestId=\"G\" operation=\"add\" input=\"\"5\"\" from "
        "order-1/x to @counter@a");
  // Java: another order, keys that nobody knows, none that says little.
  CHECK(FromJson("op", R"({"id":"G","unknown":[1,{"a":2}],"input":null,"op":"get"})") ==
        "EntityOperationCalled @1000 requestId=\"G\" operation=\"get\" "
        "parentInstanceId=\"order-1\" parentExecutionId=\"x\" from order-1/x to @counter@a");
  CHECK(FromJson("operation", R"({"id":"G"})") ==
        "EntityOperationCalled @1000 requestId=\"G\" parentInstanceId=\"order-1\" "
        "parentExecutionId=\"x\" from order-1/x to @counter@a");
  for (const char* name : {"other", "Release", "releases", "Op", ""}) {
    CHECK(FromJson(name, R"({"id":"G"})") == "nothing");
  }
  for (const char* json :
       {"", "[]", "{", "null", R"({"op":"get"})", R"({"id":7})", R"({"id":"a\u0000b"})"}) {
    CHECK(FromJson("op", json) == "nothing");
  }
  CHECK(FromJson("op", std::nullopt) == "nothing");
  CHECK(FromJson("op", R"({"id":"G","x":)" + std::string(100'000, '[')) == "nothing");
}

TEST_CASE("json_delayed_signal: the time in the JSON is the true one, that in the name capped") {
  const std::string head = "EntityOperationSignaled @1000 requestId=\"G\" operation=\"a\" ";
  const std::string tail = " from order-1/x to @counter@a";
  CHECK(FromJson("op@1970-01-01T00:50:00.0000000Z",
                 R"({"op":"a","signal":true,"id":"G","due":"1970-01-01T01:00:00.5000001Z"})") ==
        head + "scheduledTime=3600.5000001 due 3600.500001" + tail);
  CHECK(FromJson("op@1970-01-01T01:00:00Z", R"({"op":"a","signal":true,"id":"G"})") ==
        head + "scheduledTime=3600 due 3600" + tail);
  CHECK(FromJson("op", R"({"op":"a","signal":true,"id":"G","due":"1970-01-01T02:00:00+01:00"})") ==
        head + "scheduledTime=3600 due 3600" + tail);
  CHECK(FromJson("op@soon", R"({"op":"a","signal":true,"id":"G","due":"0001-01-01T00:00:00"})") ==
        head.substr(0, head.size() - 1) + tail);
}

TEST_CASE("json_lock: a request goes to the whole set, a release to one entity") {
  CHECK(FromJson("op", R"({"op":null,"id":"S","lockset":[{"name":"B","key":"K"},
      {"name":"a","key":"k"},{"name":"b","key":"K"}],"pos":0,"IsLockRequest":true,
      "createTrace":false})") ==
        "EntityLockRequested @1000 criticalSectionId=\"S\" lockSet=[\"@a@k\", \"@b@K\"] "
        "parentInstanceId=\"order-1\" from order-1/x to @a@k @b@K");
  CHECK(FromJson("op", R"({"id":"S","lockset":[]})") == "nothing");
  CHECK(FromJson("op", R"({"id":"S","lockset":[{"key":"k"}]})") == "nothing");
  CHECK(FromJson("release", R"({"parent":"other","id":"S"})") ==
        "EntityUnlockSent @1000 criticalSectionId=\"S\" parentInstanceId=\"order-1\" from "
        "order-1/x to @counter@a");
}

TEST_CASE("json_from_client: whoever is named in the JSON is the sender") {
  CHECK(FromJson("op", R"({"op":"get","id":"G","parent":"p","parentExecution":"e"})", "") ==
        "EntityOperationCalled @1000 requestId=\"G\" operation=\"get\" parentInstanceId=\"p\" "
        "parentExecutionId=\"e\" from p/e to @counter@a");
  // A call of nobody is a signal.
  CHECK(FromJson("op", R"({"op":"get","id":"G"})", "") ==
        "EntityOperationSignaled @1000 requestId=\"G\" operation=\"get\" from / to @counter@a");
  CHECK(FromJson("release", R"({"id":"S"})", "") == "nothing");
  CHECK(FromJson("op", R"({"id":"S","lockset":[{"name":"a","key":"k"}]})", "") == "nothing");
}

TEST_CASE("call_success_native: the answer goes to the execution that called") {
  const AddressedMessage answer = CompletedAnswer(Call(1, "get"), "42", kNow);
  CHECK(answer.instance_id == "order-1");
  CHECK(answer.execution_id == "x");
  CHECK_FALSE(answer.front);
  CHECK(RenderMessage(answer.message) ==
        absl::StrCat("EntityOperationCompleted @1000 requestId=\"", Guid(1), "\" output=\"42\""));
  CHECK(ReadAnsweredRequest(*answer.message.event) == Guid(1));
  CHECK(RenderMessage(CompletedAnswer(Call(1, "get"), std::nullopt, kNow).message) ==
        absl::StrCat("EntityOperationCompleted @1000 requestId=\"", Guid(1), "\""));
}

TEST_CASE("call_success_json: an event that is called like the request") {
  EntityMessage call = InJson(Call(1, "get"));
  call.request_id = "0123ABCD-0123-0123-0123-0123456789AB";
  const AddressedMessage answer = CompletedAnswer(call, "\"4\"", kNow);
  CHECK(RenderMessage(answer.message) ==
        R"(EventRaised @1000 name="0123abcd-0123-0123-0123-0123456789ab" )"
        R"(input="{"result":"\"4\""}" as 25)");
  CHECK(ReadAnsweredRequest(*answer.message.event) == "0123abcd-0123-0123-0123-0123456789ab");
  CHECK(InputOf(CompletedAnswer(call, std::nullopt, kNow)) == R"({"result":null})");
  CHECK(InputOf(CompletedAnswer(call, "", kNow)) == R"({"result":""})");
}

TEST_CASE("call_failure_native: failureDetails are always set") {
  CHECK(RenderMessage(FailedAnswer(Call(1, "get"), {}, kNow).message) ==
        absl::StrCat("EntityOperationFailed @1000 requestId=\"", Guid(1), "\" failureDetails={}"));
}

TEST_CASE("call_failure_json: all keys of the failure in their order") {
  const AddressedMessage answer = FailedAnswer(InJson(Call(1, "get")), NestedFailure(), kNow);
  CHECK(answer.message.event_type == HistoryEvent::kEntityOperationFailed);
  CHECK(InputOf(answer) ==
        R"({"result":null,"failureDetails":{"ErrorType":"Outer \"quoted\"",)"
        R"("ErrorMessage":"line 1\nline 2\t\\ \u0001 )"
        "\xC3\xA9"
        R"(","StackTrace":"","InnerFailure":{"ErrorType":"Inner","ErrorMessage":"",)"
        R"("StackTrace":null,"InnerFailure":null,"IsNonRetriable":false,"Properties":null},)"
        R"("IsNonRetriable":true,"Properties":{"a":"E42","b":0.1,)"
        R"("c":[true,null,{"x":{},"y":12}]}}})");
}

TEST_CASE("failure_depth_entity: failures of operations are cut like others") {
  TaskFailureDetails details;
  TaskFailureDetails* at = &details;
  for (int i = 0; i < 200; ++i) at = at->mutable_innerfailure();
  const HistoryEvent event = ParseEvent(*FailedAnswer(Call(1, "get"), details, kNow).message.event);
  int levels = 1;
  for (const auto* inner = &event.entityoperationfailed().failuredetails();
       inner->has_innerfailure(); inner = &inner->innerfailure()) {
    ++levels;
  }
  CHECK(levels == kFailureLevelsMax);
}

TEST_CASE("lock_granted: in the dialect of the request") {
  const NewMessage native = LockGrantedAnswer(LockOf("S"), kNow);
  CHECK(RenderMessage(native) == "EntityLockGranted @1000 criticalSectionId=\"S\"");
  CHECK(ReadAnsweredRequest(*native.event) == "S");
  CHECK(RenderMessage(LockGrantedAnswer(InJson(LockOf("S")), kNow)) ==
        R"(EventRaised @1000 name="S" input="{"result":"Lock Acquisition Completed"}" as 28)");
}

TEST_CASE("native_actions: ids are normalized, the sender is the turn's") {
  SendEntityMessageAction action;
  auto& lock = *action.mutable_entitylockrequested();
  lock.set_criticalsectionid("S");
  for (const char* id : {"@B@K", "@a@k", "@b@K"}) lock.add_lockset(id);
  lock.mutable_parentinstanceid()->set_value("somebody else");
  const auto request = FromAction(action, "order-1", "x");
  REQUIRE(request.ok());
  CHECK(request->targets == std::vector<std::string>{"@a@k", "@b@K"});
  CHECK(request->message.lock_set == request->targets);
  CHECK(request->message.sender_id == "order-1");
  CHECK(request->message.sender_execution_id == "x");

  auto& signal = *action.mutable_entityoperationsignaled();
  signal.mutable_targetinstanceid()->set_value("@Counter@A");
  signal.set_requestid(Guid(1));
  *signal.mutable_scheduledtime() = Seconds(2000, 1);
  const auto signaled = FromAction(action, "order-1", "x");
  REQUIRE(signaled.ok());
  CHECK(signaled->targets == std::vector<std::string>{"@counter@A"});
  CHECK(ToMessage(signaled->message, kNow).visible_at ==
        absl::FromUnixSeconds(2000) + absl::Microseconds(1));
}

TEST_CASE("native_actions_bad: the field is named") {
  const auto error = [](auto change) {
    SendEntityMessageAction action;
    change(action);
    CHECK_FALSE(FromAction(action, "order-1", "x").ok());
    return std::string(CheckEntityAction(action).message());
  };
  CHECK(error([](auto&) {}) == "it has no message that this server knows");
  CHECK(error([](auto& action) { action.mutable_entityoperationcalled(); }) ==
        "entityOperationCalled.targetInstanceId is no id of an entity, which is @name@key with a "
        "name that is not empty");
  CHECK(error([](auto& action) { action.mutable_entitylockrequested(); }) ==
        "entityLockRequested.lockSet is empty");
  CHECK(error([](auto& action) {
          auto& signal = *action.mutable_entityoperationsignaled();
          signal.mutable_targetinstanceid()->set_value("@a@b");
          signal.mutable_scheduledtime()->set_nanos(-1);
        }).starts_with("entityOperationSignaled.scheduledTime is 0 s and -1 ns"));
}

}  // namespace dt::orchestration
