#include "storage/postgres/postgres_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "storage/postgres/process_identity.h"
#include "storage/postgres/store_sessions.h"
#include "storage/postgres/worker_report.h"
#include "storage/steady_clock.h"

namespace dt::postgres {
namespace {

template <typename Request, typename Reply>
LetterCallback<Request, Reply> AsLetterCallback(LetterCallback<Request, Reply> done) {
  return done;
}
template <typename Request, typename Reply>
LetterCallback<Request, Reply> AsLetterCallback(Callback<Reply> done) {
  return [done = std::move(done)](Request, absl::StatusOr<Reply> reply) mutable {
    std::move(done)(std::move(reply));
  };
}

}  // namespace

struct PostgresStore::Verbs {
  explicit Verbs(VerbContext* context)
      : create(MakeCreateVerb(context)),
        send(MakeSendVerb(context)),
        terminate(MakeTerminateVerb(context)),
        checkpoint(MakeCheckpointVerb(context)),
        discard(MakeDiscardVerb(context)),
        release_instance(MakeReleaseInstanceVerb(context)),
        complete_task(MakeCompleteTaskVerb(context)),
        release_task(MakeReleaseTaskVerb(context)),
        claim_instances(MakeClaimInstancesVerb(context)),
        claim_tasks(MakeClaimTasksVerb(context)),
        read_new_messages(MakeReadNewMessagesVerb(context)),
        read_inbox(MakeReadInboxVerb(context)),
        read_instance(MakeReadInstanceVerb(context)),
        read_status(MakeReadStatusVerb(context)),
        read_rewind_sources(MakeReadRewindSourcesVerb(context)),
        rewind(MakeRewindVerb(context)),
        terminate_now(MakeTerminateNowVerb(context)),
        purge(MakePurgeVerb(context)),
        retention(MakeRetentionVerb(context)),
        search(MakeSearchVerb(context)),
        read_history(MakeReadHistoryVerb(context)),
        read_entity(MakeReadEntityVerb(context)),
        search_entities(MakeSearchEntitiesVerb(context)),
        clean_entities(MakeCleanEntitiesVerb(context)),
        resolve_hub(MakeResolveHubVerb(context)),
        delete_hub(MakeDeleteHubVerb(context)),
        look_for_deleted_hubs(MakeLookForDeletedHubsVerb(context)),
        clean_hubs(MakeCleanHubsVerb(context)),
        list_workers(MakeListWorkersVerb(context)),
        sweep(MakeSweepVerb(context)),
        sample(MakeSampleVerb(context)),
        unaccepted(MakeUnacceptedVerb(context)),
        read_waits(MakeReadWaitsVerb(context)),
        hub_workers(MakeHubWorkersVerb(context)),
        list_hubs(MakeListHubsVerb(context)) {}

  const std::unique_ptr<const CreateVerb> create;
  const std::unique_ptr<const SendVerb> send;
  const std::unique_ptr<const TerminateVerb> terminate;
  const std::unique_ptr<const CheckpointVerb> checkpoint;
  const std::unique_ptr<const DiscardVerb> discard;
  const std::unique_ptr<const ReleaseInstanceVerb> release_instance;
  const std::unique_ptr<const CompleteTaskVerb> complete_task;
  const std::unique_ptr<const ReleaseTaskVerb> release_task;
  const std::unique_ptr<const ClaimInstancesVerb> claim_instances;
  const std::unique_ptr<const ClaimTasksVerb> claim_tasks;
  const std::unique_ptr<const ReadNewMessagesVerb> read_new_messages;
  const std::unique_ptr<const ReadInboxVerb> read_inbox;
  const std::unique_ptr<const ReadInstanceVerb> read_instance;
  const std::unique_ptr<const ReadStatusVerb> read_status;
  const std::unique_ptr<const ReadRewindSourcesVerb> read_rewind_sources;
  const std::unique_ptr<const RewindVerb> rewind;
  const std::unique_ptr<const TerminateNowVerb> terminate_now;
  const std::unique_ptr<const PurgeVerb> purge;
  const std::unique_ptr<const RetentionVerb> retention;
  const std::unique_ptr<const SearchVerb> search;
  const std::unique_ptr<const ReadHistoryVerb> read_history;
  const std::unique_ptr<const ReadEntityVerb> read_entity;
  const std::unique_ptr<const SearchEntitiesVerb> search_entities;
  const std::unique_ptr<const CleanEntitiesVerb> clean_entities;
  const std::unique_ptr<const ResolveHubVerb> resolve_hub;
  const std::unique_ptr<const DeleteHubVerb> delete_hub;
  const std::unique_ptr<const LookForDeletedHubsVerb> look_for_deleted_hubs;
  const std::unique_ptr<const CleanHubsVerb> clean_hubs;
  const std::unique_ptr<const ListWorkersVerb> list_workers;
  const std::unique_ptr<const SweepVerb> sweep;
  const std::unique_ptr<const SampleVerb> sample;
  const std::unique_ptr<const UnacceptedVerb> unaccepted;
  const std::unique_ptr<const ReadWaitsVerb> read_waits;
  const std::unique_ptr<const HubWorkersVerb> hub_workers;
  const std::unique_ptr<const ListHubsVerb> list_hubs;
};

PostgresStore::PostgresStore(PostgresStoreOptions options)
    : options_(std::move(options)),
      context_{options_.schema, static_cast<size_t>(options_.payload_inline_bytes_max),
               options_.lone_forms},
      verbs_(std::make_unique<Verbs>(&context_)),
      keeper_(
          KeeperOptions(options_),
          [this](WorkerId worker) {
            context_.worker.store(worker);
            listener_.SetWorker(worker);
            observer_.load()->OnRegistered(worker);
          },
          [this] {
            TellOthers({0, WaitHintKind::kWorkersChanged, {}});
          }),
      listener_(HintOptions(options_), HintCallbacks()),
      look_pace_(options_.look_max),
      large_lane_(std::make_unique<Lane>(LargeLaneOptions(options_))),
      claim_lane_(std::make_unique<Lane>(ClaimLaneOptions(options_))),
      read_lane_(std::make_unique<Lane>(ReadLaneOptions(options_, "reads"))),
      search_lane_(std::make_unique<Lane>(ReadLaneOptions(options_, "searches"))),
      upkeep_lane_(std::make_unique<Lane>(UpkeepLaneOptions(options_))),
      removal_lane_(std::make_unique<Lane>(RemovalLaneOptions(options_))) {
  context_.hint = [this](HubId hub) { listener_.Notify(hub); };
  for (int i = 0; i < options_.write_lanes; ++i) {
    write_lanes_.push_back(
        std::make_unique<Lane>(WriteLaneOptions(options_, i + 1, large_lane_.get())));
  }
}

PostgresStore::~PostgresStore() { Stop(); }

ListenerCallbacks PostgresStore::HintCallbacks() {
  ListenerCallbacks callbacks;
  callbacks.on_wake = [this](HubId hub) {
    if (StoreObserver* observer = observer_.load()) observer->OnWake(hub);
  };
  callbacks.on_waits = [this](WaitHints hints) {
    // Whoever tells something is another daemon.
    context_.peers.store(true, std::memory_order_relaxed);
    if (StoreObserver* observer = observer_.load()) observer->OnWaitHints(std::move(hints));
  };
  callbacks.on_hearing = [this](bool hears) {
    hears_.store(hears);
    if (StoreObserver* observer = observer_.load()) observer->OnHearing(hears);
  };
  return callbacks;
}

void PostgresStore::Start(StoreObserver* observer) {
  observer_.store(observer);
  // The listener may have connected before.
  if (hears_.load()) observer->OnHearing(true);
  keeper_.Start();
}

void PostgresStore::Stop() {
  // First all that writes under leases, then the registration that ends them.
  for (const std::unique_ptr<Lane>& lane : write_lanes_) lane->Stop(options_.drain);
  large_lane_->Stop(options_.drain);
  claim_lane_->Stop(options_.drain);
  read_lane_->Stop(options_.drain);
  search_lane_->Stop(options_.drain);
  upkeep_lane_->Stop(options_.drain);
  removal_lane_->Stop(options_.drain);
  listener_.Stop();
  keeper_.Stop();
}

absl::Time PostgresStore::Now() const { return keeper_.Now(); }

absl::Status PostgresStore::Writable() const {
  absl::Status fault = keeper_.StandingFault();
  for (auto lane = write_lanes_.begin(); fault.ok() && lane != write_lanes_.end(); ++lane) {
    fault = (*lane)->StandingFault(keeper_.renewed_at());
  }
  return fault;
}

void PostgresStore::Enqueue(Lane& lane, std::unique_ptr<Operation> operation) {
  absl::Status status = lane.Submit(operation);
  if (!status.ok()) refusals_.Add(std::move(operation), std::move(status));
}

template <typename Request, typename Reply, typename Done>
void PostgresStore::Submit(Lane& lane, const CallVerb<Request, Reply>& verb, HubId hub,
                           uint64_t order_key, size_t bytes, Request request, Done done,
                           CallerGone caller_gone) {
  auto call = std::make_unique<Call<Request, Reply>>(
      &verb, &context_, std::move(request), AsLetterCallback<Request, Reply>(std::move(done)));
  call->hub = hub;
  call->order_key = order_key;
  call->bytes = bytes;
  call->caller_gone = std::move(caller_gone);
  Enqueue(lane, std::move(call));
}

template <typename Request, typename Reply, typename Done>
void PostgresStore::SubmitWrite(const CallVerb<Request, Reply>& verb, HubId hub, uint64_t order_key,
                                size_t bytes, Request request, Done done, CallerGone caller_gone) {
  Submit(WriteLane(order_key), verb, hub, order_key, bytes, std::move(request), std::move(done),
         std::move(caller_gone));
}

template <typename Request, typename Reply>
void PostgresStore::Look(Lane& apart, const CallVerb<Request, Reply>& verb, HubId hub,
                         Request request, Callback<Reply> done) {
  constexpr size_t kBytes = 256;
  const absl::Time begin = SteadyNow();
  if (look_pace_.Apart(begin)) {
    return Submit(apart, verb, hub, 0, kBytes, std::move(request), std::move(done));
  }
  Submit(
      *claim_lane_, verb, hub, 0, kBytes, std::move(request),
      Callback<Reply>([this, begin, done = std::move(done)](absl::StatusOr<Reply> reply) mutable {
        // How long the database was away says nothing about looks.
        if (const absl::Time now = SteadyNow(); !absl::IsUnavailable(reply.status())) {
          look_pace_.Took(now - begin, now);
        }
        std::move(done)(std::move(reply));
      }));
}

void PostgresStore::ResolveHub(std::string name, bool create, Callback<HubId> done) {
  const size_t bytes = name.size();
  HubRequest request{std::move(name), false};
  if (create) {
    done = [this, bytes, request = HubRequest{request.name, true},
            done = std::move(done)](absl::StatusOr<HubId> found) mutable {
      if (!absl::IsNotFound(found.status())) return std::move(done)(std::move(found));
      Submit(*upkeep_lane_, *verbs_->resolve_hub, 0, 0, bytes, std::move(request), std::move(done));
    };
  }
  // Most are there, and are found where nothing waits for a write.
  Submit(*read_lane_, *verbs_->resolve_hub, 0, 0, bytes, std::move(request), std::move(done));
}

void PostgresStore::DeleteHub(std::string name, DoneCallback done) {
  Submit(*upkeep_lane_, *verbs_->delete_hub, 0, 0, name.size(), name,
         Callback<bool>([name, done = std::move(done)](absl::StatusOr<bool> deleted) mutable {
           if (deleted.ok() && !*deleted) {
             std::move(done)(absl::NotFoundError(absl::StrCat("no task hub \"", name, "\"")));
           } else {
             std::move(done)(deleted.status());
           }
         }));
}

void PostgresStore::CleanHubs(HubCleanupRequest request, Callback<HubCleanupResult> done) {
  // A look that finds nothing, as nearly all do, costs no connection of its own.
  Look(*upkeep_lane_, *verbs_->look_for_deleted_hubs, 0, true,
       Callback<bool>([this, request, done = std::move(done)](absl::StatusOr<bool> any) mutable {
         if (!any.ok() || !*any) {
           std::move(done)(any.ok() ? absl::StatusOr<HubCleanupResult>(HubCleanupResult{})
                                    : any.status());
           return;
         }
         Submit(*removal_lane_, *verbs_->clean_hubs, 0, 0, 64, request, std::move(done));
       }));
}

void PostgresStore::CreateInstance(NewInstance instance,
                                   LetterCallback<NewInstance, CreateResult> done) {
  const HubId hub = instance.hub;
  const uint64_t order_key = OrderKey(hub, instance.instance_id);
  const size_t bytes = BytesOf(instance);
  CallerGone gone = instance.caller_gone;
  SubmitWrite(*verbs_->create, hub, order_key, bytes, std::move(instance), std::move(done),
              std::move(gone));
}

void PostgresStore::SendMessage(ClientMessage message, Callback<Delivery> done) {
  const HubId hub = message.hub;
  const uint64_t order_key = OrderKey(hub, message.instance_id);
  const size_t bytes = BytesOf(message.message);
  CallerGone gone = message.caller_gone;
  SubmitWrite(*verbs_->send, hub, order_key, bytes, std::move(message), std::move(done),
              std::move(gone));
}

void PostgresStore::Terminate(ClientTermination termination, Callback<Delivery> done) {
  const HubId hub = termination.hub;
  const uint64_t order_key = OrderKey(hub, termination.termination.instance_id);
  const size_t bytes = BytesOf(termination.termination.message);
  CallerGone gone = termination.caller_gone;
  SubmitWrite(*verbs_->terminate, hub, order_key, bytes, std::move(termination), std::move(done),
              std::move(gone));
}

void PostgresStore::ClaimInstances(ClaimRequest request,
                                   LetterCallback<ClaimRequest, ClaimResult> done) {
  const HubId hub = request.hub;
  Submit(*claim_lane_, *verbs_->claim_instances, hub, 0, 256, std::move(request), std::move(done));
}

void PostgresStore::CommitCheckpoint(Checkpoint checkpoint,
                                     LetterCallback<Checkpoint, CheckpointResult> done) {
  const uint64_t order_key = OrderKey(checkpoint.hub, checkpoint.instance_id);
  auto call = std::make_unique<CheckpointCall>(verbs_->checkpoint.get(), &context_,
                                               std::move(checkpoint), std::move(done));
  call->hub = call->request.hub;
  call->order_key = order_key;
  call->bytes = BytesOf(call->request);
  call->rows = RowsOf(call->request);
  Enqueue(WriteLane(order_key), std::move(call));
}

void PostgresStore::DiscardMessages(DiscardRequest request,
                                    LetterCallback<DiscardRequest, LeaseOutcome> done) {
  const HubId hub = request.hub;
  const uint64_t order_key = OrderKey(hub, request.instance_id);
  const size_t bytes = 64 + 20 * request.seqs.size();
  SubmitWrite(*verbs_->discard, hub, order_key, bytes, std::move(request), std::move(done));
}

void PostgresStore::ReleaseInstance(InstanceRelease release,
                                    LetterCallback<InstanceRelease, LeaseOutcome> done) {
  const HubId hub = release.hub;
  const uint64_t order_key = OrderKey(hub, release.instance_id);
  SubmitWrite(*verbs_->release_instance, hub, order_key, 64, std::move(release), std::move(done));
}

void PostgresStore::ReadNewMessages(WorkerId worker, Callback<std::vector<InboxRead>> done) {
  Submit(*claim_lane_, *verbs_->read_new_messages, 0, 0, 64, worker, std::move(done));
}

void PostgresStore::ReadInbox(HubId hub, std::string instance_id, InstanceKey key, LeaseToken token,
                              Callback<InboxRead> done) {
  // Behind the writes of the instance: what they consumed must not be read again.
  SubmitWrite(*verbs_->read_inbox, hub, OrderKey(hub, instance_id), 64, InboxRequest{key, token},
              std::move(done));
}

void PostgresStore::ClaimTasks(ClaimRequest request,
                               LetterCallback<ClaimRequest, TaskClaimResult> done) {
  const HubId hub = request.hub;
  Submit(*claim_lane_, *verbs_->claim_tasks, hub, 0, 256, std::move(request), std::move(done));
}

void PostgresStore::CompleteTask(TaskCompletion completion,
                                 LetterCallback<TaskCompletion, TaskResult> done) {
  const HubId hub = completion.hub;
  const uint64_t order_key = OrderKey(hub, completion.instance_id);
  const size_t bytes = 128 + BytesOf(completion.message);
  SubmitWrite(*verbs_->complete_task, hub, order_key, bytes, std::move(completion),
              std::move(done));
}

void PostgresStore::ReleaseTask(TaskRelease release,
                                LetterCallback<TaskRelease, LeaseOutcome> done) {
  const HubId hub = release.hub;
  const uint64_t order_key = OrderKey(hub, release.instance_id);
  SubmitWrite(*verbs_->release_task, hub, order_key, 64, std::move(release), std::move(done));
}

void PostgresStore::ReportWork(WorkerReport report, bool at_once) {
  keeper_.Report(ServedText(report.served), LoadText(report), at_once);
}

void PostgresStore::TellOthers(WaitHints hints) {
  if (context_.peers.load(std::memory_order_relaxed)) listener_.Notify(std::move(hints));
}

void PostgresStore::SweepDeadWorkers(Callback<SweepResult> done) {
  Look(*upkeep_lane_, *verbs_->list_workers, 0, served_by_others_.since(),
       Callback<std::vector<WorkerRow>>(
           [this, done = std::move(done)](absl::StatusOr<std::vector<WorkerRow>> rows) mutable {
             if (!rows.ok()) return std::move(done)(rows.status());
             Sweep(*rows, std::move(done));
           }));
}

void PostgresStore::Sweep(const std::vector<WorkerRow>& rows, Callback<SweepResult> done) {
  SweepResult result{0, 0, false, {}};
  std::vector<WorkerId> dead;
  bool due = false;
  for (const WorkerRow& row : rows) {
    due |= row.due;
    if (row.swept) continue;
    ++result.workers;
    result.suspects |= row.silent;
    if (IsKnownDead(row.process)) dead.push_back(row.worker);
  }
  result.others = served_by_others_.Update(rows, keeper_.worker());
  // One row is this daemon's own.
  context_.peers.store(result.workers > 1, std::memory_order_relaxed);
  listener_.SetDaemons(result.workers);
  if (dead.empty() && !due && !result.suspects) {  // nobody to sweep, which is the rule
    return std::move(done)(result);
  }
  Submit(*upkeep_lane_, *verbs_->sweep, 0, 0, 64, std::move(dead),
         Callback<int64_t>([result, done = std::move(done)](absl::StatusOr<int64_t> freed) mutable {
           if (!freed.ok()) return std::move(done)(freed.status());
           result.freed = *freed;
           std::move(done)(result);
         }));
}

void PostgresStore::FindUnacceptedWork(UnacceptedSearch search,
                                       LetterCallback<UnacceptedSearch, UnacceptedWork> done) {
  const HubId hub = search.hub;
  // Whether there is any such work is soon known, as a claim knows what there is; how much there
  // is, which is counted where there is some, takes longer.
  UnacceptedSearch any = search;
  any.groups_max = 1;
  any.count_max = 1;
  Look(*search_lane_, *verbs_->unaccepted, hub, std::move(any),
       Callback<UnacceptedWork>([this, hub, search = std::move(search), done = std::move(done)](
                                    absl::StatusOr<UnacceptedWork> found) mutable {
         if (!found.ok() || found->empty()) {
           std::move(done)(std::move(search), std::move(found));
         } else {
           Submit(*search_lane_, *verbs_->unaccepted, hub, 0, 256, std::move(search),
                  std::move(done));
         }
       }));
}

namespace {

size_t BytesOf(const std::vector<std::string>& ids) {
  size_t bytes = 256;
  for (const std::string& id : ids) bytes += id.size() + 4;
  return bytes;
}

}  // namespace

void PostgresStore::PurgeInstances(PurgeRequest request, Callback<PurgeResult> done) {
  const HubId hub = request.hub;
  const size_t bytes = BytesOf(request.instance_ids);
  CallerGone gone = request.caller_gone;
  Submit(*upkeep_lane_, *verbs_->purge, hub, 0, bytes, std::move(request), std::move(done),
         std::move(gone));
}

void PostgresStore::ApplyRetention(RetentionRequest request, Callback<RetentionResult> done) {
  Submit(*removal_lane_, *verbs_->retention, 0, 0, 256, std::move(request), std::move(done));
}

void PostgresStore::SampleWork(SampleRequest request, Callback<WorkSample> done) {
  // Nearly always it finds that another daemon leads, or little to count.
  Look(*search_lane_, *verbs_->sample, 0, request, std::move(done));
}

void PostgresStore::ReadRewindSources(HubId hub, std::vector<std::string> instance_ids,
                                      Callback<std::vector<RewindSource>> done) {
  const size_t bytes = BytesOf(instance_ids);
  Submit(*upkeep_lane_, *verbs_->read_rewind_sources, hub, 0, bytes, std::move(instance_ids),
         std::move(done));
}

void PostgresStore::RewindInstances(RewindRequest request, Callback<RewindOutcome> done) {
  const HubId hub = request.hub;
  size_t bytes = 0;
  for (const Rewind& rewind : request.rewinds) {
    bytes += BytesOf(rewind.checkpoint);
    for (const HistoryChunk& chunk : rewind.history) {
      bytes += 64 + (chunk.events == nullptr ? 0 : chunk.events->size());
    }
  }
  CallerGone gone = request.caller_gone;
  Submit(*upkeep_lane_, *verbs_->rewind, hub, 0, bytes, std::move(request), std::move(done),
         std::move(gone));
}

void PostgresStore::TerminateNow(ImmediateTermination request,
                                 Callback<std::vector<std::string>> done) {
  const HubId hub = request.hub;
  const size_t bytes = BytesOf(request.instance_ids) + request.reason.value_or("").size();
  CallerGone gone = request.caller_gone;
  Submit(*upkeep_lane_, *verbs_->terminate_now, hub, 0, bytes, std::move(request), std::move(done),
         std::move(gone));
}

void PostgresStore::ReadInstance(HubId hub, std::string instance_id, bool payloads,
                                 Callback<std::optional<InstanceRow>> done) {
  const size_t bytes = 64 + instance_id.size();
  InstanceRequest request{instance_id, payloads};
  // Each call reads one at least, so an instance that others were preferred to comes in its turn.
  auto answer = [this, hub, instance_id = std::move(instance_id), payloads,
                 done = std::move(done)](absl::StatusOr<std::optional<InstanceRow>> row) mutable {
    if (!absl::IsAborted(row.status())) return std::move(done)(std::move(row));
    ReadInstance(hub, std::move(instance_id), payloads, std::move(done));
  };
  Submit(*read_lane_, *verbs_->read_instance, hub, 0, bytes, std::move(request),
         Callback<std::optional<InstanceRow>>(std::move(answer)));
}

void PostgresStore::ReadStatus(HubId hub, std::string instance_id, Callback<InstanceStatus> done) {
  const size_t bytes = 64 + instance_id.size();
  Submit(*read_lane_, *verbs_->read_status, hub, 0, bytes, std::move(instance_id), std::move(done));
}

void PostgresStore::SearchInstances(InstanceSearch search, Callback<InstancePage> done) {
  const HubId hub = search.hub;
  const size_t bytes = 256 + search.id_prefix.size();
  Submit(*search_lane_, *verbs_->search, hub, 0, bytes, std::move(search), std::move(done));
}

void PostgresStore::CleanEntities(EntityCleanup request, Callback<EntityCleanupResult> done) {
  const HubId hub = request.hub;
  CallerGone gone = request.caller_gone;
  Submit(*upkeep_lane_, *verbs_->clean_entities, hub, 0, 512, std::move(request), std::move(done),
         std::move(gone));
}

void PostgresStore::ReadEntity(HubId hub, std::string instance_id, bool state,
                               Callback<std::optional<EntityInfo>> done) {
  const size_t bytes = 64 + instance_id.size();
  Submit(*read_lane_, *verbs_->read_entity, hub, 0, bytes,
         EntityReadRequest{std::move(instance_id), state}, std::move(done));
}

void PostgresStore::SearchEntities(EntitySearch search, Callback<EntityPage> done) {
  const HubId hub = search.hub;
  const size_t bytes = 256 + search.id_prefix.size() + search.after_id.size();
  Submit(*search_lane_, *verbs_->search_entities, hub, 0, bytes, std::move(search),
         std::move(done));
}

void PostgresStore::ReadHistory(HubId hub, std::string instance_id,
                                std::optional<std::string> execution_id, int64_t after_turn,
                                int64_t max_bytes, Callback<HistoryPage> done) {
  const size_t bytes = 128 + instance_id.size();
  Submit(*read_lane_, *verbs_->read_history, hub, 0, bytes,
         HistoryRequest{std::move(instance_id), std::move(execution_id), after_turn, max_bytes},
         std::move(done));
}

void PostgresStore::ReadWaits(HubId hub, std::string instance_id,
                              Callback<std::vector<InstanceWait>> done) {
  const size_t bytes = 64 + instance_id.size();
  Submit(*search_lane_, *verbs_->read_waits, hub, 0, bytes, std::move(instance_id),
         std::move(done));
}

void PostgresStore::ListHubWorkers(HubId hub, Callback<std::vector<HubWorker>> done) {
  Submit(*search_lane_, *verbs_->hub_workers, hub, 0, 64, true, std::move(done));
}

void PostgresStore::ListHubs(int names_max, Callback<std::vector<std::string>> done) {
  Submit(*search_lane_, *verbs_->list_hubs, 0, 0, 64, names_max, std::move(done));
}

LaneCounters PostgresStore::counters() const {
  LaneCounters sum;
  const auto add = [&sum](const Lane& lane) {
    const LaneCounters counters = lane.counters();
    sum.calls += counters.calls;
    sum.operations += counters.operations;
    sum.failed_operations += counters.failed_operations;
    sum.refused_operations += counters.refused_operations;
    sum.retries += counters.retries;
    sum.connects += counters.connects;
    sum.round_trips += counters.round_trips;
    sum.queued_operations += counters.queued_operations;
    sum.queued_bytes += counters.queued_bytes;
  };
  for (const std::unique_ptr<Lane>& lane : write_lanes_) add(*lane);
  add(*large_lane_);
  add(*claim_lane_);
  add(*read_lane_);
  add(*search_lane_);
  add(*upkeep_lane_);
  add(*removal_lane_);
  return sum;
}

}  // namespace dt::postgres
