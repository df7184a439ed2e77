#include "tests/bench/database_usage.h"

#include <libpq-fe.h>

#include <fstream>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "tests/bench/process_usage.h"

namespace dt::bench {
namespace {

// Commits and statements are those of this database, so that neighbours in the cluster do not
// count.
constexpr char kCounters[] =
    "select s.xact_commit, (pg_current_wal_insert_lsn() - '0/0')::int8, %s"
    " from pg_stat_database s where s.datname = current_database()";
constexpr char kStatements[] =
    "(select coalesce(sum(t.calls), 0)::int8 from pg_stat_statements t"
    " where t.dbid = s.datid and t.toplevel)";

std::string Trimmed(const char* message) { return std::string(absl::StripSuffix(message, "\n")); }

// A backend is a child of the postmaster; on another machine the number means somebody else.
std::optional<int> PostmasterOf(PGconn* connection) {
  const char* host = PQhost(connection);
  const char* address = PQhostaddr(connection);
  const bool local = (host != nullptr && host[0] == '/') ||
                     (address != nullptr && absl::StartsWith(address, "127.")) ||
                     (address != nullptr && absl::string_view(address) == "::1");
  const auto backend = ProcessName(PQbackendPID(connection));
  if (!local || !backend || !absl::StartsWith(*backend, "postgres")) return std::nullopt;
  return ParentOf(PQbackendPID(connection));
}

bool HasStatements(PGconn* connection) {
  PGresult* result = PQexec(connection,
                            "select 1 from pg_extension where extname = 'pg_stat_statements'"
                            " and to_regclass('pg_stat_statements') is not null"
                            " and current_setting('pg_stat_statements.max', true) is not null");
  const auto clear = absl::MakeCleanup([result] { PQclear(result); });
  return PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
}

}  // namespace

DatabaseUsage::DatabaseUsage(pg_conn* connection) : connection_(connection) {
  postmaster_pid_ = PostmasterOf(connection);
  const std::string statements = HasStatements(connection) ? kStatements : "null";
  const std::vector<std::string> parts = absl::StrSplit(kCounters, "%s");
  query_ = absl::StrCat(parts[0], statements, parts[1]);
}

DatabaseUsage::~DatabaseUsage() { PQfinish(connection_); }

absl::StatusOr<std::unique_ptr<DatabaseUsage>> DatabaseUsage::Open(const std::string& conninfo) {
  PGconn* connection = PQconnectdb(conninfo.c_str());
  if (PQstatus(connection) != CONNECTION_OK) {
    const absl::Status status =
        absl::UnavailableError(absl::StrCat("PostgreSQL: ", Trimmed(PQerrorMessage(connection)),
                                            "; name the server's database with --postgres URL"));
    PQfinish(connection);
    return status;
  }
  return std::unique_ptr<DatabaseUsage>(new DatabaseUsage(connection));
}

absl::StatusOr<DatabaseCounters> DatabaseUsage::Read() {
  PGresult* result = PQexec(connection_, query_.c_str());
  const auto clear = absl::MakeCleanup([result] { PQclear(result); });
  if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1) {
    return absl::UnavailableError(
        absl::StrCat("reading PostgreSQL's counters: ", Trimmed(PQerrorMessage(connection_))));
  }
  DatabaseCounters counters;
  bool parsed = absl::SimpleAtoi(PQgetvalue(result, 0, 0), &counters.commits) &&
                absl::SimpleAtoi(PQgetvalue(result, 0, 1), &counters.wal_bytes);
  if (!PQgetisnull(result, 0, 2)) {
    int64_t statements = 0;
    parsed = parsed && absl::SimpleAtoi(PQgetvalue(result, 0, 2), &statements);
    counters.statements = statements;
  }
  if (!parsed) return absl::InternalError("PostgreSQL's counters are no numbers");
  return counters;
}

std::optional<std::string> FindDaemonDatabase(int daemon_pid) {
  constexpr absl::string_view kOption = "--postgres";
  const std::vector<std::string> arguments = CommandLine(daemon_pid);
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == kOption && i + 1 < arguments.size()) return arguments[i + 1];
    if (absl::StartsWith(arguments[i], absl::StrCat(kOption, "="))) {
      return arguments[i].substr(kOption.size() + 1);
    }
  }
  for (const int child : FindChildren(daemon_pid)) {
    const auto name = ProcessName(child);
    const auto folder = WorkingDirectory(child);
    if (!name || !absl::StartsWith(*name, "postgres") || !folder) continue;
    // postmaster.pid: pid, data folder, start time, port, socket folder, ...
    std::ifstream file(absl::StrCat(*folder, "/postmaster.pid"));
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.push_back(line);
    if (lines.size() < 5) continue;
    return absl::StrCat("host=", lines[4], " port=", lines[3], " user=postgres dbname=durabletask");
  }
  return std::nullopt;
}

}  // namespace dt::bench
