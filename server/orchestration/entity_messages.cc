#include "server/orchestration/entity_messages.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/orchestration/entity_json.h"
#include "server/orchestration/event_bytes.h"
#include "server/orchestration/failure_depth.h"
#include "server/orchestration/field_checks.h"
#include "server/orchestration/timestamps.h"
#include "server/orchestration/wire.h"

namespace dt::orchestration {
namespace {

using google::protobuf::Timestamp;
using Kind = EntityMessage::Kind;

// Fields behind the event. Without one of them the message says it itself, or it is the default.
constexpr int kFirstOwnField = 1000;
constexpr int kDialectField = 1000;
constexpr int kSenderField = 1001;
constexpr int kSenderExecutionField = 1002;

constexpr size_t kEntityIdCharsMax = 100;

HistoryEvent::EventTypeCase TypeOf(Kind kind) {
  switch (kind) {
    case Kind::kSignal:
      return HistoryEvent::kEntityOperationSignaled;
    case Kind::kCall:
      return HistoryEvent::kEntityOperationCalled;
    case Kind::kLockRequest:
      return HistoryEvent::kEntityLockRequested;
    case Kind::kUnlock:
      break;
  }
  return HistoryEvent::kEntityUnlockSent;
}

template <typename Event>
void FillOperation(const EntityMessage& message, Event& event) {
  event.set_requestid(message.request_id);
  event.set_operation(message.operation);
  if (message.scheduled_time) *event.mutable_scheduledtime() = *message.scheduled_time;
  if (message.input) event.mutable_input()->set_value(*message.input);
}

HistoryEvent ToEvent(const EntityMessage& message, const Timestamp& now) {
  HistoryEvent event = MakeEvent(kNoEventId, now);
  switch (message.kind) {
    case Kind::kSignal:
      FillOperation(message, *event.mutable_entityoperationsignaled());
      break;
    case Kind::kCall: {
      EntityOperationCalledEvent& called = *event.mutable_entityoperationcalled();
      FillOperation(message, called);
      called.mutable_parentinstanceid()->set_value(message.sender_id);
      called.mutable_parentexecutionid()->set_value(message.sender_execution_id);
      break;
    }
    case Kind::kLockRequest: {
      EntityLockRequestedEvent& requested = *event.mutable_entitylockrequested();
      requested.set_criticalsectionid(message.request_id);
      for (const std::string& id : message.lock_set) requested.add_lockset(id);
      requested.mutable_parentinstanceid()->set_value(message.sender_id);
      break;
    }
    case Kind::kUnlock:
      event.mutable_entityunlocksent()->set_criticalsectionid(message.request_id);
      event.mutable_entityunlocksent()->mutable_parentinstanceid()->set_value(message.sender_id);
      break;
  }
  return event;
}

// What the wire has no field for.
void AppendOwnFields(const EntityMessage& message, std::string& bytes) {
  if (message.dialect != EntityDialect::kNative) {
    AppendVarintField(kDialectField, static_cast<uint64_t>(message.dialect), bytes);
  }
  if (message.kind == Kind::kSignal && !message.sender_id.empty()) {
    AppendBytesField(kSenderField, message.sender_id, bytes);
  }
  if (message.kind != Kind::kCall && !message.sender_execution_id.empty()) {
    AppendBytesField(kSenderExecutionField, message.sender_execution_id, bytes);
  }
}

// Reads the own fields into `message`; returns the event before them.
std::string_view ReadOwnFields(std::string_view bytes, EntityMessage& message) {
  size_t event_size = bytes.size();
  WireReader reader(bytes);
  WireField field;
  while (reader.Next(field)) {
    if (field.number < kFirstOwnField) continue;
    event_size = std::min(event_size, static_cast<size_t>(field.whole.data() - bytes.data()));
    if (field.number == kDialectField && field.type == WireType::kVarint) {
      message.dialect = field.value == 0 ? EntityDialect::kNative : EntityDialect::kJson;
    } else if (field.number == kSenderField) {
      message.sender_id = field.bytes;
    } else if (field.number == kSenderExecutionField) {
      message.sender_execution_id = field.bytes;
    }
  }
  return bytes.substr(0, event_size);
}

template <typename Event>
void ReadOperation(Event& event, EntityMessage& message) {
  message.request_id = std::move(*event.mutable_requestid());
  message.operation = std::move(*event.mutable_operation());
  if (event.has_scheduledtime()) message.scheduled_time = event.scheduledtime();
  if (event.has_input()) message.input = std::move(*event.mutable_input()->mutable_value());
}

// False if the event is no message to an entity.
bool ReadBody(HistoryEvent& event, EntityMessage& message) {
  switch (event.eventType_case()) {
    case HistoryEvent::kEntityOperationSignaled:
      message.kind = Kind::kSignal;
      ReadOperation(*event.mutable_entityoperationsignaled(), message);
      return true;
    case HistoryEvent::kEntityOperationCalled:
      message.kind = Kind::kCall;
      ReadOperation(*event.mutable_entityoperationcalled(), message);
      message.sender_id = event.entityoperationcalled().parentinstanceid().value();
      message.sender_execution_id = event.entityoperationcalled().parentexecutionid().value();
      return true;
    case HistoryEvent::kEntityLockRequested: {
      const EntityLockRequestedEvent& requested = event.entitylockrequested();
      message.kind = Kind::kLockRequest;
      message.request_id = requested.criticalsectionid();
      message.lock_set.assign(requested.lockset().begin(), requested.lockset().end());
      message.sender_id = requested.parentinstanceid().value();
      return true;
    }
    case HistoryEvent::kEntityUnlockSent:
      message.kind = Kind::kUnlock;
      message.request_id = event.entityunlocksent().criticalsectionid();
      message.sender_id = event.entityunlocksent().parentinstanceid().value();
      return true;
    default:
      return false;
  }
}

// --- From orchestrations

template <typename Event>
absl::StatusOr<std::vector<std::string>> TargetOf(absl::string_view type, const Event& event) {
  auto target =
      NormalizeEntityId(absl::StrCat(type, ".targetInstanceId"), event.targetinstanceid().value());
  if (!target.ok()) return target.status();
  return std::vector<std::string>{*std::move(target)};
}

template <typename Event>
absl::StatusOr<std::vector<std::string>> TargetOfOperation(absl::string_view type,
                                                           const Event& event) {
  if (event.has_scheduledtime() && !IsValidTimestamp(event.scheduledtime())) {
    return absl::InvalidArgumentError(
        absl::StrCat(type, ".scheduledTime is ", event.scheduledtime().seconds(), " s and ",
                     event.scheduledtime().nanos(),
                     " ns after 1970; the years 1 to 9999 and 0 to 999999999 ns are allowed"));
  }
  return TargetOf(type, event);
}

absl::StatusOr<std::vector<std::string>> LockSetOf(const EntityLockRequestedEvent& event) {
  std::vector<std::string> ids;
  for (const std::string& id : event.lockset()) {
    auto normalized = NormalizeEntityId("entityLockRequested.lockSet", id);
    if (!normalized.ok()) return normalized.status();
    ids.push_back(*std::move(normalized));
  }
  if (ids.empty()) return absl::InvalidArgumentError("entityLockRequested.lockSet is empty");
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

absl::StatusOr<std::vector<std::string>> TargetsOf(const SendEntityMessageAction& action) {
  switch (action.EntityMessageType_case()) {
    case SendEntityMessageAction::kEntityOperationSignaled:
      return TargetOfOperation("entityOperationSignaled", action.entityoperationsignaled());
    case SendEntityMessageAction::kEntityOperationCalled:
      return TargetOfOperation("entityOperationCalled", action.entityoperationcalled());
    case SendEntityMessageAction::kEntityLockRequested:
      return LockSetOf(action.entitylockrequested());
    case SendEntityMessageAction::kEntityUnlockSent:
      return TargetOf("entityUnlockSent", action.entityunlocksent());
    default:
      return absl::InvalidArgumentError("it has no message that this server knows");
  }
}

// --- To orchestrations

// The event of the JSON dialect that answers a request: its name is the id (7.30).
HistoryEvent JsonAnswer(const EntityMessage& request, std::string input, const Timestamp& now) {
  HistoryEvent event = MakeEvent(kNoEventId, now);
  event.mutable_eventraised()->set_name(CanonicalRequestId(request.request_id));
  event.mutable_eventraised()->mutable_input()->set_value(std::move(input));
  return event;
}

NewMessage ToAnswer(const HistoryEvent& event, HistoryEvent::EventTypeCase type) {
  NewMessage message = ToMessage(event, kAnyGeneration);
  message.event_type = static_cast<int16_t>(type);
  return message;
}

AddressedMessage ToCaller(const EntityMessage& call, NewMessage message) {
  AddressedMessage answer;
  answer.instance_id = call.sender_id;
  answer.execution_id = call.sender_execution_id;
  answer.message = std::move(message);
  return answer;
}

}  // namespace

NewMessage ToMessage(const EntityMessage& message, const Timestamp& now) {
  std::string bytes = ToEvent(message, now).SerializeAsString();
  AppendOwnFields(message, bytes);
  NewMessage stored;
  if (message.scheduled_time) stored.visible_at = ToDueTime(*message.scheduled_time);
  stored.event_type = static_cast<int16_t>(TypeOf(message.kind));
  stored.event = std::make_shared<const std::string>(std::move(bytes));
  return stored;
}

std::optional<EntityMessage> ReadEntityMessage(int16_t event_type, std::string_view event) {
  EntityMessage message;
  const std::string_view bytes = ReadOwnFields(event, message);
  HistoryEvent parsed;
  if (!parsed.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ||
      !ReadBody(parsed, message)) {
    return std::nullopt;
  }
  const bool granted =
      event_type == HistoryEvent::kEntityLockGranted && message.kind == Kind::kLockRequest;
  if (!granted && event_type != static_cast<int16_t>(TypeOf(message.kind))) return std::nullopt;
  return message;
}

SharedBytes OperationBytes(const SharedBytes& event, const std::optional<std::string>& request_id) {
  EntityMessage ignored;
  const std::string_view bytes = ReadOwnFields(*event, ignored);
  HistoryEvent parsed;
  if (request_id && parsed.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    if (parsed.has_entityoperationcalled()) {
      parsed.mutable_entityoperationcalled()->set_requestid(*request_id);
    } else if (parsed.has_entityoperationsignaled()) {
      parsed.mutable_entityoperationsignaled()->set_requestid(*request_id);
    }
    return SerializeEvent(parsed);
  }
  if (bytes.size() == event->size()) return event;
  return std::make_shared<const std::string>(bytes);
}

bool IsGuid(std::string_view text) {
  constexpr size_t kGuidSize = 36;
  if (text.size() != kGuidSize) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !absl::ascii_isxdigit(static_cast<unsigned char>(text[i]))) {
      return false;
    }
  }
  return true;
}

std::string ToGuid(std::string_view hex_digits) {
  std::string guid;
  for (size_t i = 0; i < hex_digits.size(); ++i) {
    if (i == 8 || i == 12 || i == 16 || i == 20) guid.push_back('-');
    guid.push_back(hex_digits[i]);
  }
  return guid;
}

std::string CanonicalRequestId(std::string_view request_id) {
  std::string id(request_id);
  if (IsGuid(id)) absl::AsciiStrToLower(&id);
  return id;
}

absl::StatusOr<std::string> NormalizeEntityId(absl::string_view field, std::string_view id) {
  const size_t name_end = id.find('@', 1);
  if (!IsEntityId(id) || name_end == std::string_view::npos || name_end == 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        field, " is no id of an entity, which is @name@key with a name that is not empty"));
  }
  if (id.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, " contains the character U+0000, which cannot be stored in a text"));
  }
  if (const size_t chars = CountCharacters(id); chars > kEntityIdCharsMax) {
    return absl::InvalidArgumentError(absl::StrCat("the length of ", field, " is ", chars,
                                                   " characters, the limit for entities", " is ",
                                                   kEntityIdCharsMax));
  }
  std::string normalized(id);
  for (size_t i = 0; i < name_end; ++i) {
    normalized[i] = absl::ascii_tolower(static_cast<unsigned char>(normalized[i]));
  }
  return normalized;
}

std::string_view EntityNameOf(std::string_view entity_id) {
  const size_t name_end = entity_id.find('@', 1);
  if (!IsEntityId(entity_id) || name_end == std::string_view::npos) return {};
  return entity_id.substr(1, name_end - 1);
}

absl::Status CheckEntityAction(const SendEntityMessageAction& action) {
  return TargetsOf(action).status();
}

absl::StatusOr<OutgoingEntityMessage> FromAction(const SendEntityMessageAction& action,
                                                 std::string_view sender_id,
                                                 std::string_view sender_execution_id) {
  auto targets = TargetsOf(action);
  if (!targets.ok()) return targets.status();
  HistoryEvent event;  // as whose body the action's message can be read like a stored one
  if (action.has_entityoperationsignaled()) {
    *event.mutable_entityoperationsignaled() = action.entityoperationsignaled();
  } else if (action.has_entityoperationcalled()) {
    *event.mutable_entityoperationcalled() = action.entityoperationcalled();
  } else if (action.has_entitylockrequested()) {
    *event.mutable_entitylockrequested() = action.entitylockrequested();
  } else {
    *event.mutable_entityunlocksent() = action.entityunlocksent();
  }
  OutgoingEntityMessage outgoing;
  outgoing.targets = *std::move(targets);
  ReadBody(event, outgoing.message);
  outgoing.message.sender_id = sender_id;
  outgoing.message.sender_execution_id = sender_execution_id;
  if (outgoing.message.kind == Kind::kLockRequest) outgoing.message.lock_set = outgoing.targets;
  return outgoing;
}

std::optional<OutgoingEntityMessage> ReadAwaitedRequest(const EventView& event,
                                                        std::string_view sender_id,
                                                        std::string_view sender_execution_id) {
  const auto parse = [&event](auto& body) {
    return body.ParseFromArray(event.body.data(), static_cast<int>(event.body.size()));
  };
  SendEntityMessageAction action;
  if (event.type == HistoryEvent::kEntityOperationCalled) {
    if (!parse(*action.mutable_entityoperationcalled())) return std::nullopt;
  } else if (event.type == HistoryEvent::kEntityLockRequested) {
    if (!parse(*action.mutable_entitylockrequested())) return std::nullopt;
  } else {
    if (event.type != HistoryEvent::kEventSent || !IsEntityId(ReadFirstText(event))) {
      return std::nullopt;
    }
    EventSentEvent sent;
    if (!parse(sent)) return std::nullopt;
    const auto target = NormalizeEntityId("instanceId", sent.instanceid());
    if (!target.ok()) return std::nullopt;
    auto outgoing = FromJsonEvent(*target, sent.name(), ToPayload(sent.has_input(), sent.input()),
                                  sender_id, sender_execution_id);
    const bool awaited = outgoing && (outgoing->message.kind == Kind::kCall ||
                                      outgoing->message.kind == Kind::kLockRequest);
    return awaited ? std::move(outgoing) : std::nullopt;
  }
  auto outgoing = FromAction(action, sender_id, sender_execution_id);
  if (!outgoing.ok()) return std::nullopt;
  return *std::move(outgoing);
}

AddressedMessage CompletedAnswer(const EntityMessage& call, const Payload& result,
                                 const Timestamp& now) {
  constexpr auto kType = HistoryEvent::kEntityOperationCompleted;
  if (call.dialect == EntityDialect::kJson) {
    return ToCaller(call, ToAnswer(JsonAnswer(call, JsonResult(result), now), kType));
  }
  HistoryEvent event = MakeEvent(kNoEventId, now);
  event.mutable_entityoperationcompleted()->set_requestid(call.request_id);
  if (result) event.mutable_entityoperationcompleted()->mutable_output()->set_value(*result);
  return ToCaller(call, ToAnswer(event, kType));
}

AddressedMessage FailedAnswer(const EntityMessage& call, const TaskFailureDetails& details,
                              const Timestamp& now) {
  constexpr auto kType = HistoryEvent::kEntityOperationFailed;
  TaskFailureDetails limited = details;
  LimitDepth(limited);
  if (call.dialect == EntityDialect::kJson) {
    return ToCaller(call, ToAnswer(JsonAnswer(call, JsonFailure(limited), now), kType));
  }
  HistoryEvent event = MakeEvent(kNoEventId, now);
  event.mutable_entityoperationfailed()->set_requestid(call.request_id);
  *event.mutable_entityoperationfailed()->mutable_failuredetails() = std::move(limited);
  return ToCaller(call, ToAnswer(event, kType));
}

NewMessage LockGrantedAnswer(const EntityMessage& request, const Timestamp& now) {
  constexpr auto kType = HistoryEvent::kEntityLockGranted;
  if (request.dialect == EntityDialect::kJson) {
    return ToAnswer(JsonAnswer(request, JsonLockGranted(), now), kType);
  }
  HistoryEvent event = MakeEvent(kNoEventId, now);
  event.mutable_entitylockgranted()->set_criticalsectionid(request.request_id);
  return ToAnswer(event, kType);
}

std::string_view ReadAnsweredRequest(std::string_view event) {
  EventView view;
  if (!ReadEvent(event, view)) return {};
  switch (view.type) {
    case HistoryEvent::kEntityOperationCompleted:
    case HistoryEvent::kEntityOperationFailed:
    case HistoryEvent::kEntityLockGranted:
    case HistoryEvent::kEventRaised:
      return ReadFirstText(view);
    default:
      return {};
  }
}

}  // namespace dt::orchestration
