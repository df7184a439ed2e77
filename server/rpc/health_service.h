// grpc.health.v1.Health: whether the daemon serves, for load balancers and Kubernetes.
//
// Health checks need no token, so their message is not received: the service that it may name is
// not looked at, since all that this server offers serves or does not serve together. gRPC's own
// health service would hold messages of any size for anybody.
//
// Threads: any. Nothing here blocks.
#ifndef DT_SERVER_RPC_HEALTH_SERVICE_H_
#define DT_SERVER_RPC_HEALTH_SERVICE_H_

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "server/rpc/admission.h"

namespace dt::rpc {

// Must outlive the server that it is registered with.
class HealthService final : public AdmittedService {
 public:
  HealthService();

  // What Check answers, and what those are told that Watch. NOT_SERVING before the first time.
  void SetServing(bool serving);

 private:
  class Watcher;

  absl::Mutex mutex_;  // never held during a call to gRPC
  bool serving_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_set<std::shared_ptr<Watcher>> watchers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_HEALTH_SERVICE_H_
