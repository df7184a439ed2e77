// The store: everything the daemon keeps, as asynchronous verbs with a callback last.
//
// Threads. Every verb may be called from any thread and returns at once. Callbacks run on a thread
// of the store, never under a lock of it, exactly once, and must not block; also after Stop() (with
// UNAVAILABLE). The callbacks of verbs of one instance (same hub and instance id) run in the order
// of the calls, and the verbs themselves reach the database in that order.
//
// Errors. Expected outcomes are enums in the result. The status is
//   kUnavailable         the database cannot be reached or is shutting down; the verb was retried
//                        where that is safe and its effect, if any, is unknown: send it again
//   kResourceExhausted   the store's queue is full; nothing was done
//   kInvalidArgument     this one item can never be stored (bad bytes, larger than the database can
//                        hold); retrying is useless
//   kInternal            a bug; details are in the log
// One bad item never fails its neighbours of a batch.
//
// Letters. A verb with a LetterCallback gives the request back with the result, whatever that is:
// equal to what was given, and the caller's again. So nobody needs a copy of what the answer is
// about, nor looks up what may have been forgotten meanwhile.
//
// Repeats. A create is settled by its execution id, a checkpoint by (token, turn), a completion by
// the vanished task row; so these may be sent again after an unknown outcome (invariant 4).
#ifndef DT_STORAGE_STORE_H_
#define DT_STORAGE_STORE_H_

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/management_records.h"
#include "storage/records.h"

namespace dt {

template <typename T>
using Callback = absl::AnyInvocable<void(absl::StatusOr<T>) &&>;
using DoneCallback = absl::AnyInvocable<void(absl::Status) &&>;
// Of verbs whose callers go on from the request when its result is there: see Letters.
template <typename Request, typename Result>
using LetterCallback = absl::AnyInvocable<void(Request, absl::StatusOr<Result>) &&>;

enum class WaitHintKind : int8_t {
  kAwaited,         // callers of the sender wait for these
  kChanged,         // what is awaited has come about, as far as the sender knows
  kTellAgain,       // the sender has not heard what is awaited
  kWorkersChanged,  // what the workers of the sender take is another (ReportWork)
};

// A hint between daemons about calls that wait for instances (server/dispatch/remote_waits.h), or
// about themselves.
struct WaitHints {
  HubId hub = 0;  // 0 for kTellAgain and kWorkersChanged
  WaitHintKind kind = WaitHintKind::kAwaited;
  std::vector<uint64_t> waits;  // their names
};

// What the store tells on its own. Called from threads of the store; must not block.
class StoreObserver {
 public:
  virtual ~StoreObserver() = default;
  // This process is registered as `worker`; tokens of MakeLeaseToken(worker, ...) are valid. A
  // second call means that the earlier registration was lost: every lease held under it is gone.
  virtual void OnRegistered(WorkerId worker) = 0;
  // A hint, never needed for correctness: another daemon or an SQL user left work in this hub.
  virtual void OnWake(HubId hub) = 0;
  // A hint of another daemon.
  virtual void OnWaitHints(WaitHints hints) = 0;
  // Whether hints of other daemons arrive from now on; until it is called they do not. True may
  // come again: then some were lost.
  virtual void OnHearing(bool hears) = 0;
};

// One entry of a work item filter: a name in lower case and the accepted versions ("" = without
// version; an empty list = any version).
struct NameFilter {
  std::string lower_name;
  std::vector<std::string> versions;
  // The name as the worker wrote it, more than once if it did so. No claim looks at it.
  std::vector<std::string> spellings = {};
};

// Which names a claim may take; nullopt = everything.
using NameFilters = std::optional<std::vector<NameFilter>>;

// Streams of one daemon that accept the same work, and how much of it they have room for.
struct ClaimGroup {
  int max_items = 0;
  NameFilters filters;
  std::vector<int64_t> excluded = {};  // keys of instances, or of tasks, that are not taken
};

struct ClaimRequest {
  HubId hub = 0;
  InstanceKind kind = InstanceKind::kOrchestration;  // of instances; tasks are of orchestrations
  LeaseToken lease_token = 0;                        // new for this call, which makes it repeatable
  // One call asks for all groups. They are served in this order, so those that accept less come
  // before those that accept more.
  std::vector<ClaimGroup> groups;
  // Asks again under the token of an earlier claim, creation or checkpoint whose answer got lost:
  // returns what that token holds in this hub, and takes nothing new.
  bool repeat = false;
  // Limits of the messages read per instance; the first message is always read.
  int max_messages = 1000;
  int64_t max_message_bytes = 3 << 20;
  // What is read for all items together; the first one is always taken.
  int64_t max_total_bytes = 16 << 20;
};

// What came of one group of a claim.
struct ClaimedGroup {
  int items = 0;
  // When the next free item that it accepts becomes due, if that is known: an idle poller may sleep
  // until then, but not longer than its own maximum.
  std::optional<absl::Time> next_due;
  bool cut = false;  // by max_total_bytes: there is more that is free now
};

struct ClaimResult {
  std::vector<Claim> claims;         // of each group in turn, ordered by readiness
  std::vector<ClaimedGroup> groups;  // parallel to those of the request
};

struct TaskClaimResult {
  std::vector<ActivityTask> tasks;
  std::vector<ClaimedGroup> groups;
};

// What of a hub's work none of the filters accepts that workers have.
struct UnacceptedSearch {
  HubId hub = 0;
  // What is accepted; nullopt = everything, and nothing of this kind is looked for.
  NameFilters turns;
  NameFilters tasks;
  NameFilters entities;
  absl::Duration age_min = absl::ZeroDuration();  // due and free for so long at least
  int groups_max = 20;                            // names and versions of each kind that are told
  int64_t count_max = 1000;                       // where counting the work of one stops
  int names_max = 10000;  // names and versions of each kind that are looked at
};

// Due and free work of one name and version.
struct WaitingWork {
  std::string name;         // as one of it has it
  std::string version;      // "" = none
  int64_t count = 0;        // up to UnacceptedSearch::count_max
  absl::Time since;         // when the one that has waited for longest became due
  std::string instance_id;  // of that one
};

struct UnacceptedWork {
  std::vector<WaitingWork> turns;
  std::vector<WaitingWork> tasks;
  std::vector<WaitingWork> entities;

  bool empty() const { return turns.empty() && tasks.empty() && entities.empty(); }
};

// Work of one kind in a hub, as workers of a daemon take it.
struct ServedWork {
  HubId hub = 0;
  int kind = 0;  // 0 turns, 1 activities, 2 entities
  int streams = 0;
  int64_t credits = 0;                                  // of all these streams
  std::optional<std::vector<std::string>> lower_names;  // nullopt = all
  // Of these names, those that are taken in some versions only ("" = without one). For operators.
  std::map<std::string, std::vector<std::string>> versions = {};

  bool operator==(const ServedWork&) const = default;
};

// What a daemon tells of itself, for other daemons and for operators (vWorkers).
struct WorkerReport {
  std::vector<ServedWork> served;
  int64_t residents = 0;
  int64_t in_flight = 0;  // at workers
  int64_t leases = 0;     // instances and activities that no other daemon may have
  double finished_per_second = 0;
};

struct SweepResult {
  int64_t freed = 0;               // items that dead workers held
  int workers = 1;                 // that are not known to be dead, this one too
  bool suspects = false;           // some of them may be dead: whether they are shows soon
  std::vector<ServedWork> others;  // what workers of the other daemons take
};

// A message from a client to one instance.
struct ClientMessage {
  HubId hub = 0;
  std::string instance_id;
  NewMessage message;
  CallerGone caller_gone = nullptr;
  // For an entity, a GUID in lower case: kDuplicate while a message of the same request waits
  // (RULES.md 7.33). "" = stored whatever waits.
  std::string request_id = {};
};

struct ClientTermination {
  HubId hub = 0;
  Termination termination;
  CallerGone caller_gone = nullptr;
};

// New messages of a resident, read because another daemon or an SQL user added them, or because the
// earlier read was capped.
struct InboxRead {
  InstanceKey key = 0;
  LeaseToken lease_token = 0;
  std::vector<Message> messages;  // all due and future ones, in order, capped
  bool more_messages = false;
};

enum class LeaseOutcome : int8_t { kReleased = 0, kLeaseLost = 1 };

struct InstanceRelease {
  InstanceKey key = 0;
  HubId hub = 0;
  std::string instance_id;  // selects the lane, so that the release follows the instance's writes
  LeaseToken lease_token = 0;
  // Back-off: not offered to anybody before this. Infinite: before it is resumed or terminated.
  // An entity that is held so waits for a message in front of all.
  absl::Duration delay = absl::ZeroDuration();
  bool lost = false;  // counts as a lost lease, for the poison limit
  // Inline tasks that go on under leases of their own; the others become free.
  std::vector<KeptTask> kept_tasks;
};

struct TaskRelease {
  TaskKey key = 0;
  InstanceKey instance_key = 0;
  HubId hub = 0;
  std::string instance_id;  // of `instance_key`; selects the lane
  LeaseToken lease_token = 0;
  absl::Duration delay = absl::ZeroDuration();
  bool lost = false;
  InlinePlace place;
};

struct DiscardRequest {
  InstanceKey key = 0;
  HubId hub = 0;
  std::string instance_id;
  LeaseToken lease_token = 0;
  std::vector<int64_t> seqs;
  bool release = false;
};

// One batch of retention in all hubs.
struct RetentionRequest {
  // How long instances that ended so are kept, where the hub has no policy of its own; the missing
  // statuses are kept for ever.
  std::map<RuntimeStatus, absl::Duration> keep;
  int max_instances = 500;  // looked at by the batch
  // How long a hub and status rests after nothing was left to do.
  absl::Duration pause = absl::Minutes(1);
  // Nothing goes so soon after its end, whatever the policy: whoever waits for it reads it first.
  absl::Duration grace = absl::ZeroDuration();
};

// What one batch removed of a hub.
struct RetentionPurge {
  std::string hub;
  RuntimeStatus status = RuntimeStatus::kCompleted;
  int64_t instances = 0;
};

struct RetentionResult {
  bool leads = false;  // otherwise nothing was done
  std::string leader;  // another daemon that leads, for the log; empty = this one or nobody
  bool more = false;   // the batch was full: call again
  std::vector<RetentionPurge> purges;
};

// One batch of the removal of what deleted hubs held.
struct HubCleanupRequest {
  int max_instances = 500;  // looked at by the batch
  // How long a hub rests when others have locked all that is left of it.
  absl::Duration pause = absl::Minutes(1);
};

struct HubCleanupResult {
  std::string hub;      // that the batch was for, by the name that it had; empty = there was none
  int64_t removed = 0;  // instances, by this batch
  int64_t total = 0;    // by all batches, also of other daemons
  bool ended = false;   // nothing is left of the hub
  absl::Duration age;   // since it was deleted
  bool more = false;    // something is left to remove now: call again
};

class Store {
 public:
  virtual ~Store() = default;

  // Registers this process and begins to renew its leases. `observer` must outlive Stop().
  virtual void Start(StoreObserver* observer) = 0;
  // Finishes what is queued, unregisters (which frees every lease still held) and closes. Blocks.
  virtual void Stop() = 0;
  // The database's clock, estimated; never runs back.
  virtual absl::Time Now() const = 0;
  // OK, or why nothing can be written to the database, for some seconds now. Any thread, no I/O.
  virtual absl::Status Writable() const { return absl::OkStatus(); }

  // --- Hubs
  // The id of a hub. kNotFound unless it exists or `create` is set. One that exists is found also
  // while nothing can be written.
  virtual void ResolveHub(std::string name, bool create, Callback<HubId> done) = 0;
  // Deletes the hub: nobody finds it or anything in it any more, and its name is free. What it held
  // is removed by CleanHubs. kNotFound if missing.
  virtual void DeleteHub(std::string name, DoneCallback done) = 0;
  // Removes one batch of what a deleted hub held; waits for nobody's transaction. Of several
  // daemons each cleans other hubs.
  virtual void CleanHubs(HubCleanupRequest request, Callback<HubCleanupResult> done) = 0;

  // --- Client verbs
  // kNotFound: the hub was deleted.
  virtual void CreateInstance(NewInstance instance,
                              LetterCallback<NewInstance, CreateResult> done) = 0;
  virtual void SendMessage(ClientMessage message, Callback<Delivery> done) = 0;
  // kDone (ended at once), kOk (message queued), kTerminal, kNotFound. The notice that kDone leaves
  // for a parent is in no Delivery, also in a CheckpointResult: a parent that is leased, by
  // whomever, learns of it by ReadNewMessages.
  virtual void Terminate(ClientTermination termination, Callback<Delivery> done) = 0;

  // --- Orchestrations
  // Both claims: kResourceExhausted = too much waits, kDeadlineExceeded = it took too long; nothing
  // was taken then. After any other error something may have been.
  // kNotFound: the hub was deleted.
  virtual void ClaimInstances(ClaimRequest request,
                              LetterCallback<ClaimRequest, ClaimResult> done) = 0;
  virtual void CommitCheckpoint(Checkpoint checkpoint,
                                LetterCallback<Checkpoint, CheckpointResult> done) = 0;
  // Consumes messages that no turn wants (RULES.md 3.4) and may give the lease up.
  virtual void DiscardMessages(DiscardRequest request,
                               LetterCallback<DiscardRequest, LeaseOutcome> done) = 0;
  virtual void ReleaseInstance(InstanceRelease release,
                               LetterCallback<InstanceRelease, LeaseOutcome> done) = 0;
  // Reads the messages that others added to instances leased by `worker`, and forgets that they are
  // new. One index probe when there are none.
  virtual void ReadNewMessages(WorkerId worker, Callback<std::vector<InboxRead>> done) = 0;
  // Reads the inbox of one leased instance again (after a capped read).
  virtual void ReadInbox(HubId hub, std::string instance_id, InstanceKey key, LeaseToken token,
                         Callback<InboxRead> done) = 0;

  // --- Activities
  virtual void ClaimTasks(ClaimRequest request,  // as above
                          LetterCallback<ClaimRequest, TaskClaimResult> done) = 0;
  virtual void CompleteTask(TaskCompletion completion,
                            LetterCallback<TaskCompletion, TaskResult> done) = 0;
  virtual void ReleaseTask(TaskRelease release, LetterCallback<TaskRelease, LeaseOutcome> done) = 0;

  // --- Hints
  // Sends it to the other daemons, if there are any. It may get lost.
  virtual void TellOthers(WaitHints hints) = 0;
  // Keeps it beside the registration of this process, in place of the one before: at once, or with
  // the next renewal. It may get lost with the registration; then a new one keeps the last report.
  virtual void ReportWork(WorkerReport report, bool at_once) = 0;

  // --- Upkeep
  // Frees the leases of workers that are known to be dead.
  virtual void SweepDeadWorkers(Callback<SweepResult> done) = 0;

  // A few index probes for each name and version of work that is free.
  virtual void FindUnacceptedWork(UnacceptedSearch search,
                                  LetterCallback<UnacceptedSearch, UnacceptedWork> done) = 0;

  // Removes one batch of ended orchestrations with all that they hold. Live ones are left alone.
  virtual void PurgeInstances(PurgeRequest request, Callback<PurgeResult> done) = 0;

  // Removes one batch of ended orchestrations that have been kept long enough, in all hubs, if this
  // daemon leads: one does at a time, and another follows when its lease is over.
  virtual void ApplyRetention(RetentionRequest request, Callback<RetentionResult> done) = 0;

  // What a rewind must know of each of these instances, in their order.
  virtual void ReadRewindSources(HubId hub, std::vector<std::string> instance_ids,
                                 Callback<std::vector<RewindSource>> done) = 0;
  // Brings FAILED instances back to life, or lets a live one begin again (Rewind::live).
  virtual void RewindInstances(RewindRequest request, Callback<RewindOutcome> done) = 0;
  // Ends orchestrations at once, whoever holds them; their parents are told. Returns the ids of
  // those that did not end by this: ended before, missing, entities, or holding locks of entities.
  virtual void TerminateNow(ImmediateTermination request,
                            Callback<std::vector<std::string>> done) = 0;

  // Removes empty entities, and releases locks that nobody will release: one batch.
  virtual void CleanEntities(EntityCleanup request, Callback<EntityCleanupResult> done) = 0;

  // What waits and what there is in all hubs, if this daemon leads: one does at a time, and another
  // follows when its lease is over. A store without samples never leads.
  virtual void SampleWork(SampleRequest, Callback<WorkSample> done) {
    std::move(done)(WorkSample());
  }

  // --- Reads for clients (other connections, own time-outs)
  // An entity is no instance here, but for the verbs that say so.
  virtual void ReadInstance(HubId hub, std::string instance_id, bool payloads,
                            Callback<std::optional<InstanceRow>> done) = 0;
  virtual void ReadStatus(HubId hub, std::string instance_id, Callback<InstanceStatus> done) = 0;
  // A page of orchestrations. Pages are read one by one: a row that is written between two of them
  // shows as it is then, one that is deleted hides no other.
  virtual void SearchInstances(InstanceSearch search, Callback<InstancePage> done) = 0;
  // An entity that has a state; nullopt if there is no such one. `state`: whether to read it.
  virtual void ReadEntity(HubId hub, std::string instance_id, bool state,
                          Callback<std::optional<EntityInfo>> done) = 0;
  // A page of entities; pages as above.
  virtual void SearchEntities(EntitySearch search, Callback<EntityPage> done) = 0;
  // The history of the current generation after `after_turn`, in order, at least one chunk and then
  // about `max_bytes`; no chunk at the end. kNotFound if there is no such instance, or
  // `execution_id` is given and not current.
  virtual void ReadHistory(HubId hub, std::string instance_id,
                           std::optional<std::string> execution_id, int64_t after_turn,
                           int64_t max_bytes, Callback<HistoryPage> done) = 0;
};

}  // namespace dt

#endif  // DT_STORAGE_STORE_H_
