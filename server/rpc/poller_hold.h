// Leaves gRPC one polling thread where it makes two.
//
// gRPC 1.51 serves the callback API by clamp(cores / 2, 2, 16) threads on one completion queue. Two
// of them get in each other's way: whoever takes an event hands the polling over to the other and
// wakes it for each event behind the first, and both meet at the lock of the queue. That is most of
// a daemon's context switches, so one of the two is held in the callback of a call that the process
// makes to itself, as long as the server lives.
//
// A poller that has seen no event for a second sleeps for 100 ms, whatever arrives. For two threads
// that hardly shows; one alone would keep calls waiting. So the held thread makes a small call more
// often than that.
//
// That is so in gRPC 1.51. With another version none is held, and neither when no other poller has
// answered the first of those calls: a server without a poller would answer nobody. Both are logged
// once.
//
// Larger machines keep all their pollers. So does a process for its further servers: the pollers
// are the process's, and one must be left.
#ifndef DT_SERVER_RPC_POLLER_HOLD_H_
#define DT_SERVER_RPC_POLLER_HOLD_H_

#include <memory>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/server.h"

namespace dt::rpc {

class PollerHold {
 public:
  // OK if pollers are as above in this version of gRPC ("1.51.1"), or why none is held.
  static absl::Status Knows(std::string_view grpc_version);
  // `server` answers health checks. Null when there is nothing to hold.
  static std::unique_ptr<PollerHold> Start(grpc::Server& server);

  // Holds one more poller, whatever else is held; but not for longer than `answer_max` unless
  // another one answers a call by then.
  PollerHold(grpc::Server& server, absl::Duration answer_max);
  // Lets the poller go and waits until no call is left. Before the server is shut down.
  ~PollerHold();

  // Whether a poller is held: waits until that is known.
  bool holds();

 private:
  enum class AtEnd : int8_t { kHold, kNote };
  enum class State : int8_t { kUnknown, kHolds, kLetsGo };

  // Makes a call that ends on a poller.
  void Call(AtEnd at_end);
  // Keeps the calling thread until the destructor, if another poller answers.
  void Hold();
  // Whether a call has been answered while this poller is held, or the hold is to end anyway.
  bool AnotherAnswers();
  bool StopsWithin(absl::Duration time);

  const absl::Duration answer_max_;
  bool of_process_ = false;  // the one that Start makes
  grpc::GenericStub stub_;
  absl::Mutex mutex_;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;  // whose callback has not returned
  bool answered_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kUnknown;
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_POLLER_HOLD_H_
