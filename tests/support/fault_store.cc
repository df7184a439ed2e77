#include "tests/support/fault_store.h"

#include <algorithm>
#include <utility>

namespace dt::testing {
namespace {

constexpr int kDelayCallsMax = 20;

}  // namespace

void FaultStore::SetScript(FaultScript script) {
  absl::MutexLock lock(&mutex_);
  script_ = script;
}

void FaultStore::FailNext(Verb verb, absl::Status status, bool applied) {
  absl::MutexLock lock(&mutex_);
  planned_.push_back({verb, std::move(status), applied});
}

void FaultStore::Break(Verb verb, absl::Status status, HubId hub) {
  absl::MutexLock lock(&mutex_);
  broken_[verb] = {std::move(status), hub, 0};
}

void FaultStore::Mend(Verb verb) {
  absl::MutexLock lock(&mutex_);
  broken_[verb].status = absl::OkStatus();
}

int FaultStore::broken_calls(Verb verb) const {
  absl::MutexLock lock(&mutex_);
  const auto broken = broken_.find(verb);
  return broken == broken_.end() ? 0 : broken->second.calls;
}

ClaimRequest FaultStore::last_turn_claim() const {
  absl::MutexLock lock(&mutex_);
  return last_turn_claim_;
}

FaultStore::Fate FaultStore::Draw(Verb verb, HubId hub) {
  absl::MutexLock lock(&mutex_);
  Fate fate;
  auto broken = broken_.find(verb);
  if (broken != broken_.end() && !broken->second.status.ok() &&
      (broken->second.hub == 0 || broken->second.hub == hub)) {
    ++broken->second.calls;
    fate.apply = false;
    fate.status = broken->second.status;
    return fate;
  }
  auto planned = std::find_if(planned_.begin(), planned_.end(),
                              [verb](const Planned& entry) { return entry.verb == verb; });
  if (planned != planned_.end()) {
    fate.apply = planned->applied;
    fate.status = std::move(planned->status);
    planned_.erase(planned);
    return fate;
  }
  auto happens = [this](double probability) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return std::uniform_real_distribution<double>(0, 1)(random_) < probability;
  };
  if (happens(script_.refuse)) {
    fate.apply = false;
    fate.status = absl::UnavailableError("refused by the test");
  } else if (happens(script_.lose)) {
    fate.status = absl::UnavailableError("the answer was lost by the test");
  }
  if (happens(script_.delay)) {
    fate.delay_calls = std::uniform_int_distribution<int>(1, kDelayCallsMax)(random_);
  }
  return fate;
}

void FaultStore::After(int calls, absl::AnyInvocable<void() &&> run) {
  if (calls == 0) {
    std::move(run)();
    return;
  }
  inner().ReadStatus(
      0, "", [this, calls, run = std::move(run)](const absl::StatusOr<InstanceStatus>&) mutable {
        After(calls - 1, std::move(run));
      });
}

void FaultStore::Ready(size_t lane, const std::shared_ptr<Slot>& slot,
                       absl::AnyInvocable<void() &&> run) {
  std::vector<std::shared_ptr<Slot>> ready;
  {
    absl::MutexLock lock(&mutex_);
    slot->run = std::move(run);
    Lane& slots = lanes_[lane];
    while (!slots.empty() && slots.front()->run != nullptr) {
      ready.push_back(std::move(slots.front()));
      slots.pop_front();
    }
  }
  for (const std::shared_ptr<Slot>& front : ready) std::move(front->run)();
}

template <typename T, typename Call>
void FaultStore::Pass(Verb verb, size_t lane, Call call, Callback<T> done, HubId hub) {
  Fate fate = Draw(verb, hub);
  auto slot = std::make_shared<Slot>();
  {
    absl::MutexLock lock(&mutex_);
    lanes_[lane].push_back(slot);
  }
  const bool apply = fate.apply;
  Callback<T> answer = [this, lane, slot, fate = std::move(fate),
                        done = std::move(done)](absl::StatusOr<T> result) mutable {
    if (!fate.status.ok()) result = fate.status;
    After(fate.delay_calls,
          [this, lane, slot, done = std::move(done), result = std::move(result)]() mutable {
            Ready(lane, slot, [done = std::move(done), result = std::move(result)]() mutable {
              std::move(done)(std::move(result));
            });
          });
  };
  if (apply) {
    call(std::move(answer));
    return;
  }
  // A harmless call brings the answer onto the store's thread.
  inner().ReadStatus(0, "",
                     [answer = std::move(answer)](const absl::StatusOr<InstanceStatus>&) mutable {
                       std::move(answer)(absl::StatusOr<T>(absl::UnknownError("not applied")));
                     });
}

template <typename Request, typename T>
void FaultStore::PassLetter(Verb verb, size_t lane,
                            void (Store::*call)(Request, LetterCallback<Request, T>),
                            Request request, LetterCallback<Request, T> done, HubId hub) {
  // Here unless it is on its way.
  auto kept = std::make_shared<Request>(std::move(request));
  Pass<T>(
      verb, lane,
      [&](Callback<T> answer) {
        (inner().*call)(std::move(*kept), [kept, answer = std::move(answer)](
                                              Request back, absl::StatusOr<T> result) mutable {
          *kept = std::move(back);
          std::move(answer)(std::move(result));
        });
      },
      [kept, done = std::move(done)](absl::StatusOr<T> result) mutable {
        std::move(done)(std::move(*kept), std::move(result));
      },
      hub);
}

void FaultStore::CleanHubs(HubCleanupRequest request, Callback<HubCleanupResult> done) {
  Pass<HubCleanupResult>(
      Verb::kOther, kOtherLane,
      [&](Callback<HubCleanupResult> answer) { inner().CleanHubs(request, std::move(answer)); },
      std::move(done));
}

void FaultStore::CreateInstance(NewInstance instance,
                                LetterCallback<NewInstance, CreateResult> done) {
  const size_t lane = LaneOf(instance.instance_id);
  PassLetter(Verb::kCreate, lane, &Store::CreateInstance, std::move(instance), std::move(done));
}

void FaultStore::SendMessage(ClientMessage message, Callback<Delivery> done) {
  const size_t lane = LaneOf(message.instance_id);
  Pass<Delivery>(
      Verb::kOther, lane,
      [&](Callback<Delivery> answer) {
        inner().SendMessage(std::move(message), std::move(answer));
      },
      std::move(done));
}

void FaultStore::Terminate(ClientTermination termination, Callback<Delivery> done) {
  const size_t lane = LaneOf(termination.termination.instance_id);
  Pass<Delivery>(
      Verb::kOther, lane,
      [&](Callback<Delivery> answer) {
        inner().Terminate(std::move(termination), std::move(answer));
      },
      std::move(done));
}

void FaultStore::ClaimInstances(ClaimRequest request,
                                LetterCallback<ClaimRequest, ClaimResult> done) {
  const HubId hub = request.hub;
  if (!request.repeat) {
    absl::MutexLock lock(&mutex_);
    last_turn_claim_ = request;
  }
  PassLetter(Verb::kClaim, kOtherLane, &Store::ClaimInstances, std::move(request), std::move(done),
             hub);
}

void FaultStore::CommitCheckpoint(Checkpoint checkpoint,
                                  LetterCallback<Checkpoint, CheckpointResult> done) {
  const size_t lane = LaneOf(checkpoint.instance_id);
  PassLetter(Verb::kCheckpoint, lane, &Store::CommitCheckpoint, std::move(checkpoint),
             std::move(done));
}

void FaultStore::DiscardMessages(DiscardRequest request,
                                 LetterCallback<DiscardRequest, LeaseOutcome> done) {
  const size_t lane = LaneOf(request.instance_id);
  PassLetter(Verb::kOther, lane, &Store::DiscardMessages, std::move(request), std::move(done));
}

void FaultStore::ReleaseInstance(InstanceRelease release,
                                 LetterCallback<InstanceRelease, LeaseOutcome> done) {
  const size_t lane = LaneOf(release.instance_id);
  PassLetter(Verb::kRelease, lane, &Store::ReleaseInstance, std::move(release), std::move(done));
}

void FaultStore::ReadNewMessages(WorkerId worker, Callback<std::vector<InboxRead>> done) {
  Pass<std::vector<InboxRead>>(
      Verb::kReadNew, kOtherLane,
      [&](Callback<std::vector<InboxRead>> answer) {
        inner().ReadNewMessages(worker, std::move(answer));
      },
      std::move(done));
}

void FaultStore::ReadInbox(HubId hub, std::string instance_id, InstanceKey key, LeaseToken token,
                           Callback<InboxRead> done) {
  const size_t lane = LaneOf(instance_id);
  Pass<InboxRead>(
      Verb::kOther, lane,
      [&](Callback<InboxRead> answer) {
        inner().ReadInbox(hub, std::move(instance_id), key, token, std::move(answer));
      },
      std::move(done));
}

void FaultStore::ClaimTasks(ClaimRequest request,
                            LetterCallback<ClaimRequest, TaskClaimResult> done) {
  const HubId hub = request.hub;
  PassLetter(Verb::kClaim, kOtherLane, &Store::ClaimTasks, std::move(request), std::move(done),
             hub);
}

void FaultStore::CompleteTask(TaskCompletion completion,
                              LetterCallback<TaskCompletion, TaskResult> done) {
  const size_t lane = LaneOf(completion.instance_id);
  PassLetter(Verb::kCompleteTask, lane, &Store::CompleteTask, std::move(completion),
             std::move(done));
}

void FaultStore::ReleaseTask(TaskRelease release, LetterCallback<TaskRelease, LeaseOutcome> done) {
  const size_t lane = LaneOf(release.instance_id);
  PassLetter(Verb::kRelease, lane, &Store::ReleaseTask, std::move(release), std::move(done));
}

void FaultStore::SweepDeadWorkers(Callback<SweepResult> done) {
  Pass<SweepResult>(
      Verb::kOther, kOtherLane,
      [&](Callback<SweepResult> answer) { inner().SweepDeadWorkers(std::move(answer)); },
      std::move(done));
}

void FaultStore::FindUnacceptedWork(UnacceptedSearch search,
                                    LetterCallback<UnacceptedSearch, UnacceptedWork> done) {
  PassLetter(Verb::kOther, kOtherLane, &Store::FindUnacceptedWork, std::move(search),
             std::move(done));
}

void FaultStore::PurgeInstances(PurgeRequest request, Callback<PurgeResult> done) {
  Pass<PurgeResult>(
      Verb::kOther, kOtherLane,
      [&](Callback<PurgeResult> answer) {
        inner().PurgeInstances(std::move(request), std::move(answer));
      },
      std::move(done));
}

void FaultStore::ApplyRetention(RetentionRequest request, Callback<RetentionResult> done) {
  Pass<RetentionResult>(
      Verb::kOther, kOtherLane,
      [&](Callback<RetentionResult> answer) {
        inner().ApplyRetention(std::move(request), std::move(answer));
      },
      std::move(done));
}

void FaultStore::ReadRewindSources(HubId hub, std::vector<std::string> instance_ids,
                                   Callback<std::vector<RewindSource>> done) {
  Pass<std::vector<RewindSource>>(
      Verb::kOther, kOtherLane,
      [&](Callback<std::vector<RewindSource>> answer) {
        inner().ReadRewindSources(hub, std::move(instance_ids), std::move(answer));
      },
      std::move(done));
}

void FaultStore::RewindInstances(RewindRequest request, Callback<RewindOutcome> done) {
  Pass<RewindOutcome>(
      Verb::kRewind, kOtherLane,
      [&](Callback<RewindOutcome> answer) {
        inner().RewindInstances(std::move(request), std::move(answer));
      },
      std::move(done));
}

void FaultStore::TerminateNow(ImmediateTermination request,
                              Callback<std::vector<std::string>> done) {
  Pass<std::vector<std::string>>(
      Verb::kOther, kOtherLane,
      [&](Callback<std::vector<std::string>> answer) {
        inner().TerminateNow(std::move(request), std::move(answer));
      },
      std::move(done));
}

void FaultStore::ReadInstance(HubId hub, std::string instance_id, bool payloads,
                              Callback<std::optional<InstanceRow>> done) {
  inner().ReadInstance(hub, std::move(instance_id), payloads, std::move(done));
}

void FaultStore::ReadStatus(HubId hub, std::string instance_id, Callback<InstanceStatus> done) {
  Pass<InstanceStatus>(
      Verb::kOther, kOtherLane,
      [&](Callback<InstanceStatus> answer) {
        inner().ReadStatus(hub, std::move(instance_id), std::move(answer));
      },
      std::move(done));
}

void FaultStore::SearchInstances(InstanceSearch search, Callback<InstancePage> done) {
  inner().SearchInstances(std::move(search), std::move(done));
}

void FaultStore::CleanEntities(EntityCleanup request, Callback<EntityCleanupResult> done) {
  Pass<EntityCleanupResult>(
      Verb::kOther, kOtherLane,
      [&](Callback<EntityCleanupResult> answer) {
        inner().CleanEntities(std::move(request), std::move(answer));
      },
      std::move(done));
}

void FaultStore::ReadEntity(HubId hub, std::string instance_id, bool state,
                            Callback<std::optional<EntityInfo>> done) {
  inner().ReadEntity(hub, std::move(instance_id), state, std::move(done));
}

void FaultStore::SearchEntities(EntitySearch search, Callback<EntityPage> done) {
  inner().SearchEntities(std::move(search), std::move(done));
}

void FaultStore::ReadHistory(HubId hub, std::string instance_id,
                             std::optional<std::string> execution_id, int64_t after_turn,
                             int64_t max_bytes, Callback<HistoryPage> done) {
  inner().ReadHistory(hub, std::move(instance_id), std::move(execution_id), after_turn, max_bytes,
                      std::move(done));
}

}  // namespace dt::testing
