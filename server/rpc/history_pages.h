// Stored history as HistoryChunk messages. Pure.
#ifndef DT_SERVER_RPC_HISTORY_PAGES_H_
#define DT_SERVER_RPC_HISTORY_PAGES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/records.h"

namespace dt::rpc {

// The events of `history` in order, as serialized HistoryChunk messages of at most `bytes_max`
// each, or of one larger event (semantics.md 5.33). Stored events carry the tag of
// OrchestratorRequest.pastEvents (field 3), a chunk's are field 1: only the tags differ, so the
// events are not parsed. kDataLoss when the stored bytes are not such a list.
absl::StatusOr<std::vector<std::string>> SplitHistory(const std::vector<HistoryChunk>& history,
                                                      size_t bytes_max);

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_HISTORY_PAGES_H_
