// The lists of the call that commits checkpoints (sql/logic/checkpoint.sql). Internal to
// checkpoint_verb.cc and checkpoint_entities.cc.
#ifndef DT_STORAGE_POSTGRES_CHECKPOINT_LISTS_H_
#define DT_STORAGE_POSTGRES_CHECKPOINT_LISTS_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "storage/postgres/verbs.h"

namespace dt::postgres {

// A list over all checkpoints of a call, left out when it is empty. `encode_entries` writes the
// entries of one checkpoint; `count` tells how many it will write.
template <typename Count, typename Encode>
void EncodeList(std::string_view name, const CheckpointVerb::Requests& requests, Count count,
                Encode encode_entries, Envelope& envelope) {
  bool begun = false;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (count(*requests[i]) == 0) continue;
    if (!begun) envelope.BeginArray(name);
    begun = true;
    encode_entries(*requests[i], static_cast<int64_t>(i) + 1);
  }
  if (begun) envelope.EndArray();
}

// The payloads of the items' own rows, by item.
using OwnPayloads = std::vector<PayloadSet>;

// The ids of all entities that the turns write to.
void EncodeEntityIds(const CheckpointVerb::Requests& requests, Envelope& envelope);
// The lock requests of orchestrations, and the locks that end with them.
void EncodeLocks(const CheckpointVerb::Requests& requests, Envelope& envelope);
// What the turns of entities change.
void EncodeEntities(const CheckpointVerb::Requests& requests, OwnPayloads& payloads,
                    Envelope& envelope);

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_CHECKPOINT_LISTS_H_
