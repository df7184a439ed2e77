// How the verb `doctor` says what it found.
#include "server/doctor.h"

#include "server/program.h"
#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using postgres::Finding;
using postgres::Severity;

TEST_CASE("doctor_output: for people and for scripts, and the exit code of the worst") {
  std::vector<Finding> findings = {{Severity::kGood, "server", "PostgreSQL 15", ""}};
  CHECK(FindingsText(findings) == "good     server       PostgreSQL 15\n");
  CHECK(ExitCodeOf({}) == 0);
  CHECK(ExitCodeOf(findings) == 0);
  findings.push_back({Severity::kNote, "rights", "much", "less"});
  CHECK(ExitCodeOf(findings) == 0);
  findings.push_back({Severity::kWarning, "clock", "\"late\"", "set it"});
  CHECK(ExitCodeOf(findings) == kFoundWarnings);
  CHECK(FindingsText(findings) ==
        "good     server       PostgreSQL 15\n"
        "note     rights       much\n"
        "                      -> less\n"
        "warning  clock        \"late\"\n"
        "                      -> set it\n");
  CHECK(FindingsJson({findings[2]}) ==
        "{\"worst\":\"warning\",\"findings\":[{\"severity\":\"warning\",\"check\":\"clock\","
        "\"what\":\"\\\"late\\\"\",\"advice\":\"set it\"}]}\n");
  findings.push_back({Severity::kProblem, "schema", "gone", "up"});
  CHECK(ExitCodeOf(findings) == kFoundProblems);
}

}  // namespace
}  // namespace dt::testing
