#include "tests/dispatch/entity_fixture.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace dt::testing {
namespace {

int64_t NumberOf(const std::string& text) {
  int64_t number = 0;
  return absl::SimpleAtoi(text, &number) ? number : 0;
}

void LockAdd(const Replay& replay, Actions& actions) {
  const std::vector<std::string> ids = absl::StrSplit(replay.input(), ',');
  if (!actions.Lock(10, ids)) return;
  std::vector<std::string> results;
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto result = actions.Call(20 + static_cast<int32_t>(i), ids[i], "add", "1");
    if (result.has_value()) results.push_back(*result);
  }
  if (results.size() < ids.size() || replay.Events("go").empty()) return;
  for (size_t i = 0; i < ids.size(); ++i) {
    actions.Unlock(30 + static_cast<int32_t>(i), 10, ids[i]);
  }
  actions.Complete(absl::StrJoin(results, ","));
}

}  // namespace

Functions EntityFunctions(const FakeClock& clock) {
  Functions functions = SomeFunctions(clock);
  functions.entities["counter"] = [](Operation& operation) {
    operation.state() = absl::StrCat(NumberOf(operation.state()) + NumberOf(operation.input()));
    return operation.state();
  };
  functions.entities["list"] = [](Operation& operation) {
    return operation.state() += operation.input();
  };
  functions.orchestrators["CallAdd"] = [](const Replay& replay, Actions& actions) {
    const auto result = actions.Call(1, replay.input(), "add", "1");
    if (result.has_value()) actions.Complete(*result);
  };
  functions.orchestrators["LockAdd"] = LockAdd;
  return functions;
}

std::string StateOf(OneDaemon& one, const std::string& entity) {
  const auto info = one.database.ReadEntity(one.hub, entity, /*state=*/true);
  return info.has_value() ? info->state.value_or("") : "";
}

std::string LockedBy(OneDaemon& one, const std::string& entity) {
  EntitySearch search;
  search.hub = one.hub;
  search.transient = true;
  search.id_prefix = entity;
  const EntityPage page = one.database.SearchEntities(search);
  return page.rows.empty() ? "" : page.rows.front().locked_by.value_or("");
}

}  // namespace dt::testing
