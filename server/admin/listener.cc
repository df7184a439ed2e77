#include "server/admin/listener.h"

#include <algorithm>
#include <utility>

#include "server/rpc/listen_address.h"
#include "storage/steady_clock.h"

namespace dt::admin {

// What the acceptor hands connections to.
class Listener::Target final : public rpc::ConnectionAcceptor::Target {
 public:
  Target(Listener* listener, bool tls) : listener_(*listener), tls_(tls) {}
  void HandleNewConnection(NewConnectionParameters* connection) override {
    listener_.Accept(connection->fd, tls_);
  }

 private:
  Listener& listener_;
  const bool tls_;
};

Listener::Listener(const ListenerOptions& options, const Routes* routes,
                   const rpc::AccessControl* access)
    : options_(options),
      http_(options.http, routes, access),
      tls_files_(options.tls),
      acceptor_({.per_second_max = options.connections_per_second_max}) {}

absl::StatusOr<std::unique_ptr<Listener>> Listener::Start(const ListenerOptions& options,
                                                          const Routes* routes,
                                                          const rpc::AccessControl* access) {
  absl::Status tls = rpc::CheckTls(options.tls);
  if (!tls.ok()) return tls;
  std::unique_ptr<Listener> listener(new Listener(options, routes, access));
  std::vector<rpc::ConnectionAcceptor::Source> sources;
  for (const std::string& address : options.addresses) {
    absl::Status checked = rpc::CheckListenAddress(address);
    if (!checked.ok()) return checked;
    absl::StatusOr<rpc::ListenSockets> sockets =
        rpc::ListenSockets::Open(address, {options.unix_mode, options.connection_time_max});
    if (!sockets.ok()) return sockets.status();
    listener->addresses_.push_back(sockets->address());
    const bool encrypted = options.tls.enabled() && !rpc::IsUnixSocket(address);
    sources.push_back({*std::move(sockets), std::make_shared<Target>(listener.get(), encrypted)});
  }
  for (int i = 0; i < options.connections_max; ++i) {
    listener->threads_.emplace_back([raw = listener.get()] { raw->Serve(); });
  }
  listener->acceptor_.Start(std::move(sources));
  return listener;
}

Listener::~Listener() {
  acceptor_.Stop();
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    for (const Wire* wire : served_) wire->Cut();
  }
  for (std::thread& thread : threads_) thread.join();
}

void Listener::Accept(int fd, bool tls) {
  auto wire = std::make_unique<Wire>(fd, SteadyNow() + options_.connection_time_max,
                                     options_.request_bytes_max);
  std::unique_ptr<Wire> displaced;  // closed without the lock
  absl::MutexLock lock(&mutex_);
  next_.push_back({std::move(wire), tls});
  MakeRoom();
  // Threads that are slow to notice.
  if (static_cast<int>(next_.size()) > options_.connections_max) {
    displaced = std::move(next_.front().wire);
    next_.pop_front();
  }
}

void Listener::MakeRoom() {
  while (!served_.empty() &&
         static_cast<int>(served_.size() + next_.size()) > options_.connections_max) {
    auto victim = std::find_if(served_.begin(), served_.end(),
                               [](const Wire* served) { return served->waiting(); });
    if (victim == served_.end()) victim = served_.begin();
    (*victim)->Cut();  // its thread takes the next one
    served_.erase(victim);
  }
}

std::unique_ptr<Wire> Listener::Next(bool* tls) {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(this, &Listener::HasNext));
  if (stopping_) return nullptr;
  Accepted accepted = std::move(next_.front());
  next_.pop_front();
  served_.push_back(accepted.wire.get());
  MakeRoom();  // others came while no thread served anything that could be cut
  *tls = accepted.tls;
  return std::move(accepted.wire);
}

void Listener::Serve() {
  bool tls = false;
  while (const std::unique_ptr<Wire> wire = Next(&tls)) {
    const std::shared_ptr<SSL_CTX> context = tls ? tls_files_.Context() : nullptr;
    if (!tls || (context != nullptr && wire->StartTls(context.get()))) http_.Serve(*wire);
    absl::MutexLock lock(&mutex_);
    served_.remove(wire.get());
  }
}

}  // namespace dt::admin
