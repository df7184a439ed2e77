#include "storage/postgres/lane.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "fmt/format.h"
#include "spdlog/spdlog.h"
#include "storage/log_events.h"
#include "storage/postgres/check.h"
#include "storage/postgres/sqlstate.h"
#include "storage/steady_clock.h"

namespace dt::postgres {
namespace {

// How far into the queue one call looks for operations of its kind.
constexpr int kScanMax = 4096;
// Until an old connection is tried to be replaced again.
constexpr absl::Duration kAgedRetry = absl::Minutes(1);
constexpr absl::Duration kFaultLogInterval = absl::Seconds(30);
// A restart of the server is none; and where nobody calls, nobody knows.
constexpr absl::Duration kFaultShownAfter = absl::Seconds(3);
constexpr absl::Duration kFaultForgottenAfter = absl::Seconds(30);
// A fault that lasts is noted more often.
constexpr absl::Duration kFaultOverAfter = absl::Seconds(5);

}  // namespace

uint64_t OrderKey(HubId hub, std::string_view instance_id) {
  uint64_t key = std::hash<std::string_view>()(instance_id) ^
                 (static_cast<uint64_t>(hub) * 0x9e3779b97f4a7c15u);
  return key == 0 ? 1 : key;
}

Lane::Lane(LaneOptions options)
    : options_(std::move(options)),
      suspects_(options_.suspect_period, options_.suspect_rest_factor),
      backoff_(options_.reconnect_delay_min, options_.reconnect_delay_max) {
  if (options_.metrics != nullptr) batch_sizes_ = &options_.metrics->batch_size.Of(options_.name);
  absl::MutexLock lock(&join_mutex_);
  thread_ = std::thread([this] { Run(); });
}

Lane::~Lane() { Stop(absl::ZeroDuration()); }

absl::Status Lane::Submit(std::unique_ptr<Operation>& operation) {
  DT_CHECK(operation != nullptr && operation->verb != nullptr, "an operation without a verb");
  absl::Duration patience =
      operation->patience == absl::ZeroDuration() ? options_.patience : operation->patience;
  operation->give_up_at_ = SteadyNow() + patience;
  int64_t bytes = static_cast<int64_t>(operation->bytes);
  absl::MutexLock lock(&mutex_);
  if (stopping_) return absl::UnavailableError("the daemon is shutting down");
  // A single operation larger than the limit may pass an empty queue: its size has limits
  // elsewhere.
  if (counters_.queued_operations >= static_cast<int64_t>(options_.queue_operations_max) ||
      (counters_.queued_operations > 0 &&
       counters_.queued_bytes + bytes > static_cast<int64_t>(options_.queue_bytes_max))) {
    ++counters_.refused_operations;
    return absl::ResourceExhaustedError(
        fmt::format("{} operations with {} bytes wait for PostgreSQL already (limits {} and {}); "
                    "try again later",
                    counters_.queued_operations, counters_.queued_bytes,
                    options_.queue_operations_max, options_.queue_bytes_max));
  }
  ++counters_.queued_operations;
  counters_.queued_bytes += bytes;
  arrived_.push_back(std::move(operation));
  return absl::OkStatus();
}

void Lane::Stop(absl::Duration drain) {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    drain_until_ = std::min(drain_until_, SteadyNow() + drain);
    if (!mutex_.AwaitWithTimeout(absl::Condition(&ended_), drain) && canceler_ != nullptr) {
      canceler_->Disconnect();
    }
  }
  absl::MutexLock lock(&join_mutex_);
  if (thread_.joinable()) thread_.join();
}

LaneCounters Lane::counters() const {
  absl::MutexLock lock(&mutex_);
  return counters_;
}

absl::Status Lane::StandingFault(absl::Time written_at) const {
  const absl::Time now = SteadyNow();
  absl::MutexLock lock(&mutex_);
  const bool full = Classify(shown_fault_) == FaultClass::kSlowRetry;
  const bool over = !full && written_at - shown_last_ > kFaultOverAfter;
  const bool stands =
      now - shown_since_ >= kFaultShownAfter && now - shown_last_ <= kFaultForgottenAfter;
  return stands && !over ? shown_fault_ : absl::OkStatus();
}

// ---------------------------------------------------------------------------------------------
// The lane's thread

void Lane::Run() {
  while (Gather()) {
    if (waiting_.empty() && blocked_.empty()) {
      if (IdleEnd() <= SteadyNow()) Disconnect();
      continue;
    }
    if (EnsureConnected()) {
      Batch batch = TakeBatch();
      if (batch.empty()) continue;
      if (MustGoBeside(*batch.front())) {
        HandOver(std::move(batch.front()));
      } else {
        RunBatch(std::move(batch));
        used_at_ = SteadyNow();
      }
    }
    // While there is no connection, and as well while there is one that takes nothing: to a server
    // that is read-only, or full.
    if (SteadyNow() < not_before_) FailImpatient();
  }
  Disconnect();
  Batch rest = blocked_.TakeAll();
  for (auto& operation : waiting_) rest.push_back(std::move(operation));
  waiting_.clear();
  std::string why = fault_.ok() ? "" : "; " + std::string(fault_.message());
  FailAll(std::move(rest), absl::UnavailableError("the daemon is shutting down" + why));
  absl::MutexLock lock(&mutex_);
  ended_ = true;
}

bool Lane::Gather() {
  absl::MutexLock lock(&mutex_);
  if (waiting_.empty() && blocked_.empty()) {
    mutex_.AwaitWithTimeout(absl::Condition(this, &Lane::HasArrivedOrStopping),
                            IdleEnd() - SteadyNow());
  } else if (absl::Duration left = std::min(not_before_, EarliestGiveUp()) - SteadyNow();
             left > absl::ZeroDuration()) {
    mutex_.AwaitWithTimeout(absl::Condition(&stopping_), left);
  } else if (left = blocked_until_ - SteadyNow(); left > absl::ZeroDuration() && !stopping_) {
    mutex_.AwaitWithTimeout(absl::Condition(this, &Lane::HasArrivedOrStopping), left);
  } else if (left > absl::ZeroDuration()) {
    // ended_ is set by this thread alone: a pause.
    mutex_.AwaitWithTimeout(absl::Condition(&ended_), std::min(left, absl::Milliseconds(10)));
  }
  for (const uint64_t order_key : returned_) PushFront(blocked_.Release(order_key));
  returned_.clear();
  for (auto& operation : arrived_) waiting_.push_back(std::move(operation));
  arrived_.clear();
  if (!stopping_) return true;
  return !(waiting_.empty() && blocked_.empty()) && SteadyNow() < drain_until_;
}

absl::Time Lane::IdleEnd() const {
  if (connection_ == nullptr || options_.idle_max == absl::ZeroDuration()) {
    return absl::InfiniteFuture();
  }
  return used_at_ + options_.idle_max;
}

absl::Time Lane::EarliestGiveUp() const {
  // Only while a fault lasts does it matter, and only then all of them are looked at.
  absl::Time earliest = absl::InfiniteFuture();
  if (fault_.ok()) return earliest;
  for (const auto& operation : waiting_) earliest = std::min(earliest, operation->give_up_at_);
  return earliest;
}

bool Lane::MustGoBeside(const Operation& operation) const {
  return options_.large != nullptr &&
         (operation.beside_ || operation.rows >= options_.large_rows_min ||
          operation.bytes >= options_.large_bytes_min);
}

void Lane::HandOver(std::unique_ptr<Operation> operation) {
  const uint64_t order_key = operation->order_key;
  if (order_key != 0) {
    blocked_.Hold(order_key);
    operation->until_end_ =
        std::shared_ptr<void>(this, [order_key](Lane* lane) { lane->Returned(order_key); });
  }
  operation->blocked_key_ = 0;
  {
    absl::MutexLock lock(&mutex_);
    --counters_.queued_operations;
    counters_.queued_bytes -= static_cast<int64_t>(operation->bytes);
  }
  options_.large->TakeOver(std::move(operation));
}

void Lane::TakeOver(std::unique_ptr<Operation> operation) {
  absl::MutexLock lock(&mutex_);
  ++counters_.queued_operations;
  counters_.queued_bytes += static_cast<int64_t>(operation->bytes);
  arrived_.push_back(std::move(operation));
}

void Lane::Returned(uint64_t order_key) {
  absl::MutexLock lock(&mutex_);
  returned_.push_back(order_key);
}

void Lane::PushFront(Batch batch) {
  for (auto it = batch.rbegin(); it != batch.rend(); ++it) waiting_.push_front(std::move(*it));
}

bool Lane::DrainIsOver() const {
  absl::MutexLock lock(&mutex_);
  return stopping_ && SteadyNow() >= drain_until_;
}

bool Lane::EnsureConnected() {
  absl::Time now = SteadyNow();
  if (now < not_before_) {
    // Stopping cuts the wait in Gather short; the rest of it is waited here, in steps.
    absl::SleepFor(std::min(not_before_ - now, absl::Milliseconds(10)));
    return false;
  }
  const bool usable = connection_ != nullptr && connection_->StillConnected();
  if (usable && !connection_->aged()) return true;
  if (connection_ != nullptr && !usable) Disconnect();
  absl::StatusOr<std::unique_ptr<Connection>> connection = Connection::Connect(options_.connection);
  if (!connection.ok() && usable) {
    connection_->Prolong(kAgedRetry, connection.status());
    return true;
  }
  if (!connection.ok()) {
    CountError(connection.status());
    NoteFault(connection.status());
    return false;
  }
  if (usable) Disconnect();
  connection_ = *std::move(connection);
  used_at_ = SteadyNow();
  if (options_.metrics != nullptr) options_.metrics->connections_open.Add(1);
  lock_timeout_ = options_.connection.lock_timeout;
  absl::MutexLock lock(&mutex_);
  canceler_ = connection_->canceler();
  counters_.connected = true;
  ++counters_.connects;
  counters_.round_trips += connection_->round_trips();
  return true;
}

void Lane::Disconnect() {
  {
    absl::MutexLock lock(&mutex_);
    canceler_.reset();
    counters_.connected = false;
  }
  if (connection_ != nullptr && options_.metrics != nullptr) {
    options_.metrics->connections_open.Add(-1);
  }
  connection_.reset();
}

void Lane::NoteFault(const absl::Status& fault, absl::Duration delay) {
  bool first = fault_.ok();
  fault_ = fault;
  absl::Time now = SteadyNow();
  if (delay == absl::ZeroDuration()) {
    // A connection that broke is made again at once; only then the delays begin to grow.
    bool broke = first && connection_ != nullptr;
    delay = broke ? absl::ZeroDuration() : backoff_.Next(random_);
    // It says that it will be there soon, and to be asked costs it little.
    if (Sqlstate(fault) == kCannotConnectNow) delay = std::min(delay, options_.starting_delay_max);
  }
  not_before_ = now + delay;
  {
    absl::MutexLock lock(&mutex_);
    if (shown_fault_.ok()) shown_since_ = now;
    shown_fault_ = fault;
    shown_last_ = now;
  }
  if (first || now - fault_logged_at_ > kFaultLogInterval) {
    fault_logged_at_ = now;
    bool full = Classify(fault) == FaultClass::kSlowRetry;
    spdlog::log(full ? spdlog::level::err : spdlog::level::warn,
                "{}: {}: {} operations wait for PostgreSQL{}: {}",
                log_event::kTransientDatabaseFailure, options_.name, counters().queued_operations,
                full ? ", which is out of disk or memory and needs some" : "",
                std::string(fault.message()));
  }
}

Batch Lane::TakeBatch() {
  const absl::Time now = SteadyNow();
  PushFront(blocked_.TakeFollowers());
  suspects_.Forget(now);
  // Blocked operations and others take turns.
  Batch batch;
  if (!tried_blocked_) batch = TakeBlocked(now);
  tried_blocked_ = !batch.empty();
  if (batch.empty()) batch = TakeWaiting(now);
  if (batch.empty()) {
    batch = TakeBlocked(now);
    tried_blocked_ = !batch.empty();
  }
  if (!batch.empty()) {
    blocked_until_ = absl::InfinitePast();  // its end may free what was behind it
  } else if (!blocked_.empty()) {
    blocked_until_ =
        std::min(blocked_until_, std::max(blocked_.next_due(), suspects_.blocked_rest_until()));
  }
  return batch;
}

Batch Lane::TakeBlocked(absl::Time now) {
  Batch batch;
  if (blocked_.next_due() <= now && suspects_.blocked_rest_until() <= now) {
    batch.push_back(blocked_.TakeDue(now));
    FailAbandoned(&batch);
    if (batch.empty()) PushFront(blocked_.TakeFollowers());
  }
  return batch;
}

Batch Lane::TakeWaiting(absl::Time now) {
  const Verb* verb = nullptr;
  HubId hub = 0;
  size_t size_max = 1;
  Batch batch;
  Queue behind;
  size_t bytes = 0;
  absl::flat_hash_set<uint64_t> left_behind;
  absl::flat_hash_set<uint64_t> taken;
  blocked_until_ = absl::InfiniteFuture();
  Batch abandoned;
  int looked_at = 0;
  while (looked_at < kScanMax && !waiting_.empty() && (batch.empty() || batch.size() < size_max)) {
    std::unique_ptr<Operation> next = std::move(waiting_.front());
    waiting_.pop_front();
    if (next->abandoned()) {
      abandoned.push_back(std::move(next));
      continue;
    }
    if (blocked_.Follow(next)) continue;
    // All operations of a hub rest together, so their order stays.
    if (const absl::Time rests_until = suspects_.RestsUntil(next->hub); rests_until > now) {
      blocked_until_ = std::min(blocked_until_, rests_until);
      behind.push_back(std::move(next));
      continue;
    }
    ++looked_at;
    const uint64_t key = next->order_key;
    const bool free = key == 0 || !left_behind.contains(key);
    if (free && batch.empty()) {
      verb = next->verb;
      hub = next->hub;
      size_max =
          std::max<size_t>(1, std::min(options_.batch_operations_max, verb->operations_max()));
      if (next->alone_ || MustGoBeside(*next)) size_max = 1;
    }
    const bool same_kind = free && next->verb == verb && next->hub == hub;
    if (same_kind && !batch.empty() && bytes + next->bytes > options_.batch_bytes_max) {
      behind.push_back(std::move(next));
      break;
    }
    const bool fits = batch.empty() || !(next->alone_ || MustGoBeside(*next) ||
                                         (key != 0 && taken.contains(key) && verb->one_per_key()));
    if (same_kind && fits) {
      bytes += next->bytes;
      if (key != 0) taken.insert(key);
      batch.push_back(std::move(next));
    } else {
      if (key != 0) left_behind.insert(key);
      behind.push_back(std::move(next));
    }
  }
  for (auto it = behind.rbegin(); it != behind.rend(); ++it) waiting_.push_front(std::move(*it));
  FailAbandoned(&abandoned);
  return batch;
}

}  // namespace dt::postgres
