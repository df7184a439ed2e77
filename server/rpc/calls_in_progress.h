// Counts the calls of a server that have not ended, so that its end can wait for their answers to
// be on their way.
//
// Threads: any, AwaitEarlier one at a time.
#ifndef DT_SERVER_RPC_CALLS_IN_PROGRESS_H_
#define DT_SERVER_RPC_CALLS_IN_PROGRESS_H_

#include <atomic>
#include <cstdint>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace dt::rpc {

class CallsInProgress {
 public:
  // Calls that begin before AwaitEarlier, and later ones, which it does not wait for: callers that
  // try again and again would keep it waiting.
  enum class Period { kServing, kEnding };

  // A call has begun; what it returns is due to End, once.
  Period Begin();
  void End(Period began);

  // Waits until all calls have ended that began before, for so long at most; whether they have.
  bool AwaitEarlier(absl::Duration time_max);

 private:
  std::atomic<Period> period_ = Period::kServing;
  std::atomic<int64_t> serving_ = 0;  // calls of that period
  absl::Mutex ending_;                // guards nothing; who unlocks it has the wait look again
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_CALLS_IN_PROGRESS_H_
