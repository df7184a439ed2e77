#include "tests/dispatch/fixture.h"

#include "absl/strings/str_cat.h"

namespace dt::testing {
namespace {

void Chain(const Replay& replay, Actions& actions) {
  const int count = std::stoi(replay.input());
  std::string output;
  for (int id = 1; id <= count; ++id) {
    const auto result = actions.Task(id, "Echo", absl::StrCat(id));
    if (!result.has_value()) return;
    absl::StrAppend(&output, output.empty() ? "" : ",", *result);
  }
  actions.Complete(output);
}

void FanOut(const Replay& replay, Actions& actions) {
  const int count = std::stoi(replay.input());
  int results = 0;
  for (int id = 1; id <= count; ++id) {
    const auto result = actions.Task(id, "Echo", absl::StrCat(id));
    if (result.has_value() && *result == absl::StrCat(id)) ++results;
  }
  if (results == count) actions.Complete(absl::StrCat(results));
}

void Parent(const Replay& replay, Actions& actions) {
  const int count = std::stoi(replay.input());
  const std::string own = replay.started().orchestrationinstance().instanceid();
  std::string output;
  bool complete = true;
  for (int id = 1; id <= count; ++id) {
    const auto result = actions.Child(id, absl::StrCat(own, ":", id), "Chain", "2");
    complete = complete && result.has_value();
    absl::StrAppend(&output, output.empty() ? "" : ";", result.value_or(""));
  }
  if (complete) actions.Complete(output);
}

void Listen(const Replay& replay, Actions& actions) {
  const std::vector<std::string> inputs = replay.Events("go");
  if (!inputs.empty()) actions.Complete(inputs.front());
}

}  // namespace

// The deprecated fields are those that .NET and Java still send.
void MakePart(OrchestratorResponse& response, int index, bool last) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  response.set_ispartial(!last);
  response.mutable_chunkindex()->set_value(index);
#pragma GCC diagnostic pop
}

Functions SomeFunctions(const FakeClock& clock) {
  Functions functions;
  functions.activities["Echo"] = [](const ActivityRequest& request) {
    return request.input().value();
  };
  functions.orchestrators["Chain"] = Chain;
  functions.orchestrators["FanOut"] = FanOut;
  functions.orchestrators["Parent"] = Parent;
  functions.orchestrators["Listen"] = Listen;
  functions.orchestrators["Sleep"] = [&clock](const Replay& replay, Actions& actions) {
    const int64_t seconds = std::stoll(replay.input());
    if (actions.Timer(1, clock.Now() + absl::Seconds(seconds))) actions.Complete("slept");
  };
  return functions;
}

}  // namespace dt::testing
