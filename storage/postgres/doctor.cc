#include "storage/postgres/doctor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "fmt/format.h"

namespace dt::postgres {
namespace {

constexpr int kNewestTested = 18;
constexpr absl::Duration kClockWarning = absl::Seconds(1);
constexpr absl::Duration kRoundTripNote = absl::Milliseconds(5);
// An open transaction keeps dead rows of the queue tables, which every claim then walks over.
constexpr absl::Duration kSnapshotWarning = absl::Minutes(5);
constexpr int64_t kSnapshotTransactions = 100'000;
constexpr int64_t kSlotBytesWarning = int64_t{1} << 30;
// Autovacuum that keeps up removes dead rows at its threshold.
constexpr int64_t kBehindFactor = 10;
constexpr int64_t kDeadRowsMin = 50'000;
constexpr int64_t kScannedRowsWarning = 10'000;  // by one sequential scan, on the average
constexpr int64_t kScansMin = 1000;
constexpr double kConnectionsWarning = 0.8;  // of those there may be
// PostgreSQL warns 40 million before it stops at 2^31; autovacuum begins at 200 million.
constexpr int64_t kFrozenWarning = 1'000'000'000;
constexpr int64_t kSharedBuffersMin = 16'384;  // of 8 KiB

class Findings {
 public:
  void Good(std::string check, std::string what) {
    Add(Severity::kGood, std::move(check), std::move(what), "");
  }
  void Note(std::string check, std::string what, std::string advice) {
    Add(Severity::kNote, std::move(check), std::move(what), std::move(advice));
  }
  void Warning(std::string check, std::string what, std::string advice) {
    Add(Severity::kWarning, std::move(check), std::move(what), std::move(advice));
  }
  void Problem(std::string check, std::string what, std::string advice) {
    Add(Severity::kProblem, std::move(check), std::move(what), std::move(advice));
  }
  // Unless something was found in this check already.
  void GoodOtherwise(const std::string& check, std::string what) {
    const bool found = std::any_of(list_.begin(), list_.end(), [&](const Finding& finding) {
      return finding.check == check && finding.severity != Severity::kNote;
    });
    if (!found) Good(check, std::move(what));
  }
  std::vector<Finding> Take() { return std::move(list_); }

 private:
  void Add(Severity severity, std::string check, std::string what, std::string advice) {
    list_.push_back({severity, std::move(check), std::move(what), std::move(advice)});
  }

  std::vector<Finding> list_;
};

std::string SettingOf(const DatabaseFacts& facts, const std::string& name) {
  const auto found = facts.settings.find(name);
  return found == facts.settings.end() ? "" : found->second;
}

int64_t NumberOf(const DatabaseFacts& facts, const std::string& name) {
  int64_t number = 0;
  return absl::SimpleAtoi(SettingOf(facts, name), &number) ? number : 0;
}

std::string Megabytes(int64_t bytes) { return fmt::format("{:.1f} MiB", bytes / 1048576.0); }

void JudgeServer(const DatabaseFacts& facts, Findings& findings) {
  const char check[] = "server";
  if (facts.read_only) {
    findings.Problem(check, "the server takes no writes: it is a standby, or read-only",
                     "connect to the primary; with several hosts in the URL add "
                     "target_session_attrs=read-write");
  }
  if (facts.server_version / 10000 > kNewestTested) {
    findings.Note(check,
                  fmt::format("PostgreSQL {} is newer than what this program was tested with ({})",
                              facts.server_version_text, kNewestTested),
                  "look for a newer durabletask-sidecar");
  }
  if (facts.remote && !facts.encrypted) {
    findings.Warning(check, "the connection crosses the network without TLS",
                     "add sslmode=verify-full and sslrootcert to the URL");
  }
  findings.GoodOtherwise(check, fmt::format("PostgreSQL {}, database {}, role {}",
                                            facts.server_version_text, facts.database, facts.role));
}

void JudgeSchema(const DatabaseFacts& facts, Findings& findings) {
  const char check[] = "schema";
  if (facts.schema_hidden) {
    findings.Problem(check, facts.schema.explanation, "grant <schema>_daemon to <role>");
  } else if (!facts.schema.usable()) {
    findings.Problem(check, facts.schema.explanation, "durabletask-sidecar schema up");
  } else if (facts.schema.logic_differs) {
    findings.Warning(check, facts.schema.explanation, "durabletask-sidecar schema up");
  }
  if (!facts.invalid_indexes.empty()) {
    findings.Problem(
        check, fmt::format("indexes are not valid: {}", absl::StrJoin(facts.invalid_indexes, ", ")),
        "reindex index concurrently, for each of them");
  }
  if (!facts.missing_indexes.empty()) {
    findings.Problem(check,
                     fmt::format("indexes are gone that statements need: {}",
                                 absl::StrJoin(facts.missing_indexes, ", ")),
                     "make them again: `durabletask-sidecar schema print` shows how");
  }
  findings.GoodOtherwise(check, facts.schema.explanation);
}

void JudgeRights(const DatabaseFacts& facts, Findings& findings) {
  const char check[] = "rights";
  if (!facts.denied.empty()) {
    findings.Problem(check,
                     fmt::format("role {} may not call {} functions of the schema, such as {}",
                                 facts.role, facts.denied.size(), facts.denied.front()),
                     "grant it the schema's role: grant <schema>_daemon to <role>");
  }
  if (facts.superuser || facts.schema_is_own) {
    findings.Note(check,
                  fmt::format("role {} {}", facts.role,
                              facts.superuser ? "is a superuser" : "owns the schema"),
                  "in production give the daemon a login with <schema>_daemon only");
  }
  if (!facts.sees_sessions) {
    findings.Note(check, "what sessions of other roles do is hidden from this role",
                  "for a full picture run doctor as a member of pg_read_all_stats");
  }
  if (!facts.schema.usable()) return;
  findings.GoodOtherwise(check, fmt::format("role {} may do what the daemon does", facts.role));
}

// A setting whose value endangers what was acknowledged, or work as a whole.
void JudgeSwitch(const DatabaseFacts& facts, const char* name, const char* harm,
                 Findings& findings) {
  if (SettingOf(facts, name) != "off") return;
  findings.Problem("settings", fmt::format("{} is off: {}", name, harm),
                   fmt::format("set {} = on in postgresql.conf, and reload", name));
}

void JudgeSettings(const DatabaseFacts& facts, Findings& findings) {
  const char check[] = "settings";
  JudgeSwitch(facts, "fsync", "a crash of the machine loses committed work, or the whole database",
              findings);
  JudgeSwitch(facts, "full_page_writes", "a crash of the machine can destroy pages", findings);
  JudgeSwitch(facts, "autovacuum",
              "dead rows of the queue tables stay, and each claim walks over "
              "them",
              findings);
  JudgeSwitch(facts, "track_counts", "autovacuum does not see dead rows", findings);
  if (SettingOf(facts, "synchronous_commit") == "off") {
    findings.Note(check, "synchronous_commit is off",
                  "the daemon waits for its commits nevertheless; SQL users of the schema do not, "
                  "and a crash loses what they started last");
  }
  if (const std::string isolation = SettingOf(facts, "default_transaction_isolation");
      !isolation.empty() && isolation != "read committed") {
    findings.Note(check, fmt::format("default_transaction_isolation is {}", isolation),
                  "the daemon asks for read committed itself; SQL users of the schema should, too");
  }
  for (const char* name : {"idle_session_timeout", "transaction_timeout"}) {
    const int64_t ms = NumberOf(facts, name);
    if (ms == 0) continue;
    findings.Note(check,
                  fmt::format("{} is {}: connections of the daemon are ended by it, and made anew",
                              name, absl::FormatDuration(absl::Milliseconds(ms))),
                  fmt::format("alter role <the daemon's> set {} = 0", name));
  }
  if (const int64_t buffers = NumberOf(facts, "shared_buffers");
      buffers > 0 && buffers < kSharedBuffersMin) {
    findings.Note(check, fmt::format("shared_buffers is {}", Megabytes(buffers * 8192)),
                  "a quarter of the server's memory is usual");
  }
  findings.GoodOtherwise(check, "what is committed survives a crash, and autovacuum is on");
}

void JudgePooler(const DatabaseFacts& facts, Findings& findings) {
  const char check[] = "pooler";
  if (facts.session_is_shared) {
    findings.Note(check,
                  "a pooler gives sessions to others between transactions: hints of other daemons "
                  "do not arrive, and a daemon that died is found by its lease only",
                  "give postgres.listen-url, a direct connection");
  } else {
    findings.Good(check, "the session is the daemon's own");
  }
}

void JudgeConnections(const DatabaseFacts& facts, Findings& findings) {
  const char check[] = "connections";
  struct Limit {
    const char* of;
    int64_t used;
    int64_t max;
    const char* advice;
  };
  for (const Limit& limit :
       {Limit{"the server", facts.connections, facts.connections_max,
              "raise max_connections, put a pooler between, or let daemons share: each keeps three "
              "when idle and up to twelve under load"},
        Limit{"this database", facts.database_connections, facts.database_connections_max,
              "alter database <name> connection limit"},
        Limit{"this role", facts.role_connections, facts.role_connections_max,
              "alter role <name> connection limit"}}) {
    if (limit.max < 0 || limit.used < limit.max * kConnectionsWarning) continue;
    findings.Warning(
        check, fmt::format("{} of {} connections of {} are taken", limit.used, limit.max, limit.of),
        limit.advice);
  }
  findings.GoodOtherwise(check, fmt::format("{} of {} connections of the server are taken",
                                            facts.connections, facts.connections_max));
}

void JudgeClock(const DatabaseFacts& facts, Findings& findings) {
  const char check[] = "clock";
  if (absl::AbsDuration(facts.clock_ahead) > kClockWarning + facts.clock_error) {
    findings.Warning(
        check,
        fmt::format("the server's clock is {} {} this machine's, give or take {}",
                    absl::FormatDuration(
                        absl::Trunc(absl::AbsDuration(facts.clock_ahead), absl::Milliseconds(1))),
                    facts.clock_ahead > absl::ZeroDuration() ? "ahead of" : "behind",
                    absl::FormatDuration(absl::Ceil(facts.clock_error, absl::Milliseconds(1)))),
        "let NTP set both; timers go by the server's clock, times that workers compute by theirs");
  }
  if (facts.round_trip > kRoundTripNote) {
    findings.Note(
        check,
        fmt::format("a round trip to the server takes {}",
                    absl::FormatDuration(absl::Trunc(facts.round_trip, absl::Microseconds(100)))),
        "each step of an orchestration waits for one at least; run the daemon near the "
        "server, and raise postgres.lanes");
  }
  findings.GoodOtherwise(check, "the clocks of the server and of this machine agree");
}

void JudgeTables(const DatabaseFacts& facts, Findings& findings) {
  const char check[] = "tables";
  if (facts.tables.empty()) return;
  for (const TableFacts& table : facts.tables) {
    if (!table.vacuum_threshold.has_value()) {
      findings.Problem(check, fmt::format("autovacuum is switched off for {}", table.name),
                       fmt::format("alter table {} reset (autovacuum_enabled)", table.name));
    } else if (table.dead_rows > std::max(kDeadRowsMin, kBehindFactor * *table.vacuum_threshold)) {
      findings.Warning(
          check,
          fmt::format("{} has {} dead rows beside {} live ones, {}; vacuumed last: {}", table.name,
                      table.dead_rows, table.live_rows, Megabytes(table.bytes),
                      table.vacuumed.has_value()
                          ? absl::FormatTime(*table.vacuumed, absl::UTCTimeZone())
                          : "never"),
          "see under snapshots what keeps them; otherwise give autovacuum more workers and a "
          "higher autovacuum_vacuum_cost_limit");
    }
    if (table.sequential_scans >= kScansMin &&
        table.sequential_rows / table.sequential_scans > kScannedRowsWarning) {
      findings.Warning(
          check,
          fmt::format("{} was read from end to end {} times, {} rows each", table.name,
                      table.sequential_scans, table.sequential_rows / table.sequential_scans),
          "if it was not you: analyze the table, and look for missing indexes under schema");
    }
  }
  findings.GoodOtherwise(check,
                         fmt::format("autovacuum keeps up with {} tables", facts.tables.size()));
}

void JudgeSnapshots(const DatabaseFacts& facts, Findings& findings) {
  const char check[] = "snapshots";
  constexpr int kNamed = 5;  // more of them have the same reason
  int named = 0;
  for (const SnapshotHolder& holder : facts.snapshots) {
    const bool old = holder.age.value_or(absl::ZeroDuration()) > kSnapshotWarning ||
                     holder.transactions > kSnapshotTransactions;
    if (!old || ++named > kNamed) continue;
    findings.Warning(
        check,
        fmt::format("{} keeps dead rows from being removed{}, {} transactions have begun since",
                    holder.what,
                    holder.age.has_value()
                        ? " for " + absl::FormatDuration(absl::Trunc(*holder.age, absl::Seconds(1)))
                        : "",
                    holder.transactions),
        "end it (pg_terminate_backend, rollback prepared, pg_drop_replication_slot), and set "
        "idle_in_transaction_session_timeout");
  }
  findings.GoodOtherwise(check, "nothing old keeps dead rows from being removed");
}

void JudgeSlots(const DatabaseFacts& facts, Findings& findings) {
  const char check[] = "slots";
  for (const SlotFacts& slot : facts.slots) {
    if (slot.active && slot.retained_bytes < 10 * kSlotBytesWarning) continue;
    if (slot.retained_bytes < kSlotBytesWarning) continue;
    findings.Warning(
        check,
        fmt::format("replication slot {} is {} and keeps {} of the write-ahead log", slot.name,
                    slot.active ? "slow" : "used by nobody", Megabytes(slot.retained_bytes)),
        "bring its reader back or drop it before the disk is full, and set "
        "max_slot_wal_keep_size");
  }
  if (facts.frozen_age > kFrozenWarning) {
    findings.Warning(check,
                     fmt::format("the oldest transaction of the database is {} transactions old; "
                                 "PostgreSQL stops at 2,147 million",
                                 facts.frozen_age),
                     "vacuum freeze, and see under snapshots what is in the way");
  }
  findings.GoodOtherwise(check, "no replication slot keeps much of the write-ahead log");
}

void JudgeDaemons(const DatabaseFacts& facts, Findings& findings) {
  const char check[] = "daemons";
  if (!facts.schema.usable()) return;
  for (const std::string& daemon : facts.daemons_not_alive) {
    findings.Note(check, fmt::format("a daemon is silent: {}", daemon),
                  "the others take its work over within seconds; if there are none, start one");
  }
  if (facts.daemon_versions.size() > 1) {
    std::vector<std::string> versions;
    for (const auto& [version, count] : facts.daemon_versions) {
      versions.push_back(fmt::format("{} of {}", count, version));
    }
    findings.Note(check,
                  fmt::format("daemons of several versions run: {}", absl::StrJoin(versions, ", ")),
                  "nothing, while an upgrade goes on");
  }
  findings.GoodOtherwise(check, fmt::format("daemons that are alive: {}", facts.daemons_alive));
}

}  // namespace

std::vector<Finding> Judge(const DatabaseFacts& facts) {
  Findings findings;
  for (const auto judge :
       {&JudgeServer, &JudgeSchema, &JudgeRights, &JudgeSettings, &JudgePooler, &JudgeConnections,
        &JudgeClock, &JudgeTables, &JudgeSnapshots, &JudgeSlots, &JudgeDaemons}) {
    judge(facts, findings);
  }
  return findings.Take();
}

Severity WorstOf(const std::vector<Finding>& findings) {
  Severity worst = Severity::kGood;
  for (const Finding& finding : findings) worst = std::max(worst, finding.severity);
  return worst;
}

}  // namespace dt::postgres
