// /metrics: all that the daemon counts, in the text format of Prometheus. deploy/METRICS.md has a
// row for each family; tests/metrics compares the two.
//
// Threads: the page is made on the listener's threads, from copies of single numbers.
#ifndef DT_SERVER_ADMIN_METRICS_PAGE_H_
#define DT_SERVER_ADMIN_METRICS_PAGE_H_

#include <string>

#include "server/admin/routes.h"
#include "storage/metrics/metrics.h"

namespace dt::admin {

// Which program this is.
struct Build {
  std::string version;
  std::string commit;
};

std::string MetricsText(const metrics::Metrics& metrics, const Build& build);
// Adds the route; `metrics` must outlive the listener.
void AddMetricsPage(Routes* routes, const metrics::Metrics* metrics, Build build);

}  // namespace dt::admin

#endif  // DT_SERVER_ADMIN_METRICS_PAGE_H_
