// What orchestrations, clients and entities send to entities, and what entities answer: one form
// for both dialects of the protocol (RULES.md section 7).
//
// An EntityMessage waits in the inbox of an entity as a serialized HistoryEvent of the native
// dialect, without an event id (-1) and a targetInstanceId, so that operations go to workers as
// they are stored. What the wire has no field for follows it in fields of numbers that
// HistoryEvent does not have; OperationBytes leaves those out.
//
// Pure.
#ifndef DT_SERVER_ORCHESTRATION_ENTITY_MESSAGES_H_
#define DT_SERVER_ORCHESTRATION_ENTITY_MESSAGES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/orchestrator_service.pb.h"
#include "server/orchestration/event_bytes.h"
#include "server/orchestration/turn.h"
#include "storage/records.h"

namespace dt::orchestration {

// How a caller speaks with entities, and so how it is answered (7.16).
enum class EntityDialect : int8_t { kNative = 0, kJson = 1 };

struct EntityMessage {
  enum class Kind : int8_t {
    kSignal,       // EntityOperationSignaled
    kCall,         // EntityOperationCalled
    kLockRequest,  // EntityLockRequested
    kUnlock,       // EntityUnlockSent; stored under that number
  };
  Kind kind = Kind::kSignal;
  EntityDialect dialect = EntityDialect::kNative;
  // Of a lock request and an unlock the critical section. As the caller wrote it; what workers get
  // in its place, see OperationBytes.
  std::string request_id;
  std::string operation;
  Payload input;
  std::optional<google::protobuf::Timestamp> scheduled_time;
  // The orchestration that sent it, "" for clients and entities; of an unlock the owner.
  std::string sender_id;
  std::string sender_execution_id;
  std::vector<std::string> lock_set;  // of a lock request: normalized, sorted, distinct
};

// The message as it waits in an inbox; visible at its scheduled time.
NewMessage ToMessage(const EntityMessage& message, const google::protobuf::Timestamp& now);
// Of the `event` of an inbox; nullopt if its bytes are none. `event_type` is that of the message:
// EntityLockGranted (28) stands for a lock request that was granted, and is read as one.
std::optional<EntityMessage> ReadEntityMessage(int16_t event_type, std::string_view event);
// The stored operation as a worker gets it, in EntityRequest.operationRequests. `request_id`: in
// place of the stored one, if that is no GUID.
SharedBytes OperationBytes(const SharedBytes& event, const std::optional<std::string>& request_id);

// Whether workers can be given this request id (7.5): 32 hex digits in the form 8-4-4-4-12.
bool IsGuid(std::string_view text);
// 32 hex digits in that form.
std::string ToGuid(std::string_view hex_digits);
// A request id or critical section as answers are matched by it: of a GUID the case does not matter
// (7.44).
std::string CanonicalRequestId(std::string_view request_id);

// `@name@key` with the name in lower case (7.1). InvalidArgument names `field`; that of an id over
// 100 characters has the word "length" in it.
absl::StatusOr<std::string> NormalizeEntityId(absl::string_view field, std::string_view id);
// The name of a normalized id.
std::string_view EntityNameOf(std::string_view entity_id);

// --- From orchestrations

struct OutgoingEntityMessage {
  EntityMessage message;
  std::vector<std::string> targets;  // where it goes; of a lock request all of its set
};
// Whether FromAction can read the action: InvalidArgument for a bad id or time, an empty lock set,
// a message that is not set.
absl::Status CheckEntityAction(const SendEntityMessageAction& action);
// A native action (7.18, 7.19), sent by this execution.
absl::StatusOr<OutgoingEntityMessage> FromAction(const SendEntityMessageAction& action,
                                                 std::string_view sender_id,
                                                 std::string_view sender_execution_id);
// The JSON dialect (7.28-7.31): an event by this name for the entity `target`, a normalized id. Of
// a turn the sender is given; of a client (7.31) it is empty and comes from the JSON. nullopt: no
// such message, as its name is none of the dialect, its JSON has no id, or it is about locks and
// has no sender. A call without a sender is a signal.
std::optional<OutgoingEntityMessage> FromJsonEvent(std::string_view target, std::string_view name,
                                                   const Payload& input, std::string_view sender_id,
                                                   std::string_view sender_execution_id);

// The request of an entity that an event of an orchestration's history stands for, in either
// dialect: EntityOperationCalled, EntityLockRequested, or an EventSent that is one of these.
// nullopt: none, or one that has no answer.
std::optional<OutgoingEntityMessage> ReadAwaitedRequest(const EventView& event,
                                                        std::string_view sender_id,
                                                        std::string_view sender_execution_id);

// --- To orchestrations, in the dialect of the request. Each belongs to the execution that asked.
// The type of the message is always that of the native event, so that it is known as an answer.
AddressedMessage CompletedAnswer(const EntityMessage& call, const Payload& result,
                                 const google::protobuf::Timestamp& now);
AddressedMessage FailedAnswer(const EntityMessage& call, const TaskFailureDetails& details,
                              const google::protobuf::Timestamp& now);
NewMessage LockGrantedAnswer(const EntityMessage& request, const google::protobuf::Timestamp& now);

// The request id or critical section that an answer is for: of EntityOperationCompleted, ...Failed
// and EntityLockGranted, and of an EventRaised the name. The view points into the event.
std::string_view ReadAnsweredRequest(std::string_view event);

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_ENTITY_MESSAGES_H_
