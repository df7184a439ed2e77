// The command line: what is left out gets a sensible value, what makes no sense is refused.
#include "tests/bench/options.h"

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "tests/support/catch.h"

namespace dt::bench {
namespace {

ParsedOptions Parse(const std::string& words) {
  const std::vector<std::string> arguments =
      absl::StrSplit("dtbench " + words, ' ', absl::SkipEmpty());
  std::vector<const char*> argv;
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  return ParseOptions(static_cast<int>(argv.size()), argv.data());
}

TEST_CASE("without options it is a closed loop of chains") {
  const ParsedOptions parsed = Parse("");
  REQUIRE(parsed.run);
  CHECK(parsed.options.workload == &Chain());
  CHECK_FALSE(parsed.options.is_batch());
  CHECK(parsed.options.starts_per_second == 0);
  CHECK(parsed.options.count == 0);
  CHECK(parsed.options.worker_orchestrations == 64);
  CHECK(parsed.options.worker_activities == 64);
}

TEST_CASE("workers announce what can be in flight, to a bound") {
  const Options fanout = Parse("--workload fanout --activities 10 --in-flight 8").options;
  CHECK(fanout.worker_orchestrations == 8);
  CHECK(fanout.worker_activities == 80);
  const Options shared =
      Parse("--workload fanout --activities 10 --in-flight 8 --workers 4").options;
  CHECK(shared.worker_orchestrations == 2);
  CHECK(shared.worker_activities == 20);
  const Options tree = Parse("--workload tree --in-flight 2").options;
  CHECK(tree.worker_orchestrations == 80);
  CHECK(tree.worker_activities == 54);
  const Options wide = Parse("--workload fanout --activities 10000 --in-flight 5000").options;
  CHECK(wide.worker_orchestrations == 5000);
  CHECK(wide.worker_activities == 4096);
  CHECK(Parse("--worker-activities 3").options.worker_activities == 3);
}

TEST_CASE("what an entity workload is not told it has of its own") {
  const Options hot = Parse("--workload entity_hot --in-flight 8").options;
  CHECK(hot.parameters.entities == 1);
  CHECK(hot.parameters.signals == 10);
  CHECK(hot.parameters.calls == 1);
  CHECK(hot.worker_entities == 88);
  const Options many =
      Parse("--workload entity_many --entities 7 --signals 2 --calls 3 --in-flight 8").options;
  CHECK(many.parameters.entities == 7);
  CHECK(many.parameters.signals == 2);
  CHECK(many.parameters.calls == 3);
  CHECK(Parse("--workload entity_lock").options.parameters.entities == 100);
  CHECK_FALSE(Parse("--workload entity_lock --entities 1").run);
  CHECK_FALSE(Parse("--workload entity_hot --calls 0").run);
}

TEST_CASE("a batch has a count, no warm-up, and a lead for its timers") {
  const Options timers =
      Parse("--workload timers --count 3000 --timer-spread-seconds 60 --in-flight 8").options;
  CHECK(timers.is_batch());
  CHECK(timers.warmup_seconds == 0);
  CHECK(timers.timer_lead_seconds == 5);
  CHECK(timers.parameters.timers == 3000);
  CHECK(timers.parameters.timer_spread_us == 60'000'000);
  const Options events = Parse("--workload events --in-flight 1 --events-each 1000").options;
  CHECK(events.is_batch());
  CHECK(events.count == 1);
  const Options queue = Parse("--queue-first --count 100 --warmup-seconds 0").options;
  CHECK(queue.is_batch());
  CHECK(queue.count == 100);
}

TEST_CASE("clients and workers may be at several servers") {
  CHECK(Parse("").options.addresses == std::vector<std::string>{"127.0.0.1:4001"});
  CHECK(Parse("").options.client_addresses == std::vector<std::string>{"127.0.0.1:4001"});
  const Options fleet = Parse("--addresses a:1,b:2 --activities 3").options;
  CHECK(fleet.addresses == std::vector<std::string>{"a:1", "b:2"});
  CHECK(fleet.client_addresses == fleet.addresses);
  const Options apart = Parse("--address a:1 --client-addresses b:2,c:3").options;
  CHECK(apart.addresses == std::vector<std::string>{"a:1"});
  CHECK(apart.client_addresses == std::vector<std::string>{"b:2", "c:3"});
}

TEST_CASE("a worker alone announces what it is told") {
  const Options serve = Parse("--serve --worker-orchestrations 7").options;
  CHECK(serve.serve);
  CHECK(serve.worker_orchestrations == 7);
  CHECK_FALSE(Parse("").options.serve);
}

TEST_CASE("options that contradict each other are refused") {
  for (const std::string words :
       {"--workload other", "--count 5 --seconds 5", "--workload timers --seconds 5",
        "--workload events --starts-per-second 5", "--workload timers --warmup-seconds 1",
        "--workload timers --queue-first --count 5", "--queue-first --starts-per-second 5",
        "--queue-first --seconds 5", "--serve --seconds 5", "--serve --count 5",
        "--serve --queue-first", "--serve --starts-per-second 5", "--serve --warmup-seconds 1",
        "--workload tree --width 100 --depth 4", "--payload-bytes 21"}) {
    INFO(words);
    const ParsedOptions parsed = Parse(words);
    CHECK_FALSE(parsed.run);
    CHECK(parsed.exit_code != 0);
  }
}

}  // namespace
}  // namespace dt::bench
