#include "tests/storage/store_harness.h"

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "storage/postgres/migrator.h"
#include "storage/postgres/postgres_store.h"
#include "tests/support/catch.h"
#include "tests/support/memory_database.h"
#include "tests/support/memory_store.h"
#include "tests/support/pooler_fixture.h"
#include "tests/support/postgres_fixture.h"

namespace dt::testing {
namespace {

class MemoryWorld : public World {
 public:
  std::unique_ptr<Store> NewStore() override {
    return std::make_unique<MemoryStore>(&database_, MemoryStore::Mode::kThread);
  }
  void DeclareDead(WorkerId worker) override { database_.DeclareDead(worker); }

 private:
  MemoryDatabase database_{[] { return absl::Now(); }};
};

class PostgresWorld : public World {
 public:
  PostgresWorld(Database database, bool lone_forms)
      : PostgresWorld(OptionsFor(database == Database::kOwn ? NewUrl() : SharedUrl()), lone_forms) {
  }
  explicit PostgresWorld(postgres::ConnectionOptions options, bool lone_forms = true)
      : options_(std::move(options)),
        lone_forms_(lone_forms),
        connection_(PostgresFixture::Connect(options_.url)) {}

  std::unique_ptr<Store> NewStore() override {
    postgres::PostgresStoreOptions options;
    options.connection = options_;
    options.lone_forms = lone_forms_;
    if (const char* mode = std::getenv("DTPG_TEST_POOLER")) {
      static const PoolerFixture pooler(mode, /*sessions=*/100);
      options.connection.url = pooler.UrlOf(DatabaseOf(options_.url));
    }
    return std::make_unique<postgres::PostgresStore>(std::move(options));
  }
  void DeclareDead(WorkerId worker) override {
    postgres::Params params;
    params.Int8(worker);
    MustBeOk(connection_
                 ->ExecuteOnce("update dt.Workers set lease_until = now() - interval '1 s' "
                               "where worker_id = $1",
                               params)
                 .status());
  }

 private:
  static postgres::ConnectionOptions OptionsFor(std::string url) {
    postgres::ConnectionOptions options;
    options.url = std::move(url);
    return options;
  }
  static std::string NewUrl() {
    std::string url = PostgresFixture::Shared().NewDatabase();
    auto connection = PostgresFixture::Connect(url);
    MustBeOk(postgres::MigrateSchema(*connection, "dt").status());
    return url;
  }
  // Made once.
  static const std::string& SharedUrl() {
    static const std::string url = NewUrl();
    return url;
  }

  const postgres::ConnectionOptions options_;
  const bool lone_forms_;
  const std::unique_ptr<postgres::Connection> connection_;
};

template <typename T>
T Checked(absl::StatusOr<T> value) {
  INFO(value.status().ToString());
  REQUIRE(value.ok());
  return *std::move(value);
}

}  // namespace

// A sanitizer looks at code, not at SQL, and the code of batches runs with either kind.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define DT_SANITIZED
#endif
#endif

StoreKind AnyKind() {
#ifdef DT_SANITIZED
  return GENERATE(StoreKind::kMemory, StoreKind::kPostgres);
#else
  return GENERATE(StoreKind::kMemory, StoreKind::kPostgres, StoreKind::kPostgresBatches);
#endif
}

std::unique_ptr<World> NewWorld(StoreKind kind, Database database) {
  if (kind == StoreKind::kMemory) return std::make_unique<MemoryWorld>();
  return std::make_unique<PostgresWorld>(database, kind == StoreKind::kPostgres);
}

std::unique_ptr<World> WorldOn(const postgres::ConnectionOptions& options) {
  return std::make_unique<PostgresWorld>(options);
}

Daemon::Daemon(World& world) : store_(world.NewStore()) { store_->Start(this); }

Daemon::~Daemon() { Stop(); }

void Daemon::Stop() { store_->Stop(); }

void Daemon::OnRegistered(WorkerId worker) {
  absl::MutexLock lock(&mutex_);
  worker_ = worker;
}

WorkerId Daemon::worker() const {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(
      +[](const WorkerId* worker) { return *worker != 0; }, &worker_));
  return worker_;
}

LeaseToken Daemon::NewToken() { return MakeLeaseToken(worker(), ++counter_); }

CreateResult Daemon::Create(NewInstance instance) {
  return Checked(Wait<CreateResult>(
      [&](auto done) { store_->CreateInstance(std::move(instance), std::move(done)); }));
}

Delivery Daemon::Send(HubId hub, const std::string& id, NewMessage message) {
  return Checked(Wait<Delivery>([&](auto done) {
    store_->SendMessage({hub, id, std::move(message)}, std::move(done));
  }));
}

Delivery Daemon::Terminate(HubId hub, Termination termination) {
  return Checked(Wait<Delivery>([&](auto done) {
    store_->Terminate({hub, std::move(termination)}, std::move(done));
  }));
}

ClaimResult Daemon::ClaimWith(ClaimRequest request) {
  if (request.lease_token == 0) request.lease_token = NewToken();
  if (request.groups.empty()) request.groups = {{10, std::nullopt}};
  return Checked(Wait<ClaimResult>(
      [&](auto done) { store_->ClaimInstances(std::move(request), std::move(done)); }));
}

ClaimResult Daemon::ClaimAll(HubId hub) {
  ClaimRequest request;
  request.hub = hub;
  return ClaimWith(std::move(request));
}

Claim Daemon::ClaimOne(HubId hub) {
  ClaimRequest request;
  request.hub = hub;
  request.groups = {{1, std::nullopt}};
  ClaimResult result = ClaimWith(std::move(request));
  REQUIRE(result.claims.size() == 1);
  return std::move(result.claims.front());
}

CheckpointResult Daemon::Commit(Checkpoint checkpoint) {
  return Checked(Wait<CheckpointResult>(
      [&](auto done) { store_->CommitCheckpoint(std::move(checkpoint), std::move(done)); }));
}

LeaseOutcome Daemon::Release(const Claim& claim, absl::Duration delay, bool lost) {
  InstanceRelease release;
  release.key = claim.key;
  release.hub = claim.hub;
  release.instance_id = claim.instance_id;
  release.lease_token = claim.lease_token;
  release.delay = delay;
  release.lost = lost;
  return Checked(
      Wait<LeaseOutcome>([&](auto done) { store_->ReleaseInstance(release, std::move(done)); }));
}

TaskClaimResult Daemon::ClaimTasks(HubId hub, int max) {
  ClaimRequest request;
  request.hub = hub;
  request.lease_token = NewToken();
  request.groups = {{max, std::nullopt}};
  return Checked(Wait<TaskClaimResult>(
      [&](auto done) { store_->ClaimTasks(std::move(request), std::move(done)); }));
}

TaskResult Daemon::Complete(HubId hub, const std::string& id, TaskCompletion completion) {
  completion.hub = hub;
  completion.instance_id = id;
  return Checked(Wait<TaskResult>(
      [&](auto done) { store_->CompleteTask(std::move(completion), std::move(done)); }));
}

std::vector<InboxRead> Daemon::ReadNew() {
  return Checked(Wait<std::vector<InboxRead>>(
      [&](auto done) { store_->ReadNewMessages(worker(), std::move(done)); }));
}

std::optional<InstanceRow> Daemon::Read(HubId hub, const std::string& id) {
  return Checked(Wait<std::optional<InstanceRow>>(
      [&](auto done) { store_->ReadInstance(hub, id, true, std::move(done)); }));
}

int64_t Daemon::Sweep() {
  return Checked(Wait<SweepResult>([&](auto done) { store_->SweepDeadWorkers(std::move(done)); }))
      .freed;
}

Harness::Harness(StoreKind kind, Database database) : Harness(NewWorld(kind, database)) {}

Harness::Harness(std::unique_ptr<World> world)
    : world_(std::move(world)), a_(std::make_unique<Daemon>(*world_)) {
  static int hubs = 0;
  hub_name = absl::StrCat("hub ", ++hubs);
  hub = Checked(
      a().Wait<HubId>([&](auto done) { a().store().ResolveHub(hub_name, true, std::move(done)); }));
  (void)a().worker();
}

Daemon& Harness::b() {
  if (b_ == nullptr) b_ = std::make_unique<Daemon>(*world_);
  (void)b_->worker();
  return *b_;
}

NewInstance Harness::Instance(const std::string& id) const {
  static int executions = 0;
  NewInstance instance;
  instance.hub = hub;
  instance.instance_id = id;
  instance.execution_id =
      absl::StrCat(absl::Hex(++executions, absl::kZeroPad16), "0123456789abcdef");
  instance.name = "Work";
  instance.started = Event("start", 3);
  instance.started.generation = 0;
  return instance;
}

ClaimRequest Harness::Request() const {
  ClaimRequest request;
  request.hub = hub;
  return request;
}

SharedBytes Bytes(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

NewMessage Event(std::string text, int16_t type) {
  NewMessage message;
  message.event_type = type;
  message.event = Bytes(std::move(text));
  return message;
}

std::string TextOf(const Message& message) { return *message.event; }

std::vector<std::string> TextsOf(const std::vector<Message>& messages) {
  std::vector<std::string> texts;
  for (const Message& message : messages) texts.push_back(TextOf(message));
  return texts;
}

Checkpoint TurnOf(const Claim& claim) {
  Checkpoint checkpoint;
  checkpoint.key = claim.key;
  checkpoint.hub = claim.hub;
  checkpoint.instance_id = claim.instance_id;
  checkpoint.lease_token = claim.lease_token;
  checkpoint.turn = claim.turn + 1;
  checkpoint.generation = claim.generation;
  for (const Message& message : claim.messages) checkpoint.consumed.push_back(message.seq);
  HistoryChunk chunk;
  chunk.turn = checkpoint.turn;
  for (const HistoryChunk& earlier : claim.history) chunk.first_event += earlier.event_count;
  chunk.event_count = static_cast<int32_t>(claim.messages.size()) + 1;
  chunk.events = Bytes(absl::StrCat("turn ", checkpoint.turn));
  checkpoint.history = chunk;
  return checkpoint;
}

Claim After(const Checkpoint& checkpoint, Claim claim) {
  claim.turn = checkpoint.turn;
  claim.messages.clear();
  if (checkpoint.history.has_value()) claim.history.push_back(*checkpoint.history);
  return claim;
}

Claim Started(Harness& h, const std::string& id, int turns) {
  h.a().Create(h.Instance(id));
  Claim claim = h.a().ClaimOne(h.hub);
  REQUIRE(claim.instance_id == id);
  for (int i = 0; i < turns; ++i) {
    Checkpoint turn = TurnOf(claim);
    turn.update = InstanceUpdate{};
    REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
    claim = After(turn, claim);
  }
  return claim;
}

Claim ReleasedAndClaimed(Harness& h, const Claim& claim) {
  REQUIRE(h.a().Release(claim) == LeaseOutcome::kReleased);
  ClaimRequest request;
  request.hub = h.hub;
  for (Claim& found : h.a().ClaimWith(request).claims) {
    if (found.key == claim.key) return std::move(found);
  }
  FAIL("the released instance was not ready");
  return {};
}

}  // namespace dt::testing
