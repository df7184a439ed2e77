#include "server/daemon.h"

#include <utility>

#include "absl/strings/str_join.h"
#include "absl/synchronization/notification.h"
#include "fmt/format.h"
#include "server/admin/metrics_page.h"
#include "server/version.h"
#include "spdlog/spdlog.h"

namespace dt {
namespace {

// An orchestration in one line, with nothing but the Python SDK.
constexpr char kTryIt[] =
    "python3 -m venv /tmp/dt && /tmp/dt/bin/pip install -q durabletask && "
    "/tmp/dt/bin/python -c \"from durabletask import client as c, worker as w; "
    "f=lambda ctx, name: 'Hello, '+name+'!'; f.__name__='hello'; "
    "s=w.TaskHubGrpcWorker(host_address='{0}'); s.add_orchestrator(f); s.start(); "
    "k=c.TaskHubGrpcClient(host_address='{0}'); i=k.schedule_new_orchestration(f, input='world'); "
    "print(k.wait_for_orchestration_completion(i).serialized_output); s.stop()\"";

// As the settings of the listener, of which TLS and sockets have one set for all.
admin::ListenerOptions AdminOptions(const Config& config) {
  admin::ListenerOptions options = config.admin;
  options.unix_mode = config.server.unix_mode;
  options.tls = config.server.tls;
  return options;
}

// The admin listener by the same rule as gRPC.
absl::Status CheckAdminExposure(const Config& config, bool authenticated) {
  rpc::ServerOptions options = config.server;
  options.addresses = config.admin.addresses;
  options.insecure = config.server.insecure || config.admin.insecure;
  return rpc::CheckExposure(options, authenticated);
}

// Between two looks for deleted hubs that other daemons have left.
constexpr absl::Duration kHubCleanupInterval = absl::Minutes(1);

}  // namespace

absl::StatusOr<std::unique_ptr<rpc::AccessControl>> OpenAccess(const Config& config) {
  const bool certificates = !config.server.tls.client_ca_file.empty();
  absl::StatusOr<std::unique_ptr<rpc::AccessControl>> access =
      rpc::AccessControl::Open(config.access, certificates);
  if (!access.ok()) return access.status();
  const bool authenticated = !(*access)->open();
  absl::Status exposure = rpc::CheckExposure(config.server, authenticated);
  if (exposure.ok()) exposure = CheckAdminExposure(config, authenticated);
  if (!exposure.ok()) return exposure;
  return access;
}

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(Config config,
                                                      std::unique_ptr<Backend> backend,
                                                      StopSignals& stop) {
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(config), std::move(backend)));
  absl::StatusOr<std::unique_ptr<rpc::AccessControl>> access = OpenAccess(daemon->config_);
  if (!access.ok()) return access.status();
  daemon->access_ = *std::move(access);
  // Before PostgreSQL is waited for: it tells that this is so.
  const absl::Status admin = daemon->StartAdmin();
  if (!admin.ok()) return admin;
  absl::StatusOr<std::unique_ptr<Store>> store = daemon->backend_->Open(stop, &daemon->metrics_);
  if (!store.ok()) return store.status();
  daemon->store_ = *std::move(store);
  const Config& settings = daemon->config_;
  daemon->dispatch_ = std::make_unique<dispatch::DispatchThread>(
      daemon->store_.get(), settings.dispatch, &daemon->metrics_);
  daemon->dispatch_->Start();
  daemon->store_->Start(daemon->dispatch_.get());
  BatchPaceOptions cleanup_pace = PaceOf(settings.retention);
  cleanup_pace.interval = kHubCleanupInterval;
  daemon->hub_cleanup_ = std::make_unique<HubCleanup>(daemon->store_.get(), cleanup_pace);
  rpc::ServiceOptions service = settings.service;
  service.hubs.metrics = &daemon->metrics_.hubs;
  service.hubs.on_deleted = [cleanup = daemon->hub_cleanup_.get()] { cleanup->Wake(); };
  daemon->service_ = std::make_unique<rpc::SidecarService>(
      daemon->store_.get(), daemon->dispatch_.get(), std::move(service));
  daemon->guarded_service_ = std::make_unique<rpc::GuardedService>(
      daemon->service_.get(), daemon->access_.get(), &daemon->metrics_);
  daemon->management_service_ = std::make_unique<rpc::ManagementService>(
      daemon->backend_->management_reads(), daemon->service_.get(), daemon->guarded_service_.get());
  const absl::Status status = daemon->CreateHubs(stop);
  if (!status.ok()) return status;
  rpc::ServerOptions front = settings.server;
  // Reflection asks nobody for a token, and receives whatever it is sent.
  front.reflection = front.reflection && daemon->access_->open();
  absl::StatusOr<std::unique_ptr<rpc::Server>> server =
      rpc::Server::Start(front, daemon->guarded_service_.get(), daemon->management_service_.get());
  if (!server.ok()) return server.status();
  daemon->server_ = *std::move(server);
  daemon->retention_ =
      std::make_unique<Retention>(daemon->store_.get(), settings.retention, &daemon->metrics_);
  daemon->retention_->Start();
  daemon->StartSampler();
  daemon->hub_cleanup_->Start();
  daemon->GuardMemory();
  daemon->server_->SetServing(true);
  daemon->readiness_ =
      std::make_unique<Readiness>([store = daemon->store_.get()] { return store->Writable(); },
                                  [raw = daemon.get()](const absl::Status& ready) {
                                    raw->server_->SetServing(ready.ok());
                                    raw->probes_.SetReady(ready);
                                  });
  return daemon;
}

absl::Status Daemon::StartAdmin() {
  const admin::ListenerOptions options = AdminOptions(config_);
  if (options.addresses.empty()) return absl::OkStatus();
  admin::AddMetricsPage(&routes_, &metrics_, {std::string(Version()), std::string(Commit())});
  auto listener = admin::Listener::Start(options, &routes_, access_.get());
  if (listener.ok()) {
    admin_ = *std::move(listener);
  } else if (!config_.admin_optional) {
    return listener.status();
  } else {
    spdlog::warn("there is no admin listener (admin.listen): {}",
                 std::string(listener.status().message()));
  }
  return absl::OkStatus();
}

std::vector<std::string> Daemon::admin_addresses() const {
  return admin_ == nullptr ? std::vector<std::string>() : admin_->addresses();
}

void Daemon::StartSampler() {
  if (admin_ == nullptr) return;
  WorkSamplerOptions options = config_.sampler;
  options.limits.hubs_max = config_.metrics_hubs_max;
  sampler_ = std::make_unique<WorkSampler>(store_.get(), options, &metrics_);
  sampler_->Start();
}

void Daemon::GuardMemory() {
  if (config_.memory_bytes_max == 0) return;
  spdlog::info("memory: {} bytes at most (memory.bytes-max), {} of them for work",
               config_.memory_bytes_max, config_.dispatch.work_bytes_max);
  memory_guard_ = std::make_unique<MemoryGuard>(config_.memory_bytes_max, [this](bool scarce) {
    guarded_service_->SetMemoryScarce(scarce);
    server_->SetMemoryScarce(scarce);
    dispatch_->SetMemoryScarce(scarce);
  });
}

absl::Status Daemon::CreateHubs(StopSignals& stop) {
  for (const std::string& name : config_.hub_names) {
    // PostgreSQL may go away between two statements: a hub is asked for until it is there.
    for (absl::Status status = absl::UnknownError("");;) {
      absl::Notification answered;
      service_->CreateHub(name, [&](absl::StatusOr<HubId> hub) {
        status = hub.status();
        answered.Notify();
      });
      answered.WaitForNotification();
      if (status.ok()) break;
      if (!absl::IsUnavailable(status)) {
        return absl::Status(status.code(), fmt::format("cannot create task hub '{}': {}", name,
                                                       std::string(status.message())));
      }
      if (stop.WaitFor(absl::Seconds(1))) return absl::CancelledError("stopped while starting");
    }
  }
  return absl::OkStatus();
}

std::string Daemon::HowToCall() const {
  if (!config_.access.file.empty()) {
    return fmt::format("access     as {} says: callers need a token or a certificate",
                       config_.access.file);
  }
  if (!access_->open()) return "access     callers need a client certificate";
  if (config_.server.tls.enabled()) return "access     everybody, over TLS";
  return "try it     " + fmt::format(fmt::runtime(kTryIt), server_->addresses().front());
}

std::string Daemon::Banner() const {
  const std::vector<std::string>& addresses = server_->addresses();
  return fmt::format(
      "durabletask-sidecar {}\n"
      "{}"
      "  task hubs  {}{}\n"
      "  listening  {}{}\n"
      "{}"
      "  {}\n",
      Version(), backend_->Describe(), absl::StrJoin(config_.hub_names, ", "),
      config_.service.hubs.create_unknown ? " (others are created on first use)" : "",
      absl::StrJoin(addresses, ", "), config_.server.tls.enabled() ? " (TLS)" : "",
      admin_ == nullptr ? ""
                        : fmt::format("  admin      {} (/metrics, /livez, /readyz)\n",
                                      absl::StrJoin(admin_->addresses(), ", ")),
      HowToCall());
}

void Daemon::Stop() {
  if (std::exchange(stopped_, true)) return;
  readiness_.reset();
  probes_.SetDraining();
  memory_guard_.reset();
  if (server_ != nullptr) server_->SetServing(false);
  if (retention_ != nullptr) retention_->Stop();
  if (sampler_ != nullptr) sampler_->Stop();
  if (hub_cleanup_ != nullptr) hub_cleanup_->Stop();
  if (dispatch_ != nullptr) dispatch_->Drain(config_.drain_timeout);
  if (server_ != nullptr) server_->Shutdown(config_.shutdown_grace);
  if (store_ != nullptr) store_->Stop();
  admin_.reset();  // it told of the drain
  // The store's callbacks are over; now nothing calls the dispatcher any more.
  management_service_.reset();
  guarded_service_.reset();
  service_.reset();
  dispatch_.reset();
  store_.reset();
  backend_->Close();
}

Daemon::~Daemon() { Stop(); }

}  // namespace dt
