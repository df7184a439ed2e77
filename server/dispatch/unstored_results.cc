// Results of activities on a short way: the result goes to the parent's next turn at once, and that
// turn's checkpoint stores both, in one transaction in place of two, without a message in an inbox.
//
// Rules
//   * Only a parent that is held here, waits for nothing else and can be sent to a worker now is
//     given a result so. Everybody else gets it by the store, as a message.
//   * The worker of the activity is acknowledged when the result is stored, as ever. So it
//     waits for the turn of its parent, but no longer than `result_hold_max`: then the result
//     is stored as a message after all, beside its turn.
//   * A worker that answers a turn only after its activity was acknowledged would wait so each
//     time. Its stream is then left alone for a while, longer each time.
//   * Whatever ends the turn without a checkpoint stores the results that it was given: a resident
//     may be dropped at any time.
// A result that is lost with the daemon was never acknowledged; its activity runs again.
#include <algorithm>

#include "server/dispatch/dispatcher.h"

namespace dt::dispatch {
namespace {

constexpr int kResultsSkipMin = 64;
constexpr int kResultsSkipDoublingsMax = 6;

auto WithSeq(int64_t seq) {
  return [seq](const auto& numbered) { return numbered.seq == seq; };
}

void RemoveMessage(Resident& resident, int64_t seq) {
  auto& inbox = resident.inbox;
  inbox.erase(std::remove_if(inbox.begin(), inbox.end(), WithSeq(seq)), inbox.end());
}

}  // namespace

// --- To the turn

Resident* Dispatcher::TakerOf(const HeldTask& held, Stream** stream) {
  Resident* resident = residents_.Find(held.task.instance_key);
  if (resident == nullptr || resident->state.generation != held.task.generation ||
      resident->lost_leases > 0 || resident->awaits_read || ResidentTable::IsFull(*resident)) {
    return nullptr;
  }
  const bool waits = resident->phase == Resident::Phase::kIdle && resident->next_due() > now_;
  const bool joins = resident->phase == Resident::Phase::kReady && !resident->unstored.empty();
  if (!waits && !joins) return nullptr;
  bool all_gave_back = false;
  const Route& route = *resident->route;
  *stream = Choose(route, OfferOf(*resident), &all_gave_back);
  if (*stream == nullptr) return nullptr;
  // Those that are ready already go first.
  if (!joins && (*stream)->credits[Index(WorkType::kTurn)].free() <= route.waiting()) {
    return nullptr;
  }
  return resident;
}

bool Dispatcher::GiveToTurn(HeldTask& held, NewMessage& message, DoneCallback& done) {
  if (draining_ || limits_.result_hold_max <= absl::ZeroDuration()) return false;
  Stream* stream = nullptr;
  Resident* resident = TakerOf(held, &stream);
  if (resident == nullptr) return false;
  if (stream->results_to_skip > 0) {
    --stream->results_to_skip;
    return false;
  }
  Message given;
  given.seq = ++last_unstored_;
  given.generation = message.generation;
  given.visible_at = now_;
  given.event_type = message.event_type;
  given.event = message.event;
  result_holds_.Set({given.seq, resident->key()}, steady_ + limits_.result_hold_max);
  resident->unstored.push_back(
      ResultOf(held, std::move(message), /*failed_by_server=*/false, std::move(done)));
  resident->unstored.back().seq = given.seq;
  residents_.Append(*resident, std::move(given));
  Reconsider(*resident);
  return true;
}

// --- To the store, with the checkpoint

void Dispatcher::TakeResults(Resident& resident, Checkpoint& checkpoint, CommitContext& context) {
  if (resident.unstored.empty()) return;
  std::vector<int64_t>& consumed = checkpoint.consumed;
  const auto taken = std::stable_partition(resident.unstored.begin(), resident.unstored.end(),
                                           [&consumed](const UnstoredResult& result) {
                                             return std::find(consumed.begin(), consumed.end(),
                                                              result.seq) == consumed.end();
                                           });
  for (auto it = taken; it != resident.unstored.end(); ++it) {
    const TaskCompletion& completion = it->completion;
    if (IsInline(resident, completion)) {
      checkpoint.completed_inline_tasks.push_back(completion.place.task_id);
    } else {
      checkpoint.completed_tasks.push_back({completion.key, completion.lease_token});
    }
    result_holds_.Remove({it->seq, resident.key()});
    context.results.push_back(std::move(*it));
  }
  resident.unstored.erase(taken, resident.unstored.end());
  consumed.erase(
      std::remove_if(consumed.begin(), consumed.end(), [](int64_t seq) { return seq < 0; }),
      consumed.end());
  if (Stream* stream = table_.Find(resident.stream)) stream->results_in_vain = 0;
}

void Dispatcher::EndResults(std::vector<UnstoredResult>& results) {
  for (UnstoredResult& result : results) {
    TaskContext& context = *result.context;
    HeldTask* held = FindTask(context.key);
    if (held != nullptr && held->task.lease_token == context.lease_token) {
      DropTask(*held, /*release=*/false);
    }
    Reply(context.done, absl::OkStatus());
  }
  results.clear();
}

// --- To the store, apart from the turn

void Dispatcher::StoreApart(std::vector<UnstoredResult>& results) {
  for (UnstoredResult& result : results) Store(std::move(result));
  results.clear();
}

void Dispatcher::StoreApart(Resident& resident) {
  for (const UnstoredResult& result : resident.unstored) {
    RemoveMessage(resident, result.seq);
    result_holds_.Remove({result.seq, resident.key()});
  }
  StoreApart(resident.unstored);
}

void Dispatcher::StoreBeside(UnstoredResult& result) {
  result_holds_.Remove({result.seq, result.completion.instance_key});
  result.context->unstored_seq = result.seq;
  UnstoredResult sent;
  sent.completion = result.completion;
  sent.context = std::move(result.context);
  Store(std::move(sent));
}

bool Dispatcher::MustPark(Resident& resident, const OrchestratorResponse& response) {
  if (resident.unborn()) return true;
  const auto rewinds = [](const OrchestratorAction& action) {
    return action.has_rewindorchestration();
  };
  if (!resident.unstored.empty() &&
      std::any_of(response.actions().begin(), response.actions().end(), rewinds)) {
    // A rewind is decided by what is stored.
    for (UnstoredResult& result : resident.unstored) {
      if (!result.storing()) StoreBeside(result);
    }
  }
  return std::any_of(resident.unstored.begin(), resident.unstored.end(),
                     [](const UnstoredResult& result) { return result.storing(); });
}

void Dispatcher::NoteVainWait(StreamId id) {
  Stream* stream = table_.Find(id);
  if (stream == nullptr || stream->results_to_skip > 0) return;
  stream->results_to_skip = kResultsSkipMin << stream->results_in_vain;
  stream->results_in_vain = std::min(stream->results_in_vain + 1, kResultsSkipDoublingsMax);
}

void Dispatcher::ExpireResults() {
  while (const auto hold = result_holds_.Take(steady_)) {
    Resident& resident = *residents_.Find(hold->second);
    if (resident.phase == Resident::Phase::kDispatched) {
      StoreBeside(
          *std::find_if(resident.unstored.begin(), resident.unstored.end(), WithSeq(hold->first)));
      NoteVainWait(resident.stream);
    } else {
      StoreApart(resident);
      Reconsider(resident);
    }
  }
}

bool Dispatcher::SettleBeside(const TaskContext& context,
                              const absl::StatusOr<TaskResult>& result) {
  Resident* resident = residents_.Find(context.instance_key);
  if (resident == nullptr) return false;
  const auto found = std::find_if(resident->unstored.begin(), resident->unstored.end(),
                                  WithSeq(context.unstored_seq));
  if (found == resident->unstored.end()) return false;
  resident->unstored.erase(found);
  RemoveMessage(*resident, context.unstored_seq);
  const bool stored = result.ok() && result->outcome == TaskOutcome::kOk &&
                      result->delivery.lease_token == resident->lease;
  if (!stored) {
    Drop(*resident, /*release=*/true);
    return false;
  }
  Renumber(resident->turn, context.unstored_seq, result->delivery.seq);
  // It stays in the inbox until the turn's checkpoint, like every message of a turn.
  ApplyDelivery(*resident->hub, result->delivery, context.message);
  const bool waits = std::any_of(resident->unstored.begin(), resident->unstored.end(),
                                 [](const UnstoredResult& other) { return other.storing(); });
  if (!waits && resident->parked != nullptr) {
    const std::unique_ptr<TurnAnswer> parked = std::move(resident->parked);
    EndTurn(*resident, std::move(*parked));
  }
  return true;
}

void Dispatcher::Renumber(orchestration::Turn& turn, int64_t from, int64_t to) {
  for (orchestration::TurnEvent& event : turn.events) {
    if (event.seq == from) event.seq = to;
  }
  std::replace(turn.dropped.begin(), turn.dropped.end(), from, to);
}

void Dispatcher::TakeTurnBack(Resident& resident) {
  ForgetParts(resident);
  if (resident.parked != nullptr) Reply(resident.parked->done, absl::OkStatus());
  resident.parked.reset();
  // Those that are being stored come back as messages like any other.
  auto& unstored = resident.unstored;
  const auto storing =
      std::remove_if(unstored.begin(), unstored.end(), [&resident](const UnstoredResult& result) {
        if (!result.storing()) return false;
        RemoveMessage(resident, result.seq);
        return true;
      });
  unstored.erase(storing, unstored.end());
}

}  // namespace dt::dispatch
