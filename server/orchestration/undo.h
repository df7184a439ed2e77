// What a rewind undoes of the history of a FAILED orchestration (RULES.md 5.30 (1), 5.31): what
// decided the end, and what followed from it. What stays can be replayed: it is what the code makes
// again as long as it is not given what was undone.
//
// A history does not tell why something was scheduled, only in which turn, and what that turn was
// given. Two things that are known of all SDKs make up for it: code gives its actions the numbers
// 0, 1, 2, ... (or 1, 2, 3, ...) in the order in which it makes them, so that where one is undone
// all later numbers change; and only a retry (Python) uses a number again.
#ifndef DT_SERVER_ORCHESTRATION_UNDO_H_
#define DT_SERVER_ORCHESTRATION_UNDO_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "storage/records.h"

namespace dt::orchestration {

struct UndoneChild {
  int32_t task_id = 0;
  std::string instance_id;
};

struct Undone {
  std::vector<bool> events;               // of each event of the history, in order: whether it goes
  std::vector<int32_t> unanswered_tasks;  // activities that are undone before they had a result
  std::vector<UndoneChild> children;      // that the history does not know any more
};

// `history` is that of a generation that ended, each chunk one turn or several. Nothing if it
// cannot be read.
std::optional<Undone> FindUndone(const std::vector<HistoryChunk>& history);

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_UNDO_H_
