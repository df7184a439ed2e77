// Whom a line of the dispatcher's log is about (storage/log_fields.h).
#ifndef DT_SERVER_DISPATCH_ITEM_LOG_FIELDS_H_
#define DT_SERVER_DISPATCH_ITEM_LOG_FIELDS_H_

#include <string>

#include "server/dispatch/residents.h"
#include "storage/log_fields.h"

namespace dt::dispatch {

// `hub` may be null: nothing of it is here any more.
inline LogFields LogFieldsOf(const Hub* hub, const std::string& instance_id) {
  return LogFields({{log_field::kTaskHub, hub == nullptr ? std::string() : hub->name},
                    {log_field::kInstanceId, instance_id}});
}

inline LogFields LogFieldsOf(const Resident& resident) {
  return LogFields({{log_field::kTaskHub, resident.hub->name},
                    {log_field::kInstanceId, resident.instance_id()},
                    {log_field::kExecutionId, resident.state.execution_id}});
}

inline LogFields LogFieldsOf(const StreamOptions& stream) {
  return LogFields(
      {{log_field::kTaskHub, stream.hub_name}, {log_field::kWorkerId, stream.worker_id}});
}

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_ITEM_LOG_FIELDS_H_
