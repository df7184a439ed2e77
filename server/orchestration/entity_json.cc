#include "server/orchestration/entity_json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "server/orchestration/entity_messages.h"
#include "server/orchestration/timestamps.h"

namespace dt::orchestration {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

constexpr std::string_view kRequestName = "op";
constexpr std::string_view kDelayedRequestName = "op@";
constexpr std::string_view kReleaseName = "release";

// Ids of requests and critical sections, which go into columns of the database.
constexpr size_t kRequestIdBytesMax = 1024;

// --- Reading

const Value* Find(const Struct& object, const char* key) {
  const auto entry = object.fields().find(key);
  return entry == object.fields().end() ? nullptr : &entry->second;
}

// The text under a key; nullopt also for what is no text.
Payload FindText(const Struct& object, const char* key) {
  const Value* value = Find(object, key);
  if (value == nullptr || !value->has_string_value()) return std::nullopt;
  return value->string_value();
}

// A time as .NET and Java write it, in UTC when it names no zone. Nothing for what is no time and
// for one before 1970: .NET writes the year 1 where it has none.
std::optional<google::protobuf::Timestamp> ReadTime(std::string_view text) {
  for (const char* format : {absl::RFC3339_full, "%Y-%m-%d%ET%H:%M:%E*S"}) {
    absl::Time time;
    std::string error;
    if (!absl::ParseTime(format, std::string(text), &time, &error)) continue;
    if (time < absl::UnixEpoch() || time == absl::InfiniteFuture()) return std::nullopt;
    return ToTimestamp(time);
  }
  return std::nullopt;
}

// When the operation is due. The time in the name may be capped, that in the JSON is the true one
// (7.29, 7.42).
std::optional<google::protobuf::Timestamp> ReadDueTime(std::string_view name,
                                                       const Struct& request) {
  if (auto due = ReadTime(FindText(request, "due").value_or(""))) return due;
  if (!name.starts_with(kDelayedRequestName)) return std::nullopt;
  return ReadTime(name.substr(kDelayedRequestName.size()));
}

// The entities of a lock request, normalized and in our order. nullopt: one of them is no entity.
std::optional<std::vector<std::string>> ReadLockSet(const Value& lock_set) {
  std::vector<std::string> ids;
  for (const Value& item : lock_set.list_value().values()) {
    const Struct& entity = item.struct_value();
    auto id = NormalizeEntityId("lockset", absl::StrCat("@", FindText(entity, "name").value_or(""),
                                                        "@", FindText(entity, "key").value_or("")));
    if (!id.ok()) return std::nullopt;
    ids.push_back(*std::move(id));
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

bool IsStorable(std::string_view id) {
  return id.size() <= kRequestIdBytesMax && id.find('\0') == std::string_view::npos;
}

// The parts of a message that requests and releases share.
std::optional<EntityMessage> ReadHead(const Struct& object, std::string_view sender_id,
                                      std::string_view sender_execution_id) {
  EntityMessage message;
  message.dialect = EntityDialect::kJson;
  message.request_id = FindText(object, "id").value_or("");
  if (sender_id.empty()) {
    message.sender_id = FindText(object, "parent").value_or("");
    message.sender_execution_id = FindText(object, "parentExecution").value_or("");
  } else {
    message.sender_id = sender_id;
    message.sender_execution_id = sender_execution_id;
  }
  const bool storable = IsStorable(message.request_id) && IsStorable(message.sender_id) &&
                        IsStorable(message.sender_execution_id);
  if (message.request_id.empty() || !storable) return std::nullopt;
  return message;
}

std::optional<OutgoingEntityMessage> ReadRequest(std::string_view target, std::string_view name,
                                                 const Struct& request, EntityMessage message) {
  const Value* lock_set = Find(request, "lockset");
  const Payload operation = FindText(request, "op");
  if (!operation && lock_set != nullptr && lock_set->has_list_value()) {
    auto ids = ReadLockSet(*lock_set);
    if (!ids || ids->empty() || message.sender_id.empty()) return std::nullopt;
    message.kind = EntityMessage::Kind::kLockRequest;
    message.lock_set = *ids;
    return OutgoingEntityMessage{std::move(message), *std::move(ids)};
  }
  const Value* signal = Find(request, "signal");
  // A call of nobody has nobody to answer, and workers want to know who calls.
  const bool one_way = (signal != nullptr && signal->bool_value()) || message.sender_id.empty();
  message.kind = one_way ? EntityMessage::Kind::kSignal : EntityMessage::Kind::kCall;
  message.operation = operation.value_or("");
  message.input = FindText(request, "input");
  message.scheduled_time = ReadDueTime(name, request);
  return OutgoingEntityMessage{std::move(message), {std::string(target)}};
}

// --- Writing

void AppendText(std::string_view text, std::string& out) {
  out.push_back('"');
  for (const char c : text) {
    switch (c) {
      case '"':
        out.append("\\\"");
        break;
      case '\\':
        out.append("\\\\");
        break;
      case '\n':
        out.append("\\n");
        break;
      case '\r':
        out.append("\\r");
        break;
      case '\t':
        out.append("\\t");
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned>(c));
        } else {
          out.push_back(c);  // the text is UTF-8, as all of the protocol is
        }
    }
  }
  out.push_back('"');
}

// JSON has no word for what is no number.
void AppendNumber(double number, std::string& out) {
  std::array<char, 32> digits;
  if (!std::isfinite(number)) {
    out.append("null");
    return;
  }
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number);
  out.append(digits.data(), end.ptr);
}

void AppendValue(const Value& value, std::string& out);

// The entries of a map in the order of their keys, as the same failure must be the same bytes.
void AppendObject(const google::protobuf::Map<std::string, Value>& fields, std::string& out) {
  std::vector<std::pair<std::string_view, const Value*>> sorted;
  for (const auto& [key, value] : fields) sorted.emplace_back(key, &value);
  std::sort(sorted.begin(), sorted.end());
  const char* separator = "{";
  for (const auto& [key, value] : sorted) {
    out.append(std::exchange(separator, ","));
    AppendText(key, out);
    out.push_back(':');
    AppendValue(*value, out);
  }
  out.append(sorted.empty() ? "{}" : "}");
}

// LimitDepth bounds how deep values are nested.
void AppendValue(const Value& value, std::string& out) {
  switch (value.kind_case()) {
    case Value::kNumberValue:
      AppendNumber(value.number_value(), out);
      break;
    case Value::kStringValue:
      AppendText(value.string_value(), out);
      break;
    case Value::kBoolValue:
      out.append(value.bool_value() ? "true" : "false");
      break;
    case Value::kStructValue:
      AppendObject(value.struct_value().fields(), out);
      break;
    case Value::kListValue: {
      const char* separator = "";
      out.push_back('[');
      for (const Value& item : value.list_value().values()) {
        out.append(std::exchange(separator, ","));
        AppendValue(item, out);
      }
      out.push_back(']');
      break;
    }
    default:
      out.append("null");
      break;
  }
}

void AppendFailure(const TaskFailureDetails& details, std::string& out) {
  out.append(R"({"ErrorType":)");
  AppendText(details.errortype(), out);
  out.append(R"(,"ErrorMessage":)");
  AppendText(details.errormessage(), out);
  out.append(R"(,"StackTrace":)");
  if (details.has_stacktrace()) {
    AppendText(details.stacktrace().value(), out);
  } else {
    out.append("null");
  }
  out.append(R"(,"InnerFailure":)");
  if (details.has_innerfailure()) {
    AppendFailure(details.innerfailure(), out);
  } else {
    out.append("null");
  }
  out.append(R"(,"IsNonRetriable":)");
  out.append(details.isnonretriable() ? "true" : "false");
  out.append(R"(,"Properties":)");
  if (details.properties().empty()) {
    out.append("null");
  } else {
    AppendObject(details.properties(), out);
  }
  out.push_back('}');
}

}  // namespace

std::optional<OutgoingEntityMessage> FromJsonEvent(std::string_view target, std::string_view name,
                                                   const Payload& input, std::string_view sender_id,
                                                   std::string_view sender_execution_id) {
  const bool release = name == kReleaseName;
  if (!release && !name.starts_with(kRequestName)) return std::nullopt;
  Struct object;
  if (!google::protobuf::util::JsonStringToMessage(input.value_or(""), &object).ok()) {
    return std::nullopt;
  }
  auto message = ReadHead(object, sender_id, sender_execution_id);
  if (!message) return std::nullopt;
  if (!release) return ReadRequest(target, name, object, *std::move(message));
  if (message->sender_id.empty()) return std::nullopt;
  message->kind = EntityMessage::Kind::kUnlock;
  return OutgoingEntityMessage{*std::move(message), {std::string(target)}};
}

std::string JsonResult(const Payload& result) {
  std::string json = R"({"result":)";
  if (result) {
    AppendText(*result, json);
  } else {
    json.append("null");
  }
  json.push_back('}');
  return json;
}

std::string JsonFailure(const TaskFailureDetails& details) {
  std::string json = R"({"result":null,"failureDetails":)";
  AppendFailure(details, json);
  json.push_back('}');
  return json;
}

std::string JsonLockGranted() { return R"({"result":"Lock Acquisition Completed"})"; }

}  // namespace dt::orchestration
