// A lane: one thread, one connection, one queue. Operations that arrive while a call is in flight
// gather and leave together, one call per (verb, hub), so that the cost of a commit is shared.
//
// How a call is formed. The oldest operation decides verb and hub. Then the queue is walked in
// order and every operation of the same verb and hub is taken, until the call is full (count,
// bytes). An operation that is left behind blocks its order key: later operations of the same key
// stay behind as well. So operations of one instance reach the database in the order of submission
// whatever their verbs, none waits longer than those before it, and there is no timer.
//
// Faults. A call is one transaction, so a call that the server refused changed nothing.
//   transient (sqlstate.h kRetry)   the whole call again, at most `retries_max` times, with jitter
//   a lock is kept (kBlocked)       the items one by one, each with little patience; one whose lock
//                                   is kept is set aside and tried again now and then, for as long
//                                   as `blocked_max`, and those behind it with its order key wait.
//                                   SQL users keep locks until their transactions end
//                                   (sql/README.md). Their hub is suspect for a while: its calls
//                                   have little patience, and what waiting for its locks costs is a
//                                   small part of the lane's time (suspect_hubs.h)
//   too long (kTimedOut)            the items one by one; one that is too long alone goes to the
//   lane
//                                   for large operations, if there is one, and otherwise is tried
//                                   once more, later. Then it fails, if the database can write
//   data at fault (kItemByItem)     the call is halved until the bad items stand alone and fail
//                                   alone
//   connection lost                 operations go back to the head of the queue, the lane
//                                   reconnects with back-off; those whose verb is not repeatable
//                                   fail at once, because whether they happened is unknown
//   disk or memory full             like a lost connection, after a longer pause, with an alert
//                                   logged
//   anything else                   fails the operations of the call (kInternal)
// An operation waits for a database that is away, read-only or full no longer than its `patience`,
// then fails with kUnavailable. This may overtake an earlier operation of the same key that has
// more patience. One whose caller is gone (Operation::caller_gone) fails instead of being sent.
//
// Large operations. What writes many rows or bytes goes to another lane (LaneOptions::large) when
// its turn has come, so that others need not wait while it is written; operations with its order
// key stay here until it has ended.
//
// Connections. A lane connects when it has something to send, and closes a connection that it has
// not used for a while (LaneOptions::idle_max), so that daemons with little to do leave the
// server's connections to others. The operation that comes next waits until there is a new one.
//
// Threads. Submit, counters, Stop may be called from any thread. Verb and Operation methods run on
// the lane's thread (and on the thread in Stop() for what is left), never under a lock, in order.
#ifndef DT_STORAGE_POSTGRES_LANE_H_
#define DT_STORAGE_POSTGRES_LANE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "storage/metrics/metrics.h"
#include "storage/postgres/backoff.h"
#include "storage/postgres/blocked_operations.h"
#include "storage/postgres/connection.h"
#include "storage/postgres/operation.h"
#include "storage/postgres/suspect_hubs.h"

namespace dt::postgres {

class Lane;

struct LaneOptions {
  std::string name = "lane";                    // for logs
  metrics::DatabaseMetrics* metrics = nullptr;  // must outlive the lane; null = nothing is counted
  ConnectionOptions connection;
  size_t batch_operations_max = 200;
  size_t batch_bytes_max = 8 << 20;
  size_t queue_operations_max = 20'000;
  size_t queue_bytes_max = 256 << 20;
  int retries_max = 5;
  absl::Duration retry_delay_min = absl::Milliseconds(5);
  absl::Duration retry_delay_max = absl::Milliseconds(500);
  absl::Duration reconnect_delay_min = absl::Milliseconds(50);
  absl::Duration reconnect_delay_max = absl::Seconds(2);
  absl::Duration starting_delay_max = absl::Milliseconds(200);  // while the server says it starts
  absl::Duration slow_retry_delay = absl::Seconds(5);
  // An operation that was in flight on so many lost connections fails, however patient: it may be
  // what ends them.
  int lost_calls_max = 10;
  absl::Duration patience = absl::Seconds(10);
  // The lane for operations with so many rows or bytes, and for those that took too long; null =
  // this one. It must be stopped after this one, and outlive it.
  Lane* large = nullptr;
  size_t large_rows_min = 2000;
  size_t large_bytes_min = 2 << 20;
  // How often an operation may take too long alone, the pause between, and what its callers are
  // told then: kInvalidArgument = it can never be stored.
  int timeouts_max = 2;
  absl::Duration timeout_delay = absl::Seconds(1);
  absl::StatusCode timed_out = absl::StatusCode::kUnavailable;
  // For an operation that a lock was in the way of (kBlocked): how long it waits for the lock,
  // alone in its call; the pauses between the calls; and after how long it fails.
  absl::Duration blocked_lock_timeout = absl::Milliseconds(5);
  absl::Duration blocked_delay_min = absl::Milliseconds(50);
  absl::Duration blocked_delay_max = absl::Seconds(2);
  absl::Duration blocked_max = absl::Seconds(60);
  // For how long a hub is suspect after a kept lock; how long its calls wait for a lock then; and
  // for each second lost to kept locks, how many are for the others.
  absl::Duration suspect_period = absl::Seconds(5);
  absl::Duration suspect_lock_timeout = absl::Milliseconds(20);
  int suspect_rest_factor = 19;
  // A connection that has carried nothing for so long is closed; zero = never. It is longer than
  // the pauses of what comes every few seconds, which would connect each time.
  absl::Duration idle_max = absl::Seconds(30);
};

struct LaneCounters {
  int64_t calls = 0;               // answered by the server without error
  int64_t operations = 0;          // ended with a result
  int64_t failed_operations = 0;   // ended with an error
  int64_t refused_operations = 0;  // never queued
  int64_t retries = 0;             // calls sent again
  int64_t connects = 0;            // connections made
  int64_t round_trips = 0;         // on all of them
  int64_t queued_operations = 0;   // now, in flight included
  int64_t queued_bytes = 0;
  bool connected = false;  // now
};

class Lane {
 public:
  // Starts the thread, which connects when an operation arrives.
  explicit Lane(LaneOptions options);
  ~Lane();  // Stop(zero)
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Queues the operation and returns OK; its end is then told through the verb or Fail. Or refuses
  // it and leaves it with the caller: kResourceExhausted (queue full), kUnavailable (stopped).
  absl::Status Submit(std::unique_ptr<Operation>& operation);

  // Finishes what is queued for at most `drain`, then cancels what is in flight, fails the rest
  // with kUnavailable and ends the thread. Later calls do nothing.
  void Stop(absl::Duration drain);

  LaneCounters counters() const;

  // Why calls fail, where they have done so for a few seconds: the database is away, takes no
  // writes or is full. OK once a call has gone through, and when none was tried for half a minute;
  // unless it is full, also when somebody else has written since, at `written_at` (steady clock).
  absl::Status StandingFault(absl::Time written_at) const;

 private:
  using Queue = std::deque<std::unique_ptr<Operation>>;

  // The lane's thread.
  void Run();
  // Waits for something to do, or until IdleEnd, and moves new operations to waiting_. False when
  // it is time to end.
  bool Gather();
  // When the connection is to be closed if nothing comes; never where there is none.
  absl::Time IdleEnd() const;
  // When the first of those that wait loses its patience, while a fault lasts; else never.
  absl::Time EarliestGiveUp() const;
  // True when a call can be sent, if need be on a connection that is too old; otherwise a fault was
  // noted and not_before_ says when to try again.
  bool EnsureConnected();
  bool MustGoBeside(const Operation& operation) const;
  // Gives an operation to the lane for large ones.
  void HandOver(std::unique_ptr<Operation> operation);
  // Takes an operation that another lane has accepted, beyond the limits of the queue.
  void TakeOver(std::unique_ptr<Operation> operation);
  // An operation that another lane carries has ended. Any thread, no locks.
  void Returned(uint64_t order_key);
  void PushFront(Batch batch);
  // Empty if locks are in the way of all that waits: until blocked_until_.
  Batch TakeBatch();
  // A blocked operation whose time has come, or none.
  Batch TakeBlocked(absl::Time now);
  // The oldest operations that make one call.
  Batch TakeWaiting(absl::Time now);
  absl::Duration LockTimeoutFor(const Operation& first) const;
  void RunBatch(Batch batch);
  // Sends one call until it is settled. False if it could not be and everything left of the batch
  // (this part, then `rest` from its end) went back to waiting_.
  bool RunPart(Batch part, std::vector<Batch>* rest);
  absl::StatusOr<Result> SendOnce(const Batch& part, const Params& params);
  absl::Status SetLockTimeout(absl::Duration timeout);
  // Puts a part back that a lock is in the way of, or fails it when that has lasted too long.
  // Returns as RunPart.
  bool SetAside(Batch part, std::vector<Batch>* rest, const absl::Status& status);
  // What comes of a part that took too long. Returns as RunPart.
  bool OnTimeout(Batch part, std::vector<Batch>* rest, const absl::Status& status);
  // Whether the database can commit a small write now; otherwise nothing is known of larger ones.
  bool CanWrite();
  void LogBlocked(const Operation& operation, const absl::Status& status);
  // Charges its hub for a call that kept locks made necessary, or long.
  void ChargeForLocks(const Operation& first, absl::Duration took, bool failed);
  void CompleteAll(const Result& result, Batch part);
  void PutBack(Batch part, std::vector<Batch>* rest, bool outcome_unknown);
  void FailAll(Batch batch, const absl::Status& status);
  // Those whose patience is over, or whose callers are gone.
  void FailImpatient();
  // Takes those out, and fails them, whose callers are gone.
  void FailAbandoned(Batch* batch);
  // Notes why nothing can be sent now; after `delay`, or by the back-off, it is tried again.
  void NoteFault(const absl::Status& fault, absl::Duration delay = absl::ZeroDuration());
  void Disconnect();
  // What a call came to; `operations`: in it.
  void CountCall(const Verb& verb, size_t operations, absl::Duration took,
                 const absl::Status& status);
  void CountError(const absl::Status& status);
  void CountRetry();
  // Takes ended operations out of the counts of the queue.
  void CountEnd(const Batch& batch, bool failed);
  bool DrainIsOver() const;

  bool HasArrivedOrStopping() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return !arrived_.empty() || !returned_.empty() || stopping_;
  }

  const LaneOptions options_;

  // Of the lane's thread.
  Queue waiting_;
  BlockedOperations blocked_;
  SuspectHubs suspects_;
  bool tried_blocked_ = false;  // the last call was for a blocked operation
  std::unique_ptr<Connection> connection_;
  absl::Time used_at_;                            // when the connection was last in use
  absl::Time not_before_ = absl::InfinitePast();  // no call and no connecting before this
  absl::Status fault_;                            // why, or OK since the last call went through
  absl::Time fault_logged_at_ = absl::InfinitePast();
  absl::Duration lock_timeout_;                      // of the connection now
  absl::Time blocked_until_ = absl::InfinitePast();  // nothing can be sent before this
  absl::Time blocked_logged_at_ = absl::InfinitePast();
  Backoff backoff_;
  absl::BitGen random_;
  // Of the verbs that it has carried, so that each is looked up once.
  absl::flat_hash_map<const Verb*, metrics::Histogram<metrics::CallBounds>*> call_times_;
  metrics::Histogram<metrics::SizeBounds>* batch_sizes_ = nullptr;

  mutable absl::Mutex mutex_;
  Queue arrived_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint64_t> returned_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time drain_until_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  std::unique_ptr<Canceler> canceler_ ABSL_GUARDED_BY(mutex_);
  LaneCounters counters_ ABSL_GUARDED_BY(mutex_);
  absl::Status shown_fault_ ABSL_GUARDED_BY(mutex_);  // a copy of fault_
  absl::Time shown_since_ ABSL_GUARDED_BY(mutex_);    // the first of its kind in a row
  absl::Time shown_last_ ABSL_GUARDED_BY(mutex_);

  absl::Mutex join_mutex_;
  std::thread thread_ ABSL_GUARDED_BY(join_mutex_);
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_LANE_H_
