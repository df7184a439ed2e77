// The part of TurnBuilder that is about entities: what an orchestration sends to them, in both
// dialects. What is sent depends on what is held before the action.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/orchestration/field_checks.h"
#include "server/orchestration/timestamps.h"
#include "server/orchestration/turn_builder.h"

namespace dt::orchestration {

void TurnBuilder::SendEntityMessage(int32_t id, SendEntityMessageAction& action) {
  auto outgoing = FromAction(action, state_.instance_id, state_.execution_id);
  if (!outgoing.ok()) return;  // CheckResponse lets none of these pass
  SendToEntities(*std::move(outgoing));
  HistoryEvent event = EventNow(id);
  if (action.has_entityoperationsignaled()) {
    event.set_allocated_entityoperationsignaled(action.release_entityoperationsignaled());
  } else if (action.has_entityoperationcalled()) {
    event.set_allocated_entityoperationcalled(action.release_entityoperationcalled());
  } else if (action.has_entitylockrequested()) {
    event.set_allocated_entitylockrequested(action.release_entitylockrequested());
  } else {
    event.set_allocated_entityunlocksent(action.release_entityunlocksent());
  }
  AppendAction(event);
}

void TurnBuilder::SendJsonEvent(const SendEventAction& action) {
  const std::string& id = action.instance().instanceid();
  const auto target = NormalizeEntityId("instance.instanceId", id);
  if (!target.ok()) {  // 4.13
    result_.warnings.push_back(
        absl::StrCat("an event for an entity is left out: ", target.status().message()));
    return;
  }
  auto outgoing = FromJsonEvent(*target, action.name(), ToPayload(action.has_data(), action.data()),
                                state_.instance_id, state_.execution_id);
  if (!outgoing) {
    result_.warnings.push_back(absl::StrCat("the event \"", action.name(), "\" for the entity ",
                                            *target, " is left out: it is no message of the JSON ",
                                            "dialect"));
    return;
  }
  SendToEntities(*std::move(outgoing));
}

void TurnBuilder::SendToEntities(OutgoingEntityMessage outgoing) {
  EntityMessage& message = outgoing.message;
  const std::string& target = outgoing.targets.front();
  switch (message.kind) {
    case EntityMessage::Kind::kLockRequest:
      // The lock of an execution that ends here is never granted (7.23).
      if (end_ != TurnEnd::kGoesOn) return;
      result_.checkpoint.lock_requests.push_back(
          {message.request_id, std::move(outgoing.targets), ToMessage(message, now_).event});
      return;
    case EntityMessage::Kind::kUnlock:
      TakeBackOrRelease(message, target);
      return;
    case EntityMessage::Kind::kSignal:
    case EntityMessage::Kind::kCall:
      break;
  }
  AddressedMessage addressed;
  addressed.instance_id = target;
  addressed.message = ToMessage(message, now_);
  // What is due later comes later, also to an entity that is held.
  addressed.front = fold_.Holds(target) && addressed.message.visible_at <= context_.now;
  result_.checkpoint.messages.push_back(std::move(addressed));
}

// The requests of a turn are sent after its messages: one that the same turn takes back is not sent
// at all.
void TurnBuilder::TakeBackOrRelease(const EntityMessage& unlock, const std::string& target) {
  const size_t taken_back = std::erase_if(
      result_.checkpoint.lock_requests,
      [&](const LockRequest& request) { return request.critical_section == unlock.request_id; });
  if (taken_back > 0) withdrawn_.insert(unlock.request_id);
  if (withdrawn_.contains(unlock.request_id)) return;
  AddressedMessage addressed;
  addressed.instance_id = target;
  addressed.message = ToMessage(unlock, now_);
  addressed.front = true;
  result_.checkpoint.messages.push_back(std::move(addressed));
}

}  // namespace dt::orchestration
