// One world for the conformance suite: a store of either kind, with as many daemons on it as a test
// wants, and the verbs as blocking calls.
#ifndef DT_TESTS_STORAGE_STORE_HARNESS_H_
#define DT_TESTS_STORAGE_STORE_HARNESS_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "storage/postgres/connection.h"
#include "storage/store.h"

namespace dt::testing {

// kPostgresBatches has no short ways for what comes alone: everything is a batch.
enum class StoreKind { kMemory, kPostgres, kPostgresBatches };
// The test case that calls this runs once with each.
StoreKind AnyKind();

// What lies under the stores.
class World {
 public:
  virtual ~World() = default;
  virtual std::unique_ptr<Store> NewStore() = 0;
  // The next sweep finds this worker dead.
  virtual void DeclareDead(WorkerId worker) = 0;
};
// Most tests share a database, and differ by their hubs; what looks at all hubs has one of its own.
enum class Database { kShared, kOwn };
// The variable DTPG_TEST_POOLER puts a PgBouncer of that mode between the stores and PostgreSQL.
std::unique_ptr<World> NewWorld(StoreKind kind, Database database = Database::kShared);
// On PostgreSQL, with these options; the schema "dt" must be there.
std::unique_ptr<World> WorldOn(const postgres::ConnectionOptions& options);

// A daemon: a started store and what it was told.
class Daemon : public StoreObserver {
 public:
  explicit Daemon(World& world);
  ~Daemon() override;

  Store& store() { return *store_; }
  WorkerId worker() const;  // waits for the first registration
  LeaseToken NewToken();
  void Stop();

  void OnRegistered(WorkerId worker) override;
  void OnWake(HubId) override {}
  void OnWaitHints(WaitHints) override {}
  void OnHearing(bool) override {}

  // Starts a verb and waits for its callback. What a letter brings back is dropped.
  template <typename T, typename Start>
  absl::StatusOr<T> Wait(Start start);

  CreateResult Create(NewInstance instance);
  Delivery Send(HubId hub, const std::string& id, NewMessage message);
  Delivery Terminate(HubId hub, Termination termination);
  ClaimResult ClaimWith(ClaimRequest request);  // a token and a group are added if missing
  ClaimResult ClaimAll(HubId hub);
  // One free instance of the hub, which must be there.
  Claim ClaimOne(HubId hub);
  CheckpointResult Commit(Checkpoint checkpoint);
  LeaseOutcome Release(const Claim& claim, absl::Duration delay = absl::ZeroDuration(),
                       bool lost = false);
  TaskClaimResult ClaimTasks(HubId hub, int max);
  TaskResult Complete(HubId hub, const std::string& id, TaskCompletion completion);
  std::vector<InboxRead> ReadNew();
  std::optional<InstanceRow> Read(HubId hub, const std::string& id);
  int64_t Sweep();

 private:
  mutable absl::Mutex mutex_;
  WorkerId worker_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t counter_ = 0;
  std::unique_ptr<Store> store_;
};

// Two daemons in one hub that no other test uses.
class Harness {
 public:
  explicit Harness(StoreKind kind, Database database = Database::kShared);
  explicit Harness(std::unique_ptr<World> world);
  World& world() { return *world_; }
  HubId hub = 0;
  std::string hub_name;
  Daemon& a() { return *a_; }
  Daemon& b();

  NewInstance Instance(const std::string& id) const;
  ClaimRequest Request() const;

 private:
  std::unique_ptr<World> world_;
  std::unique_ptr<Daemon> a_;
  std::unique_ptr<Daemon> b_;
};

SharedBytes Bytes(std::string text);
NewMessage Event(std::string text, int16_t type = 17);
std::string TextOf(const Message& message);
std::vector<std::string> TextsOf(const std::vector<Message>& messages);
// The next checkpoint of a claimed instance, which consumes all its messages.
Checkpoint TurnOf(const Claim& claim);
// The claim as it is after that checkpoint: the next turn of the same lease.
Claim After(const Checkpoint& checkpoint, Claim claim);
// A new instance of this id claimed by `a`, after so many first turns.
Claim Started(Harness& h, const std::string& id, int turns = 0);
// The instance as somebody finds it who claims it after its holder `a` has let go.
Claim ReleasedAndClaimed(Harness& h, const Claim& claim);

// A Callback or a LetterCallback that keeps the answer for whoever waits.
template <typename T>
class AnswerKeeper {
 public:
  void operator()(absl::StatusOr<T> answer) {
    absl::MutexLock lock(&kept_->mutex);
    kept_->answer = std::move(answer);
  }
  template <typename Request>
  void operator()(const Request&, absl::StatusOr<T> answer) {
    (*this)(std::move(answer));
  }
  absl::StatusOr<T> Wait() {
    absl::MutexLock lock(&kept_->mutex);
    kept_->mutex.Await(absl::Condition(kept_.get(), &Kept::has_answer));
    return std::move(*kept_->answer);
  }

 private:
  struct Kept {
    absl::Mutex mutex;
    std::optional<absl::StatusOr<T>> answer ABSL_GUARDED_BY(mutex);
    bool has_answer() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return answer.has_value(); }
  };
  std::shared_ptr<Kept> kept_ = std::make_shared<Kept>();
};

template <typename T, typename Start>
absl::StatusOr<T> Daemon::Wait(Start start) {
  AnswerKeeper<T> keeper;
  start(keeper);
  return keeper.Wait();
}

}  // namespace dt::testing

#endif  // DT_TESTS_STORAGE_STORE_HARNESS_H_
