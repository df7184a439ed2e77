#include "server/rpc/connection_acceptor.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "spdlog/spdlog.h"
#include "storage/steady_clock.h"

namespace dt::rpc {
namespace {

// For PostgreSQL, certificates, the access file and what libraries open.
constexpr rlim_t kFilesKept = 128;
// Before the next try when the system has no file or memory for a connection.
constexpr absl::Duration kExhaustedPause = absl::Milliseconds(100);

int FilesMaxOfProcess() {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur > static_cast<rlim_t>(std::numeric_limits<int>::max())) {
    return std::numeric_limits<int>::max();
  }
  return static_cast<int>(limit.rlim_cur - std::min(kFilesKept, limit.rlim_cur / 4));
}

}  // namespace

absl::Duration RateLimit::Take(absl::Time now) {
  const double seconds = absl::ToDoubleSeconds(now - std::exchange(refilled_, now));
  allowance_ = std::clamp(allowance_ + seconds * per_second_max_, 0.0, per_second_max_);
  if (allowance_ < 1) return absl::Seconds((1 - allowance_) / per_second_max_);
  allowance_ -= 1;
  return absl::ZeroDuration();
}

ConnectionAcceptor::ConnectionAcceptor(const Options& options)
    : rate_(options.per_second_max),
      files_max_(options.files_max > 0 ? options.files_max : FilesMaxOfProcess()) {}

ConnectionAcceptor::~ConnectionAcceptor() { Stop(); }

void ConnectionAcceptor::Start(std::vector<Source> sources) {
  sources_ = std::move(sources);
  stop_fd_ = eventfd(0, EFD_CLOEXEC);
  thread_ = std::thread([this] { Run(); });
}

void ConnectionAcceptor::Stop() {
  if (!thread_.joinable()) return;
  eventfd_write(stop_fd_, 1);
  thread_.join();
  close(stop_fd_);
  sources_.clear();
}

void ConnectionAcceptor::Run() {
  std::vector<pollfd> polled = {{stop_fd_, POLLIN, 0}};
  std::vector<Target*> targets = {nullptr};
  for (const Source& source : sources_) {
    for (const int fd : source.sockets.fds()) {
      polled.push_back({fd, POLLIN, 0});
      targets.push_back(source.target.get());
    }
  }
  for (;;) {
    poll(polled.data(), polled.size(), /*timeout=*/-1);
    absl::Duration pause = absl::ZeroDuration();
    for (size_t i = 1; i < polled.size(); ++i) {
      if (polled[i].revents == 0) continue;
      pause = std::max(pause, rate_.Take(SteadyNow()));
      if (pause > absl::ZeroDuration()) break;
      if (!Accept(polled[i].fd, *targets[i])) pause = kExhaustedPause;
    }
    // In a pause only the end is waited for.
    const int milliseconds =
        static_cast<int>(absl::ToInt64Milliseconds(absl::Ceil(pause, absl::Milliseconds(1))));
    if (poll(polled.data(), /*nfds=*/1, milliseconds) > 0) return;
  }
}

bool ConnectionAcceptor::Accept(int listener, Target& target) {
  const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) {
    // The caller has left meanwhile, or the network reports an error of its connection.
    if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) return true;
    Log(std::strerror(errno));
    return false;
  }
  // The system gives the lowest fd that is free: it tells how many are used.
  if (fd >= files_max_) {
    close(fd);
    Log("too many open files, some of which are kept for PostgreSQL; the limit is that of the "
        "process (ulimit -n, LimitNOFILE)");
    return true;
  }
  Target::NewConnectionParameters connection;
  connection.listener_fd = listener;
  connection.fd = fd;
  target.HandleNewConnection(&connection);
  return true;
}

void ConnectionAcceptor::Log(const char* what) {
  const std::optional<int64_t> left_out = lines_.Admit("accept", SteadyNow());
  if (!left_out.has_value()) return;
  spdlog::warn("a connection is refused: {}{}", what, LeftOutNote(*left_out));
}

}  // namespace dt::rpc
