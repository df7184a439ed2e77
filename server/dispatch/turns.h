// Turns of residents: from the inbox to the work item, and from the worker's answer to the
// checkpoint (commits.h).
//
// Invariant: at most one turn of an instance is at a worker or on its way to the store (2.2);
// messages that come meanwhile wait in the inbox.
//
// Used by the dispatcher's one thread only.
#ifndef DT_SERVER_DISPATCH_TURNS_H_
#define DT_SERVER_DISPATCH_TURNS_H_

#include <string>

#include "server/dispatch/commits.h"
#include "server/dispatch/mail.h"
#include "server/dispatch/matcher.h"
#include "server/dispatch/residency.h"
#include "server/dispatch/unaccepted.h"

namespace dt::dispatch {

class Turns {
 public:
  Turns(StepContext* step, Matcher* matcher, Claimer* claimer, Retries* retries,
        Residency* residency, Mail* mail, Commits* commits, Waiters* waiters,
        UnacceptedWatch* unaccepted)
      : step_(*step),
        matcher_(*matcher),
        claimer_(*claimer),
        retries_(*retries),
        residency_(*residency),
        mail_(*mail),
        commits_(*commits),
        waiters_(*waiters),
        unaccepted_(*unaccepted) {}

  // --- To a worker
  // Whether the resident has left its queue.
  bool Offer(Resident& resident);
  // The turn was lost with its stream or by its hold, and has no credit any more: it is offered
  // again at once (1.11, 1.12). Charged: it counts as a lost lease.
  void Lose(Resident& resident, bool charged = true);

  // --- From a worker
  void On(TurnAnswered& event);
  void On(Abandoned& event);
  void On(HistoryAsked& event);
  // Goes on with an answer that had to wait until something was stored, if there is one.
  void EndParked(Resident& resident);

  // --- From the store
  void On(Discarded& event);
  void On(TurnRewound& event);
  // A result was stored beside its turn: the turn goes on with the number that it has now, or is
  // given up. False: the resident or the turn is gone.
  bool SettleBeside(const TaskEnded& event);
  // Stores the results that have waited for their turns for too long.
  void ExpireResults();

 private:
  // A turn without events: what it dropped is discarded, or the rest of the inbox is waited for.
  void EndEmpty(Resident& resident);
  void Send(Resident& resident, Stream& stream);
  Resident* FindAnswered(HubId hub, const std::string& token, const std::string& instance_id);
  // Whether the answer has to wait until results of its turn are stored; sees to it that they are.
  bool MustPark(Resident& resident, const OrchestratorResponse& response);
  void End(Resident& resident, TurnAnswer answer);
  // The worker gives the turn in flight back, or has to.
  void GiveBack(Resident& resident, metrics::Abandon reason);

  StepContext& step_;
  Matcher& matcher_;
  Claimer& claimer_;
  Retries& retries_;
  Residency& residency_;
  Mail& mail_;
  Commits& commits_;
  Waiters& waiters_;
  UnacceptedWatch& unaccepted_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_TURNS_H_
