#include "server/entity/batch.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_format.h"
#include "server/orchestration/frame_writer.h"
#include "server/orchestration/wire.h"

namespace dt::entity {
namespace {

using orchestration::EntityMessage;
using Step = Batch::Step;

// The section id of a release that is about whatever lock its owner holds (7.26).
constexpr char kFixOrphanedLock[] = "fix-orphaned-lock";

// The owner and the critical section of a lock or a lock request.
using Section = std::pair<std::string, std::string>;

Section SectionOf(const EntityMessage& message) { return {message.sender_id, message.request_id}; }

std::optional<EntityMessage> Read(const Message& message) {
  if (message.event == nullptr) return std::nullopt;
  return orchestration::ReadEntityMessage(message.event_type, *message.event);
}

// Walks over the due messages with the lock as it will be when what came before has happened.
class Planner {
 public:
  Planner(const EntityState& entity, absl::Span<const Message> messages,
          orchestration::IdSource& ids, const BatchLimits& limits)
      : messages_(messages), ids_(ids), limits_(limits), lock_(entity.lock) {
    if (entity.arrived_seq == 0) return;
    arrived_seq_ = entity.arrived_seq;
    arrived_ = {entity.arrived_request.owner_id, entity.arrived_request.critical_section};
  }

  Batch Plan() {
    for (size_t i = 0; i < messages_.size() && !stopped_; ++i) Take(messages_[i]);
    return std::move(batch_);
  }

 private:
  void Take(const Message& message) {
    std::optional<EntityMessage> read = Read(message);
    if (!read) {
      Drop(message.seq, "its bytes are no message to an entity");
    } else if (message.event_type == HistoryEvent::kEntityLockGranted) {
      Grant(message.seq, *read);
    } else if (read->kind == EntityMessage::Kind::kUnlock) {
      Unlock(message.seq, *read);
    } else if (read->kind == EntityMessage::Kind::kLockRequest) {
      MeetRequest(message, *std::move(read));
    } else {
      OfferOperation(message, *std::move(read));
    }
  }

  Step& AddStep(Step::Kind kind, int64_t seq) {
    Step& step = batch_.steps.emplace_back();
    step.kind = kind;
    step.seq = seq;
    return step;
  }

  void Drop(int64_t seq, const char* reason) { AddStep(Step::Kind::kDrop, seq).reason = reason; }

  // While locked only the execution that holds the lock is served (7.24); between arrival and grant
  // nobody is, as the lock may be granted at any moment.
  bool IsServed(const EntityMessage& operation) const {
    if (arrived_seq_ != 0) return false;
    if (!lock_) return true;
    return !operation.sender_id.empty() && operation.sender_id == lock_->owner_id &&
           operation.sender_execution_id == lock_->owner_execution_id;
  }

  void OfferOperation(const Message& message, EntityMessage operation) {
    if (!IsServed(operation)) {
      skipped_ = true;
      return;
    }
    std::optional<std::string> request_id;
    if (!orchestration::IsGuid(operation.request_id)) {
      request_id = orchestration::ToGuid(ids_.NewExecutionId());
    }
    SharedBytes event = orchestration::OperationBytes(message.event, request_id);
    const auto bytes = static_cast<int64_t>(event->size());
    const auto count = static_cast<int>(batch_.operations.size());
    if (count >= limits_.operations_max || (count > 0 && bytes_ + bytes > limits_.bytes_max)) {
      stopped_ = true;
      return;
    }
    bytes_ += bytes;
    operation.input.reset();
    AddStep(Step::Kind::kOperation, message.seq);
    batch_.operations.push_back({message.seq, std::move(operation), std::move(event)});
  }

  void MeetRequest(const Message& message, EntityMessage request) {
    if (gone_.contains(message.seq)) return;
    if (lock_ || (arrived_seq_ != 0 && message.seq != arrived_seq_)) {
      skipped_ = true;
      return;
    }
    stopped_ = true;
    if (arrived_seq_ == 0) batch_.barrier = Operation{message.seq, std::move(request), nullptr};
  }

  bool IsHolder(const EntityMessage& unlock) const {
    if (!lock_ || (!lock_->owner_id.empty() && lock_->owner_id != unlock.sender_id)) return false;
    return unlock.request_id == kFixOrphanedLock || unlock.request_id == lock_->critical_section;
  }

  void Unlock(int64_t seq, const EntityMessage& unlock) {
    if (IsHolder(unlock)) {
      AddStep(Step::Kind::kUnlock, seq);
      lock_.reset();
      StopIfSkipped();
    } else if (unlock.request_id == kFixOrphanedLock) {
      Drop(seq, "there is no lock that it could release");
    } else {
      Step& step = AddStep(Step::Kind::kWithdraw, seq);
      step.withdrawal = {unlock.sender_id, unlock.request_id};
      withdrawn_.insert(SectionOf(unlock));
      const bool blocked = arrived_seq_ != 0;
      Forget(SectionOf(unlock), step);
      if (blocked && arrived_seq_ == 0) StopIfSkipped();
    }
  }

  void Grant(int64_t seq, const EntityMessage& request) {
    if (withdrawn_.contains(SectionOf(request))) {
      // The release came when the lock had been granted and the entity did not know of it yet.
      AddStep(Step::Kind::kUnlock, seq);
      return;
    }
    Step& step = AddStep(Step::Kind::kGranted, seq);
    step.lock = EntityLock{request.sender_id, request.sender_execution_id, request.request_id};
    lock_ = step.lock;
    Forget(SectionOf(request), step);
  }

  // The requests of this section are gone from the database.
  void Forget(const Section& section, Step& step) {
    const auto known = Requests().find(section);
    if (known != Requests().end()) step.gone = known->second;
    if (arrived_seq_ != 0 && arrived_ == section) {
      if (std::find(step.gone.begin(), step.gone.end(), arrived_seq_) == step.gone.end()) {
        step.gone.push_back(arrived_seq_);
      }
      arrived_seq_ = 0;
    }
    gone_.insert(step.gone.begin(), step.gone.end());
  }

  // What was passed over comes before what follows: it is for the next batch, which begins with it.
  void StopIfSkipped() { stopped_ = stopped_ || skipped_; }

  // The lock requests among all due messages.
  const absl::flat_hash_map<Section, std::vector<int64_t>>& Requests() {
    if (requests_) return *requests_;
    requests_.emplace();
    for (const Message& message : messages_) {
      if (message.event_type != HistoryEvent::kEntityLockRequested) continue;
      if (const auto read = Read(message)) (*requests_)[SectionOf(*read)].push_back(message.seq);
    }
    return *requests_;
  }

  const absl::Span<const Message> messages_;
  orchestration::IdSource& ids_;
  const BatchLimits& limits_;
  std::optional<EntityLock> lock_;
  int64_t arrived_seq_ = 0;
  Section arrived_;
  absl::flat_hash_set<Section> withdrawn_;
  absl::flat_hash_set<int64_t> gone_;
  std::optional<absl::flat_hash_map<Section, std::vector<int64_t>>> requests_;
  Batch batch_;
  int64_t bytes_ = 0;
  bool skipped_ = false;
  bool stopped_ = false;
};

}  // namespace

EntityState StateFromClaim(Claim& claim) {
  EntityState entity;
  if (!claim.entity) return entity;
  if (claim.entity->state && !claim.entity->state->empty()) {
    entity.state = std::make_shared<const std::string>(*std::move(claim.entity->state));
  }
  entity.lock = std::move(claim.entity->lock);
  return entity;
}

Batch PlanBatch(const EntityState& entity, absl::Span<const Message> messages,
                orchestration::IdSource& ids, const BatchLimits& limits) {
  return Planner(entity, messages, ids, limits).Plan();
}

orchestration::Frame EncodeEntityItem(const orchestration::InstanceState& instance,
                                      const EntityState& entity, const Batch& batch,
                                      std::string_view completion_token) {
  orchestration::FrameWriter request;
  orchestration::AppendBytesField(EntityRequest::kInstanceIdFieldNumber, instance.instance_id,
                                  request.open());
  orchestration::AppendBytesField(EntityRequest::kExecutionIdFieldNumber,
                                  absl::StrFormat("%032x", instance.key), request.open());
  if (entity.state != nullptr) {
    request.AddStringValue(EntityRequest::kEntityStateFieldNumber, entity.state);
  }
  for (const Operation& operation : batch.operations) {
    request.AddEvent(EntityRequest::kOperationRequestsFieldNumber, operation.event);
  }
  return orchestration::WrapRequest(WorkItem::kEntityRequestV2FieldNumber, std::move(request),
                                    completion_token);
}

}  // namespace dt::entity
