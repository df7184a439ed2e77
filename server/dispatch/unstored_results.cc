#include "server/dispatch/unstored_results.h"

#include <algorithm>

#include "server/dispatch/inline_tasks.h"

namespace dt::dispatch {

void UnstoredResults::Give(UnstoredResult result, Resident& resident) {
  const NewMessage& message = result.completion.message;
  Message given;
  given.seq = result.seq = NewSeq();
  given.generation = message.generation;
  given.visible_at = step_.now;
  given.event_type = message.event_type;
  given.event = message.event;
  holds_.Set({given.seq, &resident}, step_.steady + step_.limits.result_hold_max);
  resident.unstored.push_back(std::move(result));
  residents_.Append(resident, std::move(given));
}

std::vector<UnstoredResult> UnstoredResults::TakeConsumed(Resident& resident,
                                                          Checkpoint& checkpoint) {
  std::vector<UnstoredResult> results;
  if (resident.unstored.empty()) return results;
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
    holds_.Remove({it->seq, &resident});
    results.push_back(std::move(*it));
  }
  resident.unstored.erase(taken, resident.unstored.end());
  std::erase_if(consumed, [](int64_t seq) { return seq < 0; });
  return results;
}

void UnstoredResults::Store(UnstoredResult result) {
  ++step_.commits_in_flight;
  step_.Do(EndTask{std::move(result.completion), std::move(result.context)});
}

void UnstoredResults::StoreApart(std::vector<UnstoredResult>& results) {
  for (UnstoredResult& result : results) Store(std::move(result));
  results.clear();
}

void UnstoredResults::StoreApart(Resident& resident) {
  for (const UnstoredResult& result : resident.unstored) {
    resident.inbox.Remove(result.seq);
    holds_.Remove({result.seq, &resident});
  }
  StoreApart(resident.unstored);
}

void UnstoredResults::StoreBeside(UnstoredResult& result) {
  result.context->unstored_seq = result.seq;
  Store({result.seq, std::move(result.completion), std::move(result.context)});
}

void UnstoredResults::StoreAllBeside(Resident& resident) {
  for (UnstoredResult& result : resident.unstored) {
    if (result.storing()) continue;
    holds_.Remove({result.seq, &resident});
    StoreBeside(result);
  }
}

bool UnstoredResults::IsStoring(const Resident& resident) {
  return std::any_of(resident.unstored.begin(), resident.unstored.end(),
                     [](const UnstoredResult& result) { return result.storing(); });
}

bool UnstoredResults::EndStoring(Resident& resident, int64_t seq) {
  const auto found =
      std::find_if(resident.unstored.begin(), resident.unstored.end(),
                   [seq](const UnstoredResult& result) { return result.seq == seq; });
  if (found == resident.unstored.end()) return false;
  resident.unstored.erase(found);
  resident.inbox.Remove(seq);
  return true;
}

void UnstoredResults::TakeTurnBack(Resident& resident) {
  resident.turn.ForgetParts();
  if (resident.turn.parked != nullptr) {
    step_.Reply(resident.turn.parked->done, absl::OkStatus());
    resident.turn.parked.reset();
  }
  std::erase_if(resident.unstored, [&resident](const UnstoredResult& result) {
    if (!result.storing()) return false;
    resident.inbox.Remove(result.seq);
    return true;
  });
  residents_.Weigh(resident);
}

}  // namespace dt::dispatch
