#include "storage/postgres/lane.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "fmt/format.h"
#include "spdlog/spdlog.h"
#include "storage/postgres/check.h"
#include "storage/postgres/sqlstate.h"
#include "storage/postgres/steady_clock.h"

namespace dt::postgres {
namespace {

// How far into the queue one call looks for operations of its kind.
constexpr int kScanMax = 4096;
constexpr absl::Duration kFaultLogInterval = absl::Seconds(30);

// The codes that callers of the store know (store.h); whatever else the server says is our bug or
// an operator's matter, and must not be taken for an answer.
absl::Status ForCaller(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kInternal:
      return status;
    default:
      return absl::InternalError(status.message());
  }
}

std::string Text(const absl::Status& status) { return std::string(status.message()); }

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
  if (idle_) SendArrived();
  return absl::OkStatus();
}

void Lane::SendArrived() {
  const Operation& first = *arrived_.front();
  if (MustGoBeside(first) || !ConnectionIsFit() ||
      !connection_->IsPrepared(first.verb->statement()))
    return;
  idle_ = false;
  sending_ = true;
  BegunCall call;
  call.part.push_back(std::move(arrived_.front()));
  arrived_.pop_front();
  mutex_.Unlock();
  first.verb->Encode(call.part, &call.params);
  const bool begun = connection_->Begin(first.verb->statement(), call.params);
  mutex_.Lock();
  sending_ = false;
  if (begun) {
    begun_ = std::move(call);
  } else {
    // The thread encodes it again, and finds out what is wrong.
    call.part.front()->may_have_happened_ = true;
    arrived_.push_front(std::move(call.part.front()));
  }
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

// ---------------------------------------------------------------------------------------------
// The lane's thread

void Lane::Run() {
  while (Gather()) {
    if (std::optional<BegunCall> call = TakeBegun()) {
      std::vector<Batch> rest;  // stays empty: of one operation no part is left
      SettlePart(std::move(call->part), call->params, /*begun=*/true, &rest);
    } else if (EnsureConnected()) {
      Batch batch = TakeBatch();
      if (batch.empty()) continue;
      if (MustGoBeside(*batch.front())) {
        HandOver(std::move(batch.front()));
      } else {
        RunBatch(std::move(batch));
      }
    } else {
      FailImpatient();
    }
  }
  Disconnect();
  Batch rest = blocked_.TakeAll();
  for (auto& operation : waiting_) rest.push_back(std::move(operation));
  waiting_.clear();
  std::string why = fault_.ok() ? "" : "; " + Text(fault_);
  FailAll(std::move(rest), absl::UnavailableError("the daemon is shutting down" + why));
  absl::MutexLock lock(&mutex_);
  ended_ = true;
}

bool Lane::Gather() {
  absl::MutexLock lock(&mutex_);
  if (waiting_.empty() && blocked_.empty()) {
    idle_ = alone_ && arrived_.empty() && connection_ != nullptr &&
            lock_timeout_ == options_.connection.lock_timeout && suspects_.Forget(SteadyNow());
    mutex_.Await(absl::Condition(this, &Lane::HasArrivedOrStopping));
    idle_ = false;
    if (begun_.has_value()) return true;
  } else if (absl::Duration left = not_before_ - SteadyNow(); left > absl::ZeroDuration()) {
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

std::optional<Lane::BegunCall> Lane::TakeBegun() {
  absl::MutexLock lock(&mutex_);
  return std::exchange(begun_, std::nullopt);
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
  if (ConnectionIsFit()) return true;
  if (connection_ != nullptr) Disconnect();
  absl::StatusOr<std::unique_ptr<Connection>> connection = Connection::Connect(options_.connection);
  if (!connection.ok()) {
    NoteFault(connection.status());
    return false;
  }
  connection_ = *std::move(connection);
  connected_at_ = SteadyNow();
  lock_timeout_ = options_.connection.lock_timeout;
  absl::MutexLock lock(&mutex_);
  canceler_ = connection_->canceler();
  counters_.connected = true;
  ++counters_.connects;
  counters_.round_trips += connection_->round_trips();
  return true;
}

bool Lane::ConnectionIsFit() const {
  if (connection_ == nullptr) return false;
  const bool aged = options_.connection_age_max != absl::ZeroDuration() &&
                    SteadyNow() - connected_at_ > options_.connection_age_max;
  return !aged && connection_->StillConnected();
}

void Lane::Disconnect() {
  {
    absl::MutexLock lock(&mutex_);
    canceler_.reset();
    counters_.connected = false;
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
  if (first || now - fault_logged_at_ > kFaultLogInterval) {
    fault_logged_at_ = now;
    bool full = Classify(fault) == FaultClass::kSlowRetry;
    spdlog::log(full ? spdlog::level::err : spdlog::level::warn,
                "[308 TransientDatabaseFailure] {}: {} operations wait for PostgreSQL{}: {}",
                options_.name, counters().queued_operations,
                full ? ", which is out of disk or memory and needs some" : "", Text(fault));
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
  if (batch.empty() && !blocked_.empty()) {
    blocked_until_ =
        std::min(blocked_until_, std::max(blocked_.next_due(), suspects_.blocked_rest_until()));
  }
  alone_ = batch.size() == 1 && waiting_.empty() && blocked_.empty();
  return batch;
}

Batch Lane::TakeBlocked(absl::Time now) {
  Batch batch;
  if (blocked_.next_due() <= now && suspects_.blocked_rest_until() <= now) {
    batch.push_back(blocked_.TakeDue(now));
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
  int looked_at = 0;
  while (looked_at < kScanMax && !waiting_.empty() && (batch.empty() || batch.size() < size_max)) {
    std::unique_ptr<Operation> next = std::move(waiting_.front());
    waiting_.pop_front();
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
  if (!batch.empty()) blocked_until_ = absl::InfinitePast();
  return batch;
}

void Lane::RunBatch(Batch batch) {
  // Parts that are left, the next one last.
  std::vector<Batch> parts;
  parts.push_back(std::move(batch));
  while (!parts.empty()) {
    Batch part = std::move(parts.back());
    parts.pop_back();
    if (!RunPart(std::move(part), &parts)) return;
  }
}

bool Lane::RunPart(Batch part, std::vector<Batch>* rest) {
  Params params;
  part.front()->verb->Encode(part, &params);
  return SettlePart(std::move(part), params, /*begun=*/false, rest);
}

bool Lane::SettlePart(Batch part, const Params& params, bool begun, std::vector<Batch>* rest) {
  Backoff backoff(options_.retry_delay_min, options_.retry_delay_max);
  for (int retries = 0;; ++retries) {
    const absl::Time sent_at = SteadyNow();
    absl::StatusOr<Result> result = SendOnce(part, params, begun && retries == 0);
    ChargeForLocks(*part.front(), SteadyNow() - sent_at, !result.ok());
    if (result.ok()) {
      CompleteAll(*result, std::move(part));
      return true;
    }
    const absl::Status& status = result.status();
    const FaultClass fault_class = Classify(status);
    if (!connection_->connected() || fault_class == FaultClass::kReconnect) {
      for (auto& operation : part) operation->may_have_happened_ = true;
    }
    if (!connection_->connected()) {
      NoteFault(status);
      Disconnect();
      PutBack(std::move(part), rest, /*outcome_unknown=*/true);
      return false;
    }
    switch (fault_class) {
      case FaultClass::kRetry:
        if (retries < options_.retries_max && !DrainIsOver()) break;
        FailAll(std::move(part), status);
        return true;
      case FaultClass::kTimedOut:
        return OnTimeout(std::move(part), rest, status);
      case FaultClass::kBlocked:
        return SetAside(std::move(part), rest, status);
      case FaultClass::kReconnect:
        NoteFault(status);
        Disconnect();
        PutBack(std::move(part), rest, /*outcome_unknown=*/false);
        return false;
      case FaultClass::kSlowRetry:
        NoteFault(status, options_.slow_retry_delay);
        PutBack(std::move(part), rest, /*outcome_unknown=*/false);
        return false;
      case FaultClass::kItemByItem:
        if (part.size() == 1) {
          FailAll(std::move(part), status);
        } else {
          auto middle = part.begin() + static_cast<std::ptrdiff_t>(part.size() / 2);
          Batch second(std::make_move_iterator(middle), std::make_move_iterator(part.end()));
          part.erase(middle, part.end());
          rest->push_back(std::move(second));
          rest->push_back(std::move(part));
        }
        return true;
      case FaultClass::kPrepareAgain:
      case FaultClass::kPermanent:
        spdlog::error("[303 ProcessingFailure] {}: {} failed for {} operations: {}", options_.name,
                      part.front()->verb->statement().name, part.size(), Text(status));
        FailAll(std::move(part), status);
        return true;
    }
    absl::SleepFor(backoff.Next(random_));
    absl::MutexLock lock(&mutex_);
    ++counters_.retries;
  }
}

absl::StatusOr<Result> Lane::SendOnce(const Batch& part, const Params& params, bool begun) {
  const Statement& statement = part.front()->verb->statement();
  int64_t before = connection_->round_trips();
  absl::StatusOr<Result> result = absl::UnknownError("");
  if (begun) {
    result = connection_->Finish(statement, params);
  } else {
    absl::Status ready = SetLockTimeout(LockTimeoutFor(*part.front()));
    if (!ready.ok()) return ready;
    result = connection_->Execute(statement, params);
  }
  absl::MutexLock lock(&mutex_);
  counters_.round_trips += connection_->round_trips() - before;
  return result;
}

absl::Duration Lane::LockTimeoutFor(const Operation& first) const {
  if (first.alone_) return options_.blocked_lock_timeout;
  return suspects_.IsSuspect(first.hub) ? options_.suspect_lock_timeout
                                        : options_.connection.lock_timeout;
}

absl::Status Lane::SetLockTimeout(absl::Duration timeout) {
  if (timeout == lock_timeout_ || !options_.connection.session_settings) return absl::OkStatus();
  absl::Status status = connection_->RunScript(
      fmt::format("set lock_timeout = {}", absl::ToInt64Milliseconds(timeout)));
  if (status.ok()) lock_timeout_ = timeout;
  return status;
}

void Lane::ChargeForLocks(const Operation& first, absl::Duration took, bool failed) {
  if (first.blocked_times_ > 0) {
    if (failed) suspects_.ChargeBlocked(took, SteadyNow());
  } else if (failed || first.alone_) {
    suspects_.Charge(first.hub, took, SteadyNow());
  }
}

bool Lane::SetAside(Batch part, std::vector<Batch>* rest, const absl::Status& status) {
  const absl::Time now = SteadyNow();
  LogBlocked(*part.front(), status);
  {
    absl::MutexLock lock(&mutex_);
    ++counters_.retries;
  }
  if (part.size() > 1 || !part.front()->alone_) {
    for (auto& operation : part) operation->alone_ = true;
    PutBack(std::move(part), rest, /*outcome_unknown=*/false);
    return false;
  }
  Operation& first = *part.front();
  suspects_.Note(first.hub, now);
  first.blocked_since_ = std::min(first.blocked_since_, now);
  if (now - first.blocked_since_ >= options_.blocked_max || DrainIsOver()) {
    FailAll(std::move(part), status);
    return true;
  }
  const int doublings = std::min(first.blocked_times_++, 20);
  blocked_.Add(
      std::move(part.front()),
      now + std::min(options_.blocked_delay_min * (1 << doublings), options_.blocked_delay_max));
  return true;
}

bool Lane::OnTimeout(Batch part, std::vector<Batch>* rest, const absl::Status& status) {
  {
    absl::MutexLock lock(&mutex_);
    ++counters_.retries;
  }
  Operation& first = *part.front();
  const bool alone = part.size() == 1;
  spdlog::warn("[308 TransientDatabaseFailure] {}: {} of {} operations took longer than {}{}: {}",
               options_.name, first.verb->statement().name, part.size(),
               absl::FormatDuration(options_.connection.statement_timeout),
               alone ? "" : ", so they are tried one by one", Text(status));
  for (auto& operation : part) operation->alone_ = true;
  if (!alone || options_.large != nullptr) {
    first.beside_ = alone;
    PutBack(std::move(part), rest, /*outcome_unknown=*/false);
    return false;
  }
  if (++first.timeouts_ >= options_.timeouts_max && CanWrite()) {
    const std::string text = fmt::format(
        "it took longer than {} for {} rows and {} bytes, {} times, although the database can "
        "write: {}",
        absl::FormatDuration(options_.connection.statement_timeout), first.rows, first.bytes,
        first.timeouts_, Text(status));
    FailAll(std::move(part), absl::Status(options_.timed_out, text));
    return true;
  }
  if (DrainIsOver()) {
    FailAll(std::move(part), status);
    return true;
  }
  blocked_.Add(std::move(part.front()), SteadyNow() + options_.timeout_delay);
  return true;
}

bool Lane::CanWrite() {
  return connection_->RunScript("select pg_logical_emit_message(true, 'durabletask', '')").ok();
}

void Lane::LogBlocked(const Operation& operation, const absl::Status& status) {
  const absl::Time now = SteadyNow();
  if (now - blocked_logged_at_ <= kFaultLogInterval) return;
  blocked_logged_at_ = now;
  spdlog::warn(
      "[308 TransientDatabaseFailure] {}: somebody keeps a lock that {} needs in the hub with id "
      "{}; "
      "perhaps an SQL user who does not end a transaction: look for state 'idle in transaction' in "
      "pg_stat_activity, and end it there or by pg_terminate_backend: {}",
      options_.name, operation.verb->statement().name, operation.hub, Text(status));
}

void Lane::CompleteAll(const Result& result, Batch part) {
  fault_ = absl::OkStatus();
  not_before_ = absl::InfinitePast();
  backoff_.Reset();
  {
    absl::MutexLock lock(&mutex_);
    ++counters_.calls;
  }
  CountEnd(part, /*failed=*/false);
  const Verb& verb = *part.front()->verb;
  absl::Status status = verb.Complete(result, part);
  if (status.ok()) return;
  spdlog::error("[303 ProcessingFailure] {}: the result of {} does not fit: {}", options_.name,
                verb.statement().name, Text(status));
  absl::Status for_caller = absl::InternalError(status.message());
  for (auto& operation : part) operation->Fail(for_caller);
  absl::MutexLock lock(&mutex_);
  counters_.operations -= static_cast<int64_t>(part.size());
  counters_.failed_operations += static_cast<int64_t>(part.size());
}

void Lane::PutBack(Batch part, std::vector<Batch>* rest, bool outcome_unknown) {
  for (Batch& later : *rest) {
    for (auto it = later.rbegin(); it != later.rend(); ++it) waiting_.push_front(std::move(*it));
  }
  rest->clear();
  Batch failed;
  bool repeatable = part.front()->verb->repeatable();
  for (auto it = part.rbegin(); it != part.rend(); ++it) {
    if (outcome_unknown) ++(*it)->lost_calls_;
    if (outcome_unknown && (!repeatable || (*it)->lost_calls_ >= options_.lost_calls_max)) {
      failed.push_back(std::move(*it));
    } else if ((*it)->blocked_key_ != 0) {
      blocked_.Add(std::move(*it), SteadyNow());
    } else {
      waiting_.push_front(std::move(*it));
    }
  }
  std::reverse(failed.begin(), failed.end());
  FailAll(std::move(failed),
          absl::UnavailableError(fmt::format(
              "the connection to PostgreSQL was lost and whether this took effect is unknown: {}",
              Text(fault_))));
}

void Lane::FailAll(Batch batch, const absl::Status& status) {
  if (batch.empty()) return;
  CountEnd(batch, /*failed=*/true);
  absl::Status for_caller = ForCaller(status);
  for (auto& operation : batch) operation->Fail(for_caller);
}

void Lane::FailImpatient() {
  absl::Time now = SteadyNow();
  Batch failed = blocked_.TakeImpatient(now);
  Queue left;
  for (auto& operation : waiting_) {
    if (operation->give_up_at_ <= now) {
      failed.push_back(std::move(operation));
    } else {
      left.push_back(std::move(operation));
    }
  }
  waiting_ = std::move(left);
  FailAll(std::move(failed),
          absl::UnavailableError(fmt::format(
              "PostgreSQL cannot be used now, send this again later: {}", Text(fault_))));
}

void Lane::CountEnd(const Batch& batch, bool failed) {
  int64_t bytes = 0;
  for (const auto& operation : batch) bytes += static_cast<int64_t>(operation->bytes);
  auto count = static_cast<int64_t>(batch.size());
  absl::MutexLock lock(&mutex_);
  counters_.queued_operations -= count;
  counters_.queued_bytes -= bytes;
  (failed ? counters_.failed_operations : counters_.operations) += count;
}

}  // namespace dt::postgres
