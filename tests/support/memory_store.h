// One daemon's Store on a MemoryDatabase.
//
// Threads. In kThread mode verbs are applied and called back by a thread of the store, in the order
// of the calls and in batches, as lanes do: all that waits is applied, then all is answered. The
// lease is renewed by it. In kStepped mode nothing happens before the test
// calls Step: a verb is applied by one step and called back by a later one, so that a test or a
// simulation decides what lies between. Steps must come from one thread.
#ifndef DT_TESTS_SUPPORT_MEMORY_STORE_H_
#define DT_TESTS_SUPPORT_MEMORY_STORE_H_

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_set.h"
#include "absl/synchronization/mutex.h"
#include "storage/store.h"
#include "tests/support/memory_database.h"

namespace dt::testing {

class MemoryStore : public Store {
 public:
  enum class Mode : int8_t { kThread, kStepped };

  // `database` must outlive the store. `lease` as in the configuration of the daemon.
  MemoryStore(MemoryDatabase* database, Mode mode, absl::Duration lease = absl::Seconds(30));
  // Without Stop() this is a crash: what was not applied is lost, the registration stays until
  // swept.
  ~MemoryStore() override;

  // --- kStepped
  // Applies the next verb, or calls the next callback back; false when there is neither. With
  // `prefer_apply` a waiting verb goes before a waiting callback, else after it.
  bool Step(bool prefer_apply = false);
  // Steps until nothing is left, callbacks as soon as possible. Returns the number of steps.
  int RunAll();
  // What the lease keeper does at a third of the lease: renews, or registers again after a sweep.
  void Heartbeat();
  // Tells the observer of these hubs, as NOTIFY would.
  void Notify(const std::vector<HubId>& hubs);
  // Tells it the hints that others have sent.
  void Hear(const std::vector<SentHints>& hints);
  // 0 before Start.
  WorkerId worker() const;

  void Start(StoreObserver* observer) override;
  void Stop() override;
  absl::Time Now() const override;
  void ResolveHub(std::string name, bool create, Callback<HubId> done) override;
  void DeleteHub(std::string name, DoneCallback done) override;
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
  void TellOthers(WaitHints hints) override;
  void ReportWork(WorkerReport report, bool at_once) override;
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
  using Reply = absl::AnyInvocable<void() &&>;
  // Applies a verb and returns its callback with the result bound; with `stopped`, does not apply
  // it and binds UNAVAILABLE.
  using Verb = absl::AnyInvocable<Reply(bool stopped) &&>;

  // `apply` is called with the worker of the time and returns T or StatusOr<T>.
  template <typename T, typename Apply>
  void Enqueue(Apply apply, Callback<T> done);
  // The same with the request, which comes back as it was.
  template <typename Request, typename T, typename Apply>
  void EnqueueLetter(Request request, Apply apply, LetterCallback<Request, T> done);
  void EnqueueVerb(Verb verb);
  void Run();
  void Renew();

  MemoryDatabase* const database_;
  const Mode mode_;
  const absl::Duration lease_;
  mutable absl::Mutex mutex_;
  StoreObserver* observer_ ABSL_GUARDED_BY(mutex_) = nullptr;
  WorkerId worker_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<Verb> verbs_ ABSL_GUARDED_BY(mutex_);
  std::deque<Reply> replies_;  // kStepped; touched by the stepping thread only
  std::thread thread_;
};

}  // namespace dt::testing

#endif  // DT_TESTS_SUPPORT_MEMORY_STORE_H_
