// The settings of PostgreSQL on which the daemon's SQL depends, or which bound what it does. Roles,
// databases and servers set others; every session, or every transaction where a pooler stands
// between, gets these.
#ifndef DT_STORAGE_POSTGRES_SESSION_SETTINGS_H_
#define DT_STORAGE_POSTGRES_SESSION_SETTINGS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "storage/postgres/connection.h"

namespace dt::postgres {

using SettingValues = std::vector<std::pair<std::string, std::string>>;

// As PostgreSQL takes it: whole milliseconds.
std::string SettingOf(absl::Duration duration);

// Name and value of each for a server of this version (as PQserverVersion counts), the options' own
// ones last. The isolation level is not among them, nor what only a session has
// (SessionOnlySettings): both can be set for a transaction only before its first query, or not at
// all.
SettingValues TransactionSettings(const ConnectionOptions& options, int server_version);
SettingValues SessionOnlySettings();

// Queries with the parameters $1 and $2, arrays of names and values, that set all of them.
// `synchronous_commit = on` changes nothing unless it is off. The first sets them until the end of
// the transaction. The second sets them for the session if that is of the server process $3 (int4),
// else until the end of the transaction; its second column tells the process.
std::string SetSettingsSql();
std::string SetSessionSettingsSql();

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_SESSION_SETTINGS_H_
