// What a call costs: the pages that it looks at, in memory or not, counted by EXPLAIN. It says the
// same on every machine, however busy.
#ifndef DT_TESTS_SQL_COST_H_
#define DT_TESTS_SQL_COST_H_

#include <cstdint>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/sql/schema.h"

namespace dt::testing {

// One descent of an index is three pages, also of one with a million rows, perhaps one more to the
// right, and a row that is found one more.
constexpr int kPagesPerProbe = 5;
// Of the look whether the hub is there: a small index, and a row.
constexpr int kPagesOfHubLook = 2;

struct Cost {
  int64_t pages = 0;
  int64_t rows = 0;
};

// Runs a call and counts its pages and rows; nothing stays of it. Plans are made before, by the
// same call: planning reads the catalog.
inline Cost CostOf(postgres::Connection& connection, const std::string& call) {
  MustBeOk(connection.RunScript(absl::StrCat("begin; ", call, "; rollback; begin")));
  const postgres::Result plan =
      Run(connection, absl::StrCat("explain (analyze, buffers, timing off) ", call));
  MustBeOk(connection.RunScript("rollback"));
  Cost cost;
  const auto number_after = [](const std::string& line, const std::string& word) {
    const size_t at = line.find(word);
    return at == std::string::npos ? 0 : std::atoll(line.c_str() + at + word.size());
  };
  // The first lines are those of the whole call.
  const std::string head(plan.Text(0, 0));
  cost.rows = number_after(head, "actual rows=");
  const std::string buffers(plan.Text(1, 0));  // another line when no page was looked at
  cost.pages = number_after(buffers, "hit=") + number_after(buffers, "read=");
  return cost;
}

}  // namespace dt::testing

#endif  // DT_TESTS_SQL_COST_H_
