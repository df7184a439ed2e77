// Checkpoints on their way to the store, and what a committed one hands on in memory: the next
// turn, own activities, children, messages to other residents, the answer to the worker.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/dispatch/dispatcher.h"
#include "server/dispatch/failures.h"
#include "spdlog/spdlog.h"

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

Message Stored(const NewMessage& message, int64_t seq, absl::Time visible_at) {
  Message stored;
  stored.seq = seq;
  stored.generation = message.generation;
  stored.visible_at = visible_at;
  stored.event_type = message.event_type;
  stored.event = message.event;
  return stored;
}

}  // namespace

// --- To the store

void Dispatcher::CommitTurn(Resident& resident, orchestration::TurnResult result,
                            bool failed_by_server, DoneCallback done) {
  resident.phase = Resident::Phase::kCommitting;
  residents_.SetBusy(resident);
  Checkpoint& checkpoint = result.checkpoint;
  auto context = std::make_unique<CommitContext>();
  context->consumed = checkpoint.consumed;
  TakeResults(resident, checkpoint, *context);
  LeaseProducts(*resident.hub, checkpoint, *context);
  ChooseInlineTasks(resident, checkpoint);
  checkpoint.kept_tasks = Outliving(resident, checkpoint);
  context->key = resident.key();
  context->hub = resident.hub->id;
  context->instance_id = resident.state.instance_id;
  context->lease_token = resident.lease;
  context->generation = checkpoint.generation;
  context->ends = checkpoint.ends;
  context->continues = checkpoint.next_generation.has_value();
  context->terminates_subtree = checkpoint.subtree_termination.has_value();
  context->failed_by_server = failed_by_server;
  context->delta = std::move(result.delta);
  context->own_messages = checkpoint.own_messages;
  context->messages = checkpoint.messages;
  context->parent_message = checkpoint.parent_message;
  context->parent_key = checkpoint.parent_key;
  for (const Termination& termination : checkpoint.terminations) {
    context->terminations.push_back({termination.instance_id, termination.message});
  }
  context->tasks = checkpoint.tasks;
  context->done = std::move(done);
  ++commits_in_flight_;
  effects_->push_back(Commit{std::move(checkpoint), std::move(context)});
}

void Dispatcher::FailTurn(Resident& resident, const TaskFailureDetails& details,
                          DoneCallback done) {
  spdlog::warn("orchestration {} fails: {}: {}", resident.state.instance_id, details.errortype(),
               details.errormessage());
  CommitTurn(resident,
             orchestration::FailInstance(resident.state, resident.turn, details, resident.lease,
                                         now_, *ids_, limits_.turn),
             /*failed_by_server=*/true, std::move(done));
}

void Dispatcher::LeaseProducts(Hub& hub, Checkpoint& checkpoint, CommitContext& context) {
  auto lease = [&](WorkType type, const std::string& name, const Payload& version,
                   const SharedBytes& data) -> LeaseToken {
    const std::optional<Reservation> reservation = Reserve(hub, type, name, version, data);
    if (!reservation.has_value()) return 0;
    context.reservations.push_back(*reservation);
    if (context.product_token == 0) {
      context.product_token = NewToken();
      tokens_in_flight_.insert(context.product_token);
    }
    return context.product_token;
  };
  for (NewTask& task : checkpoint.tasks) {
    task.lease_token = lease(WorkType::kActivity, task.name, task.version, task.request);
  }
  for (NewChild& child : checkpoint.children) {
    NewInstance& instance = child.instance;
    if (!instance.scheduled_start.has_value()) {
      instance.lease_token =
          lease(WorkType::kTurn, instance.name, instance.version, instance.started.event);
    }
    InstanceSeed seed;
    seed.instance_id = instance.instance_id;
    seed.lease_token = instance.lease_token;
    if (instance.lease_token != 0) {
      seed.execution_id = instance.execution_id;
      seed.name = instance.name;
      seed.version = instance.version;
      seed.parent = instance.parent;
      seed.started = instance.started;
    }
    context.children.push_back(std::move(seed));
    context.conflicts.push_back(child.conflict);
  }
}

// --- From the store

void Dispatcher::On(Committed& event) {
  CommitContext& context = *event.context;
  --commits_in_flight_;
  for (const Reservation& reservation : context.reservations) Unreserve(reservation);
  Resident* resident = residents_.Find(context.key, context.lease_token);
  if (event.result.ok()) store_failures_.Succeeded({WorkType::kTurn, context.key});
  if (!event.result.ok()) {
    OnCommitFailed(context, event.result.status(), resident);
  } else if (event.result->outcome == CheckpointOutcome::kCommitted) {
    OnCommitted(context, *event.result, resident);
  } else if (event.result->outcome == CheckpointOutcome::kAlready) {
    waiters_.Changed(context.hub, context.instance_id, context.delta.status, *effects_);
    EndResults(context.results);
    OnCommitUnknown(context, resident, absl::ZeroDuration());
    Reply(context.done, absl::OkStatus());
  } else {
    spdlog::warn(
        "DuplicateExecutionDetected (307): instance {}: its lease was lost, the turn is "
        "not applied",
        context.instance_id);
    // The lease may still be held here: then a message of the turn was not there any more.
    if (resident != nullptr) Drop(*resident, /*release=*/true);
    StoreApart(context.results);
    Reply(context.done, absl::OkStatus());
  }
  if (context.product_token != 0) ForgetToken(context.product_token);
}

void Dispatcher::On(TurnRewound& event) {
  --commits_in_flight_;
  Resident* resident = residents_.Find(event.key, event.lease_token);
  if (event.status.ok()) {
    waiters_.Changed(event.hub, event.instance_id, RuntimeStatus::kRunning, *effects_);
    // It was released on its new history, which is read by a claim.
    if (resident != nullptr) Drop(*resident, /*release=*/false);
    WorkFree(*table_.HubOf(event.hub), WorkType::kTurn, steady_);
    Reply(event.done, absl::OkStatus());
    return;
  }
  if (absl::IsAborted(event.status)) {
    spdlog::warn(
        "DuplicateExecutionDetected (307): instance {}: its lease was lost, the rewind is not "
        "applied",
        event.instance_id);
    if (resident != nullptr) Drop(*resident, /*release=*/true);
    Reply(event.done, absl::OkStatus());
    return;
  }
  spdlog::warn(
      "ProcessingFailure (303): instance {}: it could not be rewound and the turn is offered "
      "again: {}",
      event.instance_id, event.status.ToString());
  if (resident != nullptr) {
    // Counted as a lost dispatch: a rewind that can never be written must not go round for ever.
    resident->loss_unsaved = true;
    Drop(*resident, /*release=*/true, RedeliveryDelay(++resident->lost_leases));
  }
  Reply(event.done, absl::UnavailableError(event.status.message()));
}

void Dispatcher::OnCommitted(CommitContext& context, CheckpointResult& result, Resident* resident) {
  Reply(context.done, absl::OkStatus());
  EndResults(context.results);
  waiters_.Changed(context.hub, context.instance_id, context.delta.status, *effects_,
                   RowAtEnd(context, result.committed_at, resident));
  if (resident != nullptr) ApplyToResident(context, result, *resident);
  HandOn(context, result);
  // The own inbox is complete only now, with the messages that came back from its children.
  resident = residents_.Find(context.key, context.lease_token);
  if (resident == nullptr) return;
  if (context.ends) {
    Drop(*resident, /*release=*/false);
    return;
  }
  residents_.Weigh(*resident);
  resident->phase = Resident::Phase::kIdle;
  Reconsider(*resident);
}

void Dispatcher::ApplyToResident(CommitContext& context, const CheckpointResult& result,
                                 Resident& resident) {
  if (context.ends) return;
  resident.lost_leases = 0;
  resident.loss_unsaved = false;
  const Payload old_version = resident.state.version;
  orchestration::ApplyCheckpoint(std::move(context.delta), resident.state);
  residents_.Consume(resident, std::move(context.consumed));
  const Generation generation = resident.state.generation;
  if (context.continues) {
    resident.inline_tasks.clear();  // they have rows now
    auto& inbox = resident.inbox;
    inbox.erase(std::remove_if(inbox.begin(), inbox.end(),
                               [generation](const Message& message) {
                                 return message.generation != kAnyGeneration &&
                                        message.generation != generation;
                               }),
                inbox.end());
    if (resident.state.version != old_version) {
      table_.Leave(resident.route);
      resident.route = table_.RouteOf(*resident.hub, WorkType::kTurn, resident.state.name,
                                      resident.state.version);
      ++resident.route->users;
    }
  }
  for (size_t i = 0; i < result.own_seqs.size(); ++i) {
    const NewMessage& message = context.own_messages[i];
    if (result.own_seqs[i] == 0) continue;
    const bool front = context.continues && message.generation == generation &&
                       message.visible_at == absl::InfinitePast();
    residents_.Append(
        resident,
        Stored(message, result.own_seqs[i],
               front ? absl::InfinitePast() : StoredTime(message.visible_at, result.committed_at)));
  }
  for (size_t i = 0; i < result.children.size(); ++i) {
    const ChildResult& child = result.children[i];
    if (child.outcome != CreateOutcome::kExists || child.conflict_seq == 0) continue;
    residents_.Append(resident,
                      Stored(context.conflicts[i], child.conflict_seq, result.committed_at));
  }
}

void Dispatcher::HandOn(CommitContext& context, CheckpointResult& result) {
  Hub& hub = *table_.HubOf(context.hub);
  for (size_t i = 0; i < result.messages.size(); ++i) {
    ApplyDelivery(hub, result.messages[i], context.messages[i].message);
  }
  if (result.parent.has_value() && context.parent_message.has_value()) {
    ApplyDelivery(hub, *result.parent, *context.parent_message);
  }
  for (size_t i = 0; i < result.terminations.size(); ++i) {
    const Delivery& delivery = result.terminations[i];
    ApplyDelivery(hub, delivery, context.terminations[i].message);
    if (delivery.outcome == DeliveryOutcome::kDone) {
      waiters_.Changed(hub.id, context.terminations[i].instance_id, RuntimeStatus::kTerminated,
                       *effects_);
    }
  }
  if (context.terminates_subtree) {  // whom it reached is not told: some may be held here
    ReadWoken();
    WorkFree(hub, WorkType::kTurn, steady_);
  }
  for (size_t i = 0; i < result.task_keys.size(); ++i) {
    NewTask& created = context.tasks[i];
    if (created.lease_token == 0) {
      WorkFree(hub, WorkType::kActivity, steady_);
      continue;
    }
    ActivityTask task;
    task.key = result.task_keys[i];
    task.instance_key = context.key;
    task.generation = context.generation;
    task.hub = context.hub;
    task.instance_id = context.instance_id;
    task.task_id = created.task_id;
    task.name = std::move(created.name);
    task.version = std::move(created.version);
    task.lease_token = created.lease_token;
    task.request = std::move(created.request);
    task.execution_id = std::move(created.execution_id);
    if (created.is_inline) {
      HoldInline(residents_.Find(context.key, context.lease_token), std::move(task));
    } else {
      Hold(std::move(task));
    }
  }
  for (size_t i = 0; i < result.children.size(); ++i) {
    const ChildResult& child = result.children[i];
    if (child.outcome == CreateOutcome::kExists) continue;
    if (context.children[i].lease_token == 0) {
      WorkFree(hub, WorkType::kTurn, steady_);
    } else if (child.outcome != CreateOutcome::kAlready) {
      AdoptSeed(hub, context.children[i], child.key, child.started_seq, result.committed_at);
    }
  }
}

void Dispatcher::OnCommitFailed(CommitContext& context, const absl::Status& status,
                                Resident* resident) {
  if (!absl::IsInvalidArgument(status)) {
    spdlog::warn(
        "ProcessingFailure (303): instance {}: the turn could not be committed and is "
        "offered again: {}",
        context.instance_id, status.ToString());
    OnCommitUnknown(context, resident, StoreFailed(WorkType::kTurn, context.key));
    StoreApart(context.results);
    Reply(context.done, absl::UnavailableError(status.message()));
    return;
  }
  if (!context.results.empty()) {
    // Perhaps it is a result that the store refuses. Stored apart, each is judged by itself, and
    // the turn is offered again.
    if (resident != nullptr) {
      Drop(*resident, /*release=*/true, StoreFailed(WorkType::kTurn, context.key));
    }
    StoreApart(context.results);
    Reply(context.done, absl::OkStatus());
    return;
  }
  if (resident == nullptr) {
    Reply(context.done, absl::OkStatus());
    return;
  }
  if (!context.failed_by_server) {
    // The same answer would be refused for ever, so it ends the orchestration (10.1).
    const TaskFailureDetails details = ServerFailure(
        "CheckpointRefused",
        absl::StrCat("The result of the turn cannot be stored: ", std::string(status.message())));
    FailTurn(*resident, details, std::move(context.done));
    return;
  }
  spdlog::error("ProcessingFailure (303): instance {}: not even its failure can be stored: {}",
                context.instance_id, status.ToString());
  Drop(*resident, /*release=*/true, kRefusedTurnDelay);
  Reply(context.done, absl::OkStatus());
}

void Dispatcher::OnCommitUnknown(CommitContext& context, Resident* resident, absl::Duration delay) {
  // If it did commit: the release finds the next turn in the database, the products are found under
  // their token, and residents that were sent something read their inbox.
  if (resident != nullptr) Drop(*resident, /*release=*/true, delay);
  const auto leased = [](const auto& product) { return product.lease_token != 0; };
  if (std::any_of(context.children.begin(), context.children.end(), leased)) {
    Recover(context.hub, WorkType::kTurn, context.product_token);
  }
  // Inline tasks become free when the instance does.
  const auto has_row = [&leased](const NewTask& task) { return leased(task) && !task.is_inline; };
  if (std::any_of(context.tasks.begin(), context.tasks.end(), has_row)) {
    Recover(context.hub, WorkType::kActivity, context.product_token);
  }
  for (const AddressedMessage& message : context.messages) {
    ReadAgain(context.hub, message.instance_id);
  }
  for (const AddressedMessage& message : context.terminations) {
    ReadAgain(context.hub, message.instance_id);
  }
  if (context.parent_message.has_value()) ReadAgain(context.parent_key);
  if (context.terminates_subtree) ReadWoken();
}

// --- Messages to others

void Dispatcher::ReadWoken() {
  read_woken_at_ = steady_;
  next_read_ = steady_;
}

void Dispatcher::ApplyDelivery(Hub& hub, const Delivery& delivery, const NewMessage& message) {
  if (delivery.outcome != DeliveryOutcome::kOk) {
    // The parent of an instance that ended at once may be held here, and is in no Delivery.
    if (delivery.outcome == DeliveryOutcome::kDone) ReadWoken();
    return;
  }
  if (delivery.lease_token == 0) {
    WorkFree(hub, WorkType::kTurn, SteadyOf(delivery.visible_at));
    return;
  }
  if (LeaseTokenWorker(delivery.lease_token) != worker_) return;
  Message stored = Stored(message, delivery.seq, delivery.visible_at);
  if (Resident* resident = residents_.Find(delivery.key, delivery.lease_token)) {
    if (delivery.unread) {
      ReadAgain(delivery.key);
      return;
    }
    residents_.Append(*resident, std::move(stored));
    // Earlier events of other daemons may be on their way with the read in flight.
    if (reading_new_messages_ && message.generation == kAnyGeneration) {
      resident->awaits_read = true;
      awaiting_read_.push_back(delivery.key);
    }
    Reconsider(*resident);
  } else if (Expected(delivery.lease_token)) {
    early_[delivery.key].emplace_back(delivery.lease_token, std::move(stored));
    if (delivery.unread) suspects_.insert(delivery.lease_token);
  } else {
    // It was given up meanwhile; the release makes the message claimable.
    WorkFree(hub, WorkType::kTurn, SteadyOf(delivery.visible_at));
  }
}

void Dispatcher::On(ClientDelivered& event) {
  if (!event.result.ok()) {
    ReadAgain(event.hub, event.instance_id);
    return;
  }
  ApplyDelivery(*table_.HubOf(event.hub), *event.result, event.message);
  if (event.result->outcome == DeliveryOutcome::kDone) {
    waiters_.Changed(event.hub, event.instance_id, RuntimeStatus::kTerminated, *effects_);
  }
}

void Dispatcher::ReadAgain(HubId hub_id, const std::string& instance_id) {
  Hub* hub = table_.FindHub(hub_id);
  Resident* resident = hub == nullptr ? nullptr : residents_.FindById(*hub, instance_id);
  if (resident == nullptr) {
    SuspectInFlight();
    if (hub != nullptr) WorkFree(*hub, WorkType::kTurn, steady_);
    return;
  }
  resident->unread = true;
  if (resident->phase == Resident::Phase::kReading) resident->missed = true;
  Reconsider(*resident);
}

void Dispatcher::ReadAgain(InstanceKey key) {
  Resident* resident = residents_.Find(key);
  if (resident == nullptr) {
    SuspectInFlight();
    return;
  }
  ReadAgain(resident->hub->id, resident->state.instance_id);
}

void Dispatcher::SuspectInFlight() {
  for (const auto& [token, claim] : claims_) suspects_.insert(token);
  suspects_.insert(tokens_in_flight_.begin(), tokens_in_flight_.end());
  suspects_.insert(recoveries_.begin(), recoveries_.end());
}

// --- Creation by a client

void Dispatcher::On(StartAsked& event) {
  NewInstance& instance = event.instance;
  Hub& hub = *table_.HubOf(instance.hub);
  auto context = std::make_unique<CreateContext>();
  context->hub = instance.hub;
  context->done = std::move(event.done);
  context->seed.instance_id = instance.instance_id;
  if (!instance.scheduled_start.has_value()) {
    context->reservation =
        Reserve(hub, WorkType::kTurn, instance.name, instance.version, instance.started.event);
  }
  if (context->reservation.has_value()) {
    instance.lease_token = NewToken();
    tokens_in_flight_.insert(instance.lease_token);
    InstanceSeed& seed = context->seed;
    seed.lease_token = instance.lease_token;
    seed.execution_id = instance.execution_id;
    seed.name = instance.name;
    seed.version = instance.version;
    seed.parent = instance.parent;
    seed.started = instance.started;
    StartEarly(hub, *context);
  }
  ++creations_in_flight_;
  effects_->push_back(Create{std::move(instance), std::move(context)});
}

void Dispatcher::On(Created& event) {
  CreateContext& context = *event.context;
  Hub& hub = *table_.HubOf(context.hub);
  --creations_in_flight_;
  if (context.reservation.has_value()) Unreserve(*context.reservation);
  const InstanceSeed& seed = context.seed;
  Resident* early = EarlyStart(context);
  if (!event.result.ok()) {
    if (early != nullptr) RefuseEarlyStart(hub, *early);
    if (seed.lease_token != 0 && !absl::IsInvalidArgument(event.result.status())) {
      Recover(context.hub, WorkType::kTurn, seed.lease_token);
    }
    ForgetToken(seed.lease_token);
    effects_->push_back(AnswerCreate{std::move(context.done), std::move(event.result)});
    return;
  }
  const CreateResult result = *event.result;
  effects_->push_back(AnswerCreate{std::move(context.done), std::move(event.result)});
  if (result.parent_notice.has_value()) ReadAgain(result.parent_notice->key);
  if (result.outcome == CreateOutcome::kReplaced) {
    Resident* replaced = residents_.FindById(hub, seed.instance_id);
    if (replaced != nullptr && replaced != early) Drop(*replaced, /*release=*/false);
  }
  const bool created =
      result.outcome == CreateOutcome::kCreated || result.outcome == CreateOutcome::kReplaced;
  if (created && seed.lease_token == 0) {
    WorkFree(hub, WorkType::kTurn, steady_);
  } else if (created && early != nullptr) {
    Bear(*early, result);
  } else if (created) {
    AdoptSeed(hub, seed, result.key, result.started_seq, result.created_at);
  } else {
    if (early != nullptr) RefuseEarlyStart(hub, *early);
    // An earlier try of the store made it, under this token, and its answer got lost.
    const bool lost = result.outcome == CreateOutcome::kAlready && seed.lease_token != 0;
    if (lost) Recover(context.hub, WorkType::kTurn, seed.lease_token);
  }
  ForgetToken(seed.lease_token);
}

}  // namespace dt::dispatch
