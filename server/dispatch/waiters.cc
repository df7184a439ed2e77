#include "server/dispatch/waiters.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace dt::dispatch {
namespace {

using WaitFor = DispatchThread::WaitFor;

constexpr WaitFor kAllWaits[] = {WaitFor::kStart, WaitFor::kCompletion};
// While hints arrive: a look of each wait so often, but no more of all of them than one in
// kHearingPace, gathered so that many are one read.
constexpr absl::Duration kHearingInterval = absl::Seconds(5);
constexpr absl::Duration kHearingPace = absl::Milliseconds(10);
constexpr absl::Duration kHearingGrid = absl::Seconds(1);
// While none arrive: by doubling up to wait_poll_interval, with the same bound.
constexpr absl::Duration kDeafIntervalMin = absl::Milliseconds(25);
constexpr absl::Duration kDeafPace = absl::Milliseconds(1);

absl::Time AlignedUp(absl::Time time, absl::Duration grid) {
  return absl::UnixEpoch() + absl::Ceil(time - absl::UnixEpoch(), grid);
}

}  // namespace

void Waiters::Ask(const Target& target, bool hinted) {
  const auto [found, added] = asked_.emplace(target, hinted);
  if (added) step_.Do(ReadStatus{target.first, target.second});
}

void Waiters::SetLook(WaitId id, Wait& wait) {
  const auto waits = static_cast<int64_t>(waits_.size());
  if (step_.hears) {
    const absl::Duration delay = std::max(kHearingInterval, waits * kHearingPace);
    return looks_.Set(id, AlignedUp(step_.steady + delay, kHearingGrid));
  }
  const absl::Duration delay = std::min(kDeafIntervalMin * (int64_t{1} << std::min(wait.looks, 20)),
                                        step_.limits.wait_poll_interval);
  looks_.Set(id, step_.steady + std::max(delay, waits * kDeafPace));
}

void Waiters::Add(WaitAsked wait, std::optional<RuntimeStatus> known) {
  if (known.has_value() && DispatchThread::Satisfied(wait.wait_for, *known)) {
    step_.Do(AnswerWait{std::move(wait.done), KnownRow()});
    return;
  }
  const WaitId id = wait.wait;
  Target target{wait.hub, wait.instance_id};
  if (!known.has_value()) {
    // A read that is in flight may be older than this call, but then the next look finds the
    // change.
    Ask(target);
  }
  by_target_[std::move(target)].push_back(id);
  const WaitSoFar so_far = wait.so_far.value_or(WaitSoFar{absl::ZeroDuration(), known.has_value()});
  Wait& added = waits_.emplace(id, Wait{std::move(wait), so_far.exists}).first->second;
  SetLook(id, added);
  ends_.Set(id, step_.steady + step_.limits.wait_max - so_far.waited);
}

void Waiters::Remove(WaitId id, absl::StatusOr<KnownRow> result) {
  auto found = waits_.find(id);
  if (found == waits_.end()) return;
  WaitAsked& asked = found->second.asked;
  auto target = by_target_.find(Target{asked.hub, asked.instance_id});
  auto& ids = target->second;
  ids.erase(std::remove(ids.begin(), ids.end(), id), ids.end());
  if (ids.empty()) {
    for (const WaitFor wait_for : kAllWaits) {
      if (!told_.empty()) told_.erase({asked.hub, WaitName(wait_for, asked.instance_id)});
    }
    by_target_.erase(target);
  }
  step_.Do(AnswerWait{std::move(asked.done), std::move(result)});
  waits_.erase(found);
  looks_.Remove(id);
  ends_.Remove(id);
}

void Waiters::Cancel(WaitId wait) { Remove(wait, absl::CancelledError("the wait was cancelled")); }

bool Waiters::Awaited(HubId hub, const std::string& instance_id) const {
  return !waits_.empty() && by_target_.contains(Target{hub, instance_id});
}

void Waiters::Changed(HubId hub, const std::string& instance_id, RuntimeStatus status,
                      const KnownRow& row) {
  remote_.Changed(hub, instance_id, status);
  if (waits_.empty()) return;
  auto target = by_target_.find(Target{hub, instance_id});
  if (target == by_target_.end()) return;
  const absl::InlinedVector<WaitId, 1> ids = target->second;
  for (WaitId id : ids) {
    Wait& wait = waits_.at(id);
    wait.exists = true;
    if (DispatchThread::Satisfied(wait.asked.wait_for, status)) Remove(id, row);
  }
}

void Waiters::Released(HubId hub, const std::string& instance_id) {
  if (Awaited(hub, instance_id)) Ask({hub, instance_id});
}

void Waiters::On(StatusRead& read) {
  const Target target{read.hub, std::move(read.instance_id)};
  const auto asked = asked_.find(target);
  const bool hinted = asked->second;
  asked_.erase(asked);
  if (!read.result.ok()) return;  // the next look asks again
  const auto before = by_target_.find(target);
  if (before == by_target_.end()) return;
  const size_t waits = before->second.size();
  if (read.result->exists) {
    // Whoever changed it has told the others.
    for (const WaitId id : absl::InlinedVector<WaitId, 1>(before->second)) {
      Wait& wait = waits_.at(id);
      wait.exists = true;
      if (DispatchThread::Satisfied(wait.asked.wait_for, read.result->status)) {
        Remove(id, KnownRow());
      }
    }
  } else {
    for (const WaitId id : before->second) waits_.at(id).exists = false;
  }
  const auto left = by_target_.find(target);
  if (hinted && left != by_target_.end() && left->second.size() == waits) {
    hint_backoff_.Add(step_.steady);
  }
  if (step_.hears && left != by_target_.end()) Tell(target);
}

void Waiters::Tell(const Target& target) {
  std::vector<uint64_t> names;
  for (const WaitId id : by_target_.at(target)) {
    const uint64_t name = WaitName(waits_.at(id).asked.wait_for, target.second);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  for (const uint64_t name : names) told_.insert_or_assign({target.first, name}, target);
  step_.Do(TellOthers{{target.first, WaitHintKind::kAwaited, std::move(names)}});
}

void Waiters::Hinted(const Target& target) {
  const absl::Time at = hint_backoff_.NextLook(step_.steady);
  if (at <= step_.steady) return Ask(target, /*hinted=*/true);
  for (const WaitId id : by_target_.at(target)) {
    waits_.at(id).hinted = true;
    looks_.Set(id, at);
  }
}

void Waiters::On(WaitsHinted& hinted) {
  const WaitHints& hints = hinted.hints;
  switch (hints.kind) {
    case WaitHintKind::kAwaited:
      return remote_.On(hints);
    case WaitHintKind::kChanged:
      for (const uint64_t name : hints.waits) {
        const auto told = told_.find({hints.hub, name});
        if (told == told_.end()) continue;
        const Target target = std::move(told->second);
        told_.erase(told);
        Hinted(target);
      }
      return;
    case WaitHintKind::kTellAgain:
      remote_.SetOthers(true);
      // Whoever may connect to the database can ask. Who gets no answer is told by the next looks.
      if (hint_backoff_.NextLook(step_.steady) > step_.steady) return;
      hint_backoff_.Add(step_.steady);
      for (const auto& [key, target] : told_) {
        step_.Do(TellOthers{{key.first, WaitHintKind::kAwaited, {key.second}}});
      }
      return;
    case WaitHintKind::kWorkersChanged:
      return;  // of no wait
  }
}

void Waiters::On(HearingChanged& hearing) {
  step_.hears = hearing.hears;
  if (!step_.hears) told_.clear();  // nobody's answer would arrive
  for (auto& [id, wait] : waits_) {
    wait.looks = 0;
    // What was told meanwhile is lost.
    looks_.Set(id, step_.steady);
  }
}

void Waiters::OnTime() {
  while (const std::optional<WaitId> id = looks_.Take(step_.steady)) {
    Wait& wait = waits_.at(*id);
    Ask(Target{wait.asked.hub, wait.asked.instance_id}, std::exchange(wait.hinted, false));
    ++wait.looks;
    SetLook(*id, wait);
  }
  while (const std::optional<WaitId> id = ends_.Take(step_.steady)) {
    const Wait& wait = waits_.at(*id);
    const std::string& name = wait.asked.instance_id;
    Remove(*id, wait.exists
                    ? absl::DeadlineExceededError(
                          absl::StrCat("the wait for instance ", name, " reached wait_max"))
                    : absl::NotFoundError(absl::StrCat("instance ", name, " does not exist")));
  }
}

void Waiters::EndAll(const absl::Status& status) {
  for (auto& [id, wait] : waits_) step_.Do(AnswerWait{std::move(wait.asked.done), status});
  waits_.clear();
  by_target_.clear();
  told_.clear();
  looks_.Clear();
  ends_.Clear();
}

absl::Time Waiters::NextDeadline() const { return std::min(looks_.next(), ends_.next()); }

}  // namespace dt::dispatch
