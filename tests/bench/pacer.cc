#include "tests/bench/pacer.h"

#include <utility>

#include "absl/time/time.h"

namespace dt::bench {

Pacer::Pacer(double per_second, int64_t count,
             std::function<void(std::optional<Clock::time_point>)> tick)
    : tick_(std::move(tick)), thread_([this, per_second, count] { Run(per_second, count); }) {}

Pacer::~Pacer() {
  Stop();
  thread_.join();
}

void Pacer::Stop() {
  absl::MutexLock lock(&mutex_);
  stopped_ = true;
}

void Pacer::Run(double per_second, int64_t count) {
  const Clock::time_point begin = Clock::now();
  for (int64_t i = 0; count == 0 || i < count; ++i) {
    const auto offset = std::chrono::duration<double>(static_cast<double>(i) / per_second);
    const auto due = begin + std::chrono::duration_cast<Clock::duration>(offset);
    {
      absl::MutexLock lock(&mutex_);
      if (mutex_.AwaitWithTimeout(absl::Condition(&stopped_),
                                  absl::FromChrono(due - Clock::now()))) {
        break;
      }
    }
    tick_(due);
  }
  tick_(std::nullopt);
}

}  // namespace dt::bench
