#include "server/readiness.h"

#include <utility>

#include "spdlog/spdlog.h"

namespace dt {

Readiness::Readiness(std::function<absl::Status()> ask, std::function<void(bool ready)> tell,
                     absl::Duration interval)
    : ask_(std::move(ask)), tell_(std::move(tell)) {
  thread_ = std::thread([this, interval] { Run(interval); });
}

Readiness::~Readiness() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

void Readiness::Run(absl::Duration interval) {
  bool told = false;
  bool ready = false;
  absl::MutexLock lock(&mutex_);
  do {
    const absl::Status status = ask_();
    if (told && status.ok() == ready) continue;  // after the pause
    if (!status.ok()) {
      spdlog::error(
          "not ready: health checks are answered NOT_SERVING until PostgreSQL takes "
          "writes again: {}",
          std::string(status.message()));
    } else if (told) {
      spdlog::warn("ready again: PostgreSQL takes writes");
    }
    ready = status.ok();
    told = true;
    tell_(ready);
  } while (!mutex_.AwaitWithTimeout(absl::Condition(&stopping_), interval));
}

}  // namespace dt
