// How long each thing that failed is left alone before it is tried again: by doubling, up to
// kFailureDelayMax, until it succeeds. So nothing is repeated unchanged as fast as it fails, and
// what fails holds up nothing else.
//
// Pure data of one thread; `Id` is hashed.
#ifndef DT_SERVER_DISPATCH_FAILURE_DELAYS_H_
#define DT_SERVER_DISPATCH_FAILURE_DELAYS_H_

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"

namespace dt::dispatch {

inline constexpr absl::Duration kFailureDelayMin = absl::Milliseconds(50);
inline constexpr absl::Duration kFailureDelayMax = absl::Seconds(5);

template <typename Id>
class FailureDelays {
 public:
  // `first` is the delay after the first failure in a row, and may be zero.
  explicit FailureDelays(absl::Duration first) : first_(first) {}

  // It has failed again: how long to leave it alone now.
  absl::Duration Failed(const Id& id, absl::Time now) {
    if (failed_.size() >= forget_at_) Forget(now);
    const auto [entry, added] = failed_.try_emplace(id, Failure{first_, now});
    Failure& failure = entry->second;
    if (!added) {
      failure.delay = std::clamp(failure.delay * 2, kFailureDelayMin, kFailureDelayMax);
    }
    failure.until = now + failure.delay;
    return failure.delay;
  }

  void Succeeded(const Id& id) {
    if (!failed_.empty()) failed_.erase(id);
  }

  size_t size() const { return failed_.size(); }

 private:
  struct Failure {
    absl::Duration delay;
    absl::Time until;
  };
  static constexpr size_t kForgetMin = 1000;

  // What was not tried again for long is somebody else's now, or gone.
  void Forget(absl::Time now) {
    absl::erase_if(failed_, [now](const auto& entry) {
      return entry.second.until + 10 * kFailureDelayMax < now;
    });
    forget_at_ = std::max(kForgetMin, 2 * failed_.size());
  }

  const absl::Duration first_;
  absl::flat_hash_map<Id, Failure> failed_;
  size_t forget_at_ = kForgetMin;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_FAILURE_DELAYS_H_
