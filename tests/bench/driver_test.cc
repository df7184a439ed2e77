// dtbench against a server in memory that can be told to do one thing wrong: a right server gives
// right counts, and nothing wrong goes unseen.
#include "tests/bench/driver.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/bench/fake_sidecar.h"
#include "tests/bench/measure.h"
#include "tests/bench/meter.h"
#include "tests/bench/options.h"
#include "tests/bench/report.h"
#include "tests/support/catch.h"

namespace dt::bench {
namespace {

struct Outcome {
  int64_t completions = 0;
  WorkCounts work;
  std::vector<std::string> errors;  // the one of the measurement last
  size_t timers = 0;
  Figures figures;
};

// Parses the words behind `dtbench`, which have to be right.
Options OptionsOf(const std::string& words) {
  std::vector<std::string> arguments = absl::StrSplit("dtbench " + words, ' ', absl::SkipEmpty());
  std::vector<const char*> argv;
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  const ParsedOptions parsed = ParseOptions(static_cast<int>(argv.size()), argv.data());
  REQUIRE(parsed.run);
  return parsed.options;
}

Outcome RunAt(const std::string& addresses, const std::string& words) {
  const Options options = OptionsOf("--in-flight 4 --address " + addresses + " " + words);
  auto meter = Meter::Open(options);
  REQUIRE(meter.ok());
  Driver driver(options);
  REQUIRE(driver.Connect().ok());
  const auto measurement = Measure(options, *meter, driver);
  driver.Shutdown();
  Outcome outcome;
  outcome.completions = static_cast<int64_t>(driver.results().completions.size());
  outcome.work = driver.work_counts();
  outcome.errors = driver.results().errors;
  outcome.timers = driver.results().lateness_ms.size();
  if (!measurement.ok()) outcome.errors.emplace_back(measurement.status().message());
  if (outcome.errors.empty())
    outcome.figures = MakeFigures(options, *measurement, driver.results());
  return outcome;
}

Outcome RunAgainst(const FakeSidecar& server, const std::string& words) {
  return RunAt(server.address(), words);
}

// Of a closed loop, without a warm-up.
Outcome RunCount(const FakeSidecar& server, const std::string& workload, int64_t count) {
  return RunAgainst(server,
                    absl::StrCat("--warmup-seconds 0 --count ", count, " --workload ", workload));
}

bool HasError(const Outcome& outcome, const std::string& text) {
  for (const std::string& error : outcome.errors) {
    INFO(error);
    if (error.find(text) != std::string::npos) return true;
  }
  return false;
}

bool IsFirstActivity(const WorkItem& item) {
  return item.has_activityrequest() && item.activityrequest().taskid() == 0;
}

TEST_CASE("a right server gives exact counts, without completion tokens and with pings") {
  for (const std::string workload : {"chain", "fanout"}) {
    FakeSidecar server;
    const Outcome outcome = RunCount(server, workload + " --workers 2", 50);
    CHECK(outcome.errors.empty());
    CHECK(outcome.completions == 50);
    CHECK(outcome.figures.orchestrations == 50);
    CHECK(outcome.figures.latency_ms.max.has_value());
    CHECK(outcome.work.activities == 250);
    CHECK(outcome.work.pings == 2);
    CHECK(outcome.work.foreign == 0);
  }
}

TEST_CASE("clients take the servers in turns, and each one has its own workers") {
  FakeSidecar first, second;
  const Outcome outcome =
      RunAt(first.address() + "," + second.address(), "--warmup-seconds 0 --count 10");
  CHECK(outcome.errors.empty());
  CHECK(outcome.completions == 10);
  CHECK(outcome.work.stream_activities == std::vector<int64_t>{25, 25});
}

TEST_CASE("clients may call one server, and workers serve another") {
  FakeSidecar of_workers, of_clients;
  const Outcome outcome =
      RunAgainst(of_workers, "--queue-first --count 2 --timeout-seconds 1 --client-addresses " +
                                 of_clients.address());
  CHECK(HasError(outcome, "0 of 2 orchestrations ended"));
}

TEST_CASE("activities take their time, so many of a stream at once") {
  FakeSidecar server;
  const Outcome outcome = RunCount(
      server, "fanout --activities 10 --activity-seconds 0.02 --activity-concurrency 4", 1);
  CHECK(outcome.errors.empty());
  CHECK(outcome.work.activities == 10);
  CHECK(outcome.figures.latency_ms.max >= 60);
}

TEST_CASE("with --reconnect a server that goes away is counted, and everything ends") {
  FakeSidecar server;
  server.ends_stream_after_first_item = true;
  int starts = 0;
  server.on_start = [&starts](const CreateInstanceRequest&) {
    return ++starts == 1 ? grpc::Status(grpc::CANCELLED, "stopping") : grpc::Status::OK;
  };
  const Outcome outcome = RunCount(server, "chain --activities 2 --reconnect", 2);
  CHECK(outcome.errors.empty());
  CHECK(outcome.completions == 2);
  CHECK(outcome.figures.unavailable > 5);
  CHECK(outcome.figures.cancelled == 1);
}

TEST_CASE("with --reconnect activities may run twice, and other errors still count") {
  FakeSidecar server;
  server.repeats = IsFirstActivity;
  const Outcome twice = RunCount(server, "chain --reconnect", 10);
  CHECK(twice.errors.empty());
  CHECK(twice.work.activities == 60);
  server.on_start = [](const CreateInstanceRequest&) {
    return grpc::Status(grpc::INTERNAL, "broken");
  };
  CHECK(HasError(RunCount(server, "chain --reconnect", 10), "broken"));
}

TEST_CASE("a wrong output is an error") {
  FakeSidecar server;
  server.on_result = [](GetInstanceResponse& response) {
    response.mutable_orchestrationstate()->mutable_output()->mutable_value()->at(5) ^= 1;
  };
  CHECK(HasError(RunCount(server, "chain", 10), "output is"));
}

TEST_CASE("a changed activity result is an error") {
  FakeSidecar server;
  server.on_item = [](WorkItem& item) {
    if (!item.has_activityrequest() || item.activityrequest().taskid() != 3) return;
    item.mutable_activityrequest()->mutable_input()->mutable_value()->at(20) = '7';
  };
  CHECK(HasError(RunCount(server, "fanout", 20), "output is"));
}

TEST_CASE("an activity that runs twice is an error") {
  FakeSidecar server;
  server.repeats = IsFirstActivity;
  CHECK(HasError(RunCount(server, "chain", 10), "ran 6 activities and not 5"));
}

TEST_CASE("a failed instance is an error") {
  FakeSidecar server;
  server.on_result = [](GetInstanceResponse& response) {
    response.mutable_orchestrationstate()->set_orchestrationstatus(ORCHESTRATION_STATUS_FAILED);
  };
  CHECK(HasError(RunCount(server, "chain", 10), "ORCHESTRATION_STATUS_FAILED"));
}

TEST_CASE("a stream that ends is an error at once, and the run still shuts down") {
  FakeSidecar server;
  server.ends_stream_after_first_item = true;
  CHECK(HasError(RunCount(server, "chain", 10), "going away"));
}

TEST_CASE("a server that is not there is an error that says what to do") {
  std::string address;
  {
    FakeSidecar server;
    address = server.address();
  }
  Options options;
  options.addresses = options.client_addresses = {address};
  options.connect_seconds = 0.2;
  Driver driver(options);
  const absl::Status status = driver.Connect();
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK(status.message().find("--address") != std::string::npos);
}

TEST_CASE("a tree counts the activities and instances of all its levels") {
  FakeSidecar server;
  const Outcome outcome = RunCount(server, "tree --width 2 --depth 3", 10);
  CHECK(outcome.errors.empty());
  CHECK(outcome.completions == 10);
  CHECK(outcome.work.activities == 80);
  CHECK(outcome.work.foreign == 0);
}

TEST_CASE("operations of entities are counted, and their states are right at the end") {
  FakeSidecar server;
  const Outcome hot = RunCount(server, "entity_hot", 30);
  CHECK(hot.errors.empty());
  CHECK(hot.work.operations == 330);
  CHECK(hot.work.batches <= 330);
  const Outcome many = RunCount(server, "entity_many --entities 7 --signals 3 --calls 4", 30);
  CHECK(many.errors.empty());
  CHECK(many.work.operations == 210);
  const Outcome lock = RunCount(server, "entity_lock --entities 3", 30);
  CHECK(lock.errors.empty());
  CHECK(lock.work.operations == 60);
  CHECK(lock.work.foreign == 0);
}

TEST_CASE("a signal that is lost or doubled is an error") {
  for (const int copies : {0, 2}) {
    FakeSidecar server;
    server.on_signal = [copies, count = 0](const EntityOperationSignaledEvent&) mutable {
      return ++count == 7 ? copies : 1;
    };
    CHECK(HasError(RunCount(server, "entity_many --signals 5 --timeout-seconds 1", 10),
                   copies == 2 ? "101 operations" : "99 operations"));
  }
}

TEST_CASE("an entity with a state of other bytes is an error") {
  FakeSidecar server;
  server.on_item = [](WorkItem& item) {
    if (!item.entityrequestv2().has_entitystate()) return;
    item.mutable_entityrequestv2()->mutable_entitystate()->set_value("17");
  };
  CHECK(HasError(RunCount(server, "entity_hot", 10), "state '17'"));
}

TEST_CASE("a child that ends twice is an error") {
  FakeSidecar server;
  server.repeats = [](const WorkItem& item) {
    const OrchestratorRequest& turn = item.orchestratorrequest();
    return turn.instanceid().find(':') != std::string::npos && turn.pastevents_size() > 0;
  };
  CHECK(HasError(RunCount(server, "tree --width 2 --depth 1 --workers 1", 4),
                 "ended 5 instances and not 3"));
}

TEST_CASE("generations are counted, and one that is repeated is an error") {
  {
    FakeSidecar server;
    const Outcome outcome = RunCount(server, "generations --generations 20", 10);
    CHECK(outcome.errors.empty());
    CHECK(outcome.completions == 10);
    CHECK(outcome.work.generations == 200);
    CHECK(outcome.figures.generations_per_second.has_value());
  }
  FakeSidecar server;
  server.on_item = [](WorkItem& item) {
    HistoryEvent& start = *item.mutable_orchestratorrequest()->mutable_newevents(1);
    std::string& input = *start.mutable_executionstarted()->mutable_input()->mutable_value();
    if (input.compare(0, 6, "\"20:7:") == 0) input.replace(0, 6, "\"20:8:");
  };
  CHECK(HasError(RunCount(server, "generations --generations 20", 10), "output is"));
}

TEST_CASE("events reach those who wait for them, however they are spread") {
  for (const auto& [count, each] : std::vector<std::pair<int, int>>{{40, 1}, {1, 100}, {10, 3}}) {
    FakeSidecar server;
    const Outcome outcome =
        RunAgainst(server, absl::StrCat("--workload events --count ", count, " --events-each ",
                                        each, " --raise-in-flight 8"));
    CHECK(outcome.errors.empty());
    CHECK(outcome.completions == count);
    CHECK(outcome.figures.orchestrations == count);
    CHECK(outcome.figures.events_per_second.has_value());
    CHECK_FALSE(outcome.figures.latency_ms.p50.has_value());
  }
}

TEST_CASE("a doubled event is an error") {
  FakeSidecar server;
  server.on_raise = [](const RaiseEventRequest& request) {
    return request.input().value().compare(0, 3, "\"1:") == 0 ? 2 : 1;
  };
  CHECK(HasError(RunAgainst(server, "--workload events --count 5 --events-each 3"),
                 "for the second time"));
}

TEST_CASE("a lost event is an error that says how many ended") {
  FakeSidecar server;
  bool lost = false;
  server.on_raise = [&lost](const RaiseEventRequest&) { return std::exchange(lost, true) ? 1 : 0; };
  CHECK(HasError(RunAgainst(server, "--workload events --count 5 --timeout-seconds 1"),
                 "4 of 5 orchestrations ended"));
}

TEST_CASE("every timer has its lateness") {
  FakeSidecar server;
  const Outcome outcome = RunAgainst(
      server, "--workload timers --count 20 --timer-lead-seconds 1 --timer-spread-seconds 0.1");
  CHECK(outcome.errors.empty());
  CHECK(outcome.completions == 20);
  CHECK(outcome.timers == 20);
  CHECK(outcome.figures.orchestrations == 20);
  REQUIRE(outcome.figures.lateness_ms.p50.has_value());
  CHECK(*outcome.figures.lateness_ms.p50 > 0);
}

TEST_CASE("a timer that fires early by the server's clock is an error") {
  FakeSidecar server;
  server.fires_timers_at_once = true;
  CHECK(HasError(RunAgainst(server, "--workload timers --count 4 --timer-lead-seconds 20"),
                 "by the server's clock"));
}

TEST_CASE("timers that cannot be set before the first one is due are an error") {
  FakeSidecar server;
  CHECK(HasError(RunAgainst(server, "--workload timers --count 500 --timer-lead-seconds 0.001"),
                 "raise --timer-lead-seconds"));
}

TEST_CASE("a queue is drained by workers that come later") {
  FakeSidecar server;
  int offered = 0;
  server.on_item = [&offered](WorkItem&) { ++offered; };
  const Outcome outcome = RunAgainst(server, "--queue-first --count 30");
  CHECK(outcome.errors.empty());
  CHECK(outcome.completions == 30);
  CHECK(outcome.figures.orchestrations == 30);
  CHECK(outcome.work.activities == 150);
  CHECK(outcome.figures.work_items == offered);
  CHECK_FALSE(outcome.figures.latency_ms.p50.has_value());
}

TEST_CASE("a wrong output of a batch is an error") {
  FakeSidecar server;
  server.on_result = [](GetInstanceResponse& response) {
    response.mutable_orchestrationstate()->mutable_output()->mutable_value()->at(5) ^= 1;
  };
  CHECK(HasError(RunAgainst(server, "--queue-first --count 5"), "output is"));
}

TEST_CASE("an open loop starts at its rate, however long each one takes") {
  FakeSidecar server;
  const Outcome counted =
      RunAgainst(server, "--starts-per-second 500 --count 40 --warmup-seconds 0.05");
  CHECK(counted.errors.empty());
  CHECK(counted.figures.orchestrations == 40);
  CHECK(counted.figures.latency_ms.p50.has_value());
  const Outcome timed =
      RunAgainst(server, "--starts-per-second 200 --seconds 0.2 --warmup-seconds 0");
  CHECK(timed.errors.empty());
  CHECK(timed.completions > 0);
}

TEST_CASE("an error ends an open loop") {
  FakeSidecar server;
  server.repeats = IsFirstActivity;
  CHECK(HasError(RunAgainst(server, "--starts-per-second 100 --seconds 60"), "ran 6 activities"));
}

TEST_CASE("a history that is streamed gives the same results") {
  for (const std::string workload : {"chain", "fanout --activities 30"}) {
    FakeSidecar server;
    server.streams_history = true;
    const Outcome outcome = RunCount(server, workload + " --history-streaming", 20);
    CHECK(outcome.errors.empty());
    CHECK(outcome.completions == 20);
    // All turns but the first.
    CHECK(outcome.work.streamed_turns == outcome.work.turns - 20);
  }
}

TEST_CASE("a streamed history with an event that is lost is an error") {
  FakeSidecar server;
  server.streams_history = true;
  server.on_chunk = [](HistoryChunk& chunk) {
    if (chunk.events(chunk.events_size() - 1).eventid() == 1) chunk.mutable_events()->RemoveLast();
  };
  CHECK(HasError(RunCount(server, "chain --history-streaming", 5), "which was not scheduled"));
}

TEST_CASE("a turn to be streamed to a worker that cannot is an error") {
  FakeSidecar server;
  server.streams_history = true;
  CHECK(HasError(RunCount(server, "chain", 5), "did not announce it"));
}

TEST_CASE("a server without StreamInstanceHistory's events is an error") {
  FakeSidecar server;
  server.streams_history = true;
  server.on_chunk = [](HistoryChunk& chunk) { chunk.clear_events(); };
  CHECK(HasError(RunCount(server, "chain --history-streaming", 5), "no history came"));
}

TEST_CASE("a worker alone serves what others start, until its stream ends") {
  FakeSidecar server;
  server.ends_stream_after_first_item = true;
  const Options options = OptionsOf("--serve --address " + server.address());
  Driver driver(options);
  REQUIRE(driver.Connect().ok());
  const absl::Time begin = absl::Now();
  driver.OpenStreams();
  const auto client = TaskHubSidecarService::NewStub(
      grpc::CreateChannel(server.address(), grpc::InsecureChannelCredentials()));
  CreateInstanceRequest request;
  request.set_instanceid("of-somebody-else");
  request.set_name(std::string(Chain().orchestration()));
  request.mutable_input()->set_value(Chain().InputOf(options.parameters, 1));
  CreateInstanceResponse response;
  grpc::ClientContext context;
  REQUIRE(client->StartInstance(&context, request, &response).ok());
  const auto first_item = driver.WaitFirstItem();
  REQUIRE(first_item.has_value());
  CHECK(*first_item >= begin);
  driver.WaitFailed();
  driver.Shutdown();
  CHECK(driver.work_counts().foreign == 1);
  REQUIRE(driver.results().errors.size() == 1);
  CHECK(driver.results().errors.front().find("GetWorkItems ended") != std::string::npos);
}

TEST_CASE("a worker alone whose server goes away before there is work has no first item") {
  auto server = std::make_unique<FakeSidecar>();
  Driver driver(OptionsOf("--serve --address " + server->address()));
  REQUIRE(driver.Connect().ok());
  driver.OpenStreams();
  server.reset();
  CHECK_FALSE(driver.WaitFirstItem().has_value());
  driver.WaitFailed();
}

}  // namespace
}  // namespace dt::bench
