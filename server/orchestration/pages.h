// Lists of instances, page by page: client requests as searches, pages as answers, and the tokens
// in between (RULES.md 5.2, 5.3, 5.23-5.25). Pure.
//
// A token is a position in the order of the list, not a page number: it stays good while rows come
// and go, and with another page size.
#ifndef DT_SERVER_ORCHESTRATION_PAGES_H_
#define DT_SERVER_ORCHESTRATION_PAGES_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/orchestrator_service.pb.h"
#include "server/orchestration/requests.h"
#include "storage/management_records.h"

namespace dt::orchestration {

struct PageLimits {
  int rows_default = 100;  // where a request names no page size
  int rows_max = 1000;
  int64_t bytes_max = 3 << 20;  // of payloads; a page may hold one larger row
};

// InvalidArgument names the field.
absl::StatusOr<InstanceSearch> BuildQuery(const InstanceQuery& query, HubId hub,
                                          const PageLimits& pages, const RequestLimits& limits);
absl::StatusOr<InstanceSearch> BuildList(const ListInstanceIdsRequest& request, HubId hub,
                                         const PageLimits& pages, const RequestLimits& limits);

// The token is unset on the last page (5.2).
void FillQueryResponse(const InstancePage& page, bool payloads, QueryInstancesResponse& response);
// `until_empty`: the caller pages on until a page is empty, so only an empty one has no token
// (5.25).
void FillListResponse(const InstancePage& page, bool until_empty,
                      ListInstanceIdsResponse& response);

struct PurgePlan {
  PurgeRequest request;
  absl::Duration timeout = absl::InfiniteDuration();
  bool nothing = false;  // no orchestration can match
};

absl::StatusOr<PurgePlan> BuildPurge(const PurgeInstancesRequest& request, HubId hub,
                                     const RequestLimits& limits);

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_PAGES_H_
