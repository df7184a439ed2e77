// Has the database say, now and then, what waits and what there is, for /metrics. Of all daemons on
// a database one asks (sql/logic/samples.sql), and another follows when its lease is over.
//
// Threads. One of its own; Start and Stop from one thread. Stop does not wait for the answer of the
// store.
#ifndef DT_SERVER_WORK_SAMPLER_H_
#define DT_SERVER_WORK_SAMPLER_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/batch_loop.h"
#include "storage/metrics/metrics.h"
#include "storage/store.h"

namespace dt {

struct WorkSamplerOptions {
  absl::Duration interval = absl::Seconds(15);  // zero = never
  // A sample takes no larger part of the time than this, in percent: one that takes long is
  // followed by a longer pause.
  int busy_percent_max = 2;
  SampleRequest limits{.rows_max = 100000, .count_max = 20000, .live_max = 2000};
};

class WorkSampler {
 public:
  // `store` and `metrics` must outlive this object.
  WorkSampler(Store* store, WorkSamplerOptions options, metrics::Metrics* metrics)
      : store_(store), options_(options), metrics_(*metrics) {}
  WorkSampler(const WorkSampler&) = delete;
  WorkSampler& operator=(const WorkSampler&) = delete;

  void Start();
  void Stop() { loop_.Stop(); }

 private:
  BatchPause OnSample(const absl::StatusOr<WorkSample>& sample, absl::Duration took);

  Store* const store_;
  const WorkSamplerOptions options_;
  metrics::Metrics& metrics_;
  BatchLoop<WorkSample> loop_;
};

}  // namespace dt

#endif  // DT_SERVER_WORK_SAMPLER_H_
