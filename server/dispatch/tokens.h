// Completion tokens: what a worker sends back to say which dispatch it answers. Opaque to workers,
// strictly parsed here, so that only what this code wrote is taken for a token.
//
// Form: <kind>:<lease token>:<dispatch>, kind "o" (a turn), "a" (an activity task) or "e" (a batch
// of an entity), numbers in decimal. The dispatch number finds the work item; a process never uses
// one twice, so a token of an earlier dispatch under the same lease is stale. The lease token, the
// fence of the database, tells it from the same number of another process.
#ifndef DT_SERVER_DISPATCH_TOKENS_H_
#define DT_SERVER_DISPATCH_TOKENS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "storage/records.h"

namespace dt::dispatch {

// The kinds of work a stream has credits for.
enum class WorkType : int8_t { kTurn = 0, kActivity = 1, kEntity = 2 };
inline constexpr int kWorkTypes = 3;
inline constexpr WorkType kAllWorkTypes[kWorkTypes] = {WorkType::kTurn, WorkType::kActivity,
                                                       WorkType::kEntity};
constexpr int Index(WorkType type) { return static_cast<int>(type); }
// The kind of an instance's work, by its id or its kind.
inline WorkType WorkTypeOf(std::string_view instance_id) {
  return IsEntityId(instance_id) ? WorkType::kEntity : WorkType::kTurn;
}
constexpr WorkType WorkTypeOf(InstanceKind kind) {
  return kind == InstanceKind::kEntity ? WorkType::kEntity : WorkType::kTurn;
}

// What the store calls a work item: the key of its instance, or of its task.
using StoredId = std::pair<WorkType, int64_t>;

struct CompletionToken {
  WorkType type = WorkType::kTurn;
  LeaseToken lease = 0;
  int64_t dispatch = 0;
};

std::string FormatToken(const CompletionToken& token);
// nullopt for anything that FormatToken does not write.
std::optional<CompletionToken> ParseToken(std::string_view text);

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_TOKENS_H_
