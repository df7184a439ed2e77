// Waiting calls, drain, memory, several daemons.
#include "absl/strings/str_cat.h"
#include "server/orchestration/requests.h"
#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

using WaitFor = dispatch::DispatchThread::WaitFor;

TEST_CASE("wait_start it blocks while PENDING and returns then and later") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  std::optional<absl::Status> waiting;
  one.daemon.Start(one.hub, "l", "Listen", "");
  one.daemon.Wait(one.hub, "l", WaitFor::kStart, &waiting);
  one.Pass(absl::Seconds(3));
  CHECK(!waiting.has_value());
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.RunWorkers({stream}, functions);
  CHECK(waiting == absl::OkStatus());
  one.daemon.Raise(one.hub, "l", "go", "x");
  one.daemon.RunWorkers({stream}, functions);
  std::optional<absl::Status> terminal;
  one.daemon.Wait(one.hub, "l", WaitFor::kStart, &terminal);
  one.daemon.Settle();
  CHECK(terminal == absl::OkStatus());
}

TEST_CASE("wait_completion_over_continue it returns only at the end") {
  OneDaemon one;
  Functions functions = SomeFunctions(one.clock);
  functions.orchestrators["Loop"] = [](const Replay& replay, Actions& actions) {
    const int left = std::stoi(replay.input());
    if (left > 0) {
      if (actions.Task(1, "Echo", "x").has_value()) actions.ContinueAsNew(absl::StrCat(left - 1));
    } else if (!replay.Events("go").empty()) {
      actions.Complete("end");
    }
  };
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "l", "Loop", "3");
  std::optional<absl::Status> answer;
  one.daemon.Wait(one.hub, "l", WaitFor::kCompletion, &answer);
  one.daemon.RunWorkers({stream}, functions);
  one.Pass(absl::Seconds(2));
  CHECK(!answer.has_value());
  one.daemon.Raise(one.hub, "l", "go", "");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(answer == absl::OkStatus());
}

TEST_CASE("wait_missing_then_created a wait may come before the start") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  std::optional<absl::Status> answer;
  one.daemon.Wait(one.hub, "c", WaitFor::kCompletion, &answer);
  one.Pass(absl::Seconds(2));
  CHECK(!answer.has_value());
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(answer == absl::OkStatus());
}

TEST_CASE("wait_max a wait is bounded: NOT_FOUND if missing, DEADLINE_EXCEEDED if not") {
  dispatch::DispatchLimits limits;
  limits.wait_max = absl::Seconds(10);
  OneDaemon one(limits);
  std::optional<absl::Status> missing;
  std::optional<absl::Status> pending;
  one.daemon.Start(one.hub, "p", "Chain", "1");
  one.daemon.Wait(one.hub, "nobody", WaitFor::kStart, &missing);
  one.daemon.Wait(one.hub, "p", WaitFor::kStart, &pending);
  one.Pass(absl::Seconds(11));
  CHECK(absl::IsNotFound(missing.value()));
  CHECK(absl::IsDeadlineExceeded(pending.value()));
  CHECK(one.daemon.dispatcher().Count().waits == 0);
}

TEST_CASE("wait_on a wait that goes on ends when the first would have, and asks the store") {
  dispatch::DispatchLimits limits;
  limits.wait_max = absl::Seconds(10);
  OneDaemon one(limits);
  const Functions functions = SomeFunctions(one.clock);
  std::optional<absl::Status> missing;
  std::optional<absl::Status> live;
  std::optional<absl::Status> over;
  one.daemon.Start(one.hub, "p", "Chain", "1");
  const auto wait = [&one](const char* id, absl::Duration waited, bool exists,
                           std::optional<absl::Status>* answer) {
    one.daemon.Wait(one.hub, id, WaitFor::kCompletion, answer, nullptr,
                    dispatch::WaitSoFar{waited, exists});
  };
  wait("nobody", absl::Seconds(8), true, &missing);
  wait("p", absl::Seconds(8), false, &live);
  // Its time is over before the store can say whether it exists.
  wait("p", absl::Seconds(11), true, &over);
  one.Pass(absl::Milliseconds(1500));
  CHECK(absl::IsDeadlineExceeded(over.value()));
  CHECK(!missing.has_value());
  CHECK(!live.has_value());
  one.Pass(absl::Seconds(1));
  CHECK(absl::IsNotFound(missing.value()));
  CHECK(absl::IsDeadlineExceeded(live.value()));

  // A resident says that it runs, which a wait that goes on does not take for an answer: here the
  // store says so too, and is asked.
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "l", "Listen", "");
  one.daemon.RunWorkers({stream}, functions);
  std::optional<absl::Status> answer;
  one.daemon.Wait(one.hub, "l", WaitFor::kStart, &answer, nullptr, dispatch::WaitSoFar{});
  one.daemon.Turn();
  CHECK(!answer.has_value());
  one.daemon.Settle();
  CHECK(answer == absl::OkStatus());
}

TEST_CASE("wait_disconnect a thousand waits that are cancelled leave nothing behind") {
  OneDaemon one;
  std::vector<std::optional<absl::Status>> answers(1000);
  std::vector<dispatch::WaitId> waits;
  for (auto& answer : answers) {
    waits.push_back(one.daemon.Wait(one.hub, "nobody", WaitFor::kCompletion, &answer));
  }
  one.daemon.Settle();
  CHECK(one.daemon.dispatcher().Count().waits == 1000);
  for (dispatch::WaitId wait : waits) one.daemon.Post(dispatch::WaitCancelled{wait});
  one.daemon.Settle();
  CHECK(one.daemon.dispatcher().Count().waits == 0);
  for (const auto& answer : answers) CHECK(absl::IsCancelled(answer.value()));
}

TEST_CASE("wait_elsewhere the end at another daemon is found within the poll interval") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  MemoryStore other_store(&one.database, MemoryStore::Mode::kStepped);
  FakeDaemon other(&other_store, &other_store);
  std::optional<absl::Status> answer;
  one.daemon.Wait(one.hub, "c", WaitFor::kCompletion, &answer);
  one.daemon.Settle();
  const FakeStream stream = other.Open(one.hub);
  other.Start(one.hub, "c", "Chain", "1");
  other.RunWorkers({stream}, functions);
  CHECK(!answer.has_value());
  one.Pass(absl::Seconds(2));
  CHECK(answer == absl::OkStatus());
}

// What a wait was told without a read, or the empty string: as clients see it.
std::string Rendered(const dispatch::KnownRow& row) {
  return row == nullptr ? "" : orchestration::RenderState(*row, /*payloads=*/true).DebugString();
}
std::string Stored(OneDaemon& one, const std::string& instance_id) {
  return orchestration::RenderState(one.Row(instance_id), /*payloads=*/true).DebugString();
}

TEST_CASE("wait_known_row the end of what was created here is told with its row") {
  OneDaemon one;
  Functions functions = SomeFunctions(one.clock);
  functions.orchestrators["Loop"] = [](const Replay& replay, Actions& actions) {
    const int left = std::stoi(replay.input());
    if (!actions.Task(1, "Echo", "x").has_value()) return;
    if (left > 0) {
      actions.ContinueAsNew(absl::StrCat(left - 1), "2");
    } else {
      actions.Complete("end");
    }
  };
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Settle();
  std::optional<absl::Status> answer;
  std::vector<dispatch::KnownRow> rows(5);
  const std::vector<std::string> ids = {"chain", "parent", "parent:1", "loop", "ended"};
  for (size_t i = 0; i < ids.size(); ++i) {
    one.daemon.Wait(one.hub, ids[i], WaitFor::kCompletion, &answer, &rows[i]);
  }
  one.Pass(absl::Seconds(1));  // the times of start and end differ
  one.daemon.Start(one.hub, "chain", "Chain", "3");
  one.daemon.Start(one.hub, "parent", "Parent", "2");
  one.daemon.Start(one.hub, "loop", "Loop", "2");
  one.daemon.Start(one.hub, "ended", "Listen", "", nullptr, "1");
  one.daemon.RunWorkers({stream}, functions);
  one.Pass(absl::Seconds(1));
  one.daemon.Terminate(one.hub, "ended", "enough");
  one.daemon.RunWorkers({stream}, functions);
  for (size_t i = 0; i < ids.size(); ++i) {
    CAPTURE(ids[i]);
    CHECK(Rendered(rows[i]) == Stored(one, ids[i]));
  }
}

TEST_CASE("wait_unknown_row what was claimed, or is large, is to be read") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const std::vector<std::string> ids = {"claimed", "idle", "large", "small"};
  std::vector<std::optional<absl::Status>> answers(ids.size());
  std::vector<dispatch::KnownRow> rows(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    one.daemon.Wait(one.hub, ids[i], WaitFor::kCompletion, &answers[i], &rows[i]);
  }
  one.daemon.Start(one.hub, "claimed", "Listen", "");  // no worker is there yet
  one.daemon.Settle();
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.RunWorkers({stream}, functions);
  one.daemon.Start(one.hub, "idle", "Listen", "");
  one.daemon.RunWorkers({stream}, functions);
  one.Pass(absl::Seconds(10));
  CHECK(one.daemon.dispatcher().Count().residents == 0);
  one.daemon.Start(one.hub, "large", "Listen", "");
  one.daemon.Start(one.hub, "small", "Listen", "");
  one.daemon.RunWorkers({stream}, functions);
  const std::string large(300 << 10, 'x');
  for (const std::string& id : ids) {
    one.daemon.Raise(one.hub, id, "go", id == "large" ? large : "x");
  }
  one.daemon.RunWorkers({stream}, functions);
  for (size_t i = 0; i < ids.size(); ++i) {
    CAPTURE(ids[i]);
    CHECK(answers[i] == absl::OkStatus());
    CHECK(Rendered(rows[i]) == (ids[i] == "small" ? Stored(one, ids[i]) : ""));
  }
}

TEST_CASE("drain completions are accepted, nothing new is sent, every lease is given back") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "f", "FanOut", "3");
  one.daemon.Start(one.hub, "l", "Listen", "");
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  std::optional<absl::Status> waiting;
  one.daemon.Wait(one.hub, "l", WaitFor::kCompletion, &waiting);
  const WorkItem task = stream.sink->Take().value();
  one.daemon.Post(dispatch::DrainBegun{});
  one.daemon.Settle();
  CHECK(absl::IsUnavailable(waiting.value()));
  CHECK(!one.daemon.dispatcher().quiet());
  std::optional<absl::Status> answer;
  one.daemon.Answer(one.hub, RunActivity(functions, task), &answer);
  while (const auto item = stream.sink->Take()) {
    one.daemon.Answer(one.hub, RunActivity(functions, *item));
  }
  one.daemon.Settle();
  CHECK(answer == absl::OkStatus());
  CHECK(one.daemon.dispatcher().quiet());
  CHECK(stream.sink->waiting() == 0);
  one.daemon.Post(dispatch::DrainEnded{});
  one.daemon.Settle();
  CHECK(one.daemon.dispatcher().released());
  CHECK(one.database.Count().leased_instances == 0);
  CHECK(one.database.Count().leased_tasks == 0);
  CHECK(one.database.Count().tasks == 0);
}

TEST_CASE("drain_timeout items that no worker answers are given back too") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "f", "FanOut", "3");
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  one.daemon.Post(dispatch::DrainBegun{});
  one.daemon.Post(dispatch::DrainEnded{});
  one.daemon.Settle();
  CHECK(one.daemon.dispatcher().Count().items_in_flight == 0);
  CHECK(one.daemon.dispatcher().released());
  CHECK(one.database.Count().leased_instances == 0);
  CHECK(one.database.Count().leased_tasks == 0);
  CHECK(one.database.Count().tasks == 3);
}

TEST_CASE("resident_memory over the budget idle residents are given back, and work goes on") {
  dispatch::DispatchLimits limits;
  limits.resident_bytes_max = 20000;
  OneDaemon one(limits);
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  for (int i = 0; i < 50; ++i) one.daemon.Start(one.hub, absl::StrCat(i), "Listen", "");
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.daemon.dispatcher().Count().resident_bytes <= 20000);
  CHECK(one.database.Count().live == 50);
  for (int i = 0; i < 50; ++i) one.daemon.Raise(one.hub, absl::StrCat(i), "go", absl::StrCat(i));
  one.daemon.RunWorkers({stream}, functions);
  for (int i = 0; i < 50; ++i) CHECK(one.Output(absl::StrCat(i)) == absl::StrCat(i));
}

TEST_CASE("message_from_elsewhere a resident learns of other daemons' messages, hint or not") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  MemoryStore other_store(&one.database, MemoryStore::Mode::kStepped);
  FakeDaemon other(&other_store, &other_store);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "hinted", "Listen", "");
  one.daemon.Start(one.hub, "polled", "Listen", "");
  one.daemon.RunWorkers({stream}, functions);
  other.Raise(one.hub, "hinted", "go", "1");
  other.Settle();
  one.store.Notify(one.database.TakeWoken());
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("hinted") == "1");
  other.Raise(one.hub, "polled", "go", "2");
  other.Settle();
  one.Pass(absl::Seconds(4));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("polled") == "2");
}

TEST_CASE(
    "clock_stands_still polls, waits and drains go by the steady clock, timers by the store's") {
  dispatch::DispatchLimits limits;
  limits.wait_max = absl::Seconds(10);
  OneDaemon one(limits);
  const Functions functions = SomeFunctions(one.clock);
  MemoryStore other_store(&one.database, MemoryStore::Mode::kStepped);
  FakeDaemon other(&other_store, &other_store);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "l", "Listen", "");
  one.daemon.Start(one.hub, "t", "Sleep", "1");
  one.daemon.RunWorkers({stream}, functions);
  // The database's clock was set back, and the store's waits for it.
  std::optional<absl::Status> waiting;
  one.daemon.Wait(one.hub, "nobody", WaitFor::kCompletion, &waiting);
  one.daemon.Settle();
  other.Raise(one.hub, "l", "go", "1");
  other.Settle();
  one.daemon.PassSteadily(absl::Seconds(4));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("l") == "1");
  one.daemon.PassSteadily(absl::Seconds(7));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(absl::IsNotFound(waiting.value()));
  CHECK(!IsTerminal(one.Row("t").status));
  one.Pass(absl::Seconds(2));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(IsTerminal(one.Row("t").status));
}

TEST_CASE("idle_polls an idle daemon asks ever more seldom") {
  OneDaemon one;
  one.daemon.Open(one.hub);
  one.Pass(absl::Seconds(10));
  const int64_t before = one.database.Count().claims;
  one.Pass(absl::Seconds(60));
  const int64_t claims = one.database.Count().claims - before;
  CHECK(claims >= 3 * 60 / 3);  // of each type of work
  CHECK(claims <= 3 * 60 / 3 + 6);
}

TEST_CASE("swept_daemon a daemon that was taken for dead begins anew") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "f", "FanOut", "5");
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  const WorkerId before = one.store.worker();
  one.database.DeclareDead(before);
  one.database.Sweep();
  one.store.Heartbeat();
  CHECK(one.store.worker() != before);
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("f") == "5");
}

}  // namespace
}  // namespace dt::testing
