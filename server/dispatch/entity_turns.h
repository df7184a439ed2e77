// Batches of entities: from the inbox to the work item, and from the worker's result to the
// checkpoint (commits.h). What entities do without a worker, around their locks, goes the same way.
//
// Invariant: at most one batch of an entity is at a worker or on its way to the store (7.6);
// messages that come meanwhile wait in the inbox.
//
// Used by the dispatcher's one thread only.
#ifndef DT_SERVER_DISPATCH_ENTITY_TURNS_H_
#define DT_SERVER_DISPATCH_ENTITY_TURNS_H_

#include "server/dispatch/commits.h"
#include "server/dispatch/matcher.h"
#include "server/dispatch/residency.h"
#include "server/dispatch/unaccepted.h"

namespace dt::dispatch {

class EntityTurns {
 public:
  EntityTurns(StepContext* step, Matcher* matcher, Residency* residency, Commits* commits,
              UnacceptedWatch* unaccepted)
      : step_(*step),
        matcher_(*matcher),
        residency_(*residency),
        commits_(*commits),
        unaccepted_(*unaccepted) {}

  // Whether the resident has left its queue.
  bool Offer(Resident& resident);
  // The batch was lost with its stream or by its hold, and has no credit any more: it is offered
  // again at once (1.11, 1.12). Charged: it counts as a lost lease.
  void Lose(Resident& resident, bool charged);

  void On(EntityAnswered& event);
  void On(Abandoned& event);

 private:
  void Plan(Resident& resident);
  void Send(Resident& resident, Stream& stream);
  // Nothing can be done before another message is due.
  void Wait(Resident& resident);
  void End(Resident& resident, EntityBatchResult result, DoneCallback done);
  // The worker gives the batch back, or has to.
  void GiveBack(Resident& resident);
  Resident* FindAnswered(HubId hub, const std::string& token) const;

  StepContext& step_;
  Matcher& matcher_;
  Residency& residency_;
  Commits& commits_;
  UnacceptedWatch& unaccepted_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_ENTITY_TURNS_H_
