// What the events of actions bring about: the activity task, the timer, the child that a scheduling
// event in the history stands for. A turn makes them when it writes the event; a rewind makes them
// again from the event. Internal to server/orchestration.
#ifndef DT_SERVER_ORCHESTRATION_EFFECTS_H_
#define DT_SERVER_ORCHESTRATION_EFFECTS_H_

#include <cstdint>
#include <string>

#include "google/protobuf/timestamp.pb.h"
#include "proto/orchestrator_service.pb.h"
#include "server/orchestration/instance_state.h"
#include "server/orchestration/turn.h"
#include "storage/records.h"

namespace dt::orchestration {

// Whose work it is. `started` is nullptr before the first turn of a generation.
struct EffectSource {
  const InstanceState& state;
  const ExecutionStartedEvent* started;
  google::protobuf::Timestamp now;
};

// The task of a TaskScheduled with this event id; takes what it needs out of the event. Without a
// trace context of its own it has that of the orchestration (8.3).
NewTask MakeTask(const EffectSource& source, int32_t id, TaskScheduledEvent& scheduled);

// The message of a timer, visible when it fires.
NewMessage MakeTimer(const EffectSource& source, int32_t id,
                     const google::protobuf::Timestamp& fire_at);

// The child of a SubOrchestrationInstanceCreated (4.6-4.10); takes what it needs out of the event.
NewChild MakeChild(const EffectSource& source, int32_t id,
                   SubOrchestrationInstanceCreatedEvent& created, IdSource& ids);

// The failure of a child that was never created.
NewMessage MakeChildFailure(const EffectSource& source, int32_t id, const std::string& error_type,
                            const std::string& error_message);

// What the parent gets of a child that has ended, by its status.
HistoryEvent ChildResultEvent(const google::protobuf::Timestamp& now, int32_t task_id,
                              RuntimeStatus status, const Payload& result,
                              const TaskFailureDetails* failure);

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_EFFECTS_H_
