// What health checks are told while the database takes no writes.
#include "server/readiness.h"

#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "tests/rpc/rpc_fixture.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

TEST_CASE("readiness_follows: it tells the first answer, and each that differs") {
  absl::Mutex mutex;
  absl::Status status;
  std::vector<std::string> told;
  int asked = 0;
  const auto await = [&](const auto& condition) {
    absl::MutexLock lock(&mutex);
    return mutex.AwaitWithTimeout(absl::Condition(&condition), kPatience);
  };
  const auto set = [&](absl::Status next) {
    absl::MutexLock lock(&mutex);
    status = std::move(next);
    asked = 0;
  };
  {
    Readiness readiness(
        [&] {
          absl::MutexLock lock(&mutex);
          ++asked;
          return status;
        },
        [&](const absl::Status& ready) {
          absl::MutexLock lock(&mutex);
          told.push_back(std::string(ready.message()));
        },
        absl::Milliseconds(1));
    const auto asked_again = [&] { return asked >= 3; };
    CHECK(await(asked_again));
    set(absl::UnavailableError("read-only"));
    CHECK(await(asked_again));
    set(absl::UnavailableError("full"));
    CHECK(await(asked_again));
    set(absl::OkStatus());
    CHECK(await(asked_again));
  }
  CHECK(told == std::vector<std::string>{"", "read-only", "full", ""});
}

}  // namespace
}  // namespace dt::testing
