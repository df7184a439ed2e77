// gate_turns: the way of every turn without threads, gRPC and PostgreSQL, for counting its
// instructions: the dispatcher with the rules on a store in memory, and the encoding of what goes
// to PostgreSQL. It runs chains of activities, checks their results, and prints nothing.
// tests/bench/gate runs it under callgrind, which collects inside Dispatcher::Step or
// CallVerb::Encode only, so what the fakes cost does not count.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "storage/postgres/verbs.h"
#include "tests/support/fake_daemon.h"
#include "tests/support/forwarding_store.h"

namespace dt::bench {
namespace {

constexpr int kRounds = 4;
constexpr int kInFlight = 64;
constexpr int kActivities = 5;
constexpr char kHub[] = "gate";
constexpr char kPayload[] = "\"01234567890123456789\"";  // as long as those of dtbench

void Check(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "gate_turns: %s\n", what.c_str());
  std::exit(1);
}

// Encodes what it passes on, as PostgresStore would, and forgets it.
class EncodingStore : public testing::ForwardingStore {
 public:
  explicit EncodingStore(Store* store) : ForwardingStore(store) {}

  void CreateInstance(NewInstance instance,
                      LetterCallback<NewInstance, CreateResult> done) override {
    Encode(*create_, instance.hub, instance);
    ForwardingStore::CreateInstance(std::move(instance), std::move(done));
  }
  void CommitCheckpoint(Checkpoint checkpoint,
                        LetterCallback<Checkpoint, CheckpointResult> done) override {
    Encode(*checkpoint_, checkpoint.hub, checkpoint);
    ForwardingStore::CommitCheckpoint(std::move(checkpoint), std::move(done));
  }
  void CompleteTask(TaskCompletion completion,
                    LetterCallback<TaskCompletion, TaskResult> done) override {
    Encode(*complete_task_, completion.hub, completion);
    ForwardingStore::CompleteTask(std::move(completion), std::move(done));
  }

 private:
  template <typename Request, typename Reply>
  void Encode(const postgres::CallVerb<Request, Reply>& verb, HubId hub, Request request) {
    std::vector<std::unique_ptr<postgres::Operation>> calls;
    calls.push_back(std::make_unique<postgres::Call<Request, Reply>>(
        &verb, &context_, std::move(request), [](const Request&, const absl::StatusOr<Reply>&) {}));
    calls.front()->hub = hub;
    postgres::Params params;
    verb.Encode(calls, &params);
  }

  postgres::VerbContext context_{.schema = "dt", .payload_inline_bytes_max = 8 << 10};
  const std::unique_ptr<postgres::CreateVerb> create_ = postgres::MakeCreateVerb(&context_);
  const std::unique_ptr<postgres::CheckpointVerb> checkpoint_ =
      postgres::MakeCheckpointVerb(&context_);
  const std::unique_ptr<postgres::CompleteTaskVerb> complete_task_ =
      postgres::MakeCompleteTaskVerb(&context_);
};

testing::Functions Chain() {
  testing::Functions functions;
  functions.orchestrators["chain"] = [](const testing::Replay& replay, testing::Actions& actions) {
    std::string value = replay.started().input().value();
    for (int id = 0; id < kActivities; ++id) {
      const std::optional<std::string> result = actions.Task(id, "step", value);
      if (!result.has_value()) return;
      value = *result;
    }
    actions.Complete(value);
  };
  functions.activities["step"] = [](const ActivityRequest& request) {
    return request.input().value();
  };
  return functions;
}

void Run() {
  testing::FakeClock clock;
  testing::MemoryDatabase database(clock.Reader());
  testing::MemoryStore memory(&database, testing::MemoryStore::Mode::kStepped);
  EncodingStore store(&memory);
  testing::FakeDaemon daemon(&store, &memory);
  const absl::StatusOr<HubId> hub = database.ResolveHub(kHub, /*create=*/true);
  Check(hub.ok(), hub.status().ToString());
  dispatch::StreamOptions options;
  options.orchestrations_max = kInFlight;
  options.activities_max = kInFlight;
  const testing::FakeStream stream = daemon.Open(*hub, options);
  const testing::Functions functions = Chain();
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kInFlight; ++i) {
      daemon.Start(*hub, absl::StrCat("chain-", round, "-", i), "chain", kPayload);
    }
    daemon.RunWorkers({stream}, functions);
    for (int i = 0; i < kInFlight; ++i) {
      const std::string id = absl::StrCat("chain-", round, "-", i);
      const std::optional<InstanceRow> row = database.ReadInstance(*hub, id, /*payloads=*/true);
      Check(row.has_value() && row->status == RuntimeStatus::kCompleted, id + " did not complete");
      Check(row->output == kPayload, id + " has another output");
    }
  }
  memory.Stop();
}

}  // namespace
}  // namespace dt::bench

int main() {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  dt::bench::Run();
  return 0;
}
