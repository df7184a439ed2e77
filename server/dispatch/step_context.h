// What all parts of the dispatcher share: the limits, the time and the effects of the step under
// way, and what identifies this process.
//
// Used by the dispatcher's one thread only.
#ifndef DT_SERVER_DISPATCH_STEP_CONTEXT_H_
#define DT_SERVER_DISPATCH_STEP_CONTEXT_H_

#include <algorithm>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "server/dispatch/events.h"
#include "server/dispatch/fair_bytes.h"
#include "storage/metrics/metrics.h"

namespace dt::dispatch {

class StepContext {
 public:
  // `ids` and `its_metrics` must outlive the context; `seed` is for jitter only.
  StepContext(DispatchLimits its_limits, orchestration::IdSource* its_ids, uint64_t seed,
              metrics::Metrics* its_metrics)
      : limits(std::move(its_limits)),
        ids(its_ids),
        metrics(*its_metrics),
        work(limits.work_bytes_max),
        random_(static_cast<std::minstd_rand::result_type>(seed % 2147483646 + 1)) {}

  void Begin(absl::Time store_now, absl::Time steady_now, std::vector<Effect>* effects) {
    now = std::max(now, store_now);
    steady = steady_now;
    effects_ = effects;
  }

  void Do(Effect effect) { effects_->push_back(std::move(effect)); }
  std::vector<Effect>& effects() { return *effects_; }
  // Answers a caller once; does nothing when there is none, or it was answered.
  void Reply(DoneCallback& done, absl::Status status) {
    if (done != nullptr) Do(Answer{std::move(done), std::move(status)});
    done = nullptr;
  }

  LeaseToken NewToken() { return MakeLeaseToken(worker, ++last_token_); }
  TaskKey NewTaskKey() { return MakeTaskKey(worker, ++last_task_key_); }
  int64_t NewNumber() { return ++last_number_; }
  absl::Duration Jittered(absl::Duration duration) {
    return duration * std::uniform_real_distribution<double>(0.8, 1.2)(random_);
  }

  // Whether leases may be taken: the process is registered and does not drain.
  bool leasing() const { return worker != 0 && !draining; }
  // Whether the lease is one of this registration.
  bool IsOwn(LeaseToken lease) const { return LeaseTokenWorker(lease) == worker; }
  // When it is so late by the steady clock, if the store's goes on as it does now.
  absl::Time SteadyOf(absl::Time due) const { return due <= now ? steady : steady + (due - now); }
  // An item that lost so many leases in a row is given up (2.10).
  bool Poisoned(int32_t lost_leases) const {
    return limits.lost_leases_max > 0 && lost_leases > limits.lost_leases_max;
  }

  const DispatchLimits limits;
  orchestration::IdSource* const ids;
  metrics::Metrics& metrics;
  absl::Time now = absl::InfinitePast();  // the store's: of messages, timers and what is stored
  absl::Time steady;                      // of this process: of pauses, holds and waits
  WorkerId worker = 0;
  bool draining = false;
  bool hears = false;  // hints of other daemons arrive
  bool ended = false;
  FairBytes work;  // memory of items that are not idle
  // Answers of workers, and what follows from them, on their way to the store.
  int commits_in_flight = 0;

 private:
  std::vector<Effect>* effects_ = nullptr;  // valid during a step
  std::minstd_rand random_;
  int64_t last_token_ = 0;
  int64_t last_task_key_ = 0;
  int64_t last_number_ = 0;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_STEP_CONTEXT_H_
