// Filters: which stream gets what, and what is claimed for whom. (RULES.md 9)
#include "absl/strings/str_cat.h"
#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

dispatch::StreamOptions OnlyVersion(const std::string& name, const std::string& version) {
  dispatch::StreamOptions options;
  options.orchestration_filters = std::vector<NameFilter>{{name, {version}}};
  options.activity_filters = std::vector<NameFilter>{};
  return options;
}

// A stream for orchestrations of these names, and for nothing else.
dispatch::StreamOptions OnlyNames(std::vector<NameFilter> filters, int orchestrations_max = 0) {
  dispatch::StreamOptions options;
  options.orchestrations_max = orchestrations_max;
  options.orchestration_filters = std::move(filters);
  options.activity_filters = std::vector<NameFilter>{};
  options.entity_filters = std::vector<NameFilter>{};
  return options;
}

TEST_CASE("continue_reroute the next generation goes to the worker of its version") {
  OneDaemon one;
  Functions functions = SomeFunctions(one.clock);
  functions.orchestrators["Move"] = [](const Replay& replay, Actions& actions) {
    if (replay.input() == "start") {
      actions.ContinueAsNew("moved", "v2");
    } else {
      actions.Complete(replay.started().version().value());
    }
  };
  const FakeStream v1 = one.daemon.Open(one.hub, OnlyVersion("move", "v1"));
  const FakeStream v2 = one.daemon.Open(one.hub, OnlyVersion("move", "v2"));
  one.daemon.Start(one.hub, "m", "Move", "start", nullptr, "v1");
  one.daemon.Settle();
  CHECK(v1.sink->waiting() == 1);
  CHECK(v2.sink->waiting() == 0);
  one.daemon.Work(v1, functions);
  one.daemon.Settle();
  CHECK(v1.sink->waiting() == 0);
  CHECK(v2.sink->waiting() == 1);
  one.daemon.RunWorkers({v1, v2}, functions);
  CHECK(one.Output("m") == "v2");
}

TEST_CASE("filter_absent_empty_name_version what no stream accepts waits for one that does") {
  OneDaemon one;
  dispatch::StreamOptions nothing;
  nothing.orchestration_filters = std::vector<NameFilter>{};
  dispatch::StreamOptions by_name;
  by_name.orchestration_filters = std::vector<NameFilter>{{"chain", {}}};
  const FakeStream none = one.daemon.Open(one.hub, nothing);
  const FakeStream exact = one.daemon.Open(one.hub, OnlyVersion("chain", "v1"));
  const FakeStream unversioned = one.daemon.Open(one.hub, OnlyVersion("chain", ""));
  one.daemon.Start(one.hub, "v1", "CHAIN", "1", nullptr, "v1");
  one.daemon.Start(one.hub, "plain", "Chain", "1");
  one.daemon.Start(one.hub, "v2", "Chain", "1", nullptr, "v2");
  one.daemon.Settle();
  CHECK(none.sink->waiting() == 0);
  CHECK(exact.sink->Take().value().orchestratorrequest().instanceid() == "v1");
  CHECK(unversioned.sink->Take().value().orchestratorrequest().instanceid() == "plain");
  one.Pass(absl::Seconds(10));
  CHECK(one.Row("v2").status == RuntimeStatus::kPending);
  const FakeStream late = one.daemon.Open(one.hub, by_name);
  one.daemon.Settle();
  CHECK(late.sink->Take().value().orchestratorrequest().instanceid() == "v2");
}

TEST_CASE("filter_duplicate_names one entry without versions accepts any version") {
  OneDaemon one;
  dispatch::StreamOptions options;
  options.orchestration_filters = std::vector<NameFilter>{{"chain", {"v1"}}, {"chain", {}}};
  const FakeStream stream = one.daemon.Open(one.hub, options);
  one.daemon.Start(one.hub, "v9", "Chain", "1", nullptr, "v9");
  one.daemon.Settle();
  CHECK(stream.sink->waiting() == 1);
}

TEST_CASE("filter_exact_spelling the stream that writes the name as it is comes first") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  dispatch::StreamOptions other = OnlyNames({{"chain", {}, {"CHAIN", "chain"}}}, 10);
  dispatch::StreamOptions exact = OnlyNames({{"chain", {}, {"Chain"}}}, 3);
  const FakeStream upper = one.daemon.Open(one.hub, other);
  one.daemon.Start(one.hub, "c0", "Chain", "1");
  one.daemon.Settle();
  CHECK(upper.sink->waiting() == 1);  // better than nobody
  const FakeStream right = one.daemon.Open(one.hub, exact);
  for (int i = 1; i <= 3; ++i) one.daemon.Start(one.hub, absl::StrCat("c", i), "Chain", "1");
  one.daemon.Settle();
  CHECK(right.sink->waiting() == 3);
  CHECK(upper.sink->waiting() == 1);
  one.daemon.Start(one.hub, "c4", "Chain", "1");  // the right one is full
  one.daemon.Start(one.hub, "c5", "chain", "1");  // and this one it writes differently
  one.daemon.Settle();
  CHECK(upper.sink->waiting() == 3);
  one.daemon.Close(right);
  one.daemon.Settle();
  CHECK(upper.sink->waiting() == 6);
}

TEST_CASE("filter_one_claim one poll asks for all streams, each up to its own credits") {
  OneDaemon one;
  for (int i = 0; i < 5; ++i) {
    one.daemon.Start(one.hub, absl::StrCat("a", i), "A", "");
    one.daemon.Start(one.hub, absl::StrCat("b", i), "B", "");
    one.daemon.Start(one.hub, absl::StrCat("c", i), "C", "");
  }
  one.daemon.Settle();
  const int64_t before = one.database.Count().claims;
  const FakeStream a = one.daemon.Open(one.hub, OnlyNames({{"a", {}}}, 2));
  const FakeStream b = one.daemon.Open(one.hub, OnlyNames({{"b", {}}}, 3));
  const FakeStream none = one.daemon.Open(one.hub, OnlyNames({{"none", {}}}));
  one.daemon.Settle();
  CHECK(a.sink->waiting() == 2);
  CHECK(b.sink->waiting() == 3);
  CHECK(none.sink->waiting() == 0);
  CHECK(one.database.Count().leased_instances == 5);
  CHECK(one.database.Count().claims == before + 1);
  // The only stream that has room goes on asking, for itself alone and ever more seldom.
  one.Pass(absl::Minutes(1), absl::Milliseconds(20));
  CHECK(one.database.Count().claims <= before + 40);
  CHECK(one.database.Count().leased_instances == 5);
}

TEST_CASE("filter_unmatched_idle work that no stream accepts does not make the claims spin") {
  OneDaemon one;
  for (int i = 0; i < 20; ++i) one.daemon.Start(one.hub, absl::StrCat(i), "Chain", "1");
  const FakeStream stream = one.daemon.Open(one.hub, OnlyNames({{"other", {}}}));
  one.daemon.Settle();
  const int64_t before = one.database.Count().claims;
  one.Pass(absl::Minutes(1), absl::Milliseconds(20));
  CHECK(one.database.Count().claims <= before + 40);
  CHECK(stream.sink->waiting() == 0);
  CHECK(one.database.Count().leased_instances == 0);
}

TEST_CASE("filter_late_stream what waits goes at once to a stream that opens during a claim") {
  OneDaemon one;
  one.daemon.Start(one.hub, "late", "Late", "");
  one.daemon.Settle();
  const FakeStream early = one.daemon.Open(one.hub, OnlyNames({{"early", {}}}));
  while (one.daemon.Turn()) {
  }
  // The claim of the first stream is still in the store.
  const FakeStream late = one.daemon.Open(one.hub, OnlyNames({{"late", {}}}));
  one.daemon.Settle();
  CHECK(early.sink->waiting() == 0);
  CHECK(late.sink->waiting() == 1);
}

}  // namespace
}  // namespace dt::testing
