// CreateTaskHub and DeleteTaskHub (RULES.md 5.36).
#include <optional>
#include <string>
#include <utility>

#include "fmt/format.h"
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

SidecarService::Unary* SidecarService::CreateTaskHub(Context* context,
                                                     const CreateTaskHubRequest* request,
                                                     CreateTaskHubResponse*) {
  Unary* reactor = new SimpleReactor();
  const std::string name(MetadataValue(*context, "taskhub"));
  auto create = [this, reactor, name,
                 action = ActionOf(*context, "CreateTaskHub")](std::string_view done) {
    hubs_.Create(name, [this, reactor, action, done](absl::StatusOr<HubId> hub) {
      if (hub.ok()) actions_.Add(action, fmt::format("{}, with the id {}", done, *hub));
      reactor->Finish(ToGrpc(hub.status()));
    });
  };
  if (!request->recreateifexists()) {
    create("it is there");
    return reactor;
  }
  if (!options_.hub_deletion_enabled) {
    reactor->Finish(ToGrpc(DeletionForbidden("CreateTaskHub with recreateIfExists")));
    return reactor;
  }
  Delete(name, [reactor, create](absl::Status status) {
    if (!status.ok() && !absl::IsNotFound(status)) return reactor->Finish(ToGrpc(status));
    create(status.ok() ? "it was deleted with all its data, and made anew" : "it is there");
  });
  return reactor;
}

SidecarService::Unary* SidecarService::DeleteTaskHub(Context* context, const DeleteTaskHubRequest*,
                                                     DeleteTaskHubResponse*) {
  Unary* reactor = new SimpleReactor();
  if (!options_.hub_deletion_enabled) {
    reactor->Finish(ToGrpc(DeletionForbidden("DeleteTaskHub")));
    return reactor;
  }
  Delete(std::string(MetadataValue(*context, "taskhub")),
         [this, reactor, action = ActionOf(*context, "DeleteTaskHub")](absl::Status status) {
           if (status.ok()) actions_.Add(action, "it was deleted with all its data");
           reactor->Finish(ToGrpc(status));
         });
  return reactor;
}

void SidecarService::Delete(const std::string& hub_name, DoneCallback done) {
  const std::optional<HubId> old = hubs_.Find(hub_name);
  hubs_.Delete(hub_name, [this, old, done = std::move(done)](absl::Status status) mutable {
    // Claims find the hub gone, and its worker streams end.
    if (status.ok() && old.has_value()) dispatch_->OnWake(*old);
    std::move(done)(std::move(status));
  });
}

}  // namespace dt::rpc
