// How instances become residents, what a resident waits for, and how it is given up.
//
// Invariant: every lease of an instance that this process holds belongs to a resident or to a call
// in flight; what is dropped is released, unless its lease is known to be gone.
//
// Used by the dispatcher's one thread only.
#ifndef DT_SERVER_DISPATCH_RESIDENCY_H_
#define DT_SERVER_DISPATCH_RESIDENCY_H_

#include <memory>
#include <optional>
#include <string>

#include "server/dispatch/claimer.h"
#include "server/dispatch/matcher.h"
#include "server/dispatch/releases.h"
#include "server/dispatch/residents.h"
#include "server/dispatch/unstored_results.h"

namespace dt::dispatch {

class Residency {
 public:
  Residency(StepContext* step, Matcher* matcher, Claimer* claimer, Releases* releases,
            Retries* retries)
      : step_(*step),
        matcher_(*matcher),
        claimer_(*claimer),
        releases_(*releases),
        retries_(*retries),
        table_(&step->work),
        results_(step, &table_) {}

  ResidentTable& table() { return table_; }
  UnstoredResults& results() { return results_; }
  Resident* FindById(HubId hub, const std::string& instance_id);

  // --- Coming
  // A claimed instance.
  void Adopt(Claim claim);
  // An instance that was created leased, at this time.
  void AdoptNew(const NewInstance& instance, InstanceKey key, int64_t started_seq,
                absl::Time created_at);
  // One whose creation is on its way: its key and the number of its first message are unknown.
  Resident& AdoptUnconfirmed(const NewInstance& instance);
  // It is created: from now on it is a resident like any other.
  void Confirm(Resident& resident, const CreateResult& result);

  // --- Staying
  // Finds the phase of a resident that is not in flight: reads, waits, becomes ready or is
  // released.
  void Reconsider(Resident& resident);
  void Unready(Resident& resident);
  // Its version, and so who can take its turns, may have changed.
  void Reroute(Resident& resident);
  void On(InboxReadDone& event);

  // --- Going
  // Forgets the resident; `release` unless the lease is known to be gone.
  void Drop(Resident& resident, bool release, absl::Duration delay = absl::ZeroDuration());
  // Of an instance that could not be used, and whose messages could not be discarded.
  void ReleaseDiscarded(const DiscardRequest& request, absl::Duration delay);
  // Drops those whose time without work is up.
  void OnTime();
  // Drops idle ones as long as there is too little memory.
  void MakeRoom();

 private:
  std::unique_ptr<Resident> Make(Hub& hub, WorkType type, orchestration::InstanceState state,
                                 LeaseToken lease);
  void AddNew(std::unique_ptr<Resident> resident);
  // Gives a lease back that is none of this registration; false if it is one.
  bool ReleaseForeign(InstanceKey key, HubId hub, const std::string& instance_id, LeaseToken lease);
  void DropOlder(const Hub& hub, const std::string& instance_id, LeaseToken lease,
                 InlineTasks* inline_tasks);
  void DiscardCorrupt(const Claim& claim);
  void TakeMail(Resident& resident);
  void StartRead(Resident& resident);

  StepContext& step_;
  Matcher& matcher_;
  Claimer& claimer_;
  Releases& releases_;
  Retries& retries_;
  ResidentTable table_;
  UnstoredResults results_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_RESIDENCY_H_
