// How much memory large answers have that callers have not read yet, and whether one more may be
// sent: gRPC keeps an answer until its caller has read it, and a caller need not.
//
// Threads: all methods may be called from any thread.
#ifndef DT_SERVER_RPC_UNREAD_ANSWERS_H_
#define DT_SERVER_RPC_UNREAD_ANSWERS_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/dispatch/fair_bytes.h"
#include "storage/store.h"

namespace dt::rpc {

class UnreadAnswers {
 public:
  explicit UnreadAnswers(int64_t bytes_max) : bytes_(bytes_max) {}

  // The memory of one answer, until this object goes or is replaced.
  class Charge {
   public:
    Charge() = default;
    ~Charge() { Reset(); }
    Charge(const Charge&) = delete;
    Charge& operator=(const Charge&) = delete;
    void Reset();

   private:
    friend class UnreadAnswers;
    UnreadAnswers* owner_ = nullptr;
    HubId hub_ = 0;
    int64_t bytes_ = 0;
  };

  // Counts an answer of this size to a caller of this hub into `charge`, in place of what that
  // held. kResourceExhausted when the hub has too many unread ones (FairBytes). Small answers are
  // not counted. The charge must not outlive this object.
  absl::Status Count(HubId hub, int64_t bytes, Charge& charge);

 private:
  void GiveBack(HubId hub, int64_t bytes);

  absl::Mutex mutex_;
  dispatch::FairBytes bytes_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<HubId, int64_t> of_hubs_ ABSL_GUARDED_BY(mutex_);  // those that are not 0
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_UNREAD_ANSWERS_H_
