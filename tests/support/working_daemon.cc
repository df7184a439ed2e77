#include "tests/support/working_daemon.h"

#include <utility>

#include "absl/time/clock.h"

namespace dt::testing {

OneDaemon::OneDaemon(dispatch::DispatchLimits limits)
    : database(clock.Reader()),
      store(&database, MemoryStore::Mode::kStepped),
      faults(&store, 1),
      daemon(&faults, &store, std::move(limits)),
      hub(*database.ResolveHub("default", /*create=*/true)) {}

void OneDaemon::Pass(absl::Duration time, absl::Duration step) {
  for (absl::Duration passed; passed < time; passed += step) {
    clock.Advance(step);
    store.Heartbeat();
    daemon.Settle();
  }
}

InstanceRow OneDaemon::Row(const std::string& instance_id) {
  return database.ReadInstance(hub, instance_id, /*payloads=*/true).value();
}

RunningDaemon::RunningDaemon(dispatch::DispatchLimits limits, const WrapStore& wrap_store)
    : database_([] { return absl::Now(); }), memory_store_(&database_, MemoryStore::Mode::kThread) {
  if (wrap_store) wrapped_store_ = wrap_store(&memory_store_);
  dispatch_ = std::make_unique<dispatch::DispatchThread>(&store(), std::move(limits));
  dispatch_->Start();
  store().Start(dispatch_.get());
}

RunningDaemon::~RunningDaemon() { StopStore(); }

void RunningDaemon::StopStore() {
  if (wrapped_store_ != nullptr) wrapped_store_->Stop();
  memory_store_.Stop();
}

}  // namespace dt::testing
