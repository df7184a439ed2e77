// A clock for measuring waits inside the process: it is not moved when somebody sets the host's
// clock. Its values mean nothing outside the process and are never stored.
#ifndef DT_STORAGE_STEADY_CLOCK_H_
#define DT_STORAGE_STEADY_CLOCK_H_

#include <chrono>

#include "absl/time/time.h"

namespace dt {

inline absl::Time SteadyNow() {
  return absl::UnixEpoch() + absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch());
}

}  // namespace dt

#endif  // DT_STORAGE_STEADY_CLOCK_H_
