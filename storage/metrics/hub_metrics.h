// What is counted of one task hub, and the hubs by id. Names are capped: further hubs are counted
// together, so that callers cannot make this process, or whoever scrapes it, keep any number of
// series.
//
// Threads: all methods may be called from any thread. References stay good for the life of the
// table.
#ifndef DT_STORAGE_METRICS_HUB_METRICS_H_
#define DT_STORAGE_METRICS_HUB_METRICS_H_

#include <array>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "storage/metrics/instruments.h"
#include "storage/records.h"

namespace dt::metrics {

// In the order of dispatch::WorkType.
inline constexpr std::array<std::string_view, 3> kKinds = {"orchestration", "activity", "entity"};

// How a worker's answer ended a work item.
enum class Answer : int8_t {
  kOk,       // also of an orchestration that goes on
  kFailure,  // the activity, the orchestration or an operation of the entity failed
  kStale,    // of an item that is not here any more: it changed nothing
};
inline constexpr std::array<std::string_view, 3> kAnswers = {"ok", "failure", "stale"};

// Why a work item left its worker without an answer.
enum class Abandon : int8_t {
  kWorker,   // gave it back, or could not run it
  kStream,   // its stream ended
  kExpired,  // it had it for too long
  kMemory,   // the daemon had no memory for the parts of its answer
};
inline constexpr std::array<std::string_view, 4> kAbandons = {"worker", "stream_ended", "expired",
                                                              "memory"};

// What orchestrations ask for.
enum class ActionKind : int8_t {
  kActivity,
  kSubOrchestration,
  kTimer,
  kSendEvent,
  kEntity,
  kTerminate,
  kComplete,
  kContinueAsNew,
  kRewind,
};
inline constexpr std::array<std::string_view, 9> kActions = {
    "activity",  "sub_orchestration", "timer",           "send_event", "entity",
    "terminate", "complete",          "continue_as_new", "rewind"};

// How orchestrations end.
enum class End : int8_t { kCompleted, kFailed, kTerminated, kCanceled };
inline constexpr std::array<std::string_view, 4> kEnds = {"completed", "failed", "terminated",
                                                          "canceled"};
End EndOf(RuntimeStatus status);  // of a terminal one
std::string_view StatusName(RuntimeStatus status);

// By whom instances are removed.
enum class Purge : int8_t { kRetention, kRequest };
inline constexpr std::array<std::string_view, 2> kPurges = {"retention", "request"};

// A counter for each value of an enum.
template <typename Enum, size_t kSize>
class CounterBy {
 public:
  Counter& operator[](Enum value) { return counters_[static_cast<size_t>(value)]; }
  const Counter& at(size_t number) const { return counters_[number]; }

 private:
  std::array<Counter, kSize> counters_;
};

// Of one kind of work.
struct WorkMetrics {
  Counter dispatched;
  Counter redelivered;
  Counter poisoned;
  CounterBy<Answer, kAnswers.size()> completed;
  CounterBy<Abandon, kAbandons.size()> abandoned;
  Histogram<WaitBounds> dispatch_latency;
  Histogram<WaitBounds> duration;
  Gauge credits;  // of all streams here
  Gauge active;   // at workers
};

struct HubMetrics {
  std::array<WorkMetrics, kKinds.size()> work;
  Counter instances_started;
  CounterBy<End, kEnds.size()> instances_finished;
  CounterBy<ActionKind, kActions.size()> actions;
  CounterBy<Purge, kPurges.size()> purged;
  Counter history_bytes;
  Counter leases_lost;
  Histogram<WaitBounds> timer_lag;
  Gauge connected_workers;
};

class HubMetricsTable {
 public:
  // The name of those that have none of their own.
  static constexpr std::string_view kOther = "_other";

  explicit HubMetricsTable(size_t names_max = 50) : names_max_(names_max) {}

  // The id means this name from now on. A hub that was deleted and made again goes on counting.
  void Name(HubId id, std::string_view name);
  // kOther's for an id without a name. Once for a hub, not once for an event.
  HubMetrics& Of(HubId id);
  HubMetrics& OfName(std::string_view name);
  // In the order of the names, kOther when it was used. Must not call the table.
  void Visit(const std::function<void(const std::string&, const HubMetrics&)>& visit) const;

 private:
  HubMetrics& Get(std::string_view name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t names_max_;
  mutable absl::Mutex mutex_;
  std::map<std::string, std::unique_ptr<HubMetrics>, std::less<>> by_name_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<HubId, HubMetrics*> by_id_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dt::metrics

#endif  // DT_STORAGE_METRICS_HUB_METRICS_H_
