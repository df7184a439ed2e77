// process_*: what Prometheus's own clients say of their process, from /proc/self.
#ifndef DT_SERVER_ADMIN_PROCESS_METRICS_H_
#define DT_SERVER_ADMIN_PROCESS_METRICS_H_

#include <vector>

#include "prometheus/metric_family.h"

namespace dt::admin {

// Adds them. What cannot be read is left out.
void AddProcessMetrics(std::vector<prometheus::MetricFamily>& page);

}  // namespace dt::admin

#endif  // DT_SERVER_ADMIN_PROCESS_METRICS_H_
