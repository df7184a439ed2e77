// What checkpoints have for entities (sql/logic/entities.sql).
#include "absl/container/btree_set.h"
#include "storage/postgres/check.h"
#include "storage/postgres/checkpoint_lists.h"

namespace dt::postgres {

void EncodeLocks(const CheckpointVerb::Requests& requests, Envelope& envelope) {
  EncodeList(
      "locks", requests, [](const Checkpoint& c) { return c.lock_requests.size(); },
      [&](const Checkpoint& c, int64_t item) {
        for (const LockRequest& request : c.lock_requests) {
          envelope.BeginObject()
              .Int("item", item)
              .String("section", request.critical_section)
              .Int("event", envelope.Position(std::string_view(*request.request)))
              .BeginArray("ids");
          for (const std::string& id : request.entity_ids) envelope.String({}, id);
          envelope.EndArray().EndObject();
        }
      },
      envelope);
  EncodeList(
      "releases", requests, [](const Checkpoint& c) { return size_t{c.releases_locks}; },
      [&](const Checkpoint&, int64_t item) {
        envelope.BeginObject().Int("item", item).EndObject();
      },
      envelope);
}

void EncodeEntityIds(const CheckpointVerb::Requests& requests, Envelope& envelope) {
  absl::btree_set<std::string_view> ids;
  for (const Checkpoint* checkpoint : requests) {
    for (const AddressedMessage& message : checkpoint->messages) {
      if (IsEntityId(message.instance_id)) ids.insert(message.instance_id);
    }
    for (const LockRequest& request : checkpoint->lock_requests) {
      ids.insert(request.entity_ids.begin(), request.entity_ids.end());
    }
  }
  if (ids.empty()) return;
  envelope.BeginArray("entity_ids");
  for (const std::string_view id : ids) envelope.String({}, id);
  envelope.EndArray();
}

void EncodeEntities(const CheckpointVerb::Requests& requests, OwnPayloads& payloads,
                    Envelope& envelope) {
  EncodeList(
      "entities", requests, [](const Checkpoint& c) { return size_t{c.entity.has_value()}; },
      [&](const Checkpoint& c, int64_t item) {
        const Change<std::string>& state = c.entity->state;
        envelope.BeginObject()
            .Int("item", item)
            .Int("state_kind", static_cast<int64_t>(state.kind))
            .Flag("worked", c.entity->worked)
            .Flag("unlock", c.entity->unlock);
        if (state.kind == Change<std::string>::Kind::kSet) {
          envelope.PresentValue("state", state.value, payloads[static_cast<size_t>(item - 1)]);
        }
        envelope.EndObject();
      },
      envelope);
  EncodeList(
      "arrivals", requests,
      [](const Checkpoint& c) { return size_t{c.entity && c.entity->arrival.has_value()}; },
      [&](const Checkpoint& c, int64_t item) {
        PayloadSet none;
        envelope.BeginObject()
            .Int("item", item)
            .Int("seq", c.entity->arrival->request_seq)
            .BeginObject("grant")
            .Message(c.entity->arrival->grant, none)
            .EndObject()
            .EndObject();
        DT_CHECK(none.empty(), "the grant of a lock has no large value");
      },
      envelope);
  EncodeList(
      "withdrawals", requests,
      [](const Checkpoint& c) { return c.entity ? c.entity->withdrawals.size() : 0; },
      [&](const Checkpoint& c, int64_t item) {
        for (const LockWithdrawal& withdrawal : c.entity->withdrawals) {
          envelope.BeginObject()
              .Int("item", item)
              .String("owner", withdrawal.owner_id)
              .String("section", withdrawal.critical_section)
              .EndObject();
        }
      },
      envelope);
}

}  // namespace dt::postgres
