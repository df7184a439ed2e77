#include "server/rpc/server.h"

#include <utility>

#include "absl/time/clock.h"
#include "fmt/format.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/resource_quota.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server_builder.h"
#include "server/rpc/listen_address.h"
#include "server/rpc/peer_sockets.h"
#include "server/rpc/poller_hold.h"
#include "spdlog/spdlog.h"

namespace dt::rpc {
namespace {

constexpr int kSynchronousThreadsMax = 4;  // of reflection

int Millis(absl::Duration duration) {
  return static_cast<int>(absl::ToInt64Milliseconds(duration));
}

void SetChannelArguments(const ServerOptions& options, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(options.receive_bytes_max);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, options.metadata_bytes_max);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Millis(options.keepalive_interval));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Millis(options.keepalive_timeout));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             Millis(options.ping_interval_min));
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
                             Millis(options.handshake_timeout));
}

void SetThreads(grpc::ServerBuilder& builder) {
  using Option = grpc::ServerBuilder::SyncServerOption;
  builder.SetSyncServerOption(Option::NUM_CQS, 1);
  builder.SetSyncServerOption(Option::MIN_POLLERS, 1);
  builder.SetSyncServerOption(Option::MAX_POLLERS, 1);
  grpc::ResourceQuota quota("durabletask-sidecar");
  quota.SetMaxThreads(kSynchronousThreadsMax);
  builder.SetResourceQuota(quota);
}

}  // namespace

absl::Status CheckExposure(const ServerOptions& options, bool authenticated) {
  absl::Status tls = CheckTls(options.tls);
  if (!tls.ok()) return tls;
  for (const std::string& address : options.addresses) {
    if (IsLocal(address) || (options.tls.enabled() && authenticated)) continue;
    const char* const lacks = options.tls.enabled() ? "authentication"
                              : authenticated       ? "TLS"
                                                    : "TLS and authentication";
    if (!options.insecure) {
      return absl::InvalidArgumentError(fmt::format(
          "others can reach the listen address {}, which lacks {}: set "
          "listen.tls-certificate-file and access.file, or listen on 127.0.0.1, or give --insecure "
          "if something in front of it takes care",
          address, lacks));
    }
    spdlog::warn("others can reach the listen address {}, which lacks {} (listen.insecure)",
                 address, lacks);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      AdmittedService* service,
                                                      AdmittedService* more) {
  if (options.addresses.empty()) {
    return absl::InvalidArgumentError("no listen address; give host:port or unix:path");
  }
  for (const std::string& address : options.addresses) {
    absl::Status checked = CheckListenAddress(address);
    if (!checked.ok()) return checked;
  }
  absl::Status tls = CheckTls(options.tls);
  if (!tls.ok()) return tls;
  // These two are switches of the process; the builder below obeys them.
  grpc::EnableDefaultHealthCheckService(false);
  if (options.reflection) grpc::reflection::InitProtoReflectionServerBuilderPlugin();

  grpc::ServerBuilder builder;
  SetChannelArguments(options, builder);
  SetThreads(builder);
  std::unique_ptr<Server> server(new Server(options));
  for (AdmittedService* one : {service, more}) {
    if (one == nullptr) continue;
    one->SetServer(&server->budget_, &server->protocol_errors_, &server->calls_);
    builder.RegisterService(one);
  }
  builder.RegisterService(&server->health_);
  builder.RegisterCallbackGenericService(&server->unknown_methods_);
  using Builder = grpc::ServerBuilder::experimental_type;
  const auto add = [&builder](const std::shared_ptr<grpc::ServerCredentials>& credentials) {
    return std::shared_ptr<ConnectionAcceptor::Target>(
        builder.experimental().AddExternalConnectionAcceptor(
            Builder::ExternalConnectionType::FROM_FD, credentials));
  };
  const std::shared_ptr<ConnectionAcceptor::Target> plain = add(grpc::InsecureServerCredentials());
  const std::shared_ptr<ConnectionAcceptor::Target> network =
      options.tls.enabled() ? add(MakeServerCredentials(options.tls)) : plain;
  std::vector<ConnectionAcceptor::Source> sources;
  for (const std::string& address : options.addresses) {
    absl::StatusOr<ListenSockets> sockets =
        ListenSockets::Open(address, {options.unix_mode, options.keepalive_timeout});
    if (!sockets.ok()) return sockets.status();
    server->addresses_.push_back(sockets->address());
    for (const int fd : sockets->fds()) {
      if (const int port = LocalPort(fd); port != 0) server->ports_.insert(port);
      if (std::string path = LocalPath(fd); !path.empty()) server->unix_paths_.insert(path);
    }
    sources.push_back({*std::move(sockets), IsUnixSocket(address) ? plain : network});
  }
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr) {
    return absl::InternalError("gRPC does not start; its reason is in the log");
  }
  server->acceptor_.Start(std::move(sources));
  server->poller_hold_ = PollerHold::Start(*server->server_);
  return server;
}

Server::Server(const ServerOptions& options)
    : budget_(options.received_bytes_max), acceptor_(options.connections) {}

Server::~Server() { Shutdown(absl::ZeroDuration()); }

void Server::SetServing(bool serving) { health_.SetServing(serving); }

void Server::Shutdown(absl::Duration grace) {
  if (server_ == nullptr) return;
  acceptor_.Stop();
  calls_.AwaitEarlier(grace);
  ShutDownConnections(ports_, unix_paths_);
  poller_hold_.reset();
  server_->Shutdown(absl::ToChronoTime(absl::Now()));
  server_.reset();
}

}  // namespace dt::rpc
