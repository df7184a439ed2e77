#include "tests/bench/measure.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace dt::bench {
namespace {

// The sample before the first timer takes so long at most.
constexpr std::chrono::milliseconds kSampleTime{200};

Clock::duration ToDuration(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// One run. Each step is skipped after one that went wrong; `status` says which.
class Run {
 public:
  Run(const Options& options, const Meter& meter, Driver& driver)
      : options_(options), meter_(meter), driver_(driver) {}

  // Exactly `count` orchestrations, from the first start to the last end; the warm-up runs before.
  void Count() {
    driver_.OpenStreams();
    if (options_.warmup_seconds > 0) {
      driver_.Begin(Pass::kStartAndWait, 0);
      driver_.WaitEnded(Clock::now() + ToDuration(options_.warmup_seconds));
      driver_.Stop();
      driver_.WaitEnded();
    }
    Take(measurement_.begin);
    DoPass(Pass::kStartAndWait, options_.count);
    Take(measurement_.end);
  }

  // A window of steady load; what is still in flight at its end is finished and checked, but not
  // counted.
  void Seconds() {
    driver_.OpenStreams();
    driver_.Begin(Pass::kStartAndWait, 0);
    driver_.WaitEnded(Clock::now() + ToDuration(options_.warmup_seconds));
    Take(measurement_.begin);
    driver_.WaitEnded(Clock::now() + ToDuration(options_.seconds));
    Take(measurement_.end);
    driver_.Stop();
    driver_.WaitEnded();
  }

  void QueueFirst() {
    DoPass(Pass::kStart, options_.count);
    Take(measurement_.begin);
    driver_.OpenStreams();
    Await(Mark::kEnded);
    Take(measurement_.end);
    DoPass(Pass::kCollect, options_.count);
  }

  void Events() {
    driver_.OpenStreams();
    DoPass(Pass::kStart, options_.count);
    Await(Mark::kWaiting);
    Take(measurement_.begin);
    DoPass(Pass::kRaise, options_.count);
    Await(Mark::kEnded);
    Take(measurement_.end);
    DoPass(Pass::kCollect, options_.count);
  }

  void Timers() {
    driver_.OpenStreams();
    const absl::Duration lead = absl::Seconds(options_.timer_lead_seconds);
    const Clock::time_point first_due = Clock::now() + absl::ToChronoNanoseconds(lead);
    driver_.SetFirstDue(absl::ToUnixMicros(absl::Now() + lead));
    DoPass(Pass::kStart, options_.count);
    AwaitTimersSet(first_due - kSampleTime);
    Take(measurement_.begin);
    measurement_.begin.time = first_due;
    Await(Mark::kEnded);
    Take(measurement_.end);
    DoPass(Pass::kCollect, options_.count);
  }

  // Signals may still be on their way when all orchestrations have ended. Each operation must have
  // been done once.
  void CheckEntities() {
    EntityTotals expected;
    for (int64_t number = 0; number < driver_.started(); ++number) {
      const EntityTotals totals = options_.workload->TotalsOf(options_.parameters, number);
      expected.operations += totals.operations;
      expected.sum += totals.sum;
    }
    const Clock::time_point deadline = Clock::now() + ToDuration(options_.timeout_seconds);
    while (!is_off() && expected.operations > 0) {
      const auto found = driver_.ReadEntities();
      if (!found.ok()) {
        status_ = found.status();
        return;
      }
      if (found->operations == expected.operations && found->sum == expected.sum) return;
      if (found->operations >= expected.operations || Clock::now() >= deadline) {
        status_ = absl::DataLossError(absl::StrCat(
            "entities did ", found->operations, " operations with the sum ", found->sum, "; ",
            expected.operations, " with ", expected.sum, " would be right"));
      }
      absl::SleepFor(absl::Milliseconds(20));
    }
  }

  absl::StatusOr<Measurement> Result() const {
    if (!status_.ok()) return status_;
    return measurement_;
  }

 private:
  bool is_off() const { return !status_.ok() || driver_.failed(); }

  void Take(Sample& sample) {
    if (is_off()) return;
    auto taken = meter_.Take(driver_);
    if (taken.ok()) {
      sample = *std::move(taken);
    } else {
      status_ = taken.status();
    }
  }

  void DoPass(Pass pass, int64_t count) {
    if (is_off()) return;
    driver_.Begin(pass, count);
    driver_.WaitEnded();
  }

  // For the whole batch, as long as there is some progress.
  void Await(Mark mark) {
    int64_t before = 0;
    while (!is_off()) {
      const Clock::time_point deadline = Clock::now() + ToDuration(options_.timeout_seconds);
      if (driver_.WaitMark(mark, options_.count, deadline)) return;
      const WorkCounts work = driver_.work_counts();
      if (work.turns + work.activities + work.batches == before) {
        status_ = absl::DeadlineExceededError(
            absl::StrCat(driver_.marked(mark), " of ", options_.count, " orchestrations ",
                         mark == Mark::kWaiting ? "took their first turn" : "ended",
                         ", and the workers got nothing in ", options_.timeout_seconds, " s"));
      }
      before = work.turns + work.activities + work.batches;
    }
  }

  // A timer that is set too late would count as one that fires late.
  void AwaitTimersSet(Clock::time_point deadline) {
    if (is_off()) return;
    const bool is_set = driver_.WaitMark(Mark::kWaiting, options_.count, deadline);
    if (!is_set || Clock::now() >= deadline) {
      status_ = absl::DeadlineExceededError(absl::StrCat(
          driver_.marked(Mark::kWaiting), " of ", options_.count, " timers were set ",
          options_.timer_lead_seconds, " s after the beginning; raise --timer-lead-seconds"));
      return;
    }
    driver_.WaitMark(Mark::kEnded, options_.count, deadline);
  }

  const Options& options_;
  const Meter& meter_;
  Driver& driver_;
  Measurement measurement_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<Measurement> Measure(const Options& options, const Meter& meter, Driver& driver) {
  Run run(options, meter, driver);
  if (options.queue_first) {
    run.QueueFirst();
  } else if (options.workload->trigger() == Trigger::kEvents) {
    run.Events();
  } else if (options.workload->trigger() == Trigger::kTimer) {
    run.Timers();
  } else if (options.count > 0) {
    run.Count();
  } else {
    run.Seconds();
  }
  run.CheckEntities();
  return run.Result();
}

}  // namespace dt::bench
