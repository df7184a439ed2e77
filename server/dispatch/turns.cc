#include "server/dispatch/turns.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/dispatch/counts.h"
#include "server/dispatch/failures.h"
#include "server/dispatch/item_log_fields.h"
#include "server/dispatch/turn_needs.h"
#include "spdlog/spdlog.h"
#include "storage/log_events.h"

namespace dt::dispatch {
namespace {

// An orchestration that is to be terminated is ended without a worker after so many dispatches that
// none answered: its work items may be what breaks their streams.
constexpr int32_t kLossesBeforeTermination = 3;
// How long an inbox is left alone that holds due messages but nothing that can run.
constexpr absl::Duration kStalledInboxDelay = absl::Seconds(1);

int64_t BytesOf(const orchestration::Frame& frame) {
  int64_t bytes = 0;
  for (const SharedBytes& piece : frame) bytes += static_cast<int64_t>(piece->size());
  return bytes;
}

// A worker that refuses the item loses its stream by it and is offered it again (1.17), and nothing
// else tells the operator why.
void WarnOfSize(const Resident& resident, int64_t bytes) {
  const LogFields fields = LogFieldsOf(resident);
  spdlog::warn(
      "instance {}: its work item has {} bytes, and most SDKs receive {} at most: if its workers "
      "lose their streams, raise the size of messages that they receive, or shorten the history "
      "by continuing as new",
      resident.instance_id(), bytes, LargeItems::kReceiveBytes);
}

bool IsRewind(const OrchestratorAction& action) { return action.has_rewindorchestration(); }

}  // namespace

// --- To a worker

bool Turns::Offer(Resident& resident) {
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
  orchestration::Turn& plan = resident.turn.plan;
  const bool more = resident.inbox.unread_from() <= step_.now;
  plan = orchestration::PlanTurn(resident.state, resident.inbox.Due(step_.now), step_.now,
                                 step_.limits.turn, more);
  for (size_t i = 0; i < plan.dropped.size(); ++i) {
    const LogFields fields = LogFieldsOf(resident);
    spdlog::warn("{}: instance {}, message {}: {}", log_event::kDiscardingEvent,
                 resident.instance_id(), plan.dropped[i], plan.drop_reasons[i]);
  }
  if (plan.empty() && !resident.unstored.empty()) {
    residency_.results().StoreApart(resident);  // what is discarded must be stored
    residency_.Reconsider(resident);
  } else if (plan.empty() && resident.unconfirmed()) {
    residency_.Drop(resident, /*release=*/false);  // it comes back with its creation
  } else if (plan.held) {
    residency_.Drop(resident, /*release=*/true, absl::InfiniteDuration());
  } else if (plan.empty()) {
    EndEmpty(resident);
  } else if (resident.lost_leases >= kLossesBeforeTermination && plan.HasTermination()) {
    const LogFields fields = LogFieldsOf(resident);
    spdlog::warn("orchestration {} is terminated here: no worker answered {} dispatches of it",
                 resident.instance_id(), resident.lost_leases);
    commits_.Commit(resident,
                    orchestration::TerminateInstance(resident.state, plan, resident.lease,
                                                     step_.now, *step_.ids, step_.limits.turn),
                    /*failed_by_server=*/true, nullptr);
  } else if (const auto failure = FailureOf(resident, step_, large_items)) {
    large_items.Forget(resident.stored_id());
    resident.hub->metrics->work[Index(WorkType::kTurn)].poisoned.Add();
    commits_.Fail(resident, *failure, nullptr);
  } else {
    Send(resident, *choice.stream);
  }
  return true;
}

void Turns::Send(Resident& resident, Stream& stream) {
  resident.phase = Resident::Phase::kDispatched;
  residency_.table().SetBusy(resident);
  resident.turn.ForgetParts();
  residency_.table().Weigh(resident);
  matcher_.TakeCredit(stream, resident);
  CountTimerLag(resident.turn.plan, step_.now, *resident.hub->metrics);
  const std::string token = FormatToken({WorkType::kTurn, resident.lease, resident.dispatch});
  orchestration::RequestOptions options;
  options.completion_token = token;
  options.stream_history = stream.options.history_streaming && !resident.turn.whole_history &&
                           resident.state.history_bytes > step_.limits.history_streaming_from_bytes;
  orchestration::Frame frame =
      orchestration::EncodeOrchestratorItem(resident.state, resident.turn.plan, options);
  const int64_t bytes = BytesOf(frame);
  if (bytes > LargeItems::kReceiveBytes && !std::exchange(resident.warned_of_size, true)) {
    WarnOfSize(resident, bytes);
  }
  matcher_.SendItem(stream, resident, std::move(frame), bytes);
}

void Turns::EndEmpty(Resident& resident) {
  ResidentTable& table = residency_.table();
  orchestration::Turn& plan = resident.turn.plan;
  if (plan.dropped.empty()) {
    // It waits for a message that is not due, or not read.
    absl::Time next = resident.inbox.NextAfter(step_.now);
    if (next == absl::InfiniteFuture() || resident.inbox.unread_from() <= step_.now) {
      next = step_.now + kStalledInboxDelay;
      resident.inbox.MarkUnread(/*reading=*/false);
    }
    table.SetDue(resident, next);
    table.SetIdle(resident, step_.steady + step_.limits.resident_linger);
    return;
  }
  resident.phase = Resident::Phase::kCommitting;
  table.SetBusy(resident);
  ++step_.commits_in_flight;
  DiscardRequest request;
  request.key = resident.key();
  request.hub = resident.hub->id;
  request.instance_id = resident.instance_id();
  request.lease_token = resident.lease;
  request.seqs = std::move(plan.dropped);
  step_.Do(Discard{std::move(request)});
}

void Turns::Lose(Resident& resident, bool charged) {
  resident.phase = Resident::Phase::kIdle;
  residency_.results().TakeTurnBack(resident);
  if (resident.unconfirmed()) {
    residency_.Drop(resident, /*release=*/false);
    return;
  }
  resident.turn.whole_history = false;
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

Resident* Turns::FindAnswered(HubId hub, const std::string& token, const std::string& instance_id) {
  Resident* resident = nullptr;
  if (token.empty()) {
    // A worker that echoes no token means the turn in flight; there is one at most (2.5).
    resident = residency_.FindById(hub, instance_id);
  } else {
    const std::optional<CompletionToken> parsed = ParseToken(token);
    if (parsed.has_value() && parsed->type == WorkType::kTurn) {
      resident = static_cast<Resident*>(matcher_.FindInFlight(*parsed));
    }
  }
  const bool answered = resident != nullptr && resident->hub->id == hub &&
                        resident->phase == Resident::Phase::kDispatched;
  return answered ? resident : nullptr;
}

void Turns::On(TurnAnswered& event) {
  OrchestratorResponse& response = event.response;
  Resident* resident = FindAnswered(event.hub, response.completiontoken(), response.instanceid());
  if (resident == nullptr) {
    spdlog::debug("a stale answer for a turn of instance {} is ignored", response.instanceid());
    matcher_.CountStale(event.hub, WorkType::kTurn);
    step_.Reply(event.done, absl::OkStatus());
    return;
  }
  if (resident->turn.parked != nullptr) {
    step_.Reply(event.done, absl::OkStatus());  // the same answer again
    return;
  }
  if (response.requireshistory()) {
    // The same turn again, with everything; nothing is committed (3.17).
    resident->turn.whole_history = true;
    matcher_.FreeCredit(*resident);
    Send(*resident, *matcher_.table().Find(resident->stream));
    step_.Reply(event.done, absl::OkStatus());
    return;
  }
  TurnAnswer answer;
  const bool complete = resident->turn.TakePart(std::move(response), step_.limits, answer);
  residency_.table().Weigh(*resident);
  if (!complete) {
    if (step_.work.Room(resident->hub->work_bytes) > 0) {
      step_.Reply(event.done, absl::OkStatus());
      return;
    }
    GiveBack(*resident, metrics::Abandon::kMemory);
    step_.Reply(event.done, absl::ResourceExhaustedError(
                                "the daemon's memory for work is used up (a part of "
                                "memory.bytes-max), so it cannot keep the parts of this response; "
                                "the turn is offered again later"));
    return;
  }
  answer.done = std::move(event.done);
  if (MustPark(*resident, answer.response)) {
    resident->turn.parked = std::make_unique<TurnAnswer>(std::move(answer));
  } else {
    End(*resident, std::move(answer));
  }
}

bool Turns::MustPark(Resident& resident, const OrchestratorResponse& response) {
  if (resident.unconfirmed()) return true;
  if (!resident.unstored.empty() &&
      std::any_of(response.actions().begin(), response.actions().end(), IsRewind)) {
    residency_.results().StoreAllBeside(resident);  // a rewind is decided by what is stored
  }
  return UnstoredResults::IsStoring(resident);
}

void Turns::EndParked(Resident& resident) {
  if (resident.turn.parked == nullptr) return;
  const std::unique_ptr<TurnAnswer> parked = std::move(resident.turn.parked);
  End(resident, std::move(*parked));
}

void Turns::End(Resident& resident, TurnAnswer answer) {
  matcher_.ForgetBackoff(resident);
  matcher_.FreeCredit(resident);
  resident.phase = Resident::Phase::kCommitting;
  resident.turn.whole_history = false;
  metrics::HubMetrics& counted = *resident.hub->metrics;
  auto& answers = counted.work[Index(WorkType::kTurn)].completed;
  if (answer.too_large) {
    answers[metrics::Answer::kFailure].Add();
    commits_.Fail(resident,
                  ServerFailure("ResponseTooLarge",
                                absl::StrCat("The parts of the response together need more than ",
                                             step_.limits.response_bytes_max, " bytes of memory.")),
                  std::move(answer.done));
    return;
  }
  CountActions(answer.response, counted);
  orchestration::TurnResult result =
      orchestration::FinishTurn(resident.state, resident.turn.plan, std::move(answer.response),
                                resident.lease, step_.now, *step_.ids, step_.limits.turn);
  const bool failed = result.checkpoint.ends && result.delta.status == RuntimeStatus::kFailed;
  answers[failed ? metrics::Answer::kFailure : metrics::Answer::kOk].Add();
  if (result.rewind.has_value()) {
    ++step_.commits_in_flight;
    result.checkpoint.kept_tasks = resident.KeptTasks();
    step_.Do(RewindTurn{std::move(result.checkpoint), *std::move(result.rewind),
                        std::move(answer.done)});
    return;
  }
  for (const std::string& warning : result.warnings) {
    const LogFields fields = LogFieldsOf(resident);
    spdlog::warn("{}: instance {}: {}", log_event::kDiscardingEvent, resident.instance_id(),
                 warning);
  }
  commits_.Commit(resident, std::move(result), /*failed_by_server=*/false, std::move(answer.done));
}

void Turns::GiveBack(Resident& resident, metrics::Abandon reason) {
  Matcher::CountAbandon(resident, reason);
  if (!resident.unconfirmed()) matcher_.AddBackoff(resident);
  matcher_.FreeCredit(resident);
  resident.phase = Resident::Phase::kIdle;
  residency_.results().TakeTurnBack(resident);
  if (resident.unconfirmed()) {
    residency_.Drop(resident, /*release=*/false);  // it comes back with its creation
  } else {
    residency_.Reconsider(resident);
  }
}

void Turns::On(Abandoned& event) {
  // An abandon names no instance, so one without a token matches nothing.
  Resident* resident = event.completion_token.empty()
                           ? nullptr
                           : FindAnswered(event.hub, event.completion_token, "");
  if (resident != nullptr) GiveBack(*resident, metrics::Abandon::kWorker);
  step_.Reply(event.done, absl::OkStatus());
}

void Turns::On(HistoryAsked& event) {
  const Resident* resident = residency_.FindById(event.hub, event.instance_id);
  if (resident == nullptr || resident->phase != Resident::Phase::kDispatched ||
      (!event.execution_id.empty() && resident->state.execution_id != event.execution_id)) {
    step_.Do(AnswerHistory{std::move(event.done),
                           absl::NotFoundError(absl::StrCat(
                               "no turn of instance ", event.instance_id, " with execution id ",
                               event.execution_id, " is in flight"))});
    return;
  }
  step_.Do(AnswerHistory{std::move(event.done), resident->state.history});
}

// --- From the store

void Turns::On(Discarded& event) {
  DiscardRequest& request = event.request;
  const StoredId item(WorkTypeOf(request.instance_id), request.key);
  if (request.release) {  // of a corrupt instance, which is no resident
    if (!event.result.ok()) residency_.ReleaseDiscarded(request, retries_.StoreFailed(item));
    return;
  }
  --step_.commits_in_flight;
  Resident* resident = residency_.table().Find(request.key, request.lease_token);
  if (resident == nullptr) return;
  resident->phase = Resident::Phase::kIdle;
  if (!event.result.ok()) {
    residency_.Drop(*resident, /*release=*/true, retries_.StoreFailed(item));
    return;
  }
  if (*event.result == LeaseOutcome::kLeaseLost) {
    resident->hub->metrics->leases_lost.Add();
    residency_.Drop(*resident, /*release=*/false);
    return;
  }
  retries_.StoreSucceeded(item);
  residency_.table().Consume(*resident, std::move(request.seqs));
  residency_.Reconsider(*resident);
}

void Turns::On(TurnRewound& event) {
  --step_.commits_in_flight;
  Resident* resident = residency_.table().Find(event.key, event.lease_token);
  if (event.status.ok()) {
    waiters_.Changed(event.hub, event.instance_id, RuntimeStatus::kRunning);
    // It was released on its new history, which is read by a claim.
    if (resident != nullptr) residency_.Drop(*resident, /*release=*/false);
    claimer_.WorkFree(event.hub, WorkType::kTurn);
    step_.Reply(event.done, absl::OkStatus());
    return;
  }
  const LogFields fields = LogFieldsOf(matcher_.table().FindHub(event.hub), event.instance_id);
  if (absl::IsAborted(event.status)) {
    spdlog::warn(
        "{}: instance {}: its lease was lost, the rewind is not "
        "applied",
        log_event::kDuplicateExecutionDetected, event.instance_id);
    if (resident != nullptr) residency_.Drop(*resident, /*release=*/true);
    step_.Reply(event.done, absl::OkStatus());
    return;
  }
  spdlog::warn(
      "{}: instance {}: it could not be rewound and the turn is offered "
      "again: {}",
      log_event::kProcessingFailure, event.instance_id, event.status.ToString());
  if (resident != nullptr) {
    // Counted as a lost dispatch: a rewind that can never be written must not go round for ever.
    resident->loss_unsaved = true;
    residency_.Drop(*resident, /*release=*/true,
                    RedeliveryDelay(step_.limits, ++resident->lost_leases));
  }
  step_.Reply(event.done, absl::UnavailableError(event.status.message()));
}

bool Turns::SettleBeside(const TaskEnded& event) {
  Resident* resident = residency_.table().Find(event.completion.instance_key);
  const int64_t seq = event.context->unstored_seq;
  if (resident == nullptr || !residency_.results().EndStoring(*resident, seq)) return false;
  const bool stored = event.result.ok() && event.result->outcome == TaskOutcome::kOk &&
                      event.result->delivery.lease_token == resident->lease;
  if (!stored) {
    residency_.Drop(*resident, /*release=*/true);
    return false;
  }
  resident->turn.Renumber(seq, event.result->delivery.seq);
  // It stays in the inbox until the turn's checkpoint, like every message of a turn.
  mail_.Apply(resident->hub->id, event.result->delivery, event.completion.message);
  if (!UnstoredResults::IsStoring(*resident)) EndParked(*resident);
  return true;
}

void Turns::ExpireResults() {
  while (const auto expired = residency_.results().TakeExpired()) {
    const auto& [seq, resident] = *expired;
    if (resident->phase != Resident::Phase::kDispatched) {
      residency_.results().StoreApart(*resident);
      residency_.Reconsider(*resident);
      continue;
    }
    for (UnstoredResult& result : resident->unstored) {
      if (result.seq == seq) residency_.results().StoreBeside(result);
    }
    // The worker did not answer the turn in time for a result that waited for it.
    if (Stream* stream = matcher_.table().Find(resident->stream)) stream->result_waits.Failed();
  }
}

}  // namespace dt::dispatch
