#include "server/cli/output.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "fmt/format.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/util/json_util.h"
#include "server/orchestration/field_checks.h"
#include "server/orchestration/timestamps.h"

namespace dt::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// The value of a field that is set; empty for what a line has no room for.
std::string ValueText(const Message& message, const FieldDescriptor& field) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return Cut(reflection.GetString(message, &field), 60);
    case FieldDescriptor::CPPTYPE_INT32:
      return std::to_string(reflection.GetInt32(message, &field));
    case FieldDescriptor::CPPTYPE_INT64:
      return std::to_string(reflection.GetInt64(message, &field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetBool(message, &field) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection.GetEnum(message, &field)->name();
    case FieldDescriptor::CPPTYPE_MESSAGE:
      break;
    default:
      return "";
  }
  const Message& inner = reflection.GetMessage(message, &field);
  const std::string& type = inner.GetDescriptor()->full_name();
  if (type == "google.protobuf.Timestamp") {
    return TimeText(static_cast<const google::protobuf::Timestamp&>(inner));
  }
  if (type == "google.protobuf.StringValue") {
    return Cut(inner.GetReflection()->GetString(inner, inner.GetDescriptor()->field(0)), 60);
  }
  if (type == "TaskFailureDetails") {
    return FieldsText(inner);
  }
  return "";
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string line;
  line.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    // U+0080 to U+009F are controls, too.
    const bool second =
        c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (c == '\n') {
      line += "\\n";
    } else if (c == '\t') {
      line += "\\t";
    } else if (second) {
      line += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[++i]));
    } else if (c < 0x20 || c == 0x7F) {
      line += fmt::format("\\x{:02x}", c);
    } else {
      line += text[i];
    }
  }
  return line;
}

std::string Cut(std::string_view text, size_t characters_max) {
  size_t characters = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool begins = (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
    if (begins && ++characters > characters_max) return Printable(text.substr(0, i)) + "...";
  }
  return Printable(text);
}

std::string TimeText(const google::protobuf::Timestamp& time) {
  if (orchestration::IsUnset(time)) return "";
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", orchestration::ToTime(time), absl::UTCTimeZone());
}

std::string Table::Text() const {
  std::vector<size_t> widths(rows_.front().size());
  for (const std::vector<std::string>& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], orchestration::CountCharacters(row[i]));
    }
  }
  std::string text;
  for (const std::vector<std::string>& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      line.append(widths[i] + 2 - orchestration::CountCharacters(row[i]), ' ');
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string JsonOf(const Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  // Messages come from gRPC, which has checked their strings; an error has no JSON.
  return status.ok() ? text : fmt::format("{{\"error\":\"{}\"}}", status.ToString());
}

std::string FieldsText(const Message& message) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  std::string text;
  for (const FieldDescriptor* field : fields) {
    if (field->is_repeated()) continue;
    const std::string value = ValueText(message, *field);
    if (value.empty()) continue;
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", field->name(), value);
  }
  return text;
}

}  // namespace dt::cli
