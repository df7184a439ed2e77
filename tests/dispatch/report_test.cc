// What a daemon tells of itself, as operators see it in vWorkers.
#include <memory>
#include <utility>

#include "tests/dispatch/fixture.h"
#include "tests/support/forwarding_store.h"

namespace dt::testing {
namespace {

class ReportKeeper final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;
  void ReportWork(WorkerReport its_report, bool at_once) override {
    report = its_report;
    ForwardingStore::ReportWork(std::move(its_report), at_once);
  }
  WorkerReport report;  // the last one
};

TEST_CASE("report_counts_what_is_leased_and_what_is_at_workers") {
  FakeClock clock;
  const Functions functions = SomeFunctions(clock);
  MemoryDatabase database(clock.Reader());
  const HubId hub = *database.ResolveHub("default", true);
  MemoryStore store(&database, MemoryStore::Mode::kStepped);
  ReportKeeper keeper(&store);
  dispatch::DispatchLimits limits;
  limits.resident_linger = absl::Minutes(1);
  FakeDaemon daemon(&keeper, &store, limits);
  dispatch::StreamOptions options;
  options.activities_max = 3;
  const FakeStream stream = daemon.Open(hub, options);
  daemon.Settle();
  CHECK(keeper.report.leases == 0);

  // Of eight activities three are at the worker, and the others wait for it here.
  daemon.Start(hub, "f", "FanOut", "8");
  daemon.Settle();
  REQUIRE(daemon.Work(stream, functions));
  daemon.Settle();
  clock.Advance(absl::Seconds(11));
  store.Heartbeat();
  daemon.Settle();
  CHECK(keeper.report.residents == 1);
  CHECK(keeper.report.in_flight == 3);
  CHECK(keeper.report.leases >= 1 + 3);
  CHECK(keeper.report.leases <= 1 + 8);

  daemon.RunWorkers({stream}, functions);
  clock.Advance(absl::Seconds(11));
  store.Heartbeat();
  daemon.Settle();
  // The orchestration has ended, and all its activities before.
  CHECK(keeper.report.leases == 0);
}

TEST_CASE("report_versions: of names that no stream accepts in any version they are told") {
  FakeClock clock;
  MemoryDatabase database(clock.Reader());
  const HubId hub = *database.ResolveHub("default", true);
  MemoryStore store(&database, MemoryStore::Mode::kStepped);
  ReportKeeper keeper(&store);
  FakeDaemon daemon(&keeper, &store, dispatch::DispatchLimits());
  dispatch::StreamOptions options;
  options.activity_filters = std::vector<NameFilter>{{"a", {"1.0"}}, {"b", {"1.0"}}, {"c", {}}};
  const FakeStream first = daemon.Open(hub, options);
  options.activity_filters = std::vector<NameFilter>{{"a", {"", "2.0"}}, {"b", {}}};
  const FakeStream second = daemon.Open(hub, options);
  daemon.Settle();
  const auto activities = [&keeper] {
    for (const ServedWork& work : keeper.report.served) {
      if (work.kind == 1) return work;
    }
    return ServedWork();
  };
  CHECK(*activities().lower_names == std::vector<std::string>{"a", "b", "c"});
  using Versions = std::map<std::string, std::vector<std::string>>;
  CHECK(activities().versions == Versions{{"a", {"", "1.0", "2.0"}}});

  // Too many to tell: any.
  std::vector<std::string> many(1001);
  for (size_t i = 0; i < many.size(); ++i) many[i] = std::to_string(i);
  options.activity_filters = std::vector<NameFilter>{{"d", many}};
  const FakeStream third = daemon.Open(hub, options);
  daemon.Settle();
  CHECK(activities().lower_names->size() == 4);
  CHECK(activities().versions.empty());
}

}  // namespace
}  // namespace dt::testing
