#include "server/dispatch/activities.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/dispatch/failures.h"
#include "server/dispatch/inline_tasks.h"
#include "server/dispatch/item_log_fields.h"
#include "spdlog/spdlog.h"
#include "storage/log_events.h"

namespace dt::dispatch {
namespace {

// A task whose every result the database refuses is not tried again before this.
constexpr absl::Duration kRefusedTaskDelay = absl::Minutes(1);

NewMessage FailureMessage(const HeldTask& held, const TaskFailureDetails& details, absl::Time now) {
  return orchestration::ActivityFailure(held.task.task_id, held.task.generation, details, now);
}

}  // namespace

// --- Leased

void Activities::Hold(ActivityTask task, LeaseToken instance_lease) {
  if (!step_.IsOwn(task.lease_token)) {
    // Leased under a registration that was lost meanwhile; the sweep may have come before it.
    TaskRelease release;
    release.key = task.key;
    release.instance_key = task.instance_key;
    release.lease_token = task.lease_token;
    release.hub = task.hub;
    release.instance_id = std::move(task.instance_id);
    release.place = {instance_lease, task.task_id};
    releases_.Release(std::move(release));
    return;
  }
  if (HeldTask* older = table_.Find(task.key)) {
    // Asked for again, after an answer that was lost; else its lease is gone, or this one were not
    // possible.
    if (older->lease == task.lease_token) return;
    Drop(*older, /*release=*/false);
  }
  auto held = std::make_unique<HeldTask>(step_.NewNumber(), std::move(task), instance_lease);
  held->hub = matcher_.table().HubOf(held->task.hub);
  held->route = matcher_.table().RouteOf(*held->hub, WorkType::kActivity, held->task.name,
                                         held->task.version);
  ++held->route->users;
  HeldTask& added = *table_.Add(std::move(held));
  if (step_.Poisoned(added.lost_leases)) {
    Poison(added);
  } else {
    Queue(added);
  }
}

void Activities::Queue(HeldTask& held) {
  if (step_.draining) {
    Drop(held, /*release=*/true);
    return;
  }
  if (held.route->streams.empty()) {
    held.phase = HeldTask::Phase::kSetAside;
    releases_.AddOrphan(held);
    return;
  }
  releases_.RemoveOrphan(held);
  held.phase = HeldTask::Phase::kQueued;
  matcher_.EnqueueFairly(held, held.task.instance_key);
}

void Activities::Requeue(HeldTask& held) {
  matcher_.Dequeue(held, held.task.instance_key);
  Queue(held);
}

void Activities::Drop(HeldTask& held, bool release, absl::Duration delay) {
  matcher_.Dequeue(held, held.task.instance_key);
  releases_.RemoveOrphan(held);
  if (held.phase == HeldTask::Phase::kDispatched) Return(held);
  if (release) {
    TaskRelease request;
    request.key = held.key();
    request.instance_key = held.task.instance_key;
    request.lease_token = held.lease;
    request.delay = delay;
    request.lost = held.loss_unsaved;
    request.hub = held.hub->id;
    request.instance_id = held.instance_id();
    request.place = held.inline_place();
    releases_.Release(std::move(request));
  }
  for (DoneCallback& done : held.repeats) {
    step_.Reply(done, release
                          ? absl::UnavailableError("the result could not be stored, send it again")
                          : absl::OkStatus());
  }
  std::erase(held.hub->held_back, &held);
  if (held.instance_lease != 0) {
    Resident* resident = residency_.table().Find(held.task.instance_key, held.instance_lease);
    if (resident != nullptr) ForgetInline(*resident, held.task.task_id, held.key(), release);
  }
  Route* route = held.route;
  table_.Remove(held);
  matcher_.table().Leave(route);
}

void Activities::RequeueHeldBack(Hub& hub) {
  for (HeldTask* held : std::exchange(hub.held_back, {})) Queue(*held);
}

// --- To a worker

bool Activities::IsAmbiguous(const HeldTask& held) {
  const auto& unnamed = held.hub->unnamed_tasks;
  return !unnamed.empty() && unnamed.contains({held.instance_id(), held.task.task_id});
}

Matcher::Needs Activities::NeedsOf(const HeldTask& held) {
  Matcher::Needs needs;
  LargeItems& large_items = matcher_.large_items();
  if (held.item_bytes() <= LargeItems::kReceiveBytes ||
      large_items.Failure(held.stored_id(), /*is_poisoned=*/false).has_value()) {
    return needs;
  }
  needs.bytes = held.item_bytes();
  needs.overdue = large_items.IsOverdue(held.stored_id(), step_.steady);
  return needs;
}

bool Activities::Offer(HeldTask& held) {
  const Matcher::Choice choice = matcher_.Choose(held, NeedsOf(held));
  if (choice.stream == nullptr && !choice.all_gave_back) return false;
  matcher_.Dequeue(held, held.task.instance_key);
  held.phase = HeldTask::Phase::kSetAside;
  if (choice.stream == nullptr) {
    // Other daemons may have it at once; claims of this one leave it until a stream may try again.
    unaccepted_.GaveBack(*held.route, held.key(), held.instance_id());
    Drop(held, /*release=*/true);
  } else if (IsAmbiguous(held)) {
    held.hub->held_back.push_back(&held);
  } else if (matcher_.large_items().Failure(held.stored_id(), /*is_poisoned=*/false)) {
    Poison(held);
  } else {
    Send(held, *choice.stream);
  }
  return true;
}

void Activities::Send(HeldTask& held, Stream& stream) {
  held.phase = HeldTask::Phase::kDispatched;
  matcher_.TakeCredit(stream, held);
  if (!stream.echoes_tokens()) {
    held.unnamed = true;
    held.hub->unnamed_tasks[{held.instance_id(), held.task.task_id}] = &held;
  }
  matcher_.SendItem(stream, held,
                    orchestration::EncodeActivityItem(
                        held.task, FormatToken({WorkType::kActivity, held.lease, held.dispatch})),
                    held.item_bytes());
}

void Activities::Return(HeldTask& held) {
  matcher_.FreeCredit(held);
  ForgetName(held);
}

void Activities::ForgetName(HeldTask& held) {
  if (!std::exchange(held.unnamed, false)) return;
  held.hub->unnamed_tasks.erase({held.instance_id(), held.task.task_id});
  RequeueHeldBack(*held.hub);
}

void Activities::Lose(HeldTask& held, bool charged) {
  ForgetName(held);
  held.phase = HeldTask::Phase::kSetAside;
  if (!charged) {
    Queue(held);
    return;
  }
  ++held.lost_leases;
  held.loss_unsaved = true;
  const absl::Duration delay = RedeliveryDelay(step_.limits, held.lost_leases);
  if (step_.Poisoned(held.lost_leases)) {
    Poison(held);
  } else if (delay > absl::ZeroDuration()) {
    Drop(held, /*release=*/true, delay);
  } else {
    Queue(held);
  }
}

void Activities::Poison(HeldTask& held) {
  LargeItems& large_items = matcher_.large_items();
  const auto too_large = large_items.Failure(held.stored_id(), /*is_poisoned=*/true);
  large_items.Forget(held.stored_id());
  held.hub->metrics->work[Index(WorkType::kActivity)].poisoned.Add();
  const TaskFailureDetails details =
      too_large.has_value()
          ? ServerFailure("WorkItemTooLarge", *too_large)
          : ServerFailure("PoisonMessage",
                          absl::StrCat("The activity was given up after ", held.lost_leases,
                                       " dispatches that no worker answered."));
  End(held, FailureMessage(held, details, step_.now), /*failed_by_server=*/true, nullptr);
}

// --- From a worker

HeldTask* Activities::FindAnswered(HubId hub, const std::string& token) {
  const std::optional<CompletionToken> parsed = ParseToken(token);
  if (!parsed.has_value() || parsed->type != WorkType::kActivity) return nullptr;
  auto* held = static_cast<HeldTask*>(matcher_.FindInFlight(*parsed));
  return held != nullptr && held->hub->id == hub ? held : nullptr;
}

HeldTask* Activities::FindUnnamed(HubId hub_id, const std::string& instance_id, int32_t task_id) {
  const Hub* hub = matcher_.table().FindHub(hub_id);
  if (hub == nullptr) return nullptr;
  const auto unnamed = hub->unnamed_tasks.find({instance_id, task_id});
  if (unnamed != hub->unnamed_tasks.end()) return unnamed->second;
  // Of a stream that is known to echo tokens: exactly one in flight must have these ids (2.5).
  HeldTask* only = nullptr;
  for (const auto& [dispatch, in_flight] : matcher_.in_flight(WorkType::kActivity)) {
    auto* held = static_cast<HeldTask*>(in_flight.item);
    if (held->hub != hub || held->task.task_id != task_id || held->instance_id() != instance_id) {
      continue;
    }
    if (only != nullptr) return nullptr;
    only = held;
  }
  return only;
}

void Activities::On(ActivityAnswered& event) {
  ActivityResponse& response = event.response;
  HeldTask* held = response.completiontoken().empty()
                       ? FindUnnamed(event.hub, response.instanceid(), response.taskid())
                       : FindAnswered(event.hub, response.completiontoken());
  if (held == nullptr && KeepRepeat(event)) return;
  if (held == nullptr) {
    spdlog::debug("a stale answer for activity {} of instance {} is ignored", response.taskid(),
                  response.instanceid());
    matcher_.CountStale(event.hub, WorkType::kActivity);
    step_.Reply(event.done, absl::OkStatus());
    return;
  }
  const metrics::Answer answer =
      response.has_failuredetails() ? metrics::Answer::kFailure : metrics::Answer::kOk;
  held->hub->metrics->work[Index(WorkType::kActivity)].completed[answer].Add();
  matcher_.ForgetBackoff(*held);
  Return(*held);
  response.set_taskid(held->task.task_id);
  NewMessage message = orchestration::ActivityResult(std::move(response), held->task.generation,
                                                     step_.now, step_.limits.turn);
  if (GiveToTurn(*held, message, event.done)) return;
  End(*held, std::move(message), /*failed_by_server=*/false, std::move(event.done));
}

bool Activities::KeepRepeat(ActivityAnswered& event) {
  const std::optional<CompletionToken> parsed = ParseToken(event.response.completiontoken());
  if (!parsed.has_value() || parsed->type != WorkType::kActivity) return false;
  HeldTask* held = table_.FindCompleting(parsed->dispatch, parsed->lease);
  if (held == nullptr || held->hub->id != event.hub) return false;
  held->repeats.push_back(std::move(event.done));
  return true;
}

void Activities::On(Abandoned& event) {
  // An abandon names no instance, so one without a token matches nothing.
  if (HeldTask* held = FindAnswered(event.hub, event.completion_token)) {
    Matcher::CountAbandon(*held, metrics::Abandon::kWorker);
    matcher_.AddBackoff(*held);
    Return(*held);
    held->phase = HeldTask::Phase::kSetAside;
    Queue(*held);
  }
  step_.Reply(event.done, absl::OkStatus());
}

// --- To the turn of the parent

Resident* Activities::TakerOf(const HeldTask& held, Stream** stream) {
  Resident* resident = residency_.table().Find(held.task.instance_key);
  if (resident == nullptr || resident->state.generation != held.task.generation ||
      resident->lost_leases > 0 || resident->awaits_read || resident->inbox.full()) {
    return nullptr;
  }
  const bool waits =
      resident->phase == Resident::Phase::kIdle && resident->inbox.next_due() > step_.now;
  const bool joins = resident->phase == Resident::Phase::kReady && !resident->unstored.empty();
  if (!waits && !joins) return nullptr;
  const Matcher::Needs needs = dispatch::NeedsOf(*resident, step_, matcher_.large_items());
  *stream = matcher_.Choose(*resident, needs).stream;
  if (*stream == nullptr) return nullptr;
  // Those that are ready already go first.
  const Credits& credits = (*stream)->credits[Index(WorkType::kTurn)];
  return joins || credits.free() > resident->route->waiting() ? resident : nullptr;
}

bool Activities::GiveToTurn(HeldTask& held, NewMessage& message, DoneCallback& done) {
  if (step_.draining || step_.limits.result_hold_max <= absl::ZeroDuration()) return false;
  Stream* stream = nullptr;
  Resident* resident = TakerOf(held, &stream);
  if (resident == nullptr || stream->result_waits.Skip()) return false;
  residency_.results().Give(
      ResultOf(held, std::move(message), /*failed_by_server=*/false, std::move(done)), *resident);
  residency_.Reconsider(*resident);
  return true;
}

// --- To the store

UnstoredResult Activities::ResultOf(HeldTask& held, NewMessage message, bool failed_by_server,
                                    DoneCallback done) {
  table_.SetCompleting(held);
  UnstoredResult result;
  result.context = std::make_unique<TaskContext>();
  result.context->failed_by_server = failed_by_server;
  result.context->done = std::move(done);
  TaskCompletion& completion = result.completion;
  completion.key = held.key();
  completion.lease_token = held.lease;
  completion.instance_key = held.task.instance_key;
  completion.hub = held.hub->id;
  completion.instance_id = held.instance_id();
  completion.generation = held.task.generation;
  completion.place = held.inline_place();
  completion.message = std::move(message);
  return result;
}

void Activities::End(HeldTask& held, NewMessage message, bool failed_by_server, DoneCallback done) {
  residency_.results().Store(ResultOf(held, std::move(message), failed_by_server, std::move(done)));
}

void Activities::EndStored(std::vector<UnstoredResult>& results) {
  for (UnstoredResult& result : results) {
    const TaskCompletion& completion = result.completion;
    if (HeldTask* held = table_.Find(completion.key, completion.lease_token)) {
      Drop(*held, /*release=*/false);
    }
    step_.Reply(result.context->done, absl::OkStatus());
  }
  results.clear();
}

void Activities::On(TaskEnded& event, bool in_turn) {
  const TaskCompletion& completion = event.completion;
  HeldTask* held = table_.Find(completion.key, completion.lease_token);
  if (!event.result.ok()) {
    OnEndFailed(event, held);
    return;
  }
  retries_.StoreSucceeded({WorkType::kActivity, completion.key});
  if (held != nullptr) Drop(*held, /*release=*/false);
  if (event.result->outcome == TaskOutcome::kOk) {
    if (!in_turn) mail_.Apply(completion.hub, event.result->delivery, completion.message);
  } else if (event.result->outcome == TaskOutcome::kLeaseLost) {
    matcher_.table().HubOf(completion.hub)->metrics->leases_lost.Add();
    // Perhaps it was this call, whose first answer got lost: then the message is in the inbox.
    mail_.ReadAgain(completion.instance_key);
  }
  step_.Reply(event.context->done, absl::OkStatus());
}

void Activities::On(TaskReleased& event) {
  const TaskRelease& release = event.release;
  if (event.result.ok() && release.place.instance_lease != 0) {
    Resident* resident =
        residency_.table().Find(release.instance_key, release.place.instance_lease);
    if (resident != nullptr) resident->inline_tasks.returning.erase(release.place.task_id);
  }
  releases_.On(event);
}

void Activities::OnEndFailed(TaskEnded& event, HeldTask* held) {
  TaskContext& context = *event.context;
  const absl::Status& status = event.result.status();
  const TaskKey key = event.completion.key;
  const LogFields fields =
      LogFieldsOf(matcher_.table().FindHub(event.completion.hub), event.completion.instance_id);
  if (!absl::IsInvalidArgument(status)) {
    spdlog::warn(
        "{}: the result of activity {} of instance {} could not be "
        "stored, the activity is offered again: {}",
        log_event::kProcessingFailure, key, event.completion.instance_id, status.ToString());
    if (held != nullptr) {
      Drop(*held, /*release=*/true, retries_.StoreFailed({WorkType::kActivity, key}));
    }
    mail_.ReadAgain(event.completion.instance_key);
    step_.Reply(context.done, absl::UnavailableError(status.message()));
    return;
  }
  if (held == nullptr) {
    step_.Reply(context.done, absl::OkStatus());
    return;
  }
  if (!context.failed_by_server) {
    // The same result would be refused for ever, so the activity fails (10.1).
    const TaskFailureDetails details =
        ServerFailure("ResultRefused",
                      absl::StrCat("The result cannot be stored: ", std::string(status.message())));
    End(*held, FailureMessage(*held, details, step_.now), /*failed_by_server=*/true,
        std::move(context.done));
    return;
  }
  spdlog::error(
      "{}: activity {} of instance {}: not even its failure can be "
      "stored: {}",
      log_event::kProcessingFailure, key, event.completion.instance_id, status.ToString());
  Drop(*held, /*release=*/true, kRefusedTaskDelay);
  step_.Reply(context.done, absl::OkStatus());
}

}  // namespace dt::dispatch
