#include "tests/simulation/jobs.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tests/simulation/bank.h"

namespace dt::testing {
namespace {

// Two of three have ids as SDKs make them, and may be started early.
std::string JobId(int number) {
  return number % 3 == 0 ? absl::StrCat("job-", number) : absl::StrFormat("%032x", number);
}

// Echo activities one after the other, then as many at once, then a timer of one second.
void Mixed(const FakeClock& clock, const Replay& replay, Actions& actions) {
  const int count = std::stoi(replay.input());
  for (int id = 1; id <= count; ++id) {
    if (!actions.Task(id, "Echo", absl::StrCat(id)).has_value()) return;
  }
  int results = 0;
  for (int id = count + 1; id <= 2 * count; ++id) {
    if (actions.Task(id, "Echo", absl::StrCat(id)) == absl::StrCat(id)) ++results;
  }
  if (results < count) return;
  if (!actions.Timer(1000, clock.Now() + absl::Seconds(1))) return;
  actions.Complete(absl::StrCat(results));
}

void Parent(const Replay& replay, Actions& actions) {
  const int count = std::stoi(replay.input());
  const std::string own = replay.started().orchestrationinstance().instanceid();
  int completed = 0;
  for (int id = 1; id <= count; ++id) {
    if (actions.Child(id, absl::StrCat(own, ":", id), "Mixed", "1") == "1") ++completed;
  }
  if (completed == count) actions.Complete(absl::StrCat(completed));
}

// Counts down over generations, with one activity in each.
void Loop(const Replay& replay, Actions& actions) {
  const int left = std::stoi(replay.input());
  if (left == 0) {
    actions.Complete("looped");
    return;
  }
  const auto next = actions.Task(1, "Echo", absl::StrCat(left - 1));
  if (next.has_value()) actions.ContinueAsNew(*next);
}

// Sends numbered events to a collector, one per turn, an activity in between.
void Sender(const Replay& replay, Actions& actions) {
  const std::string target = replay.input();
  for (int id = 1; id <= 8; ++id) {
    actions.Send(10 * id, target, "number", absl::StrCat(id));
    if (!actions.Task(10 * id + 1, "Echo", "x").has_value()) return;
  }
  actions.Complete("sent");
}

void Collector(const Replay& replay, Actions& actions) {
  const std::vector<std::string> numbers = replay.Events("number");
  if (numbers.size() >= 8) actions.Complete(absl::StrJoin(numbers, ","));
}

void Listen(const Replay& replay, Actions& actions) {
  if (!actions.Task(1, "Echo", "x").has_value()) return;
  if (!replay.Events("go").empty()) actions.Complete(replay.Events("go").front());
}

void Forever(const Replay&, Actions& actions) { actions.Task(1, "Echo", "x"); }

void FanOut(const Replay& replay, Actions& actions) {
  const int count = std::stoi(replay.input());
  int results = 0;
  for (int id = 1; id <= count; ++id) {
    if (actions.Task(id, "Echo", absl::StrCat(id)) == absl::StrCat(id)) ++results;
  }
  if (results == count) actions.Complete(absl::StrCat(results));
}

// Activities of a fan-out, from few to more than any worker has credits for.
constexpr int kFanOuts[] = {10, 40, 120};

JobPlan PlanJob(int number) {
  JobPlan job;
  job.instance_id = JobId(number);
  switch (number % 7) {
    case 0:
      job.name = "Mixed";
      job.input = job.output = "4";
      job.wants_pause = true;
      break;
    case 1:
      job.name = "Parent";
      job.input = job.output = "3";
      break;
    case 2:
      job.name = "Loop";
      job.input = "5";
      job.output = "looped";
      break;
    case 3:
      job.name = "Collector";
      job.output = "1,2,3,4,5,6,7,8";
      break;
    case 4:
      job.name = "Sender";
      job.input = JobId(number - 1);
      job.output = "sent";
      break;
    case 5:
      job.name = "Listen";
      job.output = "gone";
      job.wants_event = true;
      break;
    default:
      job.name = "Forever";
      job.output = "enough";
      job.status = RuntimeStatus::kTerminated;
      job.wants_termination = true;
  }
  return job;
}

}  // namespace

void AddJobFunctions(const FakeClock& clock, Functions& functions) {
  functions.activities["Echo"] = [](const ActivityRequest& request) {
    return request.input().value();
  };
  functions.orchestrators["Mixed"] = [&clock](const Replay& replay, Actions& actions) {
    Mixed(clock, replay, actions);
  };
  functions.orchestrators["Parent"] = Parent;
  functions.orchestrators["Loop"] = Loop;
  functions.orchestrators["Sender"] = Sender;
  functions.orchestrators["Collector"] = Collector;
  functions.orchestrators["Listen"] = Listen;
  functions.orchestrators["Forever"] = Forever;
  functions.orchestrators["FanOut"] = FanOut;
}

std::vector<JobPlan> PlanJobs(int count) {
  std::vector<JobPlan> jobs;
  for (int i = 0; i < count; ++i) jobs.push_back(PlanJob(i));
  return jobs;
}

std::vector<JobPlan> PlanFanOuts(int count) {
  std::vector<JobPlan> jobs = PlanJobs(count);
  for (int i = 0; i < count; ++i) {
    // Those of two that belong together stay.
    if (i % 7 != 0 && i % 7 != 2) continue;
    JobPlan fan_out;
    fan_out.instance_id = jobs[static_cast<size_t>(i)].instance_id;
    fan_out.name = "FanOut";
    fan_out.input = fan_out.output = absl::StrCat(kFanOuts[i % std::size(kFanOuts)]);
    jobs[static_cast<size_t>(i)] = std::move(fan_out);
  }
  return jobs;
}

std::vector<JobPlan> PlanBankJobs(int count) {
  std::vector<JobPlan> jobs;
  for (int i = 0; i < count; ++i) {
    BankJob made = BankJobOf(i);
    JobPlan job;
    job.instance_id = JobId(i);
    job.name = std::move(made.name);
    job.input = std::move(made.input);
    job.output = std::move(made.output);
    if (job.name == "Holder") {
      job.output = "enough";
      job.status = RuntimeStatus::kTerminated;
      job.wants_termination = true;
    }
    job.wants_pause = job.name == "Transfer";
    jobs.push_back(std::move(job));
  }
  return jobs;
}

}  // namespace dt::testing
