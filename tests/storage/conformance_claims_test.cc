// Store behaviour, the same for every implementation: what a claim takes, in which order, and what
// it leaves to others. (sql/RULES.md 3.8, 3.11; RULES.md 9)
#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "tests/storage/entity_harness.h"
#include "tests/storage/store_harness.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using Ids = std::vector<std::string>;

Ids IdsOf(const ClaimResult& result) {
  Ids ids;
  for (const Claim& claim : result.claims) ids.push_back(claim.instance_id);
  return ids;
}

NewInstance Named(Harness& h, const std::string& id, const std::string& name,
                  const Payload& version = std::nullopt) {
  NewInstance instance = h.Instance(id);
  instance.name = name;
  instance.version = version;
  return instance;
}

std::vector<int32_t> TaskIdsOf(const TaskClaimResult& result) {
  std::vector<int32_t> ids;
  for (const ActivityTask& task : result.tasks) ids.push_back(task.task_id);
  return ids;
}

TaskClaimResult ClaimTasksWith(Daemon& daemon, ClaimRequest request) {
  request.lease_token = daemon.NewToken();
  const absl::StatusOr<TaskClaimResult> result = daemon.Wait<TaskClaimResult>(
      [&](auto done) { daemon.store().ClaimTasks(std::move(request), std::move(done)); });
  REQUIRE(result.ok());
  return *result;
}

// One started instance with these tasks, all free.
Claim WithTasks(Harness& h, const std::string& id, std::vector<NewTask> tasks) {
  const Claim claim = Started(h, id);
  Checkpoint turn = TurnOf(claim);
  turn.tasks = std::move(tasks);
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  return After(turn, claim);
}

TEST_CASE("store_claim_takes_the_earliest_first_and_each_once") {
  Harness h(AnyKind());
  for (const char* id : {"c", "a", "b"}) h.a().Create(h.Instance(id));
  ClaimRequest two = h.Request();
  two.groups = {{2, std::nullopt}};
  const ClaimResult first = h.a().ClaimWith(two);
  REQUIRE(first.claims.size() == 2);
  CHECK(first.claims[0].instance_id == "c");
  CHECK(first.claims[1].instance_id == "a");
  const ClaimResult rest = h.b().ClaimWith(two);
  REQUIRE(rest.claims.size() == 1);
  CHECK(rest.claims[0].instance_id == "b");
  CHECK(LeaseTokenWorker(rest.claims[0].lease_token) == h.b().worker());
  CHECK_FALSE(rest.groups.at(0).next_due.has_value());
}

// So that what is queued cannot bring a claim, or a daemon, down by its size.
TEST_CASE("store_claim_bytes_of_turns") {
  Harness h(AnyKind());
  constexpr int64_t kInput = 100'000;
  for (const char* id : {"a", "b", "c", "d"}) {
    NewInstance instance = h.Instance(id);
    instance.started = Event(std::string(kInput, *id));
    h.a().Create(std::move(instance));
  }
  ClaimRequest request = h.Request();
  request.max_total_bytes = 5 * kInput / 2;
  const ClaimResult two = h.a().ClaimWith(request);
  CHECK(IdsOf(two) == Ids{"a", "b"});
  CHECK(two.groups.at(0).items == 2);
  CHECK(two.groups.at(0).cut);
  // One is taken whatever it has, and only one by all groups together.
  request.max_total_bytes = 1;
  const std::vector<NameFilter> none = {{"no such name", {}}};
  request.groups = {{10, none}, {10, std::nullopt}, {10, std::nullopt}};
  const ClaimResult one = h.b().ClaimWith(request);
  CHECK(IdsOf(one) == Ids{"c"});
  CHECK_FALSE(one.groups.at(0).cut);
  CHECK(one.groups.at(1).cut);
  CHECK(one.groups.at(2).cut);
  CHECK(one.groups.at(2).items == 0);
  request.groups.clear();
  const ClaimResult last = h.b().ClaimWith(request);
  CHECK(IdsOf(last) == Ids{"d"});
  CHECK_FALSE(last.groups.at(0).cut);
  // The history counts like the inbox.
  for (const Claim& claim : two.claims) {
    Checkpoint turn = TurnOf(claim);
    turn.history->events = Bytes(std::string(kInput, 'h'));
    turn.release = true;
    turn.own_messages = {Event("go")};
    REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  }
  request.max_total_bytes = 3 * kInput / 2;
  CHECK(h.b().ClaimWith(request).claims.size() == 1);
  CHECK(h.b().ClaimWith(request).claims.size() == 1);
}

TEST_CASE("store_claim_bytes_of_tasks") {
  Harness h(AnyKind());
  constexpr int64_t kInput = 100'000;
  std::vector<NewTask> tasks(4);
  for (int i = 0; i < 4; ++i) {
    NewTask& task = tasks[static_cast<size_t>(i)];
    task.task_id = i + 1;
    task.name = "Large";
    task.request = Bytes(std::string(kInput, 'x'));  // stored once, and read four times
  }
  WithTasks(h, "one", std::move(tasks));
  ClaimRequest request = h.Request();
  request.groups = {{10, std::nullopt}};
  request.max_total_bytes = 5 * kInput / 2;
  const TaskClaimResult two = ClaimTasksWith(h.a(), request);
  CHECK(TaskIdsOf(two) == std::vector<int32_t>{1, 2});
  CHECK(two.groups.at(0).items == 2);
  CHECK(two.groups.at(0).cut);
  request.max_total_bytes = 1;
  const TaskClaimResult one = ClaimTasksWith(h.b(), request);
  CHECK(TaskIdsOf(one) == std::vector<int32_t>{3});
  CHECK(one.groups.at(0).cut);
  const TaskClaimResult last = ClaimTasksWith(h.b(), request);
  CHECK(TaskIdsOf(last) == std::vector<int32_t>{4});
  CHECK_FALSE(last.groups.at(0).cut);
}

TEST_CASE("store_claim_repeated_returns_what_its_token_holds") {
  Harness h(AnyKind());
  h.a().Create(h.Instance("one"));
  ClaimRequest request = h.Request();
  request.lease_token = h.a().NewToken();
  REQUIRE(h.a().ClaimWith(request).claims.size() == 1);
  h.a().Create(h.Instance("two"));
  request.repeat = true;
  const ClaimResult again = h.a().ClaimWith(request);
  REQUIRE(again.claims.size() == 1);
  CHECK(again.claims[0].instance_id == "one");
  CHECK(TextsOf(again.claims[0].messages) == std::vector<std::string>{"start"});
  request.lease_token = h.a().NewToken();
  CHECK(h.a().ClaimWith(request).claims.empty());
}

TEST_CASE("store_claim_caps_the_messages") {
  Harness h(AnyKind());
  h.a().Create(h.Instance("one"));
  for (int i = 0; i < 4; ++i) h.a().Send(h.hub, "one", Event(absl::StrCat("m", i)));
  ClaimRequest request = h.Request();
  request.max_messages = 2;
  const ClaimResult capped = h.a().ClaimWith(request);
  REQUIRE(capped.claims.size() == 1);
  CHECK(TextsOf(capped.claims[0].messages) == std::vector<std::string>{"start", "m0"});
  CHECK(capped.claims[0].more_messages);
  CHECK(h.a().Release(capped.claims[0]) == LeaseOutcome::kReleased);
  request.max_messages = 1000;
  request.max_message_bytes = 1;
  const ClaimResult one = h.a().ClaimWith(request);
  REQUIRE(one.claims.size() == 1);
  CHECK(TextsOf(one.claims[0].messages) == std::vector<std::string>{"start"});
  const auto inbox = h.a().Wait<InboxRead>([&](auto done) {
    h.a().store().ReadInbox(h.hub, "one", one.claims[0].key, one.claims[0].lease_token,
                            std::move(done));
  });
  REQUIRE(inbox.ok());
  CHECK(TextsOf(inbox->messages) == std::vector<std::string>{"start", "m0", "m1", "m2", "m3"});
  CHECK_FALSE(inbox->more_messages);
}

TEST_CASE("store_claim_filters_by_name_and_version") {
  Harness h(AnyKind());
  for (const NewInstance& instance :
       {Named(h, "plain", "Pay"), Named(h, "empty", "PAY", ""), Named(h, "two", "pay", "2"),
        Named(h, "other", "ship"), Named(h, "umlaut", "\u00c4pfel")}) {
    h.a().Create(instance);
  }
  const auto claim = [&](std::vector<NameFilter> filters) {
    ClaimRequest request = h.Request();
    request.groups = {{10, std::move(filters)}};
    return IdsOf(h.a().ClaimWith(request));
  };
  CHECK(claim({{"nothing", {}}}).empty());
  CHECK(claim({}).empty());
  CHECK(claim({{"Pay", {}}}).empty());  // the name of a filter is in lower case
  CHECK(claim({{"pay", {""}}}) == Ids{"plain", "empty"});
  CHECK(claim({{"pay", {"1", "2"}}, {"x", {}}}) == Ids{"two"});
  CHECK(claim({{"ship", {}}}) == Ids{"other"});
  // Only ASCII letters have a case here, whatever the locale of the database.
  CHECK(claim({{"\u00e4pfel", {}}}).empty());
  CHECK(claim({{"\u00c4pfel", {}}}) == Ids{"umlaut"});
}

TEST_CASE("store_claim_of_any_version_takes_the_earliest_of_all") {
  Harness h(AnyKind());
  Ids all;
  for (int i = 0; i < 6; ++i) {
    all.push_back(absl::StrCat("i", i));
    h.a().Create(Named(h, all.back(), "Pay", absl::StrCat("v", 9 - i % 3)));
    h.a().Create(Named(h, absl::StrCat("ship ", i), "Ship"));
  }
  ClaimRequest request = h.Request();
  request.groups = {{4, std::vector<NameFilter>{{"pay", {}}}}};
  CHECK(IdsOf(h.a().ClaimWith(request)) == Ids(all.begin(), all.begin() + 4));
  CHECK(IdsOf(h.b().ClaimWith(request)) == Ids(all.begin() + 4, all.end()));
}

TEST_CASE("store_claim_serves_each_group_up_to_its_own_maximum") {
  Harness h(AnyKind());
  for (int i = 0; i < 3; ++i) h.a().Create(Named(h, absl::StrCat("pay ", i), "Pay"));
  for (int i = 0; i < 3; ++i) h.a().Create(Named(h, absl::StrCat("ship ", i), "Ship"));
  NewInstance later = Named(h, "later", "Ship");
  later.scheduled_start = h.a().store().Now() + absl::Hours(1);
  h.a().Create(later);
  ClaimRequest request = h.Request();
  request.groups = {{5, std::vector<NameFilter>{{"ship", {}}}},
                    {2, std::vector<NameFilter>{{"none", {}}}},
                    {1, std::nullopt}};
  ClaimResult result = h.a().ClaimWith(request);
  CHECK(IdsOf(result) == Ids{"ship 0", "ship 1", "ship 2", "pay 0"});
  REQUIRE(result.groups.size() == 3);
  CHECK(result.groups[0].items == 3);
  CHECK(result.groups[1].items == 0);
  CHECK_FALSE(result.groups[1].next_due.has_value());
  CHECK(result.groups[2].items == 1);
  // Nothing is due for the first group any more; what is due later for it is known.
  request.groups.pop_back();
  result = h.a().ClaimWith(request);
  CHECK(result.claims.empty());
  REQUIRE(result.groups.size() == 2);
  REQUIRE(result.groups[0].next_due.has_value());
  CHECK(*result.groups[0].next_due >= *later.scheduled_start);
  CHECK_FALSE(result.groups[1].next_due.has_value());
}

TEST_CASE("store_claim_leaves_what_is_excluded_to_others") {
  Harness h(AnyKind());
  const InstanceKey first = h.a().Create(Named(h, "first", "Pay")).key;
  h.a().Create(Named(h, "second", "Pay"));
  ClaimRequest request = h.Request();
  for (const bool named : {true, false}) {
    INFO(named);
    request.groups = {
        {10, named ? NameFilters(std::vector<NameFilter>{{"pay", {}}}) : std::nullopt, {first}}};
    const ClaimResult result = h.a().ClaimWith(request);
    CHECK(IdsOf(result) == Ids{"second"});
    REQUIRE(h.a().Release(result.claims.at(0)) == LeaseOutcome::kReleased);
  }
  CHECK(IdsOf(h.b().ClaimAll(h.hub)) == Ids{"first", "second"});
}

TEST_CASE("store_claim_follows_the_version_of_the_next_generation") {
  Harness h(AnyKind());
  h.a().Create(Named(h, "one", "Move", "v1"));
  const auto claim = [&](const std::string& version) {
    ClaimRequest request = h.Request();
    request.groups = {{10, std::vector<NameFilter>{{"move", {version}}}}};
    return h.a().ClaimWith(request);
  };
  CHECK(claim("v2").claims.empty());
  ClaimResult found = claim("v1");
  REQUIRE(found.claims.size() == 1);
  const auto go_on = [&](const Payload& version) {
    Checkpoint turn = TurnOf(found.claims.at(0));
    NextGeneration next;
    next.execution_id = "0123456789abcdef0123456789abcdef";
    next.version = version;
    turn.next_generation = next;
    turn.history.reset();
    turn.own_messages = {Event("started", 3)};
    turn.own_messages[0].generation = turn.generation + 1;
    turn.release = true;
    REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  };
  go_on("v2");
  CHECK(claim("v1").claims.empty());
  found = claim("v2");
  REQUIRE(found.claims.size() == 1);
  CHECK(found.claims.at(0).version == "v2");
  go_on(std::nullopt);
  CHECK(claim("v2").claims.empty());
  CHECK(claim("").claims.size() == 1);
}

TEST_CASE("store_claim_of_tasks_filters_groups_and_excludes") {
  Harness h(AnyKind());
  WithTasks(h, "one",
            {{1, "Pay", std::nullopt, Bytes("a"), 0},
             {2, "PAY", "", Bytes("b"), 0},
             {3, "pay", "2", Bytes("c"), 0},
             {4, "Ship", "2", Bytes("d"), 0},
             {5, "Ship", "1", Bytes("e"), 0}});
  ClaimRequest request = h.Request();
  request.groups = {{10, std::vector<NameFilter>{{"pay", {"", "1"}}}},
                    {10, std::vector<NameFilter>{{"none", {}}}}};
  TaskClaimResult result = ClaimTasksWith(h.a(), request);
  CHECK(TaskIdsOf(result) == std::vector<int32_t>{1, 2});
  REQUIRE(result.groups.size() == 2);
  CHECK(result.groups[0].items == 2);
  CHECK(result.groups[1].items == 0);
  request.groups = {{1, std::vector<NameFilter>{{"pay", {}}, {"ship", {}}}}, {1, std::nullopt}};
  const TaskClaimResult third = ClaimTasksWith(h.a(), request);
  CHECK(TaskIdsOf(third) == std::vector<int32_t>{3, 4});
  TaskRelease release;
  release.key = third.tasks.at(1).key;
  release.instance_key = third.tasks.at(1).instance_key;
  release.lease_token = third.tasks.at(1).lease_token;
  release.hub = h.hub;
  release.instance_id = "one";
  REQUIRE(h.a()
              .Wait<LeaseOutcome>(
                  [&](auto done) { h.a().store().ReleaseTask(release, std::move(done)); })
              .ok());
  request.groups = {{10, std::vector<NameFilter>{{"ship", {}}}, {release.key}}};
  CHECK(TaskIdsOf(ClaimTasksWith(h.a(), request)) == std::vector<int32_t>{5});
  request.groups = {{10, std::nullopt, {release.key}}};
  CHECK(TaskIdsOf(ClaimTasksWith(h.a(), request)).empty());
  request.groups = {{10, std::nullopt}};
  CHECK(TaskIdsOf(ClaimTasksWith(h.b(), request)) == std::vector<int32_t>{4});
}

TEST_CASE("store_fan_out_stands_before_nobody_for_long") {
  Harness h(AnyKind());
  constexpr int kFanOut = 3000;
  std::vector<NewTask> many;
  for (int i = 1; i <= kFanOut; ++i) many.push_back({i, "Act", std::nullopt, Bytes("a"), 0});
  WithTasks(h, "large", many);
  WithTasks(h, "small", {{kFanOut + 1, "Act", std::nullopt, Bytes("b"), 0}});
  // The places of the large one lie half a minute apart from first to last.
  const std::vector<int32_t> first = TaskIdsOf(h.b().ClaimTasks(h.hub, kFanOut - 500));
  CHECK(first.size() == kFanOut - 500);
  CHECK(std::count(first.begin(), first.end(), kFanOut + 1) == 1);
  CHECK(first.front() == 1);
  // A place in the future holds nothing up.
  CHECK(TaskIdsOf(h.b().ClaimTasks(h.hub, kFanOut)).size() == 501);
}

TEST_CASE("store_longest_names_and_versions_are_stored_and_claimed") {
  Harness h(AnyKind());
  // As long as the settings allow, and nothing that could be compressed to fit into an index.
  auto letters = [random = std::minstd_rand(1)](size_t count) mutable {
    std::string text(count, ' ');
    for (char& letter : text) letter = static_cast<char>('a' + random() % 26);
    return text;
  };
  const std::string name = letters(2048);
  const std::string version = letters(512);
  h.a().Create(Named(h, "one", name, version));
  ClaimRequest request = h.Request();
  request.groups = {{10, std::vector<NameFilter>{{name, {version}}}}};
  const ClaimResult found = h.a().ClaimWith(request);
  REQUIRE(IdsOf(found) == Ids{"one"});
  Checkpoint turn = TurnOf(found.claims.at(0));
  turn.tasks = {{1, name, version, Bytes("a"), 0}};
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  CHECK(TaskIdsOf(ClaimTasksWith(h.a(), request)) == std::vector<int32_t>{1});
}

TEST_CASE("store_tasks_name_the_execution_of_their_generation") {
  Harness h(AnyKind());
  const Claim claim = Started(h, "one");
  const std::string first_execution = claim.execution_id;
  Checkpoint turn = TurnOf(claim);
  turn.tasks = {{1, "Act", std::nullopt, Bytes("1"), 0, first_execution},
                {2, "Act", std::nullopt, Bytes("2"), 0, first_execution}};
  REQUIRE(h.a().Commit(turn).outcome == CheckpointOutcome::kCommitted);
  const TaskClaimResult leased = h.b().ClaimTasks(h.hub, 1);
  REQUIRE(leased.tasks.size() == 1);
  CHECK(leased.tasks[0].execution_id == first_execution);

  // The free one goes with its generation; the leased one, and one that comes last, are run.
  Checkpoint next = TurnOf(After(turn, claim));
  next.next_generation = NextGeneration{"fedcba98765432100123456789abcdef", {}, {}, {}};
  NewMessage started = Event("start again", 3);
  started.generation = 1;
  next.own_messages = {started};
  next.tasks = {{3, "Act", std::nullopt, Bytes("3"), 0, first_execution}};
  next.release = true;
  REQUIRE(h.a().Commit(next).outcome == CheckpointOutcome::kCommitted);
  const Claim second = h.a().ClaimOne(h.hub);
  Checkpoint later = TurnOf(second);
  later.tasks = {{4, "Act", std::nullopt, Bytes("4"), 0, second.execution_id}};
  REQUIRE(h.a().Commit(later).outcome == CheckpointOutcome::kCommitted);
  const auto released = h.b().Wait<LeaseOutcome>([&](auto done) {
    TaskRelease release;
    release.key = leased.tasks[0].key;
    release.instance_key = claim.key;
    release.lease_token = leased.tasks[0].lease_token;
    release.hub = h.hub;
    release.instance_id = "one";
    h.b().store().ReleaseTask(release, std::move(done));
  });
  REQUIRE(released.ok());
  CHECK(*released == LeaseOutcome::kReleased);

  std::map<int32_t, std::string> executions;
  for (const ActivityTask& task : h.a().ClaimTasks(h.hub, 10).tasks) {
    executions[task.task_id] = task.execution_id;
  }
  CHECK(executions == std::map<int32_t, std::string>{{1, first_execution},
                                                     {3, first_execution},
                                                     {4, "fedcba98765432100123456789abcdef"}});
}

// "name/version count oldest; " of each, with the name in lower case: any of its spellings is
// right.
std::string WaitingText(const std::vector<WaitingWork>& list) {
  std::string text;
  for (const WaitingWork& work : list) {
    absl::StrAppend(&text, absl::AsciiStrToLower(work.name), "/", work.version, " ", work.count,
                    " ", work.instance_id, "; ");
  }
  return text;
}

TEST_CASE("store_finds_the_work_that_no_filter_accepts") {
  Harness h(AnyKind());
  h.a().Create(Named(h, "one", "Ship", "1"));
  h.a().Create(Named(h, "two", "Ship", "2"));
  h.a().Create(Named(h, "again", "SHIP", "2"));
  h.a().Create(Named(h, "plain", "Pack"));
  h.a().Create(Named(h, "empty", "Pack", ""));
  h.a().Create(Named(h, "held", "Held"));
  ClaimRequest only = h.Request();
  only.groups = {{1, std::vector<NameFilter>{{"held", {}}}}};
  REQUIRE(IdsOf(h.a().ClaimWith(only)) == Ids{"held"});
  NewInstance later = Named(h, "later", "Later");
  later.scheduled_start = h.a().store().Now() + absl::Hours(1);
  h.a().Create(later);

  const auto find = [&h](UnacceptedSearch search) {
    search.hub = h.hub;
    const absl::StatusOr<UnacceptedWork> found = h.a().Wait<UnacceptedWork>(
        [&](auto done) { h.a().store().FindUnacceptedWork(search, std::move(done)); });
    REQUIRE(found.ok());
    return *found;
  };
  UnacceptedSearch search;
  CHECK(WaitingText(find(search).turns).empty());  // everything is accepted
  search.turns.emplace();                          // nothing is
  CHECK(WaitingText(find(search).turns) == "pack/ 2 plain; ship/1 1 one; ship/2 2 two; ");
  CHECK(find(search).tasks.empty());
  CHECK(find(search).turns.front().since <= h.a().store().Now());
  search.turns = {{"pack", {"1"}}, {"ship", {"1", "3"}}};
  CHECK(WaitingText(find(search).turns) == "pack/ 2 plain; ship/2 2 two; ");
  search.turns = {{"pack", {""}}, {"ship", {}}};
  CHECK(WaitingText(find(search).turns).empty());
  search.turns.emplace();
  search.groups_max = 2;
  search.count_max = 1;
  CHECK(WaitingText(find(search).turns) == "pack/ 1 plain; ship/1 1 one; ");
  search.age_min = absl::Hours(1);
  CHECK(WaitingText(find(search).turns).empty());
}

TEST_CASE("store_finds_the_entities_that_no_filter_accepts") {
  Harness h(AnyKind());
  h.a().Create(Named(h, "one", "Counter"));
  Signal(h, "@counter@a", "one");
  Signal(h, "@counter@b", "two");
  Signal(h, "@lamp@1", "three");
  Signal(h, "@timer@1", "later", h.a().store().Now() + absl::Hours(1));
  UnacceptedSearch search;
  search.hub = h.hub;
  const auto find = [&](NameFilters accepted) {
    search.entities = std::move(accepted);
    const absl::StatusOr<UnacceptedWork> found = h.a().Wait<UnacceptedWork>(
        [&](auto done) { h.a().store().FindUnacceptedWork(search, std::move(done)); });
    REQUIRE(found.ok());
    CHECK(found->turns.empty());
    CHECK(found->tasks.empty());
    return WaitingText(found->entities);
  };
  CHECK(find(std::nullopt).empty());  // everything is accepted
  CHECK(find(std::vector<NameFilter>{}) == "counter/ 2 @counter@a; lamp/ 1 @lamp@1; ");
  CHECK(find(std::vector<NameFilter>{{"lamp", {}}}) == "counter/ 2 @counter@a; ");
  CHECK(find(std::vector<NameFilter>{{"lamp", {}}, {"counter", {}}}).empty());
  search.groups_max = 1;
  search.count_max = 1;
  CHECK(find(std::vector<NameFilter>{}) == "counter/ 1 @counter@a; ");
  // What a daemon has is not waiting.
  ClaimEntities(h.a(), h.hub);
  CHECK(find(std::vector<NameFilter>{}).empty());
}

TEST_CASE("store_finds_the_activities_that_no_filter_accepts") {
  Harness h(AnyKind());
  const auto task = [](int32_t id, const std::string& name, const Payload& version) {
    return NewTask{.task_id = id, .name = name, .version = version, .request = Bytes("request")};
  };
  const Claim claim = WithTasks(h, "i",
                                {task(1, "Pay", "1"), task(2, "Pay", std::nullopt),
                                 task(3, "PAY", ""), task(4, "Mail", std::nullopt)});
  UnacceptedSearch search;
  search.hub = h.hub;
  const auto find = [&](NameFilters accepted) {
    search.tasks = std::move(accepted);
    const absl::StatusOr<UnacceptedWork> found = h.a().Wait<UnacceptedWork>(
        [&](auto done) { h.a().store().FindUnacceptedWork(search, std::move(done)); });
    REQUIRE(found.ok());
    CHECK(found->turns.empty());
    return WaitingText(found->tasks);
  };
  CHECK(find(std::vector<NameFilter>{}) == "mail/ 1 i; pay/ 2 i; pay/1 1 i; ");
  CHECK(find(std::vector<NameFilter>{{"pay", {""}}}) == "mail/ 1 i; pay/1 1 i; ");
  CHECK(find(std::vector<NameFilter>{{"pay", {}}, {"mail", {"1"}}}) == "mail/ 1 i; ");
  CHECK(find(std::nullopt).empty());
  h.a().ClaimTasks(h.hub, 10);
  CHECK(find(std::vector<NameFilter>{}).empty());
}

}  // namespace
}  // namespace dt::testing
