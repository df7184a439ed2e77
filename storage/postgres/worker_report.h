// What a daemon tells of itself, as JSON in Workers. Pure.
#ifndef DT_STORAGE_POSTGRES_WORKER_REPORT_H_
#define DT_STORAGE_POSTGRES_WORKER_REPORT_H_

#include <string>
#include <vector>

#include "storage/store.h"

namespace dt::postgres {

// [{"hub", "kind", "streams", "credits", "names", "versions": {NAME: [VERSION]}}]; without "names"
// all are taken, and a name that "versions" does not hold in any version.
std::string ServedText(const std::vector<ServedWork>& served);
// Empty where it cannot be read, as it is another version's.
std::vector<ServedWork> ParseServed(const std::string& text);
// {"residents", "in_flight", "leases", "per_second"}.
std::string LoadText(const WorkerReport& report);

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_WORKER_REPORT_H_
