// A seeded world for the simulation: daemons, workers and clients on one database, with faults,
// crashes and lost streams in between, in an order that the seed decides.
#ifndef DT_TESTS_SIMULATION_WORLD_H_
#define DT_TESTS_SIMULATION_WORLD_H_

#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tests/simulation/jobs.h"
#include "tests/simulation/ledger.h"
#include "tests/simulation/paced_worker.h"
#include "tests/support/fake_daemon.h"
#include "tests/support/fault_store.h"

namespace dt::testing {

struct WorldOptions {
  uint64_t seed = 1;
  int daemons = 2;
  int orchestrations = 40;
  int steps = 4000;  // with faults; then the world is repaired and runs to its end
  FaultScript faults;
  double crash = 0.001;    // per step: a daemon dies and another one starts
  double sweep_alive = 0;  // per step: a living daemon is taken for dead
  double stream_loss = 0.005;
  double hint_loss = 0.5;  // per hint and daemon
  bool entities = false;   // what they do is of the bank (bank.h)

  // A fleet: daemons whose workers are of unequal speed and announce far more credits than they run
  // at once, fan-outs, and callers that wait at any daemon.
  bool fleet = false;
  double stall = 0;  // per step: a worker does nothing for some seconds
  // A killed daemon stays away for up to so long.
  absl::Duration down_max = absl::ZeroDuration();
  // A caller is answered so long after the end, if its daemon lives.
  absl::Duration answered_within = absl::Seconds(20);
  // No worker is idle for long while another one of the same hub has seconds of work waiting.
  bool shares = false;
};

class World {
 public:
  explicit World(WorldOptions options);
  // Runs everything and checks the invariants; an empty string, or what is wrong.
  std::string Run();
  // What all daemons did, in order.
  const Transcript& transcript() const { return transcript_; }

 private:
  struct Daemon {
    std::unique_ptr<MemoryStore> store;
    std::unique_ptr<FaultStore> faults;
    std::unique_ptr<FakeDaemon> daemon;  // null while it is down
    std::vector<PacedWorker> workers;
    int life = 0;
    WorkerId registered = 0;
    bool doubtful = false;  // it may have lost its leases without knowing
    absl::Time down_until;
  };
  // A call that waits for the end of an orchestration.
  struct Call {
    size_t daemon = 0;  // that was asked, in this life
    int daemon_life = 0;
    absl::Time since;
    std::optional<absl::Status> answer;
    dispatch::KnownRow known;  // that it was told
  };
  struct Job {
    JobPlan plan;
    absl::StatusOr<CreateResult> started = absl::UnknownError("not started");
    bool asked = false;
    size_t daemon = 0;  // that was asked
    int daemon_life = 0;
    // The last one is under way, or was answered.
    std::deque<Call> calls;
    bool answered = false;
  };

  bool Happens(double probability);
  size_t Pick(size_t count);
  void StartDaemon(size_t index);
  void Kill(size_t index);
  void Step();
  void RunDaemon(size_t index);
  // What goes wrong with a daemon before it runs; false: it is gone.
  bool Suffer(size_t index);
  void OpenStream(size_t index);
  void Heartbeat(size_t index);
  void Deliver();
  void WorkSome(Daemon& daemon);
  // How many jobs clients know of by now.
  size_t JobsSoFar() const;
  void Client();
  void Start(Job& job, size_t index);
  void Wait(Job& job, size_t index);
  // Asks again what was asked of a daemon that is gone, and looks at what was answered.
  void FollowCalls();
  void CheckShares();
  size_t PickLiving();
  void Repair();
  bool Finished();
  std::string Check();
  // `entities`: how many are there.
  std::string CheckEntities(size_t* entities);
  // What the world knows about an instance that did not end as it should.
  std::string Describe(const Job& job);
  std::string CheckHistory(const Job& job);
  static std::string CheckKnown(const Job& job, const InstanceRow& row);

  const WorldOptions options_;
  std::minstd_rand random_;
  FakeClock clock_;
  MemoryDatabase database_;
  HubId hub_ = 0;
  Transcript transcript_;
  Functions functions_;
  Ledger ledger_;
  std::vector<Daemon> daemons_;
  std::vector<Job> jobs_;
  bool faulty_ = true;
  int64_t steps_ = 0;
  absl::Time changed_at_;  // when a daemon or a stream came or went last
};

}  // namespace dt::testing

#endif  // DT_TESTS_SIMULATION_WORLD_H_
