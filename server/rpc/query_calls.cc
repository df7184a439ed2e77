// QueryInstances and ListInstanceIds (RULES.md 5.23-5.25).
#include <utility>

#include "server/orchestration/pages.h"
#include "server/rpc/read_call.h"
#include "server/rpc/sidecar_service.h"

namespace dt::rpc {

SidecarService::Unary* SidecarService::QueryInstances(Context* context,
                                                      const QueryInstancesRequest* request,
                                                      QueryInstancesResponse* response) {
  auto* reactor = new ReadCall(&unread_answers_);
  WithHub(context, reactor, [this, request, response, reactor](HubId hub) {
    absl::StatusOr<InstanceSearch> search =
        orchestration::BuildQuery(request->query(), hub, options_.pages, options_.requests);
    if (!search.ok()) return reactor->Finish(ToGrpc(search.status()));
    const bool payloads = search->payloads;
    store_->SearchInstances(*std::move(search),
                            [hub, response, reactor, payloads](absl::StatusOr<InstancePage> page) {
                              if (!page.ok()) return reactor->Finish(ToGrpc(page.status()));
                              orchestration::FillQueryResponse(*page, payloads, *response);
                              reactor->Answer(hub, *response);
                            });
  });
  return reactor;
}

SidecarService::Unary* SidecarService::ListInstanceIds(Context* context,
                                                       const ListInstanceIdsRequest* request,
                                                       ListInstanceIdsResponse* response) {
  auto* reactor = new ReadCall(&unread_answers_);
  // The export job of the .NET SDK.
  const bool until_empty =
      LibraryOfUserAgent(MetadataValue(*context, "user-agent")) == dispatch::ClientLibrary::kDotnet;
  WithHub(context, reactor, [this, request, response, reactor, until_empty](HubId hub) {
    absl::StatusOr<InstanceSearch> search =
        orchestration::BuildList(*request, hub, options_.pages, options_.requests);
    if (!search.ok()) return reactor->Finish(ToGrpc(search.status()));
    store_->SearchInstances(*std::move(search), [hub, response, reactor,
                                                 until_empty](absl::StatusOr<InstancePage> page) {
      if (!page.ok()) return reactor->Finish(ToGrpc(page.status()));
      orchestration::FillListResponse(*page, until_empty, *response);
      reactor->Answer(hub, *response);
    });
  });
  return reactor;
}

}  // namespace dt::rpc
