// Daemons that work, on a database in memory, for the tests of all folders: OneDaemon is moved by
// hand, under a clock that only the test moves; RunningDaemon has its threads, and the clock of the
// machine.
#ifndef DT_TESTS_SUPPORT_WORKING_DAEMON_H_
#define DT_TESTS_SUPPORT_WORKING_DAEMON_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "server/dispatch/dispatch_thread.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_daemon.h"
#include "tests/support/fault_store.h"
#include "tests/support/memory_store.h"

namespace dt::testing {

// A clock, a database, one daemon and one hub. No fault happens that the test does not order.
struct OneDaemon {
  explicit OneDaemon(dispatch::DispatchLimits limits = {});

  // Lets time pass in steps, so that everything that is due in between happens in its order.
  void Pass(absl::Duration time, absl::Duration step = absl::Milliseconds(100));
  // An instance of the hub, which must be there, and what it ended with.
  InstanceRow Row(const std::string& instance_id);
  std::string Output(const std::string& instance_id) { return Row(instance_id).output.value(); }

  FakeClock clock;
  MemoryDatabase database;
  MemoryStore store;
  FaultStore faults;  // in front of the store
  FakeDaemon daemon;
  HubId hub;
};

// A dispatcher that runs, on a store with a thread.
class RunningDaemon {
 public:
  using WrapStore = std::function<std::unique_ptr<Store>(Store*)>;

  // `wrap_store` puts a store of the test in front of the one in memory.
  explicit RunningDaemon(dispatch::DispatchLimits limits = {}, const WrapStore& wrap_store = {});
  ~RunningDaemon();
  RunningDaemon(const RunningDaemon&) = delete;
  RunningDaemon& operator=(const RunningDaemon&) = delete;

  MemoryDatabase& database() { return database_; }
  // Nothing is called back after this. Also done at the end; before it, where somebody whom the
  // store calls back goes earlier.
  void StopStore();

  Store& store() { return wrapped_store_ != nullptr ? *wrapped_store_ : memory_store_; }
  dispatch::DispatchThread& dispatch() { return *dispatch_; }

 private:
  MemoryDatabase database_;
  MemoryStore memory_store_;
  std::unique_ptr<Store> wrapped_store_;
  std::unique_ptr<dispatch::DispatchThread> dispatch_;
};

}  // namespace dt::testing

#endif  // DT_TESTS_SUPPORT_WORKING_DAEMON_H_
