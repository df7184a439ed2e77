#include "server/orchestration/pages.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/orchestration/field_checks.h"
#include "server/orchestration/timestamps.h"

namespace dt::orchestration {
namespace {

// `<microseconds since 1970>:<instance id>`
std::string PositionText(absl::Time time, const std::string& instance_id) {
  return absl::StrCat(absl::ToUnixMicros(time), ":", instance_id);
}

std::optional<InstancePosition> ParsePosition(absl::string_view text, const RequestLimits& limits) {
  const size_t colon = text.find(':');
  int64_t micros = 0;
  if (colon == absl::string_view::npos || !absl::SimpleAtoi(text.substr(0, colon), &micros)) {
    return std::nullopt;
  }
  InstancePosition position{absl::FromUnixMicros(micros), std::string(text.substr(colon + 1))};
  const bool good = CheckInstanceId(position.instance_id, limits).ok() &&
                    IsValidTimestamp(ToTimestamp(position.time)) &&
                    ToTime(ToTimestamp(position.time)) == position.time &&
                    PositionText(position.time, position.instance_id) == std::string(text);
  if (!good) return std::nullopt;
  return position;
}

// A set of statuses; InvalidArgument for a number that is none.
absl::StatusOr<StatusSet> ReadStatuses(absl::string_view field,
                                       const google::protobuf::RepeatedField<int>& statuses) {
  StatusSet set = 0;
  for (const int status : statuses) {
    if (!OrchestrationStatus_IsValid(status)) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, " contains the unknown status ", status));
    }
    set |= StatusBit(static_cast<RuntimeStatus>(status));
  }
  return set;
}

}  // namespace

absl::Status MalformedToken(absl::string_view field, size_t bytes) {
  return absl::InvalidArgumentError(
      absl::StrCat(field, " (", bytes, " bytes) is no token of an earlier page: pass on what the ",
                   "last page answered, or leave it empty to begin anew"));
}

int PageRows(int asked, const PageLimits& pages) {
  return asked <= 0 ? pages.rows_default : std::min(asked, pages.rows_max);
}

absl::Status ReadBound(absl::string_view field, bool present,
                       const google::protobuf::Timestamp& timestamp,
                       std::optional<absl::Time>& to) {
  if (!present) return absl::OkStatus();
  if (!IsValidTimestamp(timestamp)) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, " is ", timestamp.seconds(), " s and ", timestamp.nanos(),
                     " ns after 1970; the years 1 to 9999 and 0 to 999999999 ns are allowed"));
  }
  to = ToDueTime(timestamp);
  return absl::OkStatus();
}

absl::StatusOr<InstanceSearch> BuildQuery(const InstanceQuery& query, HubId hub,
                                          const PageLimits& pages, const RequestLimits& limits) {
  InstanceSearch search;
  search.hub = hub;
  absl::StatusOr<StatusSet> statuses = ReadStatuses("runtimeStatus", query.runtimestatus());
  if (!statuses.ok()) return statuses.status();
  search.statuses = *statuses;
  absl::Status status = ReadBound("createdTimeFrom", query.has_createdtimefrom(),
                                  query.createdtimefrom(), search.from);
  if (status.ok()) {
    status =
        ReadBound("createdTimeTo", query.has_createdtimeto(), query.createdtimeto(), search.to);
  }
  const std::string& prefix = query.instanceidprefix().value();
  if (status.ok() && !prefix.empty()) {
    status = CheckId("instanceIdPrefix", prefix, limits.instance_id_chars_max);
  }
  if (!status.ok()) return status;
  search.id_prefix = prefix;
  const std::string& token = query.continuationtoken().value();
  if (!token.empty()) {
    std::string text;
    if (absl::WebSafeBase64Unescape(token, &text)) search.after = ParsePosition(text, limits);
    if (!search.after) return MalformedToken("continuationToken", token.size());
  }
  search.max_rows = PageRows(query.maxinstancecount(), pages);
  search.max_bytes = pages.bytes_max;
  search.payloads = query.fetchinputsandoutputs();
  return search;
}

absl::StatusOr<InstanceSearch> BuildList(const ListInstanceIdsRequest& request, HubId hub,
                                         const PageLimits& pages, const RequestLimits& limits) {
  InstanceSearch search;
  search.hub = hub;
  search.by_completion = true;
  absl::StatusOr<StatusSet> statuses = ReadStatuses("runtimeStatus", request.runtimestatus());
  if (!statuses.ok()) return statuses.status();
  search.statuses = *statuses;
  absl::Status status = ReadBound("completedTimeFrom", request.has_completedtimefrom(),
                                  request.completedtimefrom(), search.from);
  if (status.ok()) {
    status = ReadBound("completedTimeTo", request.has_completedtimeto(), request.completedtimeto(),
                       search.to);
  }
  if (!status.ok()) return status;
  const std::string& key = request.lastinstancekey().value();
  if (!key.empty()) {
    search.after = ParsePosition(key, limits);
    if (!search.after) return MalformedToken("lastInstanceKey", key.size());
  }
  search.max_rows = PageRows(request.pagesize(), pages);
  return search;
}

void FillQueryResponse(const InstancePage& page, bool payloads, QueryInstancesResponse& response) {
  for (const InstanceRow& row : page.rows) {
    *response.add_orchestrationstate() = RenderState(row, payloads);
  }
  if (!page.more) return;
  const InstanceRow& last = page.rows.back();
  response.mutable_continuationtoken()->set_value(
      absl::WebSafeBase64Escape(PositionText(last.created_at, last.instance_id)));
}

void FillListResponse(const InstancePage& page, bool until_empty,
                      ListInstanceIdsResponse& response) {
  for (const InstanceRow& row : page.rows) response.add_instanceids(row.instance_id);
  if (page.rows.empty() || (!page.more && !until_empty)) return;
  // In clear text: the Python SDK looks for the id in it (5.25).
  const InstanceRow& last = page.rows.back();
  response.mutable_lastinstancekey()->set_value(PositionText(*last.completed_at, last.instance_id));
}

namespace {

absl::Status AddPurgeFilter(const PurgeInstanceFilter& filter, PurgePlan& plan) {
  absl::StatusOr<StatusSet> statuses = ReadStatuses("runtimeStatus", filter.runtimestatus());
  if (!statuses.ok()) return statuses.status();
  InstanceSearch& search = plan.request.filter;
  search.statuses = *statuses == 0 ? kTerminalStatuses : *statuses & kTerminalStatuses;
  plan.nothing = search.statuses == 0;
  absl::Status status = ReadBound("createdTimeFrom", filter.has_createdtimefrom(),
                                  filter.createdtimefrom(), search.from);
  if (status.ok()) {
    status =
        ReadBound("createdTimeTo", filter.has_createdtimeto(), filter.createdtimeto(), search.to);
  }
  const google::protobuf::Duration& timeout = filter.timeout();
  if (status.ok() && (timeout.seconds() < 0 || timeout.nanos() < 0)) {
    status =
        absl::InvalidArgumentError(absl::StrCat("timeout is ", timeout.seconds(), " s and ",
                                                timeout.nanos(), " ns, it must not be negative"));
  }
  // None at all, as from clients that always send the field.
  const absl::Duration bound =
      absl::Seconds(timeout.seconds()) + absl::Nanoseconds(timeout.nanos());
  if (bound > absl::ZeroDuration()) plan.timeout = bound;
  return status;
}

}  // namespace

absl::StatusOr<PurgePlan> BuildPurge(const PurgeInstancesRequest& request, HubId hub,
                                     const RequestLimits& limits) {
  PurgePlan plan;
  plan.request.hub = plan.request.filter.hub = hub;
  plan.request.recursive = request.recursive();
  absl::Status status;
  switch (request.request_case()) {
    case PurgeInstancesRequest::kInstanceId:
      status = CheckInstanceId(request.instanceid(), limits);
      plan.request.instance_ids = {request.instanceid()};
      break;
    case PurgeInstancesRequest::kPurgeInstanceFilter:
      status = AddPurgeFilter(request.purgeinstancefilter(), plan);
      break;
    case PurgeInstancesRequest::kInstanceBatch:
      status = AddIds(request.instancebatch(), limits, plan.request.instance_ids);
      plan.nothing = plan.request.instance_ids.empty();
      break;
    case PurgeInstancesRequest::REQUEST_NOT_SET:
      status = absl::InvalidArgumentError(
          "the request names nothing to purge: set instanceId, purgeInstanceFilter or "
          "instanceBatch");
  }
  if (!status.ok()) return status;
  return plan;
}

}  // namespace dt::orchestration
