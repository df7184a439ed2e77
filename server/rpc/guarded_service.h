// What the gRPC server registers: TaskHubSidecarService with a check before each RPC. A call that
// may not be made ends by its headers (admission.h), before its hub is looked up and before its
// message is received, so that a refused caller learns nothing of hubs, changes nothing, and takes
// no memory.
//
// An RPC that is not passed on here is answered UNIMPLEMENTED by gRPC: one that is forgotten is
// closed, not open.
//
// Threads: as SidecarService. Nothing here blocks.
#ifndef DT_SERVER_RPC_GUARDED_SERVICE_H_
#define DT_SERVER_RPC_GUARDED_SERVICE_H_

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "server/rpc/access_control.h"
#include "server/rpc/admission.h"
#include "server/rpc/repeat_limiter.h"
#include "server/rpc/sidecar_service.h"

namespace dt::rpc {

class GuardedService final : public AdmittedService, private CallGuard {
 public:
  // All must outlive the server that this service is registered with. `metrics`: where calls are
  // counted; null: nowhere.
  GuardedService(SidecarService* service, const AccessControl* access,
                 metrics::Metrics* metrics = nullptr);

  // While this is so, calls that bring more to keep are refused, kResourceExhausted. Answers of
  // workers are not: with them work ends.
  void SetMemoryScarce(bool scarce) { memory_scarce_.store(scarce, std::memory_order_relaxed); }

  // Whether the call may be made, in the hub that it names; a refusal is logged. Also for the calls
  // of other services.
  absl::Status Check(const Context& context, std::string_view rpc);
  // Whether its caller may read in this hub.
  bool MayRead(const Context& context, std::string_view hub) const;

 private:
  // CallGuard.
  bool MayCreateHub(const Context& context) const override;
  std::string NameOfCaller(const Context& context) const override;
  std::unique_ptr<Permit> Follow(const Context& context, std::string_view rpc,
                                 std::weak_ptr<RevocableCall> call) const override;

  using RawWriter = SidecarService::RawWriter;
  template <typename Request, typename Response>
  using UnaryHandler = SidecarService::Unary* (SidecarService::*)(Context*, const Request*,
                                                                  Response*);

  void AddCallsOfWorkers();
  void AddCallsOfClients();
  void AddCallsOfAdmins();
  // Passes calls on to this handler of the service. `rpc` is static.
  template <typename Request, typename Response>
  void Pass(std::string_view rpc, UnaryHandler<Request, Response> handler);

  // What is needed depends on the message, which is received when either right is there.
  absl::Status CheckHistory(const Context& context);
  RawWriter* StreamInstanceHistory(Context* context, const grpc::ByteBuffer* request);

  std::string HubOf(const Context& context) const;
  void Log(const Context& context, const absl::Status& refusal);

  SidecarService* const service_;
  const AccessControl* const access_;
  std::atomic<bool> memory_scarce_ = false;
  // A caller that tries again and again shall not fill the log.
  RepeatLimiter refusals_{absl::Seconds(1), /*lines_max=*/1};
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_GUARDED_SERVICE_H_
