#include "storage/postgres/listener.h"

#include <poll.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "fmt/format.h"
#include "spdlog/spdlog.h"
#include "storage/postgres/hint_text.h"
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

}  // namespace

Listener::Listener(ListenerOptions options, ListenerCallbacks callbacks)
    : options_(std::move(options)),
      callbacks_(std::move(callbacks)),
      channel_(ChannelOf(options_.schema)),
      backoff_(options_.reconnect_delay_min, options_.reconnect_delay_max) {
  absl::MutexLock lock(&join_mutex_);
  thread_ = std::thread([this] { Run(); });
}

Listener::~Listener() { Stop(); }

void Listener::SetWorker(WorkerId worker) {
  {
    absl::MutexLock lock(&mutex_);
    worker_ = worker;
    if (!hints_.empty() || !waits_.empty()) SetTime();
  }
  interrupt_.Raise();
}

void Listener::SetDaemons(int daemons) {
  absl::MutexLock lock(&mutex_);
  pace_.SetDaemons(daemons);
}

void Listener::Notify(HubId hub) {
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_ || worker_ == 0 || !hints_.insert(hub).second) return;
    SetTime();
  }
  interrupt_.Raise();
}

void Listener::Notify(WaitHints hints) {
  {
    absl::MutexLock lock(&mutex_);
    if (stopping_ || worker_ == 0) return;
    waits_[{hints.hub, hints.kind}].insert(hints.waits.begin(), hints.waits.end());
    SetTime();
  }
  interrupt_.Raise();
}

void Listener::SetTime() {
  if (worker_ == 0 || send_at_ != absl::InfiniteFuture()) return;  // the first one has set it
  const absl::Time now = SteadyNow();
  send_at_ = std::max(now + options_.gather, pace_.Next(now));
}

void Listener::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  interrupt_.Raise();
  absl::MutexLock lock(&join_mutex_);
  if (thread_.joinable()) thread_.join();
}

ListenerCounters Listener::counters() const {
  absl::MutexLock lock(&mutex_);
  return counters_;
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
    Disconnect();
    not_before_ = SteadyNow() + backoff_.Next(random_);
  }
  std::vector<std::string> last;
  {
    absl::MutexLock lock(&mutex_);
    if (worker_ != 0) last = TakePayloads();
  }
  if (connection_ != nullptr && !last.empty()) Send(last);
  Disconnect();
}

void Listener::Disconnect() {
  if (connection_ == nullptr) return;
  if (options_.listen && !connection_->session_is_shared()) callbacks_.on_hearing(false);
  connection_.reset();
}

absl::Time Listener::IdleEnd() const {
  const bool only_sends = connection_ != nullptr && !options_.listen;
  return only_sends ? used_at_ + options_.idle_max : absl::InfiniteFuture();
}

bool Listener::Wait() {
  if (IdleEnd() <= SteadyNow() || (connection_ != nullptr && connection_->aged())) Disconnect();
  if (options_.listen && connection_ == nullptr && SteadyNow() >= not_before_) Connect();
  absl::StatusOr<std::vector<Notification>> arrived = std::vector<Notification>();
  if (connection_ != nullptr) {
    const absl::Time end = std::min(IdleEnd(), connection_->ages_at());
    const absl::Duration until_end = std::max(end - SteadyNow(), absl::ZeroDuration());
    arrived =
        connection_->WaitForNotifications(std::min(UntilNextHints(), until_end), interrupt_.fd());
  } else {
    absl::Duration wait = UntilNextHints();
    if (options_.listen) wait = std::min(wait, not_before_ - SteadyNow());
    pollfd interrupt = {interrupt_.fd(), POLLIN, 0};
    int64_t wait_ms = std::max<int64_t>(0, absl::ToInt64Milliseconds(wait) + 1);
    poll(&interrupt, 1, static_cast<int>(wait_ms));
  }
  interrupt_.Clear();
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
  used_at_ = SteadyNow();
  backoff_.Reset();
  const bool hears = options_.listen && !connection_->session_is_shared();
  {
    absl::MutexLock lock(&mutex_);
    ++counters_.connects;
    if (hears) {
      // What others wait for has not been heard.
      waits_.try_emplace({0, WaitHintKind::kTellAgain});
      SetTime();
    }
  }
  if (hears) callbacks_.on_hearing(true);
  return true;
}

void Listener::Tell(const std::vector<Notification>& notifications) {
  absl::flat_hash_set<HubId> hubs;
  std::vector<WaitHints> waits;
  {
    absl::MutexLock lock(&mutex_);
    for (const Notification& notification : notifications) {
      std::optional<ReceivedHint> hint = ParseHint(notification.payload);
      if (!hint.has_value() || (hint->sender == worker_ && worker_ != 0)) continue;
      if (hint->waits.has_value()) {
        waits.push_back(*std::move(hint->waits));
      } else {
        hubs.insert(hint->hub);
      }
    }
    counters_.received += static_cast<int64_t>(hubs.size());
  }
  if (options_.metrics != nullptr) {
    options_.metrics->notify_received.Add(static_cast<int64_t>(hubs.size() + waits.size()));
  }
  for (HubId hub : hubs) callbacks_.on_wake(hub);
  for (WaitHints& hints : waits) callbacks_.on_waits(std::move(hints));
}

std::vector<std::string> Listener::TakePayloads() {
  std::vector<std::string> payloads;
  for (HubId hub : hints_) payloads.push_back(WorkHintText(hub, worker_));
  for (const auto& [about, names] : waits_) {
    const WaitHints hints{about.first, about.second, {names.begin(), names.end()}};
    for (std::string& text : WaitHintTexts(hints, worker_)) payloads.push_back(std::move(text));
  }
  hints_.clear();
  waits_.clear();
  send_at_ = absl::InfiniteFuture();
  return payloads;
}

bool Listener::SendDueHints() {
  std::vector<std::string> payloads;
  {
    absl::MutexLock lock(&mutex_);
    const absl::Time now = SteadyNow();
    if (now < send_at_) return true;
    payloads = TakePayloads();
    pace_.Add(now);
  }
  if (connection_ == nullptr && (SteadyNow() < not_before_ || !Connect())) return true;
  return Send(payloads);
}

bool Listener::Send(const std::vector<std::string>& payloads) {
  Params params;
  params.Text(channel_).TextArray(payloads);
  static const Statement kNotify = {
      "notify", "select pg_catalog.pg_notify($1, payload) from pg_catalog.unnest($2) payload"};
  absl::StatusOr<Result> sent = connection_->Execute(kNotify, params);
  used_at_ = SteadyNow();
  if (!sent.ok()) return connection_->connected();
  absl::MutexLock lock(&mutex_);
  counters_.sent += static_cast<int64_t>(payloads.size());
  return true;
}

}  // namespace dt::postgres
