#include "server/admin/metrics_page.h"

#include <algorithm>
#include <sstream>
#include <utility>
#include <vector>

#include "prometheus/text_serializer.h"
#include "server/admin/families.h"
#include "server/admin/process_metrics.h"

namespace dt::admin {
namespace {

using metrics::HubMetrics;
using metrics::HubMetricsTable;
using metrics::Metrics;
using metrics::WorkMetrics;

constexpr char kTextFormat[] = "text/plain; version=0.0.4; charset=utf-8";

using Page = std::vector<prometheus::MetricFamily>;

// Calls `add` for each hub and kind of work that the hub has had here.
template <typename Add>
void EachWork(const Metrics& metrics, Add add) {
  metrics.hubs.Visit([&add](const std::string& hub, const HubMetrics& counted) {
    for (size_t kind = 0; kind < metrics::kKinds.size(); ++kind) {
      const WorkMetrics& work = counted.work[kind];
      const bool used = work.dispatched.value() > 0 || work.credits.value() > 0;
      if (used) add(Labels{{"task_hub", hub}, {"kind", std::string(metrics::kKinds[kind])}}, work);
    }
  });
}

template <typename Add>
void EachHub(const Metrics& metrics, Add add) {
  metrics.hubs.Visit([&add](const std::string& hub, const HubMetrics& counted) {
    add(Labels{{"task_hub", hub}}, counted);
  });
}

Labels With(Labels labels, std::string name, std::string_view value) {
  labels.emplace_back(std::move(name), std::string(value));
  return labels;
}

// A family of a counter by the values of an enum.
template <typename Counters, typename Names>
void AddBy(Family& family, const Labels& labels, const char* label, const Counters& counters,
           const Names& names) {
  for (size_t i = 0; i < names.size(); ++i) {
    family.Add(With(labels, label, names[i]), static_cast<double>(counters.at(i).value()));
  }
}

double Value(const metrics::Counter& counter) { return static_cast<double>(counter.value()); }
double Value(const metrics::Gauge& gauge) { return static_cast<double>(gauge.value()); }

void AddWorkCounts(const Metrics& metrics, Page& page) {
  Family active = GaugeFamily("durabletask_work_items_active", "Work items at workers now.");
  Family dispatched =
      CounterFamily("durabletask_work_items_dispatched_total", "Work items sent to workers.");
  Family completed = CounterFamily("durabletask_work_items_completed_total",
                                   "Answers of workers: ok, failure, or stale ones.");
  Family abandoned = CounterFamily("durabletask_work_items_abandoned_total",
                                   "Work items that left their worker without an answer.");
  Family redelivered = CounterFamily("durabletask_work_items_redelivered_total",
                                     "Work items sent again after they were abandoned or lost.");
  Family poisoned =
      CounterFamily("durabletask_work_items_poisoned_total",
                    "Work items given up because no worker answered them, or none takes so much.");
  EachWork(metrics, [&](const Labels& labels, const WorkMetrics& work) {
    active.Add(labels, Value(work.active));
    dispatched.Add(labels, Value(work.dispatched));
    AddBy(completed, labels, "result", work.completed, metrics::kAnswers);
    AddBy(abandoned, labels, "reason", work.abandoned, metrics::kAbandons);
    redelivered.Add(labels, Value(work.redelivered));
    poisoned.Add(labels, Value(work.poisoned));
  });
  for (Family* family : {&active, &dispatched, &completed, &abandoned, &redelivered, &poisoned}) {
    page.push_back(family->Take());
  }
}

// What the database says; from one daemon, so that the sum is right.
void AddSamples(const WorkSample& sample, Page& page) {
  Family pending = GaugeFamily("durabletask_work_items_pending",
                               "Work that is due and in nobody's hands, counted up to a limit.");
  Family age = GaugeFamily("durabletask_work_item_oldest_age_seconds",
                           "For how long the first of that work has been due.");
  Family instances =
      GaugeFamily("durabletask_instances", "Orchestrations by status, counted up to a limit.");
  for (const HubSample& hub : sample.hubs) {
    const Labels labels = {{"task_hub", hub.hub}};
    for (size_t kind = 0; kind < metrics::kKinds.size(); ++kind) {
      const Labels of_kind = With(labels, "kind", metrics::kKinds[kind]);
      pending.Add(of_kind, static_cast<double>(hub.pending[kind]));
      age.Add(of_kind, absl::ToDoubleSeconds(hub.oldest_age[kind]));
    }
    for (const auto& [status, count] : hub.instances) {
      instances.Add(With(labels, "status", metrics::StatusName(status)),
                    static_cast<double>(count));
    }
  }
  for (Family* family : {&pending, &age, &instances}) page.push_back(family->Take());
}

void AddTimes(const Metrics& metrics, Page& page) {
  Family latency =
      HistogramFamily("durabletask_dispatch_latency_seconds",
                      "From when a work item could be sent to when it was, in this daemon.");
  Family duration = HistogramFamily("durabletask_work_item_duration_seconds",
                                    "From when a work item was sent to when it left its worker.");
  EachWork(metrics, [&](const Labels& labels, const WorkMetrics& work) {
    if (work.dispatch_latency.used()) latency.Add(labels, work.dispatch_latency);
    if (work.duration.used()) duration.Add(labels, work.duration);
  });
  Family lag = HistogramFamily("durabletask_timers_due_lag_seconds",
                               "From when a durable timer was due to when its turn was sent.");
  EachHub(metrics, [&](const Labels& labels, const HubMetrics& hub) {
    if (hub.timer_lag.used()) lag.Add(labels, hub.timer_lag);
  });
  for (Family* family : {&latency, &duration, &lag}) page.push_back(family->Take());
}

void AddInstances(const Metrics& metrics, Page& page) {
  Family started = CounterFamily("durabletask_instances_started_total",
                                 "Orchestrations created by this daemon, sub-orchestrations too.");
  Family finished = CounterFamily("durabletask_instances_finished_total",
                                  "Orchestrations that ended here, by their status.");
  Family actions =
      CounterFamily("durabletask_actions_total", "What orchestrations asked for, by type.");
  Family history =
      CounterFamily("durabletask_history_bytes_total", "History written, before compression.");
  Family lost = CounterFamily("durabletask_leases_lost_total",
                              "Turns and results refused because another daemon had the lease.");
  Family purged =
      CounterFamily("durabletask_purge_deleted_total", "Instances removed, by who asked for it.");
  EachHub(metrics, [&](const Labels& labels, const HubMetrics& hub) {
    started.Add(labels, Value(hub.instances_started));
    AddBy(finished, labels, "status", hub.instances_finished, metrics::kEnds);
    AddBy(actions, labels, "type", hub.actions, metrics::kActions);
    history.Add(labels, Value(hub.history_bytes));
    lost.Add(labels, Value(hub.leases_lost));
    AddBy(purged, labels, "policy", hub.purged, metrics::kPurges);
  });
  for (Family* family : {&started, &finished, &actions, &history, &lost, &purged}) {
    page.push_back(family->Take());
  }
}

void AddWorkers(const Metrics& metrics, Page& page) {
  Family workers = GaugeFamily("durabletask_connected_workers", "Open worker streams.");
  EachHub(metrics, [&](const Labels& labels, const HubMetrics& hub) {
    workers.Add(labels, Value(hub.connected_workers));
  });
  Family credits = GaugeFamily("durabletask_worker_stream_credits",
                               "Work items that the open streams take at a time.");
  EachWork(metrics, [&](const Labels& labels, const WorkMetrics& work) {
    credits.Add(labels, Value(work.credits));
  });
  Family residents = GaugeFamily("durabletask_residents", "Instances held in memory.");
  residents.Add({}, Value(metrics.residents));
  for (Family* family : {&workers, &credits, &residents}) page.push_back(family->Take());
}

void AddRpcs(const Metrics& metrics, Page& page) {
  Family handled = CounterFamily("grpc_server_handled_total", "RPCs that ended, by their code.");
  Family seconds =
      HistogramFamily("grpc_server_handling_seconds",
                      "From the headers of an RPC to its end; of streams and waits, their length.");
  metrics.rpcs.Visit([&](const std::string& method, const metrics::RpcMetrics& rpc) {
    const Labels labels = {{"method", method}};
    for (size_t code = 0; code < metrics::kStatusCodes.size(); ++code) {
      const double count = Value(rpc.handled[code]);
      if (count > 0) handled.Add(With(labels, "code", metrics::kStatusCodes[code]), count);
    }
    if (rpc.handling_seconds.used()) seconds.Add(labels, rpc.handling_seconds);
  });
  for (Family* family : {&handled, &seconds}) page.push_back(family->Take());
}

void AddDatabase(const metrics::DatabaseMetrics& database, Page& page) {
  Family seconds = HistogramFamily("durabletask_db_query_seconds",
                                   "Calls of PostgreSQL that it answered, by function.");
  database.query_seconds.Visit([&](const std::string& function, const auto& histogram) {
    if (histogram.used()) seconds.Add({{"function", function}}, histogram);
  });
  Family sizes = HistogramFamily("durabletask_lane_batch_size",
                                 "Operations that one call of PostgreSQL carried, by lane.");
  database.batch_size.Visit([&](const std::string& lane, const auto& histogram) {
    if (histogram.used()) sizes.Add({{"lane", lane}}, histogram);
  });
  Family connections = GaugeFamily("durabletask_db_connections",
                                   "Connections of the lanes to PostgreSQL: busy with a call, or "
                                   "idle.");
  const double busy = Value(database.connections_busy);
  connections.Add({{"state", "busy"}}, busy);
  connections.Add({{"state", "idle"}}, std::max(0.0, Value(database.connections_open) - busy));
  Family errors = CounterFamily("durabletask_db_errors_total",
                                "Calls that failed, by class of SQLSTATE; none: no connection.");
  database.errors.Visit([&](const std::string& sqlstate_class, const metrics::Counter& count) {
    errors.Add({{"sqlstate_class", sqlstate_class}}, Value(count));
  });
  Family retries = CounterFamily("durabletask_db_retries_total", "Calls sent again.");
  retries.Add({}, Value(database.retries));
  Family hints = CounterFamily("durabletask_db_notify_received_total",
                               "Hints of other daemons heard by LISTEN.");
  hints.Add({}, Value(database.notify_received));
  for (Family* family : {&seconds, &sizes, &connections, &errors, &retries, &hints}) {
    page.push_back(family->Take());
  }
}

void AddUpkeep(const Metrics& metrics, const Build& build, Page& page) {
  Family freed =
      CounterFamily("durabletask_sweep_freed_total", "Leases of dead daemons that this one freed.");
  freed.Add({}, Value(metrics.sweep_freed));
  Family leader =
      GaugeFamily("durabletask_leader", "1: this daemon does what one does for the database.");
  metrics.leader.Visit([&](const std::string& role, const metrics::Gauge& leads) {
    leader.Add({{"role", role}}, Value(leads));
  });
  Family info = GaugeFamily("durabletask_build_info", "Always 1; which program this is.");
  info.Add({{"version", build.version}, {"commit", build.commit}}, 1);
  for (Family* family : {&freed, &leader, &info}) page.push_back(family->Take());
}

}  // namespace

std::string MetricsText(const Metrics& metrics, const Build& build) {
  Page page;
  AddSamples(metrics.sampled.Get(), page);
  AddWorkCounts(metrics, page);
  AddTimes(metrics, page);
  AddInstances(metrics, page);
  AddWorkers(metrics, page);
  AddRpcs(metrics, page);
  AddDatabase(metrics.database, page);
  AddUpkeep(metrics, build, page);
  AddProcessMetrics(page);
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, page);
  return text.str();
}

void AddMetricsPage(Routes* routes, const Metrics* metrics, Build build) {
  routes->Add("/metrics", Audience::kMetrics, [metrics, build = std::move(build)](const Request&) {
    return Response{200, MetricsText(*metrics, build), kTextFormat};
  });
}

}  // namespace dt::admin
