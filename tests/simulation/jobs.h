// What the clients of a world start, what they do with it, and what must come of it.
#ifndef DT_TESTS_SIMULATION_JOBS_H_
#define DT_TESTS_SIMULATION_JOBS_H_

#include <string>
#include <vector>

#include "storage/records.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_worker.h"

namespace dt::testing {

// One orchestration.
struct JobPlan {
  std::string instance_id;
  std::string name;
  std::string input;
  std::string output;
  RuntimeStatus status = RuntimeStatus::kCompleted;
  bool wants_event = false;
  bool wants_termination = false;
  bool wants_pause = false;
};

// The activity Echo, which returns its input, and the orchestrators of the plans below except those
// of the bank. `clock` must outlive `functions`.
void AddJobFunctions(const FakeClock& clock, Functions& functions);

// Activities, timers, children, generations, events and terminations.
std::vector<JobPlan> PlanJobs(int count);
// The same, with fan-outs of many activities among them.
std::vector<JobPlan> PlanFanOuts(int count);
// Of the bank (bank.h).
std::vector<JobPlan> PlanBankJobs(int count);

}  // namespace dt::testing

#endif  // DT_TESTS_SIMULATION_JOBS_H_
