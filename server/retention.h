// Retention: removes ended instances that have been kept long enough, batch by batch, through the
// store, which lets one daemon at a time do it.
//
// It never gets in the way of the work (batch_pace.h).
//
// Threads. One of its own; Start and Stop from one thread. Stop does not wait for the batch in
// flight: whoever stops the store next ends that.
#ifndef DT_SERVER_RETENTION_H_
#define DT_SERVER_RETENTION_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/batch_loop.h"
#include "server/batch_pace.h"
#include "storage/metrics/metrics.h"
#include "storage/store.h"

namespace dt {

struct RetentionOptions {
  bool enabled = false;
  // How long ended instances are kept, in hours, where their hub has no policy of its own; -1 = for
  // ever. Without an hour of its own a status goes by default_hours.
  int64_t default_hours = -1;
  std::optional<int64_t> completed_hours;
  std::optional<int64_t> failed_hours;
  std::optional<int64_t> canceled_hours;
  std::optional<int64_t> terminated_hours;
  absl::Duration grace = absl::Seconds(10);
  int batch_instances_max = 500;
  int64_t busy_percent_max = 20;
  absl::Duration interval = absl::Minutes(1);
};

BatchPaceOptions PaceOf(const RetentionOptions& options);
// What one batch asks of the store.
RetentionRequest RetentionRequestOf(const RetentionOptions& options);

class Retention {
 public:
  // `store` and `metrics` must outlive this object.
  Retention(Store* store, RetentionOptions options, metrics::Metrics* metrics);
  ~Retention();
  Retention(const Retention&) = delete;
  Retention& operator=(const Retention&) = delete;

  // Does nothing when retention is not enabled.
  void Start();
  void Stop();

 private:
  void Ask(Callback<RetentionResult> done);
  // What the batch came to, for the log; returns the pause before the next one.
  BatchPause OnBatch(const absl::StatusOr<RetentionResult>& result, absl::Duration took);
  void NoteLeader(const RetentionResult& result);
  void LogPurged();

  Store* const store_;
  metrics::Metrics& metrics_;
  const RetentionOptions options_;

  // Of the thread, and of Stop when that has ended.
  BatchPace pace_;
  bool leads_ = false;
  // What was removed and is not logged yet, by hub and status, and when that began.
  std::map<std::pair<std::string, RuntimeStatus>, int64_t> purged_;
  absl::Time purged_since_;

  BatchLoop<RetentionResult> loop_;
};

}  // namespace dt

#endif  // DT_SERVER_RETENTION_H_
