// When work is claimed from the store, for whom, and how much; what becomes of a claim that fails,
// and of one whose answer was lost.
//
// Invariants
//   * Of a hub there is one claim of a type at a time, for all its pools that have free credits.
//   * After a claim whose answer was lost a hub claims no more of the type until it is known what
//     that one has leased.
//
// Used by the dispatcher's one thread only.
#ifndef DT_SERVER_DISPATCH_CLAIMER_H_
#define DT_SERVER_DISPATCH_CLAIMER_H_

#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "server/dispatch/arrivals.h"
#include "server/dispatch/failure_delays.h"
#include "server/dispatch/matcher.h"
#include "server/dispatch/retries.h"

namespace dt::dispatch {

class Claimer {
 public:
  Claimer(StepContext* step, Matcher* matcher, Retries* retries)
      : step_(*step), matcher_(*matcher), retries_(*retries) {}

  Arrivals& arrivals() { return arrivals_; }

  // Claims for all pools of this type that have free credits, if one of them is due.
  void Start(Hub& hub, WorkType type);
  // Before and after what a claim has brought is taken over. Succeeded: it has an answer.
  void Succeeded(HubId hub, LeaseToken token, WorkType type);
  // Finds when each pool of the claim may claim again. Does nothing for a repeated claim.
  void End(LeaseToken token, const std::vector<ClaimedGroup>& groups, bool failed);
  // True: the hub is gone.
  bool Failed(HubId hub, LeaseToken token, WorkType type, const absl::Status& status,
              bool recovered);
  // The hub was deleted, so no claim of it is in doubt.
  static void ForgetDoubts(Hub& hub);
  // Asks what a token has leased after a lost answer, later each time.
  void Recover(HubId hub, WorkType type, LeaseToken token);
  // There is, or may be, free work of this type in the database, due at this time by the steady
  // clock.
  void WorkFree(Hub& hub, WorkType type, absl::Time at);
  void WorkFree(HubId hub, WorkType type);
  // A hint of the store: the same for both types, as far as hints bring something.
  void Hinted(Hub& hub);
  // The leases of an earlier registration are gone.
  void Reset();

  void OnTime();
  absl::Time NextDeadline();
  // How long to wait after so many looks in a row that found nothing.
  static absl::Duration PollDelay(StepContext& step, int empty_polls);

 private:
  struct ClaimInFlight {
    Hub* hub = nullptr;
    WorkType type = WorkType::kTurn;
    std::vector<Pool*> pools;  // parallel to the groups of the request
    bool hinted = false;
    int64_t bytes = 0;  // that it may bring, counted as work
  };

  // How many bytes the hub's next claim may bring; 0: none now, and the hub is looked at again
  // soon.
  int64_t BytesFor(Hub& hub, WorkType type);
  // A claim took too long: the next one asks for less.
  void Shrink(Hub& hub, WorkType type);
  void Served(Pool& pool, const ClaimedGroup& group);
  // When the next claim may be made, by the failures of those before.
  static absl::Time ClaimAfter(const Hub& hub, WorkType type);

  StepContext& step_;
  Matcher& matcher_;
  Retries& retries_;
  Arrivals arrivals_;
  absl::btree_map<LeaseToken, ClaimInFlight> claims_;
  FailureDelays<std::pair<HubId, WorkType>> claim_failures_{kFailureDelayMin};
  FailureDelays<LeaseToken> recovery_failures_{Retries::kFirstDelay};
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_CLAIMER_H_
