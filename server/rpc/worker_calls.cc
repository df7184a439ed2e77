// Hello, GetWorkItems, and the answers of workers (RULES.md, sections 1 and 2).
#include <memory>
#include <utility>

#include "fmt/format.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "server/rpc/raw_request.h"
#include "server/rpc/sidecar_service.h"

namespace dt::rpc {
namespace {

// Answers a unary call with the status of a verb.
DoneCallback FinishWith(UnaryReactor* reactor) {
  return [reactor](absl::Status status) { reactor->Finish(ToGrpc(status)); };
}

constexpr size_t kLoggedBytesMax = 100;

// What a worker uses, for the log. The SDKs of the managed packages name themselves and their
// version; of the others only the gRPC library is known. What follows the first word is of no
// interest.
std::string SdkOf(const grpc::CallbackServerContext& context) {
  std::string_view sdk = MetadataValue(context, "x-user-agent");
  if (sdk.empty()) sdk = MetadataValue(context, "user-agent");
  return ForLog(sdk.substr(0, sdk.find(' ')), kLoggedBytesMax);
}

}  // namespace

SidecarService::Unary* SidecarService::Hello(Context* context, const Empty*, Empty*) {
  Unary* reactor = new SimpleReactor();
  WithHub(context, reactor, [reactor](HubId) { reactor->Finish(grpc::Status::OK); });
  return reactor;
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* SidecarService::GetWorkItems(
    Context* context, const grpc::ByteBuffer* request) {
  const std::string_view hub_name = MetadataValue(*context, "taskhub");
  const std::string_view worker_id = MetadataValue(*context, "workerid");
  GetWorkItemsRequest message;
  grpc::ByteBuffer bytes(*request);
  const grpc::Status parsed =
      grpc::SerializationTraits<GetWorkItemsRequest>::Deserialize(&bytes, &message);
  absl::StatusOr<dispatch::StreamOptions> options =
      parsed.ok()
          ? BuildStreamOptions(message, MetadataValue(*context, "user-agent"), options_.streams)
          : absl::InvalidArgumentError("GetWorkItemsRequest: the message cannot be parsed");
  // Every kind may fill its credits (0 = the default, at most items_max), and a ping.
  const size_t queue_items_max = 3 * static_cast<size_t>(options_.streams.items_max) + 1;
  std::shared_ptr<WorkItemStream> stream = WorkItemStream::Create(
      dispatch_,
      fmt::format("hub '{}', worker '{}', {}", ForLog(hubs_.Effective(hub_name), kLoggedBytesMax),
                  ForLog(worker_id, kLoggedBytesMax), ForLog(context->peer())),
      queue_items_max, &stream_lines_);
  stream->Hold(Follow(*context, "GetWorkItems", stream));
  WorkItemStream* reactor = stream.get();
  if (!options.ok()) {
    stream->Finish(options.status());
    return reactor;
  }
  options->worker_id = ForLog(worker_id, kLoggedBytesMax);
  options->hub_name = hubs_.Effective(hub_name);
  options->peer = ForLog(context->peer());
  options->sdk = SdkOf(*context);
  hubs_.Resolve(
      hub_name, MayCreateHub(*context),
      [this, stream = std::move(stream),
       options = *std::move(options)](absl::StatusOr<HubId> hub) mutable {
        if (!hub.ok()) return stream->Finish(hub.status());
        options.hub = *hub;
        stream->OnHubGone([this, name = options.hub_name, hub = *hub] { hubs_.Forget(name, hub); });
        WorkItemStream::Open(stream, std::move(options));
      });
  return reactor;
}

SidecarService::Unary* SidecarService::CompleteOrchestratorTask(Context* context,
                                                                const grpc::ByteBuffer* request,
                                                                grpc::ByteBuffer* response) {
  Unary* reactor = new SimpleReactor();
  *response = EmptyAnswer();
  WithHub(context, reactor, [this, request, reactor](HubId hub) {
    OrchestratorResponse answer;
    const absl::Status parsed = ParseRaw("CompleteOrchestratorTask", *request, answer);
    if (!parsed.ok()) return reactor->Finish(ToGrpc(parsed));
    dispatch_->CompleteOrchestration(hub, std::move(answer), FinishWith(reactor));
  });
  return reactor;
}

SidecarService::Unary* SidecarService::CompleteActivityTask(Context* context,
                                                            const grpc::ByteBuffer* request,
                                                            grpc::ByteBuffer* response) {
  Unary* reactor = new SimpleReactor();
  *response = EmptyAnswer();
  WithHub(context, reactor, [this, request, reactor](HubId hub) {
    ActivityResponse answer;
    const absl::Status parsed = ParseRaw("CompleteActivityTask", *request, answer);
    if (!parsed.ok()) return reactor->Finish(ToGrpc(parsed));
    dispatch_->CompleteActivity(hub, std::move(answer), FinishWith(reactor));
  });
  return reactor;
}

SidecarService::Unary* SidecarService::AbandonTaskOrchestratorWorkItem(
    Context* context, const AbandonOrchestrationTaskRequest* request,
    AbandonOrchestrationTaskResponse*) {
  Unary* reactor = new SimpleReactor();
  WithHub(context, reactor, [this, request, reactor](HubId hub) {
    dispatch_->AbandonOrchestration(hub, request->completiontoken(), FinishWith(reactor));
  });
  return reactor;
}

SidecarService::Unary* SidecarService::AbandonTaskActivityWorkItem(
    Context* context, const AbandonActivityTaskRequest* request, AbandonActivityTaskResponse*) {
  Unary* reactor = new SimpleReactor();
  WithHub(context, reactor, [this, request, reactor](HubId hub) {
    dispatch_->AbandonActivity(hub, request->completiontoken(), FinishWith(reactor));
  });
  return reactor;
}

SidecarService::Unary* SidecarService::CompleteEntityTask(Context* context,
                                                          const EntityBatchResult* request,
                                                          CompleteTaskResponse*) {
  Unary* reactor = new SimpleReactor();
  WithHub(context, reactor, [this, request, reactor](HubId hub) {
    dispatch_->CompleteEntity(hub, *request, FinishWith(reactor));
  });
  return reactor;
}

SidecarService::Unary* SidecarService::AbandonTaskEntityWorkItem(
    Context* context, const AbandonEntityTaskRequest* request, AbandonEntityTaskResponse*) {
  Unary* reactor = new SimpleReactor();
  WithHub(context, reactor, [this, request, reactor](HubId hub) {
    dispatch_->AbandonEntity(hub, request->completiontoken(), FinishWith(reactor));
  });
  return reactor;
}

}  // namespace dt::rpc
