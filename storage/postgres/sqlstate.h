// What a SQLSTATE means for the caller: pure classification, and its way through absl::Status.
#ifndef DT_STORAGE_POSTGRES_SQLSTATE_H_
#define DT_STORAGE_POSTGRES_SQLSTATE_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace dt::postgres {

enum class FaultClass : int8_t {
  kRetry,         // deadlock, serialization: the same call at once, jitter
  kTimedOut,      // it took too long, or was canceled: the items one by one, and not often
  kBlocked,       // a lock that somebody else keeps: the items one by one, each when it can
  kReconnect,     // the server went away or is read-only now: connect anew, then the same call
  kSlowRetry,     // disk or memory full: again after seconds, and somebody must be told
  kPrepareAgain,  // the prepared statement is unknown or outdated: prepare and repeat
  kItemByItem,    // the data of one item is at fault: repeat the batch in parts to find it
  kPermanent,     // wrong statement, missing object or right, bug: repeating is useless
};

// `sqlstate` is five characters; empty or unknown is kPermanent.
FaultClass ClassifySqlstate(std::string_view sqlstate);

// The canonical code that an error of this SQLSTATE is reported with.
absl::StatusCode StatusCodeForSqlstate(std::string_view sqlstate);

// A status of that code which carries the SQLSTATE as payload.
absl::Status MakeStatus(std::string_view sqlstate, std::string_view message);

// The SQLSTATE of a status made here; empty if it has none.
std::string Sqlstate(const absl::Status& status);
FaultClass Classify(const absl::Status& status);

// For connections that broke without a word from the server (08006) or were never made (08001).
inline constexpr std::string_view kConnectionFailure = "08006";
inline constexpr std::string_view kCannotConnect = "08001";
// Of a claim in a hub that was deleted (sql/README.md).
inline constexpr std::string_view kHubDeleted = "P0D02";
// Of a server that starts, recovers after a crash, or shuts down.
inline constexpr std::string_view kCannotConnectNow = "57P03";

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_SQLSTATE_H_
