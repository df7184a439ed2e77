// Silence is a fault: what waits although workers are connected is named in the log.
// (RULES.md 2.11)
#include "absl/strings/str_cat.h"
#include "tests/dispatch/fixture.h"
#include "tests/support/log_capture.h"

namespace dt::testing {
namespace {

constexpr char kNotAccepted[] = "WorkNotAccepted";

dispatch::StreamOptions Accepting(std::vector<NameFilter> turns, std::vector<NameFilter> tasks) {
  dispatch::StreamOptions options;
  options.hub_name = "orders";
  options.orchestration_filters = std::move(turns);
  options.activity_filters = std::move(tasks);
  return options;
}

TEST_CASE("unaccepted_work is named within a minute, and again at most once a minute") {
  const LogCapture log;
  OneDaemon one;
  const FakeStream a = one.daemon.Open(one.hub, Accepting({{"other", {}}, {"chain", {"1"}}}, {}));
  const FakeStream b = one.daemon.Open(one.hub, Accepting({{"more", {}}}, {{"echo", {}}}));
  for (int i = 0; i < 3; ++i) {
    one.daemon.Start(one.hub, absl::StrCat("v2-", i), "Chain", "1", nullptr, "2");
    one.Pass(absl::Seconds(1));
  }
  one.daemon.Start(one.hub, "fine", "CHAIN", "1", nullptr, "1");
  one.Pass(absl::Seconds(57));
  CHECK(log.Count(kNotAccepted) == 1);
  CHECK(
      log.Has("task hub 'orders': 3 orchestrations 'Chain' of version '2' waiting, the oldest, of "
              "instance 'v2-0', for "));
  CHECK(log.Has("of none of the 2 worker streams"));
  one.Pass(absl::Minutes(3));
  CHECK(log.Count(kNotAccepted) >= 3);
  CHECK(log.Count(kNotAccepted) <= 4);
  CHECK(log.Count("'fine'") == 0);

  // Accepted, it is spoken of no more, also while the worker is too busy for it.
  const int before = log.Count(kNotAccepted);
  dispatch::StreamOptions busy = Accepting({{"chain", {}}}, {});
  busy.orchestrations_max = 1;
  const FakeStream c = one.daemon.Open(one.hub, busy);
  one.Pass(absl::Minutes(3));
  CHECK(log.Count(kNotAccepted) == before);
}

TEST_CASE("unaccepted_work activities and turns without a version are named likewise") {
  const LogCapture log;
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream turns = one.daemon.Open(one.hub, Accepting({{"chain", {}}}, {}));
  one.daemon.Start(one.hub, "c", "Chain", "1");
  one.daemon.Settle();
  one.daemon.RunWorkers({turns}, functions);
  one.daemon.Start(one.hub, "f\nforged", "FanOut", "1");
  one.Pass(absl::Minutes(1));
  CHECK(log.Has("1 activity 'Echo' without a version waiting, the oldest, of instance 'c', for "));
  CHECK(
      log.Has("1 orchestration 'FanOut' without a version waiting, the oldest, of instance "
              "'f\\nforged', for "));
}

TEST_CASE("unaccepted_work entities are named likewise, without a version") {
  const LogCapture log;
  OneDaemon one;
  dispatch::StreamOptions lamps = Accepting({}, {});
  lamps.entity_filters = std::vector<NameFilter>{{"lamp", {}}};
  const FakeStream stream = one.daemon.Open(one.hub, lamps);
  for (const char* id : {"@counter@a", "@counter@b", "@lamp@1"}) {
    ClientMessage signal;
    signal.hub = one.hub;
    signal.instance_id = id;
    signal.message.event_type = HistoryEvent::kEntityOperationSignaled;
    signal.message.event = std::make_shared<const std::string>("signal");
    one.store.SendMessage(std::move(signal), [](const absl::StatusOr<Delivery>&) {});
    one.Pass(absl::Seconds(1));
  }
  one.Pass(absl::Minutes(1));
  CHECK(
      log.Has("task hub 'orders': 2 entities 'counter' waiting, the oldest, of instance "
              "'@counter@a', for "));
  CHECK(log.Has("Connect a worker that has this name and takes entities, or "));
  CHECK(log.Count("'lamp'") == 0);
}

TEST_CASE("unaccepted_work given back by every worker is named with the reason") {
  const LogCapture log;
  OneDaemon one;
  const FakeStream stream = one.daemon.Open(one.hub);
  for (const char* id : {"r1", "r2"}) one.daemon.Start(one.hub, id, "Chain", "1", nullptr, "9");
  for (int i = 0; i < 600; ++i) {
    while (const std::optional<WorkItem> item = stream.sink->Take()) {
      one.daemon.Abandon(one.hub, *item);
    }
    one.Pass(absl::Milliseconds(100));
  }
  CHECK(log.Count(kNotAccepted) == 1);
  CHECK(log.Has("2 orchestrations 'Chain' of version '9' given back, one of instance 'r"));
}

TEST_CASE("unaccepted_work costs no query where every stream accepts everything, or none is left") {
  OneDaemon one;
  const FakeStream all = one.daemon.Open(one.hub);
  one.Pass(absl::Minutes(2));
  CHECK(one.database.Count().looks == 0);
  one.daemon.Close(all);
  const FakeStream some = one.daemon.Open(one.hub, Accepting({{"chain", {}}}, {}));
  one.Pass(absl::Minutes(2));
  const int64_t looks = one.database.Count().looks;
  CHECK(looks >= 4);
  CHECK(looks <= 5);
  one.daemon.Close(some);
  one.Pass(absl::Minutes(2));
  CHECK(one.database.Count().looks == looks);
}

}  // namespace
}  // namespace dt::testing
