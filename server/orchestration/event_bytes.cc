#include "server/orchestration/event_bytes.h"

#include <memory>
#include <utility>

#include "google/protobuf/io/coded_stream.h"
#include "server/orchestration/wire.h"

namespace dt::orchestration {
namespace {

constexpr int kLastEventType = HistoryEvent::kExecutionRewound;

bool ParseTimestamp(std::string_view bytes, google::protobuf::Timestamp& timestamp) {
  return timestamp.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

bool MergeBytes(std::string_view bytes, google::protobuf::MessageLite& message) {
  google::protobuf::io::CodedInputStream input(reinterpret_cast<const uint8_t*>(bytes.data()),
                                               static_cast<int>(bytes.size()));
  return message.MergePartialFromCodedStream(&input) && input.ConsumedEntireMessage();
}

}  // namespace

bool ReadEvent(std::string_view bytes, EventView& view) {
  view = {};
  WireReader reader(bytes);
  WireField field;
  while (reader.Next(field)) {
    if (field.number == HistoryEvent::kEventIdFieldNumber && field.type == WireType::kVarint) {
      view.event_id = static_cast<int32_t>(field.value);
    } else if (field.type != WireType::kBytes) {
      continue;
    } else if (field.number == HistoryEvent::kTimestampFieldNumber) {
      if (!ParseTimestamp(field.bytes, view.timestamp)) return false;
    } else if (field.number <= kLastEventType) {
      view.type = static_cast<HistoryEvent::EventTypeCase>(field.number);
      view.body = field.bytes;
    }
  }
  return reader.AtEnd() && view.type != HistoryEvent::EVENTTYPE_NOT_SET;
}

int32_t ReadWorkId(const EventView& view) {
  int number = TaskCompletedEvent::kTaskScheduledIdFieldNumber;  // the same in all but the timer's
  if (view.type == HistoryEvent::kTimerFired) number = TimerFiredEvent::kTimerIdFieldNumber;
  WireReader reader(view.body);
  WireField field;
  while (reader.Next(field)) {
    if (field.number == number && field.type == WireType::kVarint) {
      return static_cast<int32_t>(field.value);
    }
  }
  return 0;
}

std::string_view ReadFirstText(const EventView& view) {
  std::string_view text;
  WireReader reader(view.body);
  WireField field;
  while (reader.Next(field)) {
    if (field.number == 1 && field.type == WireType::kBytes) text = field.bytes;
  }
  return text;
}

google::protobuf::Timestamp ReadFireAt(const EventView& view) {
  google::protobuf::Timestamp fire_at;
  WireReader reader(view.body);
  WireField field;
  while (reader.Next(field)) {
    if (field.number == TimerFiredEvent::kFireAtFieldNumber && field.type == WireType::kBytes &&
        !ParseTimestamp(field.bytes, fire_at)) {
      fire_at.Clear();
    }
  }
  return fire_at;
}

ChildView ReadChild(const EventView& view) {
  constexpr int kMapKey = 1;
  ChildView child;
  WireReader reader(view.body);
  WireField field;
  while (reader.Next(field)) {
    if (field.type != WireType::kBytes) continue;
    if (field.number == SubOrchestrationInstanceCreatedEvent::kInstanceIdFieldNumber) {
      child.instance_id = field.bytes;
    } else if (field.number == SubOrchestrationInstanceCreatedEvent::kTagsFieldNumber) {
      WireReader entry(field.bytes);
      WireField part;
      while (entry.Next(part)) {
        if (part.number == kMapKey && part.bytes == kFireAndForgetTag) child.fire_and_forget = true;
      }
    }
  }
  return child;
}

bool ReadStarted(const EventView& view, ExecutionStartedEvent& started) {
  started.Clear();
  WireReader reader(view.body);
  WireField field;
  while (reader.Next(field)) {
    if (field.number == ExecutionStartedEvent::kInputFieldNumber) continue;
    if (!MergeBytes(field.whole, started)) return false;
  }
  return reader.AtEnd();
}

HistoryEvent MakeEvent(int32_t event_id, const google::protobuf::Timestamp& timestamp) {
  HistoryEvent event;
  event.set_eventid(event_id);
  *event.mutable_timestamp() = timestamp;
  return event;
}

SharedBytes SerializeEvent(const HistoryEvent& event) {
  return std::make_shared<const std::string>(event.SerializeAsString());
}

NewMessage ToMessage(const HistoryEvent& event, Generation generation, absl::Time visible_at) {
  NewMessage message;
  message.generation = generation;
  message.visible_at = visible_at;
  message.event_type = static_cast<int16_t>(event.eventType_case());
  message.event = SerializeEvent(event);
  return message;
}

std::string_view ChunkWriter::Append(const HistoryEvent& event) {
  const size_t size = event.ByteSizeLong();
  AppendBytesHeader(kPastEventsField, size, bytes_);
  const size_t start = bytes_.size();
  bytes_.resize(start + size);
  event.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(bytes_.data() + start));
  ++event_count_;
  return std::string_view(bytes_).substr(start);
}

void ChunkWriter::Append(std::string_view event) {
  AppendBytesField(kPastEventsField, event, bytes_);
  ++event_count_;
}

HistoryChunk ChunkWriter::Take(int64_t turn, int32_t first_event) {
  HistoryChunk chunk;
  chunk.turn = turn;
  chunk.first_event = first_event;
  chunk.event_count = event_count_;
  chunk.events = std::make_shared<const std::string>(std::move(bytes_));
  return chunk;
}

}  // namespace dt::orchestration
