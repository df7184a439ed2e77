// Fails operations that a lane refused, on a thread of its own, because a callback must not run on
// the thread of the caller, who may hold locks.
//
// Threads. Add from any thread. The thread lives until the destructor, which fails what is left.
#ifndef DT_STORAGE_POSTGRES_REFUSALS_H_
#define DT_STORAGE_POSTGRES_REFUSALS_H_

#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "storage/postgres/lane.h"

namespace dt::postgres {

class Refusals {
 public:
  Refusals();
  ~Refusals();
  Refusals(const Refusals&) = delete;
  Refusals& operator=(const Refusals&) = delete;

  void Add(std::unique_ptr<Operation> operation, absl::Status status);

 private:
  using Refused = std::pair<std::unique_ptr<Operation>, absl::Status>;
  void Run();
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || !refused_.empty();
  }

  absl::Mutex mutex_;
  std::vector<Refused> refused_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_REFUSALS_H_
