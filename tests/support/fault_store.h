// A Store with the faults of a database far away: calls that are refused, answers that get lost
// after the commit, answers that come late. By a seeded script, so that a failing run can be
// repeated.
//
// Threads: those of the wrapped store. Answers of one instance keep their order, as store.h
// promises.
#ifndef DT_TESTS_SUPPORT_FAULT_STORE_H_
#define DT_TESTS_SUPPORT_FAULT_STORE_H_

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "storage/store.h"
#include "tests/support/forwarding_store.h"

namespace dt::testing {

// Probabilities of one call, 0 to 1.
struct FaultScript {
  double refuse = 0;  // not applied, UNAVAILABLE
  double lose = 0;    // applied, UNAVAILABLE all the same
  double delay = 0;   // the answer waits for some further calls to the store
};

class FaultStore : public ForwardingStore {
 public:
  // `inner` must outlive this store.
  FaultStore(Store* inner, uint64_t seed, FaultScript script = {})
      : ForwardingStore(inner),
        random_(static_cast<std::minstd_rand::result_type>(seed % 2147483646 + 1)) {
    SetScript(script);
  }

  void SetScript(FaultScript script);

  enum class Verb : int8_t {
    kCreate,
    kCheckpoint,
    kCompleteTask,
    kClaim,
    kRelease,
    kReadNew,
    kRewind,
    kOther
  };
  // The next call of this verb is answered with `status`, applied or not. Goes before the script.
  void FailNext(Verb verb, absl::Status status, bool applied = false);
  // Every call of this verb fails with `status`, not applied, until Mend. Of claims only those for
  // `hub`, if that is not 0. Goes before all else.
  void Break(Verb verb, absl::Status status, HubId hub = 0);
  void Mend(Verb verb);
  // How many calls of this verb Break has failed.
  int broken_calls(Verb verb) const;
  // The last ClaimInstances that was asked for, repeated ones left out.
  ClaimRequest last_turn_claim() const;

  // Hubs are found and deleted without faults.
  void CleanHubs(HubCleanupRequest request, Callback<HubCleanupResult> done) override;
  void CreateInstance(NewInstance instance,
                      LetterCallback<NewInstance, CreateResult> done) override;
  void SendMessage(ClientMessage message, Callback<Delivery> done) override;
  void Terminate(ClientTermination termination, Callback<Delivery> done) override;
  void ClaimInstances(ClaimRequest request,
                      LetterCallback<ClaimRequest, ClaimResult> done) override;
  void CommitCheckpoint(Checkpoint checkpoint,
                        LetterCallback<Checkpoint, CheckpointResult> done) override;
  void DiscardMessages(DiscardRequest request,
                       LetterCallback<DiscardRequest, LeaseOutcome> done) override;
  void ReleaseInstance(InstanceRelease release,
                       LetterCallback<InstanceRelease, LeaseOutcome> done) override;
  void ReadNewMessages(WorkerId worker, Callback<std::vector<InboxRead>> done) override;
  void ReadInbox(HubId hub, std::string instance_id, InstanceKey key, LeaseToken token,
                 Callback<InboxRead> done) override;
  void ClaimTasks(ClaimRequest request,
                  LetterCallback<ClaimRequest, TaskClaimResult> done) override;
  void CompleteTask(TaskCompletion completion,
                    LetterCallback<TaskCompletion, TaskResult> done) override;
  void ReleaseTask(TaskRelease release, LetterCallback<TaskRelease, LeaseOutcome> done) override;
  void TellOthers(WaitHints hints) override { inner().TellOthers(std::move(hints)); }
  void ReportWork(WorkerReport report, bool at_once) override {
    inner().ReportWork(std::move(report), at_once);
  }
  void SweepDeadWorkers(Callback<SweepResult> done) override;
  void FindUnacceptedWork(UnacceptedSearch search,
                          LetterCallback<UnacceptedSearch, UnacceptedWork> done) override;
  void PurgeInstances(PurgeRequest request, Callback<PurgeResult> done) override;
  void ApplyRetention(RetentionRequest request, Callback<RetentionResult> done) override;
  void ReadRewindSources(HubId hub, std::vector<std::string> instance_ids,
                         Callback<std::vector<RewindSource>> done) override;
  void RewindInstances(RewindRequest request, Callback<RewindOutcome> done) override;
  void TerminateNow(ImmediateTermination request, Callback<std::vector<std::string>> done) override;
  void ReadInstance(HubId hub, std::string instance_id, bool payloads,
                    Callback<std::optional<InstanceRow>> done) override;
  void ReadStatus(HubId hub, std::string instance_id, Callback<InstanceStatus> done) override;
  void SearchInstances(InstanceSearch search, Callback<InstancePage> done) override;
  void CleanEntities(EntityCleanup request, Callback<EntityCleanupResult> done) override;
  void ReadEntity(HubId hub, std::string instance_id, bool state,
                  Callback<std::optional<EntityInfo>> done) override;
  void SearchEntities(EntitySearch search, Callback<EntityPage> done) override;
  void ReadHistory(HubId hub, std::string instance_id, std::optional<std::string> execution_id,
                   int64_t after_turn, int64_t max_bytes, Callback<HistoryPage> done) override;

 private:
  struct Fate {
    bool apply = true;
    int delay_calls = 0;
    absl::Status status;  // not OK: what is answered
  };
  struct Planned {
    Verb verb;
    absl::Status status;
    bool applied;
  };
  // An answer in its place in the order of its lane; `run` is set when it has come.
  struct Slot {
    absl::AnyInvocable<void() &&> run;
  };
  static constexpr size_t kLanes = 4;
  static constexpr size_t kOtherLane = kLanes;  // claims, wake reads, upkeep
  using Lane = std::deque<std::shared_ptr<Slot>>;

  struct Broken {
    absl::Status status;  // OK: not broken
    HubId hub = 0;
    int calls = 0;
  };

  Fate Draw(Verb verb, HubId hub);
  // Calls `call` with a callback, or not, by its fate; `done` is run in the order of the lane.
  template <typename T, typename Call>
  void Pass(Verb verb, size_t lane, Call call, Callback<T> done, HubId hub = 0);
  // The same for a verb that gives its request back.
  template <typename Request, typename T>
  void PassLetter(Verb verb, size_t lane, void (Store::*call)(Request, LetterCallback<Request, T>),
                  Request request, LetterCallback<Request, T> done, HubId hub = 0);
  // Runs the answer after so many further round trips to the store.
  void After(int calls, absl::AnyInvocable<void() &&> run);
  void Ready(size_t lane, const std::shared_ptr<Slot>& slot, absl::AnyInvocable<void() &&> run);
  static size_t LaneOf(const std::string& instance_id) {
    return std::hash<std::string>()(instance_id) % kLanes;
  }

  mutable absl::Mutex mutex_;
  std::minstd_rand random_ ABSL_GUARDED_BY(mutex_);
  FaultScript script_ ABSL_GUARDED_BY(mutex_);
  std::vector<Planned> planned_ ABSL_GUARDED_BY(mutex_);
  std::map<Verb, Broken> broken_ ABSL_GUARDED_BY(mutex_);
  ClaimRequest last_turn_claim_ ABSL_GUARDED_BY(mutex_);
  std::array<Lane, kLanes + 1> lanes_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dt::testing

#endif  // DT_TESTS_SUPPORT_FAULT_STORE_H_
