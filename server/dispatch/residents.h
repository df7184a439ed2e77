// The instances that this daemon holds in memory under a lease.
// Plain data of the dispatcher, used by its one thread only.
//
// Invariant: a resident may be dropped at any moment; what it knows is in the database.
#ifndef DT_SERVER_DISPATCH_RESIDENTS_H_
#define DT_SERVER_DISPATCH_RESIDENTS_H_

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "server/dispatch/deadlines.h"
#include "server/dispatch/events.h"
#include "server/dispatch/fair_bytes.h"
#include "server/dispatch/inbox.h"
#include "server/dispatch/item.h"
#include "server/dispatch/streams.h"
#include "server/entity/batch.h"
#include "server/orchestration/turn.h"

namespace dt::dispatch {

// The turn that is at a worker, or was last.
struct TurnInFlight {
  orchestration::Turn plan;
  bool whole_history = false;                    // the worker asked for it (3.17)
  std::unique_ptr<OrchestratorResponse> merged;  // parts of a chunked response (3.18)
  int64_t merged_bytes = 0;                      // of memory
  // The answer, while something that it rests on is being stored.
  std::unique_ptr<TurnAnswer> parked;

  // Adds a part of the answer to those before it (3.18). True: `answer` is complete, or cannot
  // become good any more.
  bool TakePart(OrchestratorResponse part, const DispatchLimits& limits, TurnAnswer& answer);
  void ForgetParts();
  // A message of the turn has another number now.
  void Renumber(int64_t from, int64_t to);
};

// What a resident has that is an entity.
struct EntityTurn {
  entity::EntityState state;
  entity::Batch batch;  // at a worker, or the last one
  // Of the last one's end. Entities take turns by it: one with a long inbox would always be first
  // by the time of its messages.
  absl::Time ended_at = absl::InfinitePast();
};

// The inline tasks of a resident (inline_tasks.h).
struct InlineTasks {
  absl::btree_map<int32_t, KeptTask> held;  // by this daemon, by id
  // Ids of those whose release is under way. Were another one inline under the same id and lease,
  // a release that is sent again would give that one back, while it runs.
  absl::btree_set<int32_t> returning;

  bool contains(int32_t id) const { return held.contains(id) || returning.contains(id); }
};

struct Resident : Item {
  enum class Phase : int8_t {
    kIdle,        // nothing due; see `due_at`
    kReady,       // in its route, waiting for a credit
    kReading,     // its inbox is being read again
    kDispatched,  // the turn is at a worker
    kCommitting,  // its checkpoint, or what it discards, is in the store
  };

  Resident(WorkType its_type, int64_t its_number) : Item(its_type, its_number) {}
  int64_t key() const override { return state.key; }
  const std::string& instance_id() const override { return state.instance_id; }
  int64_t item_bytes() const override { return bytes; }
  // Its creation is not known to be stored (starts.h).
  bool unconfirmed() const { return state.key == 0; }
  // An entity that looks at messages in front of all only (server/entity/batch.h).
  bool blocked() const { return entity != nullptr && entity->state.blocked(); }
  // When there is something to do, known or not; InfiniteFuture if there is nothing.
  absl::Time next_due() const;
  // The inline tasks, for a call that gives the lease up.
  std::vector<KeptTask> KeptTasks() const;

  orchestration::InstanceState state;
  Phase phase = Phase::kIdle;
  // When the store created it. Set for one that was created leased, so without a scheduled start,
  // and that has been held since: nobody else has written its row (EndedRow).
  std::optional<absl::Time> created_at;
  Inbox inbox;
  bool awaits_read = false;  // the next turn waits for the read of new messages in flight
  InlineTasks inline_tasks;
  // Results in the inbox that are not stored; `inbox` may lack one that had to make room.
  std::vector<UnstoredResult> unstored;
  TurnInFlight turn;
  std::unique_ptr<EntityTurn> entity;  // of an entity, and only of one
  bool warned_of_size = false;         // once, not at every turn

  // Of the table.
  std::optional<absl::Time> due_at;
  bool idle = false;
  int64_t bytes = 0;  // of memory
};

class ResidentTable {
 public:
  // Counts residents that are not idle into `work`, which must outlive the table.
  explicit ResidentTable(FairBytes* work) : work_(work) {}

  // Each null if unknown; by the key only those that are confirmed.
  Resident* Find(InstanceKey key);
  // Null unless held under this lease.
  Resident* Find(InstanceKey key, LeaseToken lease);
  Resident* FindByNumber(int64_t number);
  static Resident* FindById(const Hub& hub, const std::string& instance_id);
  // An older resident of that id must have been removed.
  Resident* Add(std::unique_ptr<Resident> resident);
  // It is stored, under this key.
  void Confirm(Resident& resident, InstanceKey key);
  void Remove(Resident& resident);

  // As those of the inbox, and counted.
  void Append(Resident& resident, Message message);
  void Merge(Resident& resident, InboxRead read);
  void Consume(Resident& resident, std::vector<int64_t> seqs);
  // Counts the memory of the resident again.
  void Weigh(Resident& resident);

  // A read that was begun before a checkpoint committed may bring what that consumed.
  void BeginRead() { ++reads_in_flight_; }
  void EndRead();

  // Marks the resident as idle until the linger time has passed, or as busy.
  void SetIdle(Resident& resident, absl::Time until);
  void SetBusy(Resident& resident);
  // The resident that is idle for longest, if its time is up or `any`; null if none.
  Resident* TakeIdle(absl::Time now, bool any);
  absl::Time next_idle() const { return idle_.next(); }
  size_t idle() const { return idle_.size(); }

  // Residents that wait for a time.
  void SetDue(Resident& resident, std::optional<absl::Time> at);
  Resident* TakeDue(absl::Time now);
  absl::Time next_due() const {
    return due_.empty() ? absl::InfiniteFuture() : due_.begin()->first.first;
  }

  size_t size() const { return residents_.size(); }
  int64_t bytes() const { return bytes_; }
  // In the order in which they came.
  std::vector<Resident*> All() const;

 private:
  FairBytes* const work_;
  absl::flat_hash_map<int64_t, std::unique_ptr<Resident>> residents_;  // by number
  absl::flat_hash_map<InstanceKey, Resident*> by_key_;
  absl::btree_map<std::pair<absl::Time, int64_t>, Resident*> due_;
  Deadlines<Resident*> idle_;
  int64_t bytes_ = 0;
  int reads_in_flight_ = 0;
  absl::flat_hash_set<int64_t> consumed_during_read_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_RESIDENTS_H_
