// Checkpoints on their way to the store, and what a committed one hands on in memory: the next
// turn, own activities, children, messages to other residents, the answer to the worker.
//
// Invariant: nothing is handed on before the commit that made it.
//
// Used by the dispatcher's one thread only.
#ifndef DT_SERVER_DISPATCH_COMMITS_H_
#define DT_SERVER_DISPATCH_COMMITS_H_

#include "server/dispatch/activities.h"
#include "server/dispatch/claimer.h"
#include "server/dispatch/mail.h"
#include "server/dispatch/residency.h"
#include "server/dispatch/waiters.h"

namespace dt::dispatch {

class Commits {
 public:
  Commits(StepContext* step, Matcher* matcher, Claimer* claimer, Retries* retries,
          Residency* residency, Mail* mail, Activities* activities, Waiters* waiters)
      : step_(*step),
        matcher_(*matcher),
        claimer_(*claimer),
        retries_(*retries),
        residency_(*residency),
        mail_(*mail),
        activities_(*activities),
        waiters_(*waiters) {}

  // Sends the checkpoint of the resident's turn to the store. `done` is null when no worker waits.
  void Commit(Resident& resident, orchestration::TurnResult result, bool failed_by_server,
              DoneCallback done);
  // The same of an entity's batch.
  void CommitBatch(Resident& resident, entity::BatchResult result, bool failed_by_server,
                   DoneCallback done);
  // Ends the instance in place of its turn; an entity answers the operations of its batch so.
  void Fail(Resident& resident, const TaskFailureDetails& details, DoneCallback done);
  void On(Committed& event);

 private:
  // What the dispatcher adds to a checkpoint before it is sent, after TakeConsumed
  // (unstored_results.h): the leases of its products, which of its tasks are inline, and the inline
  // tasks that go on.
  void Complete(const Resident& resident, Checkpoint& checkpoint, CommitContext& context);
  // Leases to this process the products that a stream has a free credit for.
  void LeaseProducts(Hub& hub, Checkpoint& checkpoint, CommitContext& context);

  void OnCommitted(Committed& event, Resident* resident);
  void CountCommitted(const Committed& event);
  void ApplyToResident(Committed& event, Resident& resident);
  void ApplyToEntity(Committed& event, Resident& resident);
  void HandOnMessages(const Checkpoint& checkpoint, const CheckpointResult& result);
  void HandOnLocks(const Committed& event);
  void HandOnTasks(Checkpoint& checkpoint, const CheckpointResult& result);
  void HandOnChildren(const Checkpoint& checkpoint, const CheckpointResult& result);
  void OnFailed(Committed& event, Resident* resident);
  // The outcome is not known: releases, free after `delay`, and reads again whatever the checkpoint
  // may have touched.
  void OnUnknown(Committed& event, Resident* resident, absl::Duration delay);
  // For calls that wait for the end which this checkpoint is; null if it is none, nobody waits, or
  // the row must be read.
  KnownRow RowAtEnd(const Committed& event, const Resident* resident) const;

  StepContext& step_;
  Matcher& matcher_;
  Claimer& claimer_;
  Retries& retries_;
  Residency& residency_;
  Mail& mail_;
  Activities& activities_;
  Waiters& waiters_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_COMMITS_H_
