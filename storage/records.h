// The plain values that travel between the daemon's layers and the store: what one transaction
// reads or writes, as structs. No behaviour, no protocol types, no database types.
//
// Conventions
//   * Payloads and events are bytes, exactly as a client or worker sent them. std::optional
//     tells an absent payload from an empty one (proto/README.md, rule 5).
//   * Records are moved along the way and never edited after hand-over.
//   * Times are the database's clock (invariant 6). The store keeps microseconds and rounds due
//     times up, so that nothing fires early; exact times live inside the event bytes.
#ifndef DT_STORAGE_RECORDS_H_
#define DT_STORAGE_RECORDS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace dt {

// Whether nobody waits for the answer of a call any more. Then what was not sent to the database
// yet is not done, and fails (kUnavailable). Any thread, until the call is answered; null = always
// done.
using CallerGone = std::function<bool()>;

using HubId = int32_t;
using InstanceKey = int64_t;  // never reused: an instance id that is used again gets a new key
using TaskKey = int64_t;
using WorkerId = int64_t;    // one per process start, given by the store
using LeaseToken = int64_t;  // 0 = no lease; see MakeLeaseToken
using Generation =
    int32_t;  // 0, 1, ...: each ContinueAsNew, restart in place and rewind is the next

// Bytes that several owners read: an event in an inbox, a chunk of history on its way to a stream.
using SharedBytes = std::shared_ptr<const std::string>;
// A payload as received: nullopt = absent, "" = empty.
using Payload = std::optional<std::string>;

// A message with this generation is for whichever generation is current when it is delivered.
inline constexpr Generation kAnyGeneration = -1;

// A lease token names its holder (upper bits) and one claim of that holder (lower 40 bits), so that
// one column fences writes, finds a dead worker's leases by range, and tells who holds what.
inline constexpr int kLeaseTokenCounterBits = 40;
constexpr LeaseToken MakeLeaseToken(WorkerId worker, int64_t counter) {
  return (worker << kLeaseTokenCounterBits) | counter;
}
constexpr WorkerId LeaseTokenWorker(LeaseToken token) { return token >> kLeaseTokenCounterBits; }

enum class InstanceKind : int16_t { kOrchestration = 0, kEntity = 1 };

// An id that begins with `@` is that of an entity: a message for it creates it (RULES.md 7.2).
inline bool IsEntityId(std::string_view id) { return !id.empty() && id.front() == '@'; }

// Numbers are those of the protocol's OrchestrationStatus. ContinuedAsNew is never stored.
enum class RuntimeStatus : int16_t {
  kRunning = 0,
  kCompleted = 1,
  kContinuedAsNew = 2,
  kFailed = 3,
  kCanceled = 4,
  kTerminated = 5,
  kPending = 6,
  kSuspended = 7,
};

constexpr bool IsTerminal(RuntimeStatus status) {
  return status == RuntimeStatus::kCompleted || status == RuntimeStatus::kFailed ||
         status == RuntimeStatus::kCanceled || status == RuntimeStatus::kTerminated;
}

using Tags = std::vector<std::pair<std::string, std::string>>;

// A set of statuses: bit n stands for RuntimeStatus n.
using StatusSet = uint16_t;
constexpr StatusSet StatusBit(RuntimeStatus status) {
  return static_cast<StatusSet>(1u << static_cast<int>(status));
}
inline constexpr StatusSet kTerminalStatuses =
    StatusBit(RuntimeStatus::kCompleted) | StatusBit(RuntimeStatus::kFailed) |
    StatusBit(RuntimeStatus::kCanceled) | StatusBit(RuntimeStatus::kTerminated);

// ---------------------------------------------------------------------------------------------
// Messages

// A message that is not stored yet. `event` is one serialized HistoryEvent and `event_type` the
// number of its oneof field (proto/README.md 6.1).
struct NewMessage {
  Generation generation = kAnyGeneration;
  absl::Time visible_at = absl::InfinitePast();  // stored as max(this, commit's clock)
  int16_t event_type = 0;
  SharedBytes event;
};

// A message in an inbox. Inboxes are delivered in the order (visible_at, seq); `visible_at` is
// never before the time the message was stored.
struct Message {
  int64_t seq = 0;
  Generation generation = kAnyGeneration;
  absl::Time visible_at;
  int16_t event_type = 0;
  SharedBytes event;
};

// What became of a message or a task for somebody else.
enum class DeliveryOutcome : int8_t {
  kOk = 0,
  kNotFound = 1,   // no instance with this id, or its key is gone: nothing was stored
  kTerminal = 2,   // the instance has ended, or runs another generation: nothing was stored
  kDuplicate = 3,  // a message of the same request waits already: nothing was stored
  kDone = 4,       // a termination that needed no worker: the instance is TERMINATED
};

// The answer for one message. With a lease_token, the target was leased at the commit; where the
// token is one of the caller's own, the caller appends the message to its resident in memory.
struct Delivery {
  DeliveryOutcome outcome = DeliveryOutcome::kOk;
  InstanceKey key = 0;
  LeaseToken lease_token = 0;
  int64_t seq = 0;
  absl::Time visible_at;
  // The holder has not been given earlier messages of this inbox (owner_wake is set): it reads the
  // inbox instead of appending, or this message would overtake them.
  bool unread = false;
};

// ---------------------------------------------------------------------------------------------
// Instances

// Where the result of a child goes. The child's key and generation are checked by the writer, so a
// reply never reaches a replaced or continued parent.
struct ParentLink {
  InstanceKey key = 0;
  Generation generation = 0;
  // The id of the creating action; nullopt = fire and forget: the parent is never told.
  std::optional<int32_t> task_id;
  std::string instance_id;
};

// A new orchestration: its row, its hot row and its first message.
struct NewInstance {
  HubId hub = 0;
  std::string instance_id;
  std::string execution_id;  // 32 lower-case hex digits; makes a repeated create "already"
  std::string name;
  Payload version;
  Payload input;
  Tags tags;
  std::optional<absl::Time> scheduled_start;  // set only when it lies in the future
  std::optional<ParentLink> parent;
  std::optional<std::string> trace_context;   // serialized TraceContext
  NewMessage started;                         // ExecutionStarted, generation 0
  StatusSet replaceable = kTerminalStatuses;  // an existing instance in one of these is replaced
  LeaseToken lease_token = 0;                 // not 0: created already leased to the caller
  CallerGone caller_gone = nullptr;
};

enum class CreateOutcome : int8_t { kCreated = 0, kReplaced = 1, kAlready = 2, kExists = 3 };

struct CreateResult {
  CreateOutcome outcome = CreateOutcome::kCreated;
  RuntimeStatus existing_status = RuntimeStatus::kPending;  // for kExists
  InstanceKey key = 0;                                      // for kCreated, kReplaced, kAlready
  int64_t started_seq = 0;                                  // for kCreated, kReplaced
  absl::Time created_at;
  // A replaced live child tells its parent in the same transaction; here is that message's
  // delivery.
  std::optional<Delivery> parent_notice;
  SharedBytes parent_notice_event;
};

// The history of one turn: serialized events, each with the tag of OrchestratorRequest.pastEvents
// (0x1A) and its length before it, so that the bytes are spliced into a request unparsed.
struct HistoryChunk {
  int64_t turn = 0;
  int32_t first_event = 0;
  int32_t event_count = 0;
  SharedBytes events;
};

// A part of the history of one generation, as it was at one moment.
struct HistoryPage {
  std::string execution_id;  // of that generation
  std::vector<HistoryChunk> chunks;
};

// Who holds an entity: a critical section of one execution of an orchestration.
struct EntityLock {
  std::string owner_id;            // "" = purged
  std::string owner_execution_id;  // "" = that execution has ended
  std::string critical_section;
};

// What only an entity has.
struct EntityRow {
  Payload state;
  std::optional<EntityLock> lock;
};

// An instance that was just leased to the caller, with all that its next turn needs.
struct Claim {
  InstanceKey key = 0;
  HubId hub = 0;
  InstanceKind kind = InstanceKind::kOrchestration;
  LeaseToken lease_token = 0;
  std::string instance_id;
  std::string execution_id;
  Generation generation = 0;
  int64_t turn = 0;  // the last committed turn over all generations; 0 = none
  std::string name;
  Payload version;
  RuntimeStatus status = RuntimeStatus::kPending;
  Payload custom_status;        // the effective one
  Payload saved_custom_status;  // as of the last ContinueAsNew
  std::optional<ParentLink> parent;
  std::optional<std::string> orchestration_trace_context;  // serialized OrchestrationTraceContext
  int32_t lost_leases = 0;        // dispatches that ended by a lost lease, for the poison limit
  std::vector<Message> messages;  // due ones in order, capped by the claim's limits
  bool more_messages = false;     // the cap cut them: read on after the turn
  std::optional<absl::Time> next_due;  // earliest message that is not among `messages`
  std::vector<HistoryChunk> history;   // of the current generation, in order
  std::optional<EntityRow> entity;     // of an entity, and only of one
};

// ---------------------------------------------------------------------------------------------
// Activities

// A new activity task. `request` is a serialized ActivityRequest without what the other fields and
// the instance say: the task's name and id, and whose it is. `version` is the one that it is routed
// by (RULES.md 9.6); the one that its worker sees is in `request`.
struct NewTask {
  int32_t task_id = 0;
  std::string name;
  Payload version;
  SharedBytes request;
  LeaseToken lease_token = 0;     // not 0: created already leased to the caller
  std::string execution_id = {};  // of the generation of the turn
  bool in_history = false;        // the TaskScheduled of the turn says all that `request` says
  // Inline: without a row and a key, for a caller that runs it at once. It lives by the lease of
  // its instance; whoever gives that up makes rows of the tasks that are left, from the turn's
  // history. Only of a task that is `in_history`, with an id below INT32_MAX.
  bool is_inline = false;
};

// An inline task that gets a row now, under this key and lease.
struct KeptTask {
  int32_t task_id = 0;
  TaskKey key = 0;  // of the caller's making, see MakeTaskKey
  LeaseToken lease_token = 0;
};

// The key of a task that has none from the store: unique as a lease token is. Those of the store
// are smaller.
constexpr TaskKey MakeTaskKey(WorkerId worker, int64_t counter) {
  return (worker << kLeaseTokenCounterBits) | counter;
}

// Which inline task one may be that is looked for by key and not found. With a lease of 0 it is
// none.
struct InlinePlace {
  LeaseToken instance_lease = 0;
  int32_t task_id = 0;
};

// A leased activity task; `request` as in NewTask.
struct ActivityTask {
  TaskKey key = 0;
  InstanceKey instance_key = 0;
  Generation generation = 0;
  HubId hub = 0;
  std::string instance_id;
  std::string execution_id;  // of its generation
  int32_t task_id = 0;
  std::string name;
  Payload version;  // that it is routed by
  LeaseToken lease_token = 0;
  int32_t lost_leases = 0;
  SharedBytes request;
};

// The end of an activity task: the task row out, the message in.
struct TaskCompletion {
  TaskKey key = 0;
  LeaseToken lease_token = 0;
  InstanceKey instance_key = 0;
  Generation generation = 0;
  NewMessage message;  // TaskCompleted or TaskFailed
  InlinePlace place = {};
  HubId hub = 0;
  std::string instance_id = {};  // of `instance_key`; selects the lane
};

enum class TaskOutcome : int8_t {
  kOk = 0,
  kLeaseLost = 1,  // another lease holds the task, or it is already completed: nothing changed
  kInstanceGone =
      2,  // the task row is deleted; no live instance of that generation wants the result
};

struct TaskResult {
  TaskOutcome outcome = TaskOutcome::kOk;
  Delivery delivery;  // for kOk
};

// ---------------------------------------------------------------------------------------------
// Checkpoint

// A message to another instance of the same hub, by id.
struct AddressedMessage {
  std::string instance_id;
  NewMessage message;
  // Of a checkpoint: delivered when its children are made, as it is for one of them (RULES.md 4.1);
  // others are delivered before.
  bool after_children = false;
  // Not "": for this execution alone (kTerminal if another runs). The message belongs to its
  // generation.
  std::string execution_id = {};
  // For an entity: before all that waits, stored as visible from -infinity. So come what the holder
  // of its lock sends, and releases: a locked entity needs to look at nothing else.
  bool front = false;
};

// The wish of an orchestration to lock several entities at once (RULES.md 7.21-7.23). Each of them
// gets `request` (EntityLockRequested); its turn before it is a barrier: see LockArrival.
struct LockRequest {
  std::string critical_section;
  std::vector<std::string> entity_ids;  // sorted by bytes, distinct, not empty
  SharedBytes request;
};

// An entity has run all that was queued before a lock request, and runs nothing more until that is
// granted or taken back. The last member of the set to come so far makes the grant, in the same
// transaction: all members are locked, their requests go, the owner gets `grant`, and each other
// member gets its request again, as EntityLockGranted and in front of all.
struct LockArrival {
  int64_t request_seq = 0;  // of the message, in the entity's inbox
  NewMessage grant;         // for the owner
};

// A lock request that its owner takes back before it is granted: it goes from all members, and
// those other than this entity get an EntityUnlockSent in front of all, to learn of it.
struct LockWithdrawal {
  std::string owner_id;
  std::string critical_section;
};

// The termination of an instance by id. An instance that never had a turn and is not leased ends at
// once, in the same transaction (RULES.md 3.27); any other gets `message`
// (ExecutionTerminated).
struct Termination {
  std::string instance_id;
  Payload reason;
  NewMessage message;
  bool after_children = false;  // see AddressedMessage
};

// The end of what is below an instance (RULES.md 3.30): of its live children of this generation, of
// those of children that have ended themselves, and so on down. Fire-and-forget children are none.
// What is below a live one is left to its own end. Each ends as by a Termination.
struct SubtreeTermination {
  Payload reason;
  NewMessage message;
};

// A child orchestration. When its id belongs to a live instance, `conflict` goes into the parent's
// own inbox in the same transaction (RULES.md 4.10), so that the parent never waits for ever.
// Without one, which is how entities start orchestrations (7.14), it is just not created.
struct NewChild {
  NewInstance instance;
  std::optional<NewMessage> conflict;
};

// A value that is kept, set or cleared.
template <typename T>
struct Change {
  enum class Kind : int8_t { kKeep, kSet, kClear };
  Kind kind = Kind::kKeep;
  T value{};
  static Change Keep() { return {}; }
  static Change Set(T v) { return {Kind::kSet, std::move(v)}; }
  static Change Clear() { return {Kind::kClear, T{}}; }
};

// What becomes visible on the instance's row. A turn that changes nothing visible writes no row,
// nor does the first one only because the instance is RUNNING from now on: whoever has had a turn
// is not PENDING any more, update or not.
struct InstanceUpdate {
  RuntimeStatus status = RuntimeStatus::kRunning;
  Change<std::string> custom_status;
  Change<std::string> orchestration_trace_context;
  // At the end: the result, and for FAILED the serialized TaskFailureDetails.
  Payload output;
  std::optional<std::string> failure;
};

// The start of the next generation. The store deletes the old generation's history, its messages
// and its unleased tasks; messages without generation stay. An EventRaised or ExecutionSuspended
// that was bound to the old generation is one that an earlier turn carried over and no turn has
// seen: it moves on to the next generation, after the checkpoint's own first messages.
struct NextGeneration {
  std::string execution_id;
  Payload version;
  Payload input;
  Payload saved_custom_status;
};

// An activity task whose result a turn was given before it was stored: the checkpoint takes the
// task out, and the result is stored nowhere but in the turn's history.
struct CompletedTask {
  TaskKey key = 0;
  LeaseToken lease_token = 0;
};

// What the turn of an entity changes.
struct EntityUpdate {
  Change<std::string> state;
  bool worked = false;  // operations have run: the entity counts as modified
  bool unlock = false;  // its lock is released
  std::optional<LockArrival> arrival;
  std::vector<LockWithdrawal> withdrawals;
};

// What one turn writes, in one transaction, or not at all.
struct Checkpoint {
  // The fence: acts only while `lease_token` holds the instance, and only as the next turn.
  InstanceKey key = 0;
  HubId hub = 0;
  std::string instance_id;  // selects the lane, as for every other write of the instance
  LeaseToken lease_token = 0;
  int64_t turn = 0;           // last committed turn + 1
  Generation generation = 0;  // of the turn; with `next_generation` the next one begins after it

  std::vector<int64_t> consumed;               // message numbers; all must still be there
  std::vector<CompletedTask> completed_tasks;  // of this instance; all must still be leased so
  std::vector<int32_t> completed_inline_tasks;
  // With `ends`, `next_generation` or `release`: the other inline tasks.
  std::vector<KeptTask> kept_tasks;
  std::optional<HistoryChunk> history;
  std::optional<InstanceUpdate> update;
  std::optional<NextGeneration> next_generation;
  bool ends = false;     // the instance becomes terminal: hot row, inbox and unleased tasks go
  bool release = false;  // give the lease up in the same transaction

  // Timers, events to itself, the next ExecutionStarted. With `next_generation`, those of the next
  // generation whose visible_at is InfinitePast are stored as visible from -infinity, unlike any
  // other message: reads of the inbox, also capped ones, find them before all that already waits.
  std::vector<NewMessage> own_messages;
  std::vector<AddressedMessage> messages;
  std::optional<NewMessage>
      parent_message;  // the result, for the parent (key and generation below)
  InstanceKey parent_key = 0;
  Generation parent_generation = 0;
  std::vector<Termination> terminations;
  std::optional<SubtreeTermination> subtree_termination;  // with `ends`
  std::vector<NewChild> children;
  std::vector<NewTask> tasks;
  std::vector<LockRequest> lock_requests;  // sent after `messages`
  // With `ends` or `next_generation`: the execution may hold locks of entities or wait for them.
  // Each such entity gets an EntityUnlockSent in front of all, in the same transaction (7.27).
  bool releases_locks = false;
  // Set for an entity, and only for one; it has no history, generations, tasks or end. One that has
  // no state, message or lock left is removed in the same transaction (7.17).
  std::optional<EntityUpdate> entity;
};

enum class CheckpointOutcome : int8_t {
  kCommitted = 0,
  kAlready = 1,  // this turn was committed before under the same lease: the details are not known
  // Another lease, another turn, or a consumed message or completed task is missing: nothing
  // changed.
  kLeaseLost = 2,
  kGone = 3,  // the instance has ended or was replaced: nothing changed
};

struct ChildResult {
  CreateOutcome outcome = CreateOutcome::kCreated;  // kExists: the conflict is in the own inbox
  InstanceKey key = 0;
  int64_t started_seq = 0;
  int64_t conflict_seq = 0;
};

enum class ArrivalOutcome : int8_t {
  kGranted = 0,  // the entity is locked; the request is gone from its inbox
  kWaits = 1,    // for other members; when they have come, a message will tell
  kGone = 2,  // no such request waits: it was granted or taken back, and a front message tells so
};

// Vectors are parallel to those of the Checkpoint; empty unless kCommitted.
struct CheckpointResult {
  CheckpointOutcome outcome = CheckpointOutcome::kCommitted;
  absl::Time committed_at;
  std::vector<int64_t> own_seqs;
  std::vector<Delivery> messages;
  std::optional<Delivery> parent;
  std::vector<Delivery> terminations;
  std::vector<ChildResult> children;
  std::vector<TaskKey> task_keys;  // 0 for inline ones
  // For each lock request in turn one for each of its entities, in their order.
  std::vector<Delivery> lock_requests;
  std::optional<ArrivalOutcome> arrival;
  std::optional<Delivery> grant;  // to the owner, for kGranted
  bool removed = false;           // of an entity: nothing was left of it
};

}  // namespace dt

#endif  // DT_STORAGE_RECORDS_H_
