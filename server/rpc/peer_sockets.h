// How many bytes came on the connections of this process, as the kernel counts them. gRPC does not
// tell how much of a message it holds before it is complete.
//
// Threads: one at a time.
#ifndef DT_SERVER_RPC_PEER_SOCKETS_H_
#define DT_SERVER_RPC_PEER_SOCKETS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"

namespace dt::rpc {

// The port of this process that a TCP socket is bound to; 0 if it is none.
int LocalPort(int fd);
// The path of a unix socket that was listened on, or of a connection to it; else empty.
std::string LocalPath(int fd);

// Shuts down, in both directions, the connections of this process to these ports and to the unix
// sockets of these paths. What was written to them before still reaches the peer.
void ShutDownConnections(const absl::flat_hash_set<int>& ports,
                         const absl::flat_hash_set<std::string>& unix_paths);

class PeerSockets {
 public:
  // Notes the bytes of all TCP sockets of the process. Takes 1 to 2 us for each.
  void Sample();
  // How often Sample was called.
  int64_t samples() const { return samples_; }

  // Finds the connections that are newer than the last sample; at the same cost.
  void Discover();
  // Bytes that came on the connection with this peer, as gRPC writes it ("ipv4:127.0.0.1:1234").
  // Nullopt when it is gone, not known yet, or no TCP connection.
  std::optional<int64_t> Received(const std::string& peer) const;
  // The same when Sample had been called so often, which must be one of the last two times; 0 for
  // connections that are newer.
  int64_t ReceivedAt(const std::string& peer, int64_t sample) const;

  struct Ended {
    std::string peer;
    int64_t bytes = 0;
  };
  // Shuts down the connection to one of these ports of this process that received most between the
  // last two samples, if that was `bytes_min` at least.
  std::optional<Ended> ShutDownBusiest(const absl::flat_hash_set<int>& ports, int64_t bytes_min);

 private:
  struct Socket {
    int fd = -1;
    uint64_t cookie = 0;  // of the kernel: another socket has another
    int64_t visit = 0;    // the last that found it
    int64_t at_sample = 0;
    int64_t at_sample_before = 0;
  };

  // Calls visitor(socket) for each connection, and forgets those that are gone.
  template <typename Visitor>
  void VisitAll(Visitor visitor);

  int64_t samples_ = 0;
  int64_t visits_ = 0;
  absl::flat_hash_map<std::string, Socket> sockets_;  // by peer
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_PEER_SOCKETS_H_
