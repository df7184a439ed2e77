// The hubs in which somebody keeps locks that calls of a lane need, and how much of the lane's time
// they may take: a call that waits for such a lock holds up everybody else's calls.
//
// Pure; not thread-safe.
#ifndef DT_STORAGE_POSTGRES_SUSPECT_HUBS_H_
#define DT_STORAGE_POSTGRES_SUSPECT_HUBS_H_

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "storage/records.h"

namespace dt::postgres {

class SuspectHubs {
 public:
  // A hub is suspect for `period` after the last kept lock; time that is lost to kept locks is at
  // most one part in `rest_factor` + 1 of all.
  SuspectHubs(absl::Duration period, int rest_factor)
      : period_(period), rest_factor_(rest_factor) {}

  // A lock of the hub was found kept.
  void Note(HubId hub, absl::Time now) { hubs_[hub].until = now + period_; }

  // A call of the hub took so long for the sake of kept locks: its next calls wait. Nothing happens
  // to a hub that is not suspect.
  void Charge(HubId hub, absl::Duration took, absl::Time now) {
    const auto found = hubs_.find(hub);
    if (found != hubs_.end()) found->second.rests_until = now + took * rest_factor_;
  }
  // The same for operations that are known to be blocked, of whatever hub.
  void ChargeBlocked(absl::Duration took, absl::Time now) {
    blocked_rest_until_ = now + took * rest_factor_;
  }

  bool IsSuspect(HubId hub) const { return !hubs_.empty() && hubs_.contains(hub); }
  // Before this no call of the hub is sent; InfinitePast = it may be.
  absl::Time RestsUntil(HubId hub) const {
    if (hubs_.empty()) return absl::InfinitePast();
    const auto found = hubs_.find(hub);
    return found == hubs_.end() ? absl::InfinitePast() : found->second.rests_until;
  }
  // Before this no blocked operation is tried.
  absl::Time blocked_rest_until() const { return blocked_rest_until_; }

  // Forgets hubs whose time is over.
  void Forget(absl::Time now) {
    if (hubs_.empty()) return;
    absl::erase_if(hubs_, [now](const auto& hub) { return hub.second.until <= now; });
  }

 private:
  struct Suspect {
    absl::Time until;
    absl::Time rests_until = absl::InfinitePast();
  };

  const absl::Duration period_;
  const int rest_factor_;
  absl::flat_hash_map<HubId, Suspect> hubs_;
  absl::Time blocked_rest_until_ = absl::InfinitePast();
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_SUSPECT_HUBS_H_
