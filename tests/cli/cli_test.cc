// The command line for people, as far as it needs no daemon: what is parsed, and what is printed.
#include "server/cli/cli.h"

#include <map>
#include <set>

#include "absl/time/clock.h"
#include "proto/management.pb.h"
#include "server/cli/output.h"
#include "server/orchestration/timestamps.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

namespace v1 = durabletask::postgres::v1;

absl::StatusOr<cli::Parsed> Parse(std::vector<const char*> arguments,
                                  const std::map<std::string, std::string>& environment = {}) {
  arguments.insert(arguments.begin(), "durabletask-sidecar");
  return cli::Parse(static_cast<int>(arguments.size()), arguments.data(),
                    [&environment](const char* name) {
                      const auto found = environment.find(name);
                      return found == environment.end() ? std::string() : found->second;
                    });
}

bool IsForPeople(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "durabletask-sidecar");
  return cli::IsForPeople(static_cast<int>(arguments.size()), arguments.data());
}

}  // namespace

TEST_CASE("cli_verbs: each is there once, with flags that are no common ones") {
  std::set<std::string> names;
  std::set<std::string_view> common;
  for (const cli::Flag& flag : cli::CommonFlags()) CHECK(common.insert(flag.name).second);
  for (const cli::Verb& verb : cli::Verbs()) {
    const std::string name = std::string(verb.group) + " " + std::string(verb.name);
    INFO(name);
    CHECK(names.insert(name).second);
    CHECK(verb.run != nullptr);
    std::set<std::string_view> own = common;
    for (const cli::Flag& flag : verb.flags) CHECK(own.insert(flag.name).second);
    CHECK(IsForPeople({std::string(verb.group).c_str()}));
  }
  CHECK(IsForPeople({"completion"}));
  CHECK_FALSE(IsForPeople({"serve"}));
  CHECK_FALSE(IsForPeople({"--help"}));
  CHECK_FALSE(IsForPeople({}));
}

TEST_CASE("cli_parse: flags, arguments and the environment, of which flags win") {
  auto parsed = Parse({"instance", "raise", "--input=-5", "a", "-o", "json", "b c", "--yes"});
  REQUIRE(parsed.ok());
  CHECK(parsed->verb->name == "raise");
  CHECK(parsed->request.arguments == std::vector<std::string>{"a", "b c"});
  CHECK(parsed->request.Get("input") == "-5");
  CHECK(parsed->request.json);
  CHECK(parsed->request.yes);
  CHECK(parsed->session.address == "127.0.0.1:4001");
  CHECK(parsed->session.timeout == absl::Seconds(30));

  const std::map<std::string, std::string> environment = {
      {"DTPG_ADDRESS", "there:1"}, {"DTPG_TASKHUB", "shop"}, {"DTPG_TOKEN", "secret"}};
  parsed = Parse({"worker", "list"}, environment);
  REQUIRE(parsed.ok());
  CHECK(parsed->session.address == "there:1");
  CHECK(parsed->session.task_hub == "shop");
  CHECK(parsed->session.token == "secret");
  CHECK_FALSE(parsed->request.Has("input"));
  parsed = Parse({"worker", "list", "--address", "here:2", "--taskhub", "", "--timeout", "1m"},
                 environment);
  REQUIRE(parsed.ok());
  CHECK(parsed->session.address == "here:2");
  CHECK(parsed->session.task_hub.empty());
  CHECK(parsed->session.timeout == absl::Minutes(1));

  parsed = Parse({"instance", "start", "x", "--tag", "a=1", "--tag=b=2"});
  REQUIRE(parsed.ok());
  CHECK(parsed->request.flags.find("tag")->second == std::vector<std::string>{"a=1", "b=2"});
}

TEST_CASE("cli_values: times, counts and statuses") {
  CHECK(cli::ParseTime("at", "2026-12-01T03:00:00.5+01:00", false)->seconds() == 1796090400);
  CHECK(cli::ParseTime("at", "2026-12-01T03:00:00.5+01:00", false)->nanos() == 500'000'000);
  const absl::Time now = absl::Now();
  const absl::Duration off =
      orchestration::ToTime(*cli::ParseTime("before", "30d", true)) - (now - absl::Hours(720));
  CHECK(absl::AbsDuration(off) < absl::Seconds(20));
  CHECK(orchestration::ToTime(*cli::ParseTime("at", "2h", false)) > now + absl::Minutes(119));
  for (const char* wrong : {"", "soon", "-5s", "inf", "d", "2026-12-01"}) {
    INFO(wrong);
    CHECK_FALSE(cli::ParseTime("at", wrong, false).ok());
  }
  CHECK(*cli::ParseCount("limit", "1000000", 1'000'000) == 1'000'000);
  for (const char* wrong : {"0", "-1", "1000001", "1.5", "9999999999"}) {
    CHECK_FALSE(cli::ParseCount("limit", wrong, 1'000'000).ok());
  }
  CHECK(*cli::ParseStatuses("failed, ContinuedAsNew") ==
        std::vector<OrchestrationStatus>{ORCHESTRATION_STATUS_FAILED,
                                         ORCHESTRATION_STATUS_CONTINUED_AS_NEW});
  CHECK(cli::ParseStatuses("")->empty());
  CHECK_FALSE(cli::ParseStatuses("running,asleep").ok());
}

TEST_CASE("cli_text: what others wrote stays on its line") {
  CHECK(cli::Printable("a\nb\tc\x1b[2J\x7f\"ü\"") == "a\\nb\\tc\\x1b[2J\\x7f\"ü\"");
  CHECK(cli::Printable("\xC2\x9B") == "\\x9b");  // a control of one character
  CHECK(cli::Printable("\xC2\xA0") == "\xC2\xA0");
  CHECK(cli::Cut("größer", 6) == "größer");
  CHECK(cli::Cut("größer", 3) == "grö...");
  cli::Table table({"ID", "NAME"});
  table.Add({"ü", "x"});
  table.Add({"abc", ""});
  CHECK(table.Text() == "ID   NAME\nü    x\nabc\n");
}

TEST_CASE("cli_json: 64 bits and microseconds stay exact") {
  v1::Worker worker;
  worker.set_worker_id((int64_t{1} << 53) + 1);
  *worker.mutable_since() = orchestration::ToTimestamp(absl::FromUnixMicros(1'000'001));
  const std::string text = cli::JsonOf(worker);
  CHECK(text.find(R"("workerId":"9007199254740993")") != std::string::npos);
  CHECK(text.find(R"("since":"1970-01-01T00:00:01.000001Z")") != std::string::npos);
  CHECK(cli::JsonArray(std::vector<v1::Worker>{}) == "[]\n");
  HistoryEvent event;
  event.mutable_taskfailed()->set_taskscheduledid(3);
  event.mutable_taskfailed()->mutable_failuredetails()->set_errortype("E");
  CHECK(cli::FieldsText(event.taskfailed()) == "taskScheduledId=3 failureDetails=errorType=E");
}

}  // namespace dt::testing
