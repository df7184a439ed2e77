// What the log says of workers that come and go, by a fake clock.
#include "server/dispatch/stream_log.h"

#include "absl/strings/str_cat.h"
#include "tests/support/catch.h"

namespace dt::dispatch {
namespace {

using Lines = StreamLog::Lines;

StreamOptions LoggedStream(const std::string& worker, int port = 1) {
  StreamOptions options;
  options.worker_id = worker;
  options.hub_name = "orders";
  options.peer = absl::StrCat("ipv4:127.0.0.1:", port);
  options.sdk = "grpc-java/1.60";
  return options;
}

// So many seconds after the test began.
absl::Time LogTime(double seconds) {
  return absl::FromUnixSeconds(1'000'000) + absl::Seconds(seconds);
}

constexpr char kOpened[] =
    "worker stream opened: hub 'orders', worker 'w', ipv4:127.0.0.1:1, grpc-java/1.60";
constexpr char kClosed[] =
    "worker stream closed: hub 'orders', worker 'w', ipv4:127.0.0.1:1: it left";

TEST_CASE("stream_log_lines: one short line each") {
  StreamLog log;
  CHECK(log.Opened(LoggedStream("w"), LogTime(0)) == Lines{kOpened});
  CHECK(log.Closed(LoggedStream("w"), "it left", LogTime(10)) == Lines{kClosed});
  CHECK(log.OnTime(LogTime(12)).empty());
  CHECK(log.Opened(LoggedStream("w"), LogTime(20)) == Lines{kOpened});
}

TEST_CASE(
    "stream_log_blinks: a worker that comes back at once again and again has a pair a minute") {
  StreamLog log;
  REQUIRE(log.Opened(LoggedStream("w"), LogTime(0)).size() == 1);
  CHECK(log.Closed(LoggedStream("w"), "it left", LogTime(1)).size() == 1);
  CHECK(log.Opened(LoggedStream("w", 2), LogTime(1.5)).size() == 1);  // the port is of no matter
  for (int i = 2; i < 60; ++i) {
    CHECK(log.Closed(LoggedStream("w"), "it left", LogTime(i)).empty());
    CHECK(log.Opened(LoggedStream("w"), LogTime(i + 0.5)).empty());
    CHECK(log.OnTime(LogTime(i + 0.9)).empty());
  }
  // Another one is not meant.
  CHECK(log.Opened(LoggedStream("v"), LogTime(60)).size() == 1);
  const Lines closed = log.Closed(LoggedStream("w"), "it left", LogTime(62));
  CHECK(closed == Lines{kClosed});
  CHECK(log.Opened(LoggedStream("w"), LogTime(62.5)) ==
        Lines{absl::StrCat(kOpened, "; it came back within a second 58 times more")});
}

TEST_CASE("stream_log_gone: one that does not come back is told of when its second is over") {
  StreamLog log;
  log.Opened(LoggedStream("w"), LogTime(0));
  log.Closed(LoggedStream("w"), "it left", LogTime(1));
  log.Opened(LoggedStream("w"), LogTime(1.5));
  CHECK(log.Closed(LoggedStream("w"), "it left", LogTime(5)).empty());
  REQUIRE(log.NextDeadline() <= LogTime(6));
  CHECK(log.OnTime(LogTime(5.9)).empty());
  CHECK(log.OnTime(LogTime(6)) == Lines{kClosed});
  CHECK(log.OnTime(LogTime(7)).empty());
  CHECK(log.Opened(LoggedStream("w"), LogTime(8)) == Lines{kOpened});
  // In the end nothing is remembered, and nothing is to do.
  CHECK(log.OnTime(LogTime(100)).empty());
  CHECK(log.NextDeadline() == absl::InfiniteFuture());
}

TEST_CASE("stream_log_bound: so many lines in an interval, the others counted") {
  StreamLog log;
  int64_t lines = 0;
  for (int i = 0; i < 500; ++i) {
    lines += static_cast<int64_t>(
        log.Opened(LoggedStream(std::to_string(i)), LogTime(0.001 * i)).size());
  }
  CHECK(lines == StreamLog::kLinesMax);
  const Lines next = log.Opened(LoggedStream("w"), LogTime(10));
  CHECK(next == Lines{absl::StrCat(kOpened, " (300 lines like this were left out before it)")});
}

}  // namespace
}  // namespace dt::dispatch
