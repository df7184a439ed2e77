#include "server/rpc/listen_address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "fmt/format.h"

namespace dt::rpc {
namespace {

constexpr std::string_view kUnix = "unix:";

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

// Tries what gRPC tried, to learn the reason; 0 when it works.
int BindError(const sockaddr* target, socklen_t size) {
  const int fd = socket(target->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const int error = bind(fd, target, size) == 0 && listen(fd, 1) == 0 ? 0 : errno;
  close(fd);
  return error;
}

std::string Reason(const std::string& address) {
  if (IsUnixSocket(address)) {
    sockaddr_un target{};
    if (!FillUnix(address, target)) return "the path is too long";
    const int error = BindError(reinterpret_cast<const sockaddr*>(&target), sizeof(target));
    return error == 0 ? "" : std::strerror(error);
  }
  const auto [host, port] = HostAndPort(address);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int resolved = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (resolved != 0) return gai_strerror(resolved);
  std::string reason;
  for (const addrinfo* one = found; one != nullptr && reason.empty(); one = one->ai_next) {
    const int error = BindError(one->ai_addr, one->ai_addrlen);
    if (error != 0) reason = std::strerror(error);
  }
  freeaddrinfo(found);
  return reason;
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

absl::Status WhyNotListening(const std::vector<std::string>& addresses) {
  for (const std::string& address : addresses) {
    const std::string reason = Reason(address);
    if (!reason.empty()) {
      return absl::FailedPreconditionError(fmt::format(
          "cannot listen on {}: {}; stop the other process or choose another address with --listen",
          address, reason));
    }
  }
  return absl::FailedPreconditionError(
      "cannot listen: gRPC refused an address; its reason is in the log");
}

std::string WithPort(const std::string& address, int port) {
  if (IsUnixSocket(address)) return address;
  return fmt::format("{}:{}", address.substr(0, address.rfind(':')), port);
}

}  // namespace dt::rpc
