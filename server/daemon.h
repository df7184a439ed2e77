// The running daemon: everything that `serve` and `dev` wire together, started in this order and
// ended in the reverse one.
//
//   access rules -> admin listener -> backend with its store -> dispatcher -> service -> hubs ->
//   gRPC server -> retention, removal of deleted hubs, guard of the memory, readiness
//
// Threads: one thread starts it, calls Stop, and destroys it.
#ifndef DT_SERVER_DAEMON_H_
#define DT_SERVER_DAEMON_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/admin/listener.h"
#include "server/admin/probes.h"
#include "server/admin/routes.h"
#include "server/backend.h"
#include "server/config.h"
#include "server/hub_cleanup.h"
#include "server/memory_guard.h"
#include "server/readiness.h"
#include "server/retention.h"
#include "server/rpc/access_control.h"
#include "server/rpc/guarded_service.h"
#include "server/rpc/management_service.h"
#include "server/stop_signals.h"
#include "server/work_sampler.h"
#include "storage/store.h"

namespace dt {

// Who may connect and call, with the files that say so read and checked. kInvalidArgument with what
// to do.
absl::StatusOr<std::unique_ptr<rpc::AccessControl>> OpenAccess(const Config& config);

class Daemon {
 public:
  // Returns when it serves, or the reason why it cannot; kCancelled when a stop is asked for
  // meanwhile.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(Config config,
                                                       std::unique_ptr<Backend> backend,
                                                       StopSignals& stop);
  ~Daemon();

  // As listened on; empty without an admin listener.
  std::vector<std::string> admin_addresses() const;
  // What a newcomer wants to know, several lines.
  std::string Banner() const;
  // Drains and ends everything; see deploy/OPERATIONS.md, section 4. Blocks.
  void Stop();

 private:
  Daemon(Config config, std::unique_ptr<Backend> backend)
      : config_(std::move(config)),
        metrics_(static_cast<size_t>(config_.metrics_hubs_max)),
        backend_(std::move(backend)) {}

  absl::Status StartAdmin();
  absl::Status CreateHubs(StopSignals& stop);
  void GuardMemory();
  void StartSampler();
  std::string HowToCall() const;  // a line of the banner

  Config config_;
  metrics::Metrics metrics_;
  const std::unique_ptr<Backend> backend_;
  bool stopped_ = false;

  // In the order of construction.
  std::unique_ptr<rpc::AccessControl> access_;
  admin::Routes routes_;
  admin::Probes probes_{&routes_};
  std::unique_ptr<admin::Listener> admin_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<dispatch::DispatchThread> dispatch_;
  std::unique_ptr<HubCleanup> hub_cleanup_;
  std::unique_ptr<rpc::SidecarService> service_;
  std::unique_ptr<rpc::GuardedService> guarded_service_;
  std::unique_ptr<rpc::ManagementService> management_service_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<Retention> retention_;
  std::unique_ptr<WorkSampler> sampler_;  // null without an admin listener
  std::unique_ptr<MemoryGuard> memory_guard_;
  std::unique_ptr<Readiness> readiness_;
};

}  // namespace dt

#endif  // DT_SERVER_DAEMON_H_
