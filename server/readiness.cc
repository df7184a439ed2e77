#include "server/readiness.h"

#include <optional>
#include <utility>

#include "spdlog/spdlog.h"

namespace dt {

Readiness::Readiness(std::function<absl::Status()> ask,
                     std::function<void(const absl::Status&)> tell, absl::Duration interval)
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
  std::optional<absl::Status> told;
  absl::MutexLock lock(&mutex_);
  do {
    absl::Status status = ask_();
    if (told == status) continue;  // after the pause
    if (told.has_value() && told->ok() == status.ok()) {
      // The reason has changed: told, and logged by who found it.
    } else if (!status.ok()) {
      spdlog::error(
          "not ready: health checks are answered NOT_SERVING until PostgreSQL takes "
          "writes again: {}",
          std::string(status.message()));
    } else if (told.has_value()) {
      spdlog::warn("ready again: PostgreSQL takes writes");
    }
    told = std::move(status);
    tell_(*told);
  } while (!mutex_.AwaitWithTimeout(absl::Condition(&stopping_), interval));
}

}  // namespace dt
