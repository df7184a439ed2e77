// Random runs of whole worlds. Each prints its seed when it fails; DT_SIMULATION_SEEDS=n runs that
// many seeds per kind of world, DT_SIMULATION_SEED=s begins with s, DT_SIMULATION_LINES=n shows so
// many of the last steps of one that fails.
#include <cstdlib>
#include <string>

#include "absl/strings/numbers.h"
#include "spdlog/spdlog.h"
#include "tests/simulation/world.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

int FromEnvironment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  int number = 0;
  return text != nullptr && absl::SimpleAtoi(text, &number) ? number : otherwise;
}

void RunSeeds(WorldOptions options) {
  spdlog::set_level(spdlog::level::critical);  // faults are the normal case here
  const int first = FromEnvironment("DT_SIMULATION_SEED", 1);
  const int count = FromEnvironment("DT_SIMULATION_SEEDS", 5);
  for (int seed = first; seed < first + count; ++seed) {
    options.seed = static_cast<uint64_t>(seed);
    INFO("DT_SIMULATION_SEED=" << seed);
    World world(options);
    const std::string wrong = world.Run();
    CAPTURE(wrong);
    if (wrong.empty()) continue;
    const int lines = FromEnvironment("DT_SIMULATION_LINES", 200);
    FAIL("its last steps:\n" << world.transcript().Tail(static_cast<size_t>(lines)));
  }
}

TEST_CASE("simulation_calm one daemon without faults") {
  WorldOptions options;
  options.daemons = 1;
  options.crash = options.stream_loss = 0;
  RunSeeds(options);
}

TEST_CASE("simulation_streams two daemons whose streams break") {
  WorldOptions options;
  options.crash = 0;
  options.stream_loss = 0.02;
  RunSeeds(options);
}

TEST_CASE("simulation_faults refused calls, lost and late answers") {
  WorldOptions options;
  options.crash = 0;
  options.faults = {0.02, 0.02, 0.1};
  RunSeeds(options);
}

TEST_CASE("simulation_crashes three daemons that die") {
  WorldOptions options;
  options.daemons = 3;
  options.crash = 0.003;
  RunSeeds(options);
}

TEST_CASE("simulation_everything crashes, faults, lost streams, and living daemons swept") {
  WorldOptions options;
  options.daemons = 3;
  options.crash = 0.002;
  options.sweep_alive = 0.001;
  options.faults = {0.01, 0.01, 0.1};
  RunSeeds(options);
}

// Three daemons of unequal workers.
WorldOptions Fleet() {
  WorldOptions options;
  options.fleet = true;
  options.daemons = 3;
  options.crash = options.stream_loss = 0;
  return options;
}

TEST_CASE("simulation_fleet_calm unequal workers share the work, and callers hear of its end") {
  WorldOptions options = Fleet();
  options.hint_loss = 0;
  options.shares = true;
  options.answered_within = absl::Seconds(2);
  RunSeeds(options);
}

TEST_CASE("simulation_fleet_stalls unequal workers that stall, streams that break, lost hints") {
  WorldOptions options = Fleet();
  options.stall = 0.003;
  options.stream_loss = 0.003;
  RunSeeds(options);
}

TEST_CASE("simulation_fleet_kills daemons die and stay away, others take their leases over") {
  WorldOptions options = Fleet();
  options.stall = 0.002;
  options.crash = 0.002;
  options.down_max = absl::Seconds(3);
  RunSeeds(options);
}

TEST_CASE("simulation_fleet_everything kills, faults, stalls, lost streams, living daemons swept") {
  WorldOptions options = Fleet();
  options.stall = options.stream_loss = 0.002;
  options.crash = options.sweep_alive = 0.001;
  options.down_max = absl::Seconds(3);
  options.faults = {0.01, 0.01, 0.1};
  RunSeeds(options);
}

TEST_CASE("simulation_entities one daemon without faults") {
  WorldOptions options;
  options.entities = true;
  options.daemons = 1;
  options.crash = options.stream_loss = 0;
  RunSeeds(options);
}

TEST_CASE("simulation_entity_streams two daemons whose streams break") {
  WorldOptions options;
  options.entities = true;
  options.crash = 0;
  options.stream_loss = 0.02;
  RunSeeds(options);
}

TEST_CASE("simulation_entity_faults refused calls, lost and late answers") {
  WorldOptions options;
  options.entities = true;
  options.crash = 0;
  options.faults = {0.02, 0.02, 0.1};
  RunSeeds(options);
}

TEST_CASE("simulation_entity_everything crashes, faults, lost streams, living daemons swept") {
  WorldOptions options;
  options.entities = true;
  options.daemons = 3;
  options.crash = 0.002;
  options.sweep_alive = 0.001;
  options.faults = {0.01, 0.01, 0.1};
  RunSeeds(options);
}

TEST_CASE("simulation_repeats one seed does the same twice") {
  spdlog::set_level(spdlog::level::critical);
  WorldOptions options;
  options.seed = static_cast<uint64_t>(FromEnvironment("DT_SIMULATION_SEED", 1));
  options.entities = GENERATE(false, true);
  options.fleet = GENERATE(false, true);
  if (options.entities && options.fleet) return;  // a fleet has no entities
  options.daemons = 3;
  options.crash = 0.002;
  options.sweep_alive = 0.001;
  options.faults = {0.01, 0.01, 0.1};
  World first(options);
  World second(options);
  REQUIRE(first.Run() == second.Run());
  const std::vector<std::string>& lines = first.transcript().lines();
  const std::vector<std::string>& again = second.transcript().lines();
  REQUIRE(lines.size() > 1000);
  for (size_t i = 0; i < std::min(lines.size(), again.size()); ++i) {
    INFO("effect " << i);
    REQUIRE(lines[i] == again[i]);
  }
  CHECK(lines.size() == again.size());
}

}  // namespace
}  // namespace dt::testing
