// Completion tokens: what a worker sends back to say which dispatch it answers. Opaque to workers,
// strictly parsed here, so that only what this code wrote is taken for a token.
//
// Form: <kind>:<key>:<lease token>:<dispatch>, kind "o" (turn of the instance <key>) or "a"
// (activity task <key>), numbers in decimal. The lease token is the fence of the database; the
// dispatch number is never used twice by a process, so a token of an earlier dispatch under the
// same lease is stale.
#ifndef DT_SERVER_DISPATCH_TOKENS_H_
#define DT_SERVER_DISPATCH_TOKENS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/records.h"

namespace dt::dispatch {

// The kinds of work a stream has credits for.
enum class WorkType : int8_t { kTurn = 0, kActivity = 1 };
inline constexpr int kWorkTypes = 2;
constexpr int Index(WorkType type) { return static_cast<int>(type); }

struct CompletionToken {
  WorkType type = WorkType::kTurn;
  int64_t key = 0;
  LeaseToken lease = 0;
  int64_t dispatch = 0;
};

std::string FormatToken(const CompletionToken& token);
// nullopt for anything that FormatToken does not write.
std::optional<CompletionToken> ParseToken(std::string_view text);

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_TOKENS_H_
