#include "server/rpc/management_service.h"

#include <optional>
#include <string>
#include <utility>

#include "fmt/format.h"
#include "server/orchestration/entity_messages.h"
#include "server/orchestration/field_checks.h"
#include "server/orchestration/timestamps.h"
#include "server/rpc/call_metadata.h"
#include "server/rpc/status.h"

namespace dt::rpc {
namespace {

namespace v1 = durabletask::postgres::v1;

// The limit of the SQL API, whatever this daemon's setting is: a longer id is that of no instance.
constexpr size_t kIdCharactersMax = 2048;

void Fill(const InstanceWait& wait, v1::InstanceWait& message) {
  message.set_kind(wait.kind);
  message.set_state(wait.state);
  if (wait.name.has_value()) message.set_name(*wait.name);
  if (wait.id.has_value()) message.set_id(*wait.id);
  if (wait.since.has_value()) *message.mutable_since() = orchestration::ToTimestamp(*wait.since);
  if (wait.until.has_value()) *message.mutable_until() = orchestration::ToTimestamp(*wait.until);
  if (wait.worker.has_value()) message.set_worker_id(*wait.worker);
  if (wait.host.has_value()) message.set_host(*wait.host);
  if (wait.detail.has_value()) message.set_detail(*wait.detail);
  message.set_sentence(wait.sentence);
}

void Fill(const HubWorker& worker, v1::Worker& message) {
  message.set_worker_id(worker.worker);
  message.set_host(worker.host);
  message.set_version(worker.version);
  *message.mutable_since() = orchestration::ToTimestamp(worker.since);
  if (worker.last_seen.has_value()) {
    *message.mutable_last_seen() = orchestration::ToTimestamp(*worker.last_seen);
  }
  message.set_state(worker.state);
  message.set_work(worker.work);
  message.set_streams(worker.streams);
  message.set_credits(worker.credits);
  message.set_takes_all_names(!worker.lower_names.has_value());
  if (worker.lower_names.has_value()) {
    message.mutable_names()->Assign(worker.lower_names->begin(), worker.lower_names->end());
  }
  message.set_residents(worker.residents);
  message.set_in_flight(worker.in_flight);
  message.set_leases(worker.leases);
  message.set_finished_per_second(worker.finished_per_second);
}

}  // namespace

ManagementService::ManagementService(ManagementReads* reads, SidecarService* service,
                                     GuardedService* guard)
    : AdmittedService("durabletask.postgres.v1.Management"),
      reads_(reads),
      service_(service),
      guard_(guard) {
  Pass("GetInstanceWaits", &ManagementService::GetInstanceWaits);
  Pass("ListWorkers", &ManagementService::ListWorkers);
  Pass("ListTaskHubs", &ManagementService::ListTaskHubs);
}

template <typename Request, typename Response>
void ManagementService::Pass(std::string_view rpc,
                             Unary* (ManagementService::*handler)(Context*, const Request*,
                                                                  Response*)) {
  AddUnary<Request, Response>(
      rpc,
      [this, rpc](const Context& context) {
        absl::Status status = guard_->Check(context, rpc);
        if (status.ok() && reads_ == nullptr) {
          status = absl::UnimplementedError("this server keeps nothing that could be asked for so");
        }
        return status;
      },
      [this, handler](Context* context, const Request* request, Response* response) {
        return (this->*handler)(context, request, response);
      });
}

grpc::ServerUnaryReactor* ManagementService::GetInstanceWaits(
    Context* context, const v1::GetInstanceWaitsRequest* request,
    v1::GetInstanceWaitsResponse* response) {
  Unary* reactor = context->DefaultReactor();
  std::string id = request->instance_id();
  absl::Status checked = orchestration::CheckId("instance_id", id, kIdCharactersMax);
  if (checked.ok() && id.front() == '@') {
    absl::StatusOr<std::string> normalized = orchestration::NormalizeEntityId("instance_id", id);
    checked = normalized.status();
    if (normalized.ok()) id = *std::move(normalized);
  }
  if (!checked.ok()) {
    reactor->Finish(ToGrpc(checked));
    return reactor;
  }
  service_->FindHub(*context, [this, id = std::move(id), response,
                               reactor](absl::StatusOr<HubId> hub) mutable {
    if (!hub.ok()) return reactor->Finish(ToGrpc(hub.status()));
    std::string asked = id;
    reads_->ReadWaits(
        *hub, std::move(asked),
        [id = std::move(id), response, reactor](absl::StatusOr<std::vector<InstanceWait>> waits) {
          if (!waits.ok()) return reactor->Finish(ToGrpc(waits.status()));
          for (const InstanceWait& wait : *waits) Fill(wait, *response->add_waits());
          if (!waits->empty()) return reactor->Finish(grpc::Status::OK);
          reactor->Finish(ToGrpc(absl::NotFoundError(fmt::format("no instance '{}'", id))));
        });
  });
  return reactor;
}

grpc::ServerUnaryReactor* ManagementService::ListWorkers(Context* context,
                                                         const v1::ListWorkersRequest*,
                                                         v1::ListWorkersResponse* response) {
  Unary* reactor = context->DefaultReactor();
  service_->FindHub(*context, [this, response, reactor](absl::StatusOr<HubId> hub) {
    if (!hub.ok()) return reactor->Finish(ToGrpc(hub.status()));
    reads_->ListHubWorkers(*hub,
                           [response, reactor](absl::StatusOr<std::vector<HubWorker>> workers) {
                             if (!workers.ok()) return reactor->Finish(ToGrpc(workers.status()));
                             for (const HubWorker& worker : *workers)
                               Fill(worker, *response->add_workers());
                             reactor->Finish(grpc::Status::OK);
                           });
  });
  return reactor;
}

grpc::ServerUnaryReactor* ManagementService::ListTaskHubs(Context* context,
                                                          const v1::ListTaskHubsRequest*,
                                                          v1::ListTaskHubsResponse* response) {
  Unary* reactor = context->DefaultReactor();
  // gRPC keeps the context until the call is finished.
  reads_->ListHubs(
      kHubsMax, [this, context, response, reactor](absl::StatusOr<std::vector<std::string>> names) {
        if (!names.ok()) return reactor->Finish(ToGrpc(names.status()));
        for (std::string& name : *names) {
          if (guard_->MayRead(*context, name)) response->add_names(std::move(name));
        }
        reactor->Finish(grpc::Status::OK);
      });
  return reactor;
}

}  // namespace dt::rpc
