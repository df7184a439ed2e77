// What entities answer in the older dialect of the protocol, in which messages are events with JSON
// inside (RULES.md 7.28-7.30). Internal to entity_messages.h, where requests in this dialect are
// read by FromJsonEvent. Pure.
#ifndef DT_SERVER_ORCHESTRATION_ENTITY_JSON_H_
#define DT_SERVER_ORCHESTRATION_ENTITY_JSON_H_

#include <string>

#include "proto/orchestrator_service.pb.h"
#include "storage/records.h"

namespace dt::orchestration {

// The inputs of the events that answer a request (7.30). The order of the keys is fixed.
std::string JsonResult(const Payload& result);
std::string JsonFailure(const TaskFailureDetails& details);
std::string JsonLockGranted();

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_ENTITY_JSON_H_
