#include "tests/entity/entity.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/orchestration/timestamps.h"
#include "tests/support/catch.h"

namespace dt::entity {
namespace {

constexpr LeaseToken kToken = 7;

std::string RenderStep(const Batch::Step& step) {
  switch (step.kind) {
    case Batch::Step::Kind::kOperation:
      return "run";
    case Batch::Step::Kind::kUnlock:
      return "unlock";
    case Batch::Step::Kind::kWithdraw:
      return absl::StrCat("withdraw ", step.withdrawal.owner_id, " ",
                          step.withdrawal.critical_section);
    case Batch::Step::Kind::kGranted:
      return absl::StrCat("granted to ", step.lock->owner_id, " ", step.lock->critical_section);
    case Batch::Step::Kind::kDrop:
      break;
  }
  return absl::StrCat("drop, as ", step.reason);
}

}  // namespace

std::string Guid(int number) { return absl::StrFormat("00000000-0000-0000-0000-%012d", number); }

EntityMessage From(const std::string& sender, EntityMessage message, const std::string& execution) {
  message.sender_id = sender;
  message.sender_execution_id = execution;
  return message;
}

EntityMessage InJson(EntityMessage message) {
  message.dialect = orchestration::EntityDialect::kJson;
  return message;
}

EntityMessage Signal(const std::string& operation, const Input& input) {
  EntityMessage message;
  message.request_id = Guid(0);
  message.operation = operation;
  message.input = input;
  return message;
}

EntityMessage Call(int request, const std::string& operation, const Input& input) {
  EntityMessage message = From("order-1", Signal(operation, input));
  message.kind = EntityMessage::Kind::kCall;
  message.request_id = Guid(request);
  return message;
}

EntityMessage LockOf(const std::string& section, std::vector<std::string> entity_ids) {
  EntityMessage message;
  message.kind = EntityMessage::Kind::kLockRequest;
  message.request_id = section;
  message.lock_set = std::move(entity_ids);
  if (message.lock_set.empty()) message.lock_set = {"@counter@a"};
  return From("order-1", std::move(message));
}

EntityMessage UnlockOf(const std::string& section) {
  EntityMessage message;
  message.kind = EntityMessage::Kind::kUnlock;
  message.request_id = section;
  return From("order-1", std::move(message));
}

OperationResult Ok(const Input& result) {
  OperationResult ok;
  ok.mutable_success();
  if (result) ok.mutable_success()->mutable_result()->set_value(*result);
  return ok;
}

OperationResult Fault(const std::string& error_type) {
  OperationResult fault;
  fault.mutable_failure()->mutable_failuredetails()->set_errortype(error_type);
  return fault;
}

EntityBatchResult Results(const Input& state, std::vector<OperationResult> results) {
  EntityBatchResult result;
  if (state) result.mutable_entitystate()->set_value(*state);
  for (OperationResult& one : results) *result.add_results() = std::move(one);
  return result;
}

Entity::Entity() : now_(absl::FromUnixSeconds(1000)) {
  instance.key = 0x2a;
  instance.hub = 3;
  instance.instance_id = "@counter@a";
}

int64_t Entity::Put(NewMessage message, bool front) {
  Message& stored = inbox.emplace_back();
  stored.seq = ++last_seq_;
  stored.generation = message.generation;
  stored.visible_at = front ? absl::InfinitePast() : std::max(message.visible_at, now_);
  stored.event_type = message.event_type;
  stored.event = std::move(message.event);
  return stored.seq;
}

int64_t Entity::Put(const EntityMessage& message, bool front) {
  return Put(orchestration::ToMessage(message, orchestration::ToTimestamp(now_)), front);
}

void Entity::Grant(int64_t request_seq) {
  const auto request = std::find_if(inbox.begin(), inbox.end(), [=](const Message& message) {
    return message.seq == request_seq;
  });
  REQUIRE(request != inbox.end());
  // The request goes from the database, and stays in memory.
  NewMessage granted;
  granted.event_type = HistoryEvent::kEntityLockGranted;
  granted.event = request->event;
  Put(std::move(granted), /*front=*/true);
}

std::vector<Message> Entity::Due() const {
  std::vector<Message> due;
  for (const Message& message : inbox) {
    if (message.visible_at <= now_) due.push_back(message);
  }
  std::stable_sort(due.begin(), due.end(), [](const Message& a, const Message& b) {
    return std::pair(a.visible_at, a.seq) < std::pair(b.visible_at, b.seq);
  });
  return due;
}

std::string Entity::Plan() {
  batch = PlanBatch(state, Due(), ids, batch_limits);
  std::string text;
  size_t operations = 0;
  for (const Batch::Step& step : batch.steps) {
    absl::StrAppend(&text, RenderStep(step));
    if (step.kind == Batch::Step::Kind::kOperation) {
      REQUIRE(operations < batch.operations.size());
      const Operation& operation = batch.operations[operations++];
      CHECK(operation.seq == step.seq);
      CHECK_FALSE(operation.message.input.has_value());
      absl::StrAppend(&text, " ", operation.message.operation);
    }
    text += "\n";
  }
  CHECK(operations == batch.operations.size());
  CHECK(batch.needs_worker() == (operations > 0));
  if (batch.barrier) absl::StrAppend(&text, "barrier ", batch.barrier->message.request_id, "\n");
  CHECK(batch.empty() == text.empty());
  return text;
}

EntityRequest Entity::Request() const {
  const WorkItem item =
      orchestration::ParseFrame(EncodeEntityItem(instance, state, batch, "token-1"));
  CHECK(item.completiontoken() == "token-1");
  REQUIRE(item.has_entityrequestv2());
  return item.entityrequestv2();
}

std::string Entity::Finish(EntityBatchResult result) {
  CHECK_FALSE(IsBatchFailure(batch, result));
  return Commit(FinishBatch(instance, state, batch, std::move(result), kToken, now_, ids, limits));
}

std::string Entity::Fail(const TaskFailureDetails& details) {
  return Commit(FailBatch(instance, state, batch, details, kToken, now_, ids, limits));
}

std::string Entity::Commit(BatchResult result) {
  checkpoint = result.checkpoint;
  warnings = result.warnings;
  CHECK(checkpoint.key == instance.key);
  CHECK(checkpoint.hub == instance.hub);
  CHECK(checkpoint.instance_id == instance.instance_id);
  CHECK(checkpoint.lease_token == kToken);
  CHECK(checkpoint.turn == instance.turn + 1);
  CHECK(result.delta.turn == checkpoint.turn);
  REQUIRE(checkpoint.entity);
  instance.turn = checkpoint.turn;
  for (const int64_t seq : checkpoint.consumed) {
    REQUIRE(std::erase_if(inbox, [seq](const Message& m) { return m.seq == seq; }) == 1);
  }
  CheckpointResult committed;
  if (checkpoint.entity->arrival) committed.arrival = arrival;
  for (const int64_t seq : ApplyDelta(std::move(result.delta), committed, state)) {
    REQUIRE(std::erase_if(inbox, [seq](const Message& m) { return m.seq == seq; }) == 1);
  }
  for (const NewMessage& message : checkpoint.own_messages) Put(message);
  return orchestration::RenderCheckpoint(checkpoint);
}

}  // namespace dt::entity
