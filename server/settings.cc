// The table of settings.
#include <cctype>
#include <limits>
#include <optional>

#include "fmt/format.h"
#include "server/config.h"
#include "server/setting_kinds.h"
#include "storage/postgres/connection_url.h"

namespace dt {
namespace {

using setting_kinds::Bool;
using setting_kinds::Common;
using setting_kinds::List;
using setting_kinds::Malformed;
using setting_kinds::Mode;
using setting_kinds::Named;
using setting_kinds::Number;
using setting_kinds::ParseNumber;
using setting_kinds::Secret;
using setting_kinds::Text;
using setting_kinds::Time;

constexpr int64_t kIntMax = std::numeric_limits<int>::max();
constexpr int64_t kBytesMax = int64_t{1} << 40;

// The field of a Config that a row is about.
#define FIELD(path) \
  [](Config & config) -> auto& { return config.path; }

absl::Status SetLogFormat(Config& config, std::string_view text) {
  if (text != "text" && text != "json") return Malformed(text, "text or json");
  config.log_format = text == "json" ? LogFormat::kJson : LogFormat::kText;
  return absl::OkStatus();
}

absl::Status SetLogLevel(Config& config, std::string_view text) {
  for (const std::string_view level : {"trace", "debug", "info", "warning", "error", "off"}) {
    if (text != level) continue;
    config.log_level = std::string(text);
    return absl::OkStatus();
  }
  return Malformed(text, "trace, debug, info, warning, error or off");
}

absl::Status SetSchemaName(Config& config, std::string_view text) {
  bool good =
      !text.empty() && text.size() <= 63 && !std::isdigit(static_cast<unsigned char>(text[0]));
  for (const char c : text) {
    good = good && ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_');
  }
  if (!good) return Malformed(text, "a name of a-z, 0-9 and _, at most 63 characters");
  config.store.schema = std::string(text);
  return absl::OkStatus();
}

// The payload limit stands in two places: at the door and in turns.
absl::Status SetPayloadBytes(Config& config, std::string_view text) {
  const absl::StatusOr<int64_t> number = ParseNumber(text, 1, 1 << 30);
  if (!number.ok()) return number.status();
  config.service.requests.payload_bytes_max = *number;
  config.dispatch.turn.payload_bytes_max = *number;
  return absl::OkStatus();
}

absl::Status SetTagsBytes(Config& config, std::string_view text) {
  const absl::StatusOr<int64_t> number = ParseNumber(text, 0, 1 << 30);
  if (!number.ok()) return number.status();
  config.service.requests.tags_bytes_max = *number;
  config.dispatch.turn.tags_bytes_max = *number;
  return absl::OkStatus();
}

// A name and a version stand together in one row of an index, which PostgreSQL ends at 2,704 bytes.
constexpr int64_t kNameBytesMax = 2048;
constexpr int64_t kVersionBytesMax = 512;

absl::Status SetNameBytes(Config& config, std::string_view text) {
  const absl::StatusOr<int64_t> number = ParseNumber(text, 1, kNameBytesMax);
  if (!number.ok()) return number.status();
  config.service.requests.name_bytes_max = *number;
  config.service.streams.name_bytes_max = *number;
  config.dispatch.turn.name_bytes_max = *number;
  return absl::OkStatus();
}

absl::Status SetVersionBytes(Config& config, std::string_view text) {
  const absl::StatusOr<int64_t> number = ParseNumber(text, 1, kVersionBytesMax);
  if (!number.ok()) return number.status();
  config.service.requests.version_bytes_max = *number;
  config.service.streams.version_bytes_max = *number;
  config.dispatch.turn.version_bytes_max = static_cast<size_t>(*number);
  return absl::OkStatus();
}

absl::Status SetInstanceIdChars(Config& config, std::string_view text) {
  const absl::StatusOr<int64_t> number = ParseNumber(text, 1, 512);
  if (!number.ok()) return number.status();
  config.service.requests.instance_id_chars_max = *number;
  config.dispatch.turn.instance_id_chars_max = *number;
  return absl::OkStatus();
}

// A row whose value is checked or stored in a way of its own.
template <typename Row>
Setting With(absl::Status (*set)(Config&, std::string_view), Row row) {
  row.set = set;
  return row;
}

absl::Status SetUrl(Config& config, std::string_view text) {
  config.store.connection.url = std::string(text);
  return postgres::CheckConnectionUrl(text);
}

absl::Status CheckPasswordSource(const Config& config) {
  const postgres::PasswordSource& source = config.store.connection.password;
  if (source.file.empty() || source.command.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "give postgres.password-file or postgres.password-command, not both");
}

absl::Status SetPasswordFile(Config& config, std::string_view text) {
  config.store.connection.password.file = std::string(text);
  return CheckPasswordSource(config);
}

absl::Status SetPasswordCommand(Config& config, std::string_view text) {
  config.store.connection.password.command = std::string(text);
  return CheckPasswordSource(config);
}

absl::Status SetListenUrl(Config& config, std::string_view text) {
  config.store.listen_url = std::string(text);
  return postgres::CheckConnectionUrl(text);
}

absl::Status SetPreparedStatements(Config& config, std::string_view text) {
  using postgres::PreparedStatements;
  PreparedStatements& field = config.store.connection.prepared_statements;
  for (const auto& [name, value] : {std::pair{"auto", PreparedStatements::kAuto},
                                    {"on", PreparedStatements::kOn},
                                    {"off", PreparedStatements::kOff}}) {
    if (text != name) continue;
    field = value;
    return absl::OkStatus();
  }
  return Malformed(text, "auto, on or off");
}

std::string GetPreparedStatements(const Config& config) {
  switch (config.store.connection.prepared_statements) {
    case postgres::PreparedStatements::kOn:
      return "on";
    case postgres::PreparedStatements::kOff:
      return "off";
    case postgres::PreparedStatements::kAuto:
      break;
  }
  return "auto";
}

void AddDatabase(std::vector<Setting>& rows) {
  rows.push_back(Common(Named(
      "postgres",
      With(SetUrl, Secret(Text("postgres", "url", FIELD(store.connection.url),
                               "PostgreSQL as a URL (postgresql://user@host/database, special "
                               "characters percent-encoded) or key=value string; empty: the PG* "
                               "variables, or in `dev` a private PostgreSQL"))))));
  rows.push_back(
      With(SetPasswordFile, Text("postgres", "password-file", FIELD(store.connection.password.file),
                                 "file with the password, read again for each new connection; "
                                 "takes the place of the URL's")));
  rows.push_back(With(SetPasswordCommand,
                      Text("postgres", "password-command", FIELD(store.connection.password.command),
                           "shell command that prints the password, run for each new "
                           "connection, for tokens that expire")));
  rows.push_back(Time("postgres", "connect-seconds-max", absl::Seconds(1),
                      FIELD(store.connection.connect_timeout), 1, 300,
                      "how long one host may take to connect, and the password to be read"));
  rows.push_back(Time("postgres", "connection-age-seconds-max", absl::Seconds(1),
                      FIELD(store.connection.age_max), 0, 7 * 86400,
                      "older connections are made anew when they have nothing to do; 0: never"));
  rows.push_back(
      With(SetSchemaName, Text("postgres", "schema", FIELD(store.schema),
                               "schema that holds everything; one database may hold several")));
  rows.push_back(
      Number("postgres", "lanes", FIELD(store.write_lanes), 1, 64,
             "connections that write, each one batch at a time; more of them commit more often, "
             "which pays when the database is far away or has cores to spare"));
  rows.push_back(Number("postgres", "batch-operations-max", FIELD(store.lane.batch_operations_max),
                        1, 10000, "operations that one batch, and so one commit, may carry"));
  rows.push_back(Number("postgres", "batch-bytes-max", FIELD(store.lane.batch_bytes_max), 1 << 10,
                        256 << 20, "payload bytes that one batch may carry"));
  rows.push_back(
      Time("postgres", "lease-seconds", absl::Seconds(1), FIELD(store.lease), 3, 3600,
           "after this long without a sign of life the work of a daemon is free for others"));
  rows.push_back(Number("postgres", "payload-inline-bytes-max",
                        FIELD(store.payload_inline_bytes_max), 256, kBytesMax,
                        "larger inputs, results and events are stored once and referred to by the "
                        "instance's messages, tasks and history"));
  rows.push_back(Setting{"postgres", "prepared-statements", "", SettingKind::kText, false,
                         "statements are prepared by name: auto: unless a pooler in transaction "
                         "mode is found; on: also then, where it "
                         "keeps account of them (PgBouncer from 1.21 on, max_prepared_statements); "
                         "off: never, for a pooler that is "
                         "not found",
                         SetPreparedStatements, GetPreparedStatements});
  rows.push_back(Bool("postgres", "listen", FIELD(store.listen),
                      "hear from other daemons by LISTEN; without it they are found by polling"));
  rows.push_back(
      With(SetListenUrl,
           Secret(Text("postgres", "listen-url", FIELD(store.listen_url),
                       "a direct connection for LISTEN, past a pooler; empty: postgres-url"))));
  rows.push_back(Common(
      Bool("schema", "up", FIELD(schema_up),
           "create or migrate the schema at start; otherwise `serve` only checks its version")));
  rows.push_back(Common(
      Named("data-dir", Text("dev", "data-dir", FIELD(data_dir),
                             "directory of the private PostgreSQL of `dev`, kept between runs"))));
}

void AddHubs(std::vector<Setting>& rows) {
  rows.push_back(Common(Named(
      "hubs", List("hubs", "names", FIELD(hub_names), "task hubs that are created at start"))));
  rows.push_back(Text("hubs", "default", FIELD(service.hubs.default_name),
                      "task hub of calls that name none"));
  rows.push_back(Common(Bool(
      "hubs", "create-unknown", FIELD(service.hubs.create_unknown),
      "create a task hub on its first use, with access control on that of its admin; otherwise the "
      "answer is NOT_FOUND (`dev`: true)")));
  rows.push_back(
      Bool("hubs", "deletion-enabled", FIELD(service.hub_deletion_enabled),
           "allow DeleteTaskHub and CreateTaskHub with recreateIfExists, which delete data"));
  rows.push_back(Number("hubs", "name-bytes-max", FIELD(service.hubs.name_bytes_max), 1, 200,
                        "length of a task hub's name"));
  rows.push_back(Time("hubs", "cache-seconds", absl::Seconds(1), FIELD(service.hubs.cache_age_max),
                      0, 3600,
                      "how long the id of a task hub is trusted before it is looked up again"));
}

void AddServer(std::vector<Setting>& rows) {
  rows.push_back(
      Common(Named("listen", List("listen", "addresses", FIELD(server.addresses),
                                  "addresses to listen on, host:port or unix:path, any number"))));
  rows.push_back(Mode("listen", "unix-mode", FIELD(server.unix_mode),
                      "mode of unix sockets, whatever the umask: 660 lets their group connect, 666 "
                      "everybody on this machine"));
  rows.push_back(Number("listen", "receive-bytes-max", FIELD(server.receive_bytes_max), 1 << 20,
                        kIntMax, "size of one received message"));
  rows.push_back(Number("listen", "metadata-bytes-max", FIELD(server.metadata_bytes_max), 8 << 10,
                        1 << 20, "size of the metadata of one call"));
  rows.push_back(Time("listen", "keepalive-seconds", absl::Seconds(1),
                      FIELD(server.keepalive_interval), 1, 86400,
                      "interval of HTTP/2 pings to clients"));
  rows.push_back(Time("listen", "keepalive-timeout-seconds", absl::Seconds(1),
                      FIELD(server.keepalive_timeout), 1, 86400,
                      "a client that answers no ping for so long is gone"));
  rows.push_back(Time("listen", "client-ping-seconds-min", absl::Seconds(1),
                      FIELD(server.ping_interval_min), 0, 86400,
                      "clients that ping more often are disconnected"));
  rows.push_back(Bool("listen", "reflection", FIELD(server.reflection),
                      "gRPC server reflection, for tools such as grpcurl; not where callers need a "
                      "token or certificate"));
}

void AddSecurity(std::vector<Setting>& rows) {
  rows.push_back(
      Common(Text("listen", "tls-certificate-file", FIELD(server.tls.certificate_file),
                  "certificate chain as PEM; with it all addresses but unix sockets speak TLS")));
  rows.push_back(Common(Text("listen", "tls-key-file", FIELD(server.tls.key_file),
                             "its private key as PEM, not encrypted")));
  rows.push_back(
      Text("listen", "tls-client-ca-file", FIELD(server.tls.client_ca_file),
           "authorities of client certificates as PEM; without an access file every call then "
           "needs a certificate"));
  rows.push_back(Time("listen", "tls-reload-seconds", absl::Seconds(1),
                      FIELD(server.tls.reload_interval), 1, 86400,
                      "how often these files are looked at for changes"));
  rows.push_back(
      Named("insecure", Bool("listen", "insecure", FIELD(server.insecure),
                             "listen also where others can connect without TLS and "
                             "authentication, with a warning; otherwise only on this machine")));
  rows.push_back(Common(
      Text("access", "file", FIELD(access.file),
           "who may do what, see deploy/ACCESS.md; empty: whoever can connect may do everything")));
  rows.push_back(Time("access", "reload-seconds", absl::Seconds(1), FIELD(access.reload_interval),
                      1, 86400, "how often the access file is looked at for changes"));
}

void AddAdmin(std::vector<Setting>& rows) {
  rows.push_back(Named(
      "admin-listen",
      List("admin", "listen", FIELD(admin.addresses),
           "addresses of the admin listener, as those of `listen`: HTTP with /livez, /readyz, "
           "/healthz and /metrics; empty: none (`dev`: 127.0.0.1:4002)")));
  rows.push_back(Bool("admin", "open-probes", FIELD(admin.http.open_probes),
                      "/livez, /readyz and /healthz answer everybody who can connect, also where "
                      "callers need a token or certificate"));
  rows.push_back(Bool("admin", "open-metrics", FIELD(admin.http.open_metrics),
                      "/metrics does so, too; otherwise the caller must be a reader of all task "
                      "hubs there"));
  rows.push_back(Bool("admin", "insecure", FIELD(admin.insecure),
                      "as `insecure`, for the admin listener alone"));
  rows.push_back(Bool("admin", "optional", FIELD(admin_optional),
                      "do without an admin address that cannot be listened on, with a warning "
                      "(`dev`: true, as several of them may run)"));
  rows.push_back(
      Number("admin", "connections-max", FIELD(admin.connections_max), 1, 64,
             "connections of the admin listener, each with a thread; the oldest one that "
             "waits for its caller is cut for one more"));
  rows.push_back(Time("admin", "connection-seconds-max", absl::Seconds(1),
                      FIELD(admin.connection_time_max), 1, 3600,
                      "time that a connection of the admin listener may take, with its request and "
                      "the answer"));
  rows.push_back(Number("admin", "connections-per-second-max",
                        FIELD(admin.connections_per_second_max), 1, 10000,
                        "new connections of the admin listener; more of them wait"));
}

void AddMetrics(std::vector<Setting>& rows) {
  rows.push_back(Number("metrics", "hubs-max", FIELD(metrics_hubs_max), 1, 1000,
                        "task hubs that /metrics shows by name; those that come later are counted "
                        "together, as _other"));
  rows.push_back(Time("metrics", "sample-seconds", absl::Seconds(1), FIELD(sampler.interval), 0,
                      86400,
                      "how often one daemon of a database counts what waits and what there is, for "
                      "/metrics; 0 = never. Not where there is no admin listener"));
}

void AddLimits(std::vector<Setting>& rows) {
  rows.push_back(With(SetInstanceIdChars, Number("limits", "instance-id-chars-max",
                                                 FIELD(service.requests.instance_id_chars_max), 1,
                                                 512, "length of an instance id")));
  rows.push_back(With(SetNameBytes,
                      Number("limits", "name-bytes-max", FIELD(service.requests.name_bytes_max), 1,
                             kNameBytesMax, "length of an orchestration, activity or event name")));
  rows.push_back(With(SetVersionBytes, Number("limits", "version-bytes-max",
                                              FIELD(service.requests.version_bytes_max), 1,
                                              kVersionBytesMax, "length of a version")));
  rows.push_back(
      With(SetPayloadBytes,
           Number("limits", "payload-bytes-max", FIELD(service.requests.payload_bytes_max), 1,
                  1 << 30, "size of one input, result, event or custom status")));
  rows.push_back(
      With(SetTagsBytes, Number("limits", "tags-bytes-max", FIELD(service.requests.tags_bytes_max),
                                0, 1 << 30, "size of all tags of an instance together")));
  rows.push_back(Number("limits", "page-rows-default", FIELD(service.pages.rows_default), 1, 100000,
                        "rows of a page of instances, for clients that name no number"));
  rows.push_back(Number("limits", "page-rows-max", FIELD(service.pages.rows_max), 1, 100000,
                        "the same, at most, whatever a client asks for"));
  rows.push_back(Number("limits", "page-bytes-max", FIELD(service.pages.bytes_max), 1 << 10,
                        kIntMax,
                        "size of the payloads of a page; most clients take no message of 4 MiB"));
  rows.push_back(Number(
      "limits", "history-bytes-max", FIELD(dispatch.turn.history_bytes_max), 1 << 20, kBytesMax,
      "size of the history of one generation; beyond it the orchestration fails"));
  rows.push_back(Number("limits", "turn-messages-max", FIELD(dispatch.turn.messages_max), 1, 100000,
                        "new events of one turn; the rest waits for the next"));
  rows.push_back(Number("limits", "turn-bytes-max", FIELD(dispatch.turn.message_bytes_max), 1 << 10,
                        1 << 30, "size of the new events of one turn"));
  rows.push_back(Number("limits", "turn-actions-max", FIELD(dispatch.turn.actions_max), 1, 1000000,
                        "actions of one turn; beyond it the orchestration fails"));
}

void AddWorkers(std::vector<Setting>& rows) {
  rows.push_back(
      Number("workers", "items-default", FIELD(dispatch.stream_items_default), 1, 10000,
             "work items in flight per stream and kind, for workers that name no number"));
  rows.push_back(Number("workers", "items-max", FIELD(service.streams.items_max), 1, 100000,
                        "the same, at most, whatever a worker asks for"));
  rows.push_back(Number("workers", "filters-max", FIELD(service.streams.filters_max), 1, 1000000,
                        "names that one worker's filters may hold"));
  rows.push_back(Number("workers", "filter-versions-max",
                        FIELD(service.streams.filter_versions_max), 1, 1000000,
                        "versions that one entry of a filter may hold"));
  rows.push_back(
      Time("workers", "health-ping-ms", absl::Milliseconds(1), FIELD(dispatch.health_ping_interval),
           10, 86400000,
           "a stream that was silent for so long gets a health ping; SDKs give up after 120 s"));
  rows.push_back(
      Time("workers", "orchestration-hold-seconds-max", absl::Seconds(1),
           FIELD(dispatch.orchestration_hold_max), 0, 31536000,
           "an orchestrator item without answer is offered again after this; 0 = never"));
  rows.push_back(Time("workers", "activity-hold-seconds-max", absl::Seconds(1),
                      FIELD(dispatch.activity_hold_max), 0, 31536000,
                      "an activity without answer is offered again after this; 0 = never"));
  rows.push_back(Time(
      "workers", "entity-hold-seconds-max", absl::Seconds(1), FIELD(dispatch.entity_hold_max), 0,
      31536000, "a batch of an entity without answer is offered again after this; 0 = never"));
  rows.push_back(Number("workers", "entity-operations-max", FIELD(dispatch.entity_operations_max),
                        1, 100000, "operations of an entity that go to a worker in one batch"));
  rows.push_back(
      Time("workers", "result-hold-ms-max", absl::Milliseconds(1), FIELD(dispatch.result_hold_max),
           0, 60000,
           "how long an activity's result may wait for the turn that it brings about, to "
           "be committed with it; 0 = never"));
  rows.push_back(
      Number("workers", "lost-leases-max", FIELD(dispatch.lost_leases_max), 0, kIntMax,
             "an item whose worker vanished so many times fails as a poison message; 0 = off"));
  rows.push_back(Time("workers", "abandon-delay-ms-min", absl::Milliseconds(1),
                      FIELD(dispatch.abandon_delay_min), 1, 86400000,
                      "first back-off before a worker gets an item again that it abandoned"));
  rows.push_back(Time("workers", "abandon-delay-ms-max", absl::Milliseconds(1),
                      FIELD(dispatch.abandon_delay_max), 1, 86400000, "longest such back-off"));
  rows.push_back(Number("workers", "history-streaming-bytes-min",
                        FIELD(dispatch.history_streaming_from_bytes), 0, kBytesMax,
                        "larger histories are streamed to workers that can take them so"));
}

void AddDispatch(std::vector<Setting>& rows) {
  rows.push_back(Time("residents", "linger-ms", absl::Milliseconds(1),
                      FIELD(dispatch.resident_linger), 0, 86400000,
                      "how long an idle instance stays leased and in memory"));
  rows.push_back(Number("residents", "bytes-max", FIELD(dispatch.resident_bytes_max), 1 << 20,
                        kBytesMax, "memory for instances between their turns"));
  rows.push_back(Time("poll", "ms-min", absl::Milliseconds(1), FIELD(dispatch.poll_min), 1, 3600000,
                      "shortest pause between looks for work of other daemons"));
  rows.push_back(Time("poll", "step-ms", absl::Milliseconds(1), FIELD(dispatch.poll_delta), 1,
                      3600000,
                      "growth of the pause; it doubles with each look that finds nothing"));
  rows.push_back(
      Time("poll", "ms-max", absl::Milliseconds(1), FIELD(dispatch.poll_max), 1, 3600000,
           "longest pause between looks; twice that while hints of other daemons arrive"));
  rows.push_back(Time("waits", "seconds-max", absl::Seconds(1), FIELD(dispatch.wait_max), 1, 604800,
                      "longest WaitForInstanceStart and WaitForInstanceCompletion"));
  rows.push_back(Time(
      "waits", "poll-ms", absl::Milliseconds(1), FIELD(dispatch.wait_poll_interval), 10, 3600000,
      "while no hints of other daemons arrive: how often a waiting call looks, after a while"));
  rows.push_back(
      Number("dispatch", "mailbox-events-max", FIELD(dispatch.mailbox_events_max), 100, kIntMax,
             "calls that may wait for the dispatcher; more are answered RESOURCE_EXHAUSTED"));
}

// -1 keeps for ever; 100 years are as good.
constexpr int64_t kKeepHoursMax = 876000;

// How long one status is kept; nothing = as retention.default-hours says.
template <typename Field>
Setting KeepHours(std::string key, Field field, const std::string& status) {
  Setting setting{
      "retention", std::move(key),
      "",          SettingKind::kText,
      false,       "the same for those that ended " + status + "; empty: retention.default-hours",
      nullptr,     nullptr};
  setting.set = [field](Config& config, std::string_view text) {
    field(config).reset();
    if (text.empty()) return absl::OkStatus();
    const absl::StatusOr<int64_t> hours = ParseNumber(text, -1, kKeepHoursMax);
    if (hours.ok()) field(config) = *hours;
    return hours.status();
  };
  setting.get = [field](const Config& config) {
    const std::optional<int64_t> hours = field(const_cast<Config&>(config));
    return hours ? fmt::format("{}", *hours) : "";
  };
  return setting;
}

void AddRetention(std::vector<Setting>& rows) {
  rows.push_back(Bool("retention", "enabled", FIELD(retention.enabled),
                      "remove ended instances that were kept long enough; one daemon at a time "
                      "does it for all that are told to"));
  rows.push_back(Number("retention", "default-hours", FIELD(retention.default_hours), -1,
                        kKeepHoursMax,
                        "how long an instance is kept after its end, unless its hub has a policy "
                        "of its own (SetRetention in SQL); 0 = not at all, -1 = for ever"));
  rows.push_back(KeepHours("completed-hours", FIELD(retention.completed_hours), "as Completed"));
  rows.push_back(KeepHours("failed-hours", FIELD(retention.failed_hours), "as Failed"));
  rows.push_back(KeepHours("canceled-hours", FIELD(retention.canceled_hours), "as Canceled"));
  rows.push_back(KeepHours("terminated-hours", FIELD(retention.terminated_hours), "as Terminated"));
  rows.push_back(Time("retention", "grace-seconds", absl::Seconds(1), FIELD(retention.grace), 0,
                      86400,
                      "nothing goes so soon after its end, so that whoever waits for it reads it "
                      "first"));
  rows.push_back(Number("retention", "batch-instances-max", FIELD(retention.batch_instances_max), 1,
                        10000, "instances that one batch, and so one transaction, removes"));
  rows.push_back(Number("retention", "busy-percent-max", FIELD(retention.busy_percent_max), 1, 100,
                        "part of the time that batches may take; the rest are pauses"));
  rows.push_back(Time("retention", "interval-seconds", absl::Seconds(1), FIELD(retention.interval),
                      1, 86400, "pause after nothing was left to remove"));
}

void AddRest(std::vector<Setting>& rows) {
  rows.push_back(Number(
      "memory", "bytes-max", FIELD(memory_bytes_max), 0, kBytesMax,
      "memory of the daemon; other limits are lowered to parts of it. 0 = three quarters of what "
      "its control group, or the machine, has"));
  rows.push_back(
      Bool("control", "missing-instance-ok", FIELD(service.missing_control_ok),
           "RaiseEvent, SuspendInstance and ResumeInstance of a missing instance answer OK"));
  rows.push_back(Bool("control", "terminate-missing-ok", FIELD(service.missing_terminate_ok),
                      "TerminateInstance of a missing instance answers OK instead of NOT_FOUND"));
  rows.push_back(Number("history", "chunk-bytes-max", FIELD(service.history.chunk_bytes_max), 1024,
                        4 << 20,
                        "size of one chunk of StreamInstanceHistory, unless one event is larger"));
  rows.push_back(Number("history", "page-bytes", FIELD(service.history.page_bytes), 1024, 64 << 20,
                        "history that is read from the database at a time"));
  rows.push_back(Time("shutdown", "drain-seconds-max", absl::Seconds(1), FIELD(drain_timeout), 0,
                      86400, "how long a stopping daemon waits for the work items in flight"));
  rows.push_back(Time("shutdown", "grace-seconds-max", absl::Seconds(1), FIELD(shutdown_grace), 0,
                      86400, "how long it then waits for calls in progress"));
  rows.push_back(Common(With(SetLogLevel, Text("log", "level", FIELD(log_level),
                                               "trace, debug, info, warning, error or off"))));
  Setting format{"log",
                 "format",
                 "",
                 SettingKind::kText,
                 false,
                 "text, or json: one object per line; control characters and invalid UTF-8 in what "
                 "callers send are escaped",
                 SetLogFormat,
                 [](const Config& config) {
                   return std::string(config.log_format == LogFormat::kJson ? "json" : "text");
                 }};
  rows.push_back(std::move(format));
}

#undef FIELD

std::vector<Setting> MakeSettings() {
  std::vector<Setting> rows;
  AddDatabase(rows);
  AddServer(rows);
  AddSecurity(rows);
  AddAdmin(rows);
  AddMetrics(rows);
  AddHubs(rows);
  AddLimits(rows);
  AddWorkers(rows);
  AddDispatch(rows);
  AddRetention(rows);
  AddRest(rows);
  for (Setting& row : rows) {
    if (row.flag.empty()) row.flag = row.section + "-" + row.key;
  }
  return rows;
}

}  // namespace

std::string Setting::environment() const {
  std::string name = "DURABLETASK_" + section + "_" + key;
  for (char& c : name) c = c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return name;
}

const std::vector<Setting>& Settings() {
  static const auto* const settings = new std::vector<Setting>(MakeSettings());
  return *settings;
}

}  // namespace dt
