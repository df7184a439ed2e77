#include "server/dispatch/fair_share.h"

#include <algorithm>

namespace dt::dispatch {

void FairShare::SetContested(bool contested, absl::Time now) {
  if (contested == contested_) return;
  *this = FairShare();
  contested_ = contested;
  silent_since_ = span_begin_ = now;
}

double FairShare::Rate(absl::Time now) {
  if (now >= span_begin_ + kSpan) {
    finished_before_ = now < span_begin_ + 2 * kSpan ? finished_ : 0;
    finished_ = 0;
    span_begin_ = now < span_begin_ + 2 * kSpan ? span_begin_ + kSpan : now;
  }
  const double passed = absl::FDivDuration(now - span_begin_, kSpan);
  return (finished_ + finished_before_ * (1 - passed)) / absl::ToDoubleSeconds(kSpan);
}

void FairShare::Finished(absl::Time since, bool limited, absl::Time now) {
  if (!contested_) return;
  const double rate_before = Rate(now);
  ++finished_;
  silent_since_ = now;
  shortest_ = std::min(shortest_, now - since);
  const double worth = rate_before * absl::ToDoubleSeconds(kQueued + shortest_);
  const int most = std::max(kFew, 1 + static_cast<int>(std::min(worth, 1e6)));
  if (limited) ++limit_;
  limit_ = std::min(limit_, most);
}

void FairShare::Waited(absl::Time now) {
  if (!contested_ || now < NextGrowth()) return;
  silent_since_ = now;
  limit_ += std::max(1, limit_ / kGrowth);
}

}  // namespace dt::dispatch
