// The dispatcher: which work item goes to which stream, what becomes of each answer, and what is
// held in memory between turns. A single-threaded state machine: events and a time go in, effects
// come out; no thread, clock, gRPC or database here.
//
// Invariants
//   * At most one turn of an instance is at a worker or on its way to the store (2.2); messages
//     that come meanwhile wait in the inbox.
//   * Nothing is handed on before the commit that made it, but for two things whose turn does
//     nothing until its own checkpoint commits: the result of an activity, which that checkpoint
//     stores (unstored_results.cc), and the start of an instance, whose first turn's answer waits
//     for the creation (early_starts.cc).
//   * A stream never has more unanswered items of a type than its credits.
//   * Every lease that this process holds belongs to a resident, a task, or an operation in
//     flight; what is dropped is released, and a release is repeated until the store has answered
//     it.
//   * Every caller is answered exactly once.
// Times are the store's clock.
#ifndef DT_SERVER_DISPATCH_DISPATCHER_H_
#define DT_SERVER_DISPATCH_DISPATCHER_H_

#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "server/dispatch/deadlines.h"
#include "server/dispatch/events.h"
#include "server/dispatch/failure_delays.h"
#include "server/dispatch/holds.h"
#include "server/dispatch/large_items.h"
#include "server/dispatch/residents.h"
#include "server/dispatch/stream_log.h"
#include "server/dispatch/streams.h"
#include "server/dispatch/unaccepted.h"
#include "server/dispatch/waiters.h"

namespace dt::dispatch {

// An activity task that this daemon has leased.
struct HeldTask {
  enum class Phase : int8_t { kQueued, kSetAside, kDispatched, kCompleting };
  ActivityTask task;
  Hub* hub = nullptr;
  Route* route = nullptr;
  Phase phase = Phase::kQueued;
  StreamId stream = 0;
  int64_t dispatch = 0;
  bool loss_unsaved = false;
  bool orphaned = false;  // no stream accepts it, and it will be given back
  // Not 0: it was made inline, under this lease of its instance.
  LeaseToken instance_lease = 0;
  InlinePlace place() const { return {instance_lease, task.task_id}; }
  bool unnamed = false;  // counted in Hub::unnamed_tasks
  // The same answer again, while its result is on the way to the store: answered with the first.
  std::vector<DoneCallback> repeats;
};

class Dispatcher {
 public:
  // `ids` must outlive the dispatcher; `seed` is for jitter only.
  Dispatcher(DispatchLimits limits, orchestration::IdSource* ids, uint64_t seed);

  // Handles the events in order, then does what has become possible or due. `now` is the store's
  // clock, which may stand still for a while; `steady` the process's own, which nobody sets.
  // Neither runs back.
  void Step(std::vector<Event>& events, absl::Time now, absl::Time steady,
            std::vector<Effect>& effects);
  // When Step wants to be called again even without an event: by the steady clock, and by the
  // store's.
  absl::Time NextDeadline() const;
  absl::Time NextDue() const;

  // Items at workers, and what is on its way to the store for them.
  int in_flight() const { return items_in_flight_ + commits_in_flight_ + creations_in_flight_; }
  // For a drain: no item is at a worker and no answer of one on its way to the store.
  bool quiet() const { return items_in_flight_ == 0 && commits_in_flight_ == 0; }
  // After DrainEnded: every lease has been given back.
  bool released() const {
    return releases_in_flight_ == 0 && creations_in_flight_ == 0 && commits_in_flight_ == 0 &&
           retries_.empty();
  }

  struct Counts {
    size_t residents = 0;
    size_t held_tasks = 0;
    size_t streams = 0;
    size_t waits = 0;
    size_t deadlines = 0;  // of holds, results, waits and idle residents
    int64_t resident_bytes = 0;
    int64_t work_bytes = 0;  // FairBytes
    int items_in_flight = 0;
  };
  Counts Count() const;

 private:
  // --- Events; dispatcher.cc, turns.cc, commits.cc, activities.cc, claims.cc
  void On(StreamOpened& event);
  void On(StreamClosed& event);
  void On(TurnAnswered& event);
  void On(ActivityAnswered& event);
  void On(Abandoned& event);
  void On(HistoryAsked& event);
  void On(StartAsked& event);
  void On(ClientDelivered& event);
  void On(WaitAsked& event);
  void On(WaitCancelled& event);
  void On(Registered& event);
  void On(Woken& event);
  void On(MemoryScarce& event);
  void On(DrainBegun& event);
  void On(DrainEnded& event);
  void On(InstancesClaimed& event);
  void On(TasksClaimed& event);
  void On(Committed& event);
  void On(TurnRewound& event);
  void On(Discarded& event);
  void On(Created& event);
  void On(TaskEnded& event);
  void On(NewMessagesRead& event);
  void On(InboxReadDone& event);
  void On(InstanceReleased& event);
  void On(TaskReleased& event);
  void On(Swept& event);
  void On(UnacceptedFound& event);
  void On(StatusRead& event);

  // --- dispatcher.cc: time, hubs, streams
  void Settle();
  void OnTime();
  void ExpireHolds();
  void PingStreams();
  void MarkDirty(Hub& hub);
  void Pump(Hub& hub, WorkType type);
  bool DispatchNext(Hub& hub, WorkType type);
  bool DispatchFrom(Route& route);
  bool Offer(const Route& route, int64_t key);
  void List(Route& route);
  // The best stream that may have the item now; null if there is none. Better is one that spells
  // its name as it is, then, for a large history, one that streams it, then one with fewer
  // unanswered items, then the one that got nothing for longest. `all_gave_back`: each stream that
  // accepts it gave it back and may not have it again yet (2.7).
  struct Offered {
    int64_t key = 0;
    bool streams_history = false;  // to workers that read it apart
    int64_t bytes = 0;             // of an item that may be large (large_items.h), else 0
    int64_t streamed_bytes = 0;    // the same without its history
    bool overdue = false;          // it has waited too long for a stream of its own
  };
  Stream* Choose(const Route& route, const Offered& offered, bool* all_gave_back);
  // Whether the stream has nothing to do, and nothing waits for it that is not large.
  bool IsQuiet(const Stream& stream);
  Offered OfferOf(const Resident& resident);
  Offered OfferOf(const HeldTask& held);
  // Why a turn fails in place of being sent; nullopt: it is sent.
  std::optional<TaskFailureDetails> FailureOf(const Resident& resident) const;
  // An item was written to the stream.
  void NoteSent(Stream& stream, WorkType type, int64_t key, int64_t bytes);
  bool InTrial(const Stream& stream, WorkType type, int64_t key) const;
  void TakeCredit(Stream& stream, WorkType type, int64_t key);
  void FreeCredit(StreamId id, WorkType type, int64_t key);
  // The item at a worker is lost when its time is up; FreeCredit ends that.
  void StartHold(WorkType type, int64_t key, int64_t dispatch);
  void Send(Stream& stream, orchestration::Frame frame);
  void Reply(DoneCallback& done, absl::Status status);
  LeaseToken NewToken();
  bool leasing() const { return worker_ != 0 && !draining_; }
  // A credit and the memory for an item that will be leased with these bytes; nullopt: none.
  std::optional<Reservation> Reserve(Hub& hub, WorkType type, const std::string& name,
                                     const Payload& version, const SharedBytes& data);
  void Unreserve(const Reservation& reservation);
  absl::Time AddBackoff(Stream& stream, WorkType type, int64_t key);
  absl::Duration Jittered(absl::Duration duration);

  // --- turns.cc: residents and their turns
  // `created_at`: see Resident.
  void Adopt(Claim claim, std::optional<absl::Time> created_at = std::nullopt);
  void AdoptSeed(Hub& hub, const InstanceSeed& seed, InstanceKey key, int64_t started_seq,
                 absl::Time created_at);
  // What was delivered to it before it came.
  void TakeEarlyMessages(Resident& resident);
  void DiscardCorrupt(const Claim& claim);
  // Finds the phase of a resident that is not in flight: reads, waits, becomes ready or is
  // released.
  void Reconsider(Resident& resident);
  void Unready(Resident& resident);
  // Sends the turn to `stream` if that is not null; leaves it to other daemons if `all_gave_back`.
  // False: the resident waits on in its route.
  bool OfferTurn(Resident& resident, Stream* stream, bool all_gave_back);
  void SendTurn(Resident& resident, Stream& stream);
  void EndTurn(Resident& resident, TurnAnswer answer);
  // Adds a part of the answer to those before it (3.18). True: `answer` is complete, or cannot
  // become good any more.
  bool TakePart(Resident& resident, OrchestratorResponse part, TurnAnswer& answer);
  void ForgetParts(Resident& resident);
  // The worker gives the turn in flight back, or has to.
  void GiveBackTurn(Resident& resident);
  // A turn without events: what it dropped is discarded, or the rest of the inbox is waited for.
  void EndEmptyTurn(Resident& resident);
  // The turn is lost with its stream or by its hold: offered again at once (1.11, 1.12).
  // Charged: it counts as a lost lease.
  void LoseTurn(Resident& resident, bool charged = true);
  void StartRead(Resident& resident);
  // Forgets the resident; `release` unless the lease is known to be gone.
  void Drop(Resident& resident, bool release, absl::Duration delay = absl::ZeroDuration());
  Resident* FindAnswered(HubId hub, const std::string& token, const std::string& instance_id);
  bool Poisoned(int32_t lost_leases) const;

  // --- commits.cc: answers to checkpoints and what they hand on
  void CommitTurn(Resident& resident, orchestration::TurnResult result, bool failed_by_server,
                  DoneCallback done);
  void FailTurn(Resident& resident, const TaskFailureDetails& details, DoneCallback done);
  void LeaseProducts(Hub& hub, Checkpoint& checkpoint, CommitContext& context);
  void OnCommitted(CommitContext& context, CheckpointResult& result, Resident* resident);
  void ApplyToResident(CommitContext& context, const CheckpointResult& result, Resident& resident);
  void HandOn(CommitContext& context, CheckpointResult& result);
  void OnCommitFailed(CommitContext& context, const absl::Status& status, Resident* resident);
  // The outcome is not known: releases, free after `delay`, and reads again whatever the checkpoint
  // may have touched.
  void OnCommitUnknown(CommitContext& context, Resident* resident, absl::Duration delay);
  void ApplyDelivery(Hub& hub, const Delivery& delivery, const NewMessage& message);
  // Reads soon what the store has for residents: an answer did not tell all whom it reached.
  void ReadWoken();
  void ReadAgain(HubId hub_id, const std::string& instance_id);
  void ReadAgain(InstanceKey key);
  // What claims and creations in flight will bring may lack messages: it is read again on arrival.
  void SuspectInFlight();

  // --- activities.cc
  void Hold(ActivityTask task, LeaseToken instance_lease = 0);
  void Queue(HeldTask& held);
  void AbandonTask(Abandoned& event);
  bool OfferTask(HeldTask& held, Stream* stream, bool all_gave_back);
  // Whether an answer without a token could mean this task or one that is in flight (2.6).
  bool Ambiguous(const HeldTask& held) const;
  void RequeueHeldBack(Hub& hub);
  // The task in flight leaves its stream.
  void ReturnTask(HeldTask& held);
  void ForgetName(HeldTask& held);
  // Ends the activity: it has lost too many leases, or is too large for its workers.
  void PoisonTask(HeldTask& held);
  void OnEndFailed(TaskContext& context, const absl::Status& status, HeldTask* held);
  void LoseTask(HeldTask& held, bool charged = true);
  void EndHeld(HeldTask& held, NewMessage message, bool failed_by_server, DoneCallback done);
  UnstoredResult ResultOf(HeldTask& held, NewMessage message, bool failed_by_server,
                          DoneCallback done);
  void Store(UnstoredResult result);
  void DropTask(HeldTask& held, bool release, absl::Duration delay = absl::ZeroDuration());
  HeldTask* FindAnswered(HubId hub, const ActivityResponse& response);
  // Keeps an answer that is on its way to the store already, so that it is not acknowledged before
  // its commit. False if this is no such answer.
  bool KeepRepeat(ActivityAnswered& event);
  HeldTask* FindTask(TaskKey key);

  // --- early_starts.cc: first turns that do not wait for the creation of their instance
  void StartEarly(Hub& hub, CreateContext& context);
  // Null if there is none, or it was dropped.
  Resident* EarlyStart(const CreateContext& context);
  // The instance is created: from now on it is a resident like any other.
  void Bear(Resident& resident, const CreateResult& result);
  // It is not created, whatever the reason.
  void RefuseEarlyStart(Hub& hub, Resident& resident);
  void ForgetEarlyKey(Resident& resident);

  // --- inline_tasks.cc: activities that are run at once, without a row of their own
  // Which of the checkpoint's tasks are inline.
  void ChooseInlineTasks(const Resident& resident, Checkpoint& checkpoint) const;
  // The inline tasks that outlive the lease of their instance, or its generation.
  static std::vector<KeptTask> Outliving(const Resident& resident, const Checkpoint& checkpoint);
  void HoldInline(Resident* resident, ActivityTask task);
  static bool IsInline(const Resident& resident, const TaskCompletion& completion);
  void ForgetInline(const HeldTask& held);

  // --- unstored_results.cc: results that are stored by the checkpoint of the turn they bring about
  // Gives the result to a turn of a resident that can be sent at once; false if there is none.
  bool GiveToTurn(HeldTask& held, NewMessage& message, DoneCallback& done);
  Resident* TakerOf(const HeldTask& held, Stream** stream);
  // The results that the checkpoint consumes leave the resident.
  void TakeResults(Resident& resident, Checkpoint& checkpoint, CommitContext& context);
  void EndResults(std::vector<UnstoredResult>& results);
  // Stores them apart, as messages like any other; of a resident that is at no worker.
  void StoreApart(std::vector<UnstoredResult>& results);
  void StoreApart(Resident& resident);
  // Stores one beside the turn in flight that has it.
  void StoreBeside(UnstoredResult& result);
  // The worker of this stream did not answer a turn in time for a result that waited for it.
  void NoteVainWait(StreamId id);
  // Whether the answer has to wait until results of its turn are stored; sees to it that they are.
  bool MustPark(Resident& resident, const OrchestratorResponse& response);
  // A result that was stored beside its turn: the turn goes on with its number, or is given up.
  // False if the resident or the turn is gone.
  bool SettleBeside(const TaskContext& context, const absl::StatusOr<TaskResult>& result);
  void ExpireResults();
  // A message of the turn in flight has another number now.
  static void Renumber(orchestration::Turn& turn, int64_t from, int64_t to);
  // The turn in flight comes back without an answer.
  void TakeTurnBack(Resident& resident);

  // --- claims.cc: the store as a source of work, and waiting calls
  // Claims for all pools of this type that have free credits, if one of them is due.
  void StartClaim(Hub& hub, WorkType type);
  // How many bytes the hub's next claim may bring; 0: none now, and the hub is looked at again
  // soon.
  int64_t ClaimBytes(Hub& hub, WorkType type);
  // A claim took too long: the next one asks for less.
  void ShrinkClaims(Hub& hub, WorkType type);
  // Finds when each pool of the claim may claim again. Does nothing for a repeated claim.
  void EndClaim(LeaseToken token, const std::vector<ClaimedGroup>& groups, bool failed);
  void Served(Pool& pool, const ClaimedGroup& group);
  static void LogLines(const StreamLog::Lines& lines);
  // Closes a stream and tells its worker why.
  void EndStream(StreamId id, absl::Status status);
  // Of a hub that was deleted.
  void EndStreamsOf(Hub& hub);
  void ClaimFailed(HubId hub, LeaseToken token, WorkType type, const absl::Status& status,
                   bool recovered);
  void ClaimSucceeded(HubId hub, LeaseToken token, WorkType type);
  // When the next claim may be made, by the failures of those before.
  absl::Time ClaimAfter(const Hub& hub, WorkType type) const;
  // There is, or may be, free work of this type in the database.
  // `at`: when it is due, by the steady clock.
  void WorkFree(Hub& hub, WorkType type, absl::Time at);
  // When it is so late by the steady clock, if the store's goes on as it does now.
  absl::Time SteadyOf(absl::Time due) const;
  // Asks for what a token holds after a lost answer, later each time.
  void Recover(HubId hub, WorkType type, LeaseToken token);
  // How long this item is left alone whose turn or result could not be stored, or whose inbox not
  // be read.
  absl::Duration StoreFailed(WorkType type, int64_t key);
  // Whether an answer in flight may bring instances under this token.
  bool Expected(LeaseToken token) const;
  // Nothing more comes under this token.
  void ForgetToken(LeaseToken token);
  void PollNewMessages();
  void MergeNewMessages(InboxRead read);
  void Release(InstanceRelease release);
  void Release(HubId hub, std::string instance_id, TaskRelease release);
  // What no stream here accepts is free for other daemons: it is given back a few at a time.
  void Orphan(Resident& resident);
  void Orphan(HeldTask& held);
  void ReleaseOrphans();
  // A stream has opened: what is left of them may be for it.
  void ReconsiderOrphans();
  void RetryLater(absl::Duration delay, Effect effect);
  absl::Duration PollDelay(int empty_polls);
  // How long an item waits that so many workers in a row did not answer: the first time not at all,
  // then longer each time.
  absl::Duration RedeliveryDelay(int32_t lost_leases) const;
  // For calls that wait for the end which this checkpoint is; null if it is none, nobody waits, or
  // the row must be read.
  KnownRow RowAtEnd(const CommitContext& context, absl::Time committed_at,
                    const Resident* resident) const;

  // Before the first repetition of a call that must come through.
  static constexpr absl::Duration kRetryDelay = absl::Seconds(1);

  const DispatchLimits limits_;
  orchestration::IdSource* const ids_;
  std::minstd_rand random_;

  // Valid during Step.
  absl::Time now_ = absl::InfinitePast();  // the store's: of messages, timers and what is stored
  absl::Time steady_;                      // of this process: of pauses, holds and waits
  std::vector<Effect>* effects_ = nullptr;

  WorkerId worker_ = 0;
  int64_t last_token_ = 0;
  int64_t last_dispatch_ = 0;
  int64_t last_task_key_ = 0;
  bool draining_ = false;
  bool ended_ = false;

  StreamTable table_;
  FairBytes work_;
  ResidentTable residents_;
  absl::flat_hash_map<TaskKey, std::unique_ptr<HeldTask>> tasks_;
  Waiters waiters_;
  UnacceptedWatch unaccepted_;
  StreamLog stream_log_;
  LargeItems large_items_;
  std::vector<Hub*> dirty_;

  int items_in_flight_ = 0;
  int commits_in_flight_ = 0;
  int creations_in_flight_ = 0;
  int releases_in_flight_ = 0;

  // When the hold of each item at a worker ends, per type.
  Holds holds_[kWorkTypes];
  // When those results that wait for a checkpoint, and are not on their way to the store, are
  // stored without it: their number, and the key of the instance.
  Deadlines<std::pair<int64_t, InstanceKey>> result_holds_;
  // Numbers of messages that are not stored: all below 0, and growing like those of the store.
  int64_t last_unstored_ = std::numeric_limits<int64_t>::min();
  // Tasks that would be ambiguous on the only streams that could take them (2.6), per hub.
  absl::flat_hash_map<HubId, std::vector<TaskKey>> held_back_;

  // Claims, creations and checkpoints in flight whose tokens already lease something; deliveries to
  // what they will bring wait here for it.
  struct ClaimInFlight {
    Hub* hub = nullptr;
    WorkType type = WorkType::kTurn;
    std::vector<Pool*> pools;  // parallel to the groups of the request
    bool hinted = false;
    int64_t bytes = 0;  // that it may bring, counted as work
  };
  absl::flat_hash_map<LeaseToken, ClaimInFlight> claims_;
  absl::flat_hash_set<LeaseToken> tokens_in_flight_;
  absl::flat_hash_map<InstanceKey, std::vector<std::pair<LeaseToken, Message>>> early_;
  absl::flat_hash_set<LeaseToken> recoveries_;
  FailureDelays<std::pair<HubId, WorkType>> claim_failures_{kFailureDelayMin};
  FailureDelays<LeaseToken> recovery_failures_{kRetryDelay};
  FailureDelays<std::pair<WorkType, int64_t>> release_failures_{kRetryDelay};
  FailureDelays<std::pair<WorkType, int64_t>> store_failures_{absl::ZeroDuration()};
  // Early starts that are created, by the keys in the tokens of their first turns.
  absl::flat_hash_map<InstanceKey, InstanceKey> early_keys_;
  InstanceKey last_early_key_ = 0;

  absl::flat_hash_set<LeaseToken> suspects_;

  bool reading_new_messages_ = false;
  std::vector<InstanceKey> awaiting_read_;  // residents with awaits_read
  int empty_reads_ = 0;
  absl::Time next_read_ = absl::InfiniteFuture();
  absl::Time read_after_ = absl::InfinitePast();       // none before this, whatever is hinted at
  absl::Time read_woken_at_ = absl::InfiniteFuture();  // when a hint makes for a read
  bool read_hinted_ = false;                           // the read in flight was made for a hint
  VainHints vain_read_hints_;

  bool sweeping_ = false;
  absl::Time next_sweep_ = absl::InfiniteFuture();
  absl::Time next_ping_ = absl::InfiniteFuture();
  std::vector<std::pair<absl::Time, Effect>> retries_;
  std::deque<std::pair<WorkType, int64_t>> orphans_;  // keys; those not `orphaned` are void
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_DISPATCHER_H_
