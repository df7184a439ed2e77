// A connection to a daemon, as the verbs for people use it: the calls of SDK clients and of
// Management, with the same tokens, TLS and task hub metadata.
//
// Threads: one thread.
#ifndef DT_SERVER_CLI_SESSION_H_
#define DT_SERVER_CLI_SESSION_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "proto/management.grpc.pb.h"
#include "proto/orchestrator_service.grpc.pb.h"

namespace dt::cli {

struct SessionOptions {
  std::string address = "127.0.0.1:4001";
  std::string task_hub;  // empty: the daemon's default one
  std::string token;     // empty: none is sent
  bool tls = false;      // also when one of the files is given
  std::string ca_file;   // PEM, of the authorities that may have signed the server's certificate
  std::string certificate_file;  // PEM, of the client
  std::string key_file;
  absl::Duration timeout = absl::Seconds(30);  // of each call
};

class Session {
 public:
  // kInvalidArgument when a file cannot be read. Connects with the first call.
  static absl::StatusOr<std::unique_ptr<Session>> Open(SessionOptions options);

  TaskHubSidecarService::Stub& sidecar() { return *sidecar_; }
  durabletask::postgres::v1::Management::Stub& management() { return *management_; }
  const SessionOptions& options() const { return options_; }
  // For messages to people: the task hub that is meant.
  std::string HubText() const;
  // The task hub of the calls from now on.
  void SetTaskHub(std::string name) { options_.task_hub = std::move(name); }

  // The context of one call. `timeout` zero: that of the options.
  std::unique_ptr<grpc::ClientContext> NewContext(absl::Duration timeout = absl::ZeroDuration());
  // How a call ended, with what to do about it where that is known.
  absl::Status Explain(const grpc::Status& status) const;

 private:
  Session(SessionOptions options, std::shared_ptr<grpc::Channel> channel);

  SessionOptions options_;
  std::unique_ptr<TaskHubSidecarService::Stub> sidecar_;
  std::unique_ptr<durabletask::postgres::v1::Management::Stub> management_;
};

}  // namespace dt::cli

#endif  // DT_SERVER_CLI_SESSION_H_
