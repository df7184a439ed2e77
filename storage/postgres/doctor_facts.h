// What `doctor` looks at in a database: read by a few cheap statements, judged in doctor.h.
#ifndef DT_STORAGE_POSTGRES_DOCTOR_FACTS_H_
#define DT_STORAGE_POSTGRES_DOCTOR_FACTS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/postgres/connection.h"
#include "storage/postgres/migrator.h"

namespace dt::postgres {

struct TableFacts {
  std::string name;
  int64_t bytes = 0;  // with indexes and TOAST
  int64_t live_rows = 0;
  int64_t dead_rows = 0;
  // How many dead rows start autovacuum; nullopt where it is switched off for the table.
  std::optional<int64_t> vacuum_threshold;
  std::optional<absl::Time> vacuumed;  // last, by whomever
  int64_t sequential_scans = 0;
  int64_t sequential_rows = 0;  // that these read
};

// What keeps dead rows from being removed.
struct SnapshotHolder {
  std::string what;  // "session 123 of app (idle in transaction)", "prepared transaction x", ...
  int64_t transactions = 0;  // how many have begun since
  std::optional<absl::Duration> age;
};

struct SlotFacts {
  std::string name;
  bool active = false;
  int64_t retained_bytes = 0;  // of the write-ahead log
};

struct DatabaseFacts {
  int server_version = 0;  // for example 150004
  std::string server_version_text;
  std::string database;
  std::string role;
  bool read_only = false;  // a standby, or default_transaction_read_only
  bool remote = false;     // over the network
  bool encrypted = false;  // by TLS
  bool session_is_shared = false;
  bool uses_prepared_statements = true;

  SchemaStatus schema;
  bool schema_hidden = false;  // the role may not even read its version
  bool schema_is_own = false;  // belongs to the role
  bool superuser = false;
  bool sees_sessions = false;                // of other roles
  std::vector<std::string> denied;           // functions of the daemon that the role may not call
  std::vector<std::string> missing_indexes;  // that the schema's script makes
  std::vector<std::string> invalid_indexes;

  std::map<std::string, std::string> settings;  // of pg_settings, in their own units
  int64_t connections = 0;                      // of clients, to all databases
  int64_t connections_max = 0;                  // for roles that are no superusers
  int64_t database_connections = 0;
  int64_t database_connections_max = -1;  // -1: no limit
  int64_t role_connections = 0;
  int64_t role_connections_max = -1;

  absl::Duration clock_ahead;  // the server's clock beside this machine's
  absl::Duration clock_error;  // how wrong that is at most
  absl::Duration round_trip;   // the shortest of several

  std::vector<TableFacts> tables;  // of the schema
  std::vector<SnapshotHolder> snapshots;
  std::vector<SlotFacts> slots;
  int64_t frozen_age = 0;  // transactions since the oldest that is not frozen in this database

  int64_t daemons_alive = 0;
  std::vector<std::string> daemons_not_alive;      // "host, version, not seen since ..."
  std::map<std::string, int64_t> daemon_versions;  // of those alive, and how many
};

// Reads everything; changes nothing. What a missing schema, or a missing right, hides stays as it
// is above. The status of the first statement that fails otherwise.
absl::StatusOr<DatabaseFacts> ReadDatabaseFacts(Connection& connection, const std::string& schema);

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_DOCTOR_FACTS_H_
