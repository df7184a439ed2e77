// What ends leaves no entry behind (server/dispatch/deadlines.h), whatever lives on before it.
#include "server/dispatch/deadlines.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "tests/dispatch/fixture.h"

namespace dt::testing {
namespace {

absl::Time AtSecond(int64_t seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

// Of all the queues of a dispatcher together.
constexpr size_t kEndedMax = 6 * dispatch::Deadlines<int64_t>::kEndedMax;

TEST_CASE("ended_leaves_nothing_pure one that lives on keeps none of those that ended behind it") {
  dispatch::Deadlines<int64_t> deadlines;
  deadlines.Set(0, AtSecond(1));
  for (int64_t id = 1; id <= 1000; ++id) {
    deadlines.Set(id, AtSecond(1 + id));
    CHECK(deadlines.size() <= 2 * 2 + deadlines.kEndedMax);
    deadlines.Remove(id);
    deadlines.Remove(id);
  }
  CHECK(deadlines.size() <= 2 + deadlines.kEndedMax);
  CHECK(deadlines.next() == AtSecond(1));
  deadlines.Set(0, AtSecond(7));  // put off
  CHECK(deadlines.next() == AtSecond(7));
  CHECK(!deadlines.Take(AtSecond(6)).has_value());
  CHECK(deadlines.Take(AtSecond(7)) == 0);
  CHECK(deadlines.size() == 0);
  CHECK(deadlines.next() == absl::InfiniteFuture());
  CHECK(!deadlines.Take(absl::InfiniteFuture()).has_value());
}

TEST_CASE("ended_in_order_pure what is due comes out in the order of its time") {
  dispatch::Deadlines<int64_t> deadlines;
  for (int64_t id : {5, 3, 9, 1, 7}) deadlines.Set(id, AtSecond(id));
  deadlines.Set(9, AtSecond(2));
  deadlines.Remove(3);
  std::vector<int64_t> taken;
  while (const std::optional<int64_t> id = deadlines.Take(AtSecond(5))) taken.push_back(*id);
  CHECK(taken == std::vector<int64_t>{1, 9, 5});
  CHECK(deadlines.next() == AtSecond(7));  // what is left of them
}

TEST_CASE("ended_behind_held an activity that is held for hours keeps nothing of those that end") {
  OneDaemon one;
  const Functions functions = SomeFunctions(one.clock);
  const FakeStream stream = one.daemon.Open(one.hub);
  one.daemon.Start(one.hub, "held", "Chain", "1");
  one.daemon.Settle();
  one.daemon.Work(stream, functions);
  one.daemon.Settle();
  const WorkItem held = stream.sink->Take().value();
  REQUIRE(held.has_activityrequest());
  const size_t before = one.daemon.dispatcher().Count().deadlines;
  for (int i = 0; i < 200; ++i) {
    one.daemon.Start(one.hub, absl::StrCat("c", i), "Chain", "3");
    one.daemon.RunWorkers({stream}, functions);
  }
  CHECK(one.database.Count().live == 1);
  CHECK(one.daemon.dispatcher().Count().deadlines <= 2 * before + kEndedMax);
  one.daemon.Answer(one.hub, RunActivity(functions, held));
  one.daemon.RunWorkers({stream}, functions);
  CHECK(one.Output("held") == "1");
  CHECK(one.daemon.dispatcher().Count().deadlines <= kEndedMax);
}

TEST_CASE("ended_behind_wait a call that waits for an hour keeps nothing of those that end") {
  OneDaemon one;
  const auto completion = dispatch::DispatchThread::WaitFor::kCompletion;
  std::vector<std::optional<absl::Status>> answers(201);
  one.daemon.Wait(one.hub, "nobody", completion, &answers[200]);
  one.daemon.Settle();
  const size_t before = one.daemon.dispatcher().Count().deadlines;
  for (int i = 0; i < 200; ++i) {
    const dispatch::WaitId wait = one.daemon.Wait(one.hub, "nobody", completion, &answers[i]);
    one.daemon.Settle();
    one.daemon.Post(dispatch::WaitCancelled{wait});
    one.daemon.Settle();
  }
  CHECK(one.daemon.dispatcher().Count().deadlines <= 2 * before + kEndedMax);
  CHECK(!answers[200].has_value());
}

}  // namespace
}  // namespace dt::testing
