// Stored events as bytes: what the server reads of them without copying payloads, and how they are
// written. An event is serialized once; the same bytes travel to the inbox, the worker and the
// history (3.9: what was sent is what is stored).
#ifndef DT_SERVER_ORCHESTRATION_EVENT_BYTES_H_
#define DT_SERVER_ORCHESTRATION_EVENT_BYTES_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "google/protobuf/timestamp.pb.h"
#include "proto/orchestrator_service.pb.h"
#include "storage/records.h"

namespace dt::orchestration {

// The field number of OrchestratorRequest.pastEvents, of which chunks of history are made.
inline constexpr int kPastEventsField = 3;

// The event id of everything that is not the event of an action (3.10).
inline constexpr int32_t kNoEventId = -1;

// The tag of a child of which the parent is never told (4.7).
inline constexpr std::string_view kFireAndForgetTag = "FireAndForget";

// What the server itself looks at in an event. Views point into the event's bytes.
struct EventView {
  HistoryEvent::EventTypeCase type = HistoryEvent::EVENTTYPE_NOT_SET;
  int32_t event_id = 0;
  google::protobuf::Timestamp timestamp;
  std::string_view body;  // the message of the event type
};

// False if the bytes are no event.
bool ReadEvent(std::string_view bytes, EventView& view);

// The taskScheduledId or timerId of a TaskCompleted, TaskFailed, TimerFired or
// SubOrchestrationInstanceCompleted/Failed; 0 when it is absent.
int32_t ReadWorkId(const EventView& view);
// Field 1 of the event's message, where it is a text: the ids of the entity events, the name of an
// EventRaised, the instanceId of an EventSent.
std::string_view ReadFirstText(const EventView& view);
// The fireAt of a TimerFired.
google::protobuf::Timestamp ReadFireAt(const EventView& view);

struct ChildView {
  std::string_view instance_id;
  bool fire_and_forget = false;
};
// Of a SubOrchestrationInstanceCreated.
ChildView ReadChild(const EventView& view);

// Of an ExecutionStarted, without its input. False if the bytes are no such message.
bool ReadStarted(const EventView& view, ExecutionStartedEvent& started);

// An event with its envelope; the caller sets the type.
HistoryEvent MakeEvent(int32_t event_id, const google::protobuf::Timestamp& timestamp);

SharedBytes SerializeEvent(const HistoryEvent& event);

// The event as a message that is visible from `visible_at`.
NewMessage ToMessage(const HistoryEvent& event, Generation generation,
                     absl::Time visible_at = absl::InfinitePast());

// Gathers the events of one turn as a chunk of history.
class ChunkWriter {
 public:
  // Returns the bytes of the event within the chunk; valid until the next Append.
  std::string_view Append(const HistoryEvent& event);
  void Append(std::string_view event);

  int64_t bytes() const { return static_cast<int64_t>(bytes_.size()); }
  HistoryChunk Take(int64_t turn, int32_t first_event);

 private:
  std::string bytes_;
  int32_t event_count_ = 0;
};

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_EVENT_BYTES_H_
