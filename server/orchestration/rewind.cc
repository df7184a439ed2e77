#include "server/orchestration/rewind.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/orchestration/effects.h"
#include "server/orchestration/entity_messages.h"
#include "server/orchestration/event_bytes.h"
#include "server/orchestration/fold.h"
#include "server/orchestration/history_events.h"
#include "server/orchestration/timestamps.h"
#include "server/orchestration/undo.h"

namespace dt::orchestration {
namespace {

absl::Status Unreadable(const Claim& claim) {
  return absl::DataLossError(
      absl::StrCat("the stored history of instance \"", claim.instance_id,
                   "\" cannot be read: restore it from a backup or purge the instance"));
}

// Critical sections that the history has entered and not left.
absl::Status CheckLocks(const InstanceState& state) {
  const auto held = std::find_if(state.sections.begin(), state.sections.end(),
                                 [](const auto& entry) { return entry.second.granted; });
  if (held == state.sections.end()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "rewinding is not allowed: instance '", state.instance_id,
      "' failed inside of critical section '", held->first, "', whose entity locks are gone"));
}

absl::Status CheckSource(const std::string& instance_id, const RewindSource& source) {
  if (!source.exists) {
    return absl::NotFoundError(absl::StrCat("no orchestration instance '", instance_id, "'"));
  }
  if (source.claim.status != RuntimeStatus::kFailed) {
    return absl::FailedPreconditionError(absl::StrCat(
        "rewinding is not allowed: instance '", instance_id, "' has status ",
        OrchestrationStatus_Name(static_cast<OrchestrationStatus>(source.claim.status)),
        ", only one that is ORCHESTRATION_STATUS_FAILED can be rewound"));
  }
  return absl::OkStatus();
}

// The chunk without what is undone and with the new execution id. Calls `is_undone` for each event
// in turn.
template <typename IsUndone>
HistoryChunk RewriteChunk(const HistoryChunk& chunk, int32_t first_event,
                          const std::string& execution_id, IsUndone is_undone) {
  ChunkWriter writer;
  ForEachEvent(chunk, [&](const EventView& event, std::string_view bytes) {
    if (is_undone()) return;
    HistoryEvent started;
    if (event.type == HistoryEvent::kExecutionStarted &&
        started.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      started.mutable_executionstarted()
          ->mutable_orchestrationinstance()
          ->mutable_executionid()
          ->set_value(execution_id);
      writer.Append(started);
      return;
    }
    writer.Append(bytes);
  });
  return writer.Take(chunk.turn, first_event);
}

// Rewrites the history of the claim in place, and returns the chunks that are not as they were.
std::vector<HistoryChunk> RewriteHistory(const std::vector<bool>& undone, Claim& claim) {
  std::vector<HistoryChunk> changed;
  int32_t first_event = 0;
  size_t place = 0;
  for (HistoryChunk& chunk : claim.history) {
    HistoryChunk rewritten =
        RewriteChunk(chunk, first_event, claim.execution_id, [&] { return undone[place++]; });
    first_event += rewritten.event_count;
    if (*rewritten.events != *chunk.events) {
      changed.push_back(rewritten);
    } else if (rewritten.first_event != chunk.first_event) {
      changed.push_back(rewritten);
      changed.back().events.reset();
    }
    chunk = std::move(rewritten);
  }
  std::erase_if(claim.history, [](const HistoryChunk& chunk) { return chunk.event_count == 0; });
  return changed;
}

// The scheduling events whose result is awaited, in the order of the history.
std::vector<HistoryEvent> AwaitedEvents(const std::vector<HistoryChunk>& history) {
  std::map<int64_t, HistoryEvent> awaited;  // by place in the history
  std::map<WorkId, std::vector<int64_t>> places;
  int64_t place = 0;
  ForEachEvent(history, [&](const EventView& event, std::string_view bytes) {
    ++place;
    const bool child = event.type == HistoryEvent::kSubOrchestrationInstanceCreated;
    if (event.type == HistoryEvent::kTaskScheduled || event.type == HistoryEvent::kTimerCreated ||
        (child && !ReadChild(event).fire_and_forget)) {
      if (!awaited[place].ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
      places[{WorkKindOf(event.type), event.event_id}].push_back(place);
    } else if (IsResult(event.type)) {
      std::vector<int64_t>& open = places[{WorkKindOf(event.type), ReadWorkId(event)}];
      if (open.empty()) return;
      awaited.erase(open.front());
      open.erase(open.begin());
    }
  });
  std::vector<HistoryEvent> events;
  for (auto& [at, event] : awaited) events.push_back(std::move(event));
  return events;
}

EffectSource SourceOf(const RewindPlan& plan) {
  return {plan.state, plan.state.started ? &*plan.state.started : nullptr, ToTimestamp(plan.now)};
}

// Creates again what the history awaits; the children are left to ResolveChild.
void Recreate(RewindPlan& plan) {
  std::vector<int32_t> in_flight = plan.rewind.found_task_ids;
  for (const int32_t id : plan.rewind.dropped_task_ids) {
    in_flight.erase(std::find(in_flight.begin(), in_flight.end(), id));
  }
  for (HistoryEvent& event : AwaitedEvents(plan.state.history)) {
    const int32_t id = event.eventid();
    if (event.has_taskscheduled()) {
      const auto same = std::find(in_flight.begin(), in_flight.end(), id);
      if (same != in_flight.end()) {
        in_flight.erase(same);
        continue;
      }
      plan.rewind.checkpoint.tasks.push_back(
          MakeTask(SourceOf(plan), id, *event.mutable_taskscheduled()));
    } else if (event.has_timercreated()) {
      plan.rewind.checkpoint.own_messages.push_back(
          MakeTimer(SourceOf(plan), id, event.timercreated().fireat()));
    } else {
      plan.children.push_back(
          {id, /*undone=*/false, std::move(*event.mutable_suborchestrationinstancecreated())});
    }
  }
}

// Sends the calls and lock requests again that wait for an entity: its answer is for an execution
// that is no more. An operation may run twice by that, as an activity may.
void AskEntitiesAgain(RewindPlan& plan) {
  absl::flat_hash_set<std::string> waiting = plan.state.entity_calls;
  for (const auto& [id, section] : plan.state.sections) {
    if (!section.granted) waiting.insert(id);
  }
  if (waiting.empty()) return;
  const google::protobuf::Timestamp now = ToTimestamp(plan.now);
  Checkpoint& checkpoint = plan.rewind.checkpoint;
  ForEachEvent(plan.state.history, [&](const EventView& event, std::string_view) {
    auto request = ReadAwaitedRequest(event, plan.state.instance_id, plan.state.execution_id);
    if (!request || waiting.erase(CanonicalRequestId(request->message.request_id)) == 0) return;
    NewMessage message = ToMessage(request->message, now);
    if (request->message.kind == EntityMessage::Kind::kLockRequest) {
      checkpoint.lock_requests.push_back(
          {request->message.request_id, std::move(request->targets), std::move(message.event)});
      return;
    }
    checkpoint.messages.push_back({std::move(request->targets.front()), std::move(message)});
  });
}

HistoryChunk RewoundChunk(const RewindPlan& plan, const RewindInstanceRequest& request) {
  HistoryEvent event = MakeEvent(kNoEventId, ToTimestamp(plan.now));
  ExecutionRewoundEvent* rewound = event.mutable_executionrewound();
  if (request.has_reason()) *rewound->mutable_reason() = request.reason();
  ChunkWriter writer;
  writer.Append(event);
  return writer.Take(plan.state.turn + 1, plan.state.event_count);
}

// What was undone and has not come to its end: an activity in flight is taken back, since its
// result would be taken for that of whatever gets its id next; of children only the store knows.
void TakeBack(const Undone& undone, RewindPlan& plan) {
  const std::vector<int32_t>& found = plan.rewind.found_task_ids;
  for (const int32_t id : undone.unanswered_tasks) {
    if (std::find(found.begin(), found.end(), id) == found.end()) continue;
    plan.rewind.dropped_task_ids.push_back(id);
  }
  for (const UndoneChild& child : undone.children) {
    AwaitedChild& taken = plan.children.emplace_back();
    taken.task_id = child.task_id;
    taken.undone = true;
    taken.created.set_instanceid(child.instance_id);
  }
}

// The first part of a plan: who it is about, as it was found, and under which execution id it goes
// on. The source's claim has the new one then.
RewindPlan BeginPlan(RewindSource& source, absl::Time now, IdSource& ids) {
  RewindPlan plan;
  plan.now = now;
  plan.rewind.found_execution_id = source.claim.execution_id;
  plan.rewind.found_task_ids = source.task_ids;
  source.claim.execution_id = plan.rewind.execution_id = ids.NewExecutionId();
  return plan;
}

absl::Status LiveUndoneChild(const AwaitedChild& child, const RewindPlan& plan) {
  return absl::FailedPreconditionError(absl::StrCat(
      "rewinding is not allowed: instance '", plan.state.instance_id,
      "' started sub-orchestration '", child.created.instanceid(),
      "' after what is rewound, and it has not ended: terminate it or wait for its end, and "
      "rewind again"));
}

// The last part: what the state awaits is created again, and a turn is asked for.
void EndPlan(RewindPlan& plan) {
  Checkpoint& checkpoint = plan.rewind.checkpoint;
  checkpoint.release = true;
  checkpoint.update.emplace().status =
      plan.state.suspended ? RuntimeStatus::kSuspended : RuntimeStatus::kRunning;
  Recreate(plan);
  AskEntitiesAgain(plan);
  HistoryEvent wake_up = MakeEvent(kNoEventId, ToTimestamp(plan.now));
  wake_up.mutable_orchestratorstarted();
  checkpoint.own_messages.push_back(ToMessage(wake_up, plan.state.generation));
}

}  // namespace

absl::StatusOr<RewindPlan> PlanRewind(const std::string& instance_id, RewindSource source,
                                      const RewindInstanceRequest& request, absl::Time now,
                                      IdSource& ids) {
  if (absl::Status status = CheckSource(instance_id, source); !status.ok()) return status;
  const std::optional<Undone> undone = FindUndone(source.claim.history);
  if (!undone) return Unreadable(source.claim);
  RewindPlan plan = BeginPlan(source, now, ids);
  plan.rewind.history = RewriteHistory(undone->events, source.claim);
  TakeBack(*undone, plan);
  absl::StatusOr<InstanceState> state = StateFromClaim(source.claim);
  if (!state.ok()) return state.status();
  if (absl::Status status = CheckLocks(*state); !status.ok()) return status;
  plan.state = *std::move(state);

  Checkpoint& checkpoint = plan.rewind.checkpoint;
  checkpoint.key = plan.state.key;
  checkpoint.hub = plan.state.hub;
  checkpoint.instance_id = plan.state.instance_id;
  checkpoint.lease_token = kRewindToken;
  checkpoint.turn = plan.state.turn + 1;
  checkpoint.generation = plan.state.generation;
  checkpoint.history = RewoundChunk(plan, request);
  EndPlan(plan);
  return plan;
}

absl::StatusOr<RewindPlan> PlanOwnRewind(Checkpoint turn, RewindSource source, absl::Time now,
                                         IdSource& ids) {
  Claim& claim = source.claim;
  if (!source.exists || claim.key != turn.key || claim.generation != turn.generation ||
      IsTerminal(claim.status)) {
    return absl::AbortedError(absl::StrCat("instance \"", turn.instance_id, "\" has gone on"));
  }
  RewindPlan plan = BeginPlan(source, now, ids);
  plan.rewind.live = true;
  claim.turn = turn.turn - 1;
  claim.history = {
      RewriteChunk(*turn.history, /*first_event=*/0, claim.execution_id, [] { return false; })};
  absl::StatusOr<InstanceState> state = StateFromClaim(claim);
  if (!state.ok()) return state.status();
  plan.state = *std::move(state);
  turn.history = std::move(claim.history.front());
  plan.rewind.checkpoint = std::move(turn);
  EndPlan(plan);
  return plan;
}

absl::StatusOr<bool> ResolveChild(const AwaitedChild& child, const RewindSource& source,
                                  IdSource& ids, RewindPlan& plan) {
  Checkpoint& checkpoint = plan.rewind.checkpoint;
  const Claim& found = source.claim;
  const bool own = source.exists && found.parent && found.parent->key == plan.state.key &&
                   found.parent->task_id == child.task_id;
  if (child.undone) {
    if (own && !IsTerminal(found.status)) return LiveUndoneChild(child, plan);
    if (own) plan.rewind.found_children.push_back({found.key, found.status});
    return false;
  }
  if (!own) {
    SubOrchestrationInstanceCreatedEvent created = child.created;
    checkpoint.children.push_back(MakeChild(SourceOf(plan), child.task_id, created, ids));
    return false;
  }
  plan.rewind.found_children.push_back({found.key, found.status});
  if (!IsTerminal(found.status)) return false;
  if (found.status == RuntimeStatus::kFailed) return true;
  const HistoryEvent result = ChildResultEvent(ToTimestamp(plan.now), child.task_id, found.status,
                                               source.output, /*failure=*/nullptr);
  checkpoint.own_messages.push_back(ToMessage(result, plan.state.generation));
  return false;
}

}  // namespace dt::orchestration
