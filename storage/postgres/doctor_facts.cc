#include "storage/postgres/doctor_facts.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "fmt/format.h"
#include "storage/postgres/embedded_sql.h"

namespace dt::postgres {
namespace {

constexpr int kClockReadings = 5;

// Reads one part of the facts, from the rows of one statement.
class Reader {
 public:
  Reader(Connection& connection, const std::string& schema, DatabaseFacts& facts)
      : connection_(connection), schema_(schema), facts_(facts) {}

  absl::Status Server();
  absl::Status Clock();
  absl::Status Settings();
  absl::Status Connections();
  absl::Status Rights();
  absl::Status Indexes();
  absl::Status Tables();
  absl::Status Snapshots();
  absl::Status Slots();
  absl::Status Daemons();

 private:
  absl::StatusOr<Result> Query(std::string_view sql) {
    return connection_.ExecuteOnce(sql, Params());
  }
  // $1 is the schema.
  absl::StatusOr<Result> QueryOfSchema(std::string_view sql) {
    Params params;
    params.Text(schema_);
    return connection_.ExecuteOnce(sql, params);
  }

  Connection& connection_;
  const std::string& schema_;
  DatabaseFacts& facts_;
};

absl::Status Reader::Server() {
  const absl::StatusOr<Result> result = Query(
      "select current_setting('server_version'), current_database()::text, current_user::text,"
      " pg_is_in_recovery() or current_setting('transaction_read_only') = 'on',"
      " inet_server_addr() is not null and inet_server_addr() <> inet_client_addr(),"
      " coalesce((select s.ssl from pg_stat_ssl s where s.pid = pg_backend_pid()), false),"
      " r.rolsuper, r.rolsuper or pg_has_role('pg_read_all_stats', 'usage'),"
      " (select age(d.datfrozenxid)::bigint from pg_database d"
      "  where d.datname = current_database())"
      " from pg_roles r where r.rolname = current_user");
  if (!result.ok()) return result.status();
  facts_.server_version = connection_.server_version();
  facts_.session_is_shared = connection_.session_is_shared();
  facts_.uses_prepared_statements = connection_.uses_prepared_statements();
  facts_.server_version_text = result->Text(0, 0);
  facts_.database = result->Text(0, 1);
  facts_.role = result->Text(0, 2);
  facts_.read_only = result->Bool(0, 3);
  facts_.remote = result->Bool(0, 4);
  facts_.encrypted = result->Bool(0, 5);
  facts_.superuser = result->Bool(0, 6);
  facts_.sees_sessions = result->Bool(0, 7);
  facts_.frozen_age = result->Int(0, 8);
  return absl::OkStatus();
}

absl::Status Reader::Clock() {
  facts_.round_trip = absl::InfiniteDuration();
  for (int i = 0; i < kClockReadings; ++i) {
    const absl::Time sent = absl::Now();
    const absl::StatusOr<Result> result = Query("select clock_timestamp()");
    const absl::Time received = absl::Now();
    if (!result.ok()) return result.status();
    const absl::Duration round_trip = received - sent;
    if (round_trip >= facts_.round_trip) continue;
    facts_.round_trip = round_trip;
    facts_.clock_error = round_trip / 2;
    facts_.clock_ahead = result->Timestamp(0, 0) - (sent + round_trip / 2);
  }
  return absl::OkStatus();
}

absl::Status Reader::Settings() {
  const absl::StatusOr<Result> result = Query("select name, setting from pg_settings");
  if (!result.ok()) return result.status();
  for (int row = 0; row < result->rows(); ++row) {
    facts_.settings.emplace(result->Text(row, 0), result->Text(row, 1));
  }
  return absl::OkStatus();
}

absl::Status Reader::Connections() {
  const absl::StatusOr<Result> result = Query(
      "select count(*), count(*) filter (where a.datname = current_database()),"
      " count(*) filter (where a.usename = current_user),"
      " current_setting('max_connections')::bigint"
      "  - current_setting('superuser_reserved_connections')::bigint"
      "  - coalesce(current_setting('reserved_connections', true)::bigint, 0),"
      " (select d.datconnlimit from pg_database d where d.datname = current_database()),"
      " (select r.rolconnlimit from pg_roles r where r.rolname = current_user)"
      " from pg_stat_activity a where a.backend_type = 'client backend'");
  if (!result.ok()) return result.status();
  facts_.connections = result->Int(0, 0);
  facts_.database_connections = result->Int(0, 1);
  facts_.role_connections = result->Int(0, 2);
  facts_.connections_max = result->Int(0, 3);
  facts_.database_connections_max = result->Int(0, 4);
  facts_.role_connections_max = result->Int(0, 5);
  return absl::OkStatus();
}

// What the daemon calls begins with one underscore (sql/README.md).
absl::Status Reader::Rights() {
  const absl::StatusOr<Result> result = QueryOfSchema(
      "select n.nspowner = (select oid from pg_roles where rolname = current_user),"
      " array(select p.oid::regprocedure::text from pg_proc p"
      "       where p.pronamespace = n.oid and p.proname ~ '^_[^_]'"
      "         and not (has_schema_privilege(n.oid, 'usage')"
      "                  and has_function_privilege(p.oid, 'execute')) order by 1)"
      " from pg_namespace n where n.nspname = $1");
  if (!result.ok()) return result.status();
  if (result->rows() == 0) return absl::OkStatus();
  facts_.schema_is_own = result->Bool(0, 0);
  for (const std::string_view name : result->TextArray(0, 1)) facts_.denied.emplace_back(name);
  return absl::OkStatus();
}

// The names of the indexes that the schema's script makes.
std::vector<std::string> IndexesOfScript() {
  std::vector<std::string> names;
  for (const EmbeddedFile& file : EmbeddedSql()) {
    if (file.path.substr(0, 7) != "schema/") continue;
    for (absl::string_view line :
         absl::StrSplit(absl::string_view(file.text.data(), file.text.size()), '\n')) {
      if (!absl::ConsumePrefix(&line, "create index ") &&
          !absl::ConsumePrefix(&line, "create unique index ")) {
        continue;
      }
      names.push_back(absl::AsciiStrToLower(line.substr(0, line.find(' '))));
    }
  }
  return names;
}

absl::Status Reader::Indexes() {
  if (facts_.schema.state != SchemaState::kCurrent) return absl::OkStatus();
  const absl::StatusOr<Result> result = QueryOfSchema(
      "select c.relname::text, i.indisvalid and i.indisready from pg_index i"
      " join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace"
      " where n.nspname = $1");
  if (!result.ok()) return result.status();
  std::vector<std::string> found;
  for (int row = 0; row < result->rows(); ++row) {
    found.emplace_back(result->Text(row, 0));
    if (!result->Bool(row, 1)) facts_.invalid_indexes.push_back(found.back());
  }
  for (const std::string& name : IndexesOfScript()) {
    if (std::find(found.begin(), found.end(), name) == found.end()) {
      facts_.missing_indexes.push_back(name);
    }
  }
  return absl::OkStatus();
}

absl::Status Reader::Tables() {
  const absl::StatusOr<Result> result = QueryOfSchema(
      "select s.relname::text, pg_total_relation_size(s.relid), s.n_live_tup, s.n_dead_tup,"
      " case when coalesce(o.options ->> 'autovacuum_enabled', 'true')::boolean then"
      "  (coalesce(o.options ->> 'autovacuum_vacuum_threshold',"
      "            current_setting('autovacuum_vacuum_threshold'))::float8"
      "   + coalesce(o.options ->> 'autovacuum_vacuum_scale_factor',"
      "              current_setting('autovacuum_vacuum_scale_factor'))::float8"
      "     * greatest(c.reltuples, 0))::bigint end,"
      " greatest(s.last_vacuum, s.last_autovacuum), s.seq_scan, s.seq_tup_read"
      " from pg_stat_user_tables s join pg_class c on c.oid = s.relid"
      " cross join lateral (select jsonb_object_agg(option_name, option_value) as options"
      "                     from pg_options_to_table(c.reloptions)) o"
      " where s.schemaname = $1 order by 1");
  if (!result.ok()) return result.status();
  for (int row = 0; row < result->rows(); ++row) {
    TableFacts& table = facts_.tables.emplace_back();
    table.name = result->Text(row, 0);
    table.bytes = result->Int(row, 1);
    table.live_rows = result->Int(row, 2);
    table.dead_rows = result->Int(row, 3);
    table.vacuum_threshold = result->OptionalInt(row, 4);
    table.vacuumed = result->OptionalTimestamp(row, 5);
    table.sequential_scans = result->Int(row, 6);
    table.sequential_rows = result->Int(row, 7);
  }
  return absl::OkStatus();
}

absl::Status Reader::Snapshots() {
  const absl::StatusOr<Result> result = Query(
      "select * from ("
      "select format('session %s of %s (%s)', a.pid,"
      "              coalesce(nullif(a.application_name, ''), a.usename::text, 'somebody'),"
      "              coalesce(a.state, 'hidden')) as what,"
      " greatest(age(a.backend_xmin), age(a.backend_xid))::bigint as transactions,"
      " (extract(epoch from clock_timestamp() - a.xact_start) * 1000)::bigint as ms"
      " from pg_stat_activity a where a.pid <> pg_backend_pid() and a.xact_start is not null"
      "  and (a.datname = current_database() or a.backend_xmin is not null)"
      " union all"
      " select format('prepared transaction %L', p.gid), age(p.transaction)::bigint,"
      "  (extract(epoch from clock_timestamp() - p.prepared) * 1000)::bigint"
      " from pg_prepared_xacts p"
      " union all"
      " select format('replication slot %L', s.slot_name),"
      "  greatest(age(s.xmin), age(s.catalog_xmin))::bigint, null"
      " from pg_replication_slots s where s.xmin is not null or s.catalog_xmin is not null"
      ") holders where transactions is not null or ms is not null"
      " order by ms desc nulls last, transactions desc limit 100");
  if (!result.ok()) return result.status();
  for (int row = 0; row < result->rows(); ++row) {
    SnapshotHolder& holder = facts_.snapshots.emplace_back();
    holder.what = result->Text(row, 0);
    holder.transactions = result->OptionalInt(row, 1).value_or(0);
    if (!result->IsNull(row, 2)) holder.age = absl::Milliseconds(result->Int(row, 2));
  }
  return absl::OkStatus();
}

absl::Status Reader::Slots() {
  // A standby has no current position in the log.
  const absl::StatusOr<Result> result = Query(
      "select s.slot_name::text, s.active, coalesce(pg_wal_lsn_diff(case when pg_is_in_recovery()"
      "   then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, s.restart_lsn), 0)::bigint"
      " from pg_replication_slots s order by 1");
  if (!result.ok()) return result.status();
  for (int row = 0; row < result->rows(); ++row) {
    facts_.slots.push_back(
        {std::string(result->Text(row, 0)), result->Bool(row, 1), result->Int(row, 2)});
  }
  return absl::OkStatus();
}

absl::Status Reader::Daemons() {
  if (!facts_.schema.usable() || !facts_.denied.empty()) return absl::OkStatus();
  const absl::StatusOr<Result> result = Query(fmt::format(
      "select w.host, w.version, w.lease_until > clock_timestamp() and w.silent_since is null,"
      " nullif(w.renewed_at, '-infinity') from {}.Workers w where w.lease_until > '-infinity'"
      " order by w.worker_id",
      Connection::QuoteIdentifier(schema_)));
  if (!result.ok()) return result.status();
  for (int row = 0; row < result->rows(); ++row) {
    const std::string version(result->Text(row, 1));
    if (result->Bool(row, 2)) {
      ++facts_.daemons_alive;
      ++facts_.daemon_versions[version];
      continue;
    }
    const std::optional<absl::Time> seen = result->OptionalTimestamp(row, 3);
    facts_.daemons_not_alive.push_back(
        fmt::format("{} ({}), last seen {}", result->Text(row, 0), version,
                    seen.has_value() ? absl::FormatTime(*seen, absl::UTCTimeZone()) : "never"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DatabaseFacts> ReadDatabaseFacts(Connection& connection, const std::string& schema) {
  DatabaseFacts facts;
  absl::StatusOr<SchemaStatus> status = ReadSchemaStatus(connection, schema);
  if (status.ok()) {
    facts.schema = *std::move(status);
  } else if (absl::IsPermissionDenied(status.status())) {
    facts.schema_hidden = true;
    facts.schema.explanation = std::string(status.status().message());
  } else {
    return status.status();
  }
  Reader reader(connection, schema, facts);
  for (absl::Status (Reader::*const part)() :
       {&Reader::Server, &Reader::Clock, &Reader::Settings, &Reader::Connections, &Reader::Rights,
        &Reader::Indexes, &Reader::Tables, &Reader::Snapshots, &Reader::Slots, &Reader::Daemons}) {
    if (absl::Status read = (reader.*part)(); !read.ok()) return read;
  }
  return facts;
}

}  // namespace dt::postgres
