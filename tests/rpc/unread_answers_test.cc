// What callers may leave unread of large answers.
#include "server/rpc/unread_answers.h"

#include <memory>
#include <vector>

#include "tests/support/catch.h"

namespace dt::rpc {
namespace {

constexpr int64_t kMax = 100 << 20;
constexpr int64_t kAnswer = 1 << 20;

TEST_CASE("unread_answers_bound one hub gets half, and others something still") {
  UnreadAnswers answers(kMax);
  std::vector<std::unique_ptr<UnreadAnswers::Charge>> unread;
  const auto count = [&](HubId hub) {
    unread.push_back(std::make_unique<UnreadAnswers::Charge>());
    return answers.Count(hub, kAnswer, *unread.back());
  };
  int given = 0;
  while (count(1).ok()) ++given;
  CHECK(given == kMax / kAnswer / 2);
  const absl::Status refused = count(1);
  CHECK(absl::IsResourceExhausted(refused));
  CHECK(refused.message() ==
        "an answer of 1048576 bytes: 52428800 bytes of answers to callers of this task hub are not "
        "read yet, and 104857600 of all hubs may be (a part of memory.bytes-max); try again when "
        "some have been read");
  CHECK(count(2).ok());
  unread.erase(unread.begin());  // one is read
  CHECK(count(1).ok());
  unread.clear();
  for (int i = 0; i < given; ++i) CHECK(count(3).ok());
}

TEST_CASE("unread_answers_small small ones are not counted, and a charge holds one answer") {
  UnreadAnswers answers(4 * kAnswer);
  std::vector<std::unique_ptr<UnreadAnswers::Charge>> unread;
  for (int i = 0; i < 10000; ++i) {
    unread.push_back(std::make_unique<UnreadAnswers::Charge>());
    REQUIRE(answers.Count(1, 1000, *unread.back()).ok());
  }
  UnreadAnswers::Charge page;
  for (int i = 0; i < 100; ++i) REQUIRE(answers.Count(1, 2 * kAnswer, page).ok());
  UnreadAnswers::Charge other;
  CHECK_FALSE(answers.Count(1, kAnswer, other).ok());
}

}  // namespace
}  // namespace dt::rpc
