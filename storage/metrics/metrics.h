// All that a daemon counts, for whoever counts and for /metrics (server/admin/metrics_page.h).
// deploy/METRICS.md says what each means.
//
// Threads: as hub_metrics.h and instruments.h. By name or verb is looked up once, where something
// begins that counts for long.
#ifndef DT_STORAGE_METRICS_METRICS_H_
#define DT_STORAGE_METRICS_METRICS_H_

#include <array>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "storage/management_records.h"
#include "storage/metrics/hub_metrics.h"
#include "storage/metrics/instruments.h"

namespace dt::metrics {

// Instruments by a label whose values are known to the code alone, so that they are few.
template <typename Instrument>
class ByLabel {
 public:
  // Stays good for the life of this object.
  Instrument& Of(std::string_view label) {
    absl::MutexLock lock(&mutex_);
    const auto found = by_label_.find(label);
    return found != by_label_.end() ? found->second : by_label_[std::string(label)];
  }
  void Visit(const std::function<void(const std::string&, const Instrument&)>& visit) const {
    absl::MutexLock lock(&mutex_);
    for (const auto& [label, instrument] : by_label_) visit(label, instrument);
  }

 private:
  mutable absl::Mutex mutex_;
  std::map<std::string, Instrument, std::less<>> by_label_ ABSL_GUARDED_BY(mutex_);
};

struct DatabaseMetrics {
  ByLabel<Histogram<CallBounds>> query_seconds;  // by function
  ByLabel<Histogram<SizeBounds>> batch_size;     // by lane
  ByLabel<Counter> errors;                       // by class of SQLSTATE; "none" without one
  Counter retries;
  Counter notify_received;
  Gauge connections_open;
  Gauge connections_busy;  // of these
};

// The codes of gRPC, in the order of their numbers.
inline constexpr std::array<std::string_view, 17> kStatusCodes = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

// Of one RPC.
struct RpcMetrics {
  std::array<Counter, kStatusCodes.size()> handled;  // by code
  Histogram<CallBounds> handling_seconds;
};

// What the last sample of the database found. Nothing unless this daemon takes the samples, so that
// the sum over all daemons is what there is.
class Sampled {
 public:
  void Set(WorkSample sample) {
    absl::MutexLock lock(&mutex_);
    sample_ = std::move(sample);
  }
  WorkSample Get() const {
    absl::MutexLock lock(&mutex_);
    return sample_;
  }

 private:
  mutable absl::Mutex mutex_;
  WorkSample sample_ ABSL_GUARDED_BY(mutex_);
};

struct Metrics {
  explicit Metrics(size_t hub_names_max = 50) : hubs(hub_names_max) {}

  HubMetricsTable hubs;
  DatabaseMetrics database;
  ByLabel<RpcMetrics> rpcs;  // by method
  Gauge residents;
  Sampled sampled;
  Counter sweep_freed;
  ByLabel<Gauge> leader;  // by role: 1 = this daemon
};

}  // namespace dt::metrics

#endif  // DT_STORAGE_METRICS_METRICS_H_
