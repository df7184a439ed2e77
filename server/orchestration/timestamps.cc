#include "server/orchestration/timestamps.h"

#include <algorithm>
#include <cstdint>

namespace dt::orchestration {
namespace {

constexpr int64_t kSecondsMin = -62135596800;  // 0001-01-01T00:00:00
constexpr int64_t kSecondsMax = 253402300799;  // 9999-12-31T23:59:59
constexpr int32_t kNanosPerSecond = 1'000'000'000;

}  // namespace

bool IsValidTimestamp(const google::protobuf::Timestamp& timestamp) {
  return timestamp.seconds() >= kSecondsMin && timestamp.seconds() <= kSecondsMax &&
         timestamp.nanos() >= 0 && timestamp.nanos() < kNanosPerSecond;
}

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  const absl::Time first = absl::FromUnixSeconds(kSecondsMin);
  const absl::Time last = absl::FromUnixSeconds(kSecondsMax) + absl::Nanoseconds(999'999'999);
  time = std::clamp(time, first, last);
  const int64_t seconds = absl::ToUnixSeconds(time);
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return timestamp;
}

absl::Time ToTime(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

absl::Time ToDueTime(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) +
         absl::Ceil(absl::Nanoseconds(timestamp.nanos()), absl::Microseconds(1));
}

absl::Time ToTimerDueTime(const google::protobuf::Timestamp& fire_at) {
  constexpr absl::Duration kMillisecond = absl::Milliseconds(1);
  return absl::FromUnixSeconds(fire_at.seconds()) +
         absl::Floor(absl::Nanoseconds(fire_at.nanos()), kMillisecond) + kMillisecond;
}

}  // namespace dt::orchestration
