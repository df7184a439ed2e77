// Calls that wait for an instance to start or to end (5.15-5.18). They are woken by commits of this
// process and look at the database now and then, so that a change made elsewhere only comes later.
// Used by the dispatcher's steps only, so by one thread at a time.
#ifndef DT_SERVER_DISPATCH_WAITERS_H_
#define DT_SERVER_DISPATCH_WAITERS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "server/dispatch/deadlines.h"
#include "server/dispatch/events.h"

namespace dt::dispatch {

class Waiters {
 public:
  explicit Waiters(const DispatchLimits& limits) : limits_(limits) {}

  // `known`: the status, where a resident tells it; else the database is asked. A wait that goes on
  // keeps the end that it had.
  void Add(WaitAsked wait, std::optional<RuntimeStatus> known, absl::Time now,
           std::vector<Effect>& effects);
  void Cancel(WaitId wait, std::vector<Effect>& effects);
  // The instance has this status now, and this row, unless that is null.
  void Changed(HubId hub, const std::string& instance_id, RuntimeStatus status,
               std::vector<Effect>& effects, const KnownRow& row = nullptr);
  // Whether a call waits for the instance.
  bool Awaited(HubId hub, const std::string& instance_id) const;
  void OnStatus(StatusRead read, std::vector<Effect>& effects);
  // Looks again for those whose time has come and ends those that have waited for too long.
  void OnTime(absl::Time now, std::vector<Effect>& effects);
  void EndAll(const absl::Status& status, std::vector<Effect>& effects);
  absl::Time NextDeadline() const;
  size_t size() const { return waits_.size(); }
  size_t deadlines() const { return looks_.size() + ends_.size(); }

 private:
  using Target = std::pair<HubId, std::string>;
  struct Wait {
    WaitAsked asked;
    bool exists = false;  // as of the last look
  };

  void Ask(const Target& target, std::vector<Effect>& effects);
  void Remove(WaitId id, absl::StatusOr<KnownRow> result, std::vector<Effect>& effects);

  const DispatchLimits& limits_;
  absl::btree_map<WaitId, Wait> waits_;
  absl::flat_hash_map<Target, absl::InlinedVector<WaitId, 1>> by_target_;
  absl::flat_hash_set<Target> asked_;  // reads in flight
  Deadlines<WaitId> looks_;
  Deadlines<WaitId> ends_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_WAITERS_H_
