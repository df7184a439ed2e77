// A daemon in this process, without PostgreSQL: service and gRPC server on a free port of the
// loopback, over a dispatcher and a store in memory; and a worker and client that speak the
// protocol by hand.
#ifndef DT_TESTS_RPC_RPC_FIXTURE_H_
#define DT_TESTS_RPC_RPC_FIXTURE_H_

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "grpcpp/security/credentials.h"
#include "proto/orchestrator_service.grpc.pb.h"
#include "server/rpc/access_control.h"
#include "server/rpc/guarded_service.h"
#include "server/rpc/management_service.h"
#include "server/rpc/server.h"
#include "server/rpc/sidecar_service.h"
#include "tests/support/working_daemon.h"

namespace dt::testing {

using Stub = TaskHubSidecarService::Stub;
using Metadata = std::map<std::string, std::string>;

// Long enough for a loaded machine: reaching it means that something hangs.
inline constexpr absl::Duration kPatience = absl::Seconds(20);

// A call's context with a deadline and this metadata.
std::unique_ptr<grpc::ClientContext> NewContext(const Metadata& metadata = {});

struct TestServerOptions {
  rpc::ServiceOptions service;
  rpc::ServerOptions server;  // addresses: besides the free port
  rpc::AccessOptions access;
  dispatch::DispatchLimits dispatch;
  RunningDaemon::WrapStore wrap_store;
  ManagementReads* management_reads = nullptr;  // must outlive the server
};

class TestServer {
 public:
  explicit TestServer(TestServerOptions options = {});
  ~TestServer();

  Stub& stub() { return *stub_; }
  const std::string& address() const { return server_->addresses().front(); }
  std::shared_ptr<grpc::Channel> NewChannel(const std::string& user_agent = "") const;
  std::shared_ptr<grpc::Channel> NewChannel(
      const std::shared_ptr<grpc::ChannelCredentials>& credentials) const;
  MemoryDatabase& database() { return daemon_.database(); }
  rpc::Server& server() { return *server_; }
  void Drain() { daemon_.dispatch().Drain(absl::Milliseconds(100)); }

  // Starts an orchestration and returns its id; fails the test otherwise.
  std::string Start(const std::string& name, const std::string& instance_id = "",
                    const Metadata& metadata = {});
  GetInstanceResponse Get(const std::string& instance_id, bool payloads = true,
                          const Metadata& metadata = {});

 private:
  RunningDaemon daemon_;
  std::unique_ptr<rpc::SidecarService> service_;
  std::unique_ptr<rpc::AccessControl> access_;
  std::unique_ptr<rpc::GuardedService> guarded_service_;
  std::unique_ptr<rpc::ManagementService> management_service_;
  std::unique_ptr<rpc::Server> server_;
  std::unique_ptr<Stub> stub_;
};

// One GetWorkItems stream and the items that came on it.
class FakeWorker {
 public:
  explicit FakeWorker(Stub& stub, const GetWorkItemsRequest& request = {},
                      const Metadata& metadata = {});
  ~FakeWorker();

  // The next item that is no health ping; nullopt after `timeout` or at the end of the stream.
  std::optional<WorkItem> Next(absl::Duration timeout = kPatience);
  // Waits until so many pings have come.
  bool WaitForPings(int count, absl::Duration timeout = kPatience);
  // Waits for the end of the stream; nullopt when it is still open after `timeout`.
  std::optional<grpc::Status> WaitForEnd(absl::Duration timeout = kPatience);
  void Cancel() { context_.TryCancel(); }

  // Answers an orchestrator item with these actions.
  grpc::Status Complete(const WorkItem& item, const std::vector<OrchestratorAction>& actions);
  grpc::Status CompleteActivity(const WorkItem& item, const std::string& result);

 private:
  void Run();

  Stub& stub_;
  const Metadata metadata_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<WorkItem>> reader_;
  absl::Mutex mutex_;
  std::deque<WorkItem> items_ ABSL_GUARDED_BY(mutex_);
  int pings_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<grpc::Status> end_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

// A WaitForInstance... call on a thread of its own.
class Waiter {
 public:
  Waiter(Stub& stub, const std::string& instance_id, bool for_start, bool payloads = false,
         const Metadata& metadata = {});
  ~Waiter();

  bool DoneWithin(absl::Duration timeout) { return done_.WaitForNotificationWithTimeout(timeout); }
  // Once it is done.
  const grpc::Status& status() const { return status_; }
  const GetInstanceResponse& response() const { return response_; }
  OrchestrationStatus orchestration_status() const {
    return response_.orchestrationstate().orchestrationstatus();
  }

 private:
  std::unique_ptr<grpc::ClientContext> context_;
  GetInstanceResponse response_;
  grpc::Status status_;
  absl::Notification done_;
  std::thread thread_;
};

OrchestratorAction CompleteAction(int id, const std::string& result,
                                  OrchestrationStatus status = ORCHESTRATION_STATUS_COMPLETED);
OrchestratorAction FailAction(int id, const std::string& message);
OrchestratorAction ScheduleAction(int id, const std::string& name, const std::string& input);
OrchestratorAction TimerAction(int id, absl::Time fire_at);
OrchestratorAction ChildAction(int id, const std::string& name, const std::string& instance_id);

}  // namespace dt::testing

#endif  // DT_TESTS_RPC_RPC_FIXTURE_H_
