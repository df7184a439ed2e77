#include "tests/bench/report.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fmt/format.h"

namespace dt::bench {
namespace {

// The smallest value that at least this share of the values does not exceed; `sorted` is not empty.
double Percentile(const std::vector<double>& sorted, double share) {
  const auto rank = static_cast<size_t>(share * static_cast<double>(sorted.size()) + 0.999999);
  return sorted[std::clamp<size_t>(rank, 1, sorted.size()) - 1];
}

Spread SpreadOf(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return {Percentile(values, 0.50), Percentile(values, 0.99), values.back()};
}

std::optional<double> Difference(std::optional<double> begin, std::optional<double> end) {
  if (!begin || !end) return std::nullopt;
  return *end - *begin;
}

std::optional<double> Per(std::optional<double> amount, double divisor) {
  if (!amount || divisor == 0) return std::nullopt;
  return *amount / divisor;
}

std::optional<double> PerCount(int64_t amount, double divisor) {
  return Per(static_cast<double>(amount), divisor);
}

std::string Text(std::optional<double> value, int digits) {
  return value ? fmt::format("{:.{}f}", *value, digits) : std::string("-");
}

std::string Text(const Spread& spread, int digits) {
  return fmt::format("{:>10} p50 {:>10} p99 {:>10} max", Text(spread.p50, digits),
                     Text(spread.p99, digits), Text(spread.max, digits));
}

std::string Text(const CpuSeconds1000& cpu) {
  return fmt::format("{:>10} daemon {:>8} PostgreSQL {:>7} generator", Text(cpu.daemon, 3),
                     Text(cpu.postgres, 3), Text(cpu.generator, 3));
}

// One line of JSON, key by key.
class JsonLine {
 public:
  void Raw(absl::string_view key, absl::string_view value) {
    absl::StrAppend(&text_, text_.empty() ? "{" : ",", "\"", key, "\":", value);
  }
  void String(absl::string_view key, absl::string_view value) {
    Raw(key, absl::StrCat("\"", value, "\""));
  }
  void Bool(absl::string_view key, bool value) { Raw(key, value ? "true" : "false"); }
  void Int(absl::string_view key, std::optional<int64_t> value) {
    Raw(key, value ? absl::StrCat(*value) : "null");
  }
  void Number(absl::string_view key, std::optional<double> value, int digits) {
    Raw(key, value ? fmt::format("{:.{}f}", *value, digits) : "null");
  }
  void Add(absl::string_view key, const Spread& spread) {
    Number(absl::StrCat(key, "_p50"), spread.p50, 3);
    Number(absl::StrCat(key, "_p99"), spread.p99, 3);
    Number(absl::StrCat(key, "_max"), spread.max, 3);
  }
  void Add(absl::string_view per, const CpuSeconds1000& cpu) {
    Number(absl::StrCat("daemon_cpu_seconds_per_", per), cpu.daemon, 4);
    Number(absl::StrCat("postgres_cpu_seconds_per_", per), cpu.postgres, 4);
    Number(absl::StrCat("generator_cpu_seconds_per_", per), cpu.generator, 4);
  }
  std::string Take() { return std::move(text_) + "}"; }

 private:
  std::string text_;
};

// The value where it says something about the workload, else null.
template <typename Value>
std::optional<Value> If(bool applies, Value value) {
  return applies ? std::optional<Value>(value) : std::nullopt;
}

void AddDatabase(const Measurement& measurement, double count, Figures& figures) {
  if (!measurement.begin.database || !measurement.end.database) return;
  const DatabaseCounters& from = *measurement.begin.database;
  const DatabaseCounters& to = *measurement.end.database;
  figures.commits_per_orchestration = PerCount(to.commits - from.commits, count);
  figures.wal_bytes_per_orchestration = PerCount(to.wal_bytes - from.wal_bytes, count);
  const auto operations =
      static_cast<double>(measurement.end.work.operations - measurement.begin.work.operations);
  figures.commits_per_operation = PerCount(to.commits - from.commits, operations);
  figures.wal_bytes_per_operation = PerCount(to.wal_bytes - from.wal_bytes, operations);
  if (from.statements && to.statements) {
    const int64_t statements = *to.statements - *from.statements;
    figures.statements_per_orchestration = PerCount(statements, count);
    figures.statements_per_work_item =
        PerCount(statements, static_cast<double>(figures.work_items));
  }
}

CpuSeconds1000 CpuPer1000(const Measurement& measurement, double count) {
  const Sample& from = measurement.begin;
  const Sample& to = measurement.end;
  const double thousands = count / 1000;
  return {Per(Difference(from.daemon_cpu_seconds, to.daemon_cpu_seconds), thousands),
          Per(Difference(from.postgres_cpu_seconds, to.postgres_cpu_seconds), thousands),
          Per(Difference(from.generator_cpu_seconds, to.generator_cpu_seconds), thousands)};
}

// What the worker streams did.
void AddWork(const Options& options, const Measurement& measurement, double count,
             Figures& figures) {
  const WorkCounts& from = measurement.begin.work;
  const WorkCounts& to = measurement.end.work;
  const int64_t activities = to.activities - from.activities;
  const int64_t batches = to.batches - from.batches;
  figures.work_items = to.turns - from.turns + activities + batches;
  figures.work_items_per_second = static_cast<double>(figures.work_items) / figures.seconds;
  figures.turns_per_orchestration = PerCount(to.turns - from.turns, count);
  figures.streamed_turns_per_orchestration =
      PerCount(to.streamed_turns - from.streamed_turns, count);
  if (options.workload == &Generations()) {
    figures.generations_per_second = PerCount(to.generations - from.generations, figures.seconds);
  }
  if (batches > 0) {
    const int64_t operations = to.operations - from.operations;
    figures.operations_per_second = PerCount(operations, figures.seconds);
    figures.operations_per_batch = PerCount(operations, static_cast<double>(batches));
  }
  for (size_t i = 0; i < to.stream_activities.size(); ++i) {
    const int64_t before = i < from.stream_activities.size() ? from.stream_activities[i] : 0;
    figures.stream_activities.push_back(to.stream_activities[i] - before);
  }
  figures.wall_ms_per_activity = Per(figures.seconds * 1000, static_cast<double>(activities));
  figures.per_activities = CpuPer1000(measurement, static_cast<double>(activities));
}

std::string Title(const Options& options) {
  const Parameters& parameters = options.parameters;
  const Amounts each = options.workload->Each(parameters);
  const std::string load = options.starts_per_second > 0
                               ? fmt::format("{} starts per second", options.starts_per_second)
                               : fmt::format("{} in flight", options.in_flight);
  return fmt::format(
      "{} of {} instance(s), {} activities, {} events, {} generation(s), {} operation(s) of "
      "entities; {}{}, payloads of {} bytes, {} worker stream(s){}, at {}\n",
      std::string(options.workload->name()), each.instances, each.activities, each.events,
      each.generations, each.operations, load,
      options.queue_first ? ", all started before the workers" : "", parameters.payload_bytes,
      options.workers * options.addresses.size(),
      options.history_streaming ? " that take streamed history" : "",
      absl::StrJoin(options.addresses, ", "));
}

void AddOptions(const Options& options, JsonLine& line) {
  const Parameters& parameters = options.parameters;
  const Amounts each = options.workload->Each(parameters);
  const bool is_tree = options.workload == &Tree();
  line.String("workload", options.workload->name());
  line.Int("activities", each.activities);
  line.Int("instances_per_orchestration", each.instances);
  line.Int("in_flight", options.in_flight);
  line.Int("workers", options.workers);
  line.Int("servers", static_cast<int64_t>(options.addresses.size()));
  line.Number("activity_seconds", options.activity_seconds, 3);
  line.Int("payload_bytes", parameters.payload_bytes);
  line.Bool("history_streaming", options.history_streaming);
  line.Bool("queue_first", options.queue_first);
  line.Int("count", If<int64_t>(options.count > 0, options.count));
  line.Number("starts_per_second", If(options.starts_per_second > 0, options.starts_per_second), 3);
  line.Int("width", If<int64_t>(is_tree, parameters.width));
  line.Int("depth", If<int64_t>(is_tree, parameters.depth));
  line.Number(
      "timer_spread_seconds",
      If(options.workload == &Timers(), static_cast<double>(parameters.timer_spread_us) / 1e6), 3);
  line.Int("events_each", If<int64_t>(options.workload == &Events(), parameters.events_each));
  line.Int("generations", If<int64_t>(options.workload == &Generations(), parameters.generations));
  line.Int("entities", If<int64_t>(each.operations > 0, parameters.entities));
  line.Int("signals_each", If<int64_t>(each.operations > 0, parameters.signals));
  line.Int("calls_each", If<int64_t>(each.operations > 0, parameters.calls));
}

}  // namespace

Figures MakeFigures(const Options& options, const Measurement& measurement,
                    const Results& results) {
  const Sample& begin = measurement.begin;
  const Sample& end = measurement.end;
  Figures figures;
  std::vector<double> latencies;
  Clock::time_point last = begin.time;
  const auto pause_until = [&figures, &last](Clock::time_point time) {
    const double seconds = std::chrono::duration<double>(time - last).count();
    figures.longest_pause_seconds = std::max(figures.longest_pause_seconds, seconds);
    last = time;
  };
  for (const Completion& completion : results.completions) {
    if (completion.end <= begin.time || completion.end > end.time) continue;
    ++figures.orchestrations;
    pause_until(completion.end);
    if (!completion.latency) continue;
    latencies.push_back(std::chrono::duration<double, std::milli>(*completion.latency).count());
  }
  pause_until(end.time);
  if (options.reconnect) {
    figures.unavailable = results.unavailable;
    figures.cancelled = results.cancelled;
  }
  const auto count = static_cast<double>(figures.orchestrations);
  figures.latency_ms = SpreadOf(std::move(latencies));
  figures.lateness_ms = SpreadOf(results.lateness_ms);
  figures.seconds = std::chrono::duration<double>(end.time - begin.time).count();
  figures.orchestrations_per_second = count / figures.seconds;
  AddWork(options, measurement, count, figures);
  if (options.workload == &Events()) {
    figures.events_per_second =
        count * static_cast<double>(options.parameters.events_each) / figures.seconds;
  }
  AddDatabase(measurement, count, figures);
  figures.per_orchestrations = CpuPer1000(measurement, count);
  figures.daemon_rss_bytes = end.daemon_peak_rss_bytes;
  return figures;
}

std::string Summary(const Options& options, const Figures& figures) {
  std::string text = Title(options);
  const auto line = [&text](const char* name, const std::string& value) {
    absl::StrAppend(&text, fmt::format("  {:<21}{}\n", name, value));
  };
  absl::StrAppend(&text, fmt::format("  {} orchestrations in {:.2f} s, every output right\n",
                                     figures.orchestrations, figures.seconds));
  line("orchestrations/s", fmt::format("{:>10.1f}", figures.orchestrations_per_second));
  line("work items/s",
       fmt::format("{:>10.1f}   turns per orchestration {}, with streamed history {}",
                   figures.work_items_per_second, Text(figures.turns_per_orchestration, 2),
                   Text(figures.streamed_turns_per_orchestration, 2)));
  line("latency ms", Text(figures.latency_ms, 2));
  line("lateness ms", Text(figures.lateness_ms, 2));
  line("longest pause", fmt::format("{:>10.3f} s between ends", figures.longest_pause_seconds));
  if (options.reconnect) {
    line("servers away",
         fmt::format("{:>10} calls and streams were UNAVAILABLE, {} CANCELLED, {} activities ran "
                     "again",
                     *figures.unavailable, *figures.cancelled,
                     figures.repeated_activities.value_or(0)));
  }
  line("events/s", fmt::format("{:>10}", Text(figures.events_per_second, 1)));
  line("generations/s", fmt::format("{:>10}", Text(figures.generations_per_second, 1)));
  line("operations/s",
       fmt::format("{:>10}   of entities, {} in a batch", Text(figures.operations_per_second, 1),
                   Text(figures.operations_per_batch, 2)));
  line("per operation",
       fmt::format("{:>10} commits {:>26} bytes of WAL", Text(figures.commits_per_operation, 3),
                   Text(figures.wal_bytes_per_operation, 0)));
  line("per orchestration", fmt::format("{:>10} commits {:>7} statements {:>7} bytes of WAL",
                                        Text(figures.commits_per_orchestration, 3),
                                        Text(figures.statements_per_orchestration, 3),
                                        Text(figures.wal_bytes_per_orchestration, 0)));
  line("per work item",
       fmt::format("{:>10} statements", Text(figures.statements_per_work_item, 3)));
  line("per activity", fmt::format("{:>10} ms", Text(figures.wall_ms_per_activity, 3)));
  line("CPU s per 1,000", Text(figures.per_orchestrations));
  line("  of activities", Text(figures.per_activities));
  const auto rss_mb = Per(figures.daemon_rss_bytes, 1 << 20);
  line("memory of the daemon", fmt::format("{:>10} MiB at most", Text(rss_mb, 1)));
  return text;
}

std::string Json(const Options& options, const Figures& figures) {
  JsonLine line;
  AddOptions(options, line);
  line.Int("orchestrations", figures.orchestrations);
  line.Number("seconds", figures.seconds, 3);
  line.Number("orchestrations_per_second", figures.orchestrations_per_second, 1);
  line.Int("work_items", figures.work_items);
  line.Number("work_items_per_second", figures.work_items_per_second, 1);
  line.Number("turns_per_orchestration", figures.turns_per_orchestration, 3);
  line.Number("streamed_turns_per_orchestration", figures.streamed_turns_per_orchestration, 3);
  line.Add("latency_ms", figures.latency_ms);
  line.Add("lateness_ms", figures.lateness_ms);
  line.Number("longest_pause_seconds", figures.longest_pause_seconds, 4);
  line.Raw("stream_activities",
           absl::StrCat("[", absl::StrJoin(figures.stream_activities, ","), "]"));
  line.Int("repeated_activities", figures.repeated_activities);
  line.Int("unavailable", figures.unavailable);
  line.Int("cancelled", figures.cancelled);
  line.Number("events_per_second", figures.events_per_second, 1);
  line.Number("generations_per_second", figures.generations_per_second, 1);
  line.Number("operations_per_second", figures.operations_per_second, 1);
  line.Number("operations_per_batch", figures.operations_per_batch, 3);
  line.Number("commits_per_operation", figures.commits_per_operation, 4);
  line.Number("wal_bytes_per_operation", figures.wal_bytes_per_operation, 1);
  line.Number("wall_ms_per_activity", figures.wall_ms_per_activity, 4);
  line.Number("commits_per_orchestration", figures.commits_per_orchestration, 4);
  line.Number("statements_per_orchestration", figures.statements_per_orchestration, 4);
  line.Number("statements_per_work_item", figures.statements_per_work_item, 4);
  line.Number("wal_bytes_per_orchestration", figures.wal_bytes_per_orchestration, 1);
  line.Add("1000", figures.per_orchestrations);
  line.Add("1000_activities", figures.per_activities);
  line.Int("daemon_rss_bytes", figures.daemon_rss_bytes);
  return line.Take();
}

}  // namespace dt::bench
