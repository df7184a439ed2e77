#include "server/dispatch/commits.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/dispatch/failures.h"
#include "server/dispatch/inline_tasks.h"
#include "server/dispatch/item_log_fields.h"
#include "server/orchestration/ended_row.h"
#include "spdlog/spdlog.h"
#include "storage/log_events.h"

namespace dt::dispatch {
namespace {

// A turn whose every checkpoint the database refuses is not tried again before this.
constexpr absl::Duration kRefusedTurnDelay = absl::Minutes(1);

// The time under which the store keeps a message (records.h).
absl::Time StoredTime(absl::Time visible_at, absl::Time committed_at) {
  if (visible_at <= committed_at) return committed_at;
  const absl::Time floor = absl::FromUnixMicros(absl::ToUnixMicros(visible_at));
  return floor < visible_at ? floor + absl::Microseconds(1) : floor;
}

}  // namespace

// --- To the store

void Commits::Commit(Resident& resident, orchestration::TurnResult result, bool failed_by_server,
                     DoneCallback done) {
  resident.phase = Resident::Phase::kCommitting;
  residency_.table().SetBusy(resident);
  auto context = std::make_unique<CommitContext>();
  context->failed_by_server = failed_by_server;
  context->delta = std::move(result.delta);
  context->done = std::move(done);
  context->results = residency_.results().TakeConsumed(resident, result.checkpoint);
  if (!context->results.empty()) {
    if (Stream* stream = matcher_.table().Find(resident.stream)) stream->result_waits.Succeeded();
  }
  Complete(resident, result.checkpoint, *context);
  ++step_.commits_in_flight;
  step_.Do(dispatch::Commit{std::move(result.checkpoint), std::move(context)});
}

void Commits::CommitBatch(Resident& resident, entity::BatchResult result, bool failed_by_server,
                          DoneCallback done) {
  resident.phase = Resident::Phase::kCommitting;
  residency_.table().SetBusy(resident);
  auto context = std::make_unique<CommitContext>();
  context->failed_by_server = failed_by_server;
  context->entity = std::move(result.delta);
  context->done = std::move(done);
  LeaseProducts(*resident.hub, result.checkpoint, *context);
  ++step_.commits_in_flight;
  step_.Do(dispatch::Commit{std::move(result.checkpoint), std::move(context)});
}

void Commits::Fail(Resident& resident, const TaskFailureDetails& details, DoneCallback done) {
  const LogFields fields = LogFieldsOf(resident);
  if (resident.entity != nullptr) {
    spdlog::warn("entity {}: {} operations fail: {}: {}", resident.instance_id(),
                 resident.entity->batch.operations.size(), details.errortype(),
                 details.errormessage());
    CommitBatch(
        resident,
        entity::FailBatch(resident.state, resident.entity->state, resident.entity->batch, details,
                          resident.lease, step_.now, *step_.ids, step_.limits.turn),
        /*failed_by_server=*/true, std::move(done));
    return;
  }
  spdlog::warn("orchestration {} fails: {}: {}", resident.instance_id(), details.errortype(),
               details.errormessage());
  Commit(resident,
         orchestration::FailInstance(resident.state, resident.turn.plan, details, resident.lease,
                                     step_.now, *step_.ids, step_.limits.turn),
         /*failed_by_server=*/true, std::move(done));
}

void Commits::Complete(const Resident& resident, Checkpoint& checkpoint, CommitContext& context) {
  LeaseProducts(*resident.hub, checkpoint, context);
  ChooseInlineTasks(resident, checkpoint);
  checkpoint.kept_tasks = Outliving(resident, checkpoint);
}

void Commits::LeaseProducts(Hub& hub, Checkpoint& checkpoint, CommitContext& context) {
  const auto lease = [&](WorkType type, const std::string& name, const Payload& version,
                         const SharedBytes& data) -> LeaseToken {
    const std::optional<Reservation> reservation = matcher_.Reserve(hub, type, name, version, data);
    if (!reservation.has_value()) return 0;
    context.reservations.push_back(*reservation);
    if (context.product_token == 0) {
      context.product_token = step_.NewToken();
      claimer_.arrivals().Expect(context.product_token);
    }
    return context.product_token;
  };
  for (NewTask& task : checkpoint.tasks) {
    task.lease_token = lease(WorkType::kActivity, task.name, task.version, task.request);
  }
  for (NewChild& child : checkpoint.children) {
    NewInstance& instance = child.instance;
    if (instance.scheduled_start.has_value()) continue;
    instance.lease_token =
        lease(WorkType::kTurn, instance.name, instance.version, instance.started.event);
  }
}

// --- From the store

void Commits::On(Committed& event) {
  CommitContext& context = *event.context;
  const Checkpoint& checkpoint = event.checkpoint;
  --step_.commits_in_flight;
  for (const Reservation& reservation : context.reservations) matcher_.Unreserve(reservation);
  Resident* resident = residency_.table().Find(checkpoint.key, checkpoint.lease_token);
  if (event.result.ok()) {
    retries_.StoreSucceeded({WorkTypeOf(checkpoint.instance_id), checkpoint.key});
  }
  if (!event.result.ok()) {
    OnFailed(event, resident);
  } else if (event.result->outcome == CheckpointOutcome::kCommitted) {
    OnCommitted(event, resident);
  } else if (event.result->outcome == CheckpointOutcome::kAlready) {
    if (!checkpoint.entity.has_value()) {
      waiters_.Changed(checkpoint.hub, checkpoint.instance_id, context.delta.status);
    }
    activities_.EndStored(context.results);
    OnUnknown(event, resident, absl::ZeroDuration());
    step_.Reply(context.done, absl::OkStatus());
  } else {
    const LogFields fields =
        LogFieldsOf(matcher_.table().FindHub(checkpoint.hub), checkpoint.instance_id);
    matcher_.table().HubOf(checkpoint.hub)->metrics->leases_lost.Add();
    spdlog::warn(
        "{}: instance {}: its lease was lost, the turn is "
        "not applied",
        log_event::kDuplicateExecutionDetected, checkpoint.instance_id);
    // The lease may still be held here: then a message of the turn was not there any more.
    if (resident != nullptr) residency_.Drop(*resident, /*release=*/true);
    residency_.results().StoreApart(context.results);
    step_.Reply(context.done, absl::OkStatus());
  }
  if (context.product_token != 0) claimer_.arrivals().Forget(context.product_token);
}

void Commits::OnCommitted(Committed& event, Resident* resident) {
  CommitContext& context = *event.context;
  const Checkpoint& checkpoint = event.checkpoint;
  step_.Reply(context.done, absl::OkStatus());
  CountCommitted(event);
  if (checkpoint.entity.has_value()) {
    if (resident != nullptr) ApplyToEntity(event, *resident);
  } else {
    waiters_.Changed(checkpoint.hub, checkpoint.instance_id, context.delta.status,
                     RowAtEnd(event, resident));
    if (resident != nullptr && !checkpoint.ends) ApplyToResident(event, *resident);
    activities_.EndStored(context.results);
  }
  HandOnMessages(checkpoint, *event.result);
  HandOnLocks(event);
  HandOnTasks(event.checkpoint, *event.result);
  HandOnChildren(checkpoint, *event.result);
  // The own inbox is complete only now, with the messages that came back from its children.
  resident = residency_.table().Find(checkpoint.key, checkpoint.lease_token);
  if (resident == nullptr) return;
  if (checkpoint.ends || event.result->removed) {
    residency_.Drop(*resident, /*release=*/false);
    return;
  }
  residency_.table().Weigh(*resident);
  resident->phase = Resident::Phase::kIdle;
  residency_.Reconsider(*resident);
}

void Commits::CountCommitted(const Committed& event) {
  const Checkpoint& checkpoint = event.checkpoint;
  metrics::HubMetrics& counted = *matcher_.table().HubOf(checkpoint.hub)->metrics;
  if (checkpoint.history.has_value() && checkpoint.history->events != nullptr) {
    counted.history_bytes.Add(static_cast<int64_t>(checkpoint.history->events->size()));
  }
  for (const ChildResult& child : event.result->children) {
    const bool created =
        child.outcome == CreateOutcome::kCreated || child.outcome == CreateOutcome::kReplaced;
    if (created) counted.instances_started.Add();
  }
  if (checkpoint.ends) {
    counted.instances_finished[metrics::EndOf(event.context->delta.status)].Add();
  }
}

void Commits::ApplyToResident(Committed& event, Resident& resident) {
  const Checkpoint& checkpoint = event.checkpoint;
  const CheckpointResult& result = *event.result;
  ResidentTable& table = residency_.table();
  resident.lost_leases = 0;
  resident.loss_unsaved = false;
  const Payload old_version = resident.state.version;
  orchestration::ApplyCheckpoint(std::move(event.context->delta), resident.state);
  std::vector<int64_t> consumed = checkpoint.consumed;
  for (const UnstoredResult& stored : event.context->results) consumed.push_back(stored.seq);
  table.Consume(resident, std::move(consumed));
  const bool continues = checkpoint.next_generation.has_value();
  const Generation generation = resident.state.generation;
  if (continues) {
    resident.inline_tasks.held.clear();  // they have rows now
    resident.inbox.KeepGeneration(generation);
    if (resident.state.version != old_version) residency_.Reroute(resident);
  }
  for (size_t i = 0; i < result.own_seqs.size(); ++i) {
    const NewMessage& message = checkpoint.own_messages[i];
    if (result.own_seqs[i] == 0) continue;
    const bool front =
        continues && message.generation == generation && message.visible_at == absl::InfinitePast();
    const absl::Time visible_at =
        front ? absl::InfinitePast() : StoredTime(message.visible_at, result.committed_at);
    table.Append(resident, Stored(message, result.own_seqs[i], visible_at));
  }
  for (size_t i = 0; i < result.children.size(); ++i) {
    const ChildResult& child = result.children[i];
    if (child.outcome != CreateOutcome::kExists || child.conflict_seq == 0) continue;
    table.Append(resident,
                 Stored(*checkpoint.children[i].conflict, child.conflict_seq, result.committed_at));
  }
}

void Commits::ApplyToEntity(Committed& event, Resident& resident) {
  resident.lost_leases = 0;
  resident.loss_unsaved = false;
  resident.state.turn = event.checkpoint.turn;
  resident.entity->ended_at = event.result->committed_at;
  std::vector<int64_t> gone =
      entity::ApplyDelta(event.context->entity, *event.result, resident.entity->state);
  gone.insert(gone.end(), event.checkpoint.consumed.begin(), event.checkpoint.consumed.end());
  residency_.table().Consume(resident, std::move(gone));
  if (event.result->arrival == ArrivalOutcome::kGone) {
    // The request was taken back, or granted: an entity that was claimed anew had arrived at it
    // before. What says so stands in front of all and is not here yet.
    resident.inbox.MarkUnread(/*reading=*/false);
  }
  for (size_t i = 0; i < event.result->own_seqs.size(); ++i) {
    const NewMessage& message = event.checkpoint.own_messages[i];
    residency_.table().Append(resident,
                              Stored(message, event.result->own_seqs[i],
                                     StoredTime(message.visible_at, event.result->committed_at)));
  }
}

void Commits::HandOnLocks(const Committed& event) {
  const Checkpoint& checkpoint = event.checkpoint;
  const CheckpointResult& result = *event.result;
  size_t next = 0;
  for (const LockRequest& request : checkpoint.lock_requests) {
    const NewMessage message{kAnyGeneration, absl::InfinitePast(),
                             HistoryEvent::kEntityLockRequested, request.request};
    for (size_t i = 0; i < request.entity_ids.size(); ++i) {
      mail_.Apply(checkpoint.hub, result.lock_requests[next++], message);
    }
  }
  const bool is_entity = checkpoint.entity.has_value();
  if (result.grant.has_value()) {
    mail_.Apply(checkpoint.hub, *result.grant, checkpoint.entity->arrival->grant);
  }
  if (checkpoint.releases_locks || result.arrival == ArrivalOutcome::kGranted ||
      (is_entity && !checkpoint.entity->withdrawals.empty())) {
    // Which other entities it reached is not told: some may be held here.
    mail_.ReadSoon();
    claimer_.WorkFree(checkpoint.hub, WorkType::kEntity);
  }
}

void Commits::HandOnMessages(const Checkpoint& checkpoint, const CheckpointResult& result) {
  const HubId hub = checkpoint.hub;
  for (size_t i = 0; i < result.messages.size(); ++i) {
    mail_.Apply(hub, result.messages[i], checkpoint.messages[i].message);
  }
  if (result.parent.has_value() && checkpoint.parent_message.has_value()) {
    mail_.Apply(hub, *result.parent, *checkpoint.parent_message);
  }
  for (size_t i = 0; i < result.terminations.size(); ++i) {
    const Delivery& delivery = result.terminations[i];
    const Termination& termination = checkpoint.terminations[i];
    mail_.Apply(hub, delivery, termination.message);
    if (delivery.outcome == DeliveryOutcome::kDone) {
      matcher_.CountEnd(hub, RuntimeStatus::kTerminated);
      waiters_.Changed(hub, termination.instance_id, RuntimeStatus::kTerminated);
    }
  }
  if (checkpoint.subtree_termination.has_value()) {
    // Whom it reached is not told: some may be held here.
    mail_.ReadSoon();
    claimer_.WorkFree(hub, WorkType::kTurn);
  }
}

void Commits::HandOnTasks(Checkpoint& checkpoint, const CheckpointResult& result) {
  for (size_t i = 0; i < result.task_keys.size(); ++i) {
    NewTask& created = checkpoint.tasks[i];
    Resident* resident = residency_.table().Find(checkpoint.key, checkpoint.lease_token);
    // An inline task of an instance that was given up behind this checkpoint became free with it.
    if (created.lease_token == 0 || (created.is_inline && resident == nullptr)) {
      claimer_.WorkFree(checkpoint.hub, WorkType::kActivity);
      continue;
    }
    ActivityTask task;
    task.key = created.is_inline ? step_.NewTaskKey() : result.task_keys[i];
    task.instance_key = checkpoint.key;
    task.generation = checkpoint.generation;
    task.hub = checkpoint.hub;
    task.instance_id = checkpoint.instance_id;
    task.task_id = created.task_id;
    task.name = std::move(created.name);
    task.version = std::move(created.version);
    task.lease_token = created.lease_token;
    task.request = std::move(created.request);
    task.execution_id = std::move(created.execution_id);
    if (created.is_inline) {
      resident->inline_tasks.held[task.task_id] = {task.task_id, task.key, task.lease_token};
    }
    activities_.Hold(std::move(task), created.is_inline ? checkpoint.lease_token : 0);
  }
}

void Commits::HandOnChildren(const Checkpoint& checkpoint, const CheckpointResult& result) {
  for (size_t i = 0; i < result.children.size(); ++i) {
    const ChildResult& child = result.children[i];
    const NewInstance& instance = checkpoint.children[i].instance;
    if (child.outcome == CreateOutcome::kExists) {
      if (!checkpoint.entity.has_value()) continue;
      const LogFields fields =
          LogFieldsOf(matcher_.table().FindHub(checkpoint.hub), checkpoint.instance_id);
      spdlog::warn("{}: entity {}: it starts orchestration {}, which is running already",
                   log_event::kDiscardingEvent, checkpoint.instance_id, instance.instance_id);
      continue;
    }
    if (instance.lease_token == 0) {
      claimer_.WorkFree(checkpoint.hub, WorkType::kTurn);
    } else if (child.outcome != CreateOutcome::kAlready) {
      residency_.AdoptNew(instance, child.key, child.started_seq, result.committed_at);
    }
  }
}

KnownRow Commits::RowAtEnd(const Committed& event, const Resident* resident) const {
  const Checkpoint& checkpoint = event.checkpoint;
  if (!checkpoint.ends || resident == nullptr || !resident->created_at.has_value() ||
      !waiters_.Awaited(checkpoint.hub, checkpoint.instance_id)) {
    return nullptr;
  }
  std::optional<InstanceRow> row = orchestration::EndedRow(
      resident->state, event.context->delta, *resident->created_at, event.result->committed_at);
  return row.has_value() ? std::make_shared<const InstanceRow>(*std::move(row)) : nullptr;
}

void Commits::OnFailed(Committed& event, Resident* resident) {
  CommitContext& context = *event.context;
  const absl::Status& status = event.result.status();
  const StoredId item(WorkTypeOf(event.checkpoint.instance_id), event.checkpoint.key);
  UnstoredResults& results = residency_.results();
  const LogFields fields =
      LogFieldsOf(matcher_.table().FindHub(event.checkpoint.hub), event.checkpoint.instance_id);
  if (!absl::IsInvalidArgument(status)) {
    spdlog::warn(
        "{}: instance {}: the turn could not be committed and is "
        "offered again: {}",
        log_event::kProcessingFailure, event.checkpoint.instance_id, status.ToString());
    OnUnknown(event, resident, retries_.StoreFailed(item));
    results.StoreApart(context.results);
    step_.Reply(context.done, absl::UnavailableError(status.message()));
    return;
  }
  if (!context.results.empty()) {
    // Perhaps it is a result that the store refuses. Stored apart, each is judged by itself, and
    // the turn is offered again.
    if (resident != nullptr) residency_.Drop(*resident, true, retries_.StoreFailed(item));
    results.StoreApart(context.results);
  } else if (resident != nullptr && !context.failed_by_server) {
    // The same answer would be refused for ever, so it ends the orchestration (10.1).
    Fail(
        *resident,
        ServerFailure("CheckpointRefused", absl::StrCat("The result of the turn cannot be stored: ",
                                                        std::string(status.message()))),
        std::move(context.done));
    return;
  } else if (resident != nullptr) {
    spdlog::error("{}: instance {}: not even its failure can be stored: {}",
                  log_event::kProcessingFailure, event.checkpoint.instance_id, status.ToString());
    residency_.Drop(*resident, /*release=*/true, kRefusedTurnDelay);
  }
  step_.Reply(context.done, absl::OkStatus());
}

void Commits::OnUnknown(Committed& event, Resident* resident, absl::Duration delay) {
  // If it did commit: the release finds the next turn in the database, the products are found under
  // their token, and residents that were sent something read their inbox.
  if (resident != nullptr) residency_.Drop(*resident, /*release=*/true, delay);
  const Checkpoint& checkpoint = event.checkpoint;
  const LeaseToken token = event.context->product_token;
  if (std::any_of(checkpoint.children.begin(), checkpoint.children.end(),
                  [](const NewChild& child) { return child.instance.lease_token != 0; })) {
    claimer_.Recover(checkpoint.hub, WorkType::kTurn, token);
  }
  // Inline tasks become free when the instance does.
  if (std::any_of(checkpoint.tasks.begin(), checkpoint.tasks.end(),
                  [](const NewTask& task) { return task.lease_token != 0 && !task.is_inline; })) {
    claimer_.Recover(checkpoint.hub, WorkType::kActivity, token);
  }
  for (const AddressedMessage& message : checkpoint.messages) {
    mail_.ReadAgain(checkpoint.hub, message.instance_id);
  }
  for (const Termination& termination : checkpoint.terminations) {
    mail_.ReadAgain(checkpoint.hub, termination.instance_id);
  }
  for (const LockRequest& request : checkpoint.lock_requests) {
    for (const std::string& id : request.entity_ids) mail_.ReadAgain(checkpoint.hub, id);
  }
  const auto& arrival = event.context->entity.arrival;
  if (arrival.has_value()) mail_.ReadAgain(checkpoint.hub, arrival->message.sender_id);
  if (checkpoint.releases_locks || checkpoint.entity.has_value()) mail_.ReadSoon();
  if (checkpoint.parent_message.has_value()) mail_.ReadAgain(checkpoint.parent_key);
  if (checkpoint.subtree_termination.has_value()) mail_.ReadSoon();
}

}  // namespace dt::dispatch
