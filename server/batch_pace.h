// The pace of work that is done in batches beside the daemon's own: how large the next batch is,
// and when it begins. It never gets in the way: a batch is small, and smaller after one that took
// long; between two batches lies a pause that is a multiple of what the last one took; when nothing
// is left, it rests.
//
// Threads: one.
#ifndef DT_SERVER_BATCH_PACE_H_
#define DT_SERVER_BATCH_PACE_H_

#include <cstdint>

#include "absl/time/time.h"

namespace dt {

struct BatchPaceOptions {
  int instances_max = 500;                     // of one batch
  int64_t busy_percent_max = 20;               // of the time, 1 to 100
  absl::Duration interval = absl::Minutes(1);  // the rest when nothing is left
};

class BatchPace {
 public:
  explicit BatchPace(BatchPaceOptions options) : options_(options), batch_(options.instances_max) {}

  // Instances of the next batch.
  int batch() const { return batch_; }
  const BatchPaceOptions& options() const { return options_; }
  // The pause after a batch that took so long; `more`: it left something.
  absl::Duration After(absl::Duration took, bool more);
  // The pause after a batch that failed; the next one is smaller.
  absl::Duration AfterFailure(absl::Duration took);

 private:
  const BatchPaceOptions options_;
  int batch_;
};

}  // namespace dt

#endif  // DT_SERVER_BATCH_PACE_H_
