// Stored history as HistoryChunk messages. Pure.
#ifndef DT_SERVER_RPC_HISTORY_PAGES_H_
#define DT_SERVER_RPC_HISTORY_PAGES_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/records.h"

namespace dt::rpc {

// Cuts a history into serialized HistoryChunk messages of at most `bytes_max` bytes each, or of one
// larger event (RULES.md 5.33), one at a time: what waits to be sent is one message and the
// slices of the history, which are shared. Stored events carry the tag of
// OrchestratorRequest.pastEvents (field 3), a chunk's are field 1: only the tags differ, so the
// events are not parsed.
class HistoryPager {
 public:
  HistoryPager() = default;
  HistoryPager(std::vector<HistoryChunk> history, size_t bytes_max);

  // The next message; nullopt at the end; kDataLoss when the stored bytes are not such a list.
  absl::StatusOr<std::optional<std::string>> Next();

 private:
  std::vector<HistoryChunk> history_;
  size_t bytes_max_ = 0;
  size_t chunk_ = 0;       // the one that is being read
  std::string_view rest_;  // of it
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_HISTORY_PAGES_H_
