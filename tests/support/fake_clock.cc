#include "tests/support/fake_clock.h"

namespace dt::testing {

FakeClock::FakeClock() : now_(absl::FromUnixMicros(1'700'000'000'123'456)) {}

absl::Time FakeClock::Now() const {
  absl::MutexLock lock(&mutex_);
  return now_;
}

void FakeClock::Advance(absl::Duration by) {
  absl::MutexLock lock(&mutex_);
  now_ += by;
}

void FakeClock::Set(absl::Time now) {
  absl::MutexLock lock(&mutex_);
  now_ = now;
}

ClockFunction FakeClock::Reader() const {
  return [this] { return Now(); };
}

}  // namespace dt::testing
