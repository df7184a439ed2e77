// What most tests of the dispatcher begin with: a clock, a database, one daemon, one hub.
#ifndef DT_TESTS_DISPATCH_FIXTURE_H_
#define DT_TESTS_DISPATCH_FIXTURE_H_

#include <memory>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/fake_daemon.h"
#include "tests/support/fault_store.h"

namespace dt::testing {

struct OneDaemon {
  explicit OneDaemon(dispatch::DispatchLimits limits = {})
      : database(clock.Reader()),
        store(&database, MemoryStore::Mode::kStepped),
        daemon(&store, &store, std::move(limits)),
        hub(*database.ResolveHub("default", /*create=*/true)) {}

  // Lets time pass in steps, so that everything that is due in between happens in its order.
  void Pass(absl::Duration time, absl::Duration step = absl::Milliseconds(100)) {
    for (absl::Duration passed; passed < time; passed += step) {
      clock.Advance(step);
      store.Heartbeat();
      daemon.Settle();
    }
  }
  InstanceRow Row(const std::string& instance_id) {
    return database.ReadInstance(hub, instance_id, /*payloads=*/true).value();
  }
  std::string Output(const std::string& instance_id) { return Row(instance_id).output.value(); }

  FakeClock clock;
  MemoryDatabase database;
  MemoryStore store;
  FakeDaemon daemon;
  HubId hub;
};

// One daemon behind a FaultStore.
struct FaultyDaemon {
  explicit FaultyDaemon(dispatch::DispatchLimits limits = {})
      : database(clock.Reader()),
        store(&database, MemoryStore::Mode::kStepped),
        faults(&store, 1),
        daemon(&faults, &store, std::move(limits)),
        hub(*database.ResolveHub("default", true)) {}

  void Pass(absl::Duration time) {
    for (absl::Duration passed; passed < time; passed += absl::Milliseconds(100)) {
      clock.Advance(absl::Milliseconds(100));
      store.Heartbeat();
      daemon.Settle();
    }
  }

  FakeClock clock;
  MemoryDatabase database;
  MemoryStore store;
  FaultStore faults;
  FakeDaemon daemon;
  HubId hub;
};

// Activities "Echo" (its input), and orchestrators:
//   Chain   input n: n activities one after the other, output "1,2,..,n"
//   FanOut  input n: n activities at once, output is the number of results
//   Parent  input n: n children of Chain(2), output is their outputs joined by ";"
//   Sleep   input seconds: a timer, output "slept"
//   Listen  waits for event "go", output is its input
Functions SomeFunctions(const FakeClock& clock);

// Makes the response the part of this index (from 0) of a larger one (3.18).
void MakePart(OrchestratorResponse& response, int index, bool last);

}  // namespace dt::testing

#endif  // DT_TESTS_DISPATCH_FIXTURE_H_
