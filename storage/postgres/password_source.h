// A password that changes: cloud tokens live 15 minutes to an hour, and secrets that are mounted
// are exchanged. It is read for each new connection (deploy/OPERATIONS.md, section 5).
//
// Threads: any; blocks.
#ifndef DT_STORAGE_POSTGRES_PASSWORD_SOURCE_H_
#define DT_STORAGE_POSTGRES_PASSWORD_SOURCE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace dt::postgres {

// At most one of the two; neither: the password is that of the URL, or libpq's.
struct PasswordSource {
  std::string file;     // holds the password and nothing else; ends of lines after it do not count
  std::string command;  // for /bin/sh, with this process' environment; prints the password

  bool empty() const { return file.empty() && command.empty(); }
};

// The password now. kUnavailable, with what to look at, when there is none: the file may be mounted
// and the service that gives tokens be back a little later. A command is ended after `timeout`;
// what it says on stderr goes to that of this process.
absl::StatusOr<std::string> ReadPassword(const PasswordSource& source, absl::Duration timeout);

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_PASSWORD_SOURCE_H_
