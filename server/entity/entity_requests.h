// What clients ask of entities, as records, and what they are answered (RULES.md 7.31, 7.33-7.36).
// Pure.
//
// A token of a list or of a cleaning is the id of the last entity that was looked at: it stays good
// while entities come and go, and with another page size.
#ifndef DT_SERVER_ENTITY_ENTITY_REQUESTS_H_
#define DT_SERVER_ENTITY_ENTITY_REQUESTS_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/orchestrator_service.pb.h"
#include "server/orchestration/pages.h"
#include "server/orchestration/requests.h"
#include "server/orchestration/turn.h"
#include "storage/management_records.h"

namespace dt::entity {

struct SignalPlan {
  std::string instance_id;
  NewMessage message;
  std::string request_id;  // see ClientMessage
};

// InvalidArgument or ResourceExhausted, here and below, with field, size and limit in the message.
// A request id that is no GUID, or none, is replaced by a new one (7.5).
absl::StatusOr<SignalPlan> BuildSignal(const SignalEntityRequest& request, absl::Time now,
                                       orchestration::IdSource& ids,
                                       const orchestration::RequestLimits& limits);
// An event for an id of an entity: a signal or a call of the JSON dialect (7.31).
absl::StatusOr<SignalPlan> BuildJsonSignal(const RaiseEventRequest& request, absl::Time now,
                                           const orchestration::RequestLimits& limits);

// 7.35.
absl::StatusOr<EntitySearch> BuildEntityQuery(const EntityQuery& query, HubId hub,
                                              const orchestration::PageLimits& pages,
                                              const orchestration::RequestLimits& limits);

// 7.36. nullopt: there is nothing to do, as the request asks for neither.
absl::StatusOr<std::optional<EntityCleanup>> BuildEntityCleanup(
    const CleanEntityStorageRequest& request, HubId hub,
    const orchestration::RequestLimits& limits);

// `state`: whether the caller asked for it (7.34).
void FillEntityMetadata(const EntityInfo& info, bool state, EntityMetadata& metadata);
// The token of a list or a cleaning that goes on after this id.
std::string EntityToken(const std::string& after_id);

}  // namespace dt::entity

#endif  // DT_SERVER_ENTITY_ENTITY_REQUESTS_H_
