// Store behaviour, the same for every implementation: creating, messages of clients, terminating,
// reading. (sql/RULES.md 3.3-3.5, 5; RULES.md 5)
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

TEST_CASE("store_create_is_settled_by_the_execution_id") {
  Harness h(AnyKind());
  const NewInstance instance = h.Instance("one");
  const CreateResult created = h.a().Create(instance);
  CHECK(created.outcome == CreateOutcome::kCreated);
  CHECK(created.key != 0);
  CHECK(created.started_seq != 0);
  // The same call again, as after a lost answer.
  const CreateResult again = h.a().Create(instance);
  CHECK(again.outcome == CreateOutcome::kAlready);
  CHECK(again.key == created.key);
  // Somebody else's call with the same id: a pending instance is not replaceable by default.
  const CreateResult other = h.a().Create(h.Instance("one"));
  CHECK(other.outcome == CreateOutcome::kExists);
  CHECK(other.existing_status == RuntimeStatus::kPending);
  const ClaimResult claims = h.a().ClaimAll(h.hub);
  REQUIRE(claims.claims.size() == 1);
  CHECK(TextsOf(claims.claims[0].messages) == std::vector<std::string>{"start"});
}

TEST_CASE("store_create_replaces_what_may_be_replaced_under_a_new_key") {
  Harness h(AnyKind());
  const CreateResult first = h.a().Create(h.Instance("one"));
  h.a().Send(h.hub, "one", Event("for the first"));
  NewInstance second = h.Instance("one");
  second.replaceable = StatusBit(RuntimeStatus::kPending);
  const CreateResult replaced = h.a().Create(second);
  CHECK(replaced.outcome == CreateOutcome::kReplaced);
  CHECK(replaced.key != first.key);
  const Claim claim = h.a().ClaimOne(h.hub);
  CHECK(claim.key == replaced.key);
  CHECK(claim.execution_id == second.execution_id);
  CHECK(TextsOf(claim.messages) == std::vector<std::string>{"start"});
}

TEST_CASE("store_message_outcomes") {
  Harness h(AnyKind());
  h.a().Create(h.Instance("live"));
  h.a().Create(h.Instance("ended"));
  h.a().Terminate(h.hub, {"ended", "enough", Event("terminate", 5)});
  CHECK(h.a().Send(h.hub, "live", Event("x")).outcome == DeliveryOutcome::kOk);
  CHECK(h.a().Send(h.hub, "ended", Event("x")).outcome == DeliveryOutcome::kTerminal);
  CHECK(h.a().Send(h.hub, "nobody", Event("x")).outcome == DeliveryOutcome::kNotFound);
  CHECK(h.a().Send(h.hub + 1'000'000, "live", Event("x")).outcome == DeliveryOutcome::kNotFound);
}

TEST_CASE("store_inbox_order_is_by_time_then_by_number") {
  Harness h(AnyKind());
  h.a().Create(h.Instance("one"));
  NewMessage later = Event("later");
  later.visible_at = h.a().store().Now() + absl::Hours(1);
  h.a().Send(h.hub, "one", later);
  h.a().Send(h.hub, "one", Event("first"));
  h.a().Send(h.hub, "one", Event("second"));
  const Claim claim = h.a().ClaimOne(h.hub);
  CHECK(TextsOf(claim.messages) == std::vector<std::string>{"start", "first", "second"});
  REQUIRE(claim.next_due.has_value());
  CHECK(*claim.next_due >= later.visible_at);
  CHECK(*claim.next_due < later.visible_at + absl::Milliseconds(1));
}

TEST_CASE("store_scheduled_start_holds_earlier_messages_back") {
  Harness h(AnyKind());
  NewInstance instance = h.Instance("later");
  const absl::Time start = h.a().store().Now() + absl::Hours(1);
  instance.scheduled_start = start;
  h.a().Create(instance);
  CHECK(h.a().Send(h.hub, "later", Event("early")).outcome == DeliveryOutcome::kOk);
  const ClaimResult claims = h.a().ClaimAll(h.hub);
  CHECK(claims.claims.empty());
  REQUIRE(claims.groups.at(0).next_due.has_value());
  CHECK(*claims.groups.at(0).next_due >= start);
}

TEST_CASE("store_scheduled_start_comes_before_a_flood_of_earlier_events") {
  Harness h(AnyKind());
  NewInstance instance = h.Instance("later");
  instance.scheduled_start = h.a().store().Now() + absl::Milliseconds(200);
  h.a().Create(instance);
  for (int i = 0; i < 5; ++i) h.a().Send(h.hub, "later", Event("early"));
  ClaimRequest capped = h.Request();
  capped.max_messages = 3;
  ClaimResult claims;
  while (claims.claims.empty()) {
    claims = h.a().ClaimWith(capped);
    CHECK((claims.claims.empty() || h.a().store().Now() >= *instance.scheduled_start));
  }
  CHECK(TextsOf(claims.claims.at(0).messages) ==
        std::vector<std::string>{"start", "early", "early"});
  CHECK(claims.claims.at(0).more_messages);
}

TEST_CASE("store_terminate_pending_running_missing") {
  Harness h(AnyKind());
  h.a().Create(h.Instance("pending"));
  CHECK(h.a().Terminate(h.hub, {"pending", "enough", Event("t", 5)}).outcome ==
        DeliveryOutcome::kDone);
  const std::optional<InstanceRow> row = h.a().Read(h.hub, "pending");
  REQUIRE(row.has_value());
  CHECK(row->status == RuntimeStatus::kTerminated);
  CHECK(row->output == "enough");
  CHECK(row->completed_at.has_value());
  CHECK(h.a().ClaimAll(h.hub).claims.empty());
  CHECK(h.a().Terminate(h.hub, {"pending", "again", Event("t", 5)}).outcome ==
        DeliveryOutcome::kTerminal);

  h.a().Create(h.Instance("running"));
  const Claim claim = h.a().ClaimOne(h.hub);
  const Delivery queued = h.a().Terminate(h.hub, {"running", "stop", Event("t", 5)});
  CHECK(queued.outcome == DeliveryOutcome::kOk);
  CHECK(queued.lease_token == claim.lease_token);
  CHECK(h.a().Terminate(h.hub, {"nobody", "stop", Event("t", 5)}).outcome ==
        DeliveryOutcome::kNotFound);
}

TEST_CASE("terminate_pending_scheduled: it ends at once and its start is dropped") {
  Harness h(AnyKind());
  NewInstance instance = h.Instance("later");
  const absl::Time start = h.a().store().Now() + absl::Milliseconds(50);
  instance.scheduled_start = start;
  h.a().Create(instance);
  CHECK(h.a().Terminate(h.hub, {"later", "enough", Event("t", 5)}).outcome ==
        DeliveryOutcome::kDone);
  // Also after its time nothing is left that could be dispatched.
  while (h.a().store().Now() < start) {
  }
  const ClaimResult claims = h.a().ClaimAll(h.hub);
  CHECK(claims.claims.empty());
  CHECK_FALSE(claims.groups.at(0).next_due.has_value());
  const std::optional<InstanceRow> row = h.a().Read(h.hub, "later");
  REQUIRE(row.has_value());
  CHECK(row->status == RuntimeStatus::kTerminated);
  CHECK(row->output == "enough");
  CHECK(row->completed_at.has_value());
}

TEST_CASE("store_payload_bytes_round_trip") {
  Harness h(AnyKind());
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  NewInstance absent = h.Instance("absent");
  NewInstance empty = h.Instance("empty");
  empty.input = "";
  empty.version = "";
  NewInstance full = h.Instance("grüße \"x\" \\ \n\t");
  full.input = all;
  full.version = "1.0";
  full.tags = {{"a", ""}, {"key \"quoted\" \\", "value\nü\x01"}};
  const std::string event = "\x0a" + all;  // no serialized message begins with 0
  full.started = Event(event, 3);
  for (const NewInstance& instance : {absent, empty, full}) h.a().Create(instance);

  const auto absent_row = h.a().Read(h.hub, "absent");
  REQUIRE(absent_row.has_value());
  CHECK_FALSE(absent_row->input.has_value());
  CHECK_FALSE(absent_row->version.has_value());
  const auto empty_row = h.a().Read(h.hub, "empty");
  REQUIRE(empty_row.has_value());
  CHECK(empty_row->input == "");
  CHECK(empty_row->version == "");
  const auto full_row = h.a().Read(h.hub, full.instance_id);
  REQUIRE(full_row.has_value());
  CHECK(full_row->instance_id == full.instance_id);
  CHECK(full_row->input == all);
  CHECK(full_row->tags == full.tags);
  for (const Claim& claim : h.a().ClaimAll(h.hub).claims) {
    if (claim.instance_id == full.instance_id) CHECK(TextOf(claim.messages.at(0)) == event);
  }
}

TEST_CASE("store_hub_holds_its_own_and_is_deleted_whole") {
  Harness h(AnyKind());
  h.a().Create(h.Instance("one"));
  const auto resolve = [&](bool create) {
    return h.a().Wait<HubId>(
        [&](auto done) { h.a().store().ResolveHub("to go", create, std::move(done)); });
  };
  CHECK(resolve(false).status().code() == absl::StatusCode::kNotFound);
  const HubId doomed = resolve(true).value();
  CHECK(resolve(true).value() == doomed);
  NewInstance instance = h.Instance("one");
  instance.hub = doomed;
  CHECK(h.a().Create(instance).outcome == CreateOutcome::kCreated);
  const auto remove = [&] {
    absl::Status status;
    (void)h.a().Wait<bool>([&](Callback<bool> done) {
      h.a().store().DeleteHub("to go", [&, done = std::move(done)](absl::Status s) mutable {
        status = std::move(s);
        std::move(done)(true);
      });
    });
    return status;
  };
  CHECK(remove().ok());
  CHECK(remove().code() == absl::StatusCode::kNotFound);
  CHECK_FALSE(h.a().Read(doomed, "one").has_value());
  // So a daemon that serves its workers learns that it is gone.
  ClaimRequest request;
  request.hub = doomed;
  request.lease_token = h.a().NewToken();
  request.groups = {{10, std::nullopt}};
  for (const bool repeat : {false, true}) {
    request.repeat = repeat;
    const auto turns = h.a().Wait<ClaimResult>(
        [&](auto done) { h.a().store().ClaimInstances(request, std::move(done)); });
    CHECK(turns.status().code() == absl::StatusCode::kNotFound);
    const auto tasks = h.a().Wait<TaskClaimResult>(
        [&](auto done) { h.a().store().ClaimTasks(request, std::move(done)); });
    CHECK(tasks.status().code() == absl::StatusCode::kNotFound);
  }
  CHECK(h.a().Read(h.hub, "one").has_value());
  // Nothing comes into it any more from a daemon that still knows its id.
  instance.execution_id += "again";
  const auto late = h.a().Wait<CreateResult>(
      [&](auto done) { h.a().store().CreateInstance(instance, std::move(done)); });
  CHECK(late.status().code() == absl::StatusCode::kNotFound);
  CHECK_FALSE(h.a().Read(doomed, "one").has_value());
}

TEST_CASE("store_deleted_hub_is_cleaned_in_batches_beside_a_new_one_of_its_name") {
  Harness h(AnyKind(), Database::kOwn);
  const auto resolve = [&] {
    return h.a()
        .Wait<HubId>([&](auto done) { h.a().store().ResolveHub("again", true, std::move(done)); })
        .value();
  };
  const auto clean = [](Daemon& daemon) {
    return daemon
        .Wait<HubCleanupResult>([&](auto done) {
          daemon.store().CleanHubs({/*max_instances=*/2, absl::ZeroDuration()}, std::move(done));
        })
        .value();
  };
  const HubId old = resolve();
  NewInstance instance = h.Instance("0");
  instance.hub = old;
  for (int i = 0; i < 5; ++i) {
    instance.instance_id = std::to_string(i);
    h.a().Create(instance);
  }
  const Claim claim = h.a().ClaimAll(old).claims.at(0);
  CHECK(clean(h.a()).hub.empty());
  REQUIRE(h.a()
              .Wait<bool>([&](Callback<bool> done) {
                h.a().store().DeleteHub("again", [done = std::move(done)](absl::Status s) mutable {
                  std::move(done)(s.ok());
                });
              })
              .value());
  const HubId fresh = resolve();
  CHECK(fresh != old);
  instance.hub = fresh;
  CHECK(h.a().Create(instance).outcome == CreateOutcome::kCreated);
  CHECK(h.a().Commit(TurnOf(claim)).outcome == CheckpointOutcome::kGone);

  int64_t removed = 0;
  HubCleanupResult last;
  for (last.more = true; last.more;) {
    last = clean(h.a());
    CHECK(last.hub == "again");
    CHECK(last.removed <= 2);
    removed += last.removed;
    CHECK(last.total == removed);
    CHECK(last.ended != last.more);
  }
  CHECK(removed == 5);
  CHECK(last.age >= absl::ZeroDuration());
  CHECK(clean(h.b()).hub.empty());
  CHECK(h.a().Read(fresh, instance.instance_id).has_value());
  CHECK(h.a().ClaimAll(fresh).claims.size() == 1);
}

TEST_CASE("store_history_is_read_in_pages") {
  Harness h(AnyKind());
  h.a().Create(h.Instance("one"));
  Claim claim = h.a().ClaimOne(h.hub);
  for (int i = 0; i < 5; ++i) {
    Checkpoint turn = TurnOf(claim);
    REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
    claim = After(turn, claim);
  }
  const auto read = [&](std::string id, std::optional<std::string> execution, int64_t after,
                        int64_t bytes) {
    return h.a().Wait<HistoryPage>([&](auto done) {
      h.a().store().ReadHistory(h.hub, id, execution, after, bytes, std::move(done));
    });
  };
  const auto all = read("one", std::nullopt, 0, 1 << 20);
  REQUIRE(all.ok());
  REQUIRE(all->chunks.size() == 5);
  CHECK(*all->chunks.at(4).events == "turn 5");
  CHECK(all->chunks.at(4).first_event == claim.history.at(4).first_event);
  const auto one = read("one", claim.execution_id, 2, 1);
  REQUIRE(one.ok());
  REQUIRE(one->chunks.size() == 1);
  CHECK(one->chunks.front().turn == 3);
  const auto end = read("one", std::nullopt, 5, 1);
  REQUIRE(end.ok());
  CHECK(end->chunks.empty());
  for (const auto& page : {all, one, end}) CHECK(page->execution_id == claim.execution_id);
  CHECK(read("one", "0123", 0, 1).status().code() == absl::StatusCode::kNotFound);
  CHECK(read("nobody", std::nullopt, 0, 1).status().code() == absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dt::testing
