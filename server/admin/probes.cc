#include "server/admin/probes.h"

#include <string>
#include <utility>

namespace dt::admin {
namespace {

constexpr int kUnavailable = 503;

}  // namespace

Probes::Probes(Routes* routes) {
  routes->Add("/livez", Audience::kProbes, [](const Request&) { return Response{200, "alive\n"}; });
  const Handler readiness = [this](const Request&) {
    const absl::Status status = ready();
    if (status.ok()) return Response{200, "ready\n"};
    return Response{kUnavailable, "not ready: " + std::string(status.message()) + "\n"};
  };
  routes->Add("/readyz", Audience::kProbes, readiness);
  routes->Add("/healthz", Audience::kProbes, readiness);
}

void Probes::SetReady(absl::Status ready) {
  absl::MutexLock lock(&mutex_);
  if (!draining_) ready_ = std::move(ready);
}

void Probes::SetDraining() {
  absl::MutexLock lock(&mutex_);
  draining_ = true;
  ready_ = absl::UnavailableError("the daemon is draining: it ends");
}

absl::Status Probes::ready() const {
  absl::MutexLock lock(&mutex_);
  return ready_;
}

}  // namespace dt::admin
