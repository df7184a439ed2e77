#include "server/rpc/calls_in_progress.h"

namespace dt::rpc {

CallsInProgress::Period CallsInProgress::Begin() {
  const Period period = period_.load();
  if (period == Period::kServing) serving_.fetch_add(1);
  return period;
}

void CallsInProgress::End(Period began) {
  if (began != Period::kServing) return;
  const bool last = serving_.fetch_sub(1) == 1;
  if (last && period_.load() == Period::kEnding) absl::MutexLock lock(&ending_);
}

bool CallsInProgress::AwaitEarlier(absl::Duration time_max) {
  // A call that has just read the other period, and is not counted yet, is as one that comes later.
  period_.store(Period::kEnding);
  absl::MutexLock lock(&ending_);
  const auto none = [this] { return serving_.load() == 0; };
  return ending_.AwaitWithTimeout(absl::Condition(&none), time_max);
}

}  // namespace dt::rpc
