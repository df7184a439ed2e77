// What PostgreSQL does for the daemon, in memory and at once: the tables of sql/ as maps and each
// verb of storage/store.h as one synchronous method with the same rules (sql/RULES.md 3 and 5).
// Several MemoryStores on one database are several daemons.
//
// Invariants
//   * A hot row exists exactly while an instance is live. next_due of a free instance is the
//     earliest message of its inbox; a message for a leased one lowers owner_wake unless the
//     caller is the owner, who gets it back as a Delivery instead.
//   * Writes of a lease holder are fenced by the token, checkpoints also by turn and consumed
//     numbers.
// Threads: every method locks the database; nothing is called back under the lock.
#ifndef DT_TESTS_SUPPORT_MEMORY_DATABASE_H_
#define DT_TESTS_SUPPORT_MEMORY_DATABASE_H_

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "storage/store.h"
#include "tests/support/fake_clock.h"

namespace dt::testing {

struct SentHints {
  WorkerId sender = 0;
  WaitHints hints;
};

class MemoryDatabase {
 public:
  explicit MemoryDatabase(ClockFunction clock) : clock_(std::move(clock)) {}
  MemoryDatabase(const MemoryDatabase&) = delete;
  MemoryDatabase& operator=(const MemoryDatabase&) = delete;

  // Never runs back, whatever the injected clock does.
  absl::Time Now() const;

  // --- Workers
  WorkerId RegisterWorker(absl::Duration lease);
  // False: the registration was swept; register again.
  bool RenewWorker(WorkerId worker, absl::Duration lease);
  // Frees every lease of the worker, without counting them as lost.
  void UnregisterWorker(WorkerId worker);
  // The next sweep takes this worker for dead, as if its process had been found missing.
  void DeclareDead(WorkerId worker);
  // `worker`: who sweeps, and is not told of itself.
  SweepResult Sweep(WorkerId worker = 0);
  void ReportWork(WorkerId worker, WorkerReport report);

  // --- Verbs, see storage/store.h; `worker` is the calling daemon.
  absl::StatusOr<HubId> ResolveHub(const std::string& name, bool create);
  absl::Status DeleteHub(const std::string& name);
  HubCleanupResult CleanHubs(const HubCleanupRequest& request);
  absl::StatusOr<CreateResult> CreateInstance(WorkerId worker, NewInstance instance);
  Delivery SendMessage(WorkerId worker, ClientMessage message);
  Delivery Terminate(WorkerId worker, ClientTermination termination);
  absl::StatusOr<ClaimResult> ClaimInstances(const ClaimRequest& request);
  CheckpointResult CommitCheckpoint(WorkerId worker, Checkpoint checkpoint);
  LeaseOutcome DiscardMessages(const DiscardRequest& request);
  LeaseOutcome ReleaseInstance(const InstanceRelease& release);
  std::vector<InboxRead> ReadNewMessages(WorkerId worker);
  InboxRead ReadInbox(InstanceKey key, LeaseToken token);
  absl::StatusOr<TaskClaimResult> ClaimTasks(const ClaimRequest& request);
  TaskResult CompleteTask(WorkerId worker, TaskCompletion completion);
  LeaseOutcome ReleaseTask(const TaskRelease& release);
  std::optional<InstanceRow> ReadInstance(HubId hub, const std::string& instance_id, bool payloads);
  InstanceStatus ReadStatus(HubId hub, const std::string& instance_id);
  UnacceptedWork FindUnacceptedWork(const UnacceptedSearch& search);
  PurgeResult PurgeInstances(const PurgeRequest& request);
  RetentionResult ApplyRetention(WorkerId worker, const RetentionRequest& request);
  std::vector<RewindSource> ReadRewindSources(HubId hub,
                                              const std::vector<std::string>& instance_ids);
  RewindOutcome RewindInstances(RewindRequest request);
  std::vector<std::string> TerminateNow(const ImmediateTermination& request);
  InstancePage SearchInstances(const InstanceSearch& search);
  EntityCleanupResult CleanEntities(const EntityCleanup& request);
  std::optional<EntityInfo> ReadEntity(HubId hub, const std::string& instance_id, bool state);
  EntityPage SearchEntities(const EntitySearch& search);
  absl::StatusOr<HistoryPage> ReadHistory(HubId hub, const std::string& instance_id,
                                          const std::optional<std::string>& execution_id,
                                          int64_t after_turn, int64_t max_bytes);

  // Hubs in which somebody left work that another daemon may take or read, since the last call:
  // what the debounced NOTIFY would tell.
  std::vector<HubId> TakeWoken();
  // Hints about waits, and those that were sent since the last call.
  void TellOthers(SentHints hints);
  std::vector<SentHints> TakeHints();

  // --- What tests look at
  struct Counts {
    size_t live = 0;
    size_t leased_instances = 0;
    size_t tasks = 0;  // these two with inline ones
    size_t leased_tasks = 0;
    size_t inline_tasks = 0;
    size_t messages = 0;
    int64_t checkpoints = 0;  // committed, over the life of the database
    int64_t claims = 0;       // claim calls
    int64_t reads = 0;        // calls that read new messages
    int64_t status_reads = 0;
    int64_t looks = 0;  // for work that nobody accepts
  };
  Counts Count() const;
  // The lease of a live instance; 0 also for a missing one.
  LeaseToken LeaseOf(HubId hub, const std::string& instance_id) const;
  // Puts this in place of an instance's history: for corrupt ones.
  void ReplaceHistory(HubId hub, const std::string& instance_id, std::vector<HistoryChunk> history);

 private:
  using InboxOrder = std::pair<absl::Time, int64_t>;  // (visible_at, seq)

  struct Task {
    ActivityTask task;
    absl::Time ready_at;
    absl::Time place;  // among the free ones; never before ready_at of one that waits for it
  };

  struct Instance {
    InstanceRow row;
    HubId hub = 0;
    InstanceKind kind = InstanceKind::kOrchestration;
    std::optional<ParentLink> parent;
    Payload saved_custom_status;
    std::optional<std::string> orchestration_trace_context;
    LeaseToken last_token = 0;  // of the last commit, also after the end
    int64_t turn = 0;

    // The hot row.
    bool live = true;
    LeaseToken lease = 0;
    absl::Time not_before = absl::InfinitePast();  // back-off or scheduled start
    bool owner_wake = false;
    int32_t lost_leases = 0;
    std::optional<absl::Time>
        ready_at;  // its place in ready_; unset while leased or without messages

    absl::btree_map<InboxOrder, Message> inbox;
    absl::flat_hash_map<int64_t, absl::Time> inbox_times;  // seq -> visible_at
    std::vector<HistoryChunk> history;
    absl::btree_set<TaskKey> tasks;
    absl::btree_map<int32_t, Task> inline_tasks;  // by id; without keys

    // What only an entity has.
    Payload state;
    absl::Time last_modified;
    struct Lock {
      InstanceKey owner = 0;
      Generation generation = 0;
      std::string section;
    };
    std::optional<Lock> lock;
    absl::btree_map<std::string, int64_t> requests;  // seqs by ClientMessage::request_id
  };

  // A critical section that waits for its entities (see LockRequest).
  struct WaitingLock {
    InstanceKey owner = 0;
    Generation generation = 0;
    std::string owner_id;
    std::string section;
    absl::Time at;  // visible_at of its messages
    SharedBytes request;
    struct Member {
      int64_t seq = 0;
      bool arrived = false;
    };
    absl::btree_map<InstanceKey, Member> members;
  };

  struct Worker {
    absl::Time lease_until;
    bool swept = false;
    WorkerReport report = {};
  };

  absl::Time NowLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Instance* Find(HubId hub, const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Instance* Find(InstanceKey key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Keeps ready_ true after any change of lease, inbox or not_before.
  void Reindex(Instance& instance) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SetLease(Instance& instance, LeaseToken token) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // When a message is visible: at its time but not before now, before all that waits (see
  // Checkpoint::own_messages), or at its time whatever that is.
  enum class Place : int8_t { kDue, kFront, kExact };
  int64_t Insert(Instance& instance, NewMessage message, Place place = Place::kDue)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool Remove(Instance& instance, int64_t seq) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // `worker` 0: nobody is told by the answer, so an owner always learns it from its wake read.
  Delivery Deliver(WorkerId worker, Instance* target, NewMessage message, Place place = Place::kDue)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // By id: makes the entity that is missing.
  Delivery DeliverTo(WorkerId worker, HubId hub, AddressedMessage message)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Delivery TerminateOne(WorkerId worker, HubId hub, Termination termination)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Ends what is live below the ended instance, as sql's __TerminateBelow.
  void TerminateBelow(const Instance& above, const SubtreeTermination& termination)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The recursive terminations that the instance will not be given any more if it ends now.
  static std::vector<SubtreeTermination> LateTerminations(const Instance& instance,
                                                          const Checkpoint& checkpoint);
  // TERMINATED without a worker; the parent is told.
  void EndTerminated(Instance& instance, const Payload& reason)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  RewindSource SourceOf(const Instance& instance) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsAsFound(const Rewind& rewind) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Revive(Rewind rewind) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Makes the instance terminal: hot row, inbox and free tasks go.
  void End(Instance& instance) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropFreeTasks(Instance& instance) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  int64_t FreeLeases(WorkerId worker, bool lost) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FreeTask(Task& task, absl::Duration delay, bool lost) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Erase(Instance& instance) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsAlive(WorkerId worker) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Started by a live generation, directly or by others.
  bool HasLiveAncestor(const Instance& instance) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<const InstanceRow*> Found(const InstanceSearch& search) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EraseTask(TaskKey key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  CreateResult Create(WorkerId worker, NewInstance instance) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  CheckpointResult Commit(WorkerId worker, Checkpoint checkpoint)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  CheckpointOutcome CheckFence(const Checkpoint& checkpoint) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsLeased(InstanceKey instance, const CompletedTask& task) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // --- Entities (memory_entities.cc)
  Instance& MakeEntity(HubId hub, const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  static std::string ExecutionIdOf(const Instance& instance);
  EntityRow EntityRowOf(const Instance& entity) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Sends the requests; one delivery for each member of each.
  std::vector<Delivery> RequestLocks(WorkerId worker, Checkpoint& checkpoint, const Instance& owner)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ApplyEntity(WorkerId worker, EntityUpdate update, Instance& entity, CheckpointResult& result)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  ArrivalOutcome Arrive(WorkerId worker, LockArrival arrival, Instance& entity,
                        CheckpointResult& result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Grant(WorkerId worker, const WaitingLock& granted, NewMessage grant, const Instance& last,
             CheckpointResult& result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Takes the request from all members; those other than `except` get an unlock in front.
  void TakeBack(const WaitingLock& request, InstanceKey except)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // With the news of a grant that nobody has read.
  void Unlock(Instance& entity) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Sends it a message that does so.
  void Unlock(InstanceKey entity, const std::string& owner_id, const std::string& section)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Of one generation of the owner, or of all.
  void ReleaseLocks(const Instance& owner, std::optional<Generation> generation)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  EntityInfo InfoOf(const Instance& entity, bool state) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The entities of a hub whose ids begin so and come after the other one, in the order of ids.
  std::vector<Instance*> EntitiesOf(HubId hub, const std::string& prefix, const std::string& after)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasOrphanedLock(const Instance& entity) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool HasLocks(InstanceKey owner) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Removes an entity of which nothing is left.
  bool RemoveIfEmpty(Instance& entity) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Both return the messages that are carried on into the next generation.
  std::vector<NewMessage> ApplyState(Checkpoint& checkpoint, Instance& instance)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ApplyUpdate(InstanceUpdate update, Instance& instance) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::vector<NewMessage> ApplyNextGeneration(NextGeneration next, Instance& instance)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ApplyOutgoing(WorkerId worker, Checkpoint& checkpoint, Instance& instance,
                     CheckpointResult& result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The messages and terminations that act before, or after, the children are made.
  void SendMessages(WorkerId worker, Checkpoint& checkpoint, bool after_children,
                    CheckpointResult& result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Terminate(WorkerId worker, Checkpoint& checkpoint, bool after_children,
                 CheckpointResult& result) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // `number`: which of the tasks of one turn it is.
  TaskKey AddTask(Instance& instance, NewTask task, Generation generation, int number)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Gives an inline task a row: under `kept`, or a free one. False if it is not inline.
  bool StoreInlineTask(Instance& instance, const KeptTask& kept)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void StoreTask(Instance& instance, Task task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FreeInlineTasks(Instance& instance, bool lost) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool IsInline(InstanceKey instance, const InlinePlace& place)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Claim Take(Instance& instance, const ClaimRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The bytes of a claim; the first item fits always.
  class ClaimBudget {
   public:
    explicit ClaimBudget(int64_t bytes) : left_(bytes) {}
    bool Take(int64_t bytes) {
      if (bytes > left_ && any_) return false;
      any_ = true;
      left_ -= bytes;
      return true;
    }

   private:
    int64_t left_;
    bool any_ = false;
  };
  static int64_t TurnBytes(const Instance& instance, absl::Time until);
  ClaimedGroup ClaimGroupOf(const ClaimRequest& request, const ClaimGroup& group,
                            ClaimBudget& budget, std::vector<Claim>& claims)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A claimed task, with the execution id of its generation.
  ActivityTask LeasedTask(const Task& task) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  ClaimedGroup ClaimTaskGroup(const ClaimRequest& request, const ClaimGroup& group,
                              ClaimBudget& budget, std::vector<ActivityTask>& tasks)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  InboxRead Read(const Instance& instance) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // kNotFound for one that was deleted.
  absl::Status CheckHub(HubId hub) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Wake(HubId hub) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { woken_.insert(hub); }

  const ClockFunction clock_;
  mutable absl::Mutex mutex_;
  mutable absl::Time last_now_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  int64_t last_key_ ABSL_GUARDED_BY(mutex_) = 0;  // instances, tasks and messages count together
  std::map<std::string, HubId> hubs_ ABSL_GUARDED_BY(mutex_);
  int32_t last_hub_ ABSL_GUARDED_BY(mutex_) = 0;
  // What deleted hubs held is gone at once here; how many instances CleanHubs has to remove yet is
  // counted.
  struct DeletedHub {
    std::string name;
    absl::Time deleted_at;
    int64_t left = 0;
    int64_t removed = 0;
  };
  std::deque<DeletedHub> deleted_hubs_ ABSL_GUARDED_BY(mutex_);
  WorkerId last_worker_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::btree_map<WorkerId, Worker> workers_ ABSL_GUARDED_BY(mutex_);
  WorkerId retention_leader_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_map<InstanceKey, std::unique_ptr<Instance>> instances_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::pair<HubId, std::string>, InstanceKey> ids_ ABSL_GUARDED_BY(mutex_);
  absl::btree_set<std::tuple<HubId, absl::Time, InstanceKey>> ready_ ABSL_GUARDED_BY(mutex_);
  std::vector<WaitingLock> waiting_locks_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<TaskKey, Task> tasks_ ABSL_GUARDED_BY(mutex_);
  // By place.
  absl::btree_set<std::tuple<HubId, absl::Time, TaskKey>> free_tasks_ ABSL_GUARDED_BY(mutex_);
  // Who holds what, by token: makes a claim repeatable and finds a dead worker's leases.
  absl::btree_set<std::pair<LeaseToken, InstanceKey>> instance_leases_ ABSL_GUARDED_BY(mutex_);
  absl::btree_set<std::pair<LeaseToken, TaskKey>> task_leases_ ABSL_GUARDED_BY(mutex_);
  absl::btree_set<std::pair<WorkerId, InstanceKey>> owner_wakes_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<HubId> woken_ ABSL_GUARDED_BY(mutex_);
  std::vector<SentHints> hints_ ABSL_GUARDED_BY(mutex_);
  int64_t checkpoints_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t claims_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t reads_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t status_reads_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t looks_ ABSL_GUARDED_BY(mutex_) = 0;
};

// What a read without payloads leaves out.
void DropPayloads(InstanceRow& row);

// Whether a work item of this name and version passes (RULES.md 9.2-9.5).
bool Accepts(const NameFilters& filters, const std::string& name, const Payload& version);

}  // namespace dt::testing

#endif  // DT_TESTS_SUPPORT_MEMORY_DATABASE_H_
