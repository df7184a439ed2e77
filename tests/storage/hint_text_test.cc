// What daemons send each other by NOTIFY, and how often.
#include "storage/postgres/hint_text.h"

#include <numeric>

#include "storage/postgres/hint_pace.h"
#include "tests/support/catch.h"

namespace dt::postgres {
namespace {

TEST_CASE("hint_text_pure: hints are read as they were written") {
  const std::optional<ReceivedHint> work = ParseHint(WorkHintText(7, 12));
  REQUIRE(work.has_value());
  CHECK(work->hub == 7);
  CHECK(work->sender == 12);
  CHECK_FALSE(work->waits.has_value());

  const WaitHintKind kind = GENERATE(WaitHintKind::kAwaited, WaitHintKind::kChanged,
                                     WaitHintKind::kTellAgain, WaitHintKind::kWorkersChanged);
  const size_t count = GENERATE(0u, 1u, kWaitsPerHint, kWaitsPerHint + 1, 3 * kWaitsPerHint);
  WaitHints hints{7, kind, std::vector<uint64_t>(count)};
  std::iota(hints.waits.begin(), hints.waits.end(), ~uint64_t{0} - count);
  std::vector<uint64_t> names;
  const std::vector<std::string> texts = WaitHintTexts(hints, 12);
  CHECK(texts.size() == std::max<size_t>(1, (count + kWaitsPerHint - 1) / kWaitsPerHint));
  for (const std::string& text : texts) {
    CHECK(text.size() < 8000);
    const std::optional<ReceivedHint> hint = ParseHint(text);
    REQUIRE(hint.has_value());
    CHECK(hint->sender == 12);
    REQUIRE(hint->waits.has_value());
    CHECK(hint->waits->hub == 7);
    CHECK(hint->waits->kind == kind);
    names.insert(names.end(), hint->waits->waits.begin(), hint->waits->waits.end());
  }
  CHECK(names == hints.waits);
}

TEST_CASE("hint_text_pure: what is none is passed over") {
  const std::string name = "0123456789abcdef";
  CHECK(ParseHint("5 2 a" + name).has_value());
  for (const std::string& text :
       {std::string(), std::string("x"), std::string("5"), std::string("5 "), std::string("5 x"),
        std::string("5 2 "), std::string("5 2 3"), std::string("5 2 x" + name),
        std::string("5 2 a" + name + "0"), std::string("5 2 a0123456789abcdeg"),
        std::string("5 2 a 123456789abcde"), std::string("99999999999 2")}) {
    CAPTURE(text);
    CHECK_FALSE(ParseHint(text).has_value());
  }
}

TEST_CASE("hint_pace_pure: a few go at once, and all daemons together send so many a second") {
  absl::Time now = absl::UnixEpoch();
  HintPace pace;
  pace.SetDaemons(50);
  for (int i = 0; i < HintPace::kAtOnce; ++i) {
    CHECK(pace.Next(now) == now);
    pace.Add(now);
  }
  for (int i = 0; i < 100; ++i) {
    CHECK(pace.Next(now) == now + 50 * HintPace::kInterval);
    now = pace.Next(now);
    pace.Add(now);
  }
  now += absl::Hours(1);
  CHECK(pace.Next(now) == now);
}

}  // namespace
}  // namespace dt::postgres
