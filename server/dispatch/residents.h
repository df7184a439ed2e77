// The instances that this daemon holds in memory under a lease, and their inboxes.
// Plain data of the dispatcher, used by its one thread only.
//
// Invariants
//   * A resident may be dropped at any moment; what it knows is in the database.
//   * `inbox` is sorted by (visible_at, seq) and holds a prefix of the stored inbox: everything
//     stored before `unread_from`. What may lie behind it is read again before it is due.
//   * Messages of a turn stay in the inbox until the turn's checkpoint has committed.
#ifndef DT_SERVER_DISPATCH_RESIDENTS_H_
#define DT_SERVER_DISPATCH_RESIDENTS_H_

#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/types/span.h"
#include "server/dispatch/deadlines.h"
#include "server/dispatch/events.h"
#include "server/dispatch/fair_bytes.h"
#include "server/dispatch/streams.h"
#include "server/orchestration/turn.h"

namespace dt::dispatch {

struct Resident {
  enum class Phase : int8_t {
    kIdle,        // nothing due; see `due_at`
    kReady,       // in its route, waiting for a credit
    kReading,     // its inbox is being read again
    kDispatched,  // the turn is at a worker
    kCommitting,  // its checkpoint, or what it discards, is in the store
  };

  orchestration::InstanceState state;
  LeaseToken lease = 0;
  Hub* hub = nullptr;
  Route* route = nullptr;
  Phase phase = Phase::kIdle;
  int32_t lost_leases = 0;    // since the last commit
  bool loss_unsaved = false;  // the database does not know of the last one
  bool orphaned = false;      // no stream accepts it, and it will be given back
  // When the store created it. Set for one that was created leased, so without a scheduled start,
  // and that has been held since: nobody else has written its row (EndedRow).
  std::optional<absl::Time> created_at;

  std::vector<Message> inbox;
  // Messages from here on are in the database only; InfiniteFuture = there are none.
  absl::Time unread_from = absl::InfiniteFuture();
  bool unread = false;       // must be read again before the next turn, whatever the time
  bool awaits_read = false;  // the next turn waits for the read of new messages in flight
  bool missed = false;       // a message was left to a later read while one was under way
  // Numbers that came by a read and not by an answer: the answer may follow and is then known.
  absl::flat_hash_set<int64_t> read_seqs;
  // Inline tasks that this daemon holds (inline_tasks.cc), by id.
  absl::btree_map<int32_t, KeptTask> inline_tasks;
  // Results in the inbox that are not stored; `inbox` may lack one that had to make room.
  std::vector<UnstoredResult> unstored;

  // The turn in flight.
  orchestration::Turn turn;
  StreamId stream = 0;
  int64_t dispatch = 0;
  bool whole_history = false;                    // the worker asked for it (3.17)
  bool warned_of_size = false;                   // once, not at every turn
  std::unique_ptr<OrchestratorResponse> merged;  // parts of a chunked response (3.18)
  int64_t merged_bytes = 0;                      // of memory
  // The answer, while a result of the turn is being stored.
  std::unique_ptr<TurnAnswer> parked;

  // Places in the dispatcher's queues; kept to take it out of them.
  std::optional<std::tuple<absl::Time, int64_t, InstanceKey>> ready_at;
  std::optional<absl::Time> due_at;
  bool idle = false;
  int64_t bytes = 0;  // counted into ResidentTable::bytes

  // Below 0 until its creation is known to be stored (early_starts.cc).
  InstanceKey key() const { return state.key; }
  bool unborn() const { return state.key < 0; }
  InstanceKey early_key = 0;  // that of its first turn's token, if that was sent before
  // The inline tasks, for a call that gives the lease up.
  std::vector<KeptTask> KeptTasks() const;
  // When the next message, known or not, is due; InfiniteFuture if none.
  absl::Time next_due() const;
};

class ResidentTable {
 public:
  // Counts residents that are not idle into `work`, which must outlive the table.
  explicit ResidentTable(FairBytes* work) : work_(work) {}

  // Null if unknown.
  Resident* Find(InstanceKey key);
  // Null unless held under this lease.
  Resident* Find(InstanceKey key, LeaseToken lease);
  Resident* FindById(Hub& hub, const std::string& instance_id);
  // An older resident of that id must have been removed.
  Resident* Add(std::unique_ptr<Resident> resident);
  std::unique_ptr<Resident> Remove(Resident* resident);

  // Adds a message that the caller was told of; one that is known already is left out, and so is
  // one that must wait behind unread messages.
  void Append(Resident& resident, Message message);
  // Adds what a read found.
  void Merge(Resident& resident, InboxRead read);
  // Whether a message more would be left in the database, to be read later.
  static bool IsFull(const Resident& resident);
  // Takes consumed messages out.
  void Consume(Resident& resident, std::vector<int64_t> seqs);
  // The due messages at the front.
  absl::Span<const Message> Due(const Resident& resident, absl::Time now) const;
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
    return due_.empty() ? absl::InfiniteFuture() : due_.begin()->first;
  }

  size_t size() const { return residents_.size(); }
  int64_t bytes() const { return bytes_; }
  std::vector<Resident*> All();

 private:
  void AddBytes(Resident& resident, int64_t bytes);

  FairBytes* const work_;
  absl::flat_hash_map<InstanceKey, std::unique_ptr<Resident>> residents_;
  absl::btree_set<std::pair<absl::Time, InstanceKey>> due_;
  Deadlines<InstanceKey> idle_;
  int64_t bytes_ = 0;
  int reads_in_flight_ = 0;
  absl::flat_hash_set<int64_t> consumed_during_read_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_RESIDENTS_H_
