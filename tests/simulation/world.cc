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

}  // namespace

World::World(WorldOptions options)
    : options_(options),
      random_(static_cast<std::minstd_rand::result_type>(options.seed % 2147483646 + 1)),
      database_(clock_.Reader()),
      hub_(*database_.ResolveHub("default", /*create=*/true)),
      daemons_(static_cast<size_t>(options.daemons)),
      lives_(static_cast<size_t>(options.daemons)) {
  functions_.activities["Echo"] = [](const ActivityRequest& request) {
    return request.input().value();
  };
  functions_.orchestrators["Mixed"] = [this](const Replay& replay, Actions& actions) {
    Mixed(clock_, replay, actions);
  };
  functions_.orchestrators["Parent"] = Parent;
  functions_.orchestrators["Loop"] = Loop;
  functions_.orchestrators["Sender"] = Sender;
  functions_.orchestrators["Collector"] = Collector;
  functions_.orchestrators["Listen"] = Listen;
  functions_.orchestrators["Forever"] = Forever;
  functions_.operations_run = [this](int count) {
    return faulty_ && Happens(0.1) ? static_cast<int>(Pick(static_cast<size_t>(count) + 1)) : count;
  };
  AddBank(clock_, functions_);
  if (options_.entities) {
    AddBankJobs();
  } else {
    AddJobs();
  }
  for (size_t i = 0; i < daemons_.size(); ++i) StartDaemon(i);
}

bool World::Happens(double probability) {
  return std::uniform_real_distribution<double>(0, 1)(random_) < probability;
}

size_t World::Pick(size_t count) {
  return std::uniform_int_distribution<size_t>(0, count - 1)(random_);
}

void World::AddJobs() {
  for (int i = 0; i < options_.orchestrations; ++i) {
    Job job;
    job.instance_id = JobId(i);
    switch (i % 7) {
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
        job.input = JobId(i - 1);
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
    jobs_.push_back(std::move(job));
  }
}

void World::AddBankJobs() {
  for (int i = 0; i < options_.orchestrations; ++i) {
    BankJob made = BankJobOf(i);
    Job job;
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
    jobs_.push_back(std::move(job));
  }
}

void World::StartDaemon(size_t index) {
  Daemon& daemon = daemons_[index];
  ++lives_[index];
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
  daemon.daemon->WriteDown(&transcript_, absl::StrCat("daemon ", index, ".", lives_[index]));
  daemon.streams.clear();
}

void World::Crash(size_t index) {
  Daemon& daemon = daemons_[index];
  database_.DeclareDead(daemon.store->worker());
  daemon.daemon.reset();
  daemon.faults.reset();
  daemon.store.reset();
  StartDaemon(index);
}

void World::WorkSome(Daemon& daemon) {
  for (const FakeStream& stream : daemon.streams) {
    if (options_.entities && faulty_ && Happens(0.02)) {
      const auto item = stream.sink->Take();
      if (item.has_value()) daemon.daemon->Abandon(hub_, *item);
    }
    if (Happens(0.7)) daemon.daemon->Work(stream, functions_);
  }
}

void World::Deliver() {
  const std::vector<HubId> woken = database_.TakeWoken();
  const std::vector<SentHints> hints = database_.TakeHints();
  for (Daemon& daemon : daemons_) {
    if (!Happens(0.5)) continue;  // a hint may get lost
    daemon.store->Notify(woken);
    daemon.store->Hear(hints);
  }
}

void World::Client() {
  Job& job = jobs_[Pick(jobs_.size())];
  const size_t index = Pick(daemons_.size());
  FakeDaemon& daemon = *daemons_[index].daemon;
  if (options_.entities && faulty_ && Happens(0.2)) {
    const BankSignal signal = BankSignalOf(Pick(10));
    daemon.Signal(hub_, signal.entity, signal.operation, "");
  }
  const bool started = job.started.ok();
  const bool asked =
      job.asked && job.daemon_life == lives_[job.daemon] && absl::IsUnknown(job.started.status());
  // A collector must be there before its sender begins.
  if (job.name == "Sender" && !jobs_[&job - jobs_.data() - 1].started.ok()) return;
  if (!started && !asked) {
    // A client whose start was not answered looks first: it may be there, and even have ended, and
    // a second start would run it again.
    const bool exists =
        job.asked && database_.ReadInstance(hub_, job.instance_id, /*payloads=*/false).has_value();
    job.asked = true;
    job.daemon = index;
    job.daemon_life = lives_[index];
    if (exists) {
      job.started = CreateResult();
    } else {
      job.started = absl::UnknownError("asked");
      daemon.Start(hub_, job.instance_id, job.name, job.input, &job.started);
    }
    daemon.Wait(hub_, job.instance_id, dispatch::DispatchThread::WaitFor::kCompletion, &job.waited,
                &job.known);
    return;
  }
  if (!started) return;
  if (job.wants_event) daemon.Raise(hub_, job.instance_id, "go", "gone");
  if (job.wants_termination && Happens(0.3)) daemon.Terminate(hub_, job.instance_id, "enough");
  if (job.wants_pause && faulty_ && Happens(0.2)) daemon.Suspend(hub_, job.instance_id);
  if (job.wants_pause && (!faulty_ || Happens(0.5))) daemon.Resume(hub_, job.instance_id);
}

void World::Step() {
  const size_t index = Pick(daemons_.size());
  Daemon& daemon = daemons_[index];
  if (faulty_ && Happens(options_.crash)) {
    Crash(index);
    return;
  }
  if (faulty_ && Happens(options_.sweep_alive)) database_.DeclareDead(daemon.store->worker());
  if (faulty_ && !daemon.streams.empty() && Happens(options_.stream_loss)) {
    const size_t lost = Pick(daemon.streams.size());
    daemon.daemon->Close(daemon.streams[lost]);
    daemon.streams.erase(daemon.streams.begin() + static_cast<std::ptrdiff_t>(lost));
  }
  if (daemon.streams.size() < 2 && Happens(0.05)) {
    dispatch::StreamOptions options;
    options.orchestrations_max = 3;
    options.activities_max = 3;
    if (options_.entities) options.entities_max = 2;
    daemon.streams.push_back(daemon.daemon->Open(hub_, options));
  }
  if (Happens(0.1)) Client();
  if (Happens(0.5)) daemon.daemon->Turn();
  const size_t store_steps = Pick(6);
  for (size_t i = 0; i < store_steps; ++i) daemon.store->Step(Happens(0.5));
  WorkSome(daemon);
  if (Happens(0.2)) Deliver();
  if (Happens(0.1)) daemon.store->Heartbeat();
  clock_.Advance(absl::Milliseconds(static_cast<int64_t>(Pick(8))));
}

void World::Repair() {
  faulty_ = false;
  for (Daemon& daemon : daemons_) daemon.faults->SetScript({});
}

bool World::Finished() {
  return std::all_of(jobs_.begin(), jobs_.end(), [this](const Job& job) {
    const auto row = database_.ReadInstance(hub_, job.instance_id, false);
    return row.has_value() && IsTerminal(row->status);
  });
}

std::string World::Run() {
  for (int i = 0; i < options_.steps; ++i) Step();
  Repair();
  // Ten minutes of the world's time, which no wait of the daemon outlasts.
  const absl::Time end = clock_.Now() + absl::Minutes(10);
  while (!Finished() && clock_.Now() < end) {
    for (int i = 0; i < 20; ++i) Step();
    clock_.Advance(absl::Milliseconds(50));
  }
  // What was begun for instances that ended runs out; idle residents are given back.
  const absl::Time rest = clock_.Now() + absl::Seconds(30);
  while (clock_.Now() < rest) {
    for (int i = 0; i < 20; ++i) Step();
    clock_.Advance(absl::Milliseconds(100));
  }
  return Check();
}

std::string World::Check() {
  for (const Job& job : jobs_) {
    const auto row = database_.ReadInstance(hub_, job.instance_id, true);
    if (!row.has_value()) return absl::StrCat(job.instance_id, " does not exist");
    if (row->status != job.status || row->output.value_or("(none)") != job.output) {
      return absl::StrCat(job.instance_id, " (", job.name, ") has status ",
                          static_cast<int>(row->status), " and output ",
                          row->output.value_or("(none)"), Describe(job));
    }
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
    const auto row = database_.ReadInstance(hub_, job.instance_id, /*payloads=*/false);
    if (job.name == "Adder") adders.push_back(row->execution_id);
    if (job.name == "Pass") passes.push_back(row->execution_id);
  }
  return CheckBank(database_, hub_, adders, passes, entities);
}

std::string World::Describe(const Job& job) {
  const LeaseToken lease = database_.LeaseOf(hub_, job.instance_id);
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
  if (job.known == nullptr || job.known->key != row.key) return "";
  const OrchestrationState known = orchestration::RenderState(*job.known, /*payloads=*/true);
  const OrchestrationState stored = orchestration::RenderState(row, /*payloads=*/true);
  std::string difference;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&difference);
  if (differencer.Compare(stored, known) && job.known->generation == row.generation) return "";
  return absl::StrCat(job.instance_id, " is not as its wait was told: ", difference);
}

std::string World::CheckHistory(const Job& job) {
  OrchestratorRequest history;  // its field pastEvents is the form of the chunks
  auto page = database_.ReadHistory(hub_, job.instance_id, std::nullopt, 0, int64_t{1} << 40);
  std::string bytes;
  for (const HistoryChunk& chunk : page->chunks) bytes += *chunk.events;
  if (!history.ParseFromString(bytes)) return absl::StrCat(job.instance_id, ": bad history");
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
    if (count != 1) return absl::StrCat(job.instance_id, ": ", what, " is there ", count, " times");
  }
  return "";
}

}  // namespace dt::testing
