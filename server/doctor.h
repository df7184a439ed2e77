// The verb `doctor`: looks at the database of the settings, and says what it found and what to do.
#ifndef DT_SERVER_DOCTOR_H_
#define DT_SERVER_DOCTOR_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/config.h"
#include "storage/postgres/doctor.h"

namespace dt {

// Connects as the daemon would, and reads; changes nothing. A server that cannot be reached is a
// status, with what to do.
absl::StatusOr<std::vector<postgres::Finding>> ExamineDatabase(const Config& config);

// For people: a line for each, and what to do below it; or a JSON object for scripts.
std::string FindingsText(const std::vector<postgres::Finding>& findings);
std::string FindingsJson(const std::vector<postgres::Finding>& findings);

// 0 without warnings or problems, else kFoundWarnings or kFoundProblems.
int ExitCodeOf(const std::vector<postgres::Finding>& findings);

}  // namespace dt

#endif  // DT_SERVER_DOCTOR_H_
