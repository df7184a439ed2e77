#include "server/rpc/peer_sockets.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "fmt/format.h"

namespace dt::rpc {
namespace {

std::optional<uint64_t> CookieOf(int fd) {
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) != 0) return std::nullopt;
  return cookie;
}

std::optional<int64_t> BytesReceived(int fd) {
  tcp_info info = {};
  socklen_t size = sizeof(info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  if (size < offsetof(tcp_info, tcpi_bytes_received) + sizeof(info.tcpi_bytes_received)) {
    return std::nullopt;
  }
  return static_cast<int64_t>(info.tcpi_bytes_received);
}

std::string Ipv4(const in_addr& address, in_port_t port) {
  char text[INET_ADDRSTRLEN] = "";
  inet_ntop(AF_INET, &address, text, sizeof(text));
  return fmt::format("ipv4:{}:{}", text, ntohs(port));
}

// As gRPC writes peers; an IPv4 address within an IPv6 one is written as such. Empty without one.
std::string PeerOfSocket(int fd) {
  sockaddr_storage storage = {};
  socklen_t size = sizeof(storage);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return "";
  if (storage.ss_family == AF_INET) {
    const auto& address = reinterpret_cast<const sockaddr_in&>(storage);
    return Ipv4(address.sin_addr, address.sin_port);
  }
  if (storage.ss_family != AF_INET6) return "";
  const auto& address = reinterpret_cast<const sockaddr_in6&>(storage);
  if (IN6_IS_ADDR_V4MAPPED(&address.sin6_addr)) {
    in_addr within = {};
    within.s_addr = address.sin6_addr.s6_addr32[3];
    return Ipv4(within, address.sin6_port);
  }
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(AF_INET6, &address.sin6_addr, text, sizeof(text));
  return fmt::format("ipv6:%5B{}%5D:{}", text, ntohs(address.sin6_port));
}

// Calls visitor(fd) for each open file of the process; false when it cannot list them.
template <typename Visitor>
bool VisitFiles(Visitor visitor) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir("/proc/self/fd"), &closedir);
  if (directory == nullptr) return false;
  while (const dirent* const entry = readdir(directory.get())) {
    int fd = -1;
    if (absl::SimpleAtoi(entry->d_name, &fd)) visitor(fd);
  }
  return true;
}

}  // namespace

void ShutDownConnections(const absl::flat_hash_set<int>& ports,
                         const absl::flat_hash_set<std::string>& unix_paths) {
  VisitFiles([&](int fd) {
    // gRPC may close it meanwhile, and something else get its number; the copy stays what it is.
    const int copy = dup(fd);
    if (copy < 0) return;
    if (ports.contains(LocalPort(copy)) || unix_paths.contains(LocalPath(copy))) {
      shutdown(copy, SHUT_RDWR);
    }
    close(copy);
  });
}

int LocalPort(int fd) {
  sockaddr_storage storage = {};
  socklen_t size = sizeof(storage);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return 0;
  if (storage.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in&>(storage).sin_port);
  }
  if (storage.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6&>(storage).sin6_port);
  }
  return 0;
}

std::string LocalPath(int fd) {
  sockaddr_un address = {};
  socklen_t size = sizeof(address);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  if (address.sun_family != AF_UNIX || size <= offsetof(sockaddr_un, sun_path)) return "";
  const size_t length = size - offsetof(sockaddr_un, sun_path);
  return std::string(address.sun_path, strnlen(address.sun_path, length));
}

template <typename Visitor>
void PeerSockets::VisitAll(Visitor visitor) {
  ++visits_;
  const bool visited = VisitFiles([&](int fd) {
    const std::optional<uint64_t> cookie = CookieOf(fd);
    if (!cookie.has_value()) return;
    std::string peer = PeerOfSocket(fd);
    if (peer.empty()) return;
    Socket& socket = sockets_[std::move(peer)];
    if (socket.cookie != *cookie) socket = Socket{fd, *cookie};
    socket.visit = visits_;
    visitor(socket);
  });
  if (!visited) return;
  absl::erase_if(sockets_, [this](const auto& entry) { return entry.second.visit != visits_; });
}

void PeerSockets::Sample() {
  ++samples_;
  VisitAll([](Socket& socket) {
    socket.at_sample_before = socket.at_sample;
    socket.at_sample = BytesReceived(socket.fd).value_or(socket.at_sample);
  });
}

void PeerSockets::Discover() {
  VisitAll([](Socket&) {});
}

std::optional<int64_t> PeerSockets::Received(const std::string& peer) const {
  const auto found = sockets_.find(peer);
  if (found == sockets_.end() || CookieOf(found->second.fd) != found->second.cookie) {
    return std::nullopt;
  }
  return BytesReceived(found->second.fd);
}

int64_t PeerSockets::ReceivedAt(const std::string& peer, int64_t sample) const {
  const auto found = sockets_.find(peer);
  if (found == sockets_.end()) return 0;
  return sample == samples_ ? found->second.at_sample : found->second.at_sample_before;
}

std::optional<PeerSockets::Ended> PeerSockets::ShutDownBusiest(
    const absl::flat_hash_set<int>& ports, int64_t bytes_min) {
  const Socket* busiest = nullptr;
  Ended ended;
  for (const auto& [peer, socket] : sockets_) {
    const int64_t bytes = socket.at_sample - socket.at_sample_before;
    if (bytes < bytes_min || bytes <= ended.bytes || !ports.contains(LocalPort(socket.fd)))
      continue;
    busiest = &socket;
    ended = {peer, bytes};
  }
  if (busiest == nullptr) return std::nullopt;
  // gRPC may close it meanwhile, and something else get its number; the copy stays what it is.
  const int copy = dup(busiest->fd);
  const bool same = copy >= 0 && CookieOf(copy) == busiest->cookie;
  if (same) shutdown(copy, SHUT_RDWR);
  if (copy >= 0) close(copy);
  return same ? std::optional(std::move(ended)) : std::nullopt;
}

}  // namespace dt::rpc
