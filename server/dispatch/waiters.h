// Calls that wait for an instance to start or to end (5.15-5.18). They are woken by commits of this
// process. For changes elsewhere a call whose instance is not held here looks at the store at once,
// and then tells the other daemons, who send a hint when it changes (remote_waits.h); a rare look
// finds what no hint told. While hints do not arrive the looks are denser.
// Used by the dispatcher's steps only, so by one thread at a time.
#ifndef DT_SERVER_DISPATCH_WAITERS_H_
#define DT_SERVER_DISPATCH_WAITERS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "server/dispatch/deadlines.h"
#include "server/dispatch/hint_backoff.h"
#include "server/dispatch/remote_waits.h"
#include "server/dispatch/step_context.h"

namespace dt::dispatch {

class Waiters {
 public:
  explicit Waiters(StepContext* step) : step_(*step), remote_(step) {}

  // `known`: the status, where a resident tells it; else the store is asked. A wait that goes on
  // keeps the end that it had.
  void Add(WaitAsked wait, std::optional<RuntimeStatus> known);
  void Cancel(WaitId wait);
  // The instance has this status now, and this row, unless that is null.
  void Changed(HubId hub, const std::string& instance_id, RuntimeStatus status,
               const KnownRow& row = nullptr);
  // The instance is held here no more: others may change it.
  void Released(HubId hub, const std::string& instance_id);
  // Whether a call waits for the instance.
  bool Awaited(HubId hub, const std::string& instance_id) const;
  void On(StatusRead& read);
  void On(WaitsHinted& hinted);
  void On(HearingChanged& hearing);
  // Looks again for those whose time has come and ends those that have waited for too long.
  void OnTime();
  void EndAll(const absl::Status& status);
  RemoteWaits& remote() { return remote_; }
  absl::Time NextDeadline() const;
  size_t size() const { return waits_.size(); }
  size_t deadlines() const { return looks_.size() + ends_.size(); }

 private:
  using Target = std::pair<HubId, std::string>;
  struct Wait {
    WaitAsked asked;
    bool exists = false;  // as of the last look
    int looks = 0;
    bool hinted = false;  // the next look is one that a hint asked for
  };

  void Ask(const Target& target, bool hinted = false);
  void SetLook(WaitId id, Wait& wait);
  // Tells other daemons what is awaited of the instance.
  void Tell(const Target& target);
  // Another daemon says that it has changed.
  void Hinted(const Target& target);
  void Remove(WaitId id, absl::StatusOr<KnownRow> result);

  StepContext& step_;
  RemoteWaits remote_;
  absl::btree_map<WaitId, Wait> waits_;
  absl::flat_hash_map<Target, absl::InlinedVector<WaitId, 1>> by_target_;
  absl::flat_hash_map<Target, bool> asked_;  // reads in flight, and whether for a hint
  // What other daemons were told of.
  absl::btree_map<WaitNames::Key, Target> told_;
  HintBackoff hint_backoff_;
  Deadlines<WaitId> looks_;
  Deadlines<WaitId> ends_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_WAITERS_H_
