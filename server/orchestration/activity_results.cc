// The end of an activity as a message for its orchestration.

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/orchestration/event_bytes.h"
#include "server/orchestration/failure_depth.h"
#include "server/orchestration/field_checks.h"
#include "server/orchestration/response_check.h"
#include "server/orchestration/timestamps.h"
#include "server/orchestration/turn.h"

namespace dt::orchestration {

NewMessage ActivityResult(ActivityResponse response, Generation generation, absl::Time now,
                          const TurnLimits& limits) {
  const size_t bytes = response.result().value().size() + response.failuredetails().ByteSizeLong();
  const absl::Status status =
      CheckPayload("the result of the activity", bytes, limits.payload_bytes_max);
  if (!status.ok()) {
    return ActivityFailure(response.taskid(), generation,
                           MakeFailure(kPayloadTooLarge, std::string(status.message())), now);
  }
  if (response.has_failuredetails()) {  // 6.2: also when type and message are empty
    LimitDepth(*response.mutable_failuredetails());
    return ActivityFailure(response.taskid(), generation, response.failuredetails(), now);
  }
  HistoryEvent event = MakeEvent(kNoEventId, ToTimestamp(now));
  event.mutable_taskcompleted()->set_taskscheduledid(response.taskid());
  event.mutable_taskcompleted()->set_allocated_result(response.release_result());
  return ToMessage(event, generation);
}

NewMessage ActivityFailure(int32_t task_id, Generation generation,
                           const TaskFailureDetails& details, absl::Time now) {
  HistoryEvent event = MakeEvent(kNoEventId, ToTimestamp(now));
  event.mutable_taskfailed()->set_taskscheduledid(task_id);
  *event.mutable_taskfailed()->mutable_failuredetails() = details;
  return ToMessage(event, generation);
}

}  // namespace dt::orchestration
