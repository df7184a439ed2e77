#include "server/rpc/guarded_service.h"

#include <utility>

#include "absl/time/clock.h"
#include "fmt/format.h"
#include "grpc/grpc_security_constants.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "server/rpc/bearer_token.h"
#include "server/rpc/call_metadata.h"
#include "spdlog/spdlog.h"

namespace dt::rpc {
namespace {

constexpr absl::Duration kLogInterval = absl::Seconds(1);
constexpr std::string_view kGetWorkItems = "GetWorkItems";

// A streaming call that ends with its refusal. Deletes itself.
class RefusedStream final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  explicit RefusedStream(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

void AddNames(const grpc::AuthContext& peer, const char* property,
              std::vector<std::string>& names) {
  for (const grpc::string_ref& name : peer.FindPropertyValues(property)) {
    names.emplace_back(name.data(), name.size());
  }
}

// What the call shows of its caller.
Caller CallerOf(const grpc::CallbackServerContext& context) {
  Caller caller;
  if (context.client_metadata().count("authorization") > 0) {
    caller.has_authorization = true;
    const auto token = TokenOfHeader(MetadataValue(context, "authorization"));
    if (token.has_value()) caller.token = DigestOf(*token);
    return caller;
  }
  // Names are there only when the handshake has verified the certificate.
  const std::shared_ptr<const grpc::AuthContext> peer = context.auth_context();
  if (peer == nullptr || !peer->IsPeerAuthenticated()) return caller;
  caller.certificate = true;
  AddNames(*peer, GRPC_X509_SAN_PROPERTY_NAME, caller.certificate_names);
  AddNames(*peer, GRPC_X509_CN_PROPERTY_NAME, caller.certificate_names);
  return caller;
}

// Whether a worker asks for the history of its turn. What cannot be parsed is refused later.
bool IsForWorkItem(const grpc::ByteBuffer& request) {
  StreamInstanceHistoryRequest message;
  grpc::ByteBuffer bytes(request);
  return grpc::SerializationTraits<StreamInstanceHistoryRequest>::Deserialize(&bytes, &message)
             .ok() &&
         message.forworkitemprocessing();
}

}  // namespace

std::string GuardedService::HubOf(const Context& context) const {
  return service_->EffectiveHub(MetadataValue(context, "taskhub"));
}

// A hub that is made by its first call is made for good, which is the admin's to do.
GuardedService::GuardedService(SidecarService* service, const AccessControl* access)
    : service_(service), access_(access) {
  service->SetHubCreators([this](const Context& context) {
    return access_->open() ||
           access_->Check(CallerOf(context), "CreateTaskHub", HubOf(context)).ok();
  });
}

absl::Status GuardedService::Check(const Context& context, std::string_view rpc) {
  if (access_->open()) return absl::OkStatus();
  absl::Status status = access_->Check(CallerOf(context), rpc, HubOf(context));
  if (!status.ok()) Log(context, status);
  return status;
}

grpc::ServerUnaryReactor* GuardedService::Refuse(Context* context, std::string_view rpc) {
  const absl::Status status = Check(*context, rpc);
  if (status.ok()) return nullptr;
  Unary* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* GuardedService::GetWorkItems(
    Context* context, const grpc::ByteBuffer* request) {
  if (access_->open()) return service_->GetWorkItems(context, request);
  int64_t generation = access_->generation();
  const absl::Status status = Check(*context, kGetWorkItems);
  if (!status.ok()) return new RefusedStream(status);
  return service_->StreamWorkItems(context, request,
                                   [access = access_, generation, caller = CallerOf(*context),
                                    hub = HubOf(*context)]() mutable -> absl::Status {
                                     const int64_t current = access->generation();
                                     if (current == generation) return absl::OkStatus();
                                     generation = current;
                                     return access->Check(caller, kGetWorkItems, hub);
                                   });
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* GuardedService::StreamInstanceHistory(
    Context* context, const grpc::ByteBuffer* request) {
  if (!access_->open()) {
    const absl::Status status =
        Check(*context, IsForWorkItem(*request) ? kWorkItemHistory : "StreamInstanceHistory");
    if (!status.ok()) return new RefusedStream(status);
  }
  return service_->StreamInstanceHistory(context, request);
}

void GuardedService::Log(const Context& context, const absl::Status& refusal) {
  int64_t unlogged = 0;
  {
    absl::MutexLock lock(&log_mutex_);
    const absl::Time now = absl::Now();
    if (now < next_log_) {
      ++unlogged_;
      return;
    }
    next_log_ = now + kLogInterval;
    unlogged = std::exchange(unlogged_, 0);
  }
  spdlog::warn("refused a call from {}: {}{}", ForLog(context.peer()),
               ForLog(std::string_view(refusal.message().data(), refusal.message().size()), 400),
               unlogged == 0 ? "" : fmt::format(" (and {} calls before it)", unlogged));
}

}  // namespace dt::rpc
