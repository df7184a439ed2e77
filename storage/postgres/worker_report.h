// What a daemon tells of itself, as JSON in Workers.report: {"served": [{"hub", "kind", "streams",
// "credits", "names"}], "residents", "in_flight", "per_second"}; without "names" all are taken.
// Pure.
#ifndef DT_STORAGE_POSTGRES_WORKER_REPORT_H_
#define DT_STORAGE_POSTGRES_WORKER_REPORT_H_

#include <string>
#include <vector>

#include "storage/store.h"

namespace dt::postgres {

std::string WorkerReportText(const WorkerReport& report);
// "served" of such a text; empty where it cannot be read, as it is another version's.
std::vector<ServedWork> ServedWorkOf(const std::string& report);

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_WORKER_REPORT_H_
