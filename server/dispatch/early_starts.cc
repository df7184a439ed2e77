// Early starts: the first turn of an instance that a client starts goes to a worker while the
// creation of the instance is on its way to the store, and not after it.
//
// Rules
//   * Only where a worker has a free credit, no instance of that id is held here, and the id is one
//     that was made at random, as those that SDKs and this daemon make: a worker shall not run
//     turns of starts that are refused because the id exists.
//   * Until its creation is answered the resident is unborn: it has a key below 0 that nobody else
//     knows, and nothing is stored, read or released for it. What a worker answers is kept.
//   * Its creation is refused, or its answer lost: it is forgotten, as any resident may be, and the
//     worker's answer will match nothing. An orchestrator changes nothing but by its answer.
//   * Where starts are refused all the same, each costs a worker a turn. The hub's next starts are
//     then not early, more of them each time.
#include <algorithm>

#include "server/dispatch/dispatcher.h"
#include "server/orchestration/random_ids.h"

namespace dt::dispatch {
namespace {

constexpr int kStartsSkipMin = 16;
constexpr int kStartsSkipDoublingsMax = 6;

}  // namespace

void Dispatcher::StartEarly(Hub& hub, CreateContext& context) {
  const InstanceSeed& seed = context.seed;
  if (draining_ || !orchestration::IsRandomId(seed.instance_id) ||
      residents_.FindById(hub, seed.instance_id) != nullptr) {
    return;
  }
  if (hub.early_starts_to_skip > 0) {
    --hub.early_starts_to_skip;
    return;
  }
  Unreserve(*context.reservation);  // the turn takes the credit
  context.reservation.reset();
  context.early_key = --last_early_key_;
  AdoptSeed(hub, seed, context.early_key, ++last_unstored_, now_);
}

Resident* Dispatcher::EarlyStart(const CreateContext& context) {
  return context.early_key == 0 ? nullptr
                                : residents_.Find(context.early_key, context.seed.lease_token);
}

void Dispatcher::Bear(Resident& resident, const CreateResult& result) {
  const InstanceKey early_key = resident.key();
  resident.hub->early_starts_in_vain = 0;
  Unready(resident);
  std::unique_ptr<Resident> owned = residents_.Remove(&resident);
  owned->state.key = result.key;
  owned->orphaned = false;  // it was by the other key
  Message& started = owned->inbox.front();
  Renumber(owned->turn, started.seq, result.started_seq);
  started.seq = result.started_seq;
  started.visible_at = std::max(started.visible_at, result.created_at);
  owned->created_at = result.created_at;
  Resident& born = *residents_.Add(std::move(owned));
  TakeEarlyMessages(born);
  if (born.phase != Resident::Phase::kDispatched) {
    Reconsider(born);
    return;
  }
  born.early_key = early_key;
  early_keys_[early_key] = born.key();
  if (Stream* stream = table_.Find(born.stream)) {
    stream->in_flight[Index(WorkType::kTurn)].erase(early_key);
    stream->in_flight[Index(WorkType::kTurn)].insert(born.key());
  }
  holds_[Index(WorkType::kTurn)].End();
  StartHold(WorkType::kTurn, born.key(), born.dispatch);
  if (born.parked != nullptr) {
    const std::unique_ptr<TurnAnswer> parked = std::move(born.parked);
    EndTurn(born, std::move(*parked));
  }
}

void Dispatcher::RefuseEarlyStart(Hub& hub, Resident& resident) {
  hub.early_starts_to_skip = kStartsSkipMin << hub.early_starts_in_vain;
  hub.early_starts_in_vain = std::min(hub.early_starts_in_vain + 1, kStartsSkipDoublingsMax);
  Drop(resident, /*release=*/false);
}

void Dispatcher::ForgetEarlyKey(Resident& resident) {
  if (resident.early_key == 0) return;
  early_keys_.erase(resident.early_key);
  resident.early_key = 0;
}

}  // namespace dt::dispatch
