// The dispatcher as the rest of the daemon sees it: a thread with a bounded mailbox around the
// single-threaded state machine of dispatcher.h.
//
// All methods may be called from any thread and return at once; but for StoreObserver's, the caller
// holds no lock, since while little is in flight its thread makes the step for what it brings.
// Callbacks and sinks are called on any of these threads or one of the store, also before the call
// returns, and must not block. A full mailbox answers RESOURCE_EXHAUSTED.
#ifndef DT_SERVER_DISPATCH_DISPATCH_THREAD_H_
#define DT_SERVER_DISPATCH_DISPATCH_THREAD_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "proto/orchestrator_service.pb.h"
#include "server/orchestration/requests.h"
#include "server/orchestration/turn.h"
#include "storage/metrics/metrics.h"
#include "storage/store.h"

namespace dt::dispatch {

// What the user-agent tells, used only where RULES.md says so (1.6, 2.6, 5.25).
enum class ClientLibrary : int8_t { kOther, kGo, kJava, kDotnet };

struct StreamOptions {
  HubId hub = 0;
  int orchestrations_max = 0;  // 0 = the server's default (1.5)
  int activities_max = 0;
  int entities_max = 0;
  bool history_streaming = false;
  ClientLibrary library = ClientLibrary::kOther;
  // Names compare in lower case; nullopt = everything (9.2).
  NameFilters orchestration_filters;
  NameFilters activity_filters;
  NameFilters entity_filters;
  // For logs: as the worker named itself, of the hub, of where it calls from, and of what it uses.
  std::string worker_id = {};
  std::string hub_name = {};
  std::string peer = {};
  std::string sdk = {};

  // Its filters let nothing pass that this server has for workers.
  bool accepts_nothing() const {
    return orchestration_filters.has_value() && orchestration_filters->empty() &&
           activity_filters.has_value() && activity_filters->empty() &&
           entity_filters.has_value() && entity_filters->empty();
  }
};

// Where a stream's work items go. Called by whoever makes a step, one at a time; must not block.
// The sink queues.
class WorkItemSink {
 public:
  virtual ~WorkItemSink() = default;
  virtual void Write(orchestration::Frame work_item) = 0;
  // No more writes follow. Never OK (1.7).
  virtual void Finish(absl::Status status) = 0;
  // Of what was written, how much the worker has not taken yet. Any thread.
  virtual int64_t UnreadBytes() const = 0;
};

using StreamId = uint64_t;
using WaitId = uint64_t;

// The row of an instance with all its payloads, where the dispatcher knows it; else null.
using KnownRow = std::shared_ptr<const InstanceRow>;

// A wait that goes on, because the instance that it was told of was replaced or purged before it
// was read (5.15).
struct WaitSoFar {
  absl::Duration waited;  // of wait_max
  bool exists = false;    // the instance, when it was read
};

// Every limit and interval of the dispatcher, with its unit in its name.
struct DispatchLimits {
  int stream_items_default = 100;  // in flight per stream and kind when the worker names none
  absl::Duration health_ping_interval = absl::Seconds(30);
  absl::Duration orchestration_hold_max = absl::Minutes(10);  // 1.12
  absl::Duration activity_hold_max = absl::Hours(24);
  absl::Duration entity_hold_max = absl::Minutes(10);
  // How long the result of an activity may wait, unstored, for the turn that it brought about, to
  // be stored by that turn's checkpoint; zero = never.
  absl::Duration result_hold_max = absl::Milliseconds(20);
  int lost_leases_max = 100;  // poison (2.10); 0 = off
  absl::Duration abandon_delay_min = absl::Seconds(1);
  absl::Duration abandon_delay_max = absl::Seconds(60);
  int64_t history_streaming_from_bytes = 1 << 20;
  absl::Duration resident_linger = absl::Seconds(5);
  int64_t resident_bytes_max = int64_t{512} << 20;
  // Memory of the work that is held, of all hubs together (fair_bytes.h); what one claim reads,
  // beyond its first item; and the memory of one answer that comes in parts.
  int64_t work_bytes_max = int64_t{512} << 20;
  int64_t claim_bytes_max = 16 << 20;
  int64_t response_bytes_max = int64_t{256} << 20;
  absl::Duration poll_min = absl::Milliseconds(50);  // wait = min + delta * 2^(n-1) * 0.8..1.2
  absl::Duration poll_delta = absl::Milliseconds(50);
  absl::Duration poll_max = absl::Seconds(3);
  absl::Duration wait_max = absl::Hours(1);  // 5.17
  absl::Duration wait_poll_interval = absl::Seconds(1);
  // Work that waits although workers are connected is looked for this often, once it has been due
  // for so long, and is logged no more often than that; all within a minute.
  absl::Duration unaccepted_look_interval = absl::Seconds(25);
  absl::Duration unaccepted_age_min = absl::Seconds(10);
  absl::Duration unaccepted_log_interval = absl::Seconds(60);
  int mailbox_events_max = 100000;
  int entity_operations_max = 1000;  // of one batch (7.7)
  orchestration::TurnLimits turn;
};

class DispatchThread : public StoreObserver {
 public:
  // `store` must outlive this object, and so must `metrics`; null: what is counted is seen by
  // nobody.
  DispatchThread(Store* store, DispatchLimits limits, metrics::Metrics* metrics = nullptr);
  ~DispatchThread() override;

  void Start();
  // Stops claiming and sending, keeps streams open for completions; when all items are in, or after
  // `timeout`, ends the streams with UNAVAILABLE, answers waiting calls UNAVAILABLE, releases every
  // lease and waits until the store has done so. Blocks; for main only.
  void Drain(absl::Duration timeout);
  // True from the call of Drain on.
  bool draining() const;

  // --- Worker side
  StreamId OpenStream(StreamOptions options, std::shared_ptr<WorkItemSink> sink);
  // The peer is gone; leases of its items are released and offered again at once (1.11). `reason`
  // is for the log.
  void CloseStream(StreamId stream, std::string reason);
  // OK also for a stale or unknown token (1.14); an error only when the store failed (1.13).
  void CompleteOrchestration(HubId hub, OrchestratorResponse response, DoneCallback done);
  void CompleteActivity(HubId hub, ActivityResponse response, DoneCallback done);
  void CompleteEntity(HubId hub, EntityBatchResult result, DoneCallback done);
  void AbandonOrchestration(HubId hub, std::string completion_token, DoneCallback done);
  void AbandonActivity(HubId hub, std::string completion_token, DoneCallback done);
  void AbandonEntity(HubId hub, std::string completion_token, DoneCallback done);
  // The past events of the turn in flight (5.34): kNotFound when there is none.
  void ReadTurnHistory(HubId hub, std::string instance_id, std::string execution_id,
                       Callback<std::vector<HistoryChunk>> done);

  // --- Client side
  // Creates the instance, leased to this daemon when a matching stream has a free credit.
  void StartInstance(NewInstance instance, Callback<CreateResult> done);
  void SendMessage(ClientMessage message, Callback<Delivery> done);
  void Terminate(ClientTermination termination, Callback<Delivery> done);

  enum class WaitFor : int8_t { kStart, kCompletion };
  // Whether an instance with this status is what such a wait is for.
  static bool Satisfied(WaitFor wait_for, RuntimeStatus status) {
    return wait_for == WaitFor::kStart ? status != RuntimeStatus::kPending : IsTerminal(status);
  }
  // Calls `done` when the instance has left PENDING or has ended (5.15-5.18): with its row, as the
  // commit left it that brought this about, or null = read it now, and go on waiting if it is
  // another one by then; kDeadlineExceeded at wait_max for an existing instance, kNotFound at
  // wait_max for a missing one; kUnavailable while draining; kCancelled after CancelWait.
  // `so_far`: of a wait that goes on. It is told what the store says, and not what is known here.
  WaitId Wait(HubId hub, std::string instance_id, WaitFor wait_for, Callback<KnownRow> done,
              std::optional<WaitSoFar> so_far = std::nullopt);
  void CancelWait(WaitId wait);

  // While this is so, nothing is taken on, and instances that wait idle are given back.
  void SetMemoryScarce(bool scarce);

  // --- StoreObserver
  void OnRegistered(WorkerId worker) override;
  void OnWake(HubId hub) override;
  void OnWaitHints(WaitHints hints) override;
  void OnHearing(bool hears) override;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_DISPATCH_THREAD_H_
