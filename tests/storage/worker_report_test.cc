// What daemons tell of themselves in Workers.
#include "storage/postgres/worker_report.h"

#include "tests/support/catch.h"

namespace dt::postgres {
namespace {

TEST_CASE("worker_report_pure: what is served is read as it was written") {
  WorkerReport report;
  report.served.push_back({7, 1, 2, 400, std::vector<std::string>{"größe", "a\"b\\c"}});
  report.served.push_back({7, 0, 1, 100, std::nullopt});
  report.served.push_back({2147483647, 2, 1, 1, std::vector<std::string>{}});
  report.served.push_back({7, 1, 1, 1, std::vector<std::string>{"a", "b"}, {{"b", {"", "1.0"}}}});
  report.residents = 12;
  report.finished_per_second = 1234.5678;
  report.leases = 17;
  CHECK(LoadText(report).find("\"per_second\":1234.6") != std::string::npos);
  CHECK(LoadText(report).find("\"leases\":17") != std::string::npos);
  const std::vector<ServedWork> served = ParseServed(ServedText(report.served));
  REQUIRE(served.size() == report.served.size());
  for (size_t i = 0; i < served.size(); ++i) {
    CHECK(served[i] == report.served[i]);
  }
}

TEST_CASE("worker_report_pure: what cannot be read serves nothing") {
  for (const char* text : {"", "x", "[]", "{}", R"({"served": 5})"}) {
    CHECK(ParseServed(text).empty());
  }
}

}  // namespace
}  // namespace dt::postgres
