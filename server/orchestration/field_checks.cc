#include "server/orchestration/field_checks.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace dt::orchestration {
namespace {

bool HasNul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

absl::Status NulError(absl::string_view field) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, " contains the character U+0000, which cannot be stored in a text"));
}

absl::Status CheckText(absl::string_view field, std::string_view text, size_t bytes_max,
                       absl::string_view setting) {
  if (HasNul(text)) return NulError(field);
  if (text.size() > bytes_max) {
    return absl::InvalidArgumentError(absl::StrCat("the length of ", field, " is ", text.size(),
                                                   " bytes, the limit is ", bytes_max, " (",
                                                   setting, ")"));
  }
  return absl::OkStatus();
}

}  // namespace

size_t CountCharacters(std::string_view text) {
  // All bytes but the continuation bytes.
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char byte) {
    return (static_cast<uint8_t>(byte) & 0xC0) != 0x80;
  }));
}

absl::Status CheckId(absl::string_view field, std::string_view id, size_t chars_max) {
  if (id.empty()) return absl::InvalidArgumentError(absl::StrCat(field, " is empty"));
  if (HasNul(id)) return NulError(field);
  if (id.size() > chars_max) {
    const size_t chars = CountCharacters(id);
    if (chars > chars_max) {
      return absl::InvalidArgumentError(absl::StrCat("the length of ", field, " is ", chars,
                                                     " characters, the limit is ", chars_max,
                                                     " (limits.instance-id-chars-max)"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckExecutionId(absl::string_view field, std::string_view id) {
  if (HasNul(id)) return NulError(field);
  if (id.size() > kExecutionIdBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("the length of ", field, " is ", id.size(),
                                                   " bytes, the limit is ", kExecutionIdBytesMax));
  }
  return absl::OkStatus();
}

absl::Status CheckName(absl::string_view field, std::string_view name, size_t bytes_max) {
  if (name.empty()) return absl::InvalidArgumentError(absl::StrCat(field, " is empty"));
  return CheckEventName(field, name, bytes_max);
}

absl::Status CheckEventName(absl::string_view field, std::string_view name, size_t bytes_max) {
  return CheckText(field, name, bytes_max, "limits.name-bytes-max");
}

absl::Status CheckVersion(absl::string_view field, std::string_view version, size_t bytes_max) {
  return CheckText(field, version, bytes_max, "limits.version-bytes-max");
}

absl::Status CheckPayload(absl::string_view field, size_t bytes, int64_t bytes_max) {
  if (bytes > static_cast<uint64_t>(bytes_max)) {
    return absl::ResourceExhaustedError(absl::StrCat(field, " has ", bytes, " bytes, the limit is ",
                                                     bytes_max, " (limits.payload-bytes-max)"));
  }
  return absl::OkStatus();
}

absl::Status CheckTags(absl::string_view field, const TagMap& tags, size_t bytes_max) {
  size_t bytes = 0;
  for (const auto& [key, value] : tags) {
    if (HasNul(key) || HasNul(value)) return NulError(field);
    bytes += key.size() + value.size();
  }
  if (bytes > bytes_max) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, " have ", bytes, " bytes of keys and values together, the limit is ",
                     bytes_max, " (limits.tags-bytes-max)"));
  }
  return absl::OkStatus();
}

absl::Status CheckTrace(absl::string_view field, const google::protobuf::MessageLite& trace) {
  const size_t bytes = trace.ByteSizeLong();
  if (bytes <= kTraceContextBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, " has ", bytes, " bytes, the limit is ", kTraceContextBytesMax));
}

Tags ToTags(const TagMap& tags) {
  Tags sorted(tags.begin(), tags.end());
  std::sort(sorted.begin(), sorted.end());
  return sorted;
}

}  // namespace dt::orchestration
