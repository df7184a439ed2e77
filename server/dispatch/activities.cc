// Activity tasks that this daemon has leased: to a worker, and from its answer to the store.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/dispatch/dispatcher.h"
#include "server/dispatch/failures.h"
#include "spdlog/spdlog.h"

namespace dt::dispatch {
namespace {

// A task whose every result the database refuses is not tried again before this.
constexpr absl::Duration kRefusedTaskDelay = absl::Minutes(1);
constexpr int64_t kTaskBytes = 512;  // without the request

int64_t BytesOf(const ActivityTask& task) {
  return kTaskBytes + static_cast<int64_t>(task.request->size());
}

}  // namespace

HeldTask* Dispatcher::FindTask(TaskKey key) {
  auto found = tasks_.find(key);
  return found == tasks_.end() ? nullptr : found->second.get();
}

void Dispatcher::Hold(ActivityTask task, LeaseToken instance_lease) {
  if (LeaseTokenWorker(task.lease_token) != worker_) {
    // Leased under a registration that was lost meanwhile; the sweep may have come before it.
    TaskRelease release;
    release.key = task.key;
    release.instance_key = task.instance_key;
    release.lease_token = task.lease_token;
    release.place = {instance_lease, task.task_id};
    Release(task.hub, std::move(task.instance_id), release);
    return;
  }
  auto held = std::make_unique<HeldTask>();
  held->hub = table_.HubOf(task.hub);
  held->route = table_.RouteOf(*held->hub, WorkType::kActivity, task.name, task.version);
  ++held->route->users;
  held->task = std::move(task);
  held->instance_lease = instance_lease;
  HeldTask& added = *held;
  std::unique_ptr<HeldTask>& place = tasks_[added.task.key];
  // Asked for again, after an answer that was lost.
  if (place != nullptr) work_.Add(place->hub->work_bytes, -BytesOf(place->task));
  work_.Add(added.hub->work_bytes, BytesOf(added.task));
  place = std::move(held);
  if (Poisoned(added.task.lost_leases)) {
    PoisonTask(added);
  } else {
    Queue(added);
  }
}

void Dispatcher::Queue(HeldTask& held) {
  if (draining_) {
    DropTask(held, /*release=*/true);
    return;
  }
  if (held.route->streams.empty()) {
    Orphan(held);
    return;
  }
  held.phase = HeldTask::Phase::kQueued;
  held.route->tasks.Push(held.task.instance_key, held.task.key);
  List(*held.route);
}

void Dispatcher::DropTask(HeldTask& held, bool release, absl::Duration delay) {
  if (held.phase == HeldTask::Phase::kQueued) {
    held.route->tasks.Erase(held.task.instance_key, held.task.key);
  }
  if (held.phase == HeldTask::Phase::kDispatched) ReturnTask(held);
  if (release) {
    TaskRelease request;
    request.key = held.task.key;
    request.instance_key = held.task.instance_key;
    request.lease_token = held.task.lease_token;
    request.delay = delay;
    request.lost = held.loss_unsaved;
    request.place = held.place();
    Release(held.hub->id, held.task.instance_id, request);
  }
  for (DoneCallback& done : held.repeats) {
    Reply(done, release ? absl::UnavailableError("the result could not be stored, send it again")
                        : absl::OkStatus());
  }
  ForgetInline(held);
  Route* route = held.route;
  work_.Add(held.hub->work_bytes, -BytesOf(held.task));
  tasks_.erase(held.task.key);
  table_.Leave(route);
}

bool Dispatcher::Ambiguous(const HeldTask& held) const {
  const auto& unnamed = held.hub->unnamed_tasks;
  return !unnamed.empty() && unnamed.contains({held.task.instance_id, held.task.task_id});
}

bool Dispatcher::OfferTask(HeldTask& held, Stream* stream, bool all_gave_back) {
  const TaskKey key = held.task.key;
  if (stream == nullptr && !all_gave_back) return false;
  held.route->tasks.Erase(held.task.instance_key, key);
  held.phase = HeldTask::Phase::kSetAside;
  if (stream == nullptr) {
    // Other daemons may have it at once; claims of this one leave it until a stream may try again.
    unaccepted_.GaveBack(*held.route, key, held.task.instance_id);
    DropTask(held, /*release=*/true);
    return true;
  }
  if (Ambiguous(held)) {
    held_back_[held.hub->id].push_back(key);
    return true;
  }
  if (large_items_.Failure({WorkType::kActivity, key}, /*is_poisoned=*/false).has_value()) {
    PoisonTask(held);
    return true;
  }
  held.phase = HeldTask::Phase::kDispatched;
  held.stream = stream->id;
  held.dispatch = ++last_dispatch_;
  TakeCredit(*stream, WorkType::kActivity, key);
  if (!stream->echoes_tokens()) {
    held.unnamed = true;
    held.hub->unnamed_tasks.insert({held.task.instance_id, held.task.task_id});
  }
  NoteSent(*stream, WorkType::kActivity, key, static_cast<int64_t>(held.task.request->size()));
  Send(*stream, orchestration::EncodeActivityItem(
                    held.task,
                    FormatToken({WorkType::kActivity, key, held.task.lease_token, held.dispatch})));
  return true;
}

void Dispatcher::ReturnTask(HeldTask& held) {
  FreeCredit(held.stream, WorkType::kActivity, held.task.key);
  ForgetName(held);
}

void Dispatcher::ForgetName(HeldTask& held) {
  if (!held.unnamed) return;
  held.unnamed = false;
  held.hub->unnamed_tasks.erase({held.task.instance_id, held.task.task_id});
  RequeueHeldBack(*held.hub);
}

void Dispatcher::RequeueHeldBack(Hub& hub) {
  auto found = held_back_.find(hub.id);
  if (found == held_back_.end()) return;
  const std::vector<TaskKey> keys = std::move(found->second);
  held_back_.erase(found);
  for (TaskKey key : keys) {
    HeldTask* held = FindTask(key);
    if (held != nullptr && held->phase == HeldTask::Phase::kSetAside) Queue(*held);
  }
}

void Dispatcher::LoseTask(HeldTask& held, bool charged) {
  ForgetName(held);
  held.phase = HeldTask::Phase::kSetAside;
  if (!charged) return Queue(held);
  ++held.task.lost_leases;
  held.loss_unsaved = true;
  if (Poisoned(held.task.lost_leases)) {
    PoisonTask(held);
  } else if (const absl::Duration delay = RedeliveryDelay(held.task.lost_leases);
             delay > absl::ZeroDuration()) {
    DropTask(held, /*release=*/true, delay);
  } else {
    Queue(held);
  }
}

void Dispatcher::PoisonTask(HeldTask& held) {
  const LargeItems::Item item(WorkType::kActivity, held.task.key);
  const auto too_large = large_items_.Failure(item, /*is_poisoned=*/true);
  large_items_.Forget(item);
  const TaskFailureDetails details =
      too_large.has_value()
          ? ServerFailure("WorkItemTooLarge", *too_large)
          : ServerFailure("PoisonMessage",
                          absl::StrCat("The activity was given up after ", held.task.lost_leases,
                                       " dispatches that no worker answered."));
  EndHeld(held,
          orchestration::ActivityFailure(held.task.task_id, held.task.generation, details, now_),
          /*failed_by_server=*/true, nullptr);
}

Dispatcher::Offered Dispatcher::OfferOf(const HeldTask& held) {
  Offered offered{held.task.key};
  const LargeItems::Item item(WorkType::kActivity, held.task.key);
  const auto bytes = static_cast<int64_t>(held.task.request->size());
  if (bytes <= LargeItems::kReceiveBytes ||
      large_items_.Failure(item, /*is_poisoned=*/false).has_value()) {
    return offered;
  }
  offered.bytes = bytes;
  offered.overdue = large_items_.IsOverdue(item, steady_);
  return offered;
}

UnstoredResult Dispatcher::ResultOf(HeldTask& held, NewMessage message, bool failed_by_server,
                                    DoneCallback done) {
  held.phase = HeldTask::Phase::kCompleting;
  UnstoredResult result;
  result.context = std::make_unique<TaskContext>();
  TaskContext& context = *result.context;
  context.hub = held.hub->id;
  context.key = held.task.key;
  context.lease_token = held.task.lease_token;
  context.instance_key = held.task.instance_key;
  context.instance_id = held.task.instance_id;
  context.message = message;
  context.failed_by_server = failed_by_server;
  context.done = std::move(done);
  TaskCompletion& completion = result.completion;
  completion.key = held.task.key;
  completion.lease_token = held.task.lease_token;
  completion.instance_key = held.task.instance_key;
  completion.generation = held.task.generation;
  completion.place = held.place();
  completion.message = std::move(message);
  return result;
}

void Dispatcher::Store(UnstoredResult result) {
  ++commits_in_flight_;
  effects_->push_back(EndTask{std::move(result.completion), std::move(result.context)});
}

void Dispatcher::EndHeld(HeldTask& held, NewMessage message, bool failed_by_server,
                         DoneCallback done) {
  Store(ResultOf(held, std::move(message), failed_by_server, std::move(done)));
}

// --- From the worker

HeldTask* Dispatcher::FindAnswered(HubId hub, const ActivityResponse& response) {
  const std::string& token = response.completiontoken();
  if (!token.empty()) {
    const std::optional<CompletionToken> parsed = ParseToken(token);
    if (!parsed.has_value() || parsed->type != WorkType::kActivity) return nullptr;
    HeldTask* held = FindTask(parsed->key);
    const bool match =
        held != nullptr && held->hub->id == hub && held->phase == HeldTask::Phase::kDispatched &&
        held->dispatch == parsed->dispatch && held->task.lease_token == parsed->lease;
    return match ? held : nullptr;
  }
  // No token: exactly one task in flight must have these ids (2.5).
  HeldTask* only = nullptr;
  for (auto& [key, held] : tasks_) {
    if (held->phase != HeldTask::Phase::kDispatched || held->hub->id != hub ||
        held->task.task_id != response.taskid() ||
        held->task.instance_id != response.instanceid()) {
      continue;
    }
    if (only != nullptr) return nullptr;
    only = held.get();
  }
  return only;
}

void Dispatcher::On(ActivityAnswered& event) {
  HeldTask* held = FindAnswered(event.hub, event.response);
  if (held == nullptr && KeepRepeat(event)) return;
  if (held == nullptr) {
    spdlog::debug("a stale answer for activity {} of instance {} is ignored",
                  event.response.taskid(), event.response.instanceid());
    Reply(event.done, absl::OkStatus());
    return;
  }
  if (Stream* stream = table_.Find(held->stream); stream && !stream->abandoned.empty()) {
    stream->abandoned.erase({WorkType::kActivity, held->task.key});
  }
  ReturnTask(*held);
  event.response.set_taskid(held->task.task_id);
  NewMessage message = orchestration::ActivityResult(std::move(event.response),
                                                     held->task.generation, now_, limits_.turn);
  if (GiveToTurn(*held, message, event.done)) return;
  EndHeld(*held, std::move(message), /*failed_by_server=*/false, std::move(event.done));
}

bool Dispatcher::KeepRepeat(ActivityAnswered& event) {
  const std::optional<CompletionToken> parsed = ParseToken(event.response.completiontoken());
  if (!parsed.has_value() || parsed->type != WorkType::kActivity) return false;
  HeldTask* held = FindTask(parsed->key);
  if (held == nullptr || held->hub->id != event.hub || held->dispatch != parsed->dispatch ||
      held->task.lease_token != parsed->lease || held->phase != HeldTask::Phase::kCompleting) {
    return false;
  }
  held->repeats.push_back(std::move(event.done));
  return true;
}

void Dispatcher::AbandonTask(Abandoned& event) {
  ActivityResponse named;  // finds by token only: an abandon names no instance
  named.set_completiontoken(event.completion_token);
  HeldTask* held = event.completion_token.empty() ? nullptr : FindAnswered(event.hub, named);
  if (held != nullptr) {
    Stream* stream = table_.Find(held->stream);
    AddBackoff(*stream, WorkType::kActivity, held->task.key);
    ReturnTask(*held);
    held->phase = HeldTask::Phase::kSetAside;
    Queue(*held);
  }
  Reply(event.done, absl::OkStatus());
}

// --- From the store

void Dispatcher::On(TaskEnded& event) {
  TaskContext& context = *event.context;
  --commits_in_flight_;
  HeldTask* held = FindTask(context.key);
  if (held != nullptr && held->task.lease_token != context.lease_token) held = nullptr;
  const bool in_turn = context.unstored_seq != 0 && SettleBeside(context, event.result);
  if (!event.result.ok()) {
    OnEndFailed(context, event.result.status(), held);
    return;
  }
  store_failures_.Succeeded({WorkType::kActivity, context.key});
  if (held != nullptr) DropTask(*held, /*release=*/false);
  if (event.result->outcome == TaskOutcome::kOk) {
    if (!in_turn)
      ApplyDelivery(*table_.HubOf(context.hub), event.result->delivery, context.message);
  } else if (event.result->outcome == TaskOutcome::kLeaseLost) {
    // Perhaps it was this call, whose first answer got lost: then the message is in the inbox.
    ReadAgain(context.instance_key);
  }
  Reply(context.done, absl::OkStatus());
}

void Dispatcher::OnEndFailed(TaskContext& context, const absl::Status& status, HeldTask* held) {
  if (!absl::IsInvalidArgument(status)) {
    spdlog::warn(
        "ProcessingFailure (303): the result of activity {} of instance {} could not be "
        "stored, the activity is offered again: {}",
        context.key, context.instance_id, status.ToString());
    if (held != nullptr) {
      DropTask(*held, /*release=*/true, StoreFailed(WorkType::kActivity, context.key));
    }
    ReadAgain(context.instance_key);
    Reply(context.done, absl::UnavailableError(status.message()));
    return;
  }
  if (held == nullptr) {
    Reply(context.done, absl::OkStatus());
    return;
  }
  if (!context.failed_by_server) {
    // The same result would be refused for ever, so the activity fails (10.1).
    EndHeld(*held,
            orchestration::ActivityFailure(
                held->task.task_id, held->task.generation,
                ServerFailure("ResultRefused", absl::StrCat("The result cannot be stored: ",
                                                            std::string(status.message()))),
                now_),
            /*failed_by_server=*/true, std::move(context.done));
    return;
  }
  spdlog::error(
      "ProcessingFailure (303): activity {} of instance {}: not even its failure can be "
      "stored: {}",
      context.key, context.instance_id, status.ToString());
  DropTask(*held, /*release=*/true, kRefusedTaskDelay);
  Reply(context.done, absl::OkStatus());
}

}  // namespace dt::dispatch
