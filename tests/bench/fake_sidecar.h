// A server in memory with just enough to run dtbench's orchestrations, that can be told to do one
// thing wrong. A part of the tests.
#ifndef DT_TESTS_BENCH_FAKE_SIDECAR_H_
#define DT_TESTS_BENCH_FAKE_SIDECAR_H_

#include <grpcpp/grpcpp.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "google/protobuf/util/time_util.h"
#include "proto/orchestrator_service.grpc.pb.h"
#include "tests/support/catch.h"

namespace dt::bench {

// The hooks may change a message before it is sent; those that do run one at a time.
class FakeSidecar final : public TaskHubSidecarService::Service {
 public:
  std::function<void(WorkItem&)> on_item;
  std::function<void(GetInstanceResponse&)> on_result;
  std::function<void(HistoryChunk&)> on_chunk;
  // What StartInstance answers, once it has done its work.
  std::function<grpc::Status(const CreateInstanceRequest&)> on_start;
  // How often an event reaches the instance.
  std::function<int(const RaiseEventRequest&)> on_raise;
  // How often a signal reaches the entity.
  std::function<int(const EntityOperationSignaledEvent&)> on_signal;
  // Should the item be sent once more?
  std::function<bool(const WorkItem&)> repeats;
  bool ends_stream_after_first_item = false;
  bool streams_history = false;
  bool fires_timers_at_once = false;

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
    if (instances_.count(request->instanceid()) > 0) {
      return grpc::Status(grpc::ALREADY_EXISTS, "orchestration instance already exists");
    }
    Start(request->instanceid(), request->name(), request->input());
    response->set_instanceid(request->instanceid());
    return on_start ? on_start(*request) : grpc::Status::OK;
  }

  grpc::Status RaiseEvent(grpc::ServerContext*, const RaiseEventRequest* request,
                          RaiseEventResponse*) override {
    absl::MutexLock lock(&mutex_);
    HistoryEvent event = NewEvent();
    event.mutable_eventraised()->set_name(request->name());
    *event.mutable_eventraised()->mutable_input() = request->input();
    const int copies = on_raise ? on_raise(*request) : 1;
    for (int i = 0; i < copies; ++i) Send(request->instanceid(), event);
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
        mutex_.AwaitWithTimeout(absl::Condition(&ready), absl::Milliseconds(5));
        if (stopping_ || context->IsCancelled()) return grpc::Status(grpc::UNAVAILABLE, "stopping");
        FireTimers();
        if (queue_.empty()) continue;
        item = std::move(queue_.front());
        queue_.pop_front();
        if (on_item) on_item(item);
      }
      writer->Write(item);
      if (repeats && repeats(item)) writer->Write(item);
      if (ends_stream_after_first_item) return grpc::Status(grpc::UNAVAILABLE, "going away");
    }
  }

  grpc::Status StreamInstanceHistory(grpc::ServerContext*,
                                     const StreamInstanceHistoryRequest* request,
                                     grpc::ServerWriter<HistoryChunk>* writer) override {
    std::vector<HistoryChunk> chunks;
    {
      absl::MutexLock lock(&mutex_);
      const Instance& instance = instances_[request->instanceid()];
      for (size_t i = 0; i < instance.past; ++i) {
        if (i % 2 == 0) chunks.emplace_back();
        *chunks.back().add_events() = instance.history[i];
        if (on_chunk) on_chunk(chunks.back());
      }
    }
    for (const HistoryChunk& chunk : chunks) writer->Write(chunk);
    return grpc::Status::OK;
  }

  grpc::Status CompleteOrchestratorTask(grpc::ServerContext*, const OrchestratorResponse* answer,
                                        CompleteTaskResponse*) override {
    absl::MutexLock lock(&mutex_);
    const std::string& id = answer->instanceid();
    Instance& instance = instances_[id];
    if (instance.ended) return grpc::Status::OK;
    instance.turn_offered = false;
    for (const OrchestratorAction& action : answer->actions()) Apply(id, instance, action);
    if (!instance.ended && !instance.inbox.empty()) OfferTurn(id, instance);
    return grpc::Status::OK;
  }

  grpc::Status CompleteActivityTask(grpc::ServerContext*, const ActivityResponse* answer,
                                    CompleteTaskResponse*) override {
    absl::MutexLock lock(&mutex_);
    Instance& instance = instances_[answer->instanceid()];
    if (!instance.answered.insert(answer->taskid()).second) return grpc::Status::OK;
    HistoryEvent event = NewEvent();
    event.mutable_taskcompleted()->set_taskscheduledid(answer->taskid());
    *event.mutable_taskcompleted()->mutable_result() = answer->result();
    Send(answer->instanceid(), event);
    return grpc::Status::OK;
  }

  grpc::Status CompleteEntityTask(grpc::ServerContext*, const EntityBatchResult* answer,
                                  CompleteTaskResponse*) override {
    absl::MutexLock lock(&mutex_);
    const std::string& id = answer->completiontoken();
    Entity& entity = entities_[id];
    entity.state = answer->entitystate().value();
    for (int i = 0; i < answer->results_size(); ++i) {
      const HistoryEvent operation = std::move(entity.out[i]);
      if (!operation.has_entityoperationcalled()) continue;
      HistoryEvent event = NewEvent();
      EntityOperationCompletedEvent* completed = event.mutable_entityoperationcompleted();
      completed->set_requestid(operation.entityoperationcalled().requestid());
      *completed->mutable_output() = answer->results(i).success().result();
      Send(operation.entityoperationcalled().parentinstanceid().value(), event);
    }
    entity.out.clear();
    if (!entity.inbox.empty()) OfferBatch(id, entity);
    return grpc::Status::OK;
  }

  // Two a page.
  grpc::Status QueryEntities(grpc::ServerContext*, const QueryEntitiesRequest* request,
                             QueryEntitiesResponse* response) override {
    absl::MutexLock lock(&mutex_);
    const std::string& prefix = request->query().instanceidstartswith().value();
    for (auto at = entities_.upper_bound(request->query().continuationtoken().value());
         at != entities_.end(); ++at) {
      if (at->first.compare(0, prefix.size(), prefix) != 0) continue;
      if (response->entities_size() == 2) {
        *response->mutable_continuationtoken()->mutable_value() =
            response->entities(1).instanceid();
        break;
      }
      EntityMetadata* entity = response->add_entities();
      entity->set_instanceid(at->first);
      entity->mutable_serializedstate()->set_value(at->second.state);
    }
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
    std::string name;
    google::protobuf::StringValue input;
    std::string parent;
    int parent_task = 0;
    std::vector<HistoryEvent> history;
    std::vector<HistoryEvent> inbox;
    size_t past = 0;  // events of the history before the turn that is out
    std::set<int> answered;
    bool turn_offered = false;
    bool ended = false;
    CompleteOrchestrationAction completion;
  };

  struct Entity {
    std::string state;
    std::vector<HistoryEvent> inbox;
    std::vector<HistoryEvent> out;  // the batch at the worker
    bool is_locked = false;
  };
  struct LockRequest {
    std::string owner;
    EntityLockRequestedEvent event;
  };

  static HistoryEvent NewEvent(int id = -1) {
    HistoryEvent event;
    event.set_eventid(id);
    *event.mutable_timestamp() =
        google::protobuf::util::TimeUtil::NanosecondsToTimestamp(absl::GetCurrentTimeNanos());
    return event;
  }

  Instance& Start(const std::string& id, const std::string& name,
                  const google::protobuf::StringValue& input)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Instance& instance = instances_[id];
    instance.name = name;
    instance.input = input;
    HistoryEvent event = NewEvent();
    event.mutable_executionstarted()->set_name(name);
    *event.mutable_executionstarted()->mutable_input() = input;
    Send(id, event);
    return instance;
  }

  void Send(const std::string& id, const HistoryEvent& event)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Instance& instance = instances_[id];
    instance.inbox.push_back(event);
    if (!instance.turn_offered && !instance.ended) OfferTurn(id, instance);
  }

  void Apply(const std::string& id, Instance& instance, const OrchestratorAction& action)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    HistoryEvent event = NewEvent(action.id());
    switch (action.orchestratorActionType_case()) {
      case OrchestratorAction::kScheduleTask:
        event.mutable_taskscheduled()->set_name(action.scheduletask().name());
        OfferActivity(id, action);
        break;
      case OrchestratorAction::kCreateSubOrchestration: {
        const CreateSubOrchestrationAction& create = action.createsuborchestration();
        event.mutable_suborchestrationinstancecreated()->set_name(create.name());
        Instance& child = Start(create.instanceid(), create.name(), create.input());
        child.parent = id;
        child.parent_task = action.id();
        break;
      }
      case OrchestratorAction::kCreateTimer: {
        const google::protobuf::Timestamp& due = action.createtimer().fireat();
        *event.mutable_timercreated()->mutable_fireat() = due;
        HistoryEvent fired = NewEvent();
        fired.mutable_timerfired()->set_timerid(action.id());
        *fired.mutable_timerfired()->mutable_fireat() = due;
        timers_.insert(
            {google::protobuf::util::TimeUtil::TimestampToMicroseconds(due), {id, fired}});
        break;
      }
      case OrchestratorAction::kSendEntityMessage:
        return SendToEntity(id, instance, action.sendentitymessage(), event);
      case OrchestratorAction::kCompleteOrchestration:
        return Complete(id, instance, action.completeorchestration());
      default:
        FAIL("action of kind " << action.orchestratorActionType_case());
    }
    instance.history.push_back(event);
  }

  void Complete(const std::string& id, Instance& instance,
                const CompleteOrchestrationAction& completion)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (completion.orchestrationstatus() == ORCHESTRATION_STATUS_CONTINUED_AS_NEW) {
      instance.history.clear();
      Start(id, instance.name, completion.result());
      return;
    }
    instance.ended = true;
    instance.completion = completion;
    if (instance.parent.empty()) return;
    HistoryEvent event = NewEvent();
    SubOrchestrationInstanceCompletedEvent* completed =
        event.mutable_suborchestrationinstancecompleted();
    completed->set_taskscheduledid(instance.parent_task);
    *completed->mutable_result() = completion.result();
    Send(instance.parent, event);
  }

  // The event of the history comes first, since a lock may be granted at once.
  void SendToEntity(const std::string& sender, Instance& instance,
                    const SendEntityMessageAction& message, HistoryEvent& event)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    HistoryEvent operation = NewEvent();
    if (message.has_entityoperationsignaled()) {
      *event.mutable_entityoperationsignaled() = message.entityoperationsignaled();
      instance.history.push_back(event);
      *operation.mutable_entityoperationsignaled() = message.entityoperationsignaled();
      const int copies = on_signal ? on_signal(message.entityoperationsignaled()) : 1;
      const std::string& target = message.entityoperationsignaled().targetinstanceid().value();
      for (int i = 0; i < copies; ++i) SendOperation(target, operation);
    } else if (message.has_entityoperationcalled()) {
      *event.mutable_entityoperationcalled() = message.entityoperationcalled();
      instance.history.push_back(event);
      *operation.mutable_entityoperationcalled() = message.entityoperationcalled();
      operation.mutable_entityoperationcalled()->mutable_parentinstanceid()->set_value(sender);
      SendOperation(message.entityoperationcalled().targetinstanceid().value(), operation);
    } else if (message.has_entitylockrequested()) {
      *event.mutable_entitylockrequested() = message.entitylockrequested();
      instance.history.push_back(event);
      lock_requests_.push_back({sender, message.entitylockrequested()});
      GrantLocks();
    } else if (message.has_entityunlocksent()) {
      *event.mutable_entityunlocksent() = message.entityunlocksent();
      instance.history.push_back(event);
      entities_[message.entityunlocksent().targetinstanceid().value()].is_locked = false;
      GrantLocks();
    }
  }

  void SendOperation(const std::string& id, const HistoryEvent& operation)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Entity& entity = entities_[id];
    entity.inbox.push_back(operation);
    if (entity.out.empty()) OfferBatch(id, entity);
  }

  // The first requests first; one that must wait lets those behind it through, which is enough for
  // those who lock before they call.
  void GrantLocks() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::vector<LockRequest> waiting;
    for (LockRequest& request : lock_requests_) {
      bool is_free = true;
      for (const std::string& id : request.event.lockset()) is_free &= !entities_[id].is_locked;
      if (!is_free) {
        waiting.push_back(std::move(request));
        continue;
      }
      for (const std::string& id : request.event.lockset()) entities_[id].is_locked = true;
      HistoryEvent granted = NewEvent();
      granted.mutable_entitylockgranted()->set_criticalsectionid(request.event.criticalsectionid());
      Send(request.owner, granted);
    }
    lock_requests_ = std::move(waiting);
  }

  void OfferBatch(const std::string& id, Entity& entity) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    WorkItem item;
    item.set_completiontoken(id);
    EntityRequest* batch = item.mutable_entityrequestv2();
    batch->set_instanceid(id);
    if (!entity.state.empty()) batch->mutable_entitystate()->set_value(entity.state);
    entity.out = std::move(entity.inbox);
    entity.inbox.clear();
    for (const HistoryEvent& operation : entity.out) *batch->add_operationrequests() = operation;
    queue_.push_back(std::move(item));
  }

  void OfferActivity(const std::string& id, const OrchestratorAction& action)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    WorkItem item;
    ActivityRequest* activity = item.mutable_activityrequest();
    activity->set_name(action.scheduletask().name());
    activity->set_taskid(action.id());
    *activity->mutable_input() = action.scheduletask().input();
    activity->mutable_orchestrationinstance()->set_instanceid(id);
    queue_.push_back(std::move(item));
  }

  void OfferTurn(const std::string& id, Instance& instance) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    WorkItem item;
    OrchestratorRequest* turn = item.mutable_orchestratorrequest();
    turn->set_instanceid(id);
    instance.past = instance.history.size();
    turn->set_requireshistorystreaming(streams_history && instance.past > 0);
    if (!turn->requireshistorystreaming()) {
      for (const HistoryEvent& event : instance.history) *turn->add_pastevents() = event;
    }
    HistoryEvent started = NewEvent();
    started.mutable_orchestratorstarted();
    instance.inbox.insert(instance.inbox.begin(), std::move(started));
    for (HistoryEvent& event : instance.inbox) {
      *turn->add_newevents() = event;
      instance.history.push_back(std::move(event));
    }
    instance.inbox.clear();
    instance.turn_offered = true;
    queue_.push_back(std::move(item));
  }

  void FireTimers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const int64_t now = absl::ToUnixMicros(absl::Now());
    while (!timers_.empty() && (fires_timers_at_once || timers_.begin()->first < now)) {
      const auto [id, event] = timers_.begin()->second;
      timers_.erase(timers_.begin());
      Send(id, event);
    }
  }

  int port_ = 0;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<WorkItem> queue_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Instance> instances_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Entity> entities_ ABSL_GUARDED_BY(mutex_);
  std::vector<LockRequest> lock_requests_ ABSL_GUARDED_BY(mutex_);
  // By the microsecond at which they are due.
  std::multimap<int64_t, std::pair<std::string, HistoryEvent>> timers_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_FAKE_SIDECAR_H_
