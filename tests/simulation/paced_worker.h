// A worker on a stream, with a speed of its own: it takes what it is sent, as SDKs do, and runs a
// few items at a time.
#ifndef DT_TESTS_SIMULATION_PACED_WORKER_H_
#define DT_TESTS_SIMULATION_PACED_WORKER_H_

#include <deque>
#include <vector>

#include "tests/simulation/ledger.h"
#include "tests/support/fake_daemon.h"

namespace dt::testing {

// How fast a worker is.
struct Pace {
  int at_once = 1;  // items of each kind, or of all kinds
  bool one_for_all = true;
  absl::Duration activity = absl::ZeroDuration();  // how long one takes
  absl::Duration turn = absl::ZeroDuration();
};

class PacedWorker {
 public:
  // Opens a stream of `daemon`, which is number `number`; both must outlive this.
  PacedWorker(FakeDaemon* daemon, MemoryStore* store, size_t number, HubId hub,
              const dispatch::StreamOptions& options, Pace pace, Ledger* ledger);

  // Takes what was sent. `doubtful`: the daemon may have lost its leases.
  void Receive(absl::Time now, bool doubtful);
  // Ends what has run for long enough, and begins with more.
  void Run(const Functions& functions, absl::Time now);
  // Gives one back that it has not begun with.
  void AbandonOne();
  void Close();
  // It does nothing before this.
  void StallUntil(absl::Time time) { stalled_until_ = time; }

  absl::Time stalled_until() const { return stalled_until_; }
  // Since when it has nothing to do; InfiniteFuture: it has.
  absl::Time idle_since() const { return idle_since_; }
  // How long it will take to begin with the activities that wait here, of those that came after
  // `since`.
  absl::Duration Backlog(absl::Time since) const;
  size_t waiting() const { return waiting_.size(); }

 private:
  struct Held {
    WorkItem item;
    Ledger::Entry* entry = nullptr;
    absl::Time at;  // when it came, or when it ends
  };
  bool HasSlot(const Held& held) const;
  void Answer(const Functions& functions, const Held& held);
  void CheckCredits(dispatch::WorkType type);

  FakeDaemon* daemon_;
  MemoryStore* store_;
  Ledger* ledger_;
  Pace pace_;
  int credits_[dispatch::kWorkTypes] = {};
  FakeStream stream_;
  Ledger::Place place_;
  std::deque<Held> waiting_;
  std::vector<Held> running_;
  absl::Time stalled_until_ = absl::InfinitePast();
  absl::Time idle_since_ = absl::InfiniteFuture();
};

}  // namespace dt::testing

#endif  // DT_TESTS_SIMULATION_PACED_WORKER_H_
