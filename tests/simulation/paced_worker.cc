#include "tests/simulation/paced_worker.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/dispatch/tokens.h"

namespace dt::testing {

using dispatch::Index;
using dispatch::WorkType;

PacedWorker::PacedWorker(FakeDaemon* daemon, MemoryStore* store, size_t number, HubId hub,
                         const dispatch::StreamOptions& options, Pace pace, Ledger* ledger)
    : daemon_(daemon), store_(store), ledger_(ledger), pace_(pace) {
  credits_[Index(WorkType::kTurn)] = options.orchestrations_max;
  credits_[Index(WorkType::kActivity)] = options.activities_max;
  credits_[Index(WorkType::kEntity)] = options.entities_max;
  stream_ = daemon_->Open(hub, options);
  place_ = {number, stream_.id};
}

void PacedWorker::Receive(absl::Time now, bool doubtful) {
  while (std::optional<WorkItem> item = stream_.sink->Take()) {
    const auto token = dispatch::ParseToken(item->completiontoken());
    // Sent under a registration that is no more.
    const bool old = !token.has_value() || LeaseTokenWorker(token->lease) != store_->worker();
    Ledger::Entry* entry = ledger_->Sent(*item, place_, doubtful || old);
    waiting_.push_back({*std::move(item), entry, now});
    CheckCredits(entry->type);
  }
  if (!waiting_.empty() || !running_.empty()) {
    idle_since_ = absl::InfiniteFuture();
  } else if (idle_since_ == absl::InfiniteFuture()) {
    idle_since_ = now;
  }
}

void PacedWorker::CheckCredits(WorkType type) {
  if (credits_[Index(type)] == 0) return;  // the daemon's default
  const auto unanswered = [&](const auto& counts) {
    return std::count_if(waiting_.begin(), waiting_.end(), counts) +
           std::count_if(running_.begin(), running_.end(), counts);
  };
  const auto of_type = [type](const Held& held) { return held.entry->type == type; };
  if (unanswered(of_type) <= credits_[Index(type)]) return;
  // Those that the daemon does not count any more are looked for only now, as that takes long.
  const auto counted = unanswered(
      [&](const Held& held) { return of_type(held) && ledger_->IsAtWorker(*held.entry); });
  if (counted <= credits_[Index(type)]) return;
  ledger_->Complain(absl::StrCat("stream ", place_.stream, " of daemon ", place_.daemon, " has ",
                                 counted, " items of kind ", Index(type), " and ",
                                 credits_[Index(type)], " credits"));
}

bool PacedWorker::HasSlot(const Held& held) const {
  const auto taken = std::count_if(running_.begin(), running_.end(), [&](const Held& other) {
    return pace_.one_for_all || other.entry->type == held.entry->type;
  });
  return taken < pace_.at_once;
}

void PacedWorker::Run(const Functions& functions, absl::Time now) {
  if (now < stalled_until_) return;
  for (auto held = running_.begin(); held != running_.end();) {
    if (held->at > now) {
      ++held;
      continue;
    }
    Answer(functions, *held);
    held = running_.erase(held);
  }
  for (auto held = waiting_.begin(); held != waiting_.end();) {
    if (!HasSlot(*held)) {
      ++held;
      continue;
    }
    held->at = now + (held->entry->type == WorkType::kActivity ? pace_.activity : pace_.turn);
    running_.push_back(std::move(*held));
    held = waiting_.erase(held);
  }
}

void PacedWorker::Answer(const Functions& functions, const Held& held) {
  held.entry->answered = true;
  std::optional<absl::Status>* answer = &held.entry->answer;
  switch (held.entry->type) {
    case WorkType::kTurn:
      return daemon_->Answer(stream_.hub, RunTurn(functions, held.item), answer);
    case WorkType::kActivity:
      return daemon_->Answer(stream_.hub, RunActivity(functions, held.item), answer);
    case WorkType::kEntity:
      return daemon_->Answer(stream_.hub, RunBatch(functions, held.item), answer);
  }
}

void PacedWorker::AbandonOne() {
  if (waiting_.empty()) return;
  waiting_.front().entry->over = true;
  daemon_->Abandon(stream_.hub, waiting_.front().item);
  waiting_.pop_front();
}

void PacedWorker::Close() {
  daemon_->Close(stream_);
  ledger_->StreamClosed(place_);
}

absl::Duration PacedWorker::Backlog(absl::Time since) const {
  const auto count = std::count_if(waiting_.begin(), waiting_.end(), [since](const Held& held) {
    return held.entry->type == WorkType::kActivity && held.at >= since;
  });
  return count * pace_.activity / pace_.at_once;
}

}  // namespace dt::testing
