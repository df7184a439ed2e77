#include "tests/simulation/bank.h"

#include <map>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace dt::testing {
namespace {

constexpr int kAccounts = 4;
constexpr int kRelays = 3;
constexpr int64_t kDeposit = 100;
constexpr int kAdds = 8;
constexpr int kHops = 5;
constexpr int kActionsPerAdd = 10;  // ids

// The state of an entity: numbers by name.
using Numbers = std::map<std::string, int64_t>;

int64_t NumberOf(const std::string& text) {
  int64_t number = 0;
  return absl::SimpleAtoi(text, &number) ? number : -1;
}

Numbers Read(const std::string& state) {
  Numbers numbers;
  for (const auto& line : absl::StrSplit(state, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> parts = absl::StrSplit(line, '=');
    numbers[parts[0]] = NumberOf(parts[1]);
  }
  return numbers;
}

std::string Write(const Numbers& numbers) {
  return absl::StrJoin(numbers, "\n", absl::PairFormatter("="));
}

std::string AccountId(int number) { return absl::StrCat("@account@", number % kAccounts); }
std::string RelayId(int number) { return absl::StrCat("@relay@", number % kRelays); }
constexpr char kGhost[] = "@ghost@g";

// Of the state: the last number of a sender's signals, a delayed signal that came, a hop of a
// chain.
constexpr char kLast[] = "last/";
constexpr char kLater[] = "later/";
constexpr char kPass[] = "pass/";
std::string PassName(const std::string& chain, int64_t hops) {
  return absl::StrCat(kPass, chain, "/", hops);
}

// --- Entities

std::string Account(const FakeClock& clock, Operation& operation) {
  Numbers numbers = Read(operation.state());
  const std::vector<std::string> input = absl::StrSplit(operation.input(), ':');
  std::string output;
  if (operation.name() == "open") {
    if (numbers["open"]++ == 0) numbers["balance"] += kDeposit;
  } else if (operation.name() == "get") {
    output = absl::StrCat(numbers["balance"]);
  } else if (operation.name() == "set") {
    numbers["balance"] = NumberOf(operation.input());
  } else if (operation.name() == "add") {
    int64_t& last = numbers[kLast + input[0]];
    if (NumberOf(input[1]) != ++last) ++numbers["wrong order"];
    ++numbers["balance"];
  } else if (operation.name() == "later") {
    if (absl::FromUnixMicros(NumberOf(input[2])) > clock.Now()) ++numbers["too early"];
    ++numbers[absl::StrCat(kLater, input[0], "/", input[1])];
    ++numbers["balance"];
  } else if (operation.name() == "refuse") {
    operation.Fail("Refused");
  }
  operation.state() = Write(numbers);
  return output;
}

std::string Relay(const FakeClock& clock, Operation& operation) {
  Numbers numbers = Read(operation.state());
  if (operation.name() == "note") {
    ++numbers["notes"];
  } else if (operation.name() == "pass") {
    const std::vector<std::string> input = absl::StrSplit(operation.input(), ':');
    const int64_t hops = NumberOf(input[1]);
    ++numbers["passes"];
    ++numbers[PassName(input[0], hops)];
    operation.Signal(operation.entity_id(), "note", "");
    if (hops == 0) {
      operation.Start("mark-" + input[0], "Mark", "");
    } else {
      std::optional<absl::Time> at;
      if (hops % 2 == 0) at = clock.Now() + absl::Milliseconds(200);
      const auto own = static_cast<int>(NumberOf(operation.entity_id().substr(sizeof("@relay"))));
      operation.Signal(RelayId(own + 1), "pass", absl::StrCat(input[0], ":", hops - 1), at);
    }
  }
  operation.state() = Write(numbers);
  return "";
}

// --- Orchestrators

const std::string& ExecutionOf(const Replay& replay) {
  return replay.started().orchestrationinstance().executionid().value();
}

void Transfer(const Replay& replay, Actions& actions) {
  const std::vector<std::string> ids = absl::StrSplit(replay.input(), ',');
  actions.Signal(1, ids[0], "open", "");
  actions.Signal(2, ids[1], "open", "");
  if (!actions.Lock(10, ids)) return;
  const auto from = actions.Call(20, ids[0], "get", "");
  const auto to = actions.Call(21, ids[1], "get", "");
  if (!from.has_value() || !to.has_value()) return;
  if (ids.size() > 2 && !actions.Task(22, "Echo", "x").has_value()) return;
  const auto taken = actions.Call(23, ids[0], "set", absl::StrCat(NumberOf(*from) - 7));
  const auto given = actions.Call(24, ids[1], "set", absl::StrCat(NumberOf(*to) + 7));
  if (!taken.has_value() || !given.has_value()) return;
  for (size_t i = 0; i < ids.size(); ++i) {
    actions.Unlock(30 + static_cast<int32_t>(i), 10, ids[i]);
  }
  actions.Complete("moved");
}

void Adder(const FakeClock& clock, const Replay& replay, Actions& actions) {
  const std::string& account = replay.input();
  for (int number = 1; number <= kAdds; ++number) {
    const int32_t id = kActionsPerAdd * number;
    const std::string input = absl::StrCat(ExecutionOf(replay), ":", number);
    actions.Signal(id, account, "add", input);
    if (number % 4 == 0) {
      const absl::Time due = clock.Now() + absl::Milliseconds(300);
      actions.Signal(id + 1, account, "later", absl::StrCat(input, ":", absl::ToUnixMicros(due)),
                     due);
    }
    if (number % 2 == 0 && !actions.Task(id + 2, "Echo", "x").has_value()) return;
  }
  actions.Complete("added");
}

void Holder(const Replay& replay, Actions& actions) {
  const std::vector<std::string> ids = absl::StrSplit(replay.input(), ',');
  if (actions.Lock(10, ids)) actions.Call(20, ids[0], "get", "");
}

// In every second generation it does not even wait for the lock.
void Looper(const Replay& replay, Actions& actions) {
  const std::vector<std::string> parts = absl::StrSplit(replay.input(), ',');
  const std::vector<std::string> ids(parts.begin() + 1, parts.end());
  const int64_t left = NumberOf(parts[0]);
  const bool granted = actions.Lock(10, ids);
  if (left % 2 == 0) {
    if (!granted || !actions.Call(20, ids[0], "get", "").has_value()) return;
  } else if (!actions.Task(20, "Echo", "x").has_value()) {
    return;
  }
  if (left == 0) {
    actions.Complete("looped");
  } else {
    actions.ContinueAsNew(absl::StrCat(left - 1, ",", absl::StrJoin(ids, ",")));
  }
}

void Caller(const Replay& replay, Actions& actions) {
  for (int32_t id = 1; id <= 3; ++id) {
    const auto answer = actions.Call(id, replay.input(), id == 2 ? "refuse" : "get", "");
    if (!answer.has_value()) return;
    if ((id == 2) != (*answer == "!Refused")) return actions.Complete(*answer);
  }
  actions.Complete("called");
}

void Pass(const Replay& replay, Actions& actions) {
  actions.Signal(1, replay.input(), "pass", absl::StrCat(ExecutionOf(replay), ":", kHops));
  actions.Complete("passed");
}

// --- The end

std::string CheckAccounts(const Numbers& all, const std::vector<std::string>& adders) {
  int64_t expected = 0;
  for (const auto& [name, number] : all) {
    if (absl::StartsWith(name, kLast)) expected += number;
    if (!absl::StartsWith(name, kLater)) continue;
    expected += number;
    if (number != 1) return absl::StrCat(name, " came ", number, " times");
  }
  for (const char* wrong : {"wrong order", "too early"}) {
    if (all.contains(wrong)) return absl::StrCat(all.at(wrong), " signals: ", wrong);
  }
  for (const std::string& adder : adders) {
    const auto last = all.find(kLast + adder);
    if (last == all.end() || last->second != kAdds) {
      return absl::StrCat("not all signals of ", adder, " came");
    }
    for (int number = 4; number <= kAdds; number += 4) {
      const std::string name = absl::StrCat(kLater, adder, "/", number);
      if (!all.contains(name)) return absl::StrCat(name, " did not come");
    }
  }
  expected += kAccounts * kDeposit;
  const int64_t sum = all.contains("balance") ? all.at("balance") : 0;
  return sum == expected ? "" : absl::StrCat("the accounts have ", sum, ", not ", expected);
}

std::string CheckRelays(const Numbers& all, MemoryDatabase& database, HubId hub,
                        const std::vector<std::string>& passes) {
  for (const auto& [name, number] : all) {
    if (absl::StartsWith(name, kPass) && number != 1) {
      return absl::StrCat(name, " came ", number, " times");
    }
  }
  for (const std::string& chain : passes) {
    for (int hops = 0; hops <= kHops; ++hops) {
      if (!all.contains(PassName(chain, hops))) {
        return absl::StrCat(PassName(chain, hops), " did not come");
      }
    }
    const auto mark = database.ReadInstance(hub, "mark-" + chain, /*payloads=*/false);
    if (!mark.has_value() || mark->status != RuntimeStatus::kCompleted) {
      return absl::StrCat("mark-", chain, " was not started, or has not ended");
    }
  }
  if (passes.empty() || all.at("passes") == all.at("notes")) return "";
  return absl::StrCat(all.at("passes"), " passes, but ", all.at("notes"), " notes");
}

}  // namespace

void AddBank(const FakeClock& clock, Functions& functions) {
  functions.entities["account"] = [&clock](Operation& operation) {
    return Account(clock, operation);
  };
  functions.entities["relay"] = [&clock](Operation& operation) { return Relay(clock, operation); };
  functions.entities["ghost"] = [](Operation&) { return ""; };
  functions.orchestrators["Transfer"] = Transfer;
  functions.orchestrators["Adder"] = [&clock](const Replay& replay, Actions& actions) {
    Adder(clock, replay, actions);
  };
  functions.orchestrators["Holder"] = Holder;
  functions.orchestrators["Looper"] = Looper;
  functions.orchestrators["Caller"] = Caller;
  functions.orchestrators["Pass"] = Pass;
  functions.orchestrators["Mark"] = [](const Replay&, Actions& actions) { actions.Complete(""); };
}

BankJob BankJobOf(int number) {
  const std::string account = AccountId(number);
  const std::string next = AccountId(number + 1 + number / kAccounts % (kAccounts - 1));
  switch (number % 7) {
    case 0:
      return {"Transfer", absl::StrCat(account, ",", next), "moved"};
    case 1:
      return {"Adder", account, "added"};
    case 2:
      return {"Holder", absl::StrCat(next, ",", account, ",", kGhost), ""};
    case 3:
      return {"Transfer", absl::StrCat(account, ",", next, ",", kGhost), "moved"};
    case 4:
      return {"Looper", absl::StrCat(3 + number % 2, ",", account, ",", next), "looped"};
    case 5:
      return {"Caller", account, "called"};
    default:
      return {"Pass", RelayId(number), "passed"};
  }
}

BankSignal BankSignalOf(size_t number) {
  if (number % 5 == 0) return {kGhost, "haunt"};
  return {AccountId(static_cast<int>(number)), "poke"};
}

std::string CheckBank(MemoryDatabase& database, HubId hub, const std::vector<std::string>& adders,
                      const std::vector<std::string>& passes, size_t* entities) {
  EntitySearch search;
  search.hub = hub;
  search.states = search.transient = true;
  const EntityPage page = database.SearchEntities(search);
  *entities = page.rows.size();
  Numbers accounts;
  Numbers relays;
  for (const EntityInfo& entity : page.rows) {
    if (entity.locked_by.has_value()) {
      return absl::StrCat(entity.instance_id, " is locked by ", *entity.locked_by);
    }
    if (entity.backlog != 0 || !entity.state.has_value()) {
      return absl::StrCat(entity.instance_id, " has ", entity.backlog, " messages, and ",
                          entity.state.has_value() ? "a" : "no", " state");
    }
    const bool is_account = absl::StartsWith(entity.instance_id, "@account@");
    Numbers& all = is_account ? accounts : relays;
    for (const auto& [name, number] : Read(*entity.state)) all[name] += number;
  }
  const std::string wrong = CheckAccounts(accounts, adders);
  return wrong.empty() ? CheckRelays(relays, database, hub, passes) : wrong;
}

}  // namespace dt::testing
