// Store behaviour, the same for every implementation: what clients read of entities, and how those
// are cleaned. (RULES.md 7.34-7.36)
#include "absl/strings/str_cat.h"
#include "tests/storage/entity_harness.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using Ids = std::vector<std::string>;

template <typename T>
T Checked(absl::StatusOr<T> value) {
  INFO(value.status().ToString());
  REQUIRE(value.ok());
  return *std::move(value);
}

std::optional<EntityInfo> Read(Harness& h, const std::string& id, bool state = true) {
  return Checked(h.a().Wait<std::optional<EntityInfo>>(
      [&](auto done) { h.a().store().ReadEntity(h.hub, id, state, std::move(done)); }));
}

EntityPage Search(Harness& h, EntitySearch search) {
  search.hub = h.hub;
  return Checked(h.a().Wait<EntityPage>(
      [&](auto done) { h.a().store().SearchEntities(std::move(search), std::move(done)); }));
}

EntityCleanupResult Clean(Harness& h, EntityCleanup request) {
  request.hub = h.hub;
  return Checked(h.a().Wait<EntityCleanupResult>(
      [&](auto done) { h.a().store().CleanEntities(std::move(request), std::move(done)); }));
}

Ids IdsOf(const EntityPage& page) {
  Ids ids;
  for (const EntityInfo& info : page.rows) ids.push_back(info.instance_id);
  return ids;
}

// An entity with this state and nothing else.
void MakeEntity(Harness& h, const std::string& id, const std::string& state) {
  Signal(h, id, "x");
  Checkpoint turn = EntityTurn(ClaimEntity(h.a(), h.hub, id));
  turn.entity->state = Change<std::string>::Set(state);
  turn.entity->worked = true;
  turn.release = true;
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
}

// One of which nothing is left, as no turn leaves it behind.
void MakeEmpty(Harness& h, const std::string& id) {
  Signal(h, id, "x");
  const Claim claim = ClaimEntity(h.a(), h.hub, id);
  DiscardRequest discard;
  discard.key = claim.key;
  discard.hub = claim.hub;
  discard.instance_id = id;
  discard.lease_token = claim.lease_token;
  discard.seqs = {claim.messages.at(0).seq};
  discard.release = true;
  REQUIRE(Checked(h.a().Wait<LeaseOutcome>([&](auto done) {
            h.a().store().DiscardMessages(discard, std::move(done));
          })) == LeaseOutcome::kReleased);
}

TEST_CASE("store_read_entity", "[entities]") {
  Harness h(EntityStoreKind());
  CHECK_FALSE(Read(h, "@c@1").has_value());
  Signal(h, "@c@1", "x");
  CHECK_FALSE(Read(h, "@c@1").has_value());  // no state yet
  const Claim claim = ClaimEntity(h.a(), h.hub, "@c@1");
  const std::string large(300000, 's');
  Checkpoint turn = EntityTurn(claim);
  turn.entity->state = Change<std::string>::Set(large);
  turn.entity->worked = true;
  const CheckpointResult result = h.a().Commit(turn);
  std::optional<EntityInfo> info = Read(h, "@c@1");
  REQUIRE(info.has_value());
  CHECK(info->instance_id == "@c@1");
  CHECK((info->state == large));
  CHECK(info->backlog == 0);
  CHECK_FALSE(info->locked_by.has_value());
  CHECK(info->last_modified == result.committed_at);
  CHECK_FALSE(Read(h, "@c@1", /*state=*/false)->state.has_value());
  // A turn without operations is no modification; only operations that are due are backlog.
  Signal(h, "@c@1", "one");
  h.a().Send(h.hub, "@c@1", Event("two", 24));
  Signal(h, "@c@1", "later", h.a().store().Now() + absl::Hours(1));
  h.a().Send(h.hub, "@c@1", Event("unlock", kUnlock));
  REQUIRE(h.a().Commit(EntityTurn(After(turn, claim))).outcome == CheckpointOutcome::kCommitted);
  info = Read(h, "@c@1");
  CHECK(info->backlog == 2);
  CHECK(info->last_modified == result.committed_at);
  h.a().Create(h.Instance("orchestration"));
  CHECK_FALSE(Read(h, "orchestration").has_value());
  CHECK_FALSE(h.a().Read(h.hub, "@c@1").has_value());
}

TEST_CASE("store_read_entity: who holds it", "[entities]") {
  Harness h(EntityStoreKind());
  MakeEntity(h, "@c@1", "s");
  const Claim owner = OwnerOf(h, "owner", "section", {"@c@1"});
  CHECK(Read(h, "@c@1")->locked_by == "owner");
  Checkpoint ends = TurnOf(owner);
  ends.update.emplace().status = RuntimeStatus::kCompleted;
  ends.ends = ends.releases_locks = true;
  REQUIRE(h.a().Commit(ends).outcome == CheckpointOutcome::kCommitted);
  CHECK(Read(h, "@c@1")->locked_by == "owner");  // until its own turn
  Checkpoint unlocks = EntityTurn(ClaimEntity(h.a(), h.hub, "@c@1"));
  unlocks.entity->unlock = true;
  REQUIRE(h.a().Commit(unlocks).outcome == CheckpointOutcome::kCommitted);
  CHECK_FALSE(Read(h, "@c@1")->locked_by.has_value());
}

TEST_CASE("store_search_entities", "[entities]") {
  Harness h(EntityStoreKind());
  for (const char* id : {"@b@2", "@a@1", "@b@1", "@ba@1"}) MakeEntity(h, id, id);
  h.a().Create(h.Instance("A"));
  h.a().Create(h.Instance("orchestration"));
  EntitySearch search;
  const EntityPage all = Search(h, search);
  CHECK(IdsOf(all) == Ids{"@a@1", "@b@1", "@b@2", "@ba@1"});
  CHECK_FALSE(all.next.has_value());
  CHECK_FALSE(all.rows[0].state.has_value());
  SECTION("by prefix") {
    search.id_prefix = "@b";
    CHECK(IdsOf(Search(h, search)) == Ids{"@b@1", "@b@2", "@ba@1"});
    search.id_prefix = "@b@";
    CHECK(IdsOf(Search(h, search)) == Ids{"@b@1", "@b@2"});
    search.id_prefix = "@b%";
    CHECK(Search(h, search).rows.empty());
  }
  SECTION("by time") {
    // Made in the order 2, 1 of b.
    search.from = all.rows[2].last_modified;
    search.to = all.rows[1].last_modified;
    CHECK(IdsOf(Search(h, search)) == Ids{"@a@1", "@b@2"});
  }
  SECTION("with states, transient ones too") {
    Signal(h, "@b@11", "x");
    search.states = true;
    CHECK(Search(h, search).rows[1].state == "@b@1");
    search.transient = true;
    const EntityPage page = Search(h, search);
    CHECK(IdsOf(page) == Ids{"@a@1", "@b@1", "@b@11", "@b@2", "@ba@1"});
    CHECK(page.rows[2].backlog == 1);
  }
  SECTION("in pages of rows") {
    search.max_rows = 3;
    const EntityPage page = Search(h, search);
    CHECK(IdsOf(page) == Ids{"@a@1", "@b@1", "@b@2"});
    REQUIRE(page.next == "@b@2");
    search.after_id = *page.next;
    CHECK(IdsOf(Search(h, search)) == Ids{"@ba@1"});
  }
  SECTION("in pages of bytes") {
    search.states = true;
    search.max_bytes = 8;
    const EntityPage page = Search(h, search);
    CHECK(IdsOf(page) == Ids{"@a@1", "@b@1"});
    CHECK(page.next == "@b@1");
    search.max_bytes = 1;
    CHECK(Search(h, search).rows.size() == 1);
  }
  SECTION("looking at a few only") {
    search.max_looked_at = 2;
    search.from = h.a().store().Now() + absl::Hours(1);
    const EntityPage page = Search(h, search);
    CHECK(page.rows.empty());
    REQUIRE(page.next == "@b@1");
    search.after_id = *page.next;
    const EntityPage last = Search(h, search);
    CHECK(last.rows.empty());
    CHECK_FALSE(last.next.has_value());
  }
}

TEST_CASE("store_clean_entities: those of which nothing is left go", "[entities]") {
  Harness h(EntityStoreKind());
  for (int i = 0; i < 5; ++i) MakeEmpty(h, absl::StrCat("@c@", i));
  MakeEntity(h, "@c@state", "");
  Signal(h, "@c@message", "x");
  const auto leased = ClaimEntities(h.a(), h.hub);
  Signal(h, "@c@later", "x", h.a().store().Now() + absl::Hours(1));
  h.a().Commit(LockTurn(Started(h, "owner"), "s", {"@c@request"}));
  OwnerOf(h, "holder", "t", {"@c@2"});
  EntityCleanup request;
  request.release_orphaned = true;
  request.max_looked_at = 3;
  CHECK(Clean(h, request).removed == 0);
  request.remove_empty = true;
  int64_t removed = 0;
  int batches = 0;
  for (bool more = true; more; ++batches) {
    const EntityCleanupResult result = Clean(h, request);
    removed += result.removed;
    CHECK(result.released == 0);
    more = result.next.has_value();
    if (more) request.after_id = *result.next;
  }
  CHECK(removed == 4);
  CHECK(batches >= 3);
  EntitySearch search;
  search.transient = true;
  CHECK(IdsOf(Search(h, search)) ==
        Ids{"@c@2", "@c@later", "@c@message", "@c@request", "@c@state"});
}

TEST_CASE("store_clean_entities: what is leased is left alone", "[entities]") {
  Harness h(EntityStoreKind());
  Signal(h, "@c@1", "x");
  const Claim claim = ClaimEntity(h.a(), h.hub, "@c@1");
  DiscardRequest discard{
      claim.key, claim.hub, "@c@1", claim.lease_token, {claim.messages.at(0).seq}};
  Checked(h.a().Wait<LeaseOutcome>(
      [&](auto done) { h.a().store().DiscardMessages(discard, std::move(done)); }));
  EntityCleanup request;
  request.remove_empty = true;
  CHECK(Clean(h, request).removed == 0);
  REQUIRE(h.a().Release(claim) == LeaseOutcome::kReleased);
  CHECK(Clean(h, request).removed == 1);
  CHECK_FALSE(Clean(h, request).next.has_value());
}

TEST_CASE("store_clean_entities: locks of executions that are gone are released", "[entities]") {
  Harness h(EntityStoreKind());
  MakeEntity(h, "@c@1", "s");
  const Claim owner = OwnerOf(h, "owner", "section", {"@c@1", "@c@2"});
  const auto locked = ClaimEntities(h.b(), h.hub);
  CHECK(locked.empty());
  EntityCleanup request;
  request.release_orphaned = true;
  CHECK(Clean(h, request).released == 0);
  Checkpoint ends = TurnOf(owner);
  SECTION("it has ended") {
    ends.update.emplace().status = RuntimeStatus::kCompleted;
    ends.ends = true;
  }
  SECTION("it has continued as new") {
    ends.next_generation = NextGeneration{"fedcba9876543210fedcba9876543210", {}, {}, {}};
  }
  // And said nothing of its locks.
  REQUIRE(h.a().Commit(ends).outcome == CheckpointOutcome::kCommitted);
  CHECK(Clean(h, request).released == 2);
  CHECK(Clean(h, request).released == 0);  // it is on its way
  for (const auto& [id, claim] : ClaimEntities(h.a(), h.hub)) {
    REQUIRE(claim.messages.size() == 1);
    const StoreUnlock unlock = UnlockOf(claim.messages[0]);
    CHECK(unlock.section == kOrphanedLockSection);
    CHECK(unlock.owner_id == "owner");
    Checkpoint turn = EntityTurn(claim);
    turn.entity->unlock = true;
    CHECK(h.a().Commit(turn).removed == (id == "@c@2"));
  }
  CHECK(Clean(h, request).released == 0);
}

}  // namespace
}  // namespace dt::testing
