// Store behaviour, the same for every implementation: entities, their inboxes and their end.
// (RULES.md 7.2-7.8, 7.17, 7.33; storage/records.h)
#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/storage/entity_harness.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using Texts = std::vector<std::string>;

std::string HexKey(InstanceKey key) {
  const std::string digits = absl::StrCat(absl::Hex(key));
  return std::string(32 - digits.size(), '0') + digits;
}

AddressedMessage Front(const std::string& id, const std::string& text) {
  AddressedMessage message{id, Event(text, kSignal)};
  message.front = true;
  return message;
}

TEST_CASE("store_entity_is_made_by_a_message", "[entities]") {
  Harness h(EntityStoreKind());
  const Delivery sent = Signal(h, "@counter@Key@1", "one");
  CHECK(sent.outcome == DeliveryOutcome::kOk);
  CHECK(sent.key != 0);
  CHECK(Signal(h, "@counter@Key@1", "two").key == sent.key);
  CHECK(h.a().Send(h.hub, "counter", Event("x")).outcome == DeliveryOutcome::kNotFound);
  CHECK(h.a().ClaimAll(h.hub).claims.empty());
  const Claim claim = ClaimEntity(h.a(), h.hub, "@counter@Key@1");
  CHECK(claim.key == sent.key);
  CHECK(claim.kind == InstanceKind::kEntity);
  CHECK(claim.execution_id == HexKey(claim.key));
  CHECK(claim.name == "counter");
  CHECK(claim.turn == 0);
  CHECK(TextsOf(claim.messages) == Texts{"one", "two"});
  REQUIRE(claim.entity.has_value());
  CHECK_FALSE(claim.entity->state.has_value());
  CHECK_FALSE(claim.entity->lock.has_value());
}

TEST_CASE("store_entity_claims_go_by_name", "[entities]") {
  Harness h(EntityStoreKind());
  Signal(h, "@counter@1", "one");
  h.a().Create(h.Instance("orchestration"));
  ClaimRequest request = h.Request();
  request.kind = InstanceKind::kEntity;
  request.groups = {{10, std::vector<NameFilter>{{"work", {}}, {"counters", {}}}}};
  CHECK(h.a().ClaimWith(request).claims.empty());
  request.groups = {{10, std::vector<NameFilter>{{"counter", {}}}}};
  CHECK(h.a().ClaimWith(request).claims.size() == 1);
}

TEST_CASE("store_entity_is_made_by_a_checkpoint", "[entities]") {
  Harness h(EntityStoreKind());
  Checkpoint turn = TurnOf(Started(h, "sender"));
  turn.messages = {
      {"@c@1", Event("a", kSignal)}, {"@c@2", Event("b", kSignal)}, {"@c@1", Event("c", kSignal)}};
  const CheckpointResult result = h.a().Commit(turn);
  REQUIRE(result.messages.size() == 3);
  for (const Delivery& delivery : result.messages) CHECK(delivery.outcome == DeliveryOutcome::kOk);
  CHECK(result.messages[0].key == result.messages[2].key);
  const auto claims = ClaimEntities(h.a(), h.hub);
  REQUIRE(claims.size() == 2);
  CHECK(TextsOf(claims.at("@c@1").messages) == Texts{"a", "c"});
  CHECK(TextsOf(claims.at("@c@2").messages) == Texts{"b"});
}

TEST_CASE("store_entity_keeps_its_state", "[entities]") {
  Harness h(EntityStoreKind());
  Signal(h, "@c@1", "one");
  const std::string large(300000, 'x');
  Claim claim = ClaimEntity(h.a(), h.hub, "@c@1");
  for (const std::string& state : {std::string("short"), large, std::string("\0z", 2)}) {
    Checkpoint turn = EntityTurn(claim);
    turn.entity->state = Change<std::string>::Set(state);
    turn.entity->worked = true;
    turn.release = true;
    const CheckpointResult result = h.a().Commit(turn);
    REQUIRE(result.outcome == CheckpointOutcome::kCommitted);
    CHECK_FALSE(result.removed);
    CHECK(ClaimEntities(h.a(), h.hub).empty());
    Signal(h, "@c@1", "next");
    claim = ClaimEntity(h.a(), h.hub, "@c@1");
    CHECK(claim.turn == turn.turn);
    CHECK((claim.entity->state == state));
  }
  // A turn that keeps the state, and a repeat of it.
  Checkpoint kept = EntityTurn(claim);
  REQUIRE(h.a().Commit(kept).outcome == CheckpointOutcome::kCommitted);
  CHECK(h.a().Commit(kept).outcome == CheckpointOutcome::kAlready);
  Signal(h, "@c@1", "next");
  REQUIRE(h.a().Release(claim) == LeaseOutcome::kReleased);
  CHECK(ClaimEntity(h.a(), h.hub, "@c@1").entity->state.has_value());
}

TEST_CASE("store_entity_turns_are_fenced", "[entities]") {
  Harness h(EntityStoreKind());
  Signal(h, "@c@1", "one");
  const Claim claim = ClaimEntity(h.a(), h.hub, "@c@1");
  REQUIRE(h.a().Release(claim) == LeaseOutcome::kReleased);
  const Claim other = ClaimEntity(h.b(), h.hub, "@c@1");
  Checkpoint turn = EntityTurn(claim);
  turn.entity->state = Change<std::string>::Set("stale");
  CHECK(h.a().Commit(turn).outcome == CheckpointOutcome::kLeaseLost);
  CHECK(h.b().Commit(EntityTurn(other)).removed);
  CHECK(h.a().Commit(turn).outcome == CheckpointOutcome::kGone);
}

TEST_CASE("store_entity_without_anything_is_removed", "[entities]") {
  Harness h(EntityStoreKind());
  const InstanceKey key = Signal(h, "@c@1", "one").key;
  Claim claim = ClaimEntity(h.a(), h.hub, "@c@1");
  Checkpoint turn = EntityTurn(claim);
  SECTION("not while a message waits") {
    const Delivery late = Signal(h, "@c@1", "late", h.a().store().Now() + absl::Hours(1));
    CHECK_FALSE(h.a().Commit(turn).removed);
    claim = After(turn, claim);
    turn = EntityTurn(claim);
    turn.consumed = {late.seq};
  }
  SECTION("not while it has a state") {
    turn.entity->state = Change<std::string>::Set("");
    CHECK_FALSE(h.a().Commit(turn).removed);
    claim = After(turn, claim);
    turn = EntityTurn(claim);
    turn.entity->state = Change<std::string>::Clear();
  }
  SECTION("not when it sends to itself") {
    turn.messages = {{"@c@1", Event("own", kSignal)}};
    const CheckpointResult result = h.a().Commit(turn);
    CHECK_FALSE(result.removed);
    CHECK(result.messages.at(0).lease_token == claim.lease_token);
    claim = After(turn, claim);
    turn = EntityTurn(claim);
    turn.consumed = {result.messages.at(0).seq};
  }
  SECTION("not when its turn has a message for itself") {
    turn.own_messages = {Event("own", kSignal)};
    const CheckpointResult result = h.a().Commit(turn);
    CHECK_FALSE(result.removed);
    claim = After(turn, claim);
    turn = EntityTurn(claim);
    turn.consumed = {result.own_seqs.at(0)};
  }
  SECTION("at once, also when it would be released") { turn.release = GENERATE(false, true); }
  const CheckpointResult result = h.a().Commit(turn);
  REQUIRE(result.outcome == CheckpointOutcome::kCommitted);
  CHECK(result.removed);
  CHECK_FALSE(EntityExists(h.a(), h.hub, "@c@1"));
  // The next message makes a new one.
  CHECK(Signal(h, "@c@1", "again").key != key);
  claim = ClaimEntity(h.a(), h.hub, "@c@1");
  CHECK(claim.turn == 0);
  CHECK_FALSE(claim.entity->state.has_value());
  CHECK(TextsOf(claim.messages) == Texts{"again"});
}

TEST_CASE("store_signal_of_a_waiting_request_is_a_duplicate", "[entities]") {
  Harness h(EntityStoreKind());
  const auto send = [&](const std::string& request_id, absl::Time visible_at) {
    ClientMessage message{h.hub, "@c@1", Event(request_id, kSignal)};
    message.message.visible_at = visible_at;
    message.request_id = request_id;
    const auto delivery = h.a().Wait<Delivery>(
        [&](auto done) { h.a().store().SendMessage(message, std::move(done)); });
    REQUIRE(delivery.ok());
    return *delivery;
  };
  const std::string first = "00000000-0000-4000-8000-000000000001";
  const std::string second = "00000000-0000-4000-8000-000000000002";
  const Delivery sent = send(first, absl::InfinitePast());
  CHECK(sent.outcome == DeliveryOutcome::kOk);
  CHECK(send(first, absl::InfinitePast()).outcome == DeliveryOutcome::kDuplicate);
  CHECK(send(second, h.a().store().Now() + absl::Hours(1)).outcome == DeliveryOutcome::kOk);
  CHECK(send(second, absl::InfinitePast()).outcome == DeliveryOutcome::kDuplicate);
  // While it runs it still waits; when it has run it may come again.
  const Claim claim = ClaimEntity(h.a(), h.hub, "@c@1");
  CHECK(TextsOf(claim.messages) == Texts{first});
  CHECK(send(first, absl::InfinitePast()).outcome == DeliveryOutcome::kDuplicate);
  REQUIRE(h.a().Commit(EntityTurn(claim)).outcome == CheckpointOutcome::kCommitted);
  CHECK(send(first, absl::InfinitePast()).outcome == DeliveryOutcome::kOk);
}

TEST_CASE("store_message_for_one_execution", "[entities]") {
  Harness h(EntityStoreKind());
  const Claim owner = Started(h, "owner");
  Signal(h, "@c@1", "call");
  Checkpoint turn = EntityTurn(ClaimEntity(h.a(), h.hub, "@c@1"));
  const auto answer = [](const std::string& id, const std::string& execution_id) {
    AddressedMessage message{id, Event("answer", 25)};
    message.execution_id = execution_id;
    return message;
  };
  turn.messages = {answer("owner", owner.execution_id),
                   answer("owner", "0123456789abcdef0123456789abcdef"),
                   answer("nobody", owner.execution_id)};
  const CheckpointResult result = h.a().Commit(turn);
  REQUIRE(result.messages.size() == 3);
  CHECK(result.messages[0].outcome == DeliveryOutcome::kOk);
  CHECK(result.messages[0].lease_token == owner.lease_token);
  CHECK(result.messages[1].outcome == DeliveryOutcome::kTerminal);
  CHECK(result.messages[2].outcome == DeliveryOutcome::kNotFound);
  // It belongs to the generation, and goes with it.
  Checkpoint next = TurnOf(owner);
  next.next_generation = NextGeneration{"fedcba9876543210fedcba9876543210", {}, {}, {}};
  next.own_messages = {Event("start", 3)};
  REQUIRE(h.a().Commit(next).outcome == CheckpointOutcome::kCommitted);
  Claim after = owner;
  after.turn = next.turn;
  const Claim found = ReleasedAndClaimed(h, after);
  CHECK(TextsOf(found.messages) == Texts{"start"});
}

TEST_CASE("store_front_messages_come_before_all_that_waits", "[entities]") {
  Harness h(EntityStoreKind());
  const Claim sender = Started(h, "sender");
  Signal(h, "@c@1", "waits");
  Checkpoint turn = TurnOf(sender);
  turn.messages = {
      Front("@c@1", "first"), {"@c@1", Event("last", kSignal)}, Front("@c@1", "second")};
  const CheckpointResult result = h.a().Commit(turn);
  CHECK(result.messages.at(0).visible_at == absl::InfinitePast());
  CHECK(result.messages.at(1).visible_at != absl::InfinitePast());
  const Claim claim = ClaimEntity(h.a(), h.hub, "@c@1");
  CHECK(TextsOf(claim.messages) == Texts{"first", "second", "waits", "last"});
  CHECK(claim.messages.at(1).visible_at == absl::InfinitePast());
}

TEST_CASE("store_held_entity_waits_for_a_front_message", "[entities]") {
  Harness h(EntityStoreKind());
  const Claim sender = Started(h, "sender");
  Signal(h, "@c@1", "waits");
  Hold(h.a(), ClaimEntity(h.a(), h.hub, "@c@1"));
  CHECK(ClaimEntities(h.a(), h.hub).empty());
  Signal(h, "@c@1", "waits too");
  CHECK(ClaimEntities(h.a(), h.hub).empty());
  Checkpoint turn = TurnOf(sender);
  turn.messages = {Front("@c@1", "comes")};
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  Claim claim = ClaimEntity(h.a(), h.hub, "@c@1");
  CHECK(TextsOf(claim.messages) == Texts{"comes", "waits", "waits too"});
  // One that is there already is not waited for.
  Hold(h.a(), claim);
  claim = ClaimEntity(h.a(), h.hub, "@c@1");
  CHECK(claim.messages.size() == 3);
}

TEST_CASE("store_entities_are_not_orchestrations", "[entities]") {
  Harness h(EntityStoreKind());
  Signal(h, "@c@1", "one");
  const auto ended = h.a().Wait<std::vector<std::string>>([&](auto done) {
    ImmediateTermination request;
    request.hub = h.hub;
    request.instance_ids = {"@c@1"};
    h.a().store().TerminateNow(request, std::move(done));
  });
  REQUIRE(ended.ok());
  CHECK(*ended == Texts{"@c@1"});
  const auto purged = h.a().Wait<PurgeResult>([&](auto done) {
    PurgeRequest request;
    request.hub = h.hub;
    request.instance_ids = {"@c@1"};
    h.a().store().PurgeInstances(request, std::move(done));
  });
  REQUIRE(purged.ok());
  CHECK(purged->deleted == 0);
  const auto page = h.a().Wait<InstancePage>([&](auto done) {
    InstanceSearch search;
    search.hub = h.hub;
    h.a().store().SearchInstances(search, std::move(done));
  });
  REQUIRE(page.ok());
  CHECK(page->rows.empty());
  ClaimEntity(h.a(), h.hub, "@c@1");
}

TEST_CASE("store_messages_for_an_entity_that_is_removed_are_never_lost", "[entities]") {
  Harness h(EntityStoreKind());
  constexpr int kMessages = 200;
  std::atomic<int> sent = 0;
  (void)h.b();
  std::thread sender([&] {
    for (int i = 0; i < kMessages; ++i) {
      sent += QuietSend(h.b(), h.hub, "@c@1", Event("x", kSignal)).outcome == DeliveryOutcome::kOk;
    }
  });
  int seen = 0;
  int removed = 0;
  const absl::Time until = absl::Now() + absl::Seconds(60);
  while (seen < kMessages && absl::Now() < until) {
    for (const auto& [id, claim] : ClaimEntities(h.a(), h.hub)) {
      Checkpoint turn = EntityTurn(claim);
      turn.release = true;
      const CheckpointResult result = h.a().Commit(turn);
      if (result.outcome != CheckpointOutcome::kCommitted) continue;
      seen += static_cast<int>(claim.messages.size());
      removed += result.removed ? 1 : 0;
    }
  }
  sender.join();
  CHECK(sent == kMessages);
  CHECK(seen == kMessages);
  CHECK(removed > 0);
}

TEST_CASE("store_one_entity_is_made_by_many_at_once", "[entities]") {
  Harness h(EntityStoreKind());
  (void)h.b();
  for (int round = 0; round < 20; ++round) {
    const std::string id = absl::StrCat("@c@", round);
    Delivery other;
    std::thread sender([&] { other = QuietSend(h.b(), h.hub, id, Event("b", kSignal)); });
    const Delivery own = Signal(h, id, "a");
    sender.join();
    CHECK(own.outcome == DeliveryOutcome::kOk);
    CHECK(other.outcome == DeliveryOutcome::kOk);
    CHECK(own.key == other.key);
    CHECK(ClaimEntity(h.a(), h.hub, id).messages.size() == 2);
  }
}

}  // namespace
}  // namespace dt::testing
