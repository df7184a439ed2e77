// Lists of instances, page by page: client requests as searches, pages as answers, and the tokens
// in between (RULES.md 5.2, 5.3, 5.23-5.25). Pure.
//
// A token is a position in the order of the list, not a page number: it stays good while rows come
// and go, and with another page size.
#ifndef DT_SERVER_ORCHESTRATION_PAGES_H_
#define DT_SERVER_ORCHESTRATION_PAGES_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
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

// The rows of a page; never allocated by, since Python asks for 2^31-1 (5.24).
int PageRows(int asked, const PageLimits& pages);
// A bound of a time range, rounded up to the store's microseconds: what is at or after the bound is
// then at or after the result, and the other way round.
absl::Status ReadBound(absl::string_view field, bool present,
                       const google::protobuf::Timestamp& timestamp, std::optional<absl::Time>& to);
// For a token of this size that is none.
absl::Status MalformedToken(absl::string_view field, size_t bytes);

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
