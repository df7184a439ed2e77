// What workers of other daemons take, of which the rows of Workers tell only what has changed.
//
// Threads: all methods from any thread.
#ifndef DT_STORAGE_POSTGRES_SERVED_BY_OTHERS_H_
#define DT_STORAGE_POSTGRES_SERVED_BY_OTHERS_H_

#include <optional>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/postgres/verbs.h"
#include "storage/postgres/worker_report.h"
#include "storage/store.h"

namespace dt::postgres {

class ServedByOthers {
 public:
  // When the newest was written that is known here: what to ask for. nullopt: nothing is.
  std::optional<absl::Time> since() const {
    absl::MutexLock lock(&mutex_);
    return since_;
  }

  // Takes what all workers say now; returns what those take that live, but for `own`.
  std::vector<ServedWork> Update(const std::vector<WorkerRow>& rows, WorkerId own) {
    absl::MutexLock lock(&mutex_);
    absl::btree_map<WorkerId, std::vector<ServedWork>> served;
    std::vector<ServedWork> others;
    for (const WorkerRow& row : rows) {
      if (row.served_at > since_.value_or(absl::InfinitePast())) since_ = row.served_at;
      if (row.swept || row.worker == own) continue;
      std::vector<ServedWork>& of_worker = served[row.worker];
      of_worker =
          row.served.has_value() ? ParseServed(*row.served) : std::move(served_[row.worker]);
      others.insert(others.end(), of_worker.begin(), of_worker.end());
    }
    served_ = std::move(served);
    return others;
  }

 private:
  mutable absl::Mutex mutex_;
  std::optional<absl::Time> since_ ABSL_GUARDED_BY(mutex_);
  absl::btree_map<WorkerId, std::vector<ServedWork>> served_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_SERVED_BY_OTHERS_H_
