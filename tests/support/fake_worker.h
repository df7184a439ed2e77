// Workers without gRPC: a WorkItemSink that keeps what it gets, and small orchestrators written as
// functions from history to actions, as the SDKs replay them.
#ifndef DT_TESTS_SUPPORT_FAKE_WORKER_H_
#define DT_TESTS_SUPPORT_FAKE_WORKER_H_

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proto/orchestrator_service.pb.h"
#include "server/dispatch/dispatch_thread.h"

namespace dt::testing {

// Keeps the work items of one stream until the test takes them. For one thread.
class FakeSink : public dispatch::WorkItemSink {
 public:
  void Write(orchestration::Frame frame) override;
  void Finish(absl::Status status) override;
  int64_t UnreadBytes() const override;

  // Takes the next item that is no ping; nullopt if there is none.
  std::optional<WorkItem> Take();
  size_t waiting() const { return items_.size(); }
  int pings() const { return pings_; }
  // What the stream ended with; OK while it is open.
  const absl::Status& finished() const { return finished_; }
  // Size of the largest frame.
  size_t frame_bytes_max() const { return frame_bytes_max_; }

 private:
  std::deque<WorkItem> items_;
  int pings_ = 0;
  absl::Status finished_;
  size_t frame_bytes_max_ = 0;
};

// What an orchestrator function sees: the whole history of its generation, old and new.
class Replay {
 public:
  explicit Replay(const OrchestratorRequest& request);

  const ExecutionStartedEvent& started() const { return started_; }
  const std::string& input() const { return started_.input().value(); }
  // The result of a task or child, if it has come; failures are their error type after "!".
  std::optional<std::string> Result(int32_t id) const;
  bool Fired(int32_t timer_id) const;
  // Inputs of the events of this name, in order.
  std::vector<std::string> Events(const std::string& name) const;
  // Whether the action of this id was taken in an earlier turn.
  bool Scheduled(int32_t id) const;
  // The answer to a call of an entity, failures as those of Result; whether a lock was granted.
  std::optional<std::string> EntityResult(const std::string& request_id) const;
  bool Granted(const std::string& section) const;
  const std::optional<std::string>& terminated() const { return terminated_; }
  bool suspended() const { return suspended_; }

 private:
  void Add(const HistoryEvent& event);
  void AddEntityAnswer(const HistoryEvent& event);

  ExecutionStartedEvent started_;
  std::map<int32_t, std::string> results_;
  std::map<int32_t, bool> fired_;
  std::map<int32_t, bool> scheduled_;
  std::multimap<std::string, std::string> events_;
  std::map<std::string, std::string> entity_results_;
  std::map<std::string, bool> granted_;
  std::optional<std::string> terminated_;
  bool suspended_ = false;
};

// Collects the actions of one turn. Call Task, Child and Timer for everything the orchestration
// ever did, in order: what the history holds already is not sent again.
class Actions {
 public:
  Actions(const Replay& replay, OrchestratorResponse& response)
      : replay_(replay), response_(response) {}

  // The answer, or nullopt while it is awaited.
  std::optional<std::string> Task(int32_t id, const std::string& name, const std::string& input,
                                  const std::string& version = "");
  std::optional<std::string> Child(int32_t id, const std::string& instance_id,
                                   const std::string& name, const std::string& input);
  bool Timer(int32_t id, absl::Time fire_at);
  void Send(int32_t id, const std::string& instance_id, const std::string& name,
            const std::string& input);
  // An operation of an entity, in the native dialect: the answer, or nullopt while it is awaited.
  std::optional<std::string> Call(int32_t id, const std::string& entity,
                                  const std::string& operation, const std::string& input);
  void Signal(int32_t id, const std::string& entity, const std::string& operation,
              const std::string& input, std::optional<absl::Time> at = std::nullopt);
  // A critical section, which is named by the id of its action; true when it is granted.
  bool Lock(int32_t id, const std::vector<std::string>& entities);
  void Unlock(int32_t id, int32_t lock_id, const std::string& entity);
  void Complete(const std::string& result,
                OrchestrationStatus status = ORCHESTRATION_STATUS_COMPLETED);
  void ContinueAsNew(const std::string& input, const std::string& version = "",
                     const std::vector<std::string>& carried_events = {});

 private:
  OrchestratorAction* Add(int32_t id);
  // A GUID for this action of this execution.
  std::string RequestId(int32_t id) const;

  const Replay& replay_;
  OrchestratorResponse& response_;
};

using Orchestrator = std::function<void(const Replay& replay, Actions& actions)>;
using Activity = std::function<std::string(const ActivityRequest& request)>;

// One operation as the function of an entity sees it, and what it does. What it returns is the
// result.
class Operation {
 public:
  // `state`: "" = none.
  Operation(const EntityRequest& batch, const HistoryEvent& event, std::string& state,
            EntityBatchResult& result);

  const std::string& entity_id() const { return batch_.instanceid(); }
  const std::string& name() const { return name_; }
  const std::string& input() const { return input_; }
  bool is_call() const { return is_call_; }
  std::string& state() { return state_; }
  void Signal(const std::string& entity, const std::string& operation, const std::string& input,
              std::optional<absl::Time> at = std::nullopt);
  void Start(const std::string& instance_id, const std::string& name, const std::string& input);
  // The result is a failure of this type.
  void Fail(std::string error_type) { failure_ = std::move(error_type); }
  const std::string& failure() const { return failure_; }

 private:
  const EntityRequest& batch_;
  std::string& state_;
  EntityBatchResult& result_;
  std::string name_;
  std::string input_;
  bool is_call_ = false;
  std::string failure_;
};
using Entity = std::function<std::string(Operation& operation)>;

// The functions of a worker by name.
struct Functions {
  std::map<std::string, Orchestrator> orchestrators;
  std::map<std::string, Activity> activities;
  std::map<std::string, Entity> entities;  // names in lower case
  // Of so many operations of a batch the worker runs the first ones only, so many; null: all of
  // them. 0: it fails as a whole.
  std::function<int(int count)> operations_run;
};

// Answers for a work item. An orchestrator that was terminated ends so; one that is suspended does
// nothing; a name that is not registered is a bug of the test.
OrchestratorResponse RunTurn(const Functions& functions, const WorkItem& item);
ActivityResponse RunActivity(const Functions& functions, const WorkItem& item);
EntityBatchResult RunBatch(const Functions& functions, const WorkItem& item);

}  // namespace dt::testing

#endif  // DT_TESTS_SUPPORT_FAKE_WORKER_H_
