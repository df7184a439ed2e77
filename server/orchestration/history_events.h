// Walking over the events of a stored history.
#ifndef DT_SERVER_ORCHESTRATION_HISTORY_EVENTS_H_
#define DT_SERVER_ORCHESTRATION_HISTORY_EVENTS_H_

#include <algorithm>
#include <string_view>
#include <vector>

#include "server/orchestration/event_bytes.h"
#include "server/orchestration/wire.h"
#include "storage/records.h"

namespace dt::orchestration {

// Calls `visit` with each event of the chunk and its bytes. False if one cannot be read.
template <typename Visit>
bool ForEachEvent(const HistoryChunk& chunk, Visit visit) {
  if (chunk.events == nullptr) return false;
  WireReader reader(*chunk.events);
  WireField field;
  while (reader.Next(field)) {
    EventView event;
    if (!ReadEvent(field.bytes, event)) return false;
    visit(event, field.bytes);
  }
  return reader.AtEnd();
}

template <typename Visit>
bool ForEachEvent(const std::vector<HistoryChunk>& history, Visit visit) {
  return std::all_of(history.begin(), history.end(),
                     [&visit](const HistoryChunk& chunk) { return ForEachEvent(chunk, visit); });
}

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_HISTORY_EVENTS_H_
