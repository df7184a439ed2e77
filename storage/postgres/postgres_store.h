// The Store on PostgreSQL. It only routes: each verb goes as an operation to a lane (lane.h), its
// encoding and decoding are in verbs.h, its rules in sql/logic.
//
// Routes
//   writes       `write_lanes` lanes by hash of (hub, instance id): what concerns one instance is
//                done in order
//   claims       one lane for claims and for the inboxes of leased instances; its commits do not
//                wait for the log, because a lost claim costs a new one. It also carries the looks
//                that come although nothing happens, unless they take long (look_pace.h)
//   reads        one lane for clients, so that they cannot delay the work
//   searches     one lane for lists of instances, so that a slow one delays no other client
//   upkeep       one lane for hubs, sweeps, purges and rewinds
//   removals     one lane for retention and deleted hubs
//   hints        one connection that listens, and notifies while other daemons are registered
//   lease keeper a connection of its own: nothing may delay a renewal
//
// An idle daemon has three connections, those of the claims, the hints and the lease keeper; the
// other lanes close theirs when they have had nothing to do for a while (lane.h).
//
// Threads. As store.h: any thread may call; callbacks run on the threads of the lanes, or on the
// store's own thread for what a lane refuses.
#ifndef DT_STORAGE_POSTGRES_POSTGRES_STORE_H_
#define DT_STORAGE_POSTGRES_POSTGRES_STORE_H_

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "storage/management_reads.h"
#include "storage/postgres/lane.h"
#include "storage/postgres/lease_keeper.h"
#include "storage/postgres/listener.h"
#include "storage/postgres/look_pace.h"
#include "storage/postgres/refusals.h"
#include "storage/postgres/served_by_others.h"
#include "storage/postgres/verbs.h"
#include "storage/store.h"

namespace dt::postgres {

struct PostgresStoreOptions {
  ConnectionOptions connection;
  std::string schema = "dt";
  std::string version = "0";  // of the daemon, shown in table Workers
  int write_lanes = 1;
  int64_t queue_bytes_max = int64_t{256} << 20;  // of what waits in one lane
  absl::Duration lease = absl::Seconds(30);
  absl::Duration claim_statement_timeout = absl::Seconds(5);
  // After so long a call of a lane is taken apart, lest one kept lock holds all others up (lane.h).
  absl::Duration lane_lock_timeout = absl::Milliseconds(250);
  // After so long a call of a lane for writes is taken apart, and what is too long alone goes to
  // the lane for large operations, where connection.statement_timeout is the limit.
  absl::Duration lane_statement_timeout = absl::Seconds(5);
  absl::Duration read_statement_timeout = absl::Seconds(30);
  // A look beside the claims that takes longer is the last one there for a while (look_pace.h): no
  // claim is to wait noticeably.
  absl::Duration look_max = absl::Milliseconds(100);
  // The database's clock, from MeasureClock (lease_keeper.h); if it knows nothing, Start asks.
  ClockEstimate clock;
  absl::Duration drain = absl::Seconds(10);  // how long Stop() lets queued work finish
  // Hints between daemons by LISTEN; off behind a pooler in transaction mode, unless listen_url
  // goes past it (empty = connection.url). Without hints polling finds all work, only later.
  bool listen = true;
  std::string listen_url;
  // Larger inputs, results and the like are stored once per instance and referred to.
  int64_t payload_inline_bytes_max = 8 << 10;
  bool lone_forms = true;  // see VerbContext
  LaneOptions lane;        // limits and delays of every lane; name and connection are set here
  metrics::DatabaseMetrics* metrics = nullptr;  // must outlive the store; null = nothing is counted
};

class PostgresStore : public Store, public ManagementReads {
 public:
  explicit PostgresStore(PostgresStoreOptions options);
  ~PostgresStore() override;

  void Start(StoreObserver* observer) override;
  void Stop() override;
  absl::Time Now() const override;
  absl::Status Writable() const override;
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
  void SampleWork(SampleRequest request, Callback<WorkSample> done) override;
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

  void ReadWaits(HubId hub, std::string instance_id,
                 Callback<std::vector<InstanceWait>> done) override;
  void ListHubWorkers(HubId hub, Callback<std::vector<HubWorker>> done) override;
  void ListHubs(int names_max, Callback<std::vector<std::string>> done) override;

  // Sums over all lanes.
  LaneCounters counters() const;

 private:
  struct Verbs;

  Lane& WriteLane(uint64_t order_key) { return *write_lanes_[order_key % write_lanes_.size()]; }
  // `Done` is a LetterCallback<Request, Reply>, or a Callback<Reply>: then the request goes at its
  // end.
  template <typename Request, typename Reply, typename Done>
  void Submit(Lane& lane, const CallVerb<Request, Reply>& verb, HubId hub, uint64_t order_key,
              size_t bytes, Request request, Done done, CallerGone caller_gone = nullptr);
  template <typename Request, typename Reply, typename Done>
  void SubmitWrite(const CallVerb<Request, Reply>& verb, HubId hub, uint64_t order_key,
                   size_t bytes, Request request, Done done, CallerGone caller_gone = nullptr);
  // A look goes beside the claims, or on that lane while looks take long.
  template <typename Request, typename Reply>
  void Look(Lane& apart, const CallVerb<Request, Reply>& verb, HubId hub, Request request,
            Callback<Reply> done);
  void Enqueue(Lane& lane, std::unique_ptr<Operation> operation);
  ListenerCallbacks HintCallbacks();
  // SweepDeadWorkers, once all workers are known.
  void Sweep(const std::vector<WorkerRow>& rows, Callback<SweepResult> done);

  const PostgresStoreOptions options_;
  VerbContext context_;
  const std::unique_ptr<const Verbs> verbs_;
  std::atomic<StoreObserver*> observer_{nullptr};
  std::atomic<bool> hears_{false};  // hints of other daemons arrive
  Refusals refusals_;
  LeaseKeeper keeper_;
  Listener listener_;
  ServedByOthers served_by_others_;
  LookPace look_pace_;
  std::unique_ptr<Lane> large_lane_;  // outlives those that hand over to it
  std::vector<std::unique_ptr<Lane>> write_lanes_;
  std::unique_ptr<Lane> claim_lane_;
  std::unique_ptr<Lane> read_lane_;
  std::unique_ptr<Lane> search_lane_;
  std::unique_ptr<Lane> upkeep_lane_;
  std::unique_ptr<Lane> removal_lane_;
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_POSTGRES_STORE_H_
