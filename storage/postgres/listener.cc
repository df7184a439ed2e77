#include "storage/postgres/listener.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "fmt/format.h"
#include "spdlog/spdlog.h"
#include "storage/postgres/check.h"
#include "storage/steady_clock.h"

namespace dt::postgres {
namespace {

constexpr size_t kChannelBytesMax = 63;
constexpr absl::Duration kIdleWait = absl::Minutes(10);

// Names the schema; a long one by its hash, which must not change between versions (FNV-1a).
std::string ChannelOf(const std::string& schema) {
  std::string channel = "durabletask/" + schema;
  if (channel.size() <= kChannelBytesMax) return channel;
  uint64_t hash = 0xcbf29ce484222325u;
  for (unsigned char c : schema) hash = (hash ^ c) * 0x100000001b3u;
  return fmt::format("durabletask#{:016x}", hash);
}

struct Hint {
  HubId hub = 0;
  WorkerId sender = 0;
};

// "HUB WORKER"; nullopt for anything else that somebody sent.
std::optional<Hint> ParseHint(const std::string& payload) {
  Hint hint;
  const char* end = payload.data() + payload.size();
  auto [space, hub_error] = std::from_chars(payload.data(), end, hint.hub);
  if (hub_error != std::errc() || space == end || *space != ' ') return std::nullopt;
  auto [rest, sender_error] = std::from_chars(space + 1, end, hint.sender);
  if (sender_error != std::errc() || rest != end) return std::nullopt;
  return hint;
}

}  // namespace

Listener::Listener(ListenerOptions options, std::function<void(HubId)> on_wake)
    : options_(std::move(options)),
      on_wake_(std::move(on_wake)),
      channel_(ChannelOf(options_.schema)),
      interrupt_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      backoff_(options_.reconnect_delay_min, options_.reconnect_delay_max) {
  DT_CHECK(interrupt_ >= 0, "the system gives no eventfd");
  absl::MutexLock lock(&join_mutex_);
  thread_ = std::thread([this] { Run(); });
}

Listener::~Listener() {
  Stop();
  close(interrupt_);
}

void Listener::SetWorker(WorkerId worker) {
  absl::MutexLock lock(&mutex_);
  worker_ = worker;
}

void Listener::Notify(HubId hub) {
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_ || worker_ == 0 || !hints_.insert(hub).second) return;
    if (hints_.size() > 1) return;  // the first one has set the time
    send_at_ = SteadyNow() + options_.gather;
  }
  Interrupt();
}

void Listener::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  Interrupt();
  absl::MutexLock lock(&join_mutex_);
  if (thread_.joinable()) thread_.join();
}

ListenerCounters Listener::counters() const {
  absl::MutexLock lock(&mutex_);
  return counters_;
}

void Listener::Interrupt() const {
  // Fails only when the counter is full, and then it is readable already.
  [[maybe_unused]] int full = eventfd_write(interrupt_, 1);
}

bool Listener::Stopping() const {
  absl::MutexLock lock(&mutex_);
  return stopping_;
}

absl::Duration Listener::UntilNextHints() const {
  absl::MutexLock lock(&mutex_);
  if (stopping_) return absl::ZeroDuration();
  return std::clamp(send_at_ - SteadyNow(), absl::ZeroDuration(), kIdleWait);
}

// ---------------------------------------------------------------------------------------------
// The own thread

void Listener::Run() {
  while (!Stopping()) {
    bool good = Wait() && SendDueHints();
    if (good || connection_ == nullptr) continue;
    connection_.reset();
    not_before_ = SteadyNow() + backoff_.Next(random_);
  }
  connection_.reset();
}

bool Listener::Wait() {
  if (options_.listen && connection_ == nullptr && SteadyNow() >= not_before_) Connect();
  absl::StatusOr<std::vector<Notification>> arrived = std::vector<Notification>();
  if (connection_ != nullptr) {
    arrived = connection_->WaitForNotifications(UntilNextHints(), interrupt_);
  } else {
    absl::Duration wait = UntilNextHints();
    if (options_.listen) wait = std::min(wait, not_before_ - SteadyNow());
    pollfd interrupt = {interrupt_, POLLIN, 0};
    int64_t wait_ms = std::max<int64_t>(0, absl::ToInt64Milliseconds(wait) + 1);
    poll(&interrupt, 1, static_cast<int>(wait_ms));
  }
  eventfd_t orders = 0;
  eventfd_read(interrupt_, &orders);
  if (!arrived.ok()) {
    spdlog::info("hints between daemons stop until PostgreSQL is back: {}",
                 std::string(arrived.status().message()));
    return false;
  }
  Tell(*arrived);
  return true;
}

bool Listener::Connect() {
  ConnectionOptions options = options_.connection;
  options.durability = Durability::kAsynchronous;
  absl::StatusOr<std::unique_ptr<Connection>> connection = Connection::Connect(options);
  absl::Status status = connection.status();
  if (status.ok() && options_.listen && (*connection)->session_is_shared()) {
    spdlog::log(
        warned_ ? spdlog::level::debug : spdlog::level::warn,
        "hints of other daemons do not arrive through a pooler that gives sessions to others "
        "between "
        "transactions, and work is found by polling; let postgres.listen-url go past it, or set "
        "postgres.listen = false");
    warned_ = true;
  } else if (status.ok() && options_.listen) {
    status = (*connection)->RunScript("listen " + Connection::QuoteIdentifier(channel_));
  }
  if (!status.ok()) {
    not_before_ = SteadyNow() + backoff_.Next(random_);
    spdlog::debug("no hints between daemons: {}", std::string(status.message()));
    return false;
  }
  connection_ = *std::move(connection);
  backoff_.Reset();
  absl::MutexLock lock(&mutex_);
  ++counters_.connects;
  return true;
}

void Listener::Tell(const std::vector<Notification>& notifications) {
  absl::flat_hash_set<HubId> hubs;
  {
    absl::MutexLock lock(&mutex_);
    for (const Notification& notification : notifications) {
      std::optional<Hint> hint = ParseHint(notification.payload);
      if (!hint.has_value() || (hint->sender == worker_ && worker_ != 0)) continue;
      hubs.insert(hint->hub);
    }
    counters_.received += static_cast<int64_t>(hubs.size());
  }
  for (HubId hub : hubs) on_wake_(hub);
}

bool Listener::SendDueHints() {
  std::vector<std::string> payloads;
  {
    absl::MutexLock lock(&mutex_);
    if (SteadyNow() < send_at_) return true;
    for (HubId hub : hints_) payloads.push_back(fmt::format("{} {}", hub, worker_));
    hints_.clear();
    send_at_ = absl::InfiniteFuture();
  }
  if (connection_ == nullptr && (SteadyNow() < not_before_ || !Connect())) return true;
  Params params;
  params.Text(channel_).TextArray(payloads);
  static const Statement kNotify = {
      "notify", "select pg_catalog.pg_notify($1, payload) from pg_catalog.unnest($2) payload"};
  absl::StatusOr<Result> sent = connection_->Execute(kNotify, params);
  if (!sent.ok()) return connection_->connected();
  absl::MutexLock lock(&mutex_);
  counters_.sent += static_cast<int64_t>(payloads.size());
  return true;
}

}  // namespace dt::postgres
