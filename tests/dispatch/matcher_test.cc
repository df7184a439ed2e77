// The matcher alone: streams, credits and items that are none of the dispatcher's.
#include "server/dispatch/matcher.h"

#include "server/orchestration/random_ids.h"
#include "tests/support/catch.h"
#include "tests/support/fake_worker.h"

namespace dt::testing {
namespace {

using dispatch::Matcher;
using dispatch::WorkType;

struct PlainItem : dispatch::Item {
  PlainItem(WorkType its_type, int64_t its_number) : Item(its_type, its_number), id("item") {}
  int64_t key() const override { return number; }
  const std::string& instance_id() const override { return id; }
  int64_t item_bytes() const override { return bytes; }
  std::string id;
  int64_t bytes = 100;
};

struct Bench {
  Bench() { Pass(absl::ZeroDuration()); }

  void Pass(absl::Duration time) {
    now += time;
    step.Begin(now, now, &effects);
  }
  dispatch::Stream& Open(int turns, bool streams_history = false) {
    dispatch::StreamOptions options;
    options.hub = 1;
    options.orchestrations_max = options.activities_max = turns;
    options.history_streaming = streams_history;
    return *matcher.table().Open(++last_stream, options, std::make_shared<FakeSink>(), now);
  }
  PlainItem& Waiting(WorkType type = WorkType::kTurn, absl::Duration since = absl::ZeroDuration()) {
    items.push_back(std::make_unique<PlainItem>(type, step.NewNumber()));
    PlainItem& item = *items.back();
    item.lease = 77;
    item.hub = matcher.table().HubOf(1);
    item.route = matcher.table().RouteOf(*item.hub, type, "name", std::nullopt);
    ++item.route->users;
    matcher.Enqueue(item, now - since);
    return item;
  }
  // Sends what can be sent; the numbers of the items, in order.
  std::vector<int64_t> Pump(WorkType type = WorkType::kTurn) {
    std::vector<int64_t> sent;
    matcher.Pump(*matcher.table().HubOf(1), type, [&](dispatch::Item& item) {
      const Matcher::Choice choice = matcher.Choose(item, {});
      if (choice.stream == nullptr) return false;
      matcher.Dequeue(item);
      matcher.TakeCredit(*choice.stream, item);
      sent.push_back(item.number);
      return true;
    });
    return sent;
  }

  orchestration::RandomIds ids;
  std::vector<dispatch::Effect> effects;
  absl::Time now = absl::UnixEpoch();
  metrics::Metrics metrics;
  dispatch::StepContext step{{}, &ids, 1, &metrics};
  Matcher matcher{&step};
  std::vector<std::unique_ptr<PlainItem>> items;
  dispatch::StreamId last_stream = 0;
};

using Numbers = std::vector<int64_t>;

TEST_CASE("matcher_credits a stream has no more unanswered items than its credits") {
  Bench bench;
  dispatch::Stream& stream = bench.Open(2);
  for (int i = 0; i < 3; ++i) bench.Waiting();
  CHECK(bench.Pump() == Numbers{1, 2});
  CHECK(bench.matcher.items_in_flight() == 2);
  bench.matcher.FreeCredit(*bench.items[0]);
  CHECK(stream.credits[0].in_flight == 1);
  CHECK(bench.Pump() == Numbers{3});
}

TEST_CASE("matcher_order turns go by the time of their first message") {
  Bench bench;
  bench.Open(10);
  bench.Waiting(WorkType::kTurn, absl::Seconds(1));
  bench.Waiting(WorkType::kTurn, absl::Seconds(3));
  bench.Waiting(WorkType::kTurn, absl::Seconds(2));
  CHECK(bench.Pump() == Numbers{2, 3, 1});
}

TEST_CASE("matcher_tokens an item is found by its dispatch, under its lease only") {
  Bench bench;
  bench.Open(1);
  PlainItem& item = bench.Waiting();
  bench.Pump();
  CHECK(bench.matcher.FindInFlight({WorkType::kTurn, 77, item.dispatch}) == &item);
  CHECK(bench.matcher.FindInFlight({WorkType::kTurn, 78, item.dispatch}) == nullptr);
  CHECK(bench.matcher.FindInFlight({WorkType::kActivity, 77, item.dispatch}) == nullptr);
  CHECK(bench.matcher.FindInFlight({WorkType::kTurn, 77, item.dispatch + 1}) == nullptr);
  bench.matcher.FreeCredit(item);
  CHECK(bench.matcher.FindInFlight({WorkType::kTurn, 77, item.dispatch}) == nullptr);
}

TEST_CASE("matcher_holds the items whose time is up come out in the order of their dispatch") {
  Bench bench;
  bench.Open(10);
  PlainItem& first = bench.Waiting();
  bench.Pump();
  bench.Pass(absl::Minutes(1));
  PlainItem& second = bench.Waiting();
  bench.Pump();
  const absl::Duration hold = bench.step.limits.orchestration_hold_max;
  CHECK(bench.matcher.TakeExpired() == nullptr);
  bench.Pass(hold - absl::Minutes(1));
  CHECK(bench.matcher.TakeExpired() == &first);
  CHECK(bench.matcher.TakeExpired() == nullptr);
  CHECK(bench.matcher.NextDeadline() <= bench.now + absl::Minutes(1));
  bench.Pass(absl::Minutes(1));
  CHECK(bench.matcher.TakeExpired() == &second);
  CHECK(bench.matcher.items_in_flight() == 0);
}

TEST_CASE("matcher_back_off an item does not go back at once to the stream that gave it back") {
  Bench bench;
  bench.Open(1);
  PlainItem& item = bench.Waiting();
  bench.Pump();
  bench.matcher.AddBackoff(item);
  bench.matcher.FreeCredit(item);
  const Matcher::Choice none = bench.matcher.Choose(item, {});
  CHECK(none.stream == nullptr);
  CHECK(none.all_gave_back);
  bench.Pass(bench.step.limits.abandon_delay_min);
  CHECK(bench.matcher.Choose(item, {}).stream != nullptr);
}

TEST_CASE("matcher_choice a large history goes to a worker that streams it, if there is one") {
  Bench bench;
  bench.Open(10);
  const dispatch::StreamId streaming = bench.Open(10, /*streams_history=*/true).id;
  PlainItem& item = bench.Waiting();
  Matcher::Needs needs;
  needs.streams_history = true;
  CHECK(bench.matcher.Choose(item, needs).stream->id == streaming);
}

TEST_CASE("matcher_close what was at its worker comes back, in the order of its dispatch") {
  Bench bench;
  const dispatch::StreamId id = bench.Open(10).id;
  for (int i = 0; i < 3; ++i) bench.Waiting();
  bench.Pump();
  bench.matcher.FreeCredit(*bench.items[1]);
  std::vector<Matcher::Lost> lost;
  REQUIRE(bench.matcher.Close(id, &lost) != nullptr);
  REQUIRE(lost.size() == 2);
  CHECK(lost[0].item == bench.items[0].get());
  CHECK(lost[1].item == bench.items[2].get());
  CHECK((lost[0].charged && lost[1].charged));
  CHECK(bench.matcher.items_in_flight() == 0);
  CHECK(bench.matcher.Close(id, &lost) == nullptr);
}

TEST_CASE("matcher_share a stream whose credits are used up for long has all of them afterwards") {
  Bench bench;
  dispatch::Stream& stream = bench.Open(6);
  bench.matcher.SetContested(stream, WorkType::kTurn, true);
  for (int i = 0; i < 6; ++i) bench.Waiting();
  CHECK(bench.Pump().size() == 6);  // what is held goes, whatever the share is
  for (int second = 0; second < 300; ++second) {
    bench.Pass(absl::Seconds(1));
    bench.matcher.OnTime();
  }
  const dispatch::Credits& credits = stream.credits[dispatch::Index(WorkType::kTurn)];
  CHECK(credits.share.limit() >= 6);
  CHECK(credits.share.limit() <= 12);
}

TEST_CASE("matcher_reserve a credit is not promised to new work while older work waits for it") {
  Bench bench;
  bench.step.worker = 1;
  dispatch::Stream& stream = bench.Open(2);
  dispatch::Hub& hub = *stream.hub;
  const auto data = std::make_shared<const std::string>("data");
  const auto reserve = [&] {
    return bench.matcher.Reserve(hub, WorkType::kTurn, "name", std::nullopt, data);
  };
  const auto reservation = reserve();
  REQUIRE(reservation.has_value());
  CHECK(hub.work_bytes == 4);
  bench.Waiting();
  CHECK_FALSE(reserve().has_value());
  bench.matcher.Unreserve(*reservation);
  CHECK(hub.work_bytes == 0);
  CHECK(reserve().has_value());
}

}  // namespace
}  // namespace dt::testing
