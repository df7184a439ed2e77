// A thread that asks the store for one batch of work after another, with pauses between them.
//
// Threads. One of its own, on which `ask` and `on_batch` run; Start and Stop from one thread, Wake
// from any. Stop does not wait for the batch in flight: whoever stops the store next ends that, and
// its answer finds nobody.
#ifndef DT_SERVER_BATCH_LOOP_H_
#define DT_SERVER_BATCH_LOOP_H_

#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/steady_clock.h"
#include "storage/store.h"

namespace dt {

struct BatchPause {
  absl::Duration length;
  // Nothing is left to do: Wake ends it.
  bool rest = false;
};

template <typename Result>
class BatchLoop {
 public:
  using Ask = std::function<void(Callback<Result>)>;
  // What a batch came to and how long it took; returns the pause before the next one.
  using OnBatch = std::function<BatchPause(const absl::StatusOr<Result>&, absl::Duration took)>;

  BatchLoop() = default;
  ~BatchLoop() { Stop(); }
  BatchLoop(const BatchLoop&) = delete;
  BatchLoop& operator=(const BatchLoop&) = delete;

  // Begins with a batch.
  void Start(Ask ask, OnBatch on_batch) {
    thread_ = std::thread([this, ask = std::move(ask), on_batch = std::move(on_batch)] {
      BatchPause pause;
      do {
        const absl::Time begin = SteadyNow();
        const std::optional<absl::StatusOr<Result>> result = Once(ask);
        if (!result.has_value()) break;
        pause = on_batch(*result, SteadyNow() - begin);
      } while (Wait(pause));
    });
  }

  // There is something to do: the rest is over, the one that is or else the next one.
  void Wake() {
    absl::MutexLock lock(&shared_->mutex);
    shared_->woken = true;
  }

  // Also without Start, and again.
  void Stop() {
    {
      absl::MutexLock lock(&shared_->mutex);
      shared_->stopping = true;
    }
    if (thread_.joinable()) thread_.join();
  }

 private:
  // Outlives this object when the answer of the store comes after Stop.
  struct Shared {
    absl::Mutex mutex;
    bool stopping ABSL_GUARDED_BY(mutex) = false;
    bool woken ABSL_GUARDED_BY(mutex) = false;
    std::optional<absl::StatusOr<Result>> answer ABSL_GUARDED_BY(mutex);
    bool Answered() const ABSL_SHARED_LOCKS_REQUIRED(mutex) {
      return stopping || answer.has_value();
    }
    bool Called() const ABSL_SHARED_LOCKS_REQUIRED(mutex) { return stopping || woken; }
  };

  // One batch; nullopt when Stop was called meanwhile.
  std::optional<absl::StatusOr<Result>> Once(const Ask& ask) {
    ask([shared = shared_](absl::StatusOr<Result> result) {
      absl::MutexLock lock(&shared->mutex);
      shared->answer = std::move(result);
    });
    absl::MutexLock lock(&shared_->mutex);
    shared_->mutex.Await(absl::Condition(shared_.get(), &Shared::Answered));
    if (shared_->stopping) return std::nullopt;
    return std::exchange(shared_->answer, std::nullopt);
  }

  // False when Stop was called.
  bool Wait(const BatchPause& pause) {
    absl::MutexLock lock(&shared_->mutex);
    if (pause.rest) {
      shared_->mutex.AwaitWithTimeout(absl::Condition(shared_.get(), &Shared::Called),
                                      pause.length);
      shared_->woken = false;
    } else {
      shared_->mutex.AwaitWithTimeout(absl::Condition(&shared_->stopping), pause.length);
    }
    return !shared_->stopping;
  }

  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::thread thread_;
};

}  // namespace dt

#endif  // DT_SERVER_BATCH_LOOP_H_
