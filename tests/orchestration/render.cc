#include "tests/orchestration/render.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/orchestration/timestamps.h"
#include "tests/support/catch.h"

namespace dt::orchestration {
namespace {

using google::protobuf::FieldDescriptor;

std::string RenderScalar(const google::protobuf::Message& message, const FieldDescriptor& field,
                         int index);

// `index` -1: not repeated.
const google::protobuf::Message& SubMessage(const google::protobuf::Message& message,
                                            const FieldDescriptor& field, int index) {
  const auto* reflection = message.GetReflection();
  return index < 0 ? reflection->GetMessage(message, &field)
                   : reflection->GetRepeatedMessage(message, &field, index);
}

std::string RenderSub(const google::protobuf::Message& message) {
  const auto& descriptor = *message.GetDescriptor();
  if (descriptor.full_name() == "google.protobuf.Timestamp") {
    google::protobuf::Timestamp timestamp;
    timestamp.CopyFrom(message);
    return RenderTime(ToTime(timestamp));
  }
  if (descriptor.full_name() == "google.protobuf.StringValue" ||
      descriptor.full_name() == "google.protobuf.Int32Value") {
    return RenderScalar(message, *descriptor.field(0), -1);
  }
  if (const auto* event = dynamic_cast<const HistoryEvent*>(&message)) return RenderEvent(*event);
  return absl::StrCat("{", RenderFields(message), "}");
}

std::string RenderScalar(const google::protobuf::Message& message, const FieldDescriptor& field,
                         int index) {
  const auto* reflection = message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string text = index < 0 ? reflection->GetString(message, &field)
                                         : reflection->GetRepeatedString(message, &field, index);
      return absl::StrCat("\"", text, "\"");
    }
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(reflection->GetInt32(message, &field));
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::StrCat(reflection->GetInt64(message, &field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection->GetBool(message, &field) ? "true" : "false";
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return absl::StrCat(reflection->GetDouble(message, &field));
    case FieldDescriptor::CPPTYPE_ENUM:
      return std::string(
          absl::StripPrefix(reflection->GetEnum(message, &field)->name(), "ORCHESTRATION_STATUS_"));
    default:
      return RenderSub(SubMessage(message, field, index));
  }
}

std::string RenderMap(const google::protobuf::Message& message, const FieldDescriptor& field) {
  std::vector<std::string> entries;
  for (int i = 0; i < message.GetReflection()->FieldSize(message, &field); ++i) {
    const google::protobuf::Message& entry = SubMessage(message, field, i);
    const auto& descriptor = *entry.GetDescriptor();
    entries.push_back(absl::StrCat(entry.GetReflection()->GetString(entry, descriptor.field(0)),
                                   "=", RenderScalar(entry, *descriptor.field(1), -1)));
  }
  std::sort(entries.begin(), entries.end());
  return absl::StrCat("{", absl::StrJoin(entries, " "), "}");
}

std::string RenderField(const google::protobuf::Message& message, const FieldDescriptor& field) {
  if (field.is_map()) return RenderMap(message, field);
  if (!field.is_repeated()) return RenderScalar(message, field, -1);
  std::vector<std::string> items;
  for (int i = 0; i < message.GetReflection()->FieldSize(message, &field); ++i) {
    items.push_back(RenderScalar(message, field, i));
  }
  return absl::StrCat("[", absl::StrJoin(items, ", "), "]");
}

void AddLine(std::string& text, std::string_view head, const std::string& line) {
  text.append(head);
  text.append(line);
  text.push_back('\n');
}

std::string RenderPayload(std::string_view name, const Payload& payload) {
  if (!payload) return "";
  return " " + std::string(name) + "=\"" + *payload + "\"";
}

std::string RenderChange(std::string_view name, const Change<std::string>& change) {
  using Kind = Change<std::string>::Kind;
  if (change.kind == Kind::kKeep) return "";
  if (change.kind == Kind::kClear) return " " + std::string(name) + " cleared";
  return RenderPayload(name, change.value);
}

std::string RenderUpdate(const InstanceUpdate& update) {
  std::string line = absl::StrCat(
      "status ",
      absl::StripPrefix(OrchestrationStatus_Name(static_cast<OrchestrationStatus>(update.status)),
                        "ORCHESTRATION_STATUS_"));
  line += RenderChange("custom", update.custom_status);
  if (update.orchestration_trace_context.kind == Change<std::string>::Kind::kClear) {
    line += " trace cleared";
  } else if (update.orchestration_trace_context.kind == Change<std::string>::Kind::kSet) {
    OrchestrationTraceContext trace;
    REQUIRE(trace.ParseFromString(update.orchestration_trace_context.value));
    absl::StrAppend(&line, " trace={", RenderFields(trace), "}");
  }
  line += RenderPayload("output", update.output);
  if (update.failure) {
    TaskFailureDetails details;
    REQUIRE(details.ParseFromString(*update.failure));
    absl::StrAppend(&line, " failure={", RenderFields(details), "}");
  }
  return line;
}

std::string RenderAddressed(const AddressedMessage& message) {
  std::string text = message.instance_id;
  if (!message.execution_id.empty()) absl::StrAppend(&text, "/", message.execution_id);
  if (message.front) text += " in front";
  return text + ": " + RenderMessage(message.message);
}

// What only the turns of entities change.
void AddEntity(const EntityUpdate& entity, std::string& text) {
  const std::string state = RenderChange("state", entity.state);
  if (!state.empty()) AddLine(text, "", state.substr(1));
  if (entity.worked) AddLine(text, "", "worked");
  if (entity.unlock) AddLine(text, "", "unlocks");
  for (const LockWithdrawal& withdrawal : entity.withdrawals) {
    AddLine(text, "withdraws ", withdrawal.owner_id + " " + withdrawal.critical_section);
  }
  if (entity.arrival) {
    AddLine(text, absl::StrCat("arrives at ", entity.arrival->request_seq, ": "),
            RenderMessage(entity.arrival->grant));
  }
}

}  // namespace

std::string Text(std::string_view raw) {
  std::vector<std::string> lines = absl::StrSplit(std::string(raw), '\n');
  if (!lines.empty() && lines.front().empty()) lines.erase(lines.begin());
  for (size_t i = 0; i + 1 < lines.size();) {
    if (lines[i].empty() || lines[i].back() != '\\') {
      ++i;
      continue;
    }
    lines[i].pop_back();
    absl::StrAppend(&lines[i], absl::StripLeadingAsciiWhitespace(lines[i + 1]));
    lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(i) + 1);
  }
  size_t indent = std::string::npos;
  for (const std::string& line : lines) {
    indent = std::min(indent, line.find_first_not_of(' '));
  }
  std::string text;
  for (size_t i = 0; i < lines.size(); ++i) {
    const bool blank = lines[i].find_first_not_of(' ') == std::string::npos;
    if (i + 1 == lines.size() && blank) break;  // before the closing quote
    AddLine(text, "", blank ? "" : lines[i].substr(indent));
  }
  return text;
}

std::string RenderTime(absl::Time time) {
  if (time == absl::InfinitePast()) return "-inf";
  const int64_t seconds = absl::ToUnixSeconds(time);
  const int64_t nanos = absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds));
  if (nanos == 0) return absl::StrCat(seconds);
  std::string digits = absl::StrCat(1'000'000'000 + nanos).substr(1);
  digits.erase(digits.find_last_not_of('0') + 1);
  return absl::StrCat(seconds, ".", digits);
}

std::string RenderFields(const google::protobuf::Message& message) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  std::vector<std::string> parts;
  for (const FieldDescriptor* field : fields) {
    parts.push_back(absl::StrCat(field->name(), "=", RenderField(message, *field)));
  }
  return absl::StrJoin(parts, " ");
}

std::string RenderWholeEvent(const HistoryEvent& event) {
  const auto* field =
      HistoryEvent::descriptor()->FindFieldByNumber(static_cast<int>(event.eventType_case()));
  if (field == nullptr) return "no event type";
  std::string name = field->name();
  name.front() = static_cast<char>(std::toupper(name.front()));
  std::string line = name;
  if (event.eventid() != -1) absl::StrAppend(&line, " #", event.eventid());
  absl::StrAppend(&line, " @",
                  event.has_timestamp() ? RenderTime(ToTime(event.timestamp())) : "none");
  const std::string fields = RenderFields(SubMessage(event, *field, -1));
  if (!fields.empty()) absl::StrAppend(&line, " ", fields);
  return line;
}

std::string RenderEvent(const HistoryEvent& event) {
  HistoryEvent shown = event;
  if (shown.has_executionstarted()) {
    shown.mutable_executionstarted()->clear_orchestrationinstance();
    shown.mutable_executionstarted()->clear_parentinstance();
  }
  return RenderWholeEvent(shown);
}

std::string RenderMessage(const NewMessage& message) {
  const HistoryEvent event = ParseEvent(*message.event);
  std::string text = RenderEvent(event);
  // The answer of an entity may be an event of the JSON dialect.
  if (message.event_type != static_cast<int16_t>(event.eventType_case())) {
    CHECK(event.has_eventraised());
    absl::StrAppend(&text, " as ", message.event_type);
  }
  if (message.generation != kAnyGeneration) absl::StrAppend(&text, " gen ", message.generation);
  if (message.visible_at != absl::InfinitePast()) {
    absl::StrAppend(&text, " due ", RenderTime(message.visible_at));
  }
  return text;
}

std::string RenderRequest(const OrchestratorRequest& request) {
  std::string text;
  for (const HistoryEvent& event : request.pastevents()) AddLine(text, "past ", RenderEvent(event));
  for (const HistoryEvent& event : request.newevents()) AddLine(text, "new ", RenderEvent(event));
  return text;
}

std::string RenderCheckpoint(const Checkpoint& checkpoint) {
  std::string text;
  if (checkpoint.history) {
    for (const HistoryEvent& event : ParseChunk(*checkpoint.history)) {
      AddLine(text, "history ", RenderEvent(event));
    }
  }
  for (const NewTask& task : checkpoint.tasks) {
    AddLine(text, "task ", absl::StrCat(task.task_id, " ", task.name));
  }
  for (const NewChild& child : checkpoint.children) {
    AddLine(text, "child ", child.instance.instance_id + " " + child.instance.name);
  }
  for (const NewMessage& message : checkpoint.own_messages) {
    AddLine(text, "own ", RenderMessage(message));
  }
  for (const AddressedMessage& message : checkpoint.messages) {
    AddLine(text, "send ", RenderAddressed(message));
  }
  for (const LockRequest& request : checkpoint.lock_requests) {
    AddLine(text, "lock ",
            request.critical_section + ": " + absl::StrJoin(request.entity_ids, " "));
  }
  for (const Termination& termination : checkpoint.terminations) {
    AddLine(text, "terminate ",
            termination.instance_id + ": " + RenderMessage(termination.message));
  }
  if (checkpoint.subtree_termination) {
    AddLine(text, "terminate below: ", RenderMessage(checkpoint.subtree_termination->message));
  }
  if (checkpoint.parent_message) {
    AddLine(text, "parent ", RenderMessage(*checkpoint.parent_message));
  }
  if (checkpoint.update) AddLine(text, "", RenderUpdate(*checkpoint.update));
  if (checkpoint.next_generation) {
    const NextGeneration& next = *checkpoint.next_generation;
    AddLine(text, "continues as ",
            next.execution_id.substr(0, 4) + RenderPayload("version", next.version) +
                RenderPayload("input", next.input) +
                RenderPayload("saved", next.saved_custom_status));
  }
  if (checkpoint.ends) AddLine(text, "", "ends");
  if (checkpoint.releases_locks) AddLine(text, "", "releases locks");
  if (checkpoint.entity) AddEntity(*checkpoint.entity, text);
  return text;
}

HistoryEvent ParseEvent(std::string_view bytes) {
  HistoryEvent event;
  REQUIRE(event.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  return event;
}

WorkItem ParseFrame(const Frame& frame) {
  std::string bytes;
  for (const SharedBytes& slice : frame) bytes += *slice;
  WorkItem item;
  REQUIRE(item.ParseFromString(bytes));
  return item;
}

std::vector<HistoryEvent> ParseChunk(const HistoryChunk& chunk) {
  OrchestratorRequest request;  // a chunk is a piece of a request (design decision 8)
  REQUIRE(request.ParseFromString(*chunk.events));
  CHECK(request.pastevents_size() == chunk.event_count);
  return {request.pastevents().begin(), request.pastevents().end()};
}

}  // namespace dt::orchestration
