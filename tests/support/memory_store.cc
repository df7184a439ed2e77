#include "tests/support/memory_store.h"

#include <type_traits>
#include <utility>
#include <vector>

namespace dt::testing {

MemoryStore::MemoryStore(MemoryDatabase* database, Mode mode, absl::Duration lease)
    : database_(database), mode_(mode), lease_(lease) {}

MemoryStore::~MemoryStore() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    verbs_.clear();
  }
  if (thread_.joinable()) thread_.join();
}

void MemoryStore::EnqueueVerb(Verb verb) {
  bool stopped = false;
  {
    absl::MutexLock lock(&mutex_);
    stopped = stopping_;
    if (!stopped) verbs_.push_back(std::move(verb));
  }
  if (stopped) std::move(std::move(verb)(true))();
}

template <typename T, typename Apply>
void MemoryStore::Enqueue(Apply apply, Callback<T> done) {
  EnqueueLetter<bool, T>(
      true, [apply = std::move(apply)](WorkerId worker, bool) mutable { return apply(worker); },
      [done = std::move(done)](bool, absl::StatusOr<T> result) mutable {
        std::move(done)(std::move(result));
      });
}

template <typename Request, typename T, typename Apply>
void MemoryStore::EnqueueLetter(Request request, Apply apply, LetterCallback<Request, T> done) {
  EnqueueVerb([this, request = std::move(request), apply = std::move(apply),
               done = std::move(done)](bool stopped) mutable {
    absl::StatusOr<T> result =
        stopped ? absl::StatusOr<T>(absl::UnavailableError("the store has stopped"))
                : absl::StatusOr<T>(apply(worker(), std::as_const(request)));
    return Reply([request = std::move(request), result = std::move(result),
                  done = std::move(done)]() mutable {
      std::move(done)(std::move(request), std::move(result));
    });
  });
}

bool MemoryStore::Step(bool prefer_apply) {
  Verb verb;
  {
    absl::MutexLock lock(&mutex_);
    const bool apply = !verbs_.empty() && (prefer_apply || replies_.empty());
    if (apply) {
      verb = std::move(verbs_.front());
      verbs_.pop_front();
    }
  }
  if (verb != nullptr) {
    replies_.push_back(std::move(verb)(false));
    return true;
  }
  if (replies_.empty()) return false;
  Reply reply = std::move(replies_.front());
  replies_.pop_front();
  std::move(reply)();
  return true;
}

int MemoryStore::RunAll() {
  int steps = 0;
  while (Step()) ++steps;
  return steps;
}

void MemoryStore::Heartbeat() { Renew(); }

void MemoryStore::Renew() {
  const WorkerId before = worker();
  if (before != 0 && database_->RenewWorker(before, lease_)) return;
  const WorkerId now = database_->RegisterWorker(lease_);
  StoreObserver* observer = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    worker_ = now;
    observer = observer_;
  }
  observer->OnRegistered(now);
}

void MemoryStore::Notify(const std::vector<HubId>& hubs) {
  StoreObserver* observer = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    observer = observer_;
  }
  for (HubId hub : hubs) observer->OnWake(hub);
}

void MemoryStore::Hear(const std::vector<SentHints>& hints) {
  StoreObserver* observer = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    observer = observer_;
  }
  for (const SentHints& sent : hints) {
    if (sent.sender != worker()) observer->OnWaitHints(sent.hints);
  }
}

WorkerId MemoryStore::worker() const {
  absl::MutexLock lock(&mutex_);
  return worker_;
}

void MemoryStore::Start(StoreObserver* observer) {
  {
    absl::MutexLock lock(&mutex_);
    observer_ = observer;
  }
  Renew();
  if (mode_ == Mode::kThread) thread_ = std::thread([this] { Run(); });
}

void MemoryStore::Stop() {
  WorkerId worker = 0;
  std::deque<Verb> left;
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    worker = worker_;
    if (mode_ == Mode::kStepped) left.swap(verbs_);
  }
  if (thread_.joinable()) thread_.join();
  for (Verb& verb : left) replies_.push_back(std::move(verb)(false));
  while (!replies_.empty()) {
    Reply reply = std::move(replies_.front());
    replies_.pop_front();
    std::move(reply)();
  }
  if (worker != 0) database_->UnregisterWorker(worker);
}

void MemoryStore::Run() {
  std::vector<Reply> replies;
  absl::Time renew_at = absl::Now() + lease_ / 3;
  while (true) {
    std::deque<Verb> batch;
    bool stopping = false;
    {
      absl::MutexLock lock(&mutex_);
      auto work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return stopping_ || !verbs_.empty();
      };
      mutex_.AwaitWithDeadline(absl::Condition(&work), renew_at);
      stopping = stopping_;
      batch.swap(verbs_);
    }
    // One batch is one commit: nobody is answered before all of it is applied, and then all are.
    for (Verb& verb : batch) replies.push_back(std::move(verb)(false));
    for (Reply& reply : replies) std::move(reply)();
    replies.clear();
    if (stopping && batch.empty()) return;
    if (absl::Now() >= renew_at) {
      renew_at = absl::Now() + lease_ / 3;
      Renew();
    }
  }
}

absl::Time MemoryStore::Now() const { return database_->Now(); }

void MemoryStore::ResolveHub(std::string name, bool create, Callback<HubId> done) {
  Enqueue<HubId>([this, name = std::move(name),
                  create](WorkerId) { return database_->ResolveHub(name, create); },
                 std::move(done));
}

void MemoryStore::DeleteHub(std::string name, DoneCallback done) {
  // A status without a value travels as StatusOr<bool>.
  Enqueue<bool>(
      [this, name = std::move(name)](WorkerId) -> absl::StatusOr<bool> {
        absl::Status status = database_->DeleteHub(name);
        if (!status.ok()) return status;
        return true;
      },
      [done = std::move(done)](absl::StatusOr<bool> result) mutable {
        std::move(done)(result.status());
      });
}

void MemoryStore::CleanHubs(HubCleanupRequest request, Callback<HubCleanupResult> done) {
  Enqueue<HubCleanupResult>([this, request](WorkerId) { return database_->CleanHubs(request); },
                            std::move(done));
}

void MemoryStore::CreateInstance(NewInstance instance,
                                 LetterCallback<NewInstance, CreateResult> done) {
  EnqueueLetter<NewInstance, CreateResult>(
      std::move(instance),
      [this](WorkerId worker, const NewInstance& given) {
        return database_->CreateInstance(worker, given);
      },
      std::move(done));
}

void MemoryStore::SendMessage(ClientMessage message, Callback<Delivery> done) {
  Enqueue<Delivery>(
      [this, message = std::move(message)](WorkerId worker) mutable {
        return database_->SendMessage(worker, std::move(message));
      },
      std::move(done));
}

void MemoryStore::Terminate(ClientTermination termination, Callback<Delivery> done) {
  Enqueue<Delivery>(
      [this, termination = std::move(termination)](WorkerId worker) mutable {
        return database_->Terminate(worker, std::move(termination));
      },
      std::move(done));
}

void MemoryStore::ClaimInstances(ClaimRequest request,
                                 LetterCallback<ClaimRequest, ClaimResult> done) {
  EnqueueLetter<ClaimRequest, ClaimResult>(
      std::move(request),
      [this](WorkerId, const ClaimRequest& given) { return database_->ClaimInstances(given); },
      std::move(done));
}

void MemoryStore::CommitCheckpoint(Checkpoint checkpoint,
                                   LetterCallback<Checkpoint, CheckpointResult> done) {
  EnqueueLetter<Checkpoint, CheckpointResult>(
      std::move(checkpoint),
      [this](WorkerId worker, const Checkpoint& given) {
        return database_->CommitCheckpoint(worker, given);
      },
      std::move(done));
}

void MemoryStore::DiscardMessages(DiscardRequest request,
                                  LetterCallback<DiscardRequest, LeaseOutcome> done) {
  EnqueueLetter<DiscardRequest, LeaseOutcome>(
      std::move(request),
      [this](WorkerId, const DiscardRequest& given) { return database_->DiscardMessages(given); },
      std::move(done));
}

void MemoryStore::ReleaseInstance(InstanceRelease release,
                                  LetterCallback<InstanceRelease, LeaseOutcome> done) {
  EnqueueLetter<InstanceRelease, LeaseOutcome>(
      std::move(release),
      [this](WorkerId, const InstanceRelease& given) { return database_->ReleaseInstance(given); },
      std::move(done));
}

void MemoryStore::ReadNewMessages(WorkerId worker, Callback<std::vector<InboxRead>> done) {
  Enqueue<std::vector<InboxRead>>(
      [this, worker](WorkerId) { return database_->ReadNewMessages(worker); }, std::move(done));
}

void MemoryStore::ReadInbox(HubId, std::string, InstanceKey key, LeaseToken token,
                            Callback<InboxRead> done) {
  Enqueue<InboxRead>([this, key, token](WorkerId) { return database_->ReadInbox(key, token); },
                     std::move(done));
}

void MemoryStore::ClaimTasks(ClaimRequest request,
                             LetterCallback<ClaimRequest, TaskClaimResult> done) {
  EnqueueLetter<ClaimRequest, TaskClaimResult>(
      std::move(request),
      [this](WorkerId, const ClaimRequest& given) { return database_->ClaimTasks(given); },
      std::move(done));
}

void MemoryStore::CompleteTask(TaskCompletion completion,
                               LetterCallback<TaskCompletion, TaskResult> done) {
  EnqueueLetter<TaskCompletion, TaskResult>(
      std::move(completion),
      [this](WorkerId worker, const TaskCompletion& given) {
        return database_->CompleteTask(worker, given);
      },
      std::move(done));
}

void MemoryStore::ReleaseTask(TaskRelease release, LetterCallback<TaskRelease, LeaseOutcome> done) {
  EnqueueLetter<TaskRelease, LeaseOutcome>(
      std::move(release),
      [this](WorkerId, const TaskRelease& given) { return database_->ReleaseTask(given); },
      std::move(done));
}

void MemoryStore::TellOthers(WaitHints hints) {
  database_->TellOthers({worker(), std::move(hints)});
}

void MemoryStore::ReportWork(WorkerReport report, bool at_once) {
  database_->ReportWork(worker(), std::move(report));
  if (at_once) TellOthers({0, WaitHintKind::kWorkersChanged, {}});
}

void MemoryStore::SweepDeadWorkers(Callback<SweepResult> done) {
  Enqueue<SweepResult>([this](WorkerId worker) { return database_->Sweep(worker); },
                       std::move(done));
}

void MemoryStore::FindUnacceptedWork(UnacceptedSearch search,
                                     LetterCallback<UnacceptedSearch, UnacceptedWork> done) {
  EnqueueLetter<UnacceptedSearch, UnacceptedWork>(
      std::move(search),
      [this](WorkerId, const UnacceptedSearch& given) {
        return database_->FindUnacceptedWork(given);
      },
      std::move(done));
}

void MemoryStore::PurgeInstances(PurgeRequest request, Callback<PurgeResult> done) {
  Enqueue<PurgeResult>(
      [this, request = std::move(request)](WorkerId) { return database_->PurgeInstances(request); },
      std::move(done));
}

void MemoryStore::ApplyRetention(RetentionRequest request, Callback<RetentionResult> done) {
  Enqueue<RetentionResult>(
      [this, request = std::move(request)](WorkerId worker) {
        return database_->ApplyRetention(worker, request);
      },
      std::move(done));
}

void MemoryStore::ReadRewindSources(HubId hub, std::vector<std::string> instance_ids,
                                    Callback<std::vector<RewindSource>> done) {
  Enqueue<std::vector<RewindSource>>(
      [this, hub, ids = std::move(instance_ids)](WorkerId) {
        return database_->ReadRewindSources(hub, ids);
      },
      std::move(done));
}

void MemoryStore::RewindInstances(RewindRequest request, Callback<RewindOutcome> done) {
  Enqueue<RewindOutcome>([this, request = std::move(request)](
                             WorkerId) { return database_->RewindInstances(request); },
                         std::move(done));
}

void MemoryStore::TerminateNow(ImmediateTermination request,
                               Callback<std::vector<std::string>> done) {
  Enqueue<std::vector<std::string>>(
      [this, request = std::move(request)](WorkerId) { return database_->TerminateNow(request); },
      std::move(done));
}

void MemoryStore::ReadInstance(HubId hub, std::string instance_id, bool payloads,
                               Callback<std::optional<InstanceRow>> done) {
  Enqueue<std::optional<InstanceRow>>(
      [this, hub, instance_id = std::move(instance_id), payloads](WorkerId) {
        return database_->ReadInstance(hub, instance_id, payloads);
      },
      std::move(done));
}

void MemoryStore::ReadStatus(HubId hub, std::string instance_id, Callback<InstanceStatus> done) {
  Enqueue<InstanceStatus>([this, hub, instance_id = std::move(instance_id)](
                              WorkerId) { return database_->ReadStatus(hub, instance_id); },
                          std::move(done));
}

void MemoryStore::SearchInstances(InstanceSearch search, Callback<InstancePage> done) {
  Enqueue<InstancePage>(
      [this, search = std::move(search)](WorkerId) { return database_->SearchInstances(search); },
      std::move(done));
}

void MemoryStore::CleanEntities(EntityCleanup request, Callback<EntityCleanupResult> done) {
  Enqueue<EntityCleanupResult>(
      [this, request = std::move(request)](WorkerId) { return database_->CleanEntities(request); },
      std::move(done));
}

void MemoryStore::ReadEntity(HubId hub, std::string instance_id, bool state,
                             Callback<std::optional<EntityInfo>> done) {
  Enqueue<std::optional<EntityInfo>>(
      [this, hub, instance_id = std::move(instance_id), state](WorkerId) {
        return database_->ReadEntity(hub, instance_id, state);
      },
      std::move(done));
}

void MemoryStore::SearchEntities(EntitySearch search, Callback<EntityPage> done) {
  Enqueue<EntityPage>(
      [this, search = std::move(search)](WorkerId) { return database_->SearchEntities(search); },
      std::move(done));
}

void MemoryStore::ReadHistory(HubId hub, std::string instance_id,
                              std::optional<std::string> execution_id, int64_t after_turn,
                              int64_t max_bytes, Callback<HistoryPage> done) {
  Enqueue<HistoryPage>(
      [this, hub, instance_id = std::move(instance_id), execution_id = std::move(execution_id),
       after_turn, max_bytes](WorkerId) {
        return database_->ReadHistory(hub, instance_id, execution_id, after_turn, max_bytes);
      },
      std::move(done));
}

}  // namespace dt::testing
