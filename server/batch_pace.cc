#include "server/batch_pace.h"

#include <algorithm>

namespace dt {
namespace {

// A batch that takes longer is halved, one that takes less than a quarter of it may be doubled.
constexpr absl::Duration kBatchTimeMax = absl::Seconds(1);

}  // namespace

absl::Duration BatchPace::After(absl::Duration took, bool more) {
  if (took > kBatchTimeMax) {
    batch_ = std::max(batch_ / 2, 1);
  } else if (took < kBatchTimeMax / 4) {
    batch_ = static_cast<int>(std::min<int64_t>(int64_t{batch_} * 2, options_.instances_max));
  }
  if (!more) return options_.interval;
  return took * (100 - options_.busy_percent_max) / options_.busy_percent_max;
}

absl::Duration BatchPace::AfterFailure(absl::Duration took) {
  return After(std::max(took, 2 * kBatchTimeMax), false);
}

}  // namespace dt
