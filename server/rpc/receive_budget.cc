#include "server/rpc/receive_budget.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "fmt/format.h"
#include "grpc/support/alloc.h"
#include "spdlog/spdlog.h"
#include "storage/steady_clock.h"

namespace dt::rpc {
namespace {

// Of the looks: what arrives in two of them is not counted.
constexpr absl::Duration kLookInterval = absl::Milliseconds(20);
// A message is slow when so many looks have seen it.
constexpr int kSlowLooks = 2;
// Looks without a message before the thread waits for one: waking it costs more than a look.
constexpr int kIdleLooks = 50;
// Of the samples of all sockets, and how much of the time they may take.
constexpr absl::Duration kSampleInterval = absl::Milliseconds(250);
constexpr int kSampleShare = 50;
// While memory is scarce: how often the busiest connection is ended, and what it must have sent
// since the time before. Calls that are taken back at once hold thousands of bytes for each hundred
// that are sent.
constexpr absl::Duration kEndInterval = absl::Milliseconds(50);
constexpr int64_t kBusyBytesMin = 64 << 10;

std::string PeerOfCall(grpc_call* call) {
  const std::unique_ptr<char, void (*)(void*)> peer(grpc_call_get_peer(call), &gpr_free);
  return peer.get();
}

}  // namespace

// One on which messages take long.
struct ReceiveBudget::Connection {
  std::string peer;
  int64_t finished = 0;  // bytes of messages since it is watched
  std::vector<Reception*> slow;
  // Of the thread.
  int64_t sample = 0;  // of the sockets, the last before its slow messages
  bool sought = false;
  std::optional<int64_t> base;  // bytes before its slow messages; nullopt: no TCP socket is found
  int64_t received = 0;

  int64_t held() const {
    return base.has_value() ? std::max<int64_t>(received - *base - finished, 0) : 0;
  }
};

ReceiveBudget::ReceiveBudget(int64_t bytes_max)
    : bytes_max_(bytes_max), thread_([this] { Run(); }) {}

ReceiveBudget::~ReceiveBudget() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    wake_.Signal();
  }
  thread_.join();
}

void ReceiveBudget::Add(Reception* reception) {
  absl::MutexLock lock(&mutex_);
  reception->samples_ = samples_;
  receptions_.insert(reception);
  if (std::exchange(idle_, false)) wake_.Signal();
}

void ReceiveBudget::Remove(Reception* reception, int64_t bytes) {
  absl::MutexLock lock(&mutex_);
  receptions_.erase(reception);
  if (connections_.empty()) return;
  Connection* connection = reception->connection_;
  if (connection != nullptr) {
    std::erase(connection->slow, reception);
  } else {
    const auto found = connections_.find(PeerOfCall(reception->call_));
    if (found == connections_.end()) return;
    connection = &found->second;
  }
  connection->finished += bytes;
}

int64_t ReceiveBudget::held() const {
  absl::MutexLock lock(&mutex_);
  return held_;
}

void ReceiveBudget::SetScarce(bool scarce, absl::flat_hash_set<int> ports) {
  absl::MutexLock lock(&mutex_);
  scarce_ = scarce;
  ports_ = std::move(ports);
  if (std::exchange(idle_, false)) wake_.Signal();
}

void ReceiveBudget::Run() {
  int looks_left = 0;
  for (;;) {
    absl::flat_hash_set<int> ports;
    {
      absl::MutexLock lock(&mutex_);
      if (looks_left == 0 && receptions_.empty() && !scarce_) {
        idle_ = true;
        while (idle_ && !stopping_) wake_.Wait(&mutex_);
      } else if (!stopping_) {
        wake_.WaitWithTimeout(&mutex_, kLookInterval);
      }
      if (stopping_) return;
      if (scarce_) ports = ports_;
    }
    if (!ports.empty()) EndBusiest(ports);
    looks_left = Look() ? kIdleLooks : std::max(looks_left - 1, 0);
  }
}

void ReceiveBudget::EndBusiest(const absl::flat_hash_set<int>& ports) {
  const absl::Time now = SteadyNow();
  if (now < next_end_) return;
  // The first sample only says where the count begins.
  const bool begun = now < next_end_ + 2 * kEndInterval;
  sockets_.Sample();
  next_end_ = now + kEndInterval;
  if (!begun) return;
  const std::optional<PeerSockets::Ended> ended = sockets_.ShutDownBusiest(ports, kBusyBytesMin);
  if (!ended.has_value()) return;
  if (const std::optional<int64_t> left_out = lines_.Admit("scarce", now)) {
    spdlog::warn(
        "the connection of {} ends: it sent most, {} bytes in {} ms, while the daemon has more "
        "memory than memory.bytes-max{}",
        ended->peer, ended->bytes, absl::ToInt64Milliseconds(kEndInterval), LeftOutNote(*left_out));
  }
}

bool ReceiveBudget::Look() {
  const absl::Time now = SteadyNow();
  if (now >= next_sample_) {
    sockets_.Sample();
    next_sample_ = now + std::max(kSampleInterval, (SteadyNow() - now) * kSampleShare);
  }
  std::vector<Connection*> slow;
  {
    absl::MutexLock lock(&mutex_);
    samples_ = sockets_.samples();
    slow = SlowConnections();
    if (slow.empty()) {
      held_ = 0;
      return !receptions_.empty();
    }
  }
  Measure(slow);
  std::vector<grpc_call*> exceeding;
  int64_t held = 0;
  {
    absl::MutexLock lock(&mutex_);
    for (const Connection* connection : slow) held += connection->held();
    held_ = held;
    exceeding = Exceeding(std::move(slow));
  }
  End(exceeding, held);
  return true;
}

std::vector<ReceiveBudget::Connection*> ReceiveBudget::SlowConnections() {
  for (Reception* reception : receptions_) {
    if (reception->connection_ != nullptr || ++reception->looks_ < kSlowLooks) continue;
    std::string peer = PeerOfCall(reception->call_);
    Connection& connection = connections_[peer];
    if (connection.peer.empty()) {
      connection.peer = std::move(peer);
      connection.sample = reception->samples_;
    }
    connection.slow.push_back(reception);
    reception->connection_ = &connection;
  }
  std::vector<Connection*> slow;
  for (auto at = connections_.begin(); at != connections_.end();) {
    if (at->second.slow.empty()) {
      connections_.erase(at++);
    } else {
      slow.push_back(&(at++)->second);
    }
  }
  return slow;
}

void ReceiveBudget::Measure(const std::vector<Connection*>& connections) {
  bool discovered = false;
  for (Connection* const connection : connections) {
    std::optional<int64_t> received = sockets_.Received(connection->peer);
    if (!received.has_value() && !connection->sought && !std::exchange(discovered, true)) {
      sockets_.Discover();
    }
    if (!received.has_value() && !connection->sought) {
      received = sockets_.Received(connection->peer);
    }
    connection->sought = true;
    if (!received.has_value()) continue;
    if (!connection->base.has_value()) {
      connection->base = sockets_.ReceivedAt(connection->peer, connection->sample);
    }
    connection->received = *received;
  }
}

std::vector<grpc_call*> ReceiveBudget::Exceeding(std::vector<Connection*> connections) {
  std::vector<grpc_call*> calls;
  if (held_ <= bytes_max_) return calls;
  std::sort(connections.begin(), connections.end(),
            [](const Connection* a, const Connection* b) { return a->held() > b->held(); });
  int64_t left = held_;
  for (const Connection* const connection : connections) {
    if (left <= bytes_max_) break;
    left -= connection->held();
    for (Reception* const reception : connection->slow) {
      grpc_call_ref(reception->call_);
      calls.push_back(reception->call_);
    }
  }
  return calls;
}

// Without the lock: gRPC may tell of other calls' ends meanwhile.
void ReceiveBudget::End(const std::vector<grpc_call*>& calls, int64_t held) {
  if (calls.empty()) return;
  const std::string text = fmt::format(
      "messages on their way to this server hold {} bytes, more than the {} that memory.bytes-max "
      "leaves them, and most of that is of this connection: send the call again, with fewer large "
      "ones at a time",
      held, bytes_max_);
  for (grpc_call* const call : calls) {
    grpc_call_cancel_with_status(call, GRPC_STATUS_RESOURCE_EXHAUSTED, text.c_str(), nullptr);
    grpc_call_unref(call);
  }
  const std::optional<int64_t> left_out = lines_.Admit("received", SteadyNow());
  if (!left_out.has_value()) return;
  spdlog::warn("{} calls end before their messages are complete: {}{}", calls.size(), text,
               LeftOutNote(*left_out));
}

}  // namespace dt::rpc
