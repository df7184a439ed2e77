// Hints between daemons, by LISTEN and NOTIFY: "there is work in this hub", and what callers wait
// for and what has changed of it. Never needed for correctness: who polls finds everything, a hint
// only makes the next poll come sooner. So a hint that cannot be sent is dropped, and what is
// missed while the connection is away is not made up for; but all are told that it was, and tell
// again what is awaited.
//
// NOTIFY holds a lock of the whole cluster during its commit. Therefore it is never part of a write
// transaction: hints gather for a short time, at most one of work per hub, and leave together, no
// oftener than hint_pace.h says, in a transaction of their own that does not wait for the log.
//
// Threads. One own thread with one connection. Every method may be called from any thread.
#ifndef DT_STORAGE_POSTGRES_LISTENER_H_
#define DT_STORAGE_POSTGRES_LISTENER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/random/random.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/metrics/metrics.h"
#include "storage/postgres/backoff.h"
#include "storage/postgres/connection.h"
#include "storage/postgres/hint_pace.h"
#include "storage/postgres/interrupt.h"
#include "storage/records.h"
#include "storage/store.h"

namespace dt::postgres {

struct ListenerOptions {
  // To be a direct connection where `listen` is on: transaction poolers lose LISTEN.
  ConnectionOptions connection;
  std::string schema = "dt";                    // hints reach the daemons of the same schema only
  bool listen = true;                           // off: sends only, and connects only for that
  metrics::DatabaseMetrics* metrics = nullptr;  // must outlive the listener; null = not counted
  absl::Duration gather = absl::Milliseconds(1);
  absl::Duration reconnect_delay_min = absl::Milliseconds(100);
  absl::Duration reconnect_delay_max = absl::Seconds(10);
  // Without `listen`, a connection that has sent nothing for so long is closed.
  absl::Duration idle_max = absl::Seconds(30);
};

struct ListenerCounters {
  int64_t sent = 0;      // hints that left
  int64_t received = 0;  // hints of work of others, told by the callback
  int64_t connects = 0;
};

// Run on the listener's thread, without a lock; must not block.
struct ListenerCallbacks {
  // There is work in the hub, as another daemon says.
  std::function<void(HubId)> on_wake = [](HubId) {};
  std::function<void(WaitHints)> on_waits = [](WaitHints) {};
  // Hints of others arrive from now on, or do so no more.
  std::function<void(bool)> on_hearing = [](bool) {};
};

class Listener {
 public:
  Listener(ListenerOptions options, ListenerCallbacks callbacks);
  ~Listener();  // Stop()
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Under this id hints are sent, and those that carry it are ignored. Until it is known none is
  // sent.
  void SetWorker(WorkerId worker);
  // How many daemons share the schema, this one too.
  void SetDaemons(int daemons);
  // Sends a hint soon: that there is work in the hub, or about waits.
  void Notify(HubId hub);
  void Notify(WaitHints hints);
  // Sends the hints that still wait, if it can at once, and ends the thread.
  void Stop();

  ListenerCounters counters() const;

 private:
  void Run();
  bool Connect();
  // Until something is to be done; false when the connection broke.
  bool Wait();
  void Tell(const std::vector<Notification>& notifications);
  bool SendDueHints();
  bool Send(const std::vector<std::string>& payloads);
  std::vector<std::string> TakePayloads() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A hint has been added.
  void SetTime() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Disconnect();
  // When a connection that only sends is to be closed if nothing comes; never for others.
  absl::Time IdleEnd() const;
  bool Stopping() const;
  absl::Duration UntilNextHints() const;

  const ListenerOptions options_;
  const ListenerCallbacks callbacks_;
  const std::string channel_;
  const Interrupt interrupt_;  // the thread shall look at its orders

  // Of the own thread.
  std::unique_ptr<Connection> connection_;
  absl::Time not_before_ = absl::InfinitePast();
  absl::Time used_at_;   // when the connection last sent something, or was made
  bool warned_ = false;  // that nothing arrives
  Backoff backoff_;
  absl::BitGen random_;

  mutable absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  WorkerId worker_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_set<HubId> hints_ ABSL_GUARDED_BY(mutex_);
  absl::btree_map<std::pair<HubId, WaitHintKind>, absl::flat_hash_set<uint64_t>> waits_
      ABSL_GUARDED_BY(mutex_);
  HintPace pace_ ABSL_GUARDED_BY(mutex_);
  absl::Time send_at_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  ListenerCounters counters_ ABSL_GUARDED_BY(mutex_);

  absl::Mutex join_mutex_;
  std::thread thread_ ABSL_GUARDED_BY(join_mutex_);
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_LISTENER_H_
