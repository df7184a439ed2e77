#include "server/doctor.h"

#include "absl/strings/str_join.h"
#include "fmt/format.h"
#include "server/database.h"
#include "server/logging.h"
#include "server/program.h"

namespace dt {
namespace {

using postgres::Finding;
using postgres::Severity;

std::string_view NameOf(Severity severity) {
  switch (severity) {
    case Severity::kProblem:
      return "problem";
    case Severity::kWarning:
      return "warning";
    case Severity::kNote:
      return "note";
    case Severity::kGood:
      break;
  }
  return "good";
}

}  // namespace

absl::StatusOr<std::vector<Finding>> ExamineDatabase(const Config& config) {
  absl::StatusOr<std::unique_ptr<postgres::Connection>> connection = ConnectNow(config);
  if (!connection.ok()) return connection.status();
  const absl::StatusOr<postgres::DatabaseFacts> facts =
      postgres::ReadDatabaseFacts(**connection, config.store.schema);
  if (!facts.ok()) return facts.status();
  return postgres::Judge(*facts);
}

std::string FindingsText(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& finding : findings) {
    text += fmt::format("{:<8} {:<12} {}\n", NameOf(finding.severity), finding.check, finding.what);
    if (!finding.advice.empty()) text += fmt::format("{:22}-> {}\n", "", finding.advice);
  }
  return text;
}

std::string FindingsJson(const std::vector<Finding>& findings) {
  std::vector<std::string> items;
  for (const Finding& finding : findings) {
    items.push_back(fmt::format(R"({{"severity":{},"check":{},"what":{},"advice":{}}})",
                                JsonString(NameOf(finding.severity)), JsonString(finding.check),
                                JsonString(finding.what), JsonString(finding.advice)));
  }
  return fmt::format("{{\"worst\":{},\"findings\":[{}]}}\n",
                     JsonString(NameOf(postgres::WorstOf(findings))), absl::StrJoin(items, ","));
}

int ExitCodeOf(const std::vector<Finding>& findings) {
  switch (postgres::WorstOf(findings)) {
    case Severity::kProblem:
      return kFoundProblems;
    case Severity::kWarning:
      return kFoundWarnings;
    case Severity::kNote:
    case Severity::kGood:
      break;
  }
  return 0;
}

}  // namespace dt
