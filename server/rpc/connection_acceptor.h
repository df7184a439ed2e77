// Accepts connections and hands them to gRPC, no more and no faster than this process bears.
//
// gRPC 1.51 would accept as fast as callers connect, and stops listening for good when it meets the
// limit of open files once. Here connections beyond the files that may be open are closed at once,
// some files being kept for PostgreSQL and others, and new connections beyond a rate wait in the
// system's queue, while those that are there are served.
//
// Threads: it has its own.
#ifndef DT_SERVER_RPC_CONNECTION_ACCEPTOR_H_
#define DT_SERVER_RPC_CONNECTION_ACCEPTOR_H_

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "grpcpp/server_builder.h"
#include "server/rpc/listen_address.h"
#include "server/rpc/repeat_limiter.h"

namespace dt::rpc {

// So many a second, and as many at once after a quiet time.
class RateLimit {
 public:
  explicit RateLimit(int per_second_max)
      : per_second_max_(per_second_max), allowance_(per_second_max) {}

  // Takes one, or says how long to wait for it.
  absl::Duration Take(absl::Time now);

 private:
  const double per_second_max_;
  double allowance_;
  absl::Time refilled_ = absl::InfinitePast();
};

class ConnectionAcceptor {
 public:
  struct Options {
    int per_second_max = 500;  // new connections
    // With so many open files of the process connections are refused; 0: with 128 fewer than the
    // system allows it.
    int files_max = 0;
  };
  using Target = grpc::experimental::ExternalConnectionAcceptor;
  struct Source {
    ListenSockets sockets;
    std::shared_ptr<Target> target;
  };

  explicit ConnectionAcceptor(const Options& options);
  // As Stop.
  ~ConnectionAcceptor();

  // Accepts from these. Once; the targets' server must have started.
  void Start(std::vector<Source> sources);
  // Ends the thread and listens no more. Before the server is shut down.
  void Stop();

 private:
  void Run();
  // Accepts one connection; false when there is none, or no file for it.
  bool Accept(int listener, Target& target);
  void Log(const char* what);

  RateLimit rate_;
  const int files_max_;  // fds from here on are not for connections
  int stop_fd_ = -1;     // an eventfd
  std::vector<Source> sources_;
  RepeatLimiter lines_{absl::Seconds(10), /*lines_max=*/1};
  std::thread thread_;
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_CONNECTION_ACCEPTOR_H_
