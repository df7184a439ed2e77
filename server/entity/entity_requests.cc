#include "server/entity/entity_requests.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/orchestration/entity_messages.h"
#include "server/orchestration/field_checks.h"
#include "server/orchestration/timestamps.h"

namespace dt::entity {
namespace {

using orchestration::EntityMessage;
using orchestration::PageLimits;
using orchestration::RequestLimits;

// With the name in lower case, as far as it goes; an `@` in front is added when it is missing.
std::string NormalizePrefix(const std::string& prefix) {
  std::string normalized = IsEntityId(prefix) ? prefix : absl::StrCat("@", prefix);
  const size_t name_end = std::min(normalized.find('@', 1), normalized.size());
  for (size_t i = 1; i < name_end; ++i) {
    normalized[i] = absl::ascii_tolower(static_cast<unsigned char>(normalized[i]));
  }
  return normalized;
}

// The id that a token stands for; "" = from the beginning.
absl::StatusOr<std::string> ReadToken(const std::string& token, const RequestLimits& limits) {
  if (token.empty()) return "";
  std::string id;
  if (!absl::WebSafeBase64Unescape(token, &id) || !IsEntityId(id) ||
      !orchestration::CheckInstanceId(id, limits).ok()) {
    return orchestration::MalformedToken("continuationToken", token.size());
  }
  return id;
}

absl::Status BadEvent(const std::string& instance_id) {
  return absl::InvalidArgumentError(absl::StrCat(
      "instanceId \"", instance_id,
      "\" is that of an entity: an event for it must be named `op` or `op@TIME`, with a JSON "
      "request message as its input that has an `id` and names one operation. Call SignalEntity "
      "instead"));
}

}  // namespace

absl::StatusOr<SignalPlan> BuildSignal(const SignalEntityRequest& request, absl::Time now,
                                       orchestration::IdSource& ids, const RequestLimits& limits) {
  auto id = orchestration::NormalizeEntityId("instanceId", request.instanceid());
  if (!id.ok()) return id.status();
  absl::Status status =
      orchestration::CheckEventName("name", request.name(), limits.name_bytes_max);
  if (status.ok()) {
    status = orchestration::CheckPayload("input", request.input().value().size(),
                                         limits.payload_bytes_max);
  }
  std::optional<absl::Time> unused;
  if (status.ok()) {
    status = orchestration::ReadBound("scheduledTime", request.has_scheduledtime(),
                                      request.scheduledtime(), unused);
  }
  if (!status.ok()) return status;
  SignalPlan plan;
  plan.instance_id = *std::move(id);
  EntityMessage message;
  message.kind = EntityMessage::Kind::kSignal;
  if (orchestration::IsGuid(request.requestid())) {
    message.request_id = request.requestid();
    plan.request_id = absl::AsciiStrToLower(request.requestid());
  } else {
    message.request_id = orchestration::ToGuid(ids.NewExecutionId());
  }
  message.operation = request.name();
  message.input = orchestration::ToPayload(request.has_input(), request.input());
  if (request.has_scheduledtime() && !orchestration::IsUnset(request.scheduledtime())) {
    message.scheduled_time = request.scheduledtime();
  }
  plan.message = orchestration::ToMessage(message, orchestration::ToTimestamp(now));
  return plan;
}

absl::StatusOr<SignalPlan> BuildJsonSignal(const RaiseEventRequest& request, absl::Time now,
                                           const RequestLimits& limits) {
  auto id = orchestration::NormalizeEntityId("instanceId", request.instanceid());
  if (!id.ok()) return id.status();
  absl::Status status =
      orchestration::CheckEventName("name", request.name(), limits.name_bytes_max);
  if (status.ok()) {
    status = orchestration::CheckPayload("input", request.input().value().size(),
                                         limits.payload_bytes_max);
  }
  if (!status.ok()) return status;
  auto sent = orchestration::FromJsonEvent(
      *id, request.name(), orchestration::ToPayload(request.has_input(), request.input()),
      /*sender_id=*/"", /*sender_execution_id=*/"");
  // Locks are for orchestrations.
  if (!sent || (sent->message.kind != EntityMessage::Kind::kSignal &&
                sent->message.kind != EntityMessage::Kind::kCall)) {
    return BadEvent(request.instanceid());
  }
  SignalPlan plan;
  plan.instance_id = *std::move(id);
  if (orchestration::IsGuid(sent->message.request_id)) {
    plan.request_id = absl::AsciiStrToLower(sent->message.request_id);
  }
  plan.message = orchestration::ToMessage(sent->message, orchestration::ToTimestamp(now));
  return plan;
}

absl::StatusOr<EntitySearch> BuildEntityQuery(const EntityQuery& query, HubId hub,
                                              const PageLimits& pages,
                                              const RequestLimits& limits) {
  EntitySearch search;
  search.hub = hub;
  absl::Status status = orchestration::ReadBound("lastModifiedFrom", query.has_lastmodifiedfrom(),
                                                 query.lastmodifiedfrom(), search.from);
  if (status.ok()) {
    status = orchestration::ReadBound("lastModifiedTo", query.has_lastmodifiedto(),
                                      query.lastmodifiedto(), search.to);
  }
  const std::string& prefix = query.instanceidstartswith().value();
  if (status.ok() && !prefix.empty()) {
    status = orchestration::CheckId("instanceIdStartsWith", prefix, limits.instance_id_chars_max);
  }
  if (!status.ok()) return status;
  search.id_prefix = NormalizePrefix(prefix);
  auto after = ReadToken(query.continuationtoken().value(), limits);
  if (!after.ok()) return after.status();
  search.after_id = *std::move(after);
  search.states = query.includestate();
  search.transient = query.includetransient();
  search.max_rows = orchestration::PageRows(query.pagesize().value(), pages);
  search.max_bytes = pages.bytes_max;
  return search;
}

absl::StatusOr<std::optional<EntityCleanup>> BuildEntityCleanup(
    const CleanEntityStorageRequest& request, HubId hub, const RequestLimits& limits) {
  EntityCleanup cleanup;
  cleanup.hub = hub;
  cleanup.remove_empty = request.removeemptyentities();
  cleanup.release_orphaned = request.releaseorphanedlocks();
  auto after = ReadToken(request.continuationtoken().value(), limits);
  if (!after.ok()) return after.status();
  cleanup.after_id = *std::move(after);
  if (!cleanup.remove_empty && !cleanup.release_orphaned) return std::nullopt;
  return cleanup;
}

void FillEntityMetadata(const EntityInfo& info, bool state, EntityMetadata& metadata) {
  metadata.set_instanceid(info.instance_id);
  *metadata.mutable_lastmodifiedtime() = orchestration::ToTimestamp(info.last_modified);
  metadata.set_backlogqueuesize(info.backlog);
  if (info.locked_by) metadata.mutable_lockedby()->set_value(*info.locked_by);
  if (state && info.state) metadata.mutable_serializedstate()->set_value(*info.state);
}

std::string EntityToken(const std::string& after_id) { return absl::WebSafeBase64Escape(after_id); }

}  // namespace dt::entity
