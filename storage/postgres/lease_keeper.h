// Keeps this process registered in table Workers and renews its one lease, under which all its
// instances and tasks are held. It also measures the database's clock.
//
// Invariants
//   * A registration that was swept is never renewed: the keeper registers anew and tells it,
//     and the leases of the old one are gone.
//   * Now() never runs back, whatever the clocks do.
//
// Threads. One thread of its own with one connection of its own; Now() and worker() from any
// thread.
#ifndef DT_STORAGE_POSTGRES_LEASE_KEEPER_H_
#define DT_STORAGE_POSTGRES_LEASE_KEEPER_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/postgres/backoff.h"
#include "storage/postgres/connection.h"
#include "storage/records.h"

namespace dt::postgres {

struct LeaseKeeperOptions {
  ConnectionOptions connection;
  std::string schema = "dt";
  std::string version;                       // of the daemon, for operators
  absl::Duration lease = absl::Seconds(30);  // renewed at a third of this
  absl::Duration retry_min = absl::Milliseconds(100);
  absl::Duration retry_max = absl::Seconds(2);
};

class LeaseKeeper {
 public:
  // `on_registered` runs on the keeper's thread, after each registration.
  LeaseKeeper(LeaseKeeperOptions options, std::function<void(WorkerId)> on_registered);
  ~LeaseKeeper();
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;

  void Start();
  // Unregisters, which frees every lease that is still held, and ends the thread. The caller has
  // ended all its writes before. If the database is away, the leases end by themselves.
  void Stop();

  // The database's clock; the local one until the first answer.
  absl::Time Now() const;
  WorkerId worker() const { return worker_.load(); }  // 0 = not registered

 private:
  void Run();
  absl::Status EnsureConnected();
  absl::Status Register();
  absl::Status Renew();
  void Unregister();
  // `now` is the server's clock between `sent` and the present, both of the steady clock.
  void SetClock(absl::Time now, absl::Time sent);
  // False when Stop was called.
  bool SleepFor(absl::Duration delay);

  const LeaseKeeperOptions options_;
  const std::function<void(WorkerId)> on_registered_;

  // Of the keeper's thread.
  std::unique_ptr<Connection> connection_;
  absl::BitGen random_;

  std::atomic<WorkerId> worker_{0};
  // Server clock minus steady clock in microseconds, and whether it is known.
  std::atomic<int64_t> clock_offset_us_{0};
  std::atomic<bool> clock_known_{false};
  mutable std::atomic<int64_t> last_now_us_{INT64_MIN};

  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_LEASE_KEEPER_H_
