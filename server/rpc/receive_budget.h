// What is received of messages and not finished, of all callers together, is bounded.
//
// gRPC 1.51 holds a message until it is complete, whatever length its caller announced (up to
// 4 GiB; the limit of a message is applied to complete ones). It neither tells how much that is nor
// lets it be bounded but by its resource quota, which harms others (server.h). So a thread looks
// several times a second at the messages that take long, counts what came on their connections,
// and when that is more than the bound, ends the calls on the connection that holds most, and then
// on the next. What arrives between two looks can pass the bound, and messages on unix sockets are
// not counted.
//
// What gRPC holds beside messages, such as headers that never end and calls that are made and taken
// back at once, nobody can count. While the process has too much memory (SetScarce), the connection
// that sends most is ended, and then the next.
//
// Threads: any; the look has its own. Nothing blocks but the destructor.
#ifndef DT_SERVER_RPC_RECEIVE_BUDGET_H_
#define DT_SERVER_RPC_RECEIVE_BUDGET_H_

#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/node_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "grpc/grpc.h"
#include "server/rpc/peer_sockets.h"
#include "server/rpc/repeat_limiter.h"

namespace dt::rpc {

class ReceiveBudget {
 public:
  struct Connection;

  // A message while it is received.
  class Reception {
   protected:
    explicit Reception(grpc_call* call) : call_(call) {}
    ~Reception() = default;

   private:
    friend class ReceiveBudget;
    grpc_call* const call_;
    int looks_ = 0;                     // that have seen it
    int64_t samples_ = 0;               // PeerSockets::samples when it began
    Connection* connection_ = nullptr;  // once it takes long
  };

  explicit ReceiveBudget(int64_t bytes_max);
  ~ReceiveBudget();

  // Before the message is received. `reception` must live until Remove, and its call longer.
  void Add(Reception* reception);
  // Once the message is there, with its bytes, or will not come (0).
  void Remove(Reception* reception, int64_t bytes);

  // What messages that took long held at the last look.
  int64_t held() const;
  // Whether the process has more memory than it may; `ports`: those that callers connect to.
  void SetScarce(bool scarce, absl::flat_hash_set<int> ports);

 private:
  void Run();
  // One look; whether a message is on its way.
  bool Look();
  void EndBusiest(const absl::flat_hash_set<int>& ports);
  // The connections of the messages that take long.
  std::vector<Connection*> SlowConnections() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Measure(const std::vector<Connection*>& connections);
  // The calls to end, each with a reference.
  std::vector<grpc_call*> Exceeding(std::vector<Connection*> connections)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End(const std::vector<grpc_call*>& calls, int64_t held);

  const int64_t bytes_max_;
  mutable absl::Mutex mutex_;
  absl::CondVar wake_;
  bool idle_ ABSL_GUARDED_BY(mutex_) = true;  // the thread waits for a message to look at
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool scarce_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_set<int> ports_ ABSL_GUARDED_BY(mutex_);
  int64_t samples_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t held_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::flat_hash_set<Reception*> receptions_ ABSL_GUARDED_BY(mutex_);
  // By peer. Added to and taken from by the thread alone.
  absl::node_hash_map<std::string, Connection> connections_ ABSL_GUARDED_BY(mutex_);

  // Of the thread.
  PeerSockets sockets_;
  absl::Time next_sample_ = absl::InfinitePast();
  absl::Time next_end_ = absl::InfinitePast();
  RepeatLimiter lines_{absl::Seconds(10), /*lines_max=*/1};
  std::thread thread_;
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_RECEIVE_BUDGET_H_
