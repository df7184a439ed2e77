#include "server/dispatch/entity_turns.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "server/dispatch/counts.h"
#include "server/dispatch/item_log_fields.h"
#include "server/dispatch/turn_needs.h"
#include "spdlog/spdlog.h"
#include "storage/log_events.h"

namespace dt::dispatch {
namespace {

// How long an inbox is left alone that holds due messages but nothing that can run.
constexpr absl::Duration kStalledInboxDelay = absl::Seconds(1);

// Workers of .NET's two packages speak to entities in different ways, and those of the plain one
// fail at what the other has written into a history (7.38). Only the other names itself.
bool HasBothDotnetPackages(const Hub& hub) {
  bool plain = false;
  bool managed = false;
  for (const Stream* stream : hub.streams) {
    if (stream->options.library != ClientLibrary::kDotnet) continue;
    const bool names_itself = absl::StartsWith(stream->options.sdk, "durabletask-dotnet/");
    (names_itself ? managed : plain) = true;
  }
  return plain && managed;
}

void WarnOfPackages(Hub& hub) {
  if (hub.warned_of_packages || !HasBothDotnetPackages(hub)) return;
  hub.warned_of_packages = true;
  const LogFields fields({{log_field::kTaskHub, hub.name}});
  spdlog::warn(
      "task hub '{}': it has entities, and .NET workers of both packages. Orchestrations that use "
      "entities on a worker of Microsoft.DurableTask.Worker.AzureManaged fail on one of the plain "
      "gRPC package, which cannot read their histories: let all workers of a hub use one package",
      hub.name);
}

}  // namespace

// --- To a worker

bool EntityTurns::Offer(Resident& resident) {
  LargeItems& large_items = matcher_.large_items();
  const Matcher::Choice choice = matcher_.Choose(resident, NeedsOf(resident, step_, large_items));
  if (choice.stream == nullptr) {
    if (!choice.all_gave_back) return false;
    // Other daemons may have it at once; claims of this one leave it until a stream may try again.
    unaccepted_.GaveBack(*resident.route, resident.key(), resident.instance_id());
    residency_.Drop(resident, /*release=*/true);
    return true;
  }
  residency_.Unready(resident);
  Plan(resident);
  const entity::Batch& batch = resident.entity->batch;
  if (batch.empty()) {
    Wait(resident);
  } else if (!batch.needs_worker()) {
    End(resident, EntityBatchResult(), nullptr);
  } else if (const auto failure = FailureOf(resident, step_, large_items)) {
    large_items.Forget(resident.stored_id());
    resident.hub->metrics->work[Index(WorkType::kEntity)].poisoned.Add();
    commits_.Fail(resident, *failure, nullptr);
  } else {
    Send(resident, *choice.stream);
  }
  return true;
}

void EntityTurns::Plan(Resident& resident) {
  entity::BatchLimits limits;
  limits.operations_max = step_.limits.entity_operations_max;
  limits.bytes_max = step_.limits.turn.message_bytes_max;
  resident.entity->batch =
      entity::PlanBatch(resident.entity->state, resident.inbox.Due(step_.now), *step_.ids, limits);
  for (const entity::Batch::Step& step : resident.entity->batch.steps) {
    if (step.kind != entity::Batch::Step::Kind::kDrop) continue;
    const LogFields fields = LogFieldsOf(resident);
    spdlog::warn("{}: entity {}, message {}: {}", log_event::kDiscardingEvent,
                 resident.instance_id(), step.seq, step.reason);
  }
}

void EntityTurns::Send(Resident& resident, Stream& stream) {
  resident.phase = Resident::Phase::kDispatched;
  residency_.table().SetBusy(resident);
  WarnOfPackages(*resident.hub);
  matcher_.TakeCredit(stream, resident);
  orchestration::Frame frame =
      entity::EncodeEntityItem(resident.state, resident.entity->state, resident.entity->batch,
                               FormatToken({WorkType::kEntity, resident.lease, resident.dispatch}));
  int64_t bytes = 0;
  for (const SharedBytes& piece : frame) bytes += static_cast<int64_t>(piece->size());
  matcher_.SendItem(stream, resident, std::move(frame), bytes);
}

void EntityTurns::Wait(Resident& resident) {
  ResidentTable& table = residency_.table();
  if (!resident.blocked()) {
    absl::Time next = resident.inbox.NextAfter(step_.now);
    if (next == absl::InfiniteFuture() || resident.inbox.unread_from() <= step_.now) {
      next = step_.now + kStalledInboxDelay;
      resident.inbox.MarkUnread(/*reading=*/false);
    }
    table.SetDue(resident, next);
  } else if (resident.inbox.has_front()) {
    // The message in front comes from an orchestration that has lost the lock.
    table.SetDue(resident, step_.now + kStalledInboxDelay);
  }
  table.SetIdle(resident, step_.steady + step_.limits.resident_linger);
}

void EntityTurns::Lose(Resident& resident, bool charged) {
  resident.phase = Resident::Phase::kIdle;
  if (!charged) {
    residency_.Reconsider(resident);
    return;
  }
  ++resident.lost_leases;
  resident.loss_unsaved = true;
  const absl::Duration delay = RedeliveryDelay(step_.limits, resident.lost_leases);
  if (delay > absl::ZeroDuration() && !step_.Poisoned(resident.lost_leases)) {
    residency_.Drop(resident, /*release=*/true, delay);
  } else {
    residency_.Reconsider(resident);
  }
}

// --- From a worker

Resident* EntityTurns::FindAnswered(HubId hub, const std::string& token) const {
  // A result names no entity, so one without a token matches nothing (7.3).
  const std::optional<CompletionToken> parsed = ParseToken(token);
  if (!parsed.has_value() || parsed->type != WorkType::kEntity) return nullptr;
  auto* resident = static_cast<Resident*>(matcher_.FindInFlight(*parsed));
  return resident != nullptr && resident->hub->id == hub ? resident : nullptr;
}

void EntityTurns::On(EntityAnswered& event) {
  Resident* resident = FindAnswered(event.hub, event.result.completiontoken());
  if (resident == nullptr) {
    spdlog::debug("a stale result of an entity is ignored");
    matcher_.CountStale(event.hub, WorkType::kEntity);
    step_.Reply(event.done, absl::OkStatus());
    return;
  }
  if (event.result.requiresstate()) {
    GiveBack(*resident);  // it is always sent, so the next worker may do better (7.17)
    step_.Reply(event.done, absl::OkStatus());
    return;
  }
  if (entity::IsBatchFailure(resident->entity->batch, event.result)) {
    const TaskFailureDetails& details = event.result.failuredetails();
    const LogFields fields = LogFieldsOf(*resident);
    spdlog::warn(
        "{}: entity {}: its worker could not run its operations, and they are offered "
        "again later: {}: {}",
        log_event::kProcessingFailure, resident->instance_id(), details.errortype(),
        details.errormessage());
    ++resident->lost_leases;
    resident->loss_unsaved = true;
    GiveBack(*resident);
    step_.Reply(event.done, absl::OkStatus());
    return;
  }
  resident->hub->metrics->work[Index(WorkType::kEntity)].completed[AnswerOf(event.result)].Add();
  matcher_.ForgetBackoff(*resident);
  matcher_.FreeCredit(*resident);
  End(*resident, std::move(event.result), std::move(event.done));
}

void EntityTurns::End(Resident& resident, EntityBatchResult result, DoneCallback done) {
  entity::BatchResult ended = entity::FinishBatch(
      resident.state, resident.entity->state, resident.entity->batch, std::move(result),
      resident.lease, step_.now, *step_.ids, step_.limits.turn);
  for (const std::string& warning : ended.warnings) {
    const LogFields fields = LogFieldsOf(resident);
    spdlog::warn("{}: entity {}: {}", log_event::kDiscardingEvent, resident.instance_id(), warning);
  }
  commits_.CommitBatch(resident, std::move(ended), /*failed_by_server=*/false, std::move(done));
}

void EntityTurns::GiveBack(Resident& resident) {
  Matcher::CountAbandon(resident, metrics::Abandon::kWorker);
  matcher_.AddBackoff(resident);
  matcher_.FreeCredit(resident);
  resident.phase = Resident::Phase::kIdle;
  residency_.Reconsider(resident);
}

void EntityTurns::On(Abandoned& event) {
  Resident* resident = FindAnswered(event.hub, event.completion_token);
  if (resident != nullptr) GiveBack(*resident);
  step_.Reply(event.done, absl::OkStatus());
}

}  // namespace dt::dispatch
