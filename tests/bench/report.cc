#include "tests/bench/report.h"

#include <algorithm>
#include <chrono>

#include "fmt/format.h"

namespace dt::bench {
namespace {

// The smallest value that at least this share of the values does not exceed; `sorted` is not empty.
double Percentile(const std::vector<double>& sorted, double share) {
  const auto rank = static_cast<size_t>(share * static_cast<double>(sorted.size()) + 0.999999);
  return sorted[std::clamp<size_t>(rank, 1, sorted.size()) - 1];
}

std::optional<double> Difference(std::optional<double> begin, std::optional<double> end) {
  if (!begin || !end) return std::nullopt;
  return *end - *begin;
}

std::optional<double> Per(std::optional<double> amount, double divisor) {
  if (!amount || divisor == 0) return std::nullopt;
  return *amount / divisor;
}

std::string Text(std::optional<double> value, int digits) {
  return value ? fmt::format("{:.{}f}", *value, digits) : std::string("-");
}

std::string JsonNumber(std::optional<double> value, int digits) {
  return value ? fmt::format("{:.{}f}", *value, digits) : std::string("null");
}

std::string_view KindName(WorkloadKind kind) {
  return kind == WorkloadKind::kChain ? "chain" : "fanout";
}

void AddDatabase(const Sample& begin, const Sample& end, double count, Figures& figures) {
  if (!begin.database || !end.database) return;
  const DatabaseCounters& from = *begin.database;
  const DatabaseCounters& to = *end.database;
  figures.commits_per_orchestration = Per(static_cast<double>(to.commits - from.commits), count);
  figures.wal_bytes_per_orchestration =
      Per(static_cast<double>(to.wal_bytes - from.wal_bytes), count);
  if (from.statements && to.statements) {
    figures.statements_per_orchestration =
        Per(static_cast<double>(*to.statements - *from.statements), count);
  }
}

}  // namespace

Figures MakeFigures(const Sample& begin, const Sample& end,
                    const std::vector<Completion>& completions) {
  std::vector<double> latencies;
  for (const Completion& completion : completions) {
    if (completion.end <= begin.time || completion.end > end.time) continue;
    latencies.push_back(std::chrono::duration<double, std::milli>(completion.latency).count());
  }
  std::sort(latencies.begin(), latencies.end());
  Figures figures;
  const auto count = static_cast<double>(latencies.size());
  figures.orchestrations = static_cast<int64_t>(latencies.size());
  figures.seconds = std::chrono::duration<double>(end.time - begin.time).count();
  figures.orchestrations_per_second = count / figures.seconds;
  const int64_t turns = end.work.turns - begin.work.turns;
  const int64_t activities = end.work.activities - begin.work.activities;
  figures.work_items_per_second = static_cast<double>(turns + activities) / figures.seconds;
  figures.turns_per_orchestration = Per(static_cast<double>(turns), count);
  if (!latencies.empty()) {
    figures.latency_ms_p50 = Percentile(latencies, 0.50);
    figures.latency_ms_p99 = Percentile(latencies, 0.99);
    figures.latency_ms_max = latencies.back();
  }
  AddDatabase(begin, end, count, figures);
  const double thousands = count / 1000;
  figures.daemon_cpu_seconds_per_1000 =
      Per(Difference(begin.daemon_cpu_seconds, end.daemon_cpu_seconds), thousands);
  figures.postgres_cpu_seconds_per_1000 =
      Per(Difference(begin.postgres_cpu_seconds, end.postgres_cpu_seconds), thousands);
  figures.generator_cpu_seconds_per_1000 =
      Per(Difference(begin.generator_cpu_seconds, end.generator_cpu_seconds), thousands);
  return figures;
}

std::string Summary(const Options& options, const Figures& figures) {
  return fmt::format(
      "{} of {} activities, {} in flight, payloads of {} bytes, {} worker stream(s), at {}\n"
      "  {} orchestrations in {:.2f} s, every output right\n"
      "  orchestrations/s     {:>10.1f}\n"
      "  work items/s         {:>10.1f}   turns per orchestration {}\n"
      "  latency ms           {:>10} p50 {:>10} p99 {:>10} max\n"
      "  per orchestration    {:>10} commits {:>7} statements {:>7} bytes of WAL\n"
      "  CPU s per 1,000      {:>10} daemon {:>8} PostgreSQL {:>7} generator\n",
      KindName(options.workload.kind), options.workload.activities, options.in_flight,
      options.workload.payload_bytes, options.workers, options.address, figures.orchestrations,
      figures.seconds, figures.orchestrations_per_second, figures.work_items_per_second,
      Text(figures.turns_per_orchestration, 2), Text(figures.latency_ms_p50, 2),
      Text(figures.latency_ms_p99, 2), Text(figures.latency_ms_max, 2),
      Text(figures.commits_per_orchestration, 3), Text(figures.statements_per_orchestration, 3),
      Text(figures.wal_bytes_per_orchestration, 0), Text(figures.daemon_cpu_seconds_per_1000, 3),
      Text(figures.postgres_cpu_seconds_per_1000, 3),
      Text(figures.generator_cpu_seconds_per_1000, 3));
}

std::string Json(const Options& options, const Figures& figures) {
  return fmt::format(
      R"({{"workload":"{}","activities":{},"in_flight":{},"workers":{},"payload_bytes":{},)"
      R"("orchestrations":{},"seconds":{:.3f},"orchestrations_per_second":{:.1f},)"
      R"("work_items_per_second":{:.1f},"turns_per_orchestration":{},)"
      R"("latency_ms_p50":{},"latency_ms_p99":{},"latency_ms_max":{},)"
      R"("commits_per_orchestration":{},"statements_per_orchestration":{},)"
      R"("wal_bytes_per_orchestration":{},"daemon_cpu_seconds_per_1000":{},)"
      R"("postgres_cpu_seconds_per_1000":{},"generator_cpu_seconds_per_1000":{}}})",
      KindName(options.workload.kind), options.workload.activities, options.in_flight,
      options.workers, options.workload.payload_bytes, figures.orchestrations, figures.seconds,
      figures.orchestrations_per_second, figures.work_items_per_second,
      JsonNumber(figures.turns_per_orchestration, 3), JsonNumber(figures.latency_ms_p50, 3),
      JsonNumber(figures.latency_ms_p99, 3), JsonNumber(figures.latency_ms_max, 3),
      JsonNumber(figures.commits_per_orchestration, 4),
      JsonNumber(figures.statements_per_orchestration, 4),
      JsonNumber(figures.wal_bytes_per_orchestration, 1),
      JsonNumber(figures.daemon_cpu_seconds_per_1000, 4),
      JsonNumber(figures.postgres_cpu_seconds_per_1000, 4),
      JsonNumber(figures.generator_cpu_seconds_per_1000, 4));
}

}  // namespace dt::bench
