// What callers of other daemons wait for, as those daemons tell by hints. When this daemon changes
// such an instance it sends a hint back, so that the other one looks and answers its caller: while
// nobody waits elsewhere nothing is sent, and nothing is ever written.
//
// A hint names what is awaited by 64 bits, so it may be mistaken for another one: whoever gets a
// hint looks at the store and believes only that. A wait that is told of just after the change is
// answered at once, as what changed lately is remembered.
//
// Used by the dispatcher's steps only, so by one thread at a time.
#ifndef DT_SERVER_DISPATCH_REMOTE_WAITS_H_
#define DT_SERVER_DISPATCH_REMOTE_WAITS_H_

#include <cstdint>
#include <deque>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "server/dispatch/step_context.h"

namespace dt::dispatch {

// The name of such a wait in hints, which all versions of the daemon compute alike.
uint64_t WaitName(DispatchThread::WaitFor wait_for, std::string_view instance_id);

// Names of waits by the time when they were added last; each is forgotten after a while, and the
// oldest are when there are too many.
class WaitNames {
 public:
  using Key = std::pair<HubId, uint64_t>;

  WaitNames(absl::Duration kept, size_t names_max) : kept_(kept), names_max_(names_max) {}

  void Add(const Key& key, absl::Time now);
  bool Contains(const Key& key) const { return added_.contains(key); }
  // Whether it was there.
  bool Remove(const Key& key) { return added_.erase(key) > 0; }
  void Clear();
  size_t size() const { return added_.size(); }

 private:
  const absl::Duration kept_;
  const size_t names_max_;
  absl::flat_hash_map<Key, absl::Time> added_;
  // In their order; those that were removed or added again are passed over.
  std::deque<std::pair<absl::Time, Key>> order_;
};

class RemoteWaits {
 public:
  // Whoever waits tells again long before that, while its daemon lives.
  static constexpr absl::Duration kKept = absl::Minutes(10);
  static constexpr size_t kNamesMax = 100'000;
  // Longer than a hint is under way.
  static constexpr absl::Duration kRecent = absl::Seconds(5);
  static constexpr size_t kRecentMax = 10'000;

  explicit RemoteWaits(StepContext* step) : step_(*step) {}

  // Whether there are other daemons: until then nothing is remembered, which costs nothing.
  void SetOthers(bool others);
  // Other daemons told of these waits.
  void On(const WaitHints& awaited);
  // The instance has this status now.
  void Changed(HubId hub, std::string_view instance_id, RuntimeStatus status);
  size_t size() const { return awaited_.size(); }

 private:
  void Changed(const WaitNames::Key& key);

  StepContext& step_;
  bool others_ = false;
  WaitNames awaited_{kKept, kNamesMax};
  WaitNames recent_{kRecent, kRecentMax};  // what changed
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_REMOTE_WAITS_H_
