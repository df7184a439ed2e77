// CreateTaskHub and DeleteTaskHub (RULES.md 5.36).
#include <utility>

#include "server/rpc/sidecar_service.h"

namespace dt::rpc {
namespace {

absl::Status DeletionForbidden(const char* what) {
  return absl::PermissionDeniedError(
      std::string(what) +
      " deletes all data of the task hub and is off; the operator can allow it with the setting "
      "hubs.deletion-enabled");
}

}  // namespace

SidecarService::SidecarService(Store* store, dispatch::DispatchThread* dispatch,
                               ServiceOptions options)
    : store_(store),
      dispatch_(dispatch),
      options_(std::move(options)),
      hubs_(store, options_.hubs) {}

void SidecarService::CreateHub(const std::string& name, Callback<HubId> done) {
  hubs_.Create(name, std::move(done));
}

grpc::ServerUnaryReactor* SidecarService::CreateTaskHub(Context* context,
                                                        const CreateTaskHubRequest* request,
                                                        CreateTaskHubResponse*) {
  Unary* reactor = context->DefaultReactor();
  const std::string name(MetadataValue(*context, "taskhub"));
  auto create = [this, reactor, name] {
    hubs_.Create(name,
                 [reactor](absl::StatusOr<HubId> hub) { reactor->Finish(ToGrpc(hub.status())); });
  };
  if (!request->recreateifexists()) {
    create();
    return reactor;
  }
  if (!options_.hub_deletion_enabled) {
    reactor->Finish(ToGrpc(DeletionForbidden("CreateTaskHub with recreateIfExists")));
    return reactor;
  }
  hubs_.Delete(name, [reactor, create](absl::Status status) {
    if (!status.ok() && !absl::IsNotFound(status)) return reactor->Finish(ToGrpc(status));
    create();
  });
  return reactor;
}

grpc::ServerUnaryReactor* SidecarService::DeleteTaskHub(Context* context,
                                                        const DeleteTaskHubRequest*,
                                                        DeleteTaskHubResponse*) {
  Unary* reactor = context->DefaultReactor();
  if (!options_.hub_deletion_enabled) {
    reactor->Finish(ToGrpc(DeletionForbidden("DeleteTaskHub")));
    return reactor;
  }
  hubs_.Delete(MetadataValue(*context, "taskhub"),
               [reactor](absl::Status status) { reactor->Finish(ToGrpc(status)); });
  return reactor;
}

}  // namespace dt::rpc
