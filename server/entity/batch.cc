#include "server/entity/batch.h"

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
    for (const Message& message : messages_) {
      // However much waits behind a lock, it is not even looked at.
      const bool front = message.visible_at == absl::InfinitePast();
      if (stopped_ || ((IsBlocked() || yields_) && !front)) break;
      Take(message);
    }
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

  bool IsBlocked() const { return lock_.has_value() || arrived_seq_ != 0; }

  // While locked only the execution that holds the lock is served (7.24); between arrival and grant
  // nobody is, as the lock may be granted at any moment.
  bool IsServed(const EntityMessage& operation) const {
    if (arrived_seq_ != 0) return false;
    if (!lock_) return true;
    return !operation.sender_id.empty() && operation.sender_id == lock_->owner_id &&
           operation.sender_execution_id == lock_->owner_execution_id;
  }

  void OfferOperation(const Message& message, EntityMessage operation) {
    if (yields_ || !IsServed(operation)) {
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
    batch_.barrier = Operation{message.seq, std::move(request), nullptr};
    stopped_ = true;
  }

  bool IsHolder(const EntityMessage& unlock) const {
    if (!lock_ || (!lock_->owner_id.empty() && lock_->owner_id != unlock.sender_id)) return false;
    return unlock.request_id == kFixOrphanedLock || unlock.request_id == lock_->critical_section;
  }

  void Unlock(int64_t seq, const EntityMessage& unlock) {
    if (IsHolder(unlock)) {
      AddStep(Step::Kind::kUnlock, seq);
      left_.insert({unlock.sender_id, lock_->critical_section});
      lock_.reset();
      YieldToSkipped();
    } else if (unlock.request_id == kFixOrphanedLock) {
      Drop(seq, "there is no lock that it could release");
    } else {
      Step& step = AddStep(Step::Kind::kWithdraw, seq);
      step.withdrawal = {unlock.sender_id, unlock.request_id};
      left_.insert(SectionOf(unlock));
      const bool blocked = arrived_seq_ != 0;
      Forget(SectionOf(unlock), step);
      if (blocked && arrived_seq_ == 0) YieldToSkipped();
    }
  }

  void Grant(int64_t seq, const EntityMessage& request) {
    if (left_.contains(SectionOf(request))) {
      // The release came before the news of the grant.
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
    if (known != Requests().end()) {
      for (const int64_t seq : known->second) Forget(seq, step);
    }
    if (arrived_seq_ != 0 && arrived_ == section) Forget(std::exchange(arrived_seq_, 0), step);
  }

  void Forget(int64_t seq, Step& step) {
    if (gone_.insert(seq).second) step.gone.push_back(seq);
  }

  // Operations that were passed over come before those that follow: they are for the next batch,
  // which begins with them. What is said of locks is read on.
  void YieldToSkipped() { yields_ = yields_ || skipped_; }

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
  absl::flat_hash_set<Section> left_;  // released or taken back by now
  absl::flat_hash_set<int64_t> gone_;
  std::optional<absl::flat_hash_map<Section, std::vector<int64_t>>> requests_;
  Batch batch_;
  int64_t bytes_ = 0;
  bool skipped_ = false;
  bool yields_ = false;
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
