// Store behaviour, the same for every implementation: inline tasks, which have no row while their
// instance is leased, and get one from its history when the lease ends.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/orchestrator_service.pb.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

std::string InChunk(const HistoryEvent& event) {
  const std::string bytes = event.SerializeAsString();
  REQUIRE(bytes.size() < 128 * 128);
  std::string chunk = "\x1A";
  if (bytes.size() > 127) {
    chunk.push_back(static_cast<char>((bytes.size() & 127) | 128));
    chunk.push_back(static_cast<char>(bytes.size() >> 7));
  } else {
    chunk.push_back(static_cast<char>(bytes.size()));
  }
  return chunk + bytes;
}

// A turn of the instance that schedules inline tasks with these ids, and what its history says.
Checkpoint Scheduling(Harness& h, const Claim& claim, const std::vector<int32_t>& ids) {
  Checkpoint turn = TurnOf(claim);
  HistoryEvent other;
  other.set_eventid(-1);
  other.mutable_timestamp()->set_seconds(1767225600);
  other.mutable_eventraised()->set_name("an event before it");
  std::string chunk = InChunk(other);
  for (const int32_t id : ids) {
    HistoryEvent event;
    event.set_eventid(id);
    event.mutable_timestamp()->set_seconds(1767225600);
    auto& scheduled = *event.mutable_taskscheduled();
    scheduled.set_name(absl::StrCat("Act\xC3\xA4", id));
    if (id > 0) scheduled.mutable_version()->set_value(id == 1 ? "" : "2.0");
    scheduled.mutable_input()->set_value(std::string(static_cast<size_t>(10 * id), 'i'));
    scheduled.mutable_parenttracecontext()->set_traceparent(absl::StrCat("parent of ", id));
    (*scheduled.mutable_tags())["tag"] = absl::StrCat("of ", id);
    chunk += InChunk(event);
    NewTask task;
    task.task_id = id;
    task.name = scheduled.name();
    if (scheduled.has_version()) task.version = scheduled.version().value();
    ActivityRequest request;
    *request.mutable_input() = scheduled.input();
    *request.mutable_parenttracecontext() = scheduled.parenttracecontext();
    *request.mutable_tags() = scheduled.tags();
    task.request = Bytes(request.SerializeAsString());
    task.lease_token = h.a().NewToken();
    task.in_history = task.is_inline = true;
    turn.tasks.push_back(std::move(task));
  }
  turn.history->events = Bytes(chunk + InChunk(other));
  return turn;
}

// An instance whose last turn scheduled inline tasks.
Claim WithInlineTasks(Harness& h, const std::vector<int32_t>& ids) {
  const Claim claim = Started(h, "one", 1);
  const Checkpoint turn = Scheduling(h, claim, ids);
  const CheckpointResult result = h.a().Commit(turn);
  REQUIRE(result.outcome == CheckpointOutcome::kCommitted);
  CHECK(result.task_keys == std::vector<TaskKey>(ids.size(), 0));
  return After(turn, claim);
}

TaskCompletion Completion(const Claim& claim, TaskKey key, LeaseToken token, int32_t id) {
  TaskCompletion completion{key, token, claim.key, claim.generation, Event("done", 7)};
  completion.message.generation = claim.generation;
  completion.place = {claim.lease_token, id};
  return completion;
}

LeaseOutcome Release(Harness& h, const Claim& claim, std::vector<KeptTask> kept) {
  InstanceRelease release;
  release.key = claim.key;
  release.hub = h.hub;
  release.instance_id = claim.instance_id;
  release.lease_token = claim.lease_token;
  release.kept_tasks = std::move(kept);
  return h.a()
      .Wait<LeaseOutcome>(
          [&](auto callback) { h.a().store().ReleaseInstance(release, std::move(callback)); })
      .value();
}

TEST_CASE("inline_task_is_offered_to_nobody_and_ends_with_a_turn") {
  Harness h(AnyKind());
  const Claim claim = WithInlineTasks(h, {0, 1});
  CHECK(h.b().ClaimTasks(h.hub, 10).tasks.empty());
  Checkpoint turn = TurnOf(claim);
  turn.completed_inline_tasks = {0, 1};
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  REQUIRE(Release(h, After(turn, claim), {}) == LeaseOutcome::kReleased);
  CHECK(h.b().ClaimTasks(h.hub, 10).tasks.empty());
}

TEST_CASE("inline_task_becomes_a_free_one_with_the_release_of_its_instance") {
  Harness h(AnyKind());
  Claim claim = WithInlineTasks(h, {0, 1, 5, 300});
  const Checkpoint turn = TurnOf(claim);  // they are not only looked for in the last turn
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  REQUIRE(Release(h, After(turn, claim), {}) == LeaseOutcome::kReleased);
  const std::vector<ActivityTask> tasks = h.b().ClaimTasks(h.hub, 10).tasks;
  REQUIRE(tasks.size() == 4);
  for (const ActivityTask& task : tasks) {
    const int32_t id = task.task_id;
    INFO(id);
    CHECK(task.name == absl::StrCat("Act\xC3\xA4", id));
    CHECK(task.version == (id == 0 ? Payload() : Payload(id == 1 ? "" : "2.0")));
    CHECK(task.lost_leases == 0);
    CHECK(task.instance_id == "one");
    CHECK(task.execution_id == claim.execution_id);
    ActivityRequest request;
    REQUIRE(request.ParseFromString(*task.request));
    CHECK(request.input().value().size() == static_cast<size_t>(10 * id));
    CHECK(request.parenttracecontext().traceparent() == absl::StrCat("parent of ", id));
    CHECK(request.tags().at("tag") == absl::StrCat("of ", id));
  }
  // Whoever holds the instance next knows nothing of them any more.
  h.a().Send(h.hub, "one", Event("hello"));
  const Claim next = h.a().ClaimOne(h.hub);
  TaskCompletion late = Completion(next, 1, h.a().NewToken(), 5);
  CHECK(h.a().Complete(h.hub, "one", late).outcome == TaskOutcome::kLeaseLost);
}

TEST_CASE("inline_task_that_runs_on_is_kept_when_its_instance_is_released") {
  Harness h(AnyKind());
  const Claim claim = WithInlineTasks(h, {0, 1});
  const KeptTask kept{1, MakeTaskKey(h.a().worker(), 1), h.a().NewToken()};
  REQUIRE(Release(h, claim, {kept}) == LeaseOutcome::kReleased);
  const std::vector<ActivityTask> tasks = h.b().ClaimTasks(h.hub, 10).tasks;
  REQUIRE(tasks.size() == 1);
  CHECK(tasks[0].task_id == 0);
  const TaskCompletion completion = Completion(claim, kept.key, kept.lease_token, 1);
  CHECK(h.a().Complete(h.hub, "one", completion).outcome == TaskOutcome::kOk);
  CHECK(h.a().Complete(h.hub, "one", completion).outcome == TaskOutcome::kLeaseLost);
  CHECK(TextsOf(h.b().ClaimOne(h.hub).messages) == std::vector<std::string>{"done"});
}

TEST_CASE("inline_task_is_kept_when_its_instance_ends_or_continues_as_new") {
  Harness h(AnyKind());
  const bool ends = GENERATE(true, false);
  const Claim claim = WithInlineTasks(h, {0, 1, 2});
  const KeptTask kept{1, MakeTaskKey(h.a().worker(), 1), h.a().NewToken()};
  Checkpoint turn = TurnOf(claim);
  turn.completed_inline_tasks = {0};
  turn.kept_tasks = {kept};
  if (ends) {
    turn.ends = true;
    turn.update = InstanceUpdate{};
    turn.update->status = RuntimeStatus::kCompleted;
  } else {
    turn.history.reset();
    turn.next_generation = NextGeneration{"next", std::nullopt, std::nullopt, std::nullopt};
  }
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  CHECK(h.b().ClaimTasks(h.hub, 10).tasks.empty());
  const TaskCompletion completion = Completion(claim, kept.key, kept.lease_token, 1);
  CHECK(h.a().Complete(h.hub, "one", completion).outcome == TaskOutcome::kInstanceGone);
  if (ends) return;
  // The next generation counts its tasks from 0 again; what was not kept is forgotten.
  Claim next = After(turn, claim);
  next.generation = 1;
  CHECK(h.a().Complete(h.hub, "one", Completion(next, 7, h.a().NewToken(), 2)).outcome ==
        TaskOutcome::kLeaseLost);
  REQUIRE(Release(h, next, {}) == LeaseOutcome::kReleased);
  CHECK(h.b().ClaimTasks(h.hub, 10).tasks.empty());
}

TEST_CASE("inline_task_completes_once_beside_the_turns") {
  Harness h(AnyKind());
  const Claim claim = WithInlineTasks(h, {0, 1});
  const LeaseToken token = h.a().NewToken();
  const TaskKey key = MakeTaskKey(h.a().worker(), 1);
  TaskCompletion stale = Completion(claim, key, token, 0);
  stale.place.instance_lease = h.a().NewToken();
  CHECK(h.a().Complete(h.hub, "one", stale).outcome == TaskOutcome::kLeaseLost);
  const TaskCompletion completion = Completion(claim, key, token, 0);
  const TaskResult done = h.a().Complete(h.hub, "one", completion);
  CHECK(done.outcome == TaskOutcome::kOk);
  CHECK(done.delivery.key == claim.key);
  CHECK(done.delivery.lease_token == claim.lease_token);
  CHECK(h.a().Complete(h.hub, "one", completion).outcome == TaskOutcome::kLeaseLost);
  REQUIRE(Release(h, claim, {}) == LeaseOutcome::kReleased);
  const std::vector<ActivityTask> tasks = h.b().ClaimTasks(h.hub, 10).tasks;
  REQUIRE(tasks.size() == 1);
  CHECK(tasks[0].task_id == 1);
  CHECK(TextsOf(h.a().ClaimOne(h.hub).messages) == std::vector<std::string>{"done"});
}

TEST_CASE("inline_tasks_of_a_large_fan_out_end_in_any_order_and_the_others_get_rows") {
  Harness h(AnyKind());
  std::vector<int32_t> ids;
  for (int32_t id = 199; id >= 0; --id) {
    if (id != 100) ids.push_back(id);
  }
  Claim claim = WithInlineTasks(h, ids);
  // By three: one ends beside the turns, one with a turn, and one is left.
  const LeaseToken token = h.a().NewToken();
  Checkpoint turn = TurnOf(claim);
  for (const int32_t id : ids) {
    const TaskKey key = MakeTaskKey(h.a().worker(), id + 1);
    if (id % 3 == 1) turn.completed_inline_tasks.push_back(id);
    if (id % 3 != 0) continue;
    REQUIRE(h.a().Complete(h.hub, "one", Completion(claim, key, token, id)).outcome ==
            TaskOutcome::kOk);
  }
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  claim = After(turn, claim);
  for (const int32_t id : {0, 1, 100, 198}) {
    const TaskKey key = MakeTaskKey(h.a().worker(), 1000 + id);
    CHECK(h.a().Complete(h.hub, "one", Completion(claim, key, token, id)).outcome ==
          TaskOutcome::kLeaseLost);
  }
  REQUIRE(Release(h, claim, {{5, MakeTaskKey(h.a().worker(), 2000), token}}) ==
          LeaseOutcome::kReleased);
  std::vector<int32_t> left;
  for (const ActivityTask& task : h.b().ClaimTasks(h.hub, 200).tasks) left.push_back(task.task_id);
  std::sort(left.begin(), left.end());
  std::vector<int32_t> wanted;
  for (int32_t id = 2; id < 200; id += 3) {
    if (id != 5) wanted.push_back(id);
  }
  CHECK(left == wanted);
  CHECK(h.b().ClaimOne(h.hub).messages.size() == 67);
}

TEST_CASE("inline_task_is_given_back_while_its_instance_is_held") {
  Harness h(AnyKind());
  const Claim claim = WithInlineTasks(h, {0, 1});
  TaskRelease request;
  request.key = MakeTaskKey(h.a().worker(), 1);
  request.instance_key = claim.key;
  request.lease_token = h.a().NewToken();
  request.lost = true;
  request.place = {claim.lease_token, 1};
  request.hub = h.hub;
  request.instance_id = "one";
  const auto release = [&] {
    return h.a()
        .Wait<LeaseOutcome>(
            [&](auto callback) { h.a().store().ReleaseTask(request, std::move(callback)); })
        .value();
  };
  CHECK(release() == LeaseOutcome::kReleased);
  CHECK(release() == LeaseOutcome::kLeaseLost);
  std::vector<ActivityTask> tasks = h.b().ClaimTasks(h.hub, 10).tasks;
  REQUIRE(tasks.size() == 1);
  CHECK(tasks[0].task_id == 1);
  CHECK(tasks[0].lost_leases == 1);
  request.key = MakeTaskKey(h.a().worker(), 2);
  request.place.task_id = 0;
  request.delay = absl::Hours(1);
  CHECK(release() == LeaseOutcome::kReleased);
  CHECK(h.b().ClaimTasks(h.hub, 10).tasks.empty());
}

TEST_CASE("inline_task_of_a_dead_daemon_is_freed_by_the_sweep") {
  Harness h(AnyKind());
  h.a().Create(h.Instance("one"));
  const Claim claim = h.b().ClaimOne(h.hub);
  const Checkpoint turn = Scheduling(h, claim, {3});
  REQUIRE(h.b().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  h.world().DeclareDead(h.b().worker());
  CHECK(h.a().Sweep() > 0);
  const std::vector<ActivityTask> tasks = h.a().ClaimTasks(h.hub, 10).tasks;
  REQUIRE(tasks.size() == 1);
  CHECK(tasks[0].task_id == 3);
  CHECK(tasks[0].lost_leases == 1);
  CHECK(h.b().Complete(h.hub, "one", Completion(claim, 1, 1, 3)).outcome ==
        TaskOutcome::kLeaseLost);
}

TEST_CASE("inline_task_of_a_history_that_cannot_be_read_holds_nobody_up") {
  Harness h(StoreKind::kPostgres);
  const Claim claim = Started(h, "one", 1);
  Checkpoint turn = Scheduling(h, claim, {0, 4});
  std::string torn = *turn.history->events;
  turn.history->events = Bytes(torn.substr(0, torn.size() / 2));
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  REQUIRE(Release(h, After(turn, claim), {}) == LeaseOutcome::kReleased);
  const std::vector<ActivityTask> tasks = h.b().ClaimTasks(h.hub, 10).tasks;
  REQUIRE(tasks.size() == 1);
  CHECK(tasks[0].task_id == 0);
}

}  // namespace
}  // namespace dt::testing
