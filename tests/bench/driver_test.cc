// dtbench against a server in memory that can be told to do one thing wrong: a right server gives
// right counts, and nothing wrong goes unseen.
#include "tests/bench/driver.h"

#include <grpcpp/grpcpp.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/catch.h"

namespace dt::bench {
namespace {

// The least that can run dtbench's orchestrations. The hooks may change a message before it is
// sent.
class FakeSidecar final : public TaskHubSidecarService::Service {
 public:
  std::function<void(WorkItem&)> on_item;
  std::function<void(GetInstanceResponse&)> on_result;
  // Offers the first activity of every instance twice.
  bool repeats_activities = false;
  bool ends_stream_after_first_item = false;

  FakeSidecar() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
  }
  ~FakeSidecar() override {
    {
      absl::MutexLock lock(&mutex_);
      stopping_ = true;
    }
    server_->Shutdown();
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  grpc::Status Hello(grpc::ServerContext*, const google::protobuf::Empty*,
                     google::protobuf::Empty*) override {
    return grpc::Status::OK;
  }

  grpc::Status StartInstance(grpc::ServerContext*, const CreateInstanceRequest* request,
                             CreateInstanceResponse* response) override {
    absl::MutexLock lock(&mutex_);
    Instance& instance = instances_[request->instanceid()];
    instance.input = request->input();
    HistoryEvent event;
    event.set_eventid(-1);
    event.mutable_executionstarted()->set_name(request->name());
    *event.mutable_executionstarted()->mutable_input() = request->input();
    instance.inbox.push_back(std::move(event));
    OfferTurn(request->instanceid(), instance);
    response->set_instanceid(request->instanceid());
    return grpc::Status::OK;
  }

  grpc::Status GetWorkItems(grpc::ServerContext* context, const GetWorkItemsRequest*,
                            grpc::ServerWriter<WorkItem>* writer) override {
    WorkItem ping;
    ping.mutable_healthping();
    writer->Write(ping);
    while (true) {
      WorkItem item;
      {
        absl::MutexLock lock(&mutex_);
        const auto ready = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
          return stopping_ || !queue_.empty();
        };
        mutex_.AwaitWithTimeout(absl::Condition(&ready), absl::Milliseconds(20));
        if (stopping_ || context->IsCancelled()) return grpc::Status(grpc::UNAVAILABLE, "stopping");
        if (queue_.empty()) continue;
        item = std::move(queue_.front());
        queue_.pop_front();
      }
      if (on_item) on_item(item);
      writer->Write(item);
      if (ends_stream_after_first_item) return grpc::Status(grpc::UNAVAILABLE, "going away");
    }
  }

  grpc::Status CompleteOrchestratorTask(grpc::ServerContext*, const OrchestratorResponse* answer,
                                        CompleteTaskResponse*) override {
    absl::MutexLock lock(&mutex_);
    Instance& instance = instances_[answer->instanceid()];
    instance.turn_offered = false;
    for (const OrchestratorAction& action : answer->actions()) {
      if (action.has_completeorchestration()) {
        instance.ended = true;
        instance.completion = action.completeorchestration();
        return grpc::Status::OK;
      }
      HistoryEvent event;
      event.set_eventid(action.id());
      event.mutable_taskscheduled()->set_name(action.scheduletask().name());
      instance.history.push_back(std::move(event));
      WorkItem item;
      ActivityRequest* activity = item.mutable_activityrequest();
      activity->set_name(action.scheduletask().name());
      activity->set_taskid(action.id());
      *activity->mutable_input() = action.scheduletask().input();
      activity->mutable_orchestrationinstance()->set_instanceid(answer->instanceid());
      queue_.push_back(item);
      if (repeats_activities && action.id() == 0) queue_.push_back(item);
    }
    if (!instance.inbox.empty()) OfferTurn(answer->instanceid(), instance);
    return grpc::Status::OK;
  }

  grpc::Status CompleteActivityTask(grpc::ServerContext*, const ActivityResponse* answer,
                                    CompleteTaskResponse*) override {
    absl::MutexLock lock(&mutex_);
    Instance& instance = instances_[answer->instanceid()];
    if (!instance.answered.insert(answer->taskid()).second) return grpc::Status::OK;
    HistoryEvent event;
    event.set_eventid(-1);
    event.mutable_taskcompleted()->set_taskscheduledid(answer->taskid());
    *event.mutable_taskcompleted()->mutable_result() = answer->result();
    instance.inbox.push_back(std::move(event));
    if (!instance.turn_offered) OfferTurn(answer->instanceid(), instance);
    return grpc::Status::OK;
  }

  grpc::Status WaitForInstanceCompletion(grpc::ServerContext* context,
                                         const GetInstanceRequest* request,
                                         GetInstanceResponse* response) override {
    absl::MutexLock lock(&mutex_);
    const Instance& instance = instances_[request->instanceid()];
    const auto ready = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return stopping_ || instance.ended;
    };
    while (!mutex_.AwaitWithTimeout(absl::Condition(&ready), absl::Milliseconds(20))) {
      if (context->IsCancelled()) return grpc::Status(grpc::CANCELLED, "cancelled");
    }
    if (!instance.ended) return grpc::Status(grpc::UNAVAILABLE, "stopping");
    response->set_exists(true);
    OrchestrationState* state = response->mutable_orchestrationstate();
    state->set_instanceid(request->instanceid());
    state->set_orchestrationstatus(instance.completion.orchestrationstatus());
    *state->mutable_input() = instance.input;
    *state->mutable_output() = instance.completion.result();
    *state->mutable_failuredetails() = instance.completion.failuredetails();
    if (on_result) on_result(*response);
    return grpc::Status::OK;
  }

 private:
  struct Instance {
    google::protobuf::StringValue input;
    std::vector<HistoryEvent> history;
    std::vector<HistoryEvent> inbox;
    std::set<int> answered;
    bool turn_offered = false;
    bool ended = false;
    CompleteOrchestrationAction completion;
  };

  void OfferTurn(const std::string& id, Instance& instance) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    WorkItem item;
    OrchestratorRequest* turn = item.mutable_orchestratorrequest();
    turn->set_instanceid(id);
    for (const HistoryEvent& event : instance.history) *turn->add_pastevents() = event;
    for (const HistoryEvent& event : instance.inbox) {
      *turn->add_newevents() = event;
      instance.history.push_back(event);
    }
    instance.inbox.clear();
    instance.turn_offered = true;
    queue_.push_back(std::move(item));
  }

  int port_ = 0;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<WorkItem> queue_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Instance> instances_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Server> server_;
};

struct Outcome {
  int64_t completions = 0;
  WorkCounts work;
  std::vector<std::string> errors;
};

Outcome RunAgainst(const FakeSidecar& server, WorkloadKind kind, int64_t count) {
  Options options;
  options.address = server.address();
  options.workload.kind = kind;
  options.in_flight = 4;
  options.workers = 2;
  options.timeout_seconds = 30;
  Driver driver(options);
  REQUIRE(driver.Connect().ok());
  driver.Begin(count);
  driver.WaitEnded();
  driver.Shutdown();
  return {static_cast<int64_t>(driver.completions().size()), driver.work_counts(), driver.errors()};
}

bool HasError(const Outcome& outcome, const std::string& text) {
  for (const std::string& error : outcome.errors) {
    if (error.find(text) != std::string::npos) return true;
  }
  return false;
}

TEST_CASE("a right server gives exact counts, without completion tokens and with pings") {
  for (const WorkloadKind kind : {WorkloadKind::kChain, WorkloadKind::kFanout}) {
    FakeSidecar server;
    const Outcome outcome = RunAgainst(server, kind, 50);
    CHECK(outcome.errors.empty());
    CHECK(outcome.completions == 50);
    CHECK(outcome.work.activities == 250);
    CHECK(outcome.work.pings == 2);
    CHECK(outcome.work.foreign == 0);
  }
}

TEST_CASE("a wrong output is an error") {
  FakeSidecar server;
  server.on_result = [](GetInstanceResponse& response) {
    response.mutable_orchestrationstate()->mutable_output()->mutable_value()->at(5) ^= 1;
  };
  CHECK(HasError(RunAgainst(server, WorkloadKind::kChain, 10), "output is"));
}

TEST_CASE("a changed activity result is an error") {
  FakeSidecar server;
  server.on_item = [](WorkItem& item) {
    if (!item.has_activityrequest() || item.activityrequest().taskid() != 3) return;
    item.mutable_activityrequest()->mutable_input()->mutable_value()->at(20) = '7';
  };
  CHECK(HasError(RunAgainst(server, WorkloadKind::kFanout, 20), "output is"));
}

TEST_CASE("an activity that runs twice is an error") {
  FakeSidecar server;
  server.repeats_activities = true;
  CHECK(HasError(RunAgainst(server, WorkloadKind::kChain, 10), "ran 6 activities and not 5"));
}

TEST_CASE("a failed instance is an error") {
  FakeSidecar server;
  server.on_result = [](GetInstanceResponse& response) {
    response.mutable_orchestrationstate()->set_orchestrationstatus(ORCHESTRATION_STATUS_FAILED);
  };
  CHECK(HasError(RunAgainst(server, WorkloadKind::kChain, 10), "ORCHESTRATION_STATUS_FAILED"));
}

TEST_CASE("a stream that ends is an error at once, and the run still shuts down") {
  FakeSidecar server;
  server.ends_stream_after_first_item = true;
  CHECK(HasError(RunAgainst(server, WorkloadKind::kChain, 10), "going away"));
}

TEST_CASE("a server that is not there is an error that says what to do") {
  std::string address;
  {
    FakeSidecar server;
    address = server.address();
  }
  Options options;
  options.address = address;
  options.connect_seconds = 0.2;
  Driver driver(options);
  const absl::Status status = driver.Connect();
  CHECK(status.code() == absl::StatusCode::kUnavailable);
  CHECK(status.message().find("--address") != std::string::npos);
}

}  // namespace
}  // namespace dt::bench
