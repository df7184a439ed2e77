// How often hints are followed that bring nothing. A hint makes a daemon look for work before
// its next poll; whoever may connect to the database can send hints, and a hint may also come after
// another daemon has taken the work. So a hint is followed at once as long as hints bring
// something, and a burst of empty ones too; beyond that an empty one puts the next look off.
//
// Pure data of one thread.
#ifndef DT_SERVER_DISPATCH_HINT_BACKOFF_H_
#define DT_SERVER_DISPATCH_HINT_BACKOFF_H_

#include <algorithm>

#include "absl/time/time.h"

namespace dt::dispatch {

inline constexpr absl::Duration kHintInterval = absl::Milliseconds(50);
inline constexpr int kHintsAtOnce = 20;

class HintBackoff {
 public:
  // A look that was made because of a hint has found nothing.
  void Add(absl::Time now) {
    forgotten_at_ = std::clamp(forgotten_at_, now, now + Burst()) + kHintInterval;
  }
  // When a hint that comes now is followed: now, or at most kHintInterval later.
  absl::Time NextLook(absl::Time now) const { return std::max(now, forgotten_at_ - Burst()); }

 private:
  static absl::Duration Burst() { return kHintsAtOnce * kHintInterval; }

  absl::Time forgotten_at_ = absl::InfinitePast();  // when all empty looks so far are
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_HINT_BACKOFF_H_
