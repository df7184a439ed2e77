// The calls of a lane: how each is sent, and what comes of its faults (lane.h).
#include <algorithm>
#include <utility>

#include "fmt/format.h"
#include "spdlog/spdlog.h"
#include "storage/log_events.h"
#include "storage/postgres/lane.h"
#include "storage/postgres/sqlstate.h"
#include "storage/steady_clock.h"

namespace dt::postgres {
namespace {

constexpr absl::Duration kBlockedLogInterval = absl::Seconds(30);

// The codes that callers of the store know (store.h); whatever else the server says is our bug or
// an operator's matter, and must not be taken for an answer.
absl::Status ForCaller(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kInternal:
      return status;
    case absl::StatusCode::kNotFound:
      if (Sqlstate(status) == kHubDeleted) return status;
      [[fallthrough]];
    default:
      return absl::InternalError(status.message());
  }
}

// Counts the connection as busy for the length of a scope.
class BusyFor {
 public:
  explicit BusyFor(metrics::DatabaseMetrics* metrics) : metrics_(metrics) { Add(1); }
  ~BusyFor() { Add(-1); }
  BusyFor(const BusyFor&) = delete;
  BusyFor& operator=(const BusyFor&) = delete;

 private:
  void Add(int difference) {
    if (metrics_ != nullptr) metrics_->connections_busy.Add(difference);
  }

  metrics::DatabaseMetrics* const metrics_;
};

std::string Text(const absl::Status& status) { return std::string(status.message()); }

}  // namespace

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
  // A statement that is planned at each call costs more than it saves.
  if (!connection_->uses_prepared_statements()) part.front()->as_batch_ = true;
  Params params;
  part.front()->verb->Encode(part, &params);
  Backoff backoff(options_.retry_delay_min, options_.retry_delay_max);
  for (int retries = 0;; ++retries) {
    const absl::Time sent_at = SteadyNow();
    absl::StatusOr<Result> result = SendOnce(part, params);
    const absl::Duration took = SteadyNow() - sent_at;
    CountCall(*part.front()->verb, part.size(), took, result.status());
    ChargeForLocks(*part.front(), took, !result.ok());
    if (result.ok() && part.front()->verb->Declines(*result, part)) {
      part.front()->as_batch_ = true;
      params = Params();
      part.front()->verb->Encode(part, &params);
      continue;
    }
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
        spdlog::error("{}: {}: {} failed for {} operations: {}", log_event::kProcessingFailure,
                      options_.name, part.front()->verb->statement().name, part.size(),
                      Text(status));
        FailAll(std::move(part), status);
        return true;
    }
    absl::SleepFor(backoff.Next(random_));
    CountRetry();
  }
}

void Lane::CountCall(const Verb& verb, size_t operations, absl::Duration took,
                     const absl::Status& status) {
  if (options_.metrics == nullptr) return;
  if (!status.ok()) return CountError(status);
  auto& times = call_times_[&verb];
  if (times == nullptr) times = &options_.metrics->query_seconds.Of(verb.statement().name);
  times->Observe(took);
  batch_sizes_->Observe(static_cast<int64_t>(operations));
}

void Lane::CountError(const absl::Status& status) {
  if (options_.metrics == nullptr) return;
  constexpr size_t kClass = 2;
  const std::string sqlstate = Sqlstate(status);
  options_.metrics->errors.Of(sqlstate.empty() ? "none" : sqlstate.substr(0, kClass)).Add();
}

void Lane::CountRetry() {
  if (options_.metrics != nullptr) options_.metrics->retries.Add();
  absl::MutexLock lock(&mutex_);
  ++counters_.retries;
}

absl::StatusOr<Result> Lane::SendOnce(const Batch& part, const Params& params) {
  int64_t before = connection_->round_trips();
  const BusyFor busy(options_.metrics);
  absl::Status ready = SetLockTimeout(LockTimeoutFor(*part.front()));
  if (!ready.ok()) return ready;
  absl::StatusOr<Result> result =
      connection_->Execute(part.front()->verb->StatementFor(part), params);
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
  if (timeout == lock_timeout_) return absl::OkStatus();
  absl::Status status = connection_->SetLockTimeout(timeout);
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
  CountRetry();
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
  CountRetry();
  Operation& first = *part.front();
  const bool alone = part.size() == 1;
  spdlog::warn("{}: {}: {} of {} operations took longer than {}{}: {}",
               log_event::kTransientDatabaseFailure, options_.name, first.verb->statement().name,
               part.size(), absl::FormatDuration(options_.connection.statement_timeout),
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
  return connection_->ExecuteOnce("select pg_logical_emit_message(true, 'durabletask', '')").ok();
}

void Lane::LogBlocked(const Operation& operation, const absl::Status& status) {
  const absl::Time now = SteadyNow();
  if (now - blocked_logged_at_ <= kBlockedLogInterval) return;
  blocked_logged_at_ = now;
  spdlog::warn(
      "{}: {}: somebody keeps a lock that {} needs in the hub with id "
      "{}; "
      "perhaps an SQL user who does not end a transaction: look for state 'idle in transaction' in "
      "pg_stat_activity, and end it there or by pg_terminate_backend: {}",
      log_event::kTransientDatabaseFailure, options_.name, operation.verb->statement().name,
      operation.hub, Text(status));
}

void Lane::CompleteAll(const Result& result, Batch part) {
  fault_ = absl::OkStatus();
  not_before_ = absl::InfinitePast();
  backoff_.Reset();
  {
    absl::MutexLock lock(&mutex_);
    ++counters_.calls;
    shown_fault_ = absl::OkStatus();
  }
  CountEnd(part, /*failed=*/false);
  const Verb& verb = *part.front()->verb;
  absl::Status status = verb.Complete(result, part);
  if (status.ok()) return;
  spdlog::error("{}: {}: the result of {} does not fit: {}", log_event::kProcessingFailure,
                options_.name, verb.statement().name, Text(status));
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
    if (operation->give_up_at_ <= now || operation->abandoned()) {
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

void Lane::FailAbandoned(Batch* batch) {
  Batch failed;
  for (auto& operation : *batch) {
    if (operation->abandoned()) failed.push_back(std::move(operation));
  }
  batch->erase(std::remove(batch->begin(), batch->end(), nullptr), batch->end());
  FailAll(std::move(failed), absl::UnavailableError("the caller is gone, and this is not done"));
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
