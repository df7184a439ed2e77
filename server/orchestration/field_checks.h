// Checks of single fields, for client requests and for the actions of a worker alike. Each names
// the field, what it holds and the limit: InvalidArgument for what is malformed, ResourceExhausted
// for a payload that is too large (5.1). An OK check allocates nothing.
#ifndef DT_SERVER_ORCHESTRATION_FIELD_CHECKS_H_
#define DT_SERVER_ORCHESTRATION_FIELD_CHECKS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/map.h"
#include "google/protobuf/message_lite.h"
#include "google/protobuf/wrappers.pb.h"
#include "storage/records.h"

namespace dt::orchestration {

using TagMap = google::protobuf::Map<std::string, std::string>;

// The errors name the field, its size, the limit and the setting that raises it.

// An instance id: not empty, at most `chars_max` UTF-8 characters, no NUL, which a database text
// cannot hold.
absl::Status CheckId(absl::string_view field, std::string_view id, size_t chars_max);

// The characters of valid UTF-8.
size_t CountCharacters(std::string_view text);

// An execution id of a caller: at most kExecutionIdBytesMax; it may be empty.
inline constexpr size_t kExecutionIdBytesMax = 64;
absl::Status CheckExecutionId(absl::string_view field, std::string_view id);

// A name, without NUL; that of an event may be empty.
absl::Status CheckName(absl::string_view field, std::string_view name, size_t bytes_max);
absl::Status CheckEventName(absl::string_view field, std::string_view name, size_t bytes_max);

// A version, without NUL; may be empty.
absl::Status CheckVersion(absl::string_view field, std::string_view version, size_t bytes_max);

absl::Status CheckPayload(absl::string_view field, size_t bytes, int64_t bytes_max);

// Keys and values: no NUL, together at most `bytes_max`.
absl::Status CheckTags(absl::string_view field, const TagMap& tags, size_t bytes_max);

// What a trace context may have; those of W3C have a few hundred bytes.
inline constexpr size_t kTraceContextBytesMax = 8 << 10;

// A TraceContext or an OrchestrationTraceContext, absent or of at most kTraceContextBytesMax.
absl::Status CheckTrace(absl::string_view field, const google::protobuf::MessageLite& trace);

// Tags in the order of their keys.
Tags ToTags(const TagMap& tags);

inline Payload ToPayload(bool present, const google::protobuf::StringValue& value) {
  return present ? Payload(value.value()) : std::nullopt;
}

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_FIELD_CHECKS_H_
