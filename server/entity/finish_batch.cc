// FinishBatch, FailBatch, ApplyDelta: from a worker's result to one checkpoint.

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/entity/batch.h"
#include "server/orchestration/field_checks.h"
#include "server/orchestration/requests.h"
#include "server/orchestration/response_check.h"
#include "server/orchestration/timestamps.h"

namespace dt::entity {
namespace {

using orchestration::CheckPayload;
using orchestration::EntityMessage;
using orchestration::MakeFailure;
using Step = Batch::Step;

bool IsCall(const Operation& operation) {
  return operation.message.kind == EntityMessage::Kind::kCall;
}

// Builds what one batch changes. Used once.
class Finisher {
 public:
  Finisher(const orchestration::InstanceState& instance, const EntityState& entity,
           const Batch& batch, LeaseToken lease_token, absl::Time now, orchestration::IdSource& ids,
           const orchestration::TurnLimits& limits)
      : instance_(instance),
        entity_(entity),
        batch_(batch),
        now_(now),
        event_time_(orchestration::ToTimestamp(now)),
        ids_(ids),
        limits_(limits) {
    Checkpoint& checkpoint = result_.checkpoint;
    checkpoint.key = instance.key;
    checkpoint.hub = instance.hub;
    checkpoint.instance_id = instance.instance_id;
    checkpoint.lease_token = lease_token;
    checkpoint.turn = instance.turn + 1;
    checkpoint.generation = instance.generation;
    checkpoint.entity.emplace();
    result_.delta.turn = checkpoint.turn;
    result_.delta.state = entity.state;
  }

  // The worker's results, actions and state.
  void Apply(EntityBatchResult& result) {
    if (batch_.operations.empty()) return;
    result_.checkpoint.entity->worked = true;
    const absl::Status fits = CheckPayload(
        "the state of the entity", result.entitystate().value().size(), limits_.payload_bytes_max);
    if (!fits.ok()) {
      FailAll(MakeFailure(orchestration::kPayloadTooLarge, std::string(fits.message())));
      return;
    }
    answered_ = std::min(batch_.operations.size(), static_cast<size_t>(result.results_size()));
    for (size_t i = 0; i < answered_; ++i) {
      Answer(batch_.operations[i], *result.mutable_results(static_cast<int>(i)));
    }
    for (OperationAction& action : *result.mutable_actions()) Act(action);
    SetState(std::move(*result.mutable_entitystate()->mutable_value()));
  }

  // All operations have this failure, and the state stays.
  void FailAll(const TaskFailureDetails& details) {
    answered_ = batch_.operations.size();
    for (const Operation& operation : batch_.operations) Fail(operation, details);
  }

  // Consumes the steps before the first operation without a result.
  BatchResult Take() {
    size_t operations = 0;
    size_t done = 0;
    for (; done < batch_.steps.size(); ++done) {
      const Step& step = batch_.steps[done];
      if (step.kind == Step::Kind::kOperation && operations++ == answered_) break;
      Consume(step);
    }
    if (done == batch_.steps.size() && batch_.barrier) Arrive(*batch_.barrier);
    result_.checkpoint.entity->unlock = !lock_ && (entity_.lock || released_);
    result_.delta.lock = std::move(lock_);
    return std::move(result_);
  }

 private:
  // --- Operations

  void Send(AddressedMessage answer) { result_.checkpoint.messages.push_back(std::move(answer)); }

  void Fail(const Operation& operation, const TaskFailureDetails& details) {
    if (!IsCall(operation)) return;
    Send(orchestration::FailedAnswer(operation.message, details, event_time_));
  }

  void Answer(const Operation& operation, OperationResult& result) {
    if (!IsCall(operation)) return;  // signals get no answer (7.9)
    const TaskFailureDetails& details = result.failure().failuredetails();
    const size_t bytes = result.success().result().value().size() + details.ByteSizeLong();
    const absl::Status fits =
        CheckPayload("the result of the operation", bytes, limits_.payload_bytes_max);
    if (!fits.ok()) {
      Fail(operation, MakeFailure(orchestration::kPayloadTooLarge, std::string(fits.message())));
    } else if (result.has_success()) {
      const Payload output =
          orchestration::ToPayload(result.success().has_result(), result.success().result());
      Send(orchestration::CompletedAnswer(operation.message, output, event_time_));
    } else if (result.has_failure() && result.failure().has_failuredetails()) {
      Fail(operation, details);
    } else {
      Fail(operation, MakeFailure("EntityOperationFailed",
                                  "the worker gave neither a result nor failure details"));
    }
  }

  void SetState(std::string state) {
    Change<std::string>& change = result_.checkpoint.entity->state;
    if (state.empty()) {  // 7.11
      if (entity_.state != nullptr) change = Change<std::string>::Clear();
      result_.delta.state = nullptr;
      return;
    }
    if (entity_.state != nullptr && *entity_.state == state) return;
    result_.delta.state = std::make_shared<const std::string>(state);
    change = Change<std::string>::Set(std::move(state));
  }

  // --- Actions

  void Act(OperationAction& action) {
    if (action.has_sendsignal()) {
      Signal(*action.mutable_sendsignal());
    } else if (action.has_startneworchestration()) {
      Start(*action.mutable_startneworchestration());
    } else {
      Warn(absl::StrCat("the action with id ", action.id()),
           absl::InvalidArgumentError("it has no type that this server knows"));
    }
  }

  void Warn(std::string what, const absl::Status& status) {
    result_.warnings.push_back(absl::StrCat(what, " of an entity is left out: ", status.message()));
  }

  absl::Status CheckSignal(const SendSignalAction& action) const {
    absl::Status status =
        orchestration::CheckEventName("name", action.name(), limits_.name_bytes_max);
    if (!status.ok()) return status;
    if (action.has_scheduledtime() && !orchestration::IsValidTimestamp(action.scheduledtime())) {
      return absl::InvalidArgumentError("scheduledTime is not a valid time");
    }
    return CheckPayload("input", action.input().value().size(), limits_.payload_bytes_max);
  }

  void Signal(SendSignalAction& action) {
    auto target = orchestration::NormalizeEntityId("instanceId", action.instanceid());
    const absl::Status status = target.ok() ? CheckSignal(action) : target.status();
    if (!status.ok()) {
      Warn("a signal", status);
      return;
    }
    EntityMessage signal;
    signal.request_id = orchestration::ToGuid(ids_.NewExecutionId());
    signal.operation = std::move(*action.mutable_name());
    if (action.has_input()) signal.input = std::move(*action.mutable_input()->mutable_value());
    if (action.has_scheduledtime()) signal.scheduled_time = action.scheduledtime();
    NewMessage message = orchestration::ToMessage(signal, event_time_);
    if (*target == instance_.instance_id) {
      result_.checkpoint.own_messages.push_back(std::move(message));
    } else {
      Send({*std::move(target), std::move(message)});
    }
  }

  // A start as a client makes it: nobody is told of its end (7.14).
  void Start(StartNewOrchestrationAction& action) {
    CreateInstanceRequest request;
    request.set_allocated_input(action.release_input());
    request.mutable_instanceid()->swap(*action.mutable_instanceid());
    request.mutable_name()->swap(*action.mutable_name());
    if (!action.version().value().empty()) *request.mutable_version() = action.version();
    if (action.has_scheduledtime()) {
      *request.mutable_scheduledstarttimestamp() = action.scheduledtime();
    }
    request.set_allocated_parenttracecontext(action.release_parenttracecontext());
    orchestration::RequestLimits limits;
    limits.instance_id_chars_max = limits_.instance_id_chars_max;
    limits.name_bytes_max = limits_.name_bytes_max;
    limits.version_bytes_max = limits_.version_bytes_max;
    limits.payload_bytes_max = limits_.payload_bytes_max;
    limits.tags_bytes_max = limits_.tags_bytes_max;
    auto plan = orchestration::BuildStart(request, instance_.hub, now_, ids_, limits);
    if (!plan.ok()) {
      Warn("the start of an orchestration", plan.status());
    } else if (!started_ids_.insert(plan->instance.instance_id).second) {
      Warn("the start of an orchestration",
           absl::AlreadyExistsError("the same batch has started one with this id"));
    } else {
      result_.checkpoint.children.push_back({std::move(plan->instance), std::nullopt});
    }
  }

  // --- Steps

  void Consume(const Step& step) {
    result_.checkpoint.consumed.push_back(step.seq);
    result_.delta.gone.insert(result_.delta.gone.end(), step.gone.begin(), step.gone.end());
    switch (step.kind) {
      case Step::Kind::kUnlock:
        lock_.reset();
        released_ = true;
        break;
      case Step::Kind::kGranted:
        lock_ = step.lock;
        break;
      case Step::Kind::kWithdraw:
        result_.checkpoint.entity->withdrawals.push_back(step.withdrawal);
        break;
      case Step::Kind::kOperation:
      case Step::Kind::kDrop:
        break;
    }
  }

  void Arrive(const Operation& request) {
    LockArrival& arrival = result_.checkpoint.entity->arrival.emplace();
    arrival.request_seq = request.seq;
    arrival.grant = orchestration::LockGrantedAnswer(request.message, event_time_);
    result_.delta.arrival = request;
  }

  const orchestration::InstanceState& instance_;
  const EntityState& entity_;
  const Batch& batch_;
  const absl::Time now_;
  const google::protobuf::Timestamp event_time_;
  orchestration::IdSource& ids_;
  const orchestration::TurnLimits& limits_;
  BatchResult result_;
  size_t answered_ = 0;  // operations that have a result
  std::optional<EntityLock> lock_ = entity_.lock;
  bool released_ = false;
  // A second start of one id finds the first one live.
  absl::flat_hash_set<std::string> started_ids_;
};

}  // namespace

bool IsBatchFailure(const Batch& batch, const EntityBatchResult& result) {
  const auto results = static_cast<size_t>(result.results_size());
  return results > batch.operations.size() || (results == 0 && batch.needs_worker());
}

BatchResult FinishBatch(const orchestration::InstanceState& instance, const EntityState& entity,
                        const Batch& batch, EntityBatchResult result, LeaseToken lease_token,
                        absl::Time now, orchestration::IdSource& ids,
                        const orchestration::TurnLimits& limits) {
  Finisher finisher(instance, entity, batch, lease_token, now, ids, limits);
  finisher.Apply(result);
  return finisher.Take();
}

BatchResult FailBatch(const orchestration::InstanceState& instance, const EntityState& entity,
                      const Batch& batch, const TaskFailureDetails& details, LeaseToken lease_token,
                      absl::Time now, orchestration::IdSource& ids,
                      const orchestration::TurnLimits& limits) {
  Finisher finisher(instance, entity, batch, lease_token, now, ids, limits);
  finisher.FailAll(details);
  return finisher.Take();
}

std::vector<int64_t> ApplyDelta(EntityDelta delta, const CheckpointResult& result,
                                EntityState& entity) {
  entity.state = std::move(delta.state);
  entity.lock = std::move(delta.lock);
  std::vector<int64_t> gone = std::move(delta.gone);
  if (std::find(gone.begin(), gone.end(), entity.arrived_seq) != gone.end()) {
    entity.arrived_seq = 0;
  }
  if (!delta.arrival || !result.arrival) return gone;
  const EntityMessage& request = delta.arrival->message;
  EntityLock lock{request.sender_id, request.sender_execution_id, request.request_id};
  switch (*result.arrival) {
    case ArrivalOutcome::kWaits:
      entity.arrived_seq = delta.arrival->seq;
      entity.arrived_request = std::move(lock);
      return gone;
    case ArrivalOutcome::kGranted:
      entity.lock = std::move(lock);
      break;
    case ArrivalOutcome::kGone:
      break;
  }
  gone.push_back(delta.arrival->seq);
  return gone;
}

}  // namespace dt::entity
