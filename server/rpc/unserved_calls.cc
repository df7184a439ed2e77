// The RPCs that this version refuses: UNIMPLEMENTED with a sentence that says so, and nothing read
// or written. They are declared so that reflection shows the whole protocol.
#include "fmt/format.h"
#include "server/rpc/sidecar_service.h"

namespace dt::rpc {
namespace {

grpc::ServerUnaryReactor* Refuse(grpc::CallbackServerContext* context, std::string_view rpc,
                                 std::string_view group) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status(
      grpc::StatusCode::UNIMPLEMENTED,
      fmt::format("{} is not available: this version of durabletask-sidecar does not serve {}", rpc,
                  group)));
  return reactor;
}

constexpr std::string_view kEntities = "entities";

}  // namespace

grpc::ServerUnaryReactor* SidecarService::SignalEntity(Context* context, const SignalEntityRequest*,
                                                       SignalEntityResponse*) {
  return Refuse(context, "SignalEntity", kEntities);
}

grpc::ServerUnaryReactor* SidecarService::GetEntity(Context* context, const GetEntityRequest*,
                                                    GetEntityResponse*) {
  return Refuse(context, "GetEntity", kEntities);
}

grpc::ServerUnaryReactor* SidecarService::QueryEntities(Context* context,
                                                        const QueryEntitiesRequest*,
                                                        QueryEntitiesResponse*) {
  return Refuse(context, "QueryEntities", kEntities);
}

grpc::ServerUnaryReactor* SidecarService::CleanEntityStorage(Context* context,
                                                             const CleanEntityStorageRequest*,
                                                             CleanEntityStorageResponse*) {
  return Refuse(context, "CleanEntityStorage", kEntities);
}

}  // namespace dt::rpc
