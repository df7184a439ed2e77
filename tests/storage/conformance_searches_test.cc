// The lists of instances, on both stores (sql/RULES.md 3.13).
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

InstancePage Search(Harness& h, InstanceSearch search) {
  search.hub = h.hub;
  const auto page = h.a().Wait<InstancePage>(
      [&](auto done) { h.a().store().SearchInstances(search, std::move(done)); });
  REQUIRE(page.ok());
  return *page;
}

// The ids of all pages of this size, in order; every page but the last must be full.
std::vector<std::string> Pages(Harness& h, InstanceSearch search, int rows) {
  search.max_rows = rows;
  std::vector<std::string> ids;
  while (true) {
    const InstancePage page = Search(h, search);
    for (const InstanceRow& row : page.rows) ids.push_back(row.instance_id);
    if (!page.more) return ids;
    REQUIRE(page.rows.size() == static_cast<size_t>(rows));
    const InstanceRow& last = page.rows.back();
    search.after = {search.by_completion ? *last.completed_at : last.created_at, last.instance_id};
  }
}

void End(Harness& h, const std::string& id, RuntimeStatus status) {
  h.a().Create(h.Instance(id));
  Checkpoint turn = TurnOf(h.a().ClaimOne(h.hub));
  turn.ends = true;
  turn.update = InstanceUpdate{};
  turn.update->status = status;
  turn.update->output = "output of " + id;
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
}

using Ids = std::vector<std::string>;

TEST_CASE("store_search_pages_are_full_and_in_order") {
  Harness h(AnyKind());
  Ids created;
  for (int i = 0; i < 21; ++i) {
    created.push_back(absl::StrCat("i", (i * 8) % 21));
    h.a().Create(h.Instance(created.back()));
  }
  const InstancePage all = Search(h, {});
  REQUIRE(all.rows.size() == 21);
  CHECK_FALSE(all.more);
  CHECK(std::is_sorted(all.rows.begin(), all.rows.end(), [](const auto& a, const auto& b) {
    return std::tie(a.created_at, a.instance_id) < std::tie(b.created_at, b.instance_id);
  }));
  Ids in_order;
  for (const InstanceRow& row : all.rows) in_order.push_back(row.instance_id);
  for (const int rows : {1, 5, 20, 21, 22}) CHECK(Pages(h, {}, rows) == in_order);
}

TEST_CASE("store_search_filters_by_status_time_and_prefix") {
  Harness h(AnyKind());
  End(h, "a%done", RuntimeStatus::kCompleted);
  End(h, "a_failed", RuntimeStatus::kFailed);
  End(h, "\xF4\x8F\xBF\xBF", RuntimeStatus::kTerminated);  // the last character there is
  h.a().Create(h.Instance("b pending"));
  const auto with = [&](StatusSet statuses, const std::string& prefix = "") {
    InstanceSearch search;
    search.statuses = statuses;
    search.id_prefix = prefix;
    return Pages(h, search, 10);
  };
  const StatusSet completed = StatusBit(RuntimeStatus::kCompleted);
  const StatusSet failed = StatusBit(RuntimeStatus::kFailed);
  const StatusSet pending = StatusBit(RuntimeStatus::kPending);
  const StatusSet running = StatusBit(RuntimeStatus::kRunning);
  CHECK(with(completed) == Ids{"a%done"});
  CHECK(with(failed) == Ids{"a_failed"});
  CHECK(with(failed | StatusBit(RuntimeStatus::kTerminated)) ==
        Ids{"a_failed", "\xF4\x8F\xBF\xBF"});
  CHECK(with(pending | running) == Ids{"b pending"});
  CHECK(with(running).empty());
  CHECK(with(pending | failed) == Ids{"a_failed", "b pending"});
  CHECK(with(0, "a") == Ids{"a%done", "a_failed"});
  CHECK(with(0, "a%") == Ids{"a%done"});
  CHECK(with(0, "a_") == Ids{"a_failed"});
  CHECK(with(0, "\xF4\x8F\xBF\xBF") == Ids{"\xF4\x8F\xBF\xBF"});
  CHECK(with(0, "A").empty());

  const absl::Time time = h.a().Read(h.hub, "a_failed")->created_at;
  InstanceSearch from;
  from.from = time;
  CHECK(Pages(h, from, 10) == Ids{"a_failed", "\xF4\x8F\xBF\xBF", "b pending"});
  InstanceSearch to;
  to.to = time;
  CHECK(Pages(h, to, 10) == Ids{"a%done"});
}

TEST_CASE("store_search_tells_pending_from_running") {
  Harness h(AnyKind());
  const Claim told = Started(h, "told", /*turns=*/1);  // with a status of its own
  const Claim untold = Started(h, "untold");
  REQUIRE(h.a().Commit(TurnOf(untold)).outcome == CheckpointOutcome::kCommitted);
  h.a().Create(h.Instance("waits"));
  const auto with = [&](std::vector<RuntimeStatus> statuses) {
    InstanceSearch search;
    for (const RuntimeStatus status : statuses) search.statuses |= StatusBit(status);
    return Pages(h, search, 1);
  };
  CHECK(with({RuntimeStatus::kRunning}) == Ids{"told", "untold"});
  CHECK(with({RuntimeStatus::kPending}) == Ids{"waits"});
  CHECK(with({RuntimeStatus::kPending, RuntimeStatus::kFailed}) == Ids{"waits"});
  CHECK(with({RuntimeStatus::kRunning, RuntimeStatus::kPending}) == Ids{"told", "untold", "waits"});
  CHECK(with({RuntimeStatus::kSuspended}).empty());
  const InstancePage all = Search(h, {});
  REQUIRE(all.rows.size() == 3);
  CHECK(all.rows[0].status == RuntimeStatus::kRunning);
  CHECK(all.rows[1].status == RuntimeStatus::kRunning);
  CHECK(all.rows[2].status == RuntimeStatus::kPending);
}

TEST_CASE("store_search_by_completion_shows_ended_ones_only") {
  Harness h(AnyKind());
  End(h, "first", RuntimeStatus::kCompleted);
  h.a().Create(h.Instance("live"));
  const Claim live = h.a().ClaimOne(h.hub);  // so that End does not take it
  End(h, "second", RuntimeStatus::kFailed);
  InstanceSearch search;
  search.by_completion = true;
  CHECK(Pages(h, search, 1) == Ids{"first", "second"});
  search.statuses = StatusBit(RuntimeStatus::kFailed) | StatusBit(RuntimeStatus::kRunning);
  CHECK(Pages(h, search, 1) == Ids{"second"});
  search.statuses = 0;
  search.from = h.a().Read(h.hub, "second")->completed_at;
  CHECK(Pages(h, search, 5) == Ids{"second"});
  search.to = search.from;
  search.from.reset();
  CHECK(Pages(h, search, 5) == Ids{"first"});
}

TEST_CASE("store_search_caps_pages_by_the_bytes_of_payloads") {
  Harness h(AnyKind());
  for (const char* id : {"1", "2", "3"}) {
    NewInstance instance = h.Instance(id);
    instance.input = std::string(1000, 'x');
    h.a().Create(instance);
  }
  InstanceSearch search;
  search.payloads = true;
  search.max_bytes = 2000;
  InstancePage page = Search(h, search);
  CHECK(page.rows.size() == 2);
  CHECK(page.more);
  CHECK(page.rows[0].input == std::string(1000, 'x'));
  search.max_bytes = 1;  // the first is shown whatever its size
  page = Search(h, search);
  CHECK(page.rows.size() == 1);
  CHECK(page.more);
  search.payloads = false;
  page = Search(h, search);
  CHECK(page.rows.size() == 3);
  CHECK_FALSE(page.rows[0].input.has_value());
}

PurgeResult Purge(Harness& h, PurgeRequest request) {
  request.hub = request.filter.hub = h.hub;
  const auto result = h.a().Wait<PurgeResult>(
      [&](auto done) { h.a().store().PurgeInstances(request, std::move(done)); });
  REQUIRE(result.ok());
  return *result;
}

// Calls until nothing is left; each call deletes no more than `batch`.
int64_t PurgeAll(Harness& h, PurgeRequest request, int batch) {
  request.max_instances = batch;
  int64_t deleted = 0;
  while (true) {
    const PurgeResult result = Purge(h, request);
    REQUIRE(result.deleted <= batch);
    deleted += result.deleted;
    if (!result.more) return deleted;
  }
}

TEST_CASE("store_purge_by_id_takes_ended_ones_only") {
  Harness h(AnyKind());
  End(h, "ended", RuntimeStatus::kFailed);
  h.a().Create(h.Instance("live"));
  PurgeRequest request;
  request.instance_ids = {"live", "missing", "ended", "ended"};
  CHECK(Purge(h, request).deleted == 1);
  CHECK(Purge(h, request).deleted == 0);
  CHECK_FALSE(h.a().Read(h.hub, "ended").has_value());
  CHECK(h.a().Read(h.hub, "live").has_value());
  // The id is free again.
  CHECK(h.a().Create(h.Instance("ended")).outcome == CreateOutcome::kCreated);
}

TEST_CASE("store_purge_by_filter_in_batches") {
  Harness h(AnyKind());
  for (int i = 0; i < 5; ++i) End(h, absl::StrCat("c", i), RuntimeStatus::kCompleted);
  End(h, "f", RuntimeStatus::kFailed);
  h.a().Create(h.Instance("live"));
  PurgeRequest request;
  request.filter.statuses =
      StatusBit(RuntimeStatus::kCompleted) | StatusBit(RuntimeStatus::kPending);
  request.filter.to = h.a().Read(h.hub, "c4")->created_at;
  CHECK(PurgeAll(h, request, 2) == 4);
  request.filter = {};
  request.filter.by_completion = true;
  CHECK(PurgeAll(h, request, 2) == 2);
  CHECK(Pages(h, {}, 10) == Ids{"live"});
}

// `id` of `parent`; ended unless `live`.
InstanceKey Child(Harness& h, const std::string& id, InstanceKey parent, bool live = false) {
  NewInstance instance = h.Instance(id);
  if (parent != 0) instance.parent = ParentLink{parent, 0, std::nullopt, "p"};
  const InstanceKey key = h.a().Create(instance).key;
  Checkpoint turn = TurnOf(h.a().ClaimOne(h.hub));  // a live one keeps its lease
  turn.ends = !live;
  turn.update = InstanceUpdate{};
  turn.update->status = live ? RuntimeStatus::kRunning : RuntimeStatus::kCompleted;
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  return key;
}

TEST_CASE("store_purge_recursive_stops_at_live_children") {
  Harness h(AnyKind());
  const int batch = GENERATE(1, 2, 3, 100);
  const InstanceKey root = Child(h, "root", 0);
  const InstanceKey a = Child(h, "a", root);
  Child(h, "a1", a);
  Child(h, "a2", a);
  const InstanceKey b = Child(h, "b", root, /*live=*/true);
  Child(h, "b1", b);
  Child(h, "other", 0);
  PurgeRequest request;
  request.instance_ids = {"root"};
  request.recursive = true;
  CHECK(PurgeAll(h, request, batch) == 4);
  CHECK(Pages(h, {}, 10) == Ids{"b", "b1", "other"});
}

TEST_CASE("store_purge_not_recursive_leaves_children") {
  Harness h(AnyKind());
  const InstanceKey root = Child(h, "root", 0);
  Child(h, "a", root);
  PurgeRequest request;
  request.instance_ids = {"root"};
  CHECK(PurgeAll(h, request, 1) == 1);
  CHECK(Pages(h, {}, 10) == Ids{"a"});
}

}  // namespace
}  // namespace dt::testing
