// What callers can do to the log: forge no line, steer no terminal, and not fill it.
#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "grpcpp/generic/generic_stub.h"
#include "server/logging.h"
#include "server/rpc/frame_buffer.h"
#include "server/rpc/repeat_limiter.h"
#include "storage/log_events.h"
#include "storage/log_fields.h"
#include "tests/rpc/access_fixture.h"
#include "tests/support/catch.h"
#include "tests/support/log_capture.h"

namespace dt::testing {
namespace {

constexpr char kForged[] = "i\n2030-01-01 00:00:00.000 critical forged";

TEST_CASE("log_line_text: one line of plain text, whatever comes") {
  CHECK(LineText("") == "");
  CHECK(LineText("plain 'text', \"quotes\" and C:\\path") ==
        "plain 'text', \"quotes\" and C:\\path");
  CHECK(LineText("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80") ==
        "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
  CHECK(LineText(kForged) == "i\\n2030-01-01 00:00:00.000 critical forged");
  CHECK(LineText("\r\t") == "\\r\\t");
  CHECK(LineText(std::string("\0\x1b[2J\x7f", 6)) == "\\x00\\x1b[2J\\x7f");
  // The second set of control characters, of which U+009B begins terminal escapes as well.
  CHECK(LineText("\xc2\x9b[2J\xc2\x85\xc2\xa0") == "\\u009b[2J\\u0085\xc2\xa0");
  CHECK(LineText("a\xe2\x80\xa8 b\xe2\x80\xae c\xe2\x81\xa6 d\xe2\x80\x8f") ==
        "a\\u2028 b\\u202e c\\u2066 d\\u200f");
  // No UTF-8: a single byte, a cut character, an overlong one, a surrogate, one above U+10FFFF.
  CHECK(LineText("\xff|\xe2\x82|\xc0\xaf|\xed\xa0\x80|\xf4\x90\x80\x80") ==
        "\\xff|\\xe2\\x82|\\xc0\\xaf|\\xed\\xa0\\x80|\\xf4\\x90\\x80\\x80");
}

TEST_CASE("log_json_string: valid JSON of one line, without terminal escapes") {
  CHECK(JsonString("a\"b\\c") == "\"a\\\"b\\\\c\"");
  CHECK(JsonString("\n\x1b\x7f\xc2\x9b\xe2\x80\xae") == "\"\\u000a\\u001b\\u007f\\u009b\\u202e\"");
  CHECK(JsonString("\xff\xc3\xbc") == "\"\\ufffd\xc3\xbc\"");
}

TEST_CASE("log_json_fields: event, what the line is about, and SQLSTATE are fields of their own") {
  const LogCapture log(MakeLogFormatter(LogFormat::kJson));
  const auto line = [&log] {
    const std::string text = log.Lines().back();
    return text.substr(text.find(",\"level\""));
  };
  spdlog::warn("{}: no word of it", log_event::kGenericWarning);
  CHECK(line() ==
        ",\"level\":\"warning\",\"event_id\":304,\"name\":\"GenericWarning\","
        "\"msg\":\"GenericWarning (304): no word of it\"}\n");
  {
    const LogFields hub({{log_field::kTaskHub, "h\"1"}, {log_field::kWorkerId, ""}});
    const LogFields instance({{log_field::kInstanceId, "i"}, {log_field::kDurationMs, "17"}});
    spdlog::error("it failed [SQLSTATE 53100]");
    CHECK(line() ==
          ",\"level\":\"error\",\"instance_id\":\"i\",\"duration_ms\":17,"
          "\"task_hub\":\"h\\\"1\",\"sqlstate\":\"53100\","
          "\"msg\":\"it failed [SQLSTATE 53100]\"}\n");
  }
  // What a caller sends is no field.
  for (const char* text : {"Name (x): y", "Na me (300): y", "(300): y", "[SQLSTATE 531",
                           "Name (): y", "[SQLSTATE \"\",\"\"]"}) {
    spdlog::info("{}", text);
    CHECK(line() == ",\"level\":\"info\",\"msg\":" + JsonString(text) + "}\n");
  }
}

TEST_CASE("log_line_length: a line has an end") {
  const LogCapture log(MakeLogFormatter(LogFormat::kText));
  spdlog::warn("{}", std::string(kLineBytesMax + 5, 'x'));
  CHECK(log.Lines().front().size() < kLineBytesMax + 100);
  CHECK(log.Has("... (5 bytes more)"));
}

TEST_CASE("log_repeats: so many of a kind in an interval, the others counted, by a fake clock") {
  rpc::RepeatLimiter lines(absl::Seconds(10), /*lines_max=*/2);
  const absl::Time start = absl::FromUnixSeconds(1'000'000);
  const auto admit = [&](const char* kind, int seconds) {
    return lines.Admit(kind, start + absl::Seconds(seconds)).value_or(-1);
  };
  CHECK(admit("a", 0) == 0);
  CHECK(admit("a", 1) == 0);
  CHECK(admit("a", 1) == -1);
  CHECK(admit("b", 1) == 0);  // each kind for itself
  CHECK(admit("a", 9) == -1);
  CHECK(lines.TakeLeftOut(start + absl::Seconds(9)).empty());
  CHECK(admit("a", 10) == 2);  // told with the next of its kind,
  CHECK(admit("a", 11) == 0);
  CHECK(admit("a", 12) == -1);
  CHECK(lines.TakeLeftOut(start + absl::Seconds(19)).empty());
  const auto left_out = lines.TakeLeftOut(start + absl::Seconds(20));  // or when none comes
  REQUIRE(left_out.size() == 1);
  CHECK(left_out[0].kind == "a");
  CHECK(left_out[0].lines == 1);
  CHECK(lines.TakeLeftOut(start + absl::Seconds(20)).empty());
  CHECK(admit("a", 20) == 0);
  CHECK(admit("a", 5) == 0);  // the clock was set back, which must not silence anything
}

TEST_CASE("log_repeats_kinds: kinds cost no more memory than a bound, and share the rest") {
  rpc::RepeatLimiter lines(absl::Seconds(10), /*lines_max=*/1);
  const absl::Time now = absl::FromUnixSeconds(1'000'000);
  for (size_t i = 0; i < rpc::RepeatLimiter::kKindsMax; ++i) {
    REQUIRE(lines.Admit(std::to_string(i), now) == 0);
  }
  CHECK(lines.Admit("one more", now) == 0);
  CHECK_FALSE(lines.Admit("another", now).has_value());
  CHECK_FALSE(lines.Admit("0", now).has_value());
}

// Sends StartInstance with a name that is no UTF-8, which protobuf complains about before anybody
// is asked who calls.
void SendInvalidUtf8(TestServer& server, int calls) {
  grpc::GenericStub stub(server.NewChannel());
  const std::string request("\x12\x02\xff\xfe", 4);  // field 2, name
  for (int i = 0; i < calls; ++i) {
    const std::unique_ptr<grpc::ClientContext> context = NewContext();
    const grpc::ByteBuffer bytes = rpc::MakeByteBuffer(request);
    grpc::ByteBuffer response;
    grpc::Status status;
    absl::Notification done;
    stub.UnaryCall(context.get(), "/TaskHubSidecarService/StartInstance", grpc::StubOptions(),
                   &bytes, &response, [&](grpc::Status answer) {
                     status = std::move(answer);
                     done.Notify();
                   });
    done.WaitForNotification();
    REQUIRE_FALSE(status.ok());
  }
}

TEST_CASE("log_flood: invalid UTF-8 of a caller is one line, however often it comes") {
  TestServer server;
  RouteLibraryLogs();
  const LogCapture log(MakeLogFormatter(LogFormat::kText));
  const absl::Time start = absl::Now();
  SendInvalidUtf8(server, 500);
  const auto intervals = (absl::Now() - start) / kRepeatInterval;
  CHECK(log.Has(" warning GenericWarning (304): protobuf at "));
  CHECK(log.Has("invalid UTF-8"));
  CHECK(static_cast<double>(log.Count("protobuf")) <= 1 + intervals);
}

TEST_CASE("log_flood_json: the same as JSON, nothing else is written") {
  TestServer server;
  RouteLibraryLogs();
  const LogCapture log(MakeLogFormatter(LogFormat::kJson));
  SendInvalidUtf8(server, 20);
  REQUIRE(log.Has("invalid UTF-8"));
  for (const std::string& line : log.Lines()) {
    INFO(line);
    CHECK(absl::StartsWith(line, "{\"ts\":\""));
    CHECK(absl::EndsWith(line, "\"}\n"));
  }
}

TEST_CASE("log_forged_line: an instance id with a newline stays in its line") {
  TestServer server;
  const LogCapture log(MakeLogFormatter(LogFormat::kText));
  server.Start("o", kForged);
  // Resuming what is not suspended does nothing, which the log says with the id.
  ResumeRequest request;
  request.set_instanceid(kForged);
  ResumeResponse response;
  REQUIRE(server.stub().ResumeInstance(NewContext().get(), request, &response).ok());
  FakeWorker worker(server.stub());
  Eventually([&] {
    return log.Has(
        "DiscardingEvent (313): instance i\\n2030-01-01 00:00:00.000 critical forged, message");
  });
  for (const std::string& line : log.Lines()) {
    INFO(line);
    CHECK(line.find('\n') == line.size() - 1);
  }
}

TEST_CASE("log_streams: a worker that comes and goes for ever does not fill the log") {
  TestServerOptions options;
  options.dispatch.health_ping_interval = absl::Milliseconds(1);
  TestServer server(std::move(options));
  const LogCapture log;
  const absl::Time start = absl::Now();
  for (int i = 0; i < 250; ++i) {
    FakeWorker worker(server.stub());
    REQUIRE(worker.WaitForPings(1));  // so it is open
    worker.Cancel();
    REQUIRE(worker.WaitForEnd().has_value());
  }
  const double allowed = 200 * (1 + (absl::Now() - start) / absl::Seconds(10));
  CHECK(log.Has("worker stream opened"));
  CHECK(log.Count("worker stream opened") <= allowed);
  CHECK(log.Count("worker stream closed") <= allowed);
}

}  // namespace
}  // namespace dt::testing
