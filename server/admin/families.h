// Families of metrics on their way to Prometheus's text format: a thin layer over the data model of
// prometheus-cpp, whose serializer writes it. Its own counters are not used, as theirs cost a
// look-up under a lock or a mutex for each histogram.
//
// Threads: used by one.
#ifndef DT_SERVER_ADMIN_FAMILIES_H_
#define DT_SERVER_ADMIN_FAMILIES_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "prometheus/metric_family.h"
#include "storage/metrics/instruments.h"

namespace dt::admin {

using Labels = std::vector<std::pair<std::string, std::string>>;

// One family. A name is written without the prefix.
class Family {
 public:
  Family(std::string name, std::string help, prometheus::MetricType type);

  void Add(const Labels& labels, double value);
  template <typename Bounds>
  void Add(const Labels& labels, const metrics::Histogram<Bounds>& histogram) {
    prometheus::ClientMetric& metric = Next(labels);
    uint64_t count = 0;
    for (size_t i = 0; i < histogram.kBuckets; ++i) {
      count += static_cast<uint64_t>(histogram.bucket(i));
      const double bound = i < Bounds::kBounds.size()
                               ? static_cast<double>(Bounds::kBounds[i]) * Bounds::kUnit
                               : std::numeric_limits<double>::infinity();
      metric.histogram.bucket.push_back({count, bound});
    }
    metric.histogram.sample_count = count;
    metric.histogram.sample_sum = static_cast<double>(histogram.sum()) * Bounds::kUnit;
  }

  prometheus::MetricFamily Take() { return std::move(family_); }

 private:
  prometheus::ClientMetric& Next(const Labels& labels);

  prometheus::MetricFamily family_;
};

// A counter, or a gauge.
Family CounterFamily(std::string name, std::string help);
Family GaugeFamily(std::string name, std::string help);
Family HistogramFamily(std::string name, std::string help);

}  // namespace dt::admin

#endif  // DT_SERVER_ADMIN_FAMILIES_H_
