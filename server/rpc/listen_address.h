// Listen addresses: what may be one, and listening on it.
#ifndef DT_SERVER_RPC_LISTEN_ADDRESS_H_
#define DT_SERVER_RPC_LISTEN_ADDRESS_H_

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dt::rpc {

// kInvalidArgument unless `address` is host:port or unix:path; kFailedPrecondition when it is a
// unix socket that somebody serves: listening takes the place of one that nobody does.
absl::Status CheckListenAddress(const std::string& address);

bool IsUnixSocket(const std::string& address);
// Whether only this machine can connect: a unix socket, localhost, 127.x.x.x or ::1. A host name is
// not looked up.
bool IsLocal(const std::string& address);

// The sockets of one listen address: several for a host name with several IP addresses.
class ListenSockets {
 public:
  struct Options {
    mode_t unix_mode = 0600;  // of unix sockets, whatever the umask
    // After so long without an acknowledgement a TCP connection is given up.
    absl::Duration unacknowledged_max = absl::Seconds(20);
  };

  // Listens. kFailedPrecondition with the address and the system's reason.
  static absl::StatusOr<ListenSockets> Open(const std::string& address, const Options& options);
  ListenSockets(ListenSockets&& other) noexcept
      : address_(std::move(other.address_)), fds_(std::exchange(other.fds_, {})) {}
  ~ListenSockets();

  const std::vector<int>& fds() const { return fds_; }
  // With the real port where port 0 was asked for.
  const std::string& address() const { return address_; }

 private:
  explicit ListenSockets(std::string address) : address_(std::move(address)) {}

  absl::Status OpenUnix(mode_t mode);
  absl::Status OpenTcp(absl::Duration unacknowledged_max);

  std::string address_;
  std::vector<int> fds_;
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_LISTEN_ADDRESS_H_
