// Times of the protocol (nanoseconds, years 1 to 9999) and times of the schedule (microseconds).
#ifndef DT_SERVER_ORCHESTRATION_TIMESTAMPS_H_
#define DT_SERVER_ORCHESTRATION_TIMESTAMPS_H_

#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"

namespace dt::orchestration {

// Whether the protocol allows this value: 0001-01-01 to 9999-12-31T23:59:59.999999999.
bool IsValidTimestamp(const google::protobuf::Timestamp& timestamp);

// Whether it says no time: Python and JavaScript send a message without fields where they have
// none, and one that is absent reads the same.
inline bool IsUnset(const google::protobuf::Timestamp& timestamp) {
  return timestamp.seconds() == 0 && timestamp.nanos() == 0;
}

// Clamped to the protocol's range.
google::protobuf::Timestamp ToTimestamp(absl::Time time);

// Exact for a valid timestamp.
absl::Time ToTime(const google::protobuf::Timestamp& timestamp);

// The first microsecond that is not before `timestamp`: a message scheduled for it is never early.
absl::Time ToDueTime(const google::protobuf::Timestamp& timestamp);

// When the timer of `fire_at` is due: at the first full millisecond after it. So it is never early,
// and later than `fire_at` also for who cuts the time to milliseconds (Java; RULES.md 3.8, 4.5).
absl::Time ToTimerDueTime(const google::protobuf::Timestamp& fire_at);

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_TIMESTAMPS_H_
