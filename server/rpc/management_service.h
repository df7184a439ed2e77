// The service Management (proto/management.proto): what operators ask beside the sidecar protocol.
// Each call is let in by the same rules as all others, in the hub that it names, before anything
// else is looked at.
//
// Threads: handlers and callbacks run on any thread of gRPC or of the store, and never block.
#ifndef DT_SERVER_RPC_MANAGEMENT_SERVICE_H_
#define DT_SERVER_RPC_MANAGEMENT_SERVICE_H_

#include <string_view>

#include "proto/management.pb.h"
#include "server/rpc/admission.h"
#include "server/rpc/guarded_service.h"
#include "server/rpc/sidecar_service.h"
#include "storage/management_reads.h"

namespace dt::rpc {

class ManagementService final : public AdmittedService {
 public:
  // How many hubs ListTaskHubs looks at.
  static constexpr int kHubsMax = 10000;

  // `reads` null: all calls are answered UNIMPLEMENTED. All must outlive the server that this
  // service is registered with.
  ManagementService(ManagementReads* reads, SidecarService* service, GuardedService* guard);

 private:
  using Unary = grpc::ServerUnaryReactor;

  // Adds the call with its check.
  template <typename Request, typename Response>
  void Pass(std::string_view rpc,
            Unary* (ManagementService::*handler)(Context*, const Request*, Response*));

  Unary* GetInstanceWaits(Context* context,
                          const durabletask::postgres::v1::GetInstanceWaitsRequest* request,
                          durabletask::postgres::v1::GetInstanceWaitsResponse* response);
  Unary* ListWorkers(Context* context, const durabletask::postgres::v1::ListWorkersRequest* request,
                     durabletask::postgres::v1::ListWorkersResponse* response);
  Unary* ListTaskHubs(Context* context,
                      const durabletask::postgres::v1::ListTaskHubsRequest* request,
                      durabletask::postgres::v1::ListTaskHubsResponse* response);

  ManagementReads* const reads_;
  SidecarService* const service_;
  GuardedService* const guard_;
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_MANAGEMENT_SERVICE_H_
