// Activity tasks from their lease to a worker, and from its answer to the store.
//
// Invariant: every lease of a task that this process holds belongs to a held task or to a call in
// flight; what is dropped is released, unless its lease is known to be gone.
//
// Used by the dispatcher's one thread only.
#ifndef DT_SERVER_DISPATCH_ACTIVITIES_H_
#define DT_SERVER_DISPATCH_ACTIVITIES_H_

#include <string>
#include <vector>

#include "server/dispatch/mail.h"
#include "server/dispatch/matcher.h"
#include "server/dispatch/releases.h"
#include "server/dispatch/residency.h"
#include "server/dispatch/tasks.h"
#include "server/dispatch/turn_needs.h"
#include "server/dispatch/unaccepted.h"

namespace dt::dispatch {

class Activities {
 public:
  Activities(StepContext* step, Matcher* matcher, Releases* releases, Retries* retries,
             Residency* residency, Mail* mail, UnacceptedWatch* unaccepted)
      : step_(*step),
        matcher_(*matcher),
        releases_(*releases),
        retries_(*retries),
        residency_(*residency),
        mail_(*mail),
        unaccepted_(*unaccepted),
        table_(&step->work) {}

  TaskTable& table() { return table_; }

  // --- Leased
  void Hold(ActivityTask task, LeaseToken instance_lease = 0);
  // It waits for a stream, or is given back when none accepts it.
  void Queue(HeldTask& held);
  // It waits in a route that no stream accepts any more.
  void Requeue(HeldTask& held);
  // Forgets the task; `release` unless the lease is known to be gone.
  void Drop(HeldTask& held, bool release, absl::Duration delay = absl::ZeroDuration());
  // Tasks that would have been ambiguous wait for a stream again (2.6).
  void RequeueHeldBack(Hub& hub);

  // --- To a worker
  // Whether the task has left its queue.
  bool Offer(HeldTask& held);
  // It was lost with its stream or by its hold, and has no credit any more. Charged: it counts as a
  // lost lease.
  void Lose(HeldTask& held, bool charged = true);

  // --- From a worker
  void On(ActivityAnswered& event);
  void On(Abandoned& event);

  // --- From the store
  // `in_turn`: a turn in flight has the result already.
  void On(TaskEnded& event, bool in_turn);
  void On(TaskReleased& event);
  // Results that a checkpoint has stored.
  void EndStored(std::vector<UnstoredResult>& results);

 private:
  // Whether an answer without a token could mean this task or one that is in flight (2.6).
  static bool IsAmbiguous(const HeldTask& held);
  Matcher::Needs NeedsOf(const HeldTask& held);
  void Send(HeldTask& held, Stream& stream);
  // The task in flight leaves its stream.
  void Return(HeldTask& held);
  void ForgetName(HeldTask& held);
  // Ends the activity: it has lost too many leases, or is too large for its workers.
  void Poison(HeldTask& held);
  UnstoredResult ResultOf(HeldTask& held, NewMessage message, bool failed_by_server,
                          DoneCallback done);
  void End(HeldTask& held, NewMessage message, bool failed_by_server, DoneCallback done);
  void OnEndFailed(TaskEnded& event, HeldTask* held);
  HeldTask* FindAnswered(HubId hub, const std::string& token);
  HeldTask* FindUnnamed(HubId hub, const std::string& instance_id, int32_t task_id);
  // Keeps an answer that is on its way to the store already, so that it is not acknowledged before
  // its commit. False if this is no such answer.
  bool KeepRepeat(ActivityAnswered& event);
  // Gives the result to a turn of a resident that can be sent at once; false if there is none
  // (unstored_results.h).
  bool GiveToTurn(HeldTask& held, NewMessage& message, DoneCallback& done);
  Resident* TakerOf(const HeldTask& held, Stream** stream);

  StepContext& step_;
  Matcher& matcher_;
  Releases& releases_;
  Retries& retries_;
  Residency& residency_;
  Mail& mail_;
  UnacceptedWatch& unaccepted_;
  TaskTable table_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_ACTIVITIES_H_
