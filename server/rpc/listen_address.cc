#include "server/rpc/listen_address.h"

#include <arpa/inet.h>
#include <linux/tcp.h>  // as peer_sockets.cc, which needs more than netinet/tcp.h has
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "fmt/format.h"

namespace dt::rpc {
namespace {

constexpr std::string_view kUnix = "unix:";
constexpr int kBacklog = 4096;  // connections that wait to be accepted; the system may allow less

// Host without brackets, and port.
std::pair<std::string, std::string> HostAndPort(const std::string& address) {
  const size_t colon = address.rfind(':');
  std::string host = address.substr(0, colon);
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return {std::move(host), address.substr(colon + 1)};
}

// A unix address, or an error when the path does not fit.
bool FillUnix(const std::string& address, sockaddr_un& target) {
  const std::string path = address.substr(kUnix.size());
  if (path.empty() || path.size() >= sizeof(target.sun_path)) return false;
  target.sun_family = AF_UNIX;
  std::memcpy(target.sun_path, path.c_str(), path.size() + 1);
  return true;
}

bool SomebodyServes(const sockaddr_un& target) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool connected =
      connect(fd, reinterpret_cast<const sockaddr*>(&target), sizeof(target)) == 0;
  close(fd);
  return connected;
}

// The umask of the process, for the length of a scope.
class UmaskFor {
 public:
  explicit UmaskFor(mode_t mask) : before_(umask(mask)) {}
  ~UmaskFor() { umask(before_); }
  UmaskFor(const UmaskFor&) = delete;
  UmaskFor& operator=(const UmaskFor&) = delete;

 private:
  const mode_t before_;
};

absl::Status CannotListen(const std::string& address, const char* reason) {
  return absl::FailedPreconditionError(fmt::format(
      "cannot listen on {}: {}; stop the other process or choose another address with --listen",
      address, reason));
}

void Set(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof(value));
}

// Accepted connections inherit these options.
void SetTcpOptions(int fd, int family, absl::Duration unacknowledged_max) {
  Set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  Set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  Set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
      static_cast<int>(absl::ToInt64Milliseconds(unacknowledged_max)));
  if (family == AF_INET6) Set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
}

// A socket that listens, or -1 with errno.
int ListenOn(const sockaddr* target, socklen_t size, absl::Duration unacknowledged_max) {
  const int fd = socket(target->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  if (target->sa_family != AF_UNIX) SetTcpOptions(fd, target->sa_family, unacknowledged_max);
  if (bind(fd, target, size) == 0 && listen(fd, kBacklog) == 0) return fd;
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

bool IsAny(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    return reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr == htonl(INADDR_ANY);
  }
  return address->sa_family == AF_INET6 &&
         IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
}

int PortOf(int fd) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  // Both families have the port at the same place.
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

using Resolved = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;

// The addresses of a host, or why there are none.
Resolved Resolve(const std::string& host, const std::string& port, const char*& reason) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    reason = gai_strerror(error);
    return Resolved(nullptr, &freeaddrinfo);
  }
  return Resolved(found, &freeaddrinfo);
}

// As ListenOn, for all addresses of this machine: those of IPv6 and IPv4 where it has both.
int ListenOnAny(int port, absl::Duration unacknowledged_max) {
  sockaddr_in6 both = {};
  both.sin6_family = AF_INET6;
  both.sin6_port = htons(static_cast<in_port_t>(port));
  const int fd =
      ListenOn(reinterpret_cast<const sockaddr*>(&both), sizeof(both), unacknowledged_max);
  if (fd >= 0 || (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL)) return fd;
  sockaddr_in v4 = {};
  v4.sin_family = AF_INET;
  v4.sin_port = both.sin6_port;
  return ListenOn(reinterpret_cast<const sockaddr*>(&v4), sizeof(v4), unacknowledged_max);
}

}  // namespace

bool IsUnixSocket(const std::string& address) {
  return std::string_view(address).substr(0, kUnix.size()) == kUnix;
}

bool IsLocal(const std::string& address) {
  if (IsUnixSocket(address)) return true;
  const std::string host = HostAndPort(address).first;
  if (host == "localhost") return true;
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

absl::Status CheckListenAddress(const std::string& address) {
  if (IsUnixSocket(address)) {
    sockaddr_un target{};
    if (!FillUnix(address, target)) {
      return absl::InvalidArgumentError(
          fmt::format("listen address '{}': the path must have 1 to {} bytes", address,
                      sizeof(target.sun_path) - 1));
    }
    if (SomebodyServes(target)) {
      return absl::FailedPreconditionError(
          fmt::format("cannot listen on {}: another process serves this socket; stop it or choose "
                      "another path",
                      address));
    }
    return absl::OkStatus();
  }
  const auto [host, port] = HostAndPort(address);
  int number = -1;
  if (address.find(':') == std::string::npos || host.empty() || !absl::SimpleAtoi(port, &number) ||
      number < 0 || number > 65535) {
    return absl::InvalidArgumentError(
        fmt::format("listen address '{}' is neither host:port nor unix:path", address));
  }
  return absl::OkStatus();
}

absl::StatusOr<ListenSockets> ListenSockets::Open(const std::string& address,
                                                  const Options& options) {
  ListenSockets sockets(address);
  const absl::Status status = IsUnixSocket(address) ? sockets.OpenUnix(options.unix_mode)
                                                    : sockets.OpenTcp(options.unacknowledged_max);
  if (!status.ok()) return status;
  return sockets;
}

absl::Status ListenSockets::OpenUnix(mode_t mode) {
  sockaddr_un target{};
  if (!FillUnix(address_, target)) return CannotListen(address_, "the path is too long");
  struct stat found {};
  if (stat(target.sun_path, &found) == 0 && S_ISSOCK(found.st_mode)) unlink(target.sun_path);
  // A chmod afterwards would leave a moment in which others can connect.
  const UmaskFor mask(~mode & 0777);
  const int fd = ListenOn(reinterpret_cast<const sockaddr*>(&target), sizeof(target), {});
  if (fd < 0) return CannotListen(address_, std::strerror(errno));
  fds_.push_back(fd);
  return absl::OkStatus();
}

// An address that this machine does not have is left out as long as another is there, such as that
// of IPv6 in what localhost means.
absl::Status ListenSockets::OpenTcp(absl::Duration unacknowledged_max) {
  const auto [host, port_text] = HostAndPort(address_);
  int port = 0;
  if (!absl::SimpleAtoi(port_text, &port)) return CannotListen(address_, "the port is no number");
  const char* reason = "the host has no address";
  const Resolved resolved = Resolve(host, port_text, reason);
  for (const addrinfo* one = resolved.get(); one != nullptr; one = one->ai_next) {
    // All have the port that the first was given. Both families have it at the same place.
    reinterpret_cast<sockaddr_in*>(one->ai_addr)->sin_port = htons(static_cast<in_port_t>(port));
    const int fd = IsAny(one->ai_addr)
                       ? ListenOnAny(port, unacknowledged_max)
                       : ListenOn(one->ai_addr, one->ai_addrlen, unacknowledged_max);
    if (fd >= 0) {
      fds_.push_back(fd);
      port = PortOf(fd);
      continue;
    }
    reason = std::strerror(errno);
    if (errno != EADDRNOTAVAIL && errno != EAFNOSUPPORT) return CannotListen(address_, reason);
  }
  if (fds_.empty()) return CannotListen(address_, reason);
  address_ = fmt::format("{}:{}", address_.substr(0, address_.rfind(':')), port);
  return absl::OkStatus();
}

ListenSockets::~ListenSockets() {
  for (const int fd : fds_) close(fd);
  sockaddr_un target{};
  if (fds_.empty() || !IsUnixSocket(address_) || !FillUnix(address_, target)) return;
  unlink(target.sun_path);
}

}  // namespace dt::rpc
