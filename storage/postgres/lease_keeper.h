// Keeps this process registered in table Workers and renews its one lease, under which all its
// instances and tasks are held. It also measures the database's clock.
//
// Invariants
//   * A registration that was swept is never renewed: the keeper registers anew and tells it,
//     and the leases of the old one are gone.
//   * Now() never runs back, whatever the clocks do.
//   * While the server is there, so is the keeper's session, by which other daemons see that this
//     process lives: a connection that breaks is made anew at once.
//
// Threads. One thread of its own with one connection of its own; Now() and worker() from any
// thread.
#ifndef DT_STORAGE_POSTGRES_LEASE_KEEPER_H_
#define DT_STORAGE_POSTGRES_LEASE_KEEPER_H_

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/postgres/backoff.h"
#include "storage/postgres/clock_estimate.h"
#include "storage/postgres/connection.h"
#include "storage/postgres/interrupt.h"
#include "storage/records.h"

namespace dt::postgres {

struct LeaseKeeperOptions {
  ConnectionOptions connection;
  std::string schema = "dt";
  std::string version;                       // of the daemon, for operators
  absl::Duration lease = absl::Seconds(30);  // renewed at a third of this
  absl::Duration retry_min = absl::Milliseconds(100);
  // Below the time after which a daemon without a session is taken for dead (_SweepExpired).
  absl::Duration retry_max = absl::Seconds(1);
  // Of the server's clock, from MeasureClock; if it knows nothing, Start asks.
  ClockEstimate clock;
};

// Asks for the server's clock a few times, as the first answer may be slow.
absl::StatusOr<ClockEstimate> MeasureClock(Connection& connection, const std::string& schema);

class LeaseKeeper {
 public:
  // On the keeper's thread: `on_registered` runs after each registration, `on_served` when another
  // `served` of Report is in the registration.
  LeaseKeeper(LeaseKeeperOptions options, std::function<void(WorkerId)> on_registered,
              std::function<void()> on_served);
  ~LeaseKeeper();
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;

  // Blocks for one connection, if the clock is not known yet.
  void Start();
  // Unregisters, which frees every lease that is still held, and ends the thread. The caller has
  // ended all its writes before. If the database is away, the leases end by themselves.
  void Stop();

  // JSON that the registration keeps from now on: from the next renewal, or at once. Any thread.
  void Report(std::string served, std::string load, bool at_once);

  // The database's clock. Only where that could not be asked before, as Start found no database, it
  // is the host's until there is one: that may be wrong by any amount.
  absl::Time Now() const;
  WorkerId worker() const { return worker_.load(); }  // 0 = not registered
  // Why the lease is not renewed, where that has been so for a few seconds; else OK. Any thread.
  absl::Status StandingFault() const;
  // When it has been renewed last, by the steady clock. Any thread.
  absl::Time renewed_at() const {
    absl::MutexLock lock(&mutex_);
    return renewed_at_;
  }

 private:
  void Run();
  absl::Status EnsureConnected();
  absl::Status Register();
  absl::Status Renew();
  void Unregister();
  // `server`: what the server's clock showed in the answer to what was sent at `sent`.
  void NoteClock(absl::Time server, absl::Time sent);
  void PublishClock();
  void NoteOutcome(const absl::Status& status);
  // Ends early when the connection breaks or a report is to be sent. False when Stop was called.
  bool SleepFor(absl::Duration delay);
  bool WaitForStop(absl::Duration delay);
  struct Kept {
    std::string text;
    bool sent = true;
  };
  static void Replace(Kept& kept, std::string text);
  // Adds what is to be kept, null for what was sent already. Whether `served` is among it.
  bool AddKept(Params& params);

  const LeaseKeeperOptions options_;
  const std::function<void(WorkerId)> on_registered_;
  const std::function<void()> on_served_;

  // Of the keeper's thread.
  std::unique_ptr<Connection> connection_;
  absl::BitGen random_;
  ClockEstimate clock_;

  std::atomic<WorkerId> worker_{0};
  // clock_ for all threads: server clock minus steady clock in microseconds, and whether it is
  // known.
  std::atomic<int64_t> clock_offset_us_{0};
  std::atomic<bool> clock_known_{false};
  mutable std::atomic<int64_t> last_now_us_{INT64_MIN};

  const Interrupt interrupt_;  // Stop was called, or a report is to be sent
  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  Kept served_ ABSL_GUARDED_BY(mutex_);
  Kept load_ ABSL_GUARDED_BY(mutex_);
  absl::Status fault_ ABSL_GUARDED_BY(mutex_);  // of the last try
  absl::Time fault_since_ ABSL_GUARDED_BY(mutex_);
  absl::Time renewed_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::thread thread_;
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_LEASE_KEEPER_H_
