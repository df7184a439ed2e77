// The text that says which database is meant, looked at before libpq gets it. What libpq says of a
// malformed one quotes parts of it, and where a password holds an '@' or '/' these are parts of the
// password; of a text that passes here it takes the password for a password, and never prints it.
//
// Pure: no connection, file or variable of the environment.
#ifndef DT_STORAGE_POSTGRES_CONNECTION_URL_H_
#define DT_STORAGE_POSTGRES_CONNECTION_URL_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace dt::postgres {

// A URI, a key=value string, or the bare name of a database; empty is good. kInvalidArgument with
// what is wrong and what to write instead; quotes nothing of a text that may hold a password.
absl::Status CheckConnectionUrl(std::string_view url);

// `text` with what looks like a password masked: in scheme://user:password@ and password=...
std::string MaskPasswords(std::string_view text);

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_CONNECTION_URL_H_
