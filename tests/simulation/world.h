// A seeded world for the simulation: daemons, workers and clients on one database, with faults,
// crashes and lost streams in between, in an order that the seed decides.
#ifndef DT_TESTS_SIMULATION_WORLD_H_
#define DT_TESTS_SIMULATION_WORLD_H_

#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

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
  bool entities = false;  // what they do is of the bank (bank.h)
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
    std::unique_ptr<FakeDaemon> daemon;
    std::vector<FakeStream> streams;
  };
  // One orchestration, what a client does with it, and what must come out.
  struct Job {
    std::string instance_id;
    std::string name;
    std::string input;
    std::string output;
    RuntimeStatus status = RuntimeStatus::kCompleted;
    absl::StatusOr<CreateResult> started = absl::UnknownError("not started");
    bool asked = false;
    size_t daemon = 0;  // that was asked
    int daemon_life = 0;
    bool wants_event = false;
    bool wants_termination = false;
    bool wants_pause = false;
    std::optional<absl::Status> waited;
    dispatch::KnownRow known;  // that the wait for the end was told
  };

  bool Happens(double probability);
  size_t Pick(size_t count);
  void AddJobs();
  void AddBankJobs();
  void StartDaemon(size_t index);
  void Crash(size_t index);
  void Step();
  void Deliver();
  void WorkSome(Daemon& daemon);
  void Client();
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
  std::vector<Daemon> daemons_;
  std::vector<int> lives_;
  std::vector<Job> jobs_;
  bool faulty_ = true;
};

}  // namespace dt::testing

#endif  // DT_TESTS_SIMULATION_WORLD_H_
