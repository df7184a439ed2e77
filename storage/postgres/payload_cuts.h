// Large values by reference: cuts them out of serialized messages, so that a value that a message,
// a task and the history hold is stored once. The cut form and who reads it:
// sql/logic/payloads.sql.
//
// Knows the wire format of protocol buffers and nothing of the messages: a value is what stands
// at a given depth of fields, whatever it means there. Pure; any thread.
#ifndef DT_STORAGE_POSTGRES_PAYLOAD_CUTS_H_
#define DT_STORAGE_POSTGRES_PAYLOAD_CUTS_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dt::postgres {

// How deep the payloads of a message lie: a field within a field counts one more.
inline constexpr int kRequestDepth = 2;  // of an ActivityRequest: input, value
inline constexpr int kEventDepth = 3;    // of a HistoryEvent: the event, its input, value
inline constexpr int kChunkDepth = 4;    // of a chunk of history, which is a list of events

// A value that was cut out. `data` points into the message.
struct PayloadCut {
  std::string id;  // 32 hex digits: a uuid
  std::string_view data;
};

struct CutMessage {
  std::string bytes;  // in cut form
  std::vector<PayloadCut> cuts;
};

// The message without its values of more than `inline_bytes_max` bytes; nullopt if it has none, or
// is no message.
std::optional<CutMessage> CutPayloads(std::string_view message, int depth, size_t inline_bytes_max);

// The id of a value, made of its content: 32 hex digits.
std::string PayloadId(std::string_view data);

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_PAYLOAD_CUTS_H_
