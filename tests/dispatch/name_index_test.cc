// The names of filters, found by an index, against a look at each filter
// (server/dispatch/streams.h).
#include <algorithm>
#include <random>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/dispatch/streams.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using dispatch::Match;

// What RULES.md 9.2-9.5 say, one filter after the other.
Match MatchOneByOne(const NameFilters& filters, const std::string& name,
                    const std::string& version) {
  if (!filters.has_value()) return Match::kExact;
  const std::string lower = absl::AsciiStrToLower(name);
  const auto contains = [](const std::vector<std::string>& list, const std::string& text) {
    return std::find(list.begin(), list.end(), text) != list.end();
  };
  Match best = Match::kNone;
  for (const NameFilter& filter : *filters) {
    if (filter.lower_name != lower) continue;
    if (!filter.versions.empty() && !contains(filter.versions, version)) continue;
    if (contains(filter.spellings, name)) return Match::kExact;
    best = Match::kOtherCase;
  }
  return best;
}

class RandomNames {
 public:
  std::string Name() {
    static const std::vector<std::string> names = {
        "a", "A", "ab", "Ab", "aB", "AB", "b", "B", "", "bc", "BC", "Bc", "\xc3\x84", "\xc3\xa4"};
    return Pick(names);
  }
  std::string Version() {
    static const std::vector<std::string> versions = {"", "1", "2", "V", "v"};
    return Pick(versions);
  }
  NameFilters Filters() {
    if (Up(9) == 0) return std::nullopt;
    std::vector<NameFilter> filters;
    for (int left = Up(5); left > 0; --left) {
      NameFilter filter;
      filter.spellings.push_back(Name());
      filter.lower_name = absl::AsciiStrToLower(filter.spellings.front());
      for (int versions = Up(2); versions > 0; --versions) filter.versions.push_back(Version());
      filters.push_back(std::move(filter));
    }
    return filters;
  }
  int Up(int max) { return std::uniform_int_distribution<int>(0, max)(random_); }

 private:
  const std::string& Pick(const std::vector<std::string>& list) {
    return list[static_cast<size_t>(Up(static_cast<int>(list.size()) - 1))];
  }
  std::minstd_rand random_{7};
};

TEST_CASE("name_index_pure it finds what a look at each filter finds") {
  RandomNames random;
  int found[3] = {0, 0, 0};
  for (int round = 0; round < 20'000; ++round) {
    const NameFilters filters = random.Filters();
    // Another stream of the same pool writes the same names in its own way.
    NameFilters spelled = filters;
    if (spelled.has_value()) {
      for (NameFilter& filter : *spelled) {
        if (random.Up(1) == 0) filter.spellings = {absl::AsciiStrToUpper(filter.lower_name)};
      }
    }
    const dispatch::NameIndex index(filters);
    const std::string name = random.Name();
    const std::string version = random.Version();
    const Match match = index.Find(spelled, absl::AsciiStrToLower(name), name, version);
    CHECK(match == MatchOneByOne(spelled, name, version));
    ++found[static_cast<int>(match)];
  }
  for (int times : found) CHECK(times > 1000);
}

struct QuietSink : dispatch::WorkItemSink {
  void Write(orchestration::Frame) override {}
  void Finish(absl::Status) override {}
  int64_t UnreadBytes() const override { return 0; }
};

NameFilters ManyNames(int count) {
  std::vector<NameFilter> filters;
  for (int i = 0; i < count; ++i) {
    const std::string name = absl::StrCat("Orchestration", i);
    filters.push_back({absl::AsciiStrToLower(name), {}, {name}});
  }
  return filters;
}

void OpenMany(dispatch::StreamTable& table, int streams, int names) {
  const auto sink = std::make_shared<QuietSink>();
  dispatch::StreamOptions options;
  options.hub = 1;
  options.orchestration_filters = ManyNames(names);
  for (int i = 0; i < streams; ++i) {
    table.Open(static_cast<dispatch::StreamId>(i) + 1, options, sink, absl::UnixEpoch());
  }
}

TEST_CASE("name_index_streams streams with equal names share one index, and each gets its routes") {
  metrics::HubMetricsTable metrics;
  dispatch::StreamTable table(1, &metrics);
  OpenMany(table, 10, 100);
  dispatch::Hub& hub = *table.HubOf(1);
  CHECK(hub.pools.size() == 3);  // one is for activities, one for entities
  const dispatch::Route* exact =
      table.RouteOf(hub, dispatch::WorkType::kTurn, "Orchestration7", std::nullopt);
  CHECK(exact->streams.size() == 10);
  CHECK(exact->misspelling.empty());
  const dispatch::Route* other =
      table.RouteOf(hub, dispatch::WorkType::kTurn, "orchestration7", std::nullopt);
  CHECK(other->streams.size() == 10);
  CHECK(other->misspelling.size() == 10);
  CHECK(table.RouteOf(hub, dispatch::WorkType::kTurn, "unknown", std::nullopt)->streams.empty());
}

// By hand, for a figure: build/release/test_dispatch '[.speed]'.
TEST_CASE("name_index_speed what a start of a new name costs with 100 streams", "[.speed]") {
  metrics::HubMetricsTable metrics;
  dispatch::StreamTable table(1, &metrics);
  const int names = 10'000;
  OpenMany(table, 100, names);
  dispatch::Hub& hub = *table.HubOf(1);
  const absl::Time begin = absl::Now();
  for (int i = 0; i < names; ++i) {
    dispatch::Route* route = table.RouteOf(hub, dispatch::WorkType::kTurn,
                                           absl::StrCat("Orchestration", i), std::nullopt);
    ++route->users;
    table.Leave(route);
  }
  WARN(names << " new names: " << absl::ToDoubleMicroseconds(absl::Now() - begin) / names
             << " us each");
  CHECK(hub.routes[0].size() <= 1001);
}

}  // namespace
}  // namespace dt::testing
