// Activities that run here at once and have no row of their own (server/dispatch/inline_tasks.cc).
#include "absl/strings/str_cat.h"
#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

// An orchestration "f" that has scheduled so many activities, none of which is answered.
struct Scheduled {
  Scheduled(OneDaemon& one, const FakeStream& stream, const Functions& functions, int activities) {
    one.daemon.Start(one.hub, "f", "FanOut", absl::StrCat(activities));
    one.daemon.Settle();
    one.daemon.Work(stream, functions);
    one.daemon.Settle();
    counts = one.database.Count();
  }
  MemoryDatabase::Counts counts;
};

dispatch::StreamOptions WithActivities(int max) {
  dispatch::StreamOptions options;
  options.activities_max = max;
  return options;
}

TEST_CASE("inline_fan_out activities that a worker takes at once have no rows") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub, WithActivities(2000));
  const Scheduled scheduled(one, stream, functions, 1024);
  CHECK(scheduled.counts.inline_tasks == 1024);
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("f") == "1024");
  CHECK(one.database.Count().tasks == 0);
}

TEST_CASE("inline_fan_out too many activities for one hot row have rows") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub, WithActivities(2000));
  const Scheduled scheduled(one, stream, functions, 1025);
  CHECK(scheduled.counts.inline_tasks == 0);
  CHECK(scheduled.counts.tasks == 1025);
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("f") == "1025");
}

TEST_CASE("inline_fan_out activities that wait for a worker have rows") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub, WithActivities(10));
  const Scheduled scheduled(one, stream, functions, 100);
  CHECK(scheduled.counts.inline_tasks == 10);
  CHECK(scheduled.counts.tasks == 100);
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("f") == "100");
  CHECK(one.database.Count().tasks == 0);
}

TEST_CASE("inline_fan_out activities of a worker that goes are run by the next") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub, WithActivities(2000));
  const Scheduled scheduled(one, stream, functions, 300);
  REQUIRE(scheduled.counts.inline_tasks == 300);
  one.daemon.Close(stream);
  one.Pass(absl::Seconds(30));
  CHECK(one.database.Count().inline_tasks == 0);
  CHECK(one.database.Count().leased_instances == 0);
  CHECK(one.database.Count().tasks == 300);
  const FakeStream next = one.daemon.Open(one.hub, WithActivities(20));
  one.daemon.RunWorkers({next}, functions);
  CHECK(one.Output("f") == "300");
}

}  // namespace
}  // namespace dt::testing
