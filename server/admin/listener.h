// The admin listener: HTTP for probes, metrics and people, beside gRPC and apart from it, so that
// it can neither slow nor block the work.
//
// Connections. One thread each, of a few; a connection carries one request and may take as long as
// `connection_time_max` in all. When no thread is free, the oldest connection that waits for its
// caller is cut for the new one, or else the oldest, so that callers who hold theirs open, send
// nothing or read nothing keep nobody out: what a probe asks is answered in less time than it takes
// others to come. New connections beyond a rate wait in the system's queue, which bounds what a
// flood costs.
//
// Threads: one accepts, `connections_max` serve; Start and the destructor on any one thread.
#ifndef DT_SERVER_ADMIN_LISTENER_H_
#define DT_SERVER_ADMIN_LISTENER_H_

#include <sys/types.h>

#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/admin/http.h"
#include "server/admin/routes.h"
#include "server/admin/tls_files.h"
#include "server/rpc/access_control.h"
#include "server/rpc/connection_acceptor.h"
#include "server/rpc/tls.h"

namespace dt::admin {

struct ListenerOptions {
  std::vector<std::string> addresses;  // as those of gRPC; none = off
  int connections_max = 16;            // at once
  absl::Duration connection_time_max = absl::Seconds(10);
  int connections_per_second_max = 500;
  size_t request_bytes_max = 32 << 10;  // with its headers
  mode_t unix_mode = 0600;
  rpc::TlsOptions tls = {};  // of all addresses but unix sockets
  bool insecure = false;     // addresses that others can reach need neither TLS nor authentication
  HttpOptions http;
};

class Listener {
 public:
  // Listens and serves at once. Both must outlive it. Errors as those of rpc::Server::Start.
  static absl::StatusOr<std::unique_ptr<Listener>> Start(const ListenerOptions& options,
                                                         const Routes* routes,
                                                         const rpc::AccessControl* access);
  // Cuts all connections.
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // With real port numbers.
  const std::vector<std::string>& addresses() const { return addresses_; }

 private:
  class Target;
  struct Accepted {
    std::unique_ptr<Wire> wire;
    bool tls = false;
  };

  Listener(const ListenerOptions& options, const Routes* routes, const rpc::AccessControl* access);
  void Accept(int fd, bool tls);
  void Serve();
  // Cuts connections until there are threads for those that wait.
  void MakeRoom() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The next connection for a thread; null: it is time to end.
  std::unique_ptr<Wire> Next(bool* tls);
  bool HasNext() const ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return stopping_ || !next_.empty(); }

  const ListenerOptions options_;
  Http http_;
  TlsFiles tls_files_;
  std::vector<std::string> addresses_;
  absl::Mutex mutex_;
  std::deque<Accepted> next_ ABSL_GUARDED_BY(mutex_);
  // That threads serve and that were not cut, the oldest first.
  std::list<const Wire*> served_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
  rpc::ConnectionAcceptor acceptor_;
};

}  // namespace dt::admin

#endif  // DT_SERVER_ADMIN_LISTENER_H_
