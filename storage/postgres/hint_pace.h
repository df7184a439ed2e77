// How often a daemon sends hints. Each costs a commit, under a lock of the whole cluster, and wakes
// all daemons that listen; so all daemons together send no more than so many a second, whatever
// they do, and what comes sooner goes together. A few may always go at once, so that nobody waits
// for anything while little happens. Pure.
#ifndef DT_STORAGE_POSTGRES_HINT_PACE_H_
#define DT_STORAGE_POSTGRES_HINT_PACE_H_

#include <algorithm>

#include "absl/time/time.h"

namespace dt::postgres {

class HintPace {
 public:
  // Between hints of all daemons, in the long run.
  static constexpr absl::Duration kInterval = absl::Milliseconds(4);
  static constexpr int kAtOnce = 4;

  // This one too.
  void SetDaemons(int daemons) { interval_ = std::max(daemons, 1) * kInterval; }
  // When the next one may go, now or later.
  absl::Time Next(absl::Time now) const {
    return std::max(now, used_until_ - (kAtOnce - 1) * interval_);
  }
  // One goes.
  void Add(absl::Time now) { used_until_ = std::max(used_until_, now) + interval_; }

 private:
  absl::Duration interval_ = 2 * kInterval;
  absl::Time used_until_ = absl::InfinitePast();
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_HINT_PACE_H_
