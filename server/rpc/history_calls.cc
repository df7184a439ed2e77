// StreamInstanceHistory (RULES.md 3.16, 5.32-5.34).
#include <memory>
#include <utility>

#include "grpcpp/impl/codegen/proto_utils.h"
#include "server/orchestration/field_checks.h"
#include "server/rpc/sidecar_service.h"

namespace dt::rpc {
namespace {

absl::Status CheckHistoryRequest(const StreamInstanceHistoryRequest& request,
                                 const orchestration::RequestLimits& limits) {
  const absl::Status checked = orchestration::CheckInstanceId(request.instanceid(), limits);
  if (!checked.ok()) return checked;
  return orchestration::CheckExecutionId("executionId", request.executionid().value());
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* SidecarService::StreamInstanceHistory(
    Context* context, const grpc::ByteBuffer* request) {
  std::shared_ptr<HistoryStream> stream =
      HistoryStream::Create(context, store_, &unread_answers_, options_.history);
  HistoryStream* reactor = stream.get();
  StreamInstanceHistoryRequest message;
  grpc::ByteBuffer bytes(*request);
  const grpc::Status parsed =
      grpc::SerializationTraits<StreamInstanceHistoryRequest>::Deserialize(&bytes, &message);
  if (!parsed.ok()) {
    stream->Refuse(
        absl::InvalidArgumentError("StreamInstanceHistoryRequest: the message cannot be parsed"));
    return reactor;
  }
  stream->Hold(Follow(
      *context, message.forworkitemprocessing() ? kWorkItemHistory : "StreamInstanceHistory"));
  const absl::Status checked = CheckHistoryRequest(message, options_.requests);
  if (!checked.ok()) {
    stream->Refuse(checked);
    return reactor;
  }
  hubs_.Resolve(MetadataValue(*context, "taskhub"), MayCreateHub(*context),
                [this, stream = std::move(stream),
                 message = std::move(message)](absl::StatusOr<HubId> hub) mutable {
                  if (!hub.ok()) return stream->Refuse(hub.status());
                  // A set but empty id means unset (5.2).
                  std::string execution_id = message.executionid().value();
                  if (message.forworkitemprocessing()) {
                    return HistoryStream::SendTurn(std::move(stream), dispatch_, *hub,
                                                   message.instanceid(), std::move(execution_id));
                  }
                  HistoryStream::SendStored(std::move(stream), *hub, message.instanceid(),
                                            std::move(execution_id));
                });
  return reactor;
}

}  // namespace dt::rpc
