// A store that passes every verb on: what all stores of tests derive from that change one of them.
#ifndef DT_TESTS_SUPPORT_FORWARDING_STORE_H_
#define DT_TESTS_SUPPORT_FORWARDING_STORE_H_

#include <string>
#include <utility>
#include <vector>

#include "storage/store.h"

namespace dt::testing {

class ForwardingStore : public Store {
 public:
  explicit ForwardingStore(Store* store) : store_(store) {}

  void Start(StoreObserver* observer) override { store_->Start(observer); }
  void Stop() override { store_->Stop(); }
  absl::Time Now() const override { return store_->Now(); }
  absl::Status Writable() const override { return store_->Writable(); }
  void ResolveHub(std::string name, bool create, Callback<HubId> done) override {
    store_->ResolveHub(std::move(name), create, std::move(done));
  }
  void DeleteHub(std::string name, DoneCallback done) override {
    store_->DeleteHub(std::move(name), std::move(done));
  }
  void SampleWork(SampleRequest request, Callback<WorkSample> done) override {
    store_->SampleWork(request, std::move(done));
  }
  void CleanHubs(HubCleanupRequest request, Callback<HubCleanupResult> done) override {
    store_->CleanHubs(request, std::move(done));
  }
  void CreateInstance(NewInstance instance,
                      LetterCallback<NewInstance, CreateResult> done) override {
    store_->CreateInstance(std::move(instance), std::move(done));
  }
  void SendMessage(ClientMessage message, Callback<Delivery> done) override {
    store_->SendMessage(std::move(message), std::move(done));
  }
  void Terminate(ClientTermination termination, Callback<Delivery> done) override {
    store_->Terminate(std::move(termination), std::move(done));
  }
  void ClaimInstances(ClaimRequest request,
                      LetterCallback<ClaimRequest, ClaimResult> done) override {
    store_->ClaimInstances(std::move(request), std::move(done));
  }
  void CommitCheckpoint(Checkpoint checkpoint,
                        LetterCallback<Checkpoint, CheckpointResult> done) override {
    store_->CommitCheckpoint(std::move(checkpoint), std::move(done));
  }
  void DiscardMessages(DiscardRequest request,
                       LetterCallback<DiscardRequest, LeaseOutcome> done) override {
    store_->DiscardMessages(std::move(request), std::move(done));
  }
  void ReleaseInstance(InstanceRelease release,
                       LetterCallback<InstanceRelease, LeaseOutcome> done) override {
    store_->ReleaseInstance(std::move(release), std::move(done));
  }
  void ReadNewMessages(WorkerId worker, Callback<std::vector<InboxRead>> done) override {
    store_->ReadNewMessages(worker, std::move(done));
  }
  void ReadInbox(HubId hub, std::string instance_id, InstanceKey key, LeaseToken token,
                 Callback<InboxRead> done) override {
    store_->ReadInbox(hub, std::move(instance_id), key, token, std::move(done));
  }
  void ClaimTasks(ClaimRequest request,
                  LetterCallback<ClaimRequest, TaskClaimResult> done) override {
    store_->ClaimTasks(std::move(request), std::move(done));
  }
  void CompleteTask(TaskCompletion completion,
                    LetterCallback<TaskCompletion, TaskResult> done) override {
    store_->CompleteTask(std::move(completion), std::move(done));
  }
  void ReleaseTask(TaskRelease release, LetterCallback<TaskRelease, LeaseOutcome> done) override {
    store_->ReleaseTask(std::move(release), std::move(done));
  }
  void TellOthers(WaitHints hints) override { store_->TellOthers(std::move(hints)); }
  void ReportWork(WorkerReport report, bool at_once) override {
    store_->ReportWork(std::move(report), at_once);
  }
  void SweepDeadWorkers(Callback<SweepResult> done) override {
    store_->SweepDeadWorkers(std::move(done));
  }
  void FindUnacceptedWork(UnacceptedSearch search,
                          LetterCallback<UnacceptedSearch, UnacceptedWork> done) override {
    store_->FindUnacceptedWork(std::move(search), std::move(done));
  }
  void PurgeInstances(PurgeRequest request, Callback<PurgeResult> done) override {
    store_->PurgeInstances(std::move(request), std::move(done));
  }
  void ApplyRetention(RetentionRequest request, Callback<RetentionResult> done) override {
    store_->ApplyRetention(std::move(request), std::move(done));
  }
  void ReadRewindSources(HubId hub, std::vector<std::string> instance_ids,
                         Callback<std::vector<RewindSource>> done) override {
    store_->ReadRewindSources(hub, std::move(instance_ids), std::move(done));
  }
  void RewindInstances(RewindRequest request, Callback<RewindOutcome> done) override {
    store_->RewindInstances(std::move(request), std::move(done));
  }
  void TerminateNow(ImmediateTermination request,
                    Callback<std::vector<std::string>> done) override {
    store_->TerminateNow(std::move(request), std::move(done));
  }
  void ReadInstance(HubId hub, std::string instance_id, bool payloads,
                    Callback<std::optional<InstanceRow>> done) override {
    store_->ReadInstance(hub, std::move(instance_id), payloads, std::move(done));
  }
  void ReadStatus(HubId hub, std::string instance_id, Callback<InstanceStatus> done) override {
    store_->ReadStatus(hub, std::move(instance_id), std::move(done));
  }
  void SearchInstances(InstanceSearch search, Callback<InstancePage> done) override {
    store_->SearchInstances(std::move(search), std::move(done));
  }
  void CleanEntities(EntityCleanup request, Callback<EntityCleanupResult> done) override {
    store_->CleanEntities(std::move(request), std::move(done));
  }
  void ReadEntity(HubId hub, std::string instance_id, bool state,
                  Callback<std::optional<EntityInfo>> done) override {
    store_->ReadEntity(hub, std::move(instance_id), state, std::move(done));
  }
  void SearchEntities(EntitySearch search, Callback<EntityPage> done) override {
    store_->SearchEntities(std::move(search), std::move(done));
  }
  void ReadHistory(HubId hub, std::string instance_id, std::optional<std::string> execution_id,
                   int64_t after_turn, int64_t max_bytes, Callback<HistoryPage> done) override {
    store_->ReadHistory(hub, std::move(instance_id), std::move(execution_id), after_turn, max_bytes,
                        std::move(done));
  }

 protected:
  Store& inner() { return *store_; }

 private:
  Store* const store_;
};

}  // namespace dt::testing

#endif  // DT_TESTS_SUPPORT_FORWARDING_STORE_H_
