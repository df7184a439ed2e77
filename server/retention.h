// Retention: removes ended instances that have been kept long enough, batch by batch, through the
// store, which lets one daemon at a time do it.
//
// It never gets in the way of the work: a batch is small, and smaller after one that took long;
// between two batches lies a pause that is a multiple of what the last one took; when nothing is
// left, it rests.
//
// Threads. One of its own; Start and Stop from one thread. Stop does not wait for the batch in
// flight: whoever stops the store next ends that.
#ifndef DT_SERVER_RETENTION_H_
#define DT_SERVER_RETENTION_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
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

// What one batch asks of the store.
RetentionRequest RetentionRequestOf(const RetentionOptions& options);

// How large the next batch is, and when it begins.
class RetentionPace {
 public:
  explicit RetentionPace(const RetentionOptions& options)
      : options_(options), batch_(options.batch_instances_max) {}

  int batch() const { return batch_; }
  // The pause after a batch that took so long; `more`: it left something.
  absl::Duration After(absl::Duration took, bool more);

 private:
  const RetentionOptions options_;
  int batch_;
};

class Retention {
 public:
  // `store` must outlive this object.
  Retention(Store* store, RetentionOptions options);
  ~Retention();
  Retention(const Retention&) = delete;
  Retention& operator=(const Retention&) = delete;

  // Does nothing when retention is not enabled.
  void Start();
  void Stop();

 private:
  void Run();
  // Asks for one batch and waits; nullopt when Stop was called meanwhile.
  std::optional<absl::StatusOr<RetentionResult>> ApplyOnce();
  // What the batch came to, for the log; returns the pause before the next one.
  absl::Duration OnBatch(const absl::StatusOr<RetentionResult>& result, absl::Duration took);
  void NoteLeader(const RetentionResult& result);
  void LogPurged();
  // False when Stop was called.
  bool SleepFor(absl::Duration pause);

  Store* const store_;
  const RetentionOptions options_;

  // Of the thread.
  RetentionPace pace_;
  bool leads_ = false;
  // What was removed and is not logged yet, by hub and status, and when that began.
  std::map<std::pair<std::string, RuntimeStatus>, int64_t> purged_;
  absl::Time purged_since_;

  // Outlives this object when the answer of the store comes after Stop.
  struct Shared {
    absl::Mutex mutex;
    bool stopping ABSL_GUARDED_BY(mutex) = false;
    std::optional<absl::StatusOr<RetentionResult>> answer ABSL_GUARDED_BY(mutex);
    bool Answered() const ABSL_SHARED_LOCKS_REQUIRED(mutex) {
      return stopping || answer.has_value();
    }
  };
  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::thread thread_;
};

}  // namespace dt

#endif  // DT_SERVER_RETENTION_H_
