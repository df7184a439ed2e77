// A daemon without threads, gRPC and PostgreSQL: the dispatcher on a store in memory, moved by
// hand. Several on one database are several daemons.
#ifndef DT_TESTS_SUPPORT_FAKE_DAEMON_H_
#define DT_TESTS_SUPPORT_FAKE_DAEMON_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/dispatch/dispatcher.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_worker.h"
#include "tests/support/memory_store.h"
#include "tests/support/transcript.h"

namespace dt::testing {

// One open stream and what its worker does with it.
struct FakeStream {
  dispatch::StreamId id = 0;
  HubId hub = 0;
  std::shared_ptr<FakeSink> sink;
};

// Ids that look like random ones, and are the same in each run.
class CountedIds : public orchestration::IdSource {
 public:
  explicit CountedIds(uint64_t seed) : seed_(seed) {}
  std::string NewExecutionId() override;

 private:
  const uint64_t seed_;
  uint64_t last_ = 0;
};

class FakeDaemon : public StoreObserver {
 public:
  // `store` is this daemon's; it is started by the constructor. Without Stop this ends like a
  // crash.
  FakeDaemon(Store* store, MemoryStore* steps, dispatch::DispatchLimits limits = {},
             uint64_t seed = 1);

  // Handles what has been posted and what is due, once. False if there was nothing to do.
  bool Turn();
  // Lets time pass that the store's clock does not show: it stands still.
  void PassSteadily(absl::Duration time) { steady_ahead_ += time; }
  // Lets dispatcher and store work until both wait for somebody else or for time. Aborts when that
  // does not end: then something spins.
  void Settle();

  FakeStream Open(HubId hub, dispatch::StreamOptions options = {});
  void Close(const FakeStream& stream);

  // --- Calls; their answers come into the given place.
  void Start(HubId hub, const std::string& instance_id, const std::string& name,
             const std::string& input, absl::StatusOr<CreateResult>* answer = nullptr,
             const std::string& version = "");
  void Raise(HubId hub, const std::string& instance_id, const std::string& name,
             const std::string& input);
  // Of an entity; not before `at`.
  void Signal(HubId hub, const std::string& entity, const std::string& operation,
              const std::string& input, std::optional<absl::Time> at = std::nullopt);
  void Suspend(HubId hub, const std::string& instance_id);
  void Resume(HubId hub, const std::string& instance_id);
  void Terminate(HubId hub, const std::string& instance_id, const std::string& reason,
                 bool recurse = true);
  // `row`: gets what an OK brings along.
  dispatch::WaitId Wait(HubId hub, const std::string& instance_id,
                        dispatch::DispatchThread::WaitFor wait_for,
                        std::optional<absl::Status>* answer, dispatch::KnownRow* row = nullptr,
                        std::optional<dispatch::WaitSoFar> so_far = std::nullopt);
  void Answer(HubId hub, OrchestratorResponse response,
              std::optional<absl::Status>* answer = nullptr);
  void Answer(HubId hub, ActivityResponse response, std::optional<absl::Status>* answer = nullptr);
  void Answer(HubId hub, EntityBatchResult result, std::optional<absl::Status>* answer = nullptr);
  void Abandon(HubId hub, const WorkItem& item);
  void Post(dispatch::Event event) { events_.push_back(std::move(event)); }

  // Takes one item of the stream and answers it; false if there is none.
  bool Work(const FakeStream& stream, const Functions& functions);
  // Settles and works until nothing more happens.
  void RunWorkers(const std::vector<FakeStream>& streams, const Functions& functions);

  dispatch::Dispatcher& dispatcher() { return dispatcher_; }
  metrics::Metrics& metrics() { return metrics_; }
  // From now on it writes down what it does, under this name; `transcript` must outlive it.
  void WriteDown(Transcript* transcript, std::string name) {
    transcript_ = transcript;
    name_ = std::move(name);
  }
  // Answers that were given, of all calls.
  int answers() const { return answers_; }

  void OnRegistered(WorkerId worker) override { Post(dispatch::Registered{worker}); }
  void OnWake(HubId hub) override { Post(dispatch::Woken{hub}); }
  void OnWaitHints(WaitHints hints) override { Post(dispatch::WaitsHinted{std::move(hints)}); }
  void OnHearing(bool hears) override { Post(dispatch::HearingChanged{hears}); }

 private:
  DoneCallback Keep(std::optional<absl::Status>* answer);
  void Send(ClientMessage message);

  Store* const store_;
  MemoryStore* const steps_;
  CountedIds ids_;
  metrics::Metrics metrics_;
  dispatch::Dispatcher dispatcher_;
  std::vector<dispatch::Event> events_;
  std::vector<dispatch::Effect> effects_;
  uint64_t last_id_ = 0;
  absl::Duration steady_ahead_ = absl::ZeroDuration();  // of the store's clock
  int answers_ = 0;
  Transcript* transcript_ = nullptr;
  std::string name_;
};

}  // namespace dt::testing

#endif  // DT_TESTS_SUPPORT_FAKE_DAEMON_H_
