// The schema of the database: what is installed, bringing it up to this program's version, printing
// the SQL that would, dropping it. The scripts are those of sql/ (its README says how they run).
//
// Invariants
//   * A migration is one transaction under an advisory lock of its schema: it happens wholly or not
//     at all, and of several programs that start together one does it.
//   * A newer schema is never taken back to an older program's logic.
//   * Needs a session of its own without a transaction; the caller owns it again afterwards.
#ifndef DT_STORAGE_POSTGRES_MIGRATOR_H_
#define DT_STORAGE_POSTGRES_MIGRATOR_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/postgres/connection.h"

namespace dt::postgres {

enum class SchemaState : int8_t {
  kMissing,     // not installed
  kOlder,       // migrations are pending
  kCurrent,     // of this program's version
  kNewer,       // of a newer program that still lets this one run
  kTooNew,      // of a newer program that does not
  kOtherBuild,  // of this version's number, but with other tables (unreleased builds only)
};

struct SchemaStatus {
  SchemaState state = SchemaState::kMissing;
  std::string installed_version;   // empty if missing
  std::string min_daemon_version;  // what the installed schema asks for
  std::string program_version;
  bool logic_differs = false;  // kCurrent, but the functions are of another build; `up` renews them
  // A sentence that says what is the case and, unless usable, what to do next.
  std::string explanation;
  // Whether this program may work on it.
  bool usable() const { return state == SchemaState::kCurrent || state == SchemaState::kNewer; }
};

// The version that this program carries and installs.
std::string ProgramVersion();

// Looks only, needs no right to create anything.
absl::StatusOr<SchemaStatus> ReadSchemaStatus(Connection& connection, const std::string& schema);

// Creates or upgrades the schema and returns its state afterwards. If it is current, only sets the
// rights of roles again, where this session's may; does nothing if it is newer.
// kFailedPrecondition: it cannot be brought to this version; kPermissionDenied: the role lacks a
// right. Messages say what to do.
absl::StatusOr<SchemaStatus> MigrateSchema(Connection& connection, const std::string& schema);

// The SQL of that migration as text for psql, from `installed_version` (empty = none) on.
// kInvalidArgument if it is no version.
absl::StatusOr<std::string> MigrationScript(const std::string& schema,
                                            const std::string& installed_version = "");

// Drops everything the scripts made, with all data, then the schema. kFailedPrecondition, and
// nothing dropped, when other objects live in it; kNotFound if it is not installed.
absl::Status DropSchema(Connection& connection, const std::string& schema);

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_MIGRATOR_H_
