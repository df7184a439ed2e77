#include "storage/postgres/migrator.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fmt/format.h"
#include "spdlog/spdlog.h"
#include "storage/log_events.h"
#include "storage/log_fields.h"
#include "storage/postgres/check.h"
#include "storage/postgres/embedded_sql.h"
#include "storage/postgres/semver.h"
#include "storage/postgres/sqlstate.h"
#include "storage/steady_clock.h"

namespace dt::postgres {
namespace {

// Programs below this version cannot work on the schema that this program installs.
constexpr char kMinDaemonVersion[] = "1.0.0";

constexpr std::string_view kSchemaPrefix = "schema/";
constexpr std::string_view kLogicPrefix = "logic/";

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

Semver MustParse(std::string_view text) {
  std::optional<Semver> version = ParseSemver(text);
  DT_CHECK(version.has_value(), "a version of this program is no semantic version");
  return *std::move(version);
}

std::string_view FileText(std::string_view path) {
  for (const EmbeddedFile& file : EmbeddedSql()) {
    if (file.path == path) return file.text;
  }
  DT_CHECK(false, "a file of sql/ is missing in the program");
  return {};
}

// FNV-1a: tells builds apart, nothing more.
void Mix(std::string_view text, uint64_t* hash) {
  for (unsigned char c : text) *hash = (*hash ^ c) * 0x100000001b3u;
}

std::string Fingerprint(bool of_schema) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const EmbeddedFile& file : EmbeddedSql()) {
    bool schema = StartsWith(file.path, kSchemaPrefix);
    bool logic = StartsWith(file.path, kLogicPrefix) || file.path == "permissions.sql";
    if (of_schema ? schema : logic) Mix(file.text, &hash);
  }
  return fmt::format("{:016x}", hash);
}

// The comment on Versions names the builds of the tables and of the functions.
std::string Marker() {
  return fmt::format("tables {} functions {}", Fingerprint(true), Fingerprint(false));
}

struct SchemaScript {
  Semver version;
  const EmbeddedFile* file;
};

// The schema scripts above a version, lowest first; all without one.
std::vector<SchemaScript> ScriptsAbove(const std::optional<Semver>& installed) {
  std::vector<SchemaScript> scripts;
  for (const EmbeddedFile& file : EmbeddedSql()) {
    if (!StartsWith(file.path, kSchemaPrefix)) continue;
    std::string_view name = file.path.substr(kSchemaPrefix.size());
    Semver version = MustParse(name.substr(0, name.size() - 4));  // without ".sql"
    if (!installed.has_value() || CompareSemver(version, *installed) > 0) {
      scripts.push_back({std::move(version), &file});
    }
  }
  std::sort(scripts.begin(), scripts.end(), [](const SchemaScript& a, const SchemaScript& b) {
    return CompareSemver(a.version, b.version) < 0;
  });
  return scripts;
}

// All files of a migration in the order they run.
std::vector<EmbeddedFile> Plan(const std::optional<Semver>& installed) {
  std::vector<EmbeddedFile> plan = {{"check-schema.sql", FileText("check-schema.sql")}};
  for (const SchemaScript& script : ScriptsAbove(installed)) plan.push_back(*script.file);
  for (const EmbeddedFile& file : EmbeddedSql()) {
    if (StartsWith(file.path, kLogicPrefix)) plan.push_back(file);
  }
  plan.push_back({"permissions.sql", FileText("permissions.sql")});
  return plan;
}

std::string BeginSql(const std::string& schema) {
  return fmt::format(
      "begin isolation level read committed;\n"
      "{}"
      // Nothing is looked up where others may put functions and operators.
      "set local search_path = pg_catalog, pg_temp;\n"
      "do $$begin perform pg_advisory_xact_lock(hashtextextended('durabletask-postgres', 0) # "
      "hashtextextended({}, 0)); end$$;\n",
      FileText("transaction-settings.sql"), Connection::QuoteLiteral(schema));
}

std::string SearchPathSql(const std::string& schema) {
  return fmt::format("set local search_path = {}, pg_temp;\n", Connection::QuoteIdentifier(schema));
}

std::string VersionSql() {
  return fmt::format(
      "insert into Versions (semantic_version, min_daemon_version) values ('{}', '{}')\n"
      "  on conflict do nothing;\n"
      "comment on table Versions is '{}';\n",
      ProgramVersion(), kMinDaemonVersion, Marker());
}

absl::Status MissingRight(const absl::Status& status, const std::string& what,
                          const std::string& advice) {
  if (Sqlstate(status) != "42501") return status;
  return absl::PermissionDeniedError(
      fmt::format("the role may not {}: {}; {}", what, std::string(status.message()), advice));
}

absl::StatusOr<bool> Exists(Connection& connection, const std::string& sql,
                            const std::string& schema) {
  absl::StatusOr<Result> result = connection.ExecuteOnce(sql, Params().Text(schema));
  if (!result.ok()) return result.status();
  return result->rows() > 0;
}

absl::StatusOr<bool> VersionsExists(Connection& connection, const std::string& schema) {
  return Exists(connection,
                "select 1 from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = "
                "c.relnamespace where n.nspname = $1 and c.relname = 'versions'",
                schema);
}

absl::Status CheckEncoding(Connection& connection) {
  absl::StatusOr<Result> result = connection.ExecuteOnce(
      "select pg_catalog.current_setting('server_encoding'), "
      "pg_catalog.current_database()::text");
  if (!result.ok()) return result.status();
  if (result->Text(0, 0) == "UTF8") return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "database {} has the encoding {}, but UTF8 is needed; make another one: create database NAME "
      "template template0 encoding 'UTF8'",
      result->Text(0, 1), result->Text(0, 0)));
}

// What the versions and the marker mean for this program.
void Explain(const std::string& schema, const std::string& marker, SchemaStatus* status) {
  const std::string& program = status->program_version;
  const std::string& installed = status->installed_version;
  int order = CompareSemver(*ParseSemver(installed), MustParse(program));
  std::optional<Semver> needed = ParseSemver(status->min_daemon_version);
  if (order < 0) {
    status->state = SchemaState::kOlder;
    status->explanation = fmt::format(
        "schema {} has version {}, this program needs {}; run `durabletask-sidecar schema up`",
        schema, installed, program);
  } else if (order > 0 && (!needed.has_value() || CompareSemver(MustParse(program), *needed) < 0)) {
    status->state = SchemaState::kTooNew;
    status->explanation = fmt::format(
        "schema {} has version {}, which programs below {} cannot use, and this one is {}; install "
        "a "
        "newer durabletask-sidecar",
        schema, installed, status->min_daemon_version, program);
  } else if (order > 0) {
    status->state = SchemaState::kNewer;
    status->explanation = fmt::format(
        "schema {} has version {}, newer than this program ({}), which "
        "may still use it",
        schema, installed, program);
  } else if (StartsWith(marker, "tables ") &&
             !StartsWith(marker, "tables " + Fingerprint(true) + " ")) {
    status->state = SchemaState::kOtherBuild;
    status->explanation = fmt::format(
        "schema {} was made by another unreleased build of version {} with other tables; `schema "
        "drop --yes` deletes it with all its data, then `schema up` makes it anew",
        schema, installed);
  } else {
    status->state = SchemaState::kCurrent;
    status->logic_differs = marker != Marker();
    status->explanation = fmt::format(
        "schema {} has version {}{}", schema, installed,
        status->logic_differs ? ", its functions are of another build; `schema up` renews them"
                              : "");
  }
}

// Of a schema that is up to date: the roles and the rights alone. Roles may have been made, or
// rights taken away, after it was installed.
std::vector<EmbeddedFile> RightsPlan() {
  return {{"check-schema.sql", FileText("check-schema.sql")},
          {"permissions.sql", FileText("permissions.sql")}};
}

absl::Status RunFiles(Connection& connection, const std::string& schema,
                      const std::vector<EmbeddedFile>& files) {
  for (const EmbeddedFile& file : files) {
    absl::Time start = SteadyNow();
    absl::Status status = connection.RunScript(std::string(file.text));
    if (!status.ok()) {
      absl::Status named(status.code(), fmt::format("sql/{}: {}", std::string(file.path),
                                                    std::string(status.message())));
      if (Sqlstate(status) != "42501" || file.path == "check-schema.sql") return named;
      return absl::PermissionDeniedError(
          fmt::format("{}; `schema up` needs the role that owns schema {}",
                      std::string(named.message()), schema));
    }
    const std::string ms = absl::StrCat(absl::ToInt64Milliseconds(SteadyNow() - start));
    const LogFields fields({{log_field::kDurationMs, ms}});
    spdlog::info("{}: {}: {} ms", log_event::kExecutedSqlScript, file.path, ms);
  }
  return absl::OkStatus();
}

absl::Status RunPlan(Connection& connection, const std::string& schema,
                     const std::optional<Semver>& installed) {
  absl::Status status = RunFiles(connection, schema, Plan(installed));
  return status.ok() ? connection.RunScript(VersionSql()) : status;
}

// Sets the rights, if the role of this session may, as check-schema.sql sees it: the daemon's own,
// which may also be told to migrate at each start, must not fail for that.
absl::Status RenewRights(Connection& connection, const std::string& schema) {
  absl::StatusOr<Result> owner = connection.ExecuteOnce(
      "select n.nspowner = u.oid or (u.rolsuper and o.rolsuper) or "
      "(not u.rolsuper and pg_catalog.pg_has_role(n.nspowner, 'usage')), o.rolname::text "
      "from pg_catalog.pg_namespace n "
      "join pg_catalog.pg_roles o on o.oid = n.nspowner "
      "join pg_catalog.pg_roles u on u.rolname = current_user where n.nspname = $1",
      Params().Text(schema));
  if (!owner.ok()) return owner.status();
  if (!owner->Bool(0, 0)) {
    spdlog::info(
        "the rights of roles in schema {} are left as they are: `schema up` sets them when "
        "\"{}\", who owns it, runs it",
        schema, owner->Text(0, 1));
    return absl::OkStatus();
  }
  absl::Status status = connection.RunScript(SearchPathSql(schema));
  return status.ok() ? RunFiles(connection, schema, RightsPlan()) : status;
}

// Inside the transaction that BeginSql opened, under its lock.
absl::Status MigrateLocked(Connection& connection, const std::string& schema) {
  absl::StatusOr<SchemaStatus> before = ReadSchemaStatus(connection, schema);
  if (!before.ok()) return before.status();
  if (before->state == SchemaState::kTooNew || before->state == SchemaState::kOtherBuild) {
    return absl::FailedPreconditionError(before->explanation);
  }
  bool current = before->state == SchemaState::kCurrent && !before->logic_differs;
  if (before->state == SchemaState::kNewer) return absl::OkStatus();
  if (current) return RenewRights(connection, schema);

  absl::StatusOr<bool> exists =
      Exists(connection, "select 1 from pg_catalog.pg_namespace where nspname = $1", schema);
  if (!exists.ok()) return exists.status();
  if (!*exists) {
    absl::Status status =
        connection.RunScript("create schema " + Connection::QuoteIdentifier(schema));
    if (!status.ok()) {
      return MissingRight(status, "create schema " + schema,
                          "let an owner run `grant create on database ... to ...`, or run the "
                          "output of `durabletask-sidecar schema print` in psql");
    }
  }
  if (absl::Status status = connection.RunScript(SearchPathSql(schema)); !status.ok()) {
    return status;
  }
  std::optional<Semver> installed;
  if (before->state != SchemaState::kMissing) installed = ParseSemver(before->installed_version);
  return RunPlan(connection, schema, installed);
}

// Ends the transaction in either way; the connection is clean afterwards, or lost.
absl::Status Finish(Connection& connection, absl::Status status) {
  if (status.ok()) return connection.RunScript("commit");
  absl::Status rollback = connection.RunScript("rollback");
  if (!rollback.ok()) spdlog::warn("rollback: {}", std::string(rollback.message()));
  return status;
}

}  // namespace

std::string ProgramVersion() { return std::string(BuildVersion()); }

absl::StatusOr<SchemaStatus> ReadSchemaStatus(Connection& connection, const std::string& schema) {
  if (absl::Status status = CheckEncoding(connection); !status.ok()) return status;
  SchemaStatus status;
  status.program_version = ProgramVersion();
  absl::StatusOr<bool> installed = VersionsExists(connection, schema);
  if (!installed.ok()) return installed.status();
  if (!*installed) {
    status.explanation =
        fmt::format("schema {} is not installed; run `durabletask-sidecar schema up`", schema);
    return status;
  }
  std::string table = Connection::QuoteIdentifier(schema) + ".Versions";
  absl::StatusOr<Result> rows = connection.ExecuteOnce(
      "select semantic_version::text, min_daemon_version::text, "
      "coalesce(pg_catalog.obj_description($1::text::pg_catalog.regclass, 'pg_class'), '') from " +
          table,
      Params().Text(table));
  if (!rows.ok()) {
    return MissingRight(rows.status(), "read " + table,
                        "grant it the rights of the daemon (sql/permissions.sql)");
  }
  // The highest version, which is not always the latest row.
  std::optional<Semver> highest;
  std::string marker;
  for (int row = 0; row < rows->rows(); ++row) {
    std::optional<Semver> version = ParseSemver(rows->Text(row, 0));
    if (!version.has_value()) {
      return absl::FailedPreconditionError(
          fmt::format("{} holds \"{}\", which is no version; is schema {} of another program?",
                      table, rows->Text(row, 0), schema));
    }
    if (highest.has_value() && CompareSemver(*version, *highest) < 0) continue;
    highest = version;
    status.installed_version = rows->Text(row, 0);
    status.min_daemon_version = rows->Text(row, 1);
    marker = rows->Text(row, 2);
  }
  if (!highest.has_value()) {
    return absl::FailedPreconditionError(fmt::format(
        "{} is empty, so its version is unknown; is schema {} of another program?", table, schema));
  }
  Explain(schema, marker, &status);
  return status;
}

absl::StatusOr<SchemaStatus> MigrateSchema(Connection& connection, const std::string& schema) {
  absl::Time start = SteadyNow();
  absl::Status status = connection.RunScript(BeginSql(schema));
  if (status.ok()) {
    spdlog::debug("{}: {} ms", log_event::kAcquiredAppLock,
                  absl::ToInt64Milliseconds(SteadyNow() - start));
    status = MigrateLocked(connection, schema);
  }
  status = Finish(connection, std::move(status));
  if (!status.ok()) return status;
  return ReadSchemaStatus(connection, schema);
}

absl::StatusOr<std::string> MigrationScript(const std::string& schema,
                                            const std::string& installed_version) {
  std::optional<Semver> installed;
  if (!installed_version.empty()) {
    installed = ParseSemver(installed_version);
    if (!installed.has_value()) {
      return absl::InvalidArgumentError(
          fmt::format("\"{}\" is no version like 1.2.3", installed_version));
    }
  }
  std::string script =
      fmt::format("-- Schema {} of durabletask-postgres {}\n", schema, ProgramVersion());
  script += BeginSql(schema);
  script += fmt::format("create schema if not exists {};\n", Connection::QuoteIdentifier(schema));
  script += SearchPathSql(schema);
  for (const EmbeddedFile& file : Plan(installed)) {
    script += fmt::format("\n-- sql/{}\n{}\n", file.path, file.text);
  }
  return script + "\n" + VersionSql() + "commit;\n";
}

absl::Status DropSchema(Connection& connection, const std::string& schema) {
  absl::Status status = connection.RunScript(BeginSql(schema));
  if (status.ok()) {
    absl::StatusOr<bool> installed = VersionsExists(connection, schema);
    status = installed.status();
    if (installed.ok() && !*installed) {
      status = absl::NotFoundError(fmt::format("schema {} is not installed", schema));
    }
  }
  if (status.ok()) {
    status =
        connection.RunScript(SearchPathSql(schema) + std::string(FileText("drop-objects.sql")) +
                             "\ndrop schema " + Connection::QuoteIdentifier(schema));
    if (Sqlstate(status) == "2BP01") {
      status =
          absl::FailedPreconditionError(fmt::format("objects of others live in schema {} or depend "
                                                    "on it, so nothing was dropped; move or drop "
                                                    "them first: {}",
                                                    schema, std::string(status.message())));
    }
  }
  return Finish(connection, std::move(status));
}

}  // namespace dt::postgres
