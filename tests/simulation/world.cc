#include "tests/simulation/world.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/util/message_differencer.h"
#include "server/orchestration/requests.h"
#include "tests/simulation/bank.h"

namespace dt::testing {
namespace {

// Three daemons read every two seconds what the workers of the others take.
constexpr absl::Duration kHeardOfWithin = absl::Seconds(4);
constexpr absl::Duration kIdle = absl::Seconds(1);
constexpr absl::Duration kBacklog = absl::Seconds(2);
// How often what takes time is looked at.
constexpr int64_t kStepsPerLook = 50;

}  // namespace

World::World(WorldOptions options)
    : options_(options),
      random_(static_cast<std::minstd_rand::result_type>(options.seed % 2147483646 + 1)),
      database_(clock_.Reader()),
      hub_(*database_.ResolveHub("default", /*create=*/true)),
      ledger_(/*starts_fail=*/options.faults.refuse + options.faults.lose > 0),
      daemons_(static_cast<size_t>(options.daemons)) {
  AddJobFunctions(clock_, functions_);
  AddBank(clock_, functions_);
  functions_.operations_run = [this](int count) {
    return faulty_ && Happens(0.1) ? static_cast<int>(Pick(static_cast<size_t>(count) + 1)) : count;
  };
  std::vector<JobPlan> plans = PlanJobs(options_.orchestrations);
  if (options_.fleet) plans = PlanFanOuts(options_.orchestrations);
  if (options_.entities) plans = PlanBankJobs(options_.orchestrations);
  for (JobPlan& plan : plans) jobs_.emplace_back().plan = std::move(plan);
  for (size_t i = 0; i < daemons_.size(); ++i) StartDaemon(i);
}

bool World::Happens(double probability) {
  return std::uniform_real_distribution<double>(0, 1)(random_) < probability;
}

size_t World::Pick(size_t count) {
  return std::uniform_int_distribution<size_t>(0, count - 1)(random_);
}

size_t World::PickLiving() {
  while (true) {
    const size_t index = Pick(daemons_.size());
    if (daemons_[index].daemon != nullptr) return index;
  }
}

// --- Daemons

void World::StartDaemon(size_t index) {
  Daemon& daemon = daemons_[index];
  ++daemon.life;
  daemon.store = std::make_unique<MemoryStore>(&database_, MemoryStore::Mode::kStepped);
  daemon.faults = std::make_unique<FaultStore>(daemon.store.get(), random_(),
                                               faulty_ ? options_.faults : FaultScript());
  dispatch::DispatchLimits limits;
  limits.lost_leases_max = 0;  // streams are lost all the time here
  limits.resident_linger = absl::Milliseconds(500);
  limits.result_hold_max = absl::Milliseconds(std::vector<int>{0, 20, 1000}[Pick(3)]);
  if (options_.entities) {
    limits.entity_operations_max = std::vector<int>{1, 3, 1000}[Pick(3)];
  }
  daemon.daemon =
      std::make_unique<FakeDaemon>(daemon.faults.get(), daemon.store.get(), limits, random_());
  daemon.daemon->OnHearing(Happens(0.8));
  daemon.daemon->WriteDown(&transcript_, absl::StrCat("daemon ", index, ".", daemon.life));
  daemon.registered = daemon.store->worker();
  daemon.doubtful = false;
  changed_at_ = clock_.Now();
}

void World::Kill(size_t index) {
  Daemon& daemon = daemons_[index];
  database_.DeclareDead(daemon.store->worker());
  ledger_.LeasesLost(index);
  daemon.workers.clear();
  daemon.daemon.reset();
  daemon.faults.reset();
  daemon.store.reset();
  changed_at_ = clock_.Now();
  const bool others = std::any_of(daemons_.begin(), daemons_.end(),
                                  [](const Daemon& other) { return other.daemon != nullptr; });
  if (options_.down_max == absl::ZeroDuration() || !others) return StartDaemon(index);
  daemon.down_until = clock_.Now() + options_.down_max * (Pick(100) / 100.0);
}

void World::OpenStream(size_t index) {
  Daemon& daemon = daemons_[index];
  dispatch::StreamOptions options;
  options.orchestrations_max = 3;
  options.activities_max = 3;
  if (options_.entities) options.entities_max = 2;
  Pace pace;
  if (options_.fleet) {
    options.orchestrations_max = options.activities_max = 100;
    // The first ones of a world are as unequal as can be.
    const Pace paces[] = {{8, false, absl::Milliseconds(1), absl::Milliseconds(1)},
                          {1, true, absl::Milliseconds(50), absl::Milliseconds(2)},
                          {4, false, absl::Milliseconds(20), absl::ZeroDuration()}};
    pace = paces[steps_ == 0 ? index % std::size(paces) : Pick(std::size(paces))];
  }
  daemon.workers.emplace_back(daemon.daemon.get(), daemon.store.get(), index, hub_, options, pace,
                              &ledger_);
  changed_at_ = clock_.Now();
}

bool World::Suffer(size_t index) {
  Daemon& daemon = daemons_[index];
  if (faulty_ && Happens(options_.crash)) {
    Kill(index);
    return false;
  }
  if (faulty_ && Happens(options_.sweep_alive)) {
    database_.DeclareDead(daemon.store->worker());
    ledger_.LeasesLost(index);
    daemon.doubtful = true;
  }
  if (daemon.workers.empty()) return true;
  if (faulty_ && Happens(options_.stream_loss)) {
    const size_t lost = Pick(daemon.workers.size());
    daemon.workers[lost].Close();
    daemon.workers.erase(daemon.workers.begin() + static_cast<std::ptrdiff_t>(lost));
    changed_at_ = clock_.Now();
  } else if (faulty_ && Happens(options_.stall)) {
    daemon.workers[Pick(daemon.workers.size())].StallUntil(
        clock_.Now() + absl::Milliseconds(static_cast<int64_t>(500 + Pick(5000))));
  }
  return true;
}

void World::Heartbeat(size_t index) {
  Daemon& daemon = daemons_[index];
  daemon.store->Heartbeat();
  daemon.doubtful = false;
  if (daemon.store->worker() == daemon.registered) return;
  daemon.registered = daemon.store->worker();
  ledger_.LeasesLost(index);
}

void World::WorkSome(Daemon& daemon) {
  for (PacedWorker& worker : daemon.workers) {
    worker.Receive(clock_.Now(), daemon.doubtful);
    if (options_.entities && faulty_ && Happens(0.02)) worker.AbandonOne();
    if (options_.fleet || Happens(0.7)) worker.Run(functions_, clock_.Now());
  }
}

void World::RunDaemon(size_t index) {
  Daemon& daemon = daemons_[index];
  if (daemon.daemon == nullptr) {
    if (faulty_ && clock_.Now() < daemon.down_until) return;
    StartDaemon(index);
  }
  if (!Suffer(index)) return;
  if (daemon.workers.size() < 2 && Happens(0.05)) OpenStream(index);
  if (Happens(0.1)) Client();
  if (Happens(0.5)) daemon.daemon->Turn();
  const size_t store_steps = Pick(options_.fleet ? 30 : 6);
  for (size_t i = 0; i < store_steps; ++i) daemon.store->Step(Happens(0.5));
  WorkSome(daemon);
  if (Happens(0.1)) Heartbeat(index);
}

void World::Deliver() {
  const std::vector<HubId> woken = database_.TakeWoken();
  const std::vector<SentHints> hints = database_.TakeHints();
  for (Daemon& daemon : daemons_) {
    if (daemon.daemon == nullptr || Happens(options_.hint_loss)) continue;
    daemon.store->Notify(woken);
    daemon.store->Hear(hints);
  }
}

// --- Clients

size_t World::JobsSoFar() const {
  if (!options_.fleet || !faulty_) return jobs_.size();
  // So that fan-outs begin at any time: a few at first, all at four fifths of the way.
  constexpr size_t kAtFirst = 5;
  const auto steps = static_cast<size_t>(steps_) * 5 / 4;
  return std::min(jobs_.size(),
                  kAtFirst + steps * jobs_.size() / static_cast<size_t>(options_.steps));
}

void World::Client() {
  Job& job = jobs_[Pick(JobsSoFar())];
  const size_t index = PickLiving();
  FakeDaemon& daemon = *daemons_[index].daemon;
  if (options_.entities && faulty_ && Happens(0.2)) {
    const BankSignal signal = BankSignalOf(Pick(10));
    daemon.Signal(hub_, signal.entity, signal.operation, "");
  }
  const std::string& id = job.plan.instance_id;
  const bool started = job.started.ok();
  const bool asked = job.asked && job.daemon_life == daemons_[job.daemon].life &&
                     absl::IsUnknown(job.started.status());
  // A collector must be there before its sender begins.
  if (job.plan.name == "Sender" && !jobs_[&job - jobs_.data() - 1].started.ok()) return;
  if (!started && !asked) return Start(job, index);
  if (!started) return;
  if (job.plan.wants_event) daemon.Raise(hub_, id, "go", "gone");
  if (job.plan.wants_termination && Happens(0.3)) daemon.Terminate(hub_, id, "enough");
  if (job.plan.wants_pause && faulty_ && Happens(0.2)) daemon.Suspend(hub_, id);
  if (job.plan.wants_pause && (!faulty_ || Happens(0.5))) daemon.Resume(hub_, id);
}

void World::Start(Job& job, size_t index) {
  // A client whose start was not answered looks first: it may be there, and even have ended, and a
  // second start would run it again.
  const JobPlan& plan = job.plan;
  const bool exists =
      job.asked && database_.ReadInstance(hub_, plan.instance_id, /*payloads=*/false).has_value();
  job.asked = true;
  job.daemon = index;
  job.daemon_life = daemons_[index].life;
  if (exists) {
    job.started = CreateResult();
  } else {
    job.started = absl::UnknownError("asked");
    daemons_[index].daemon->Start(hub_, plan.instance_id, plan.name, plan.input, &job.started);
  }
  Wait(job, options_.fleet && Happens(0.7) ? PickLiving() : index);
}

void World::Wait(Job& job, size_t index) {
  Call& call = job.calls.emplace_back();
  call.daemon = index;
  call.daemon_life = daemons_[index].life;
  call.since = clock_.Now();
  daemons_[index].daemon->Wait(hub_, job.plan.instance_id,
                               dispatch::DispatchThread::WaitFor::kCompletion, &call.answer,
                               &call.known);
}

void World::FollowCalls() {
  for (Job& job : jobs_) {
    if (job.answered || job.calls.empty()) continue;
    Call& call = job.calls.back();
    const Daemon& daemon = daemons_[call.daemon];
    const bool gone = daemon.daemon == nullptr || daemon.life != call.daemon_life;
    if (call.answer.has_value() ? !call.answer->ok() : gone) {
      Wait(job, PickLiving());
      continue;
    }
    job.answered = call.answer.has_value();
    if (!job.answered && steps_ % kStepsPerLook != 0) continue;
    const auto row = database_.ReadInstance(hub_, job.plan.instance_id, /*payloads=*/false);
    const bool ended = row.has_value() && row->completed_at.has_value();
    if (job.answered && !ended) {
      ledger_.Complain(absl::StrCat(job.plan.instance_id, " is told to have ended, but runs"));
    }
    if (!ended) continue;
    const absl::Duration late = clock_.Now() - std::max(call.since, *row->completed_at);
    if (late <= options_.answered_within) continue;
    ledger_.Complain(absl::StrCat("the caller that waits for ", job.plan.instance_id, " at daemon ",
                                  call.daemon, " hears of the end ", absl::FormatDuration(late),
                                  " late"));
  }
}

// --- All of it

void World::CheckShares() {
  // By then the daemons have heard of all workers, and what they took on before is done.
  const absl::Time since = changed_at_ + kHeardOfWithin;
  if (clock_.Now() < since) return;
  for (const Daemon& idle : daemons_) {
    const bool is_idle = std::all_of(
        idle.workers.begin(), idle.workers.end(),
        [this](const PacedWorker& worker) { return worker.idle_since() + kIdle < clock_.Now(); });
    if (!is_idle) continue;
    for (const Daemon& busy : daemons_) {
      for (const PacedWorker& worker : busy.workers) {
        if (worker.Backlog(since) < kBacklog) continue;
        ledger_.Complain(absl::StrCat("a worker is idle, while another one has ", worker.waiting(),
                                      " items waiting, for ",
                                      absl::FormatDuration(worker.Backlog(since))));
      }
    }
  }
}

void World::Step() {
  if (steps_ == 0 && options_.fleet) {
    for (size_t i = 0; i < daemons_.size(); ++i) OpenStream(i);
  }
  ++steps_;
  RunDaemon(Pick(daemons_.size()));
  FollowCalls();
  if (Happens(0.2)) Deliver();
  if (options_.shares && steps_ % kStepsPerLook == 0) CheckShares();
  clock_.Advance(absl::Milliseconds(static_cast<int64_t>(Pick(8))));
}

void World::Repair() {
  faulty_ = false;
  for (Daemon& daemon : daemons_) {
    if (daemon.faults != nullptr) daemon.faults->SetScript({});
  }
}

bool World::Finished() {
  return std::all_of(jobs_.begin(), jobs_.end(), [this](const Job& job) {
    const auto row = database_.ReadInstance(hub_, job.plan.instance_id, false);
    return row.has_value() && IsTerminal(row->status);
  });
}

std::string World::Run() {
  const auto good = [this] { return ledger_.wrong().empty(); };
  for (int i = 0; i < options_.steps && good(); ++i) Step();
  Repair();
  // Ten minutes of the world's time, which no wait of the daemon outlasts.
  const absl::Time end = clock_.Now() + absl::Minutes(10);
  while (good() && !Finished() && clock_.Now() < end) {
    for (int i = 0; i < 20 && good(); ++i) Step();
    clock_.Advance(absl::Milliseconds(50));
  }
  // What was begun for instances that ended runs out; idle residents are given back.
  const absl::Time rest = clock_.Now() + absl::Seconds(30);
  while (good() && clock_.Now() < rest) {
    for (int i = 0; i < 20 && good(); ++i) Step();
    clock_.Advance(absl::Milliseconds(100));
  }
  return Check();
}

std::string World::Check() {
  if (!ledger_.wrong().empty()) return ledger_.wrong();
  for (const Job& job : jobs_) {
    const JobPlan& plan = job.plan;
    const auto row = database_.ReadInstance(hub_, plan.instance_id, true);
    if (!row.has_value()) return absl::StrCat(plan.instance_id, " does not exist");
    if (row->status != plan.status || row->output.value_or("(none)") != plan.output) {
      return absl::StrCat(plan.instance_id, " (", plan.name, ") has status ",
                          static_cast<int>(row->status), " and output ",
                          row->output.value_or("(none)"), Describe(job));
    }
    if (!job.answered) return absl::StrCat("nobody is told of the end of ", plan.instance_id);
    std::string wrong = CheckHistory(job);
    if (wrong.empty()) wrong = CheckKnown(job, *row);
    if (!wrong.empty()) return wrong;
  }
  size_t entities = 0;
  const std::string wrong = options_.entities ? CheckEntities(&entities) : "";
  if (!wrong.empty()) return wrong;
  MemoryDatabase::Counts counts = database_.Count();
  counts.live -= entities;
  if (counts.live + counts.leased_instances + counts.tasks + counts.messages != 0) {
    return absl::StrCat("left behind: ", counts.live, " live instances, ", counts.leased_instances,
                        " leases, ", counts.tasks, " tasks (", counts.leased_tasks, " leased), ",
                        counts.messages, " messages");
  }
  return "";
}

std::string World::CheckEntities(size_t* entities) {
  std::vector<std::string> adders;
  std::vector<std::string> passes;
  for (const Job& job : jobs_) {
    const auto row = database_.ReadInstance(hub_, job.plan.instance_id, /*payloads=*/false);
    if (job.plan.name == "Adder") adders.push_back(row->execution_id);
    if (job.plan.name == "Pass") passes.push_back(row->execution_id);
  }
  return CheckBank(database_, hub_, adders, passes, entities);
}

std::string World::Describe(const Job& job) {
  const LeaseToken lease = database_.LeaseOf(hub_, job.plan.instance_id);
  const MemoryDatabase::Counts all = database_.Count();
  std::string text =
      absl::StrCat("; lease ", LeaseTokenWorker(lease), "/",
                   lease & ((LeaseToken{1} << kLeaseTokenCounterBits) - 1), "; ", all.messages,
                   " messages, ", all.tasks, " tasks, ", all.leased_tasks, " leased");
  for (Daemon& daemon : daemons_) {
    const dispatch::Dispatcher::Counts counts = daemon.daemon->dispatcher().Count();
    absl::StrAppend(&text, "; worker ", daemon.store->worker(), ": ", counts.residents,
                    " residents, ", counts.held_tasks, " tasks, ", counts.items_in_flight,
                    " items at workers, quiet ", daemon.daemon->dispatcher().quiet());
  }
  return text;
}

// A row that was told without a read is the stored one, unless a client that got no answer to its
// start has replaced the instance since.
std::string World::CheckKnown(const Job& job, const InstanceRow& row) {
  const dispatch::KnownRow& told = job.calls.back().known;
  if (told == nullptr || told->key != row.key) return "";
  const OrchestrationState known = orchestration::RenderState(*told, /*payloads=*/true);
  const OrchestrationState stored = orchestration::RenderState(row, /*payloads=*/true);
  std::string difference;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&difference);
  if (differencer.Compare(stored, known) && told->generation == row.generation) return "";
  return absl::StrCat(row.instance_id, " is not as its wait was told: ", difference);
}

std::string World::CheckHistory(const Job& job) {
  OrchestratorRequest history;  // its field pastEvents is the form of the chunks
  auto page = database_.ReadHistory(hub_, job.plan.instance_id, std::nullopt, 0, int64_t{1} << 40);
  std::string bytes;
  for (const HistoryChunk& chunk : page->chunks) bytes += *chunk.events;
  if (!history.ParseFromString(bytes)) return absl::StrCat(job.plan.instance_id, ": bad history");
  std::map<std::string, int> seen;
  for (const HistoryEvent& event : history.pastevents()) {
    if (event.has_taskcompleted()) {
      ++seen[absl::StrCat("result of task ", event.taskcompleted().taskscheduledid())];
    } else if (event.has_timerfired()) {
      ++seen[absl::StrCat("timer ", event.timerfired().timerid())];
    } else if (event.has_suborchestrationinstancecompleted()) {
      ++seen[absl::StrCat("child ", event.suborchestrationinstancecompleted().taskscheduledid())];
    } else if (event.has_entityoperationcompleted()) {
      ++seen["answer to " + event.entityoperationcompleted().requestid()];
    } else if (event.has_entityoperationfailed()) {
      ++seen["answer to " + event.entityoperationfailed().requestid()];
    } else if (event.has_entitylockgranted()) {
      ++seen["grant of " + event.entitylockgranted().criticalsectionid()];
    } else if (event.has_executionstarted() || event.has_executioncompleted()) {
      ++seen[absl::StrCat("event of type ", static_cast<int>(event.eventType_case()))];
    }
  }
  for (const auto& [what, count] : seen) {
    if (count != 1)
      return absl::StrCat(job.plan.instance_id, ": ", what, " is there ", count, " times");
  }
  return "";
}

}  // namespace dt::testing
