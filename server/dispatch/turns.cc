// Residents and their turns: from a claim to the work item, and from the worker's answer to the
// checkpoint (commits.cc).
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/dispatch/dispatcher.h"
#include "server/dispatch/failures.h"
#include "spdlog/spdlog.h"

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
void WarnOfSize(const std::string& instance_id, int64_t bytes) {
  spdlog::warn(
      "instance {}: its work item has {} bytes, and most SDKs receive {} at most: if its workers "
      "lose their streams, raise the size of messages that they receive, or shorten the history "
      "by continuing as new",
      instance_id, bytes, LargeItems::kReceiveBytes);
}

}  // namespace

bool Dispatcher::Poisoned(int32_t lost_leases) const {
  return limits_.lost_leases_max > 0 && lost_leases > limits_.lost_leases_max;
}

// --- Becoming a resident

void Dispatcher::Adopt(Claim claim, std::optional<absl::Time> created_at) {
  if (LeaseTokenWorker(claim.lease_token) != worker_) {
    // Leased under a registration that was lost meanwhile; the sweep may have come before it.
    InstanceRelease release;
    release.key = claim.key;
    release.hub = claim.hub;
    release.instance_id = std::move(claim.instance_id);
    release.lease_token = claim.lease_token;
    Release(std::move(release));
    return;
  }
  Hub& hub = *table_.HubOf(claim.hub);
  absl::btree_map<int32_t, KeptTask> inline_tasks;
  if (Resident* older = residents_.FindById(hub, claim.instance_id)) {
    // Its lease is gone, else this claim were not possible; or it is the same, asked for again.
    if (older->lease == claim.lease_token) inline_tasks = std::move(older->inline_tasks);
    Drop(*older, /*release=*/false);
  }
  absl::StatusOr<orchestration::InstanceState> state = orchestration::StateFromClaim(claim);
  if (!state.ok()) {
    spdlog::error("instance {}: its history cannot be used and its messages are dropped: {}",
                  claim.instance_id, state.status().ToString());
    DiscardCorrupt(claim);
    return;
  }
  auto resident = std::make_unique<Resident>();
  resident->state = *std::move(state);
  resident->lease = claim.lease_token;
  resident->created_at = created_at;
  resident->hub = &hub;
  resident->route =
      table_.RouteOf(hub, WorkType::kTurn, resident->state.name, resident->state.version);
  ++resident->route->users;
  resident->lost_leases = claim.lost_leases;
  resident->inline_tasks = std::move(inline_tasks);
  resident->inbox = std::move(claim.messages);
  if (claim.more_messages) {
    resident->unread_from = resident->inbox.back().visible_at;
  } else if (claim.next_due.has_value()) {
    resident->unread_from = *claim.next_due;
  }
  Resident& added = *residents_.Add(std::move(resident));
  TakeEarlyMessages(added);
  Reconsider(added);
}

void Dispatcher::TakeEarlyMessages(Resident& resident) {
  auto early = early_.find(resident.key());
  if (early != early_.end()) {
    for (auto& [lease, message] : early->second) {
      const bool known =
          std::any_of(resident.inbox.begin(), resident.inbox.end(),
                      [seq = message.seq](const Message& m) { return m.seq == seq; });
      if (lease == resident.lease && !known) residents_.Append(resident, std::move(message));
    }
    early_.erase(early);
  }
  if (suspects_.contains(resident.lease)) resident.unread = true;
}

void Dispatcher::AdoptSeed(Hub& hub, const InstanceSeed& seed, InstanceKey key, int64_t started_seq,
                           absl::Time created_at) {
  Claim claim;
  claim.key = key;
  claim.hub = hub.id;
  claim.lease_token = seed.lease_token;
  claim.instance_id = seed.instance_id;
  claim.execution_id = seed.execution_id;
  claim.name = seed.name;
  claim.version = seed.version;
  claim.parent = seed.parent;
  Message started;
  started.seq = started_seq;
  started.generation = seed.started.generation;
  started.visible_at = std::max(seed.started.visible_at, created_at);
  started.event_type = seed.started.event_type;
  started.event = seed.started.event;
  claim.messages.push_back(std::move(started));
  Adopt(std::move(claim), created_at);
}

void Dispatcher::DiscardCorrupt(const Claim& claim) {
  DiscardRequest request;
  request.key = claim.key;
  request.hub = claim.hub;
  request.instance_id = claim.instance_id;
  request.lease_token = claim.lease_token;
  for (const Message& message : claim.messages) request.seqs.push_back(message.seq);
  request.release = true;
  effects_->push_back(Discard{std::move(request)});
}

void Dispatcher::Drop(Resident& resident, bool release, absl::Duration delay) {
  Unready(resident);
  if (resident.phase == Resident::Phase::kDispatched) {
    FreeCredit(resident.stream, WorkType::kTurn, resident.key());
    TakeTurnBack(resident);
  }
  StoreApart(resident);
  ForgetEarlyKey(resident);
  if (release && !resident.unborn()) {
    InstanceRelease request;
    request.key = resident.key();
    request.hub = resident.hub->id;
    request.instance_id = resident.state.instance_id;
    request.lease_token = resident.lease;
    request.delay = delay;
    request.lost = resident.loss_unsaved;
    request.kept_tasks = resident.KeptTasks();
    Release(std::move(request));
  }
  Route* route = resident.route;
  residents_.Remove(&resident);
  table_.Leave(route);
}

// --- What a resident waits for

void Dispatcher::Unready(Resident& resident) {
  if (resident.ready_at.has_value()) resident.route->ready.erase(*resident.ready_at);
  resident.ready_at.reset();
  if (resident.phase == Resident::Phase::kReady) resident.phase = Resident::Phase::kIdle;
}

void Dispatcher::Reconsider(Resident& resident) {
  if (resident.phase != Resident::Phase::kIdle && resident.phase != Resident::Phase::kReady) return;
  Unready(resident);
  residents_.SetDue(resident, std::nullopt);
  const absl::Time due = resident.next_due();
  if (draining_) {
    Drop(resident, /*release=*/true);
    return;
  }
  if (resident.route->streams.empty()) {
    Orphan(resident);
    return;
  }
  if (due > now_) {
    if (due != absl::InfiniteFuture()) residents_.SetDue(resident, due);
    if (!resident.idle) residents_.SetIdle(resident, steady_ + limits_.resident_linger);
    return;
  }
  const bool was_idle = resident.idle;
  residents_.SetBusy(resident);
  // Idle ones are no work, and many may become due together: what the hub has no room for comes
  // back by a claim.
  if (was_idle && work_.Exceeded(resident.hub->work_bytes) &&
      resident.hub->work_bytes > resident.bytes) {
    Drop(resident, /*release=*/true);
    return;
  }
  if (resident.awaits_read || (resident.unborn() && resident.unread)) return;
  const bool known = !resident.inbox.empty() && resident.inbox.front().visible_at <= now_;
  if (resident.unread || !known) {
    StartRead(resident);
    return;
  }
  resident.phase = Resident::Phase::kReady;
  resident.ready_at = {resident.inbox.front().visible_at, resident.inbox.front().seq,
                       resident.key()};
  resident.route->ready.insert(*resident.ready_at);
  List(*resident.route);
}

void Dispatcher::StartRead(Resident& resident) {
  resident.phase = Resident::Phase::kReading;
  residents_.SetBusy(resident);
  residents_.BeginRead();
  effects_->push_back(
      ReadInbox{resident.hub->id, resident.state.instance_id, resident.key(), resident.lease});
}

void Dispatcher::On(InboxReadDone& event) {
  Resident* resident = residents_.Find(event.key, event.lease_token);
  const bool wanted = resident != nullptr && resident->phase == Resident::Phase::kReading;
  if (wanted) {
    resident->phase = Resident::Phase::kIdle;
    if (!event.result.ok()) {
      Drop(*resident, /*release=*/true, StoreFailed(WorkType::kTurn, event.key));
    } else if (event.result->lease_token != resident->lease) {
      Drop(*resident, /*release=*/true);
    } else {
      residents_.Merge(*resident, *std::move(event.result));
    }
  }
  residents_.EndRead();
  if (wanted && (resident = residents_.Find(event.key, event.lease_token)) != nullptr) {
    Reconsider(*resident);
  }
}

// --- To the worker

bool Dispatcher::OfferTurn(Resident& resident, Stream* stream, bool all_gave_back) {
  if (stream == nullptr) {
    if (!all_gave_back) return false;
    // Other daemons may have it at once; claims of this one leave it until a stream may try again.
    unaccepted_.GaveBack(*resident.route, resident.key(), resident.state.instance_id);
    Drop(resident, /*release=*/true);
    return true;
  }
  Unready(resident);
  const bool more = resident.unread_from <= now_;
  resident.turn = orchestration::PlanTurn(resident.state, residents_.Due(resident, now_), now_,
                                          limits_.turn, more);
  for (size_t i = 0; i < resident.turn.dropped.size(); ++i) {
    spdlog::warn("DiscardingEvent (313): instance {}, message {}: {}", resident.state.instance_id,
                 resident.turn.dropped[i], resident.turn.drop_reasons[i]);
  }
  if (resident.turn.empty() && !resident.unstored.empty()) {
    StoreApart(resident);  // what is discarded must be stored
    Reconsider(resident);
  } else if (resident.turn.empty() && resident.unborn()) {
    Drop(resident, /*release=*/false);  // it comes back with its creation
  } else if (resident.turn.held) {
    Drop(resident, /*release=*/true, absl::InfiniteDuration());
  } else if (resident.turn.empty()) {
    EndEmptyTurn(resident);
  } else if (resident.lost_leases >= kLossesBeforeTermination && resident.turn.HasTermination()) {
    spdlog::warn("orchestration {} is terminated here: no worker answered {} dispatches of it",
                 resident.state.instance_id, resident.lost_leases);
    CommitTurn(resident,
               orchestration::TerminateInstance(resident.state, resident.turn, resident.lease, now_,
                                                *ids_, limits_.turn),
               /*failed_by_server=*/true, nullptr);
  } else if (const auto failure = FailureOf(resident)) {
    large_items_.Forget({WorkType::kTurn, resident.key()});
    FailTurn(resident, *failure, nullptr);
  } else {
    SendTurn(resident, *stream);
  }
  return true;
}

std::optional<TaskFailureDetails> Dispatcher::FailureOf(const Resident& resident) const {
  const bool poisoned = Poisoned(resident.lost_leases);
  const auto too_large = large_items_.Failure({WorkType::kTurn, resident.key()}, poisoned);
  if (too_large.has_value()) return ServerFailure("WorkItemTooLarge", *too_large);
  if (!poisoned) return std::nullopt;
  return ServerFailure("PoisonMessage",
                       absl::StrCat("The orchestration was given up after ", resident.lost_leases,
                                    " dispatches that no worker answered."));
}

Dispatcher::Offered Dispatcher::OfferOf(const Resident& resident) {
  Offered offered{resident.key(),
                  resident.state.history_bytes > limits_.history_streaming_from_bytes};
  const LargeItems::Item item(WorkType::kTurn, resident.key());
  if (resident.bytes <= LargeItems::kReceiveBytes || FailureOf(resident).has_value()) {
    return offered;
  }
  for (const Message& message : residents_.Due(resident, now_)) {
    const auto bytes = message.event == nullptr ? 0 : static_cast<int64_t>(message.event->size());
    const int64_t sum = offered.streamed_bytes + bytes;
    if (offered.streamed_bytes > 0 && sum > limits_.turn.message_bytes_max) break;
    offered.streamed_bytes = sum;
  }
  offered.bytes = offered.streamed_bytes + resident.state.history_bytes;
  offered.overdue =
      offered.bytes > LargeItems::kReceiveBytes && large_items_.IsOverdue(item, steady_);
  return offered;
}

void Dispatcher::SendTurn(Resident& resident, Stream& stream) {
  const int64_t key = resident.key();
  resident.phase = Resident::Phase::kDispatched;
  residents_.SetBusy(resident);
  resident.stream = stream.id;
  resident.dispatch = ++last_dispatch_;
  ForgetParts(resident);
  TakeCredit(stream, WorkType::kTurn, key);
  const std::string token = FormatToken({WorkType::kTurn, key, resident.lease, resident.dispatch});
  orchestration::RequestOptions options;
  options.completion_token = token;
  options.stream_history = stream.options.history_streaming && !resident.whole_history &&
                           resident.state.history_bytes > limits_.history_streaming_from_bytes;
  orchestration::Frame frame =
      orchestration::EncodeOrchestratorItem(resident.state, resident.turn, options);
  const int64_t bytes = BytesOf(frame);
  if (bytes > LargeItems::kReceiveBytes && !std::exchange(resident.warned_of_size, true)) {
    WarnOfSize(resident.state.instance_id, bytes);
  }
  NoteSent(stream, WorkType::kTurn, key, bytes);
  Send(stream, std::move(frame));
}

void Dispatcher::EndEmptyTurn(Resident& resident) {
  if (resident.turn.dropped.empty()) {
    // It waits for a message that is not due, or not read.
    const auto future =
        std::find_if(resident.inbox.begin(), resident.inbox.end(),
                     [this](const Message& message) { return message.visible_at > now_; });
    absl::Time next = future == resident.inbox.end() ? absl::InfiniteFuture() : future->visible_at;
    if (resident.unread_from > now_) next = std::min(next, resident.unread_from);
    if (next == absl::InfiniteFuture() || resident.unread_from <= now_) {
      next = now_ + kStalledInboxDelay;
      resident.unread = true;
    }
    residents_.SetDue(resident, next);
    residents_.SetIdle(resident, steady_ + limits_.resident_linger);
    return;
  }
  resident.phase = Resident::Phase::kCommitting;
  residents_.SetBusy(resident);
  ++commits_in_flight_;
  DiscardRequest request;
  request.key = resident.key();
  request.hub = resident.hub->id;
  request.instance_id = resident.state.instance_id;
  request.lease_token = resident.lease;
  request.seqs = std::move(resident.turn.dropped);
  effects_->push_back(Discard{std::move(request)});
}

void Dispatcher::On(Discarded& event) {
  if (event.released) {  // of a corrupt instance, which is no resident
    if (event.result.ok()) return;
    InstanceRelease release;
    release.key = event.key;
    release.hub = event.hub;
    release.instance_id = std::move(event.instance_id);
    release.lease_token = event.lease_token;
    release.delay = StoreFailed(WorkType::kTurn, event.key);
    Release(std::move(release));
    return;
  }
  --commits_in_flight_;
  Resident* resident = residents_.Find(event.key, event.lease_token);
  if (resident == nullptr) return;
  resident->phase = Resident::Phase::kIdle;
  if (!event.result.ok()) {
    Drop(*resident, /*release=*/true, StoreFailed(WorkType::kTurn, event.key));
    return;
  }
  if (*event.result == LeaseOutcome::kLeaseLost) {
    Drop(*resident, /*release=*/false);
    return;
  }
  store_failures_.Succeeded({WorkType::kTurn, event.key});
  residents_.Consume(*resident, std::move(event.seqs));
  residents_.Weigh(*resident);
  Reconsider(*resident);
}

void Dispatcher::LoseTurn(Resident& resident, bool charged) {
  if (resident.unborn()) {  // its credit is free already
    resident.phase = Resident::Phase::kIdle;
    TakeTurnBack(resident);
    Drop(resident, /*release=*/false);
    return;
  }
  resident.phase = Resident::Phase::kIdle;
  TakeTurnBack(resident);
  resident.whole_history = false;
  if (!charged) return Reconsider(resident);
  ++resident.lost_leases;
  resident.loss_unsaved = true;
  const absl::Duration delay = RedeliveryDelay(resident.lost_leases);
  if (delay > absl::ZeroDuration() && !Poisoned(resident.lost_leases)) {
    Drop(resident, /*release=*/true, delay);
  } else {
    Reconsider(resident);
  }
}

// --- From the worker

Resident* Dispatcher::FindAnswered(HubId hub, const std::string& token,
                                   const std::string& instance_id) {
  Resident* resident = nullptr;
  if (token.empty()) {
    // A worker that echoes no token means the turn in flight; there is one at most (2.5).
    Hub* found = table_.FindHub(hub);
    if (found != nullptr) resident = residents_.FindById(*found, instance_id);
  } else {
    const std::optional<CompletionToken> parsed = ParseToken(token);
    if (parsed.has_value() && parsed->type == WorkType::kTurn) {
      const auto born = early_keys_.find(parsed->key);
      resident =
          residents_.Find(born == early_keys_.end() ? parsed->key : born->second, parsed->lease);
      if (resident != nullptr && resident->dispatch != parsed->dispatch) resident = nullptr;
    }
  }
  if (resident == nullptr || resident->hub->id != hub ||
      resident->phase != Resident::Phase::kDispatched) {
    return nullptr;
  }
  return resident;
}

void Dispatcher::On(TurnAnswered& event) {
  OrchestratorResponse& response = event.response;
  Resident* resident = FindAnswered(event.hub, response.completiontoken(), response.instanceid());
  if (resident == nullptr) {
    spdlog::debug("a stale answer for a turn of instance {} is ignored", response.instanceid());
    Reply(event.done, absl::OkStatus());
    return;
  }
  if (resident->parked != nullptr) {
    Reply(event.done, absl::OkStatus());  // the same answer again
    return;
  }
  if (response.requireshistory()) {
    // The same turn again, with everything; nothing is committed (3.17).
    resident->whole_history = true;
    Stream* stream = table_.Find(resident->stream);
    FreeCredit(resident->stream, WorkType::kTurn, resident->key());
    SendTurn(*resident, *stream);
    Reply(event.done, absl::OkStatus());
    return;
  }
  TurnAnswer answer;
  if (!TakePart(*resident, std::move(response), answer)) {
    if (work_.Room(resident->hub->work_bytes) > 0) {
      Reply(event.done, absl::OkStatus());
    } else {
      GiveBackTurn(*resident);
      Reply(event.done, absl::ResourceExhaustedError(
                            "the daemon's memory for work is used up (a part of memory.bytes-max), "
                            "so it cannot keep the parts of this response; the turn is offered "
                            "again later"));
    }
    return;
  }
  answer.done = std::move(event.done);
  if (MustPark(*resident, answer.response)) {
    resident->parked = std::make_unique<TurnAnswer>(std::move(answer));
  } else {
    EndTurn(*resident, std::move(answer));
  }
}

bool Dispatcher::TakePart(Resident& resident, OrchestratorResponse part, TurnAnswer& answer) {
  if (resident.merged == nullptr && orchestration::IsWhole(part)) {
    answer.response = std::move(part);
    return true;
  }
  if (resident.merged != nullptr) answer.response = std::move(*resident.merged);
  resident.merged_bytes += static_cast<int64_t>(part.SpaceUsedLong());
  const bool complete = orchestration::MergeChunk(std::move(part), answer.response);
  answer.too_large = resident.merged_bytes > limits_.response_bytes_max;
  // More actions than a turn may have fail it; what they are does not matter then.
  const bool too_many = answer.response.actions_size() > limits_.turn.actions_max;
  if (complete || answer.too_large || too_many) {
    ForgetParts(resident);
    return true;
  }
  resident.merged = std::make_unique<OrchestratorResponse>(std::move(answer.response));
  residents_.Weigh(resident);
  return false;
}

void Dispatcher::ForgetParts(Resident& resident) {
  resident.merged.reset();
  if (std::exchange(resident.merged_bytes, 0) > 0) residents_.Weigh(resident);
}

void Dispatcher::GiveBackTurn(Resident& resident) {
  Stream* stream = table_.Find(resident.stream);
  FreeCredit(resident.stream, WorkType::kTurn, resident.key());
  AddBackoff(*stream, WorkType::kTurn, resident.key());
  resident.phase = Resident::Phase::kIdle;
  TakeTurnBack(resident);
  Reconsider(resident);
}

void Dispatcher::EndTurn(Resident& resident, TurnAnswer answer) {
  const int64_t key = resident.key();
  ForgetEarlyKey(resident);
  FreeCredit(resident.stream, WorkType::kTurn, key);
  if (Stream* stream = table_.Find(resident.stream); stream && !stream->abandoned.empty()) {
    stream->abandoned.erase({WorkType::kTurn, key});
  }
  resident.phase = Resident::Phase::kCommitting;
  resident.whole_history = false;
  if (answer.too_large) {
    FailTurn(resident,
             ServerFailure("ResponseTooLarge",
                           absl::StrCat("The parts of the response together need more than ",
                                        limits_.response_bytes_max, " bytes of memory.")),
             std::move(answer.done));
    return;
  }
  orchestration::TurnResult result =
      orchestration::FinishTurn(resident.state, resident.turn, std::move(answer.response),
                                resident.lease, now_, *ids_, limits_.turn);
  if (result.rewind.has_value()) {
    ++commits_in_flight_;
    result.checkpoint.kept_tasks = resident.KeptTasks();
    effects_->push_back(RewindTurn{std::move(result.checkpoint), *std::move(result.rewind),
                                   std::move(answer.done)});
    return;
  }
  CommitTurn(resident, std::move(result), /*failed_by_server=*/false, std::move(answer.done));
}

void Dispatcher::On(Abandoned& event) {
  if (event.type == WorkType::kActivity) {
    AbandonTask(event);
    return;
  }
  // An abandon names no instance, so one without a token matches nothing.
  Resident* resident = event.completion_token.empty()
                           ? nullptr
                           : FindAnswered(event.hub, event.completion_token, "");
  if (resident != nullptr) GiveBackTurn(*resident);
  Reply(event.done, absl::OkStatus());
}

void Dispatcher::On(HistoryAsked& event) {
  Hub* hub = table_.FindHub(event.hub);
  Resident* resident = hub == nullptr ? nullptr : residents_.FindById(*hub, event.instance_id);
  if (resident == nullptr || resident->phase != Resident::Phase::kDispatched ||
      (!event.execution_id.empty() && resident->state.execution_id != event.execution_id)) {
    effects_->push_back(AnswerHistory{
        std::move(event.done), absl::NotFoundError(absl::StrCat(
                                   "no turn of instance ", event.instance_id, " with execution id ",
                                   event.execution_id, " is in flight"))});
    return;
  }
  effects_->push_back(AnswerHistory{std::move(event.done), resident->state.history});
}

}  // namespace dt::dispatch
