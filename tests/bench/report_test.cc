// The line of JSON that scripts read: always the same keys, null where there is nothing to say.
#include "tests/bench/report.h"

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "tests/support/catch.h"

namespace dt::bench {
namespace {

// Key -> value, both as they are written. No value has a comma or a colon in it.
std::map<std::string, std::string> Fields(absl::string_view line) {
  REQUIRE(line.size() > 2);
  REQUIRE(line.front() == '{');
  REQUIRE(line.back() == '}');
  std::map<std::string, std::string> fields;
  for (const absl::string_view field : absl::StrSplit(line.substr(1, line.size() - 2), ',')) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(field, ':');
    CHECK(fields.insert(parts).second);
  }
  return fields;
}

// A second in which ten orchestrations ended, the slowest after ten milliseconds.
Measurement OneSecond(const Options& options) {
  Measurement measurement;
  measurement.begin.time = Clock::time_point(std::chrono::seconds(100));
  measurement.end.time = measurement.begin.time + std::chrono::seconds(1);
  measurement.begin.work.turns = 7;
  measurement.end.work.turns = 67;
  measurement.end.work.streamed_turns = 20;
  measurement.end.work.activities = 50;
  measurement.begin.work.stream_activities = {10};
  measurement.end.work.stream_activities = {60};
  measurement.end.work.generations = 30;
  measurement.end.work.batches = options.workload->Each(options.parameters).operations > 0 ? 5 : 0;
  measurement.end.work.operations = 4 * measurement.end.work.batches;
  measurement.begin.daemon_cpu_seconds = 2;
  measurement.end.daemon_cpu_seconds = 2.5;
  measurement.end.generator_cpu_seconds = 0.1;
  measurement.end.daemon_peak_rss_bytes = 1 << 20;
  measurement.begin.database = DatabaseCounters{100, 5000, 10};
  measurement.end.database = DatabaseCounters{104, 25000, 43};
  return measurement;
}

std::vector<Completion> TenCompletions(Clock::time_point begin, bool with_latency) {
  std::vector<Completion> completions;
  for (int i = 1; i <= 10; ++i) {
    Completion completion;
    completion.end = begin + std::chrono::milliseconds(100 * i);
    if (with_latency) completion.latency = std::chrono::milliseconds(i);
    completions.push_back(completion);
  }
  // Outside of the measurement.
  completions.push_back({begin, std::nullopt});
  completions.push_back({begin + std::chrono::seconds(2), std::nullopt});
  return completions;
}

std::map<std::string, std::string> FieldsOf(const Options& options, bool is_batch = false) {
  const Measurement measurement = OneSecond(options);
  Results results;
  results.completions = TenCompletions(measurement.begin.time, !is_batch);
  if (options.workload == &Timers()) results.lateness_ms = {3, 1, 2};
  return Fields(Json(options, MakeFigures(options, measurement, results)));
}

TEST_CASE("figures are differences, divided by what they are of") {
  auto fields = FieldsOf(Options());
  CHECK(fields["\"workload\""] == "\"chain\"");
  CHECK(fields["\"orchestrations\""] == "10");
  CHECK(fields["\"orchestrations_per_second\""] == "10.0");
  CHECK(fields["\"work_items\""] == "110");
  CHECK(fields["\"turns_per_orchestration\""] == "6.000");
  CHECK(fields["\"streamed_turns_per_orchestration\""] == "2.000");
  CHECK(fields["\"latency_ms_p50\""] == "5.000");
  CHECK(fields["\"latency_ms_p99\""] == "10.000");
  CHECK(fields["\"latency_ms_max\""] == "10.000");
  CHECK(fields["\"wall_ms_per_activity\""] == "20.0000");
  CHECK(fields["\"longest_pause_seconds\""] == "0.1000");
  CHECK(fields["\"commits_per_orchestration\""] == "0.4000");
  CHECK(fields["\"wal_bytes_per_orchestration\""] == "2000.0");
  CHECK(fields["\"statements_per_orchestration\""] == "3.3000");
  CHECK(fields["\"statements_per_work_item\""] == "0.3000");
  CHECK(fields["\"daemon_cpu_seconds_per_1000\""] == "50.0000");
  CHECK(fields["\"daemon_cpu_seconds_per_1000_activities\""] == "10.0000");
  CHECK(fields["\"generator_cpu_seconds_per_1000_activities\""] == "2.0000");
  CHECK(fields["\"postgres_cpu_seconds_per_1000\""] == "null");
  CHECK(fields["\"daemon_rss_bytes\""] == "1048576");
  CHECK(fields["\"stream_activities\""] == "[50]");
  CHECK(fields["\"repeated_activities\""] == "null");
}

TEST_CASE("every workload prints the same keys, and null for those of others") {
  const std::map<std::string, std::vector<std::string>> own = {
      {"chain", {}},
      {"fanout", {}},
      {"tree", {"\"width\"", "\"depth\""}},
      {"timers", {"\"timer_spread_seconds\"", "\"lateness_ms_p50\"", "\"lateness_ms_max\""}},
      {"events", {"\"events_each\"", "\"events_per_second\""}},
      {"generations", {"\"generations\"", "\"generations_per_second\""}}};
  const std::vector<std::string> of_entities = {
      "\"entities\"", "\"signals_each\"", "\"operations_per_second\"", "\"commits_per_operation\""};
  std::vector<std::string> keys;
  for (const auto& [key, value] : FieldsOf(Options())) keys.push_back(key);
  for (const Workload* workload : AllWorkloads()) {
    Options options;
    options.workload = workload;
    workload->FillDefaults(options.parameters);
    auto fields = FieldsOf(options);
    std::vector<std::string> these;
    for (const auto& [key, value] : fields) these.push_back(key);
    CHECK(these == keys);
    for (const std::string& key : of_entities) {
      INFO(workload->name() << " " << key);
      CHECK((fields[key] != "null") == absl::StartsWith(workload->name(), "entity_"));
    }
    for (const auto& [name, own_keys] : own) {
      for (const std::string& key : own_keys) {
        INFO(workload->name() << " " << key);
        CHECK((fields[key] != "null") == (name == std::string(workload->name())));
      }
    }
  }
}

TEST_CASE("a batch has no latency, and a loop no rate unless it is open") {
  Options options;
  options.queue_first = true;
  options.count = 10;
  auto fields = FieldsOf(options, true);
  CHECK(fields["\"queue_first\""] == "true");
  CHECK(fields["\"count\""] == "10");
  CHECK(fields["\"orchestrations\""] == "10");
  CHECK(fields["\"latency_ms_p50\""] == "null");
  CHECK(fields["\"starts_per_second\""] == "null");
  options = Options();
  options.starts_per_second = 10;
  fields = FieldsOf(options);
  CHECK(fields["\"starts_per_second\""] == "10.000");
  CHECK(fields["\"count\""] == "null");
}

TEST_CASE("events and generations are counted per second") {
  Options options;
  options.workload = &Events();
  options.parameters.events_each = 7;
  CHECK(FieldsOf(options)["\"events_per_second\""] == "70.0");
  options.workload = &Generations();
  CHECK(FieldsOf(options)["\"generations_per_second\""] == "30.0");
}

TEST_CASE("operations of entities are counted per second, per batch and with what each costs") {
  Options options;
  options.workload = &EntityHot();
  EntityHot().FillDefaults(options.parameters);
  auto fields = FieldsOf(options);
  CHECK(fields["\"work_items\""] == "115");
  CHECK(fields["\"operations_per_second\""] == "20.0");
  CHECK(fields["\"operations_per_batch\""] == "4.000");
  CHECK(fields["\"commits_per_operation\""] == "0.2000");
  CHECK(fields["\"wal_bytes_per_operation\""] == "1000.0");
}

TEST_CASE("the summary says what it is about, and has a dash for what is not known") {
  Options options;
  options.workload = &Tree();
  const Measurement measurement = OneSecond(options);
  const std::string text = Summary(options, MakeFigures(options, measurement, Results()));
  CHECK(text.find("tree of 40 instance(s), 27 activities") != std::string::npos);
  CHECK(text.find("latency ms                    - p50") != std::string::npos);
}

}  // namespace
}  // namespace dt::bench
