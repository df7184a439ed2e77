// What the dispatcher is told (events) and what it wants done (effects), as values. The store gives
// each letter back with its answer (store.h), and with it comes the context of the effect, so that
// the dispatcher looks nothing up that it may have forgotten meanwhile, and every waiting caller is
// answered whatever happened.
#ifndef DT_SERVER_DISPATCH_EVENTS_H_
#define DT_SERVER_DISPATCH_EVENTS_H_

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "server/dispatch/dispatch_thread.h"
#include "server/dispatch/tokens.h"
#include "server/entity/batch.h"

namespace dt::dispatch {

// A credit that is kept for work that is being created, and its bytes, counted as work.
struct Reservation {
  StreamId stream = 0;
  WorkType type = WorkType::kTurn;
  HubId hub = 0;
  int64_t bytes = 0;
};

// What comes back with the end of a task, beside the letter itself.
struct TaskContext {
  // Not 0: the number under which the turn in flight has the message already (UnstoredResult).
  int64_t unstored_seq = 0;
  bool failed_by_server = false;
  DoneCallback done;  // null when no worker waits
};

// The result of an activity that an inbox here has under a number of its own and the store does not
// have yet (unstored_results.h).
struct UnstoredResult {
  int64_t seq = 0;  // below 0, as no number of the store
  TaskCompletion completion;
  // Null while it is being stored, beside the turn in flight that was given it.
  std::unique_ptr<TaskContext> context;
  bool storing() const { return context == nullptr; }
};

// A worker's whole answer to a turn.
struct TurnAnswer {
  OrchestratorResponse response;
  bool too_large = false;  // so large that the rest was not waited for
  DoneCallback done;
};

// What comes back with a checkpoint, beside the letter itself.
struct CommitContext {
  bool failed_by_server = false;
  orchestration::StateDelta delta;      // of an orchestration
  entity::EntityDelta entity;           // of an entity
  LeaseToken product_token = 0;         // of the tasks and children created leased; 0 = none
  std::vector<UnstoredResult> results;  // that this checkpoint stores
  std::vector<Reservation> reservations;
  DoneCallback done;  // null when no worker waits
};

// What comes back with a creation, beside the letter itself.
struct CreateContext {
  std::optional<Reservation> reservation;
  int64_t early = 0;  // not 0: the number of the resident whose first turn is under way
  Callback<CreateResult> done;
};

// --- Events: from streams and clients.
struct StreamOpened {
  StreamId stream = 0;
  StreamOptions options;
  std::shared_ptr<WorkItemSink> sink;
};
struct StreamClosed {
  StreamId stream = 0;
  std::string reason = {};  // for the log
};
struct TurnAnswered {
  HubId hub = 0;
  OrchestratorResponse response;
  DoneCallback done;
};
struct ActivityAnswered {
  HubId hub = 0;
  ActivityResponse response;
  DoneCallback done;
};
struct EntityAnswered {
  HubId hub = 0;
  EntityBatchResult result;
  DoneCallback done;
};
struct Abandoned {
  WorkType type = WorkType::kTurn;
  HubId hub = 0;
  std::string completion_token;
  DoneCallback done;
};
struct HistoryAsked {
  HubId hub = 0;
  std::string instance_id;
  std::string execution_id;
  Callback<std::vector<HistoryChunk>> done;
};
struct StartAsked {
  NewInstance instance;
  Callback<CreateResult> done;
};
// The store has answered a client's message, which the client knows already.
struct ClientDelivered {
  HubId hub = 0;
  std::string instance_id;
  NewMessage message;
  absl::StatusOr<Delivery> result;
};
struct WaitAsked {
  WaitId wait = 0;
  HubId hub = 0;
  std::string instance_id;
  DispatchThread::WaitFor wait_for = DispatchThread::WaitFor::kCompletion;
  Callback<KnownRow> done;
  std::optional<WaitSoFar> so_far = std::nullopt;
};
struct WaitCancelled {
  WaitId wait = 0;
};
// --- Events: from the store and from the process.
struct Registered {
  WorkerId worker = 0;
};
struct Woken {
  HubId hub = 0;
};
struct WaitsHinted {
  WaitHints hints;
};
struct HearingChanged {
  bool hears = false;
};
// The process has more memory than it may (memory_guard.h), or has no more.
struct MemoryScarce {
  bool scarce = false;
};
struct DrainBegun {};
struct DrainEnded {};
struct InstancesClaimed {
  WorkType type = WorkType::kTurn;
  HubId hub = 0;
  LeaseToken token = 0;
  absl::StatusOr<ClaimResult> result;
};
struct TasksClaimed {
  HubId hub = 0;
  LeaseToken token = 0;
  absl::StatusOr<TaskClaimResult> result;
};
struct Committed {
  Checkpoint checkpoint;
  absl::StatusOr<CheckpointResult> result;
  std::unique_ptr<CommitContext> context;
};
struct TurnRewound {
  HubId hub = 0;
  InstanceKey key = 0;
  LeaseToken lease_token = 0;
  std::string instance_id;
  DoneCallback done;
  absl::Status status;  // Aborted: the lease was lost
};
struct Discarded {
  DiscardRequest request;
  absl::StatusOr<LeaseOutcome> result;
};
struct Created {
  NewInstance instance;
  absl::StatusOr<CreateResult> result;
  std::unique_ptr<CreateContext> context;
};
struct TaskEnded {
  TaskCompletion completion;
  absl::StatusOr<TaskResult> result;
  std::unique_ptr<TaskContext> context;
};
struct NewMessagesRead {
  WorkerId worker = 0;
  absl::StatusOr<std::vector<InboxRead>> result;
};
struct InboxReadDone {
  InstanceKey key = 0;
  LeaseToken lease_token = 0;
  absl::StatusOr<InboxRead> result;
};
struct InstanceReleased {
  InstanceRelease release;
  absl::StatusOr<LeaseOutcome> result;
};
struct TaskReleased {
  TaskRelease release;
  absl::StatusOr<LeaseOutcome> result;
};
struct Swept {
  absl::StatusOr<SweepResult> result;
};
struct UnacceptedFound {
  UnacceptedSearch search;
  absl::StatusOr<UnacceptedWork> result;
};
struct StatusRead {
  HubId hub = 0;
  std::string instance_id;
  absl::StatusOr<InstanceStatus> result;
};

using Event =
    std::variant<StreamOpened, StreamClosed, TurnAnswered, ActivityAnswered, EntityAnswered,
                 Abandoned, HistoryAsked, StartAsked, ClientDelivered, WaitAsked, WaitCancelled,
                 Registered, Woken, WaitsHinted, HearingChanged, MemoryScarce, DrainBegun,
                 DrainEnded, InstancesClaimed, TasksClaimed, Committed, TurnRewound, Discarded,
                 Created, TaskEnded, NewMessagesRead, InboxReadDone, InstanceReleased, TaskReleased,
                 Swept, UnacceptedFound, StatusRead>;

// --- Effects: to streams and callers.
struct WriteItem {
  std::shared_ptr<WorkItemSink> sink;
  orchestration::Frame frame;
};
struct FinishStream {
  std::shared_ptr<WorkItemSink> sink;
  absl::Status status;
};
struct Answer {
  DoneCallback done;
  absl::Status status;
};
struct AnswerHistory {
  Callback<std::vector<HistoryChunk>> done;
  absl::StatusOr<std::vector<HistoryChunk>> result;
};
struct AnswerCreate {
  Callback<CreateResult> done;
  absl::StatusOr<CreateResult> result;
};
struct AnswerWait {
  Callback<KnownRow> done;
  absl::StatusOr<KnownRow> result;
};
// --- Effects: to the store. Each is answered by the event of its kind.
struct ClaimInstances {
  ClaimRequest request;
};
struct ClaimTasks {
  ClaimRequest request;
};
struct Commit {
  Checkpoint checkpoint;
  std::unique_ptr<CommitContext> context;
};
struct RewindTurn {
  Checkpoint turn;
  RewindInstanceRequest request;
  DoneCallback done;
};
struct Discard {
  DiscardRequest request;
};
struct Create {
  NewInstance instance;
  std::unique_ptr<CreateContext> context;
};
struct EndTask {
  TaskCompletion completion;
  std::unique_ptr<TaskContext> context;
};
struct ReadNewMessages {
  WorkerId worker = 0;
};
struct ReadInbox {
  HubId hub = 0;
  std::string instance_id;
  InstanceKey key = 0;
  LeaseToken lease_token = 0;
};
struct ReleaseInstance {
  InstanceRelease release;
};
struct ReleaseTask {
  TaskRelease release;
};
struct Sweep {};
struct FindUnaccepted {
  UnacceptedSearch search;
};
struct ReadStatus {
  HubId hub = 0;
  std::string instance_id;
};

// To other daemons; nothing answers.
struct TellOthers {
  WaitHints hints;
};
struct ReportWork {
  WorkerReport report;
  bool at_once = false;
};

using Effect = std::variant<WriteItem, FinishStream, Answer, AnswerHistory, AnswerCreate,
                            AnswerWait, ClaimInstances, ClaimTasks, Commit, RewindTurn, Discard,
                            Create, EndTask, ReadNewMessages, ReadInbox, ReleaseInstance,
                            ReleaseTask, Sweep, FindUnaccepted, ReadStatus, TellOthers, ReportWork>;

// Does what the effects say; the store's answers are posted as events, from the store's threads.
// `post` must be callable from any thread as long as the store lives.
void RunEffects(std::vector<Effect>& effects, Store* store, const std::function<void(Event)>& post);

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_EVENTS_H_
