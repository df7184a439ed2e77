#include "storage/postgres/lease_keeper.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "spdlog/spdlog.h"
#include "storage/postgres/process_identity.h"
#include "storage/steady_clock.h"

namespace dt::postgres {
namespace {

// As of the lanes: a restart of the server is no fault.
constexpr absl::Duration kLeaseFaultShownAfter = absl::Seconds(3);

std::string CallText(const std::string& schema, const std::string& call) {
  return absl::StrCat("select * from ", Connection::QuoteIdentifier(schema), ".", call);
}

constexpr int kClockReadings = 3;
// Streams that come and go make no more renewals than one in this time.
constexpr absl::Duration kReportPause = absl::Milliseconds(200);

}  // namespace

absl::StatusOr<ClockEstimate> MeasureClock(Connection& connection, const std::string& schema) {
  ClockEstimate clock;
  for (int n = 0; n < kClockReadings; ++n) {
    const absl::Time sent = SteadyNow();
    const absl::StatusOr<Result> result =
        connection.ExecuteOnce(CallText(schema, "_Now()"), Params());
    if (!result.ok()) return result.status();
    clock.Add({result->Timestamp(0, 0), sent, SteadyNow()});
  }
  return clock;
}

LeaseKeeper::LeaseKeeper(LeaseKeeperOptions options, std::function<void(WorkerId)> on_registered,
                         std::function<void()> on_served)
    : options_(std::move(options)),
      on_registered_(std::move(on_registered)),
      on_served_(std::move(on_served)),
      clock_(options_.clock) {
  PublishClock();
}

LeaseKeeper::~LeaseKeeper() { Stop(); }

void LeaseKeeper::Start() {
  // Whatever is timed by Now() from here on is timed by the database.
  absl::Status status = clock_.known() ? absl::OkStatus() : EnsureConnected();
  if (status.ok() && !clock_.known()) {
    const absl::StatusOr<ClockEstimate> clock = MeasureClock(*connection_, options_.schema);
    if (clock.ok()) clock_ = *clock;
    PublishClock();
    status = clock.status();
  }
  if (!status.ok()) {
    spdlog::warn("the database's clock is not known yet, this host's is used until it is: {}",
                 status.ToString());
  }
  thread_ = std::thread([this] { Run(); });
}

void LeaseKeeper::Stop() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  interrupt_.Raise();
  if (thread_.joinable()) thread_.join();
}

absl::Time LeaseKeeper::Now() const {
  const absl::Time now =
      clock_known_.load() ? SteadyNow() + absl::Microseconds(clock_offset_us_.load()) : absl::Now();
  const int64_t now_us = absl::ToUnixMicros(now);
  int64_t last = last_now_us_.load();
  while (last < now_us && !last_now_us_.compare_exchange_weak(last, now_us)) {
  }
  return absl::FromUnixMicros(std::max(last, now_us));
}

void LeaseKeeper::Run() {
  Backoff backoff(options_.retry_min, options_.retry_max);
  absl::Duration delay;
  do {
    absl::Status status = EnsureConnected();
    if (status.ok()) status = worker_.load() == 0 ? Register() : Renew();
    NoteOutcome(status);
    if (status.ok()) {
      backoff.Reset();
      // After a renewal found the registration gone, register at once.
      delay = worker_.load() == 0 ? absl::ZeroDuration() : options_.lease / 3;
    } else {
      spdlog::warn("the lease of this daemon is not renewed: {}", status.ToString());
      connection_.reset();
      delay = backoff.Next(random_);
    }
  } while (SleepFor(delay));
  Unregister();
}

absl::Status LeaseKeeper::EnsureConnected() {
  const bool usable = connection_ != nullptr && connection_->connected();
  if (usable && !connection_->aged()) return absl::OkStatus();
  absl::StatusOr<std::unique_ptr<Connection>> connection = Connection::Connect(options_.connection);
  if (!connection.ok() && usable) {
    connection_->Prolong(options_.lease, connection.status());
    return absl::OkStatus();
  }
  if (!connection.ok()) return connection.status();
  connection_ = *std::move(connection);
  return absl::OkStatus();
}

absl::Status LeaseKeeper::Register() {
  const absl::Time sent = SteadyNow();
  Params params;
  params.Text(HostName())
      .Text(OwnProcess())
      .Text(options_.version)
      .Int8(absl::ToInt64Microseconds(options_.lease))
      .Bool(!connection_->session_is_shared());
  const bool serves_other = AddKept(params);
  const absl::StatusOr<Result> result = connection_->Execute(
      {"register", CallText(options_.schema,
                            "_RegisterWorker($1, $2, $3, $4 * interval '1 microsecond', $5, "
                            "$6::jsonb, $7::jsonb)")},
      params);
  if (!result.ok()) return result.status();
  NoteClock(result->Timestamp(0, result->Column("now")), sent);
  worker_.store(result->Int(0, result->Column("worker_id")));
  on_registered_(worker_.load());
  if (serves_other) on_served_();
  return absl::OkStatus();
}

absl::Status LeaseKeeper::Renew() {
  const absl::Time sent = SteadyNow();
  Params params;
  params.Int8(worker_.load())
      .Int8(absl::ToInt64Microseconds(options_.lease))
      .Bool(!connection_->session_is_shared());
  const bool serves_other = AddKept(params);
  const absl::StatusOr<Result> result = connection_->Execute(
      {"renew",
       CallText(options_.schema,
                "_RenewWorker($1, $2 * interval '1 microsecond', $3, $4::jsonb, $5::jsonb)")},
      params);
  if (!result.ok()) return result.status();
  NoteClock(result->Timestamp(0, result->Column("now")), sent);
  if (!result->Bool(0, result->Column("renewed"))) {
    spdlog::warn("worker {} was swept: its lease had run out; registering again", worker_.load());
    worker_.store(0);
  } else if (serves_other) {
    on_served_();
  }
  return absl::OkStatus();
}

void LeaseKeeper::Unregister() {
  if (worker_.load() == 0) return;
  absl::Status status = EnsureConnected();
  if (status.ok()) {
    Params params;
    params.Int8(worker_.load());
    status =
        connection_
            ->Execute({"unregister", CallText(options_.schema, "_UnregisterWorker($1)")}, params)
            .status();
  }
  if (!status.ok()) {
    spdlog::warn("this daemon could not unregister, its leases end by themselves: {}",
                 status.ToString());
  }
  connection_.reset();
}

void LeaseKeeper::NoteClock(absl::Time server, absl::Time sent) {
  clock_.Add({server, sent, SteadyNow()});
  PublishClock();
}

void LeaseKeeper::PublishClock() {
  if (!clock_.known()) return;
  clock_offset_us_.store(absl::ToInt64Microseconds(clock_.offset()));
  clock_known_.store(true);
}

void LeaseKeeper::NoteOutcome(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  const absl::Time now = SteadyNow();
  if (fault_.ok()) fault_since_ = now;
  fault_ = status;
  if (status.ok()) renewed_at_ = now;
  if (!status.ok()) served_.sent = load_.sent = false;  // they may have been lost
}

absl::Status LeaseKeeper::StandingFault() const {
  absl::MutexLock lock(&mutex_);
  return SteadyNow() - fault_since_ >= kLeaseFaultShownAfter ? fault_ : absl::OkStatus();
}

bool LeaseKeeper::SleepFor(absl::Duration delay) {
  if (connection_ != nullptr) {
    const absl::Status status = connection_->WaitForNotifications(delay, interrupt_.fd()).status();
    if (!status.ok()) {
      spdlog::info("the connection that renews the lease is made anew: {}", status.ToString());
      connection_.reset();
    }
    interrupt_.Clear();
    delay = absl::ZeroDuration();
  }
  return WaitForStop(std::max(delay, renewed_at() + kReportPause - SteadyNow()));
}

bool LeaseKeeper::WaitForStop(absl::Duration delay) {
  absl::MutexLock lock(&mutex_);
  mutex_.AwaitWithTimeout(absl::Condition(&stopping_), delay);
  return !stopping_;
}

void LeaseKeeper::Report(std::string served, std::string load, bool at_once) {
  {
    absl::MutexLock lock(&mutex_);
    Replace(served_, std::move(served));
    Replace(load_, std::move(load));
  }
  if (at_once) interrupt_.Raise();
}

void LeaseKeeper::Replace(Kept& kept, std::string text) {
  if (text == kept.text) return;
  kept.text = std::move(text);
  kept.sent = false;
}

bool LeaseKeeper::AddKept(Params& params) {
  absl::MutexLock lock(&mutex_);
  bool has_served = false;
  for (Kept* kept : {&served_, &load_}) {
    const bool needed = (worker_.load() == 0 || !kept->sent) && !kept->text.empty();
    params.OptionalText(needed ? std::optional<std::string>(kept->text) : std::nullopt);
    kept->sent = true;
    has_served |= needed && kept == &served_;
  }
  return has_served;
}

}  // namespace dt::postgres
