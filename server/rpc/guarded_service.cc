#include "server/rpc/guarded_service.h"

#include <optional>
#include <utility>

#include "fmt/format.h"
#include "grpc/grpc_security_constants.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "server/rpc/bearer_token.h"
#include "server/rpc/call_metadata.h"
#include "spdlog/spdlog.h"
#include "storage/steady_clock.h"

namespace dt::rpc {
namespace {

// A streaming call that ends with its refusal. Deletes itself.
class RefusedStream final : public Counted<grpc::ServerWriteReactor<grpc::ByteBuffer>> {
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

// Of these none brings more than a worker's item has already.
bool EndsWork(std::string_view rpc) {
  return rpc == "Hello" || rpc == kWorkItemHistory || rpc.rfind("Complete", 0) == 0 ||
         rpc.rfind("Abandon", 0) == 0;
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

GuardedService::GuardedService(SidecarService* service, const AccessControl* access,
                               metrics::Metrics* metrics)
    : AdmittedService("TaskHubSidecarService", metrics), service_(service), access_(access) {
  service->SetGuard(this);
  AddCallsOfWorkers();
  AddCallsOfClients();
  AddCallsOfAdmins();
}

template <typename Request, typename Response>
void GuardedService::Pass(std::string_view rpc, UnaryHandler<Request, Response> handler) {
  AddUnary<Request, Response>(
      rpc, [this, rpc](const Context& context) { return Check(context, rpc); },
      [service = service_, handler](Context* context, const Request* request, Response* response) {
        return (service->*handler)(context, request, response);
      });
}

void GuardedService::AddCallsOfWorkers() {
  Pass("Hello", &SidecarService::Hello);
  AddStream(
      "GetWorkItems", [this](const Context& context) { return Check(context, "GetWorkItems"); },
      [service = service_](Context* context, const grpc::ByteBuffer* request) {
        return service->GetWorkItems(context, request);
      });
  AddStream(
      "StreamInstanceHistory", [this](const Context& context) { return CheckHistory(context); },
      [this](Context* context, const grpc::ByteBuffer* request) {
        return StreamInstanceHistory(context, request);
      });
  Pass("CompleteOrchestratorTask", &SidecarService::CompleteOrchestratorTask);
  Pass("CompleteActivityTask", &SidecarService::CompleteActivityTask);
  Pass("CompleteEntityTask", &SidecarService::CompleteEntityTask);
  Pass("AbandonTaskOrchestratorWorkItem", &SidecarService::AbandonTaskOrchestratorWorkItem);
  Pass("AbandonTaskActivityWorkItem", &SidecarService::AbandonTaskActivityWorkItem);
  Pass("AbandonTaskEntityWorkItem", &SidecarService::AbandonTaskEntityWorkItem);
}

void GuardedService::AddCallsOfClients() {
  Pass("StartInstance", &SidecarService::StartInstance);
  Pass("GetInstance", &SidecarService::GetInstance);
  Pass("WaitForInstanceStart", &SidecarService::WaitForInstanceStart);
  Pass("WaitForInstanceCompletion", &SidecarService::WaitForInstanceCompletion);
  Pass("RaiseEvent", &SidecarService::RaiseEvent);
  Pass("TerminateInstance", &SidecarService::TerminateInstance);
  Pass("SuspendInstance", &SidecarService::SuspendInstance);
  Pass("ResumeInstance", &SidecarService::ResumeInstance);
  Pass("RestartInstance", &SidecarService::RestartInstance);
  Pass("RewindInstance", &SidecarService::RewindInstance);
  Pass("PurgeInstances", &SidecarService::PurgeInstances);
  Pass("QueryInstances", &SidecarService::QueryInstances);
  Pass("ListInstanceIds", &SidecarService::ListInstanceIds);
  Pass("SignalEntity", &SidecarService::SignalEntity);
  Pass("GetEntity", &SidecarService::GetEntity);
  Pass("QueryEntities", &SidecarService::QueryEntities);
  Pass("CleanEntityStorage", &SidecarService::CleanEntityStorage);
}

void GuardedService::AddCallsOfAdmins() {
  Pass("SkipGracefulOrchestrationTerminations",
       &SidecarService::SkipGracefulOrchestrationTerminations);
  Pass("CreateTaskHub", &SidecarService::CreateTaskHub);
  Pass("DeleteTaskHub", &SidecarService::DeleteTaskHub);
}

// A hub that is made by its first call is made for good, which is the admin's to do.
bool GuardedService::MayCreateHub(const Context& context) const {
  return access_->open() || access_->Check(CallerOf(context), "CreateTaskHub", HubOf(context)).ok();
}

std::string GuardedService::NameOfCaller(const Context& context) const {
  return access_->open() ? std::string() : access_->NameOf(CallerOf(context));
}

std::unique_ptr<Permit> GuardedService::Follow(const Context& context, std::string_view rpc,
                                               std::weak_ptr<RevocableCall> call) const {
  if (access_->open()) return nullptr;
  return access_->Follow(CallerOf(context), rpc, HubOf(context), std::move(call));
}

absl::Status GuardedService::Check(const Context& context, std::string_view rpc) {
  absl::Status status;
  if (!access_->open()) status = access_->Check(CallerOf(context), rpc, HubOf(context));
  if (status.ok() && memory_scarce_.load(std::memory_order_relaxed) && !EndsWork(rpc)) {
    status = absl::ResourceExhaustedError(
        "the daemon has used up its memory (memory.bytes-max); try again later");
  }
  if (!status.ok()) Log(context, status);
  return status;
}

bool GuardedService::MayRead(const Context& context, std::string_view hub) const {
  return access_->open() || access_->Check(CallerOf(context), "GetInstance", hub).ok();
}

absl::Status GuardedService::CheckHistory(const Context& context) {
  if (access_->open() || access_->Check(CallerOf(context), kWorkItemHistory, HubOf(context)).ok()) {
    return absl::OkStatus();  // for now
  }
  return Check(context, "StreamInstanceHistory");
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* GuardedService::StreamInstanceHistory(
    Context* context, const grpc::ByteBuffer* request) {
  const absl::Status status =
      Check(*context, IsForWorkItem(*request) ? kWorkItemHistory : "StreamInstanceHistory");
  if (!status.ok()) return new RefusedStream(status);
  return service_->StreamInstanceHistory(context, request);
}

void GuardedService::Log(const Context& context, const absl::Status& refusal) {
  const std::optional<int64_t> left_out = refusals_.Admit("refused", SteadyNow());
  if (!left_out.has_value()) return;
  spdlog::warn("refused a call from {}: {}{}", ForLog(context.peer()),
               ForLog(std::string_view(refusal.message().data(), refusal.message().size()), 400),
               LeftOutNote(*left_out));
}

}  // namespace dt::rpc
