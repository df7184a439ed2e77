// The dispatcher: which work item goes to which stream, what becomes of each answer, and what is
// held in memory between turns. A single-threaded state machine: events and a time go in, effects
// come out; no thread, clock, gRPC or database here. The same events and times make the same
// effects: nothing depends on an address or on the order of a hash table.
//
// This class routes events to the parts that handle them and orders what a step does; server/README
// has a drawing. Each part uses those above it only:
//
//   StepContext   limits, times and effects of the step, and who this process is
//   Matcher       streams, their credits, and the items that wait or are at workers
//   Claimer       claims of work, and what is on its way here under leases of its own (Arrivals)
//   Releases      leases that are given back
//   Residency     residents, their inboxes, and results that are not stored (UnstoredResults)
//   Mail          how messages reach residents
//   Activities    activity tasks
//   Commits       checkpoints, and what they hand on
//   Turns         turns of orchestrations
//   EntityTurns   batches of entities
//   Starts        instances that clients start
//
// Invariants
//   * Nothing is handed on before the commit that made it, but for two things whose turn does
//     nothing until its own checkpoint commits: the result of an activity, which that checkpoint
//     stores (unstored_results.h), and the start of an instance, whose first turn's answer waits
//     for the creation (starts.h).
//   * Every lease that this process holds belongs to a resident, a task, or a call in flight; what
//     is dropped is released, and a release is repeated until the store has answered it.
//   * Every caller is answered exactly once.
// Times are the store's clock, but where steady ones are meant.
#ifndef DT_SERVER_DISPATCH_DISPATCHER_H_
#define DT_SERVER_DISPATCH_DISPATCHER_H_

#include <vector>

#include "server/dispatch/activities.h"
#include "server/dispatch/commits.h"
#include "server/dispatch/entity_turns.h"
#include "server/dispatch/events.h"
#include "server/dispatch/fleet.h"
#include "server/dispatch/starts.h"
#include "server/dispatch/stream_log.h"
#include "server/dispatch/sweeps.h"
#include "server/dispatch/turns.h"
#include "server/dispatch/unaccepted.h"
#include "server/dispatch/waiters.h"

namespace dt::dispatch {

class Dispatcher {
 public:
  // `ids` and `metrics` must outlive the dispatcher; `seed` is for jitter only.
  Dispatcher(DispatchLimits limits, orchestration::IdSource* ids, uint64_t seed,
             metrics::Metrics* metrics);

  // Handles the events in order, then does what has become possible or due. `now` is the store's
  // clock, which may stand still for a while; `steady` the process's own, which nobody sets.
  // Neither runs back.
  void Step(std::vector<Event>& events, absl::Time now, absl::Time steady,
            std::vector<Effect>& effects);
  // When Step wants to be called again even without an event: by the steady clock, and by the
  // store's.
  absl::Time NextDeadline();
  absl::Time NextDue();

  // Items at workers, and what is on its way to the store for them.
  int in_flight() const;
  // For a drain: no item is at a worker and no answer of one on its way to the store.
  bool quiet() const;
  // After DrainEnded: every lease has been given back.
  bool released() const;

  struct Counts {
    size_t residents = 0;
    size_t held_tasks = 0;
    size_t streams = 0;
    size_t waits = 0;
    size_t deadlines = 0;  // of results, waits and idle residents
    int64_t resident_bytes = 0;
    int64_t work_bytes = 0;  // FairBytes
    int items_in_flight = 0;
  };
  Counts Count();

 private:
  // --- Streams
  void On(StreamOpened& event);
  void On(StreamClosed& event);
  // Closes a stream and tells its worker why.
  void EndStream(StreamId id, absl::Status status);
  // The workers open their streams again, and get the hub of that name that is there then, if one
  // is.
  void EndStreamsOf(Hub& hub);
  // The item was lost with its stream or by its hold.
  void Lose(Item& item, bool charged);
  // Items that no stream accepts: given back, or looked at again since a stream has opened.
  void Release(Item& orphan);
  void Reconsider(Item& orphan);

  // --- Answers of workers
  void On(TurnAnswered& event) { turns_.On(event); }
  void On(ActivityAnswered& event) { activities_.On(event); }
  void On(EntityAnswered& event) { entity_turns_.On(event); }
  void On(Abandoned& event);
  void On(HistoryAsked& event) { turns_.On(event); }

  // --- Clients
  void On(StartAsked& event) { starts_.On(event); }
  void On(ClientDelivered& event);
  void On(WaitAsked& event);
  void On(WaitCancelled& event) { waiters_.Cancel(event.wait); }

  // --- The process
  void On(Registered& event);
  void On(Woken& event);
  void On(WaitsHinted& event);
  void On(HearingChanged& event) { waiters_.On(event); }
  void On(MemoryScarce& event);
  void On(DrainBegun& event);
  void On(DrainEnded& event);

  // --- Answers of the store
  void On(InstancesClaimed& event);
  void On(TasksClaimed& event);
  void ClaimFailed(HubId hub, LeaseToken token, WorkType type, const absl::Status& status,
                   bool recovered);
  void On(Committed& event) { commits_.On(event); }
  void On(TurnRewound& event) { turns_.On(event); }
  void On(Discarded& event) { turns_.On(event); }
  void On(Created& event) { starts_.On(event); }
  void On(TaskEnded& event);
  void On(NewMessagesRead& event) { mail_.On(event); }
  void On(InboxReadDone& event) { residency_.On(event); }
  void On(InstanceReleased& event);
  void On(TaskReleased& event) { activities_.On(event); }
  void On(Swept& event);
  void On(UnacceptedFound& event);
  void On(StatusRead& event) { waiters_.On(event); }

  // --- Time
  void OnTime();
  // Sends and claims what has become possible.
  void Settle();

  StepContext step_;
  Matcher matcher_;
  Retries retries_;
  Claimer claimer_;
  Releases releases_;
  Residency residency_;
  Mail mail_;
  Waiters waiters_;
  UnacceptedWatch unaccepted_;
  Activities activities_;
  Commits commits_;
  Turns turns_;
  EntityTurns entity_turns_;
  Starts starts_;
  Sweeps sweeps_;
  Fleet fleet_;
  StreamLog stream_log_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_DISPATCHER_H_
