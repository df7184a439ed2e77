// Large values: they come back byte for byte wherever they go, and PostgreSQL keeps each once.
// (sql/logic/payloads.sql)
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "proto/orchestrator_service.pb.h"
#include "storage/postgres/migrator.h"
#include "storage/postgres/postgres_store.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"
#include "tests/support/postgres_fixture.h"

namespace dt::testing {
namespace {

constexpr size_t kLarge = 100'000;

// Text that compression makes hardly smaller; the same for the same seed.
std::string Noise(size_t size, uint32_t seed) {
  std::mt19937 generator(seed);
  std::string noise(size, '\0');
  for (char& byte : noise) byte = static_cast<char>(' ' + generator() % 95);
  return noise;
}

template <typename Fill>
HistoryEvent MakeEvent(int32_t id, Fill fill) {
  HistoryEvent event;
  event.set_eventid(id);
  event.mutable_timestamp()->set_seconds(1'700'000'000);
  fill(event);
  return event;
}

HistoryEvent StartedEvent(const std::string& input) {
  return MakeEvent(-1, [&](HistoryEvent& event) {
    event.mutable_executionstarted()->set_name("Work");
    event.mutable_executionstarted()->mutable_input()->set_value(input);
  });
}

HistoryEvent ScheduledEvent(const std::string& input) {
  return MakeEvent(0, [&](HistoryEvent& event) {
    event.mutable_taskscheduled()->set_name("Act");
    event.mutable_taskscheduled()->mutable_input()->set_value(input);
  });
}

HistoryEvent TaskResultEvent(const std::string& result) {
  return MakeEvent(-1, [&](HistoryEvent& event) {
    event.mutable_taskcompleted()->mutable_result()->set_value(result);
  });
}

HistoryEvent RaisedEvent(const std::string& input) {
  return MakeEvent(-1, [&](HistoryEvent& event) {
    event.mutable_eventraised()->set_name("news");
    event.mutable_eventraised()->mutable_input()->set_value(input);
  });
}

NewMessage MessageOf(const HistoryEvent& event, Generation generation = kAnyGeneration) {
  NewMessage message = Event(event.SerializeAsString(), event.eventType_case());
  message.generation = generation;
  return message;
}

HistoryChunk ChunkOf(int64_t turn, const std::vector<HistoryEvent>& events) {
  OrchestratorRequest request;
  for (const HistoryEvent& event : events) *request.add_pastevents() = event;
  return {turn, 0, static_cast<int32_t>(events.size()), Bytes(request.SerializeAsString())};
}

NewTask TaskWith(const std::string& input) {
  ActivityRequest request;
  request.set_name("Act");
  request.mutable_input()->set_value(input);
  return {0, "Act", std::nullopt, Bytes(request.SerializeAsString()), 0};
}

NewInstance InstanceWith(const Harness& h, const std::string& id, const std::string& input) {
  NewInstance instance = h.Instance(id);
  instance.input = input;
  instance.started = MessageOf(StartedEvent(input), 0);
  return instance;
}

TaskCompletion CompletionOf(const ActivityTask& task, const std::string& result) {
  return {task.key, task.lease_token, task.instance_key, task.generation,
          MessageOf(TaskResultEvent(result), task.generation)};
}

// The instance with this id, among all that are ready.
Claim ClaimOf(Harness& h, const std::string& id) {
  for (Claim& claim : h.a().ClaimAll(h.hub).claims) {
    if (claim.instance_id == id) return std::move(claim);
  }
  FAIL("nothing is ready of " << id);
  return {};
}

TEST_CASE("store_large_values_of_a_task_come_back") {
  Harness h(AnyKind());
  const std::string input = Noise(kLarge, 1), task_input = Noise(kLarge, 2),
                    result = Noise(kLarge, 3), output = Noise(kLarge, 4);
  h.a().Create(InstanceWith(h, "big", input));
  Claim claim = ClaimOf(h, "big");
  CHECK(TextOf(claim.messages.at(0)) == StartedEvent(input).SerializeAsString());

  Checkpoint first = TurnOf(claim);
  first.update = InstanceUpdate{};
  first.history = ChunkOf(1, {StartedEvent(input), ScheduledEvent(task_input)});
  first.tasks = {TaskWith(task_input)};
  REQUIRE(h.a().Commit(first).outcome == CheckpointOutcome::kCommitted);
  const ActivityTask task = h.a().ClaimTasks(h.hub, 1).tasks.at(0);
  CHECK(*task.request == *first.tasks[0].request);
  REQUIRE(h.a().Complete(h.hub, "big", CompletionOf(task, result)).outcome == TaskOutcome::kOk);

  claim = ReleasedAndClaimed(h, After(first, claim));
  CHECK(TextOf(claim.messages.at(0)) == TaskResultEvent(result).SerializeAsString());
  REQUIRE(claim.history.size() == 1);
  CHECK(*claim.history[0].events == *first.history->events);

  Checkpoint second = TurnOf(claim);
  second.history = ChunkOf(2, {TaskResultEvent(result)});
  second.update = InstanceUpdate{RuntimeStatus::kCompleted, {}, {}, output, std::nullopt};
  second.ends = true;
  REQUIRE(h.a().Commit(second).outcome == CheckpointOutcome::kCommitted);
  const auto row = h.a().Read(h.hub, "big");
  REQUIRE(row.has_value());
  CHECK(row->input == input);
  CHECK(row->output == output);
  const auto history = h.a().Wait<HistoryPage>([&](auto done) {
    h.a().store().ReadHistory(h.hub, "big", std::nullopt, 0, 1 << 20, std::move(done));
  });
  REQUIRE(history.ok());
  REQUIRE(history->chunks.size() == 2);
  CHECK(*history->chunks.at(0).events == *first.history->events);
  CHECK(*history->chunks.at(1).events == *second.history->events);
}

TEST_CASE("store_large_values_are_read_by_many_at_once") {
  Harness h(AnyKind());
  constexpr int kReaders = 30;
  const std::string input = Noise(2 << 20, 7);  // more of them than one call reads
  NewInstance instance = h.Instance("large");
  instance.input = input;
  h.a().Create(std::move(instance));
  struct Read {
    absl::Mutex mutex;
    int whole ABSL_GUARDED_BY(mutex) = 0;
    int answers ABSL_GUARDED_BY(mutex) = 0;
    bool over() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) { return answers == kReaders; }
  } read;
  for (int i = 0; i < kReaders; ++i) {
    h.a().store().ReadInstance(h.hub, "large", /*payloads=*/true,
                               [&](absl::StatusOr<std::optional<InstanceRow>> row) {
                                 absl::MutexLock lock(&read.mutex);
                                 if (row.ok() && row->has_value() && (*row)->input == input) {
                                   ++read.whole;
                                 }
                                 ++read.answers;
                               });
  }
  absl::MutexLock lock(&read.mutex);
  read.mutex.Await(absl::Condition(&read, &Read::over));
  CHECK(read.whole == kReaders);
}

TEST_CASE("store_large_values_for_others_come_back") {
  Harness h(AnyKind());
  const std::string news = Noise(kLarge, 1), child_input = Noise(kLarge, 2),
                    result = Noise(kLarge, 3);
  h.a().Create(h.Instance("other"));
  h.a().Create(h.Instance("parent"));
  const ClaimResult claims = h.a().ClaimAll(h.hub);
  REQUIRE(claims.claims.size() == 2);
  const Claim& other = claims.claims[0];
  const Claim& parent = claims.claims[1];
  CHECK(h.a().Send(h.hub, "other", MessageOf(RaisedEvent(news))).outcome == DeliveryOutcome::kOk);

  Checkpoint turn = TurnOf(parent);
  turn.update = InstanceUpdate{};
  turn.messages = {{"other", MessageOf(RaisedEvent(news))}};
  NewChild child;
  child.instance = InstanceWith(h, "child", child_input);
  child.instance.parent = ParentLink{parent.key, 0, 3, "parent"};
  child.conflict = Event("conflict", 11);
  turn.children = {child};
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);

  const Claim child_claim = ClaimOf(h, "child");
  CHECK(TextOf(child_claim.messages.at(0)) == StartedEvent(child_input).SerializeAsString());
  Checkpoint end = TurnOf(child_claim);
  end.update = InstanceUpdate{RuntimeStatus::kCompleted, {}, {}, result, std::nullopt};
  end.ends = true;
  end.parent_message = MessageOf(TaskResultEvent(result), 0);
  end.parent_key = parent.key;
  REQUIRE(h.a().Commit(end).outcome == CheckpointOutcome::kCommitted);
  const Claim found = ReleasedAndClaimed(h, other);
  REQUIRE(found.messages.size() == 3);  // with its own start
  CHECK(TextOf(found.messages[1]) == RaisedEvent(news).SerializeAsString());
  CHECK(TextOf(found.messages[2]) == RaisedEvent(news).SerializeAsString());

  const Claim again = ReleasedAndClaimed(h, After(turn, parent));
  CHECK(TextOf(again.messages.at(0)) == TaskResultEvent(result).SerializeAsString());
  const auto row = h.a().Read(h.hub, "child");
  REQUIRE(row.has_value());
  CHECK(row->output == result);
}

// A database of its own, with a daemon on it, for a look at what is stored.
class Lone : public World {
 public:
  Lone() : url_(PostgresFixture::Shared().NewDatabase()) {
    connection = PostgresFixture::Connect(url_);
    MustBeOk(postgres::MigrateSchema(*connection, "dt").status());
  }
  std::unique_ptr<Store> NewStore() override {
    postgres::PostgresStoreOptions options;
    options.connection.url = url_;
    return std::make_unique<postgres::PostgresStore>(std::move(options));
  }
  void DeclareDead(WorkerId) override { FAIL("not needed"); }

  int64_t Number(const std::string& expression) {
    return ValueOf(connection->ExecuteOnce(absl::StrCat("select (", expression, ")::bigint"), {}))
        .Int(0, 0);
  }

  std::unique_ptr<postgres::Connection> connection;

 private:
  const std::string url_;
};

class LoneDaemon {
 public:
  LoneDaemon() : daemon(world) {
    hub = daemon
              .Wait<HubId>(
                  [&](auto done) { daemon.store().ResolveHub("hub", true, std::move(done)); })
              .value();
  }
  Claim Start(const std::string& input) {
    NewInstance instance;
    instance.hub = hub;
    instance.instance_id = "one";
    instance.execution_id = "0123456789abcdef0123456789abcdef";
    instance.name = "Work";
    instance.input = input;
    instance.started = MessageOf(StartedEvent(input), 0);
    daemon.Create(instance);
    return daemon.ClaimOne(hub);
  }

  Lone world;
  Daemon daemon;
  HubId hub = 0;
};

constexpr char kPayloads[] = "select count(*) from dt.Payloads";

TEST_CASE("large_activity_input_and_result_are_written_once") {
  LoneDaemon lone;
  const std::string input = Noise(1 << 20, 1), result = Noise(1 << 20, 2);
  const Claim claim = lone.Start("small");
  Checkpoint first = TurnOf(claim);
  first.update = InstanceUpdate{};
  first.history = ChunkOf(1, {StartedEvent("small")});
  REQUIRE(lone.daemon.Commit(first).outcome == CheckpointOutcome::kCommitted);

  const auto wal = [&] { return lone.world.Number("pg_current_wal_insert_lsn() - '0/0'"); };
  const int64_t before = wal();
  const Claim second_claim = After(first, claim);
  Checkpoint second = TurnOf(second_claim);
  second.history = ChunkOf(2, {ScheduledEvent(input)});
  second.tasks = {TaskWith(input)};
  REQUIRE(lone.daemon.Commit(second).outcome == CheckpointOutcome::kCommitted);
  const ActivityTask task = lone.daemon.ClaimTasks(lone.hub, 1).tasks.at(0);
  const TaskResult completed = lone.daemon.Complete(lone.hub, "one", CompletionOf(task, result));
  REQUIRE(completed.outcome == TaskOutcome::kOk);
  Checkpoint third = TurnOf(After(second, second_claim));
  third.consumed = {completed.delivery.seq};
  third.history = ChunkOf(3, {TaskResultEvent(result)});
  REQUIRE(lone.daemon.Commit(third).outcome == CheckpointOutcome::kCommitted);

  const int64_t written = wal() - before;
  INFO("1 MiB in and 1 MiB out: " << written << " bytes of WAL");
  CHECK(written <= 23 * (1 << 20) / 10);
  CHECK(lone.world.Number(kPayloads) == 2);
  CHECK(lone.world.Number("select max(length(events)) from dt.History") < 1000);
}

TEST_CASE("next_generation_keeps_the_payloads_that_it_refers_to") {
  LoneDaemon lone;
  const std::string input = Noise(kLarge, 1), waiting = Noise(kLarge, 2), next = Noise(kLarge, 3),
                    in_flight = Noise(kLarge, 4), done = Noise(kLarge, 5);
  const Claim claim = lone.Start(input);
  Checkpoint first = TurnOf(claim);
  first.update = InstanceUpdate{};
  first.history = ChunkOf(1, {StartedEvent(input), ScheduledEvent(in_flight)});
  first.tasks = {TaskWith(in_flight), TaskWith(done)};
  REQUIRE(lone.daemon.Commit(first).outcome == CheckpointOutcome::kCommitted);
  REQUIRE(lone.daemon.ClaimTasks(lone.hub, 1).tasks.size() == 1);  // the other one stays free
  lone.daemon.Send(lone.hub, "one", MessageOf(RaisedEvent(waiting)));
  CHECK(lone.world.Number(kPayloads) == 4);

  Checkpoint second = TurnOf(After(first, claim));
  second.update = InstanceUpdate{};
  second.next_generation = NextGeneration{"fedcba9876543210fedcba9876543210", {}, next, {}};
  second.own_messages = {MessageOf(StartedEvent(next), 1)};
  second.release = true;
  REQUIRE(lone.daemon.Commit(second).outcome == CheckpointOutcome::kCommitted);
  // The input of the new generation, the event that waits, and the task that a worker runs.
  CHECK(lone.world.Number(kPayloads) == 3);
  const Claim found = lone.daemon.ClaimOne(lone.hub);
  REQUIRE(found.messages.size() == 2);
  CHECK(TextOf(found.messages[0]) == StartedEvent(next).SerializeAsString());
  CHECK(TextOf(found.messages[1]) == RaisedEvent(waiting).SerializeAsString());
  CHECK(lone.daemon.Read(lone.hub, "one")->input == next);
}

TEST_CASE("rewind_by_the_worker_keeps_the_payloads_that_are_referred_to") {
  LoneDaemon lone;
  const std::string input = Noise(kLarge, 1), kept = Noise(kLarge, 2), gone = Noise(kLarge, 3);
  const Claim claim = lone.Start(input);
  Checkpoint first = TurnOf(claim);
  first.update = InstanceUpdate{};
  first.history = ChunkOf(1, {StartedEvent(input), RaisedEvent(kept), RaisedEvent(gone)});
  REQUIRE(lone.daemon.Commit(first).outcome == CheckpointOutcome::kCommitted);
  CHECK(lone.world.Number(kPayloads) == 3);

  Rewind rewind;
  rewind.live = true;
  rewind.found_execution_id = "0123456789abcdef0123456789abcdef";
  rewind.execution_id = "fedcba9876543210fedcba9876543210";
  rewind.checkpoint = TurnOf(After(first, claim));
  rewind.checkpoint.update = InstanceUpdate{};
  rewind.checkpoint.history = ChunkOf(2, {StartedEvent(input), RaisedEvent(kept)});
  rewind.checkpoint.own_messages = {MessageOf(RaisedEvent("wake"), 0)};
  rewind.checkpoint.release = true;
  const std::string chunk = *rewind.checkpoint.history->events;
  CHECK(lone.daemon
            .Wait<RewindOutcome>([&](auto done) {
              lone.daemon.store().RewindInstances({lone.hub, {rewind}}, std::move(done));
            })
            .value() == RewindOutcome::kRewound);
  CHECK(lone.world.Number(kPayloads) == 2);
  const Claim found = lone.daemon.ClaimOne(lone.hub);
  REQUIRE(found.history.size() == 1);
  CHECK(*found.history[0].events == chunk);
}

TEST_CASE("sql_users_see_large_values_whole_and_purge_removes_them") {
  LoneDaemon lone;
  const std::string text(kLarge, 'a');
  const Claim claim = lone.Start(text);
  Checkpoint turn = TurnOf(claim);
  turn.history = ChunkOf(1, {StartedEvent(text)});
  turn.update = InstanceUpdate{RuntimeStatus::kCompleted, {}, {}, text, std::nullopt};
  turn.ends = true;
  REQUIRE(lone.daemon.Commit(turn).outcome == CheckpointOutcome::kCommitted);
  CHECK(lone.world.Number(kPayloads) == 1);

  // The views show the hub of the login.
  MustBeOk(lone.world.connection->RunScript(
      "update dt.TaskHubs set name = dt.CurrentTaskHub() where name = 'hub'"));
  CHECK(lone.world.Number("select length(InputText) + length(OutputText) from dt.vInstances") ==
        2 * static_cast<int64_t>(kLarge));
  CHECK(lone.world.Number("select length(Payload) from dt.vHistory") ==
        static_cast<int64_t>(kLarge));
  CHECK(lone.world.Number("select length(PayloadText) from dt.GetInstanceHistory('one', true)") ==
        static_cast<int64_t>(kLarge));

  PurgeRequest request;
  request.hub = lone.hub;
  request.instance_ids = {"one"};
  const auto purged = lone.daemon.Wait<PurgeResult>(
      [&](auto done) { lone.daemon.store().PurgeInstances(request, std::move(done)); });
  REQUIRE(purged.ok());
  CHECK(purged->deleted == 1);
  CHECK(lone.world.Number(kPayloads) == 0);
}

}  // namespace
}  // namespace dt::testing
