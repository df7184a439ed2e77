// How far the server's clock is ahead of the steady clock, from readings that each took a round
// trip. Pure.
//
// The server reads its clock somewhere within the round trip, so a reading is wrong by half of it
// at most, and a busy machine or a slow commit makes that tens of milliseconds. The estimate
// therefore stays with its best reading, which grows older and so less certain, until another one
// is better or shows that a clock was set.
#ifndef DT_STORAGE_POSTGRES_CLOCK_ESTIMATE_H_
#define DT_STORAGE_POSTGRES_CLOCK_ESTIMATE_H_

#include <optional>

#include "absl/time/time.h"

namespace dt::postgres {

struct ClockReading {
  absl::Time server;    // what the server's clock showed
  absl::Time sent;      // by the steady clock, as everything below
  absl::Time received;  // of the answer

  // Of the server's clock minus the steady clock: the middle, and how wrong it is at most.
  absl::Duration offset() const { return server - (sent + (received - sent) / 2); }
  absl::Duration error() const { return (received - sent) / 2; }
};

class ClockEstimate {
 public:
  // Two clocks of which each is disciplined drift apart by less than this for each second.
  static constexpr double kDrift = 50e-6;

  // Takes the reading if it is at least as certain as the estimate is by now, or if the two cannot
  // both be right.
  void Add(const ClockReading& reading) {
    if (best_.has_value()) {
      const absl::Duration error = ErrorAt(reading.received);
      const absl::Duration apart = absl::AbsDuration(reading.offset() - best_->offset());
      if (reading.error() > error && apart <= error + reading.error()) return;
    }
    best_ = reading;
  }

  bool known() const { return best_.has_value(); }
  // Only where it is known.
  absl::Duration offset() const { return best_->offset(); }

 private:
  absl::Duration ErrorAt(absl::Time now) const {
    return best_->error() + (now - best_->received) * kDrift;
  }

  std::optional<ClockReading> best_;
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_CLOCK_ESTIMATE_H_
