#include "tests/rpc/rpc_fixture.h"

#include <utility>

#include "absl/time/clock.h"
#include "grpcpp/create_channel.h"
#include "tests/support/catch.h"

namespace dt::testing {

std::unique_ptr<grpc::ClientContext> NewContext(const Metadata& metadata) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
  for (const auto& [key, value] : metadata) context->AddMetadata(key, value);
  return context;
}

TestServer::TestServer(TestServerOptions options) : daemon_(options.dispatch, options.wrap_store) {
  service_ =
      std::make_unique<rpc::SidecarService>(&daemon_.store(), &daemon_.dispatch(), options.service);
  absl::Notification created;
  service_->CreateHub("default", [&](absl::StatusOr<HubId> hub) {
    REQUIRE(hub.ok());
    created.Notify();
  });
  created.WaitForNotification();
  absl::StatusOr<std::unique_ptr<rpc::AccessControl>> access = rpc::AccessControl::Open(
      options.access, /*certificates=*/!options.server.tls.client_ca_file.empty());
  INFO(access.status().ToString());
  REQUIRE(access.ok());
  access_ = *std::move(access);
  guarded_service_ = std::make_unique<rpc::GuardedService>(service_.get(), access_.get());
  options.server.addresses.insert(options.server.addresses.begin(), "127.0.0.1:0");
  management_service_ = std::make_unique<rpc::ManagementService>(
      options.management_reads, service_.get(), guarded_service_.get());
  absl::StatusOr<std::unique_ptr<rpc::Server>> server =
      rpc::Server::Start(options.server, guarded_service_.get(), management_service_.get());
  REQUIRE(server.ok());
  server_ = *std::move(server);
  server_->SetServing(true);
  stub_ = TaskHubSidecarService::NewStub(NewChannel());
}

TestServer::~TestServer() {
  Drain();
  server_->Shutdown(absl::ZeroDuration());
  daemon_.StopStore();
}

std::shared_ptr<grpc::Channel> TestServer::NewChannel(const std::string& user_agent) const {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  // A connection of its own for each channel.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (!user_agent.empty()) arguments.SetUserAgentPrefix(user_agent);
  return grpc::CreateCustomChannel(address(), grpc::InsecureChannelCredentials(), arguments);
}

std::shared_ptr<grpc::Channel> TestServer::NewChannel(
    const std::shared_ptr<grpc::ChannelCredentials>& credentials) const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address(), credentials, arguments);
}

std::string TestServer::Start(const std::string& name, const std::string& instance_id,
                              const Metadata& metadata) {
  CreateInstanceRequest request;
  request.set_name(name);
  request.set_instanceid(instance_id);
  CreateInstanceResponse response;
  const grpc::Status status = stub_->StartInstance(NewContext(metadata).get(), request, &response);
  INFO(status.error_message());
  REQUIRE(status.ok());
  return response.instanceid();
}

GetInstanceResponse TestServer::Get(const std::string& instance_id, bool payloads,
                                    const Metadata& metadata) {
  GetInstanceRequest request;
  request.set_instanceid(instance_id);
  request.set_getinputsandoutputs(payloads);
  GetInstanceResponse response;
  const grpc::Status status = stub_->GetInstance(NewContext(metadata).get(), request, &response);
  INFO(status.error_message());
  REQUIRE(status.ok());
  return response;
}

FakeWorker::FakeWorker(Stub& stub, const GetWorkItemsRequest& request, const Metadata& metadata)
    : stub_(stub), metadata_(metadata) {
  for (const auto& [key, value] : metadata) context_.AddMetadata(key, value);
  reader_ = stub_.GetWorkItems(&context_, request);
  thread_ = std::thread([this] { Run(); });
}

FakeWorker::~FakeWorker() {
  Cancel();
  thread_.join();
}

void FakeWorker::Run() {
  for (WorkItem item; reader_->Read(&item);) {
    absl::MutexLock lock(&mutex_);
    if (item.has_healthping()) {
      ++pings_;
    } else {
      items_.push_back(std::move(item));
    }
  }
  grpc::Status end = reader_->Finish();
  absl::MutexLock lock(&mutex_);
  end_ = std::move(end);
}

std::optional<WorkItem> FakeWorker::Next(absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !items_.empty() || end_.has_value();
  };
  mutex_.AwaitWithTimeout(absl::Condition(&ready), timeout);
  if (items_.empty()) return std::nullopt;
  WorkItem item = std::move(items_.front());
  items_.pop_front();
  return item;
}

bool FakeWorker::WaitForPings(int count, absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  const auto ready = [this, count]()
                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return pings_ >= count; };
  return mutex_.AwaitWithTimeout(absl::Condition(&ready), timeout);
}

std::optional<grpc::Status> FakeWorker::WaitForEnd(absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return end_.has_value(); };
  mutex_.AwaitWithTimeout(absl::Condition(&ready), timeout);
  return end_;
}

grpc::Status FakeWorker::Complete(const WorkItem& item,
                                  const std::vector<OrchestratorAction>& actions) {
  OrchestratorResponse response;
  response.set_instanceid(item.orchestratorrequest().instanceid());
  response.set_completiontoken(item.completiontoken());
  for (const OrchestratorAction& action : actions) *response.add_actions() = action;
  CompleteTaskResponse done;
  return stub_.CompleteOrchestratorTask(NewContext(metadata_).get(), response, &done);
}

grpc::Status FakeWorker::CompleteActivity(const WorkItem& item, const std::string& result) {
  ActivityResponse response;
  response.set_instanceid(item.activityrequest().orchestrationinstance().instanceid());
  response.set_taskid(item.activityrequest().taskid());
  response.set_completiontoken(item.completiontoken());
  response.mutable_result()->set_value(result);
  CompleteTaskResponse done;
  return stub_.CompleteActivityTask(NewContext(metadata_).get(), response, &done);
}

Waiter::Waiter(Stub& stub, const std::string& instance_id, bool for_start, bool payloads,
               const Metadata& metadata)
    : context_(NewContext(metadata)), thread_([this, &stub, instance_id, for_start, payloads] {
        GetInstanceRequest request;
        request.set_instanceid(instance_id);
        request.set_getinputsandoutputs(payloads);
        status_ = for_start ? stub.WaitForInstanceStart(context_.get(), request, &response_)
                            : stub.WaitForInstanceCompletion(context_.get(), request, &response_);
        done_.Notify();
      }) {}

Waiter::~Waiter() {
  context_->TryCancel();
  thread_.join();
}

OrchestratorAction CompleteAction(int id, const std::string& result, OrchestrationStatus status) {
  OrchestratorAction action;
  action.set_id(id);
  action.mutable_completeorchestration()->set_orchestrationstatus(status);
  action.mutable_completeorchestration()->mutable_result()->set_value(result);
  return action;
}

OrchestratorAction FailAction(int id, const std::string& message) {
  OrchestratorAction action;
  action.set_id(id);
  CompleteOrchestrationAction& complete = *action.mutable_completeorchestration();
  complete.set_orchestrationstatus(ORCHESTRATION_STATUS_FAILED);
  complete.mutable_failuredetails()->set_errortype("TestError");
  complete.mutable_failuredetails()->set_errormessage(message);
  return action;
}

OrchestratorAction ScheduleAction(int id, const std::string& name, const std::string& input) {
  OrchestratorAction action;
  action.set_id(id);
  action.mutable_scheduletask()->set_name(name);
  action.mutable_scheduletask()->mutable_input()->set_value(input);
  return action;
}

OrchestratorAction TimerAction(int id, absl::Time fire_at) {
  OrchestratorAction action;
  action.set_id(id);
  const int64_t nanos = absl::ToUnixNanos(fire_at);
  action.mutable_createtimer()->mutable_fireat()->set_seconds(nanos / 1000000000);
  action.mutable_createtimer()->mutable_fireat()->set_nanos(nanos % 1000000000);
  return action;
}

OrchestratorAction ChildAction(int id, const std::string& name, const std::string& instance_id) {
  OrchestratorAction action;
  action.set_id(id);
  action.mutable_createsuborchestration()->set_name(name);
  action.mutable_createsuborchestration()->set_instanceid(instance_id);
  return action;
}

}  // namespace dt::testing
