// The gRPC server: listen addresses, limits, keepalive, health and reflection around a service.
//
// Threads of gRPC. Every RPC of ours uses the callback API, whose reactions run on the threads that
// poll the callback completion queue; gRPC 1.51 makes clamp(cores / 2, 2, 16) of these, of which
// PollerHold leaves one where there are two. Only reflection uses the synchronous API: one
// completion queue and one poller serve it, and the resource quota caps the threads it may add.
//
// Memory. A caller is let in by its headers (admission.h), and what others send is bounded while it
// is received (receive_budget.h); what is received is bounded by the limits of those who hold it
// (credits, queues). The memory quota of gRPC is not used: at its end gRPC 1.51 cuts the streams of
// whoever comes next in its queue, workers included, holds two to three times as much under a
// flood, and fails an assertion when it has no memory to read into (tcp_posix.cc:894).
//
// Streams of one connection are not limited (GRPC_ARG_MAX_CONCURRENT_STREAMS): connections are as
// many as a caller likes, so that this would bound nothing, and clients make calls wait beyond the
// limit, where the answers of a worker could wait behind waits that wait for these answers.
#ifndef DT_SERVER_RPC_SERVER_H_
#define DT_SERVER_RPC_SERVER_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/server.h"
#include "server/rpc/admission.h"
#include "server/rpc/calls_in_progress.h"
#include "server/rpc/connection_acceptor.h"
#include "server/rpc/health_service.h"
#include "server/rpc/protocol_errors.h"
#include "server/rpc/receive_budget.h"
#include "server/rpc/tls.h"

namespace dt::rpc {

class PollerHold;

struct ServerOptions {
  std::vector<std::string> addresses;  // "host:port" (port 0 = a free one) or "unix:path"
  int receive_bytes_max = 64 << 20;    // of one message that is complete
  // Of all messages that are received and not complete.
  int64_t received_bytes_max = int64_t{256} << 20;
  int metadata_bytes_max = 32 << 10;  // of one call; bearer tokens are large
  absl::Duration keepalive_interval = absl::Seconds(30);
  absl::Duration keepalive_timeout = absl::Seconds(20);
  absl::Duration ping_interval_min = absl::Seconds(10);  // of clients; more often is refused
  // From the connection to the end of TLS's handshake and HTTP/2's first frame.
  absl::Duration handshake_timeout = absl::Seconds(10);
  ConnectionAcceptor::Options connections = {};
  bool reflection = true;
  // Of unix sockets, whatever the umask: who may connect. Others of this machine cannot.
  mode_t unix_mode = 0600;
  TlsOptions tls = {};    // of all addresses but unix sockets
  bool insecure = false;  // addresses that others can reach need neither TLS nor authentication
};

// Whether these may be listened on: files of TLS that are good, and no address that other machines
// can reach without TLS and authentication, unless `insecure` says so, which is logged.
// `authenticated`: callers must say who they are. kInvalidArgument with what to do.
absl::Status CheckExposure(const ServerOptions& options, bool authenticated);

class Server {
 public:
  // Listens and serves at once; health says NOT_SERVING until SetServing. `service`, and `more`, a
  // second one if it is not null, must outlive the server. kInvalidArgument for a bad address or
  // file of TLS, kFailedPrecondition when an address cannot be had (in use, no right), with the
  // reason.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                                       AdmittedService* service,
                                                       AdmittedService* more = nullptr);
  ~Server();

  // What health checks answer.
  void SetServing(bool serving);
  // Whether the process has more memory than it may (receive_budget.h).
  void SetMemoryScarce(bool scarce) { budget_.SetScarce(scarce, ports_); }
  // The addresses as listened on, with real port numbers.
  const std::vector<std::string>& addresses() const { return addresses_; }
  const ReceiveBudget& receive_budget() const { return budget_; }
  // Listens no more, waits for the calls that are in progress up to `grace`, shuts the connections
  // down, and ends. Blocks. gRPC's own way would answer CANCELLED to calls that come meanwhile,
  // which SDKs do not try again; to those of a connection that is gone they say UNAVAILABLE.
  void Shutdown(absl::Duration grace);

 private:
  explicit Server(const ServerOptions& options);

  CallsInProgress calls_;
  ReceiveBudget budget_;
  ProtocolErrors protocol_errors_;
  UnknownMethods unknown_methods_{&protocol_errors_};
  HealthService health_;
  std::unique_ptr<grpc::Server> server_;
  ConnectionAcceptor acceptor_;
  std::unique_ptr<PollerHold> poller_hold_;
  std::vector<std::string> addresses_;
  absl::flat_hash_set<int> ports_;               // of these
  absl::flat_hash_set<std::string> unix_paths_;  // of these
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_SERVER_H_
