#include "server/dispatch/waiters.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace dt::dispatch {

void Waiters::Ask(const Target& target, std::vector<Effect>& effects) {
  if (!asked_.insert(target).second) return;
  effects.push_back(ReadStatus{target.first, target.second});
}

void Waiters::Add(WaitAsked wait, std::optional<RuntimeStatus> known, absl::Time now,
                  std::vector<Effect>& effects) {
  if (known.has_value() && DispatchThread::Satisfied(wait.wait_for, *known)) {
    effects.push_back(AnswerWait{std::move(wait.done), KnownRow()});
    return;
  }
  const WaitId id = wait.wait;
  Target target{wait.hub, wait.instance_id};
  if (!known.has_value()) {
    // A read that is in flight may be older than this call, but then the next look finds the
    // change.
    Ask(target, effects);
  }
  by_target_[std::move(target)].push_back(id);
  const WaitSoFar so_far = wait.so_far.value_or(WaitSoFar{absl::ZeroDuration(), known.has_value()});
  waits_.emplace(id, Wait{std::move(wait), so_far.exists});
  looks_.Set(id, now + limits_.wait_poll_interval);
  ends_.Set(id, now + limits_.wait_max - so_far.waited);
}

void Waiters::Remove(WaitId id, absl::StatusOr<KnownRow> result, std::vector<Effect>& effects) {
  auto found = waits_.find(id);
  if (found == waits_.end()) return;
  WaitAsked& asked = found->second.asked;
  auto target = by_target_.find(Target{asked.hub, asked.instance_id});
  auto& ids = target->second;
  ids.erase(std::remove(ids.begin(), ids.end(), id), ids.end());
  if (ids.empty()) by_target_.erase(target);
  effects.push_back(AnswerWait{std::move(asked.done), std::move(result)});
  waits_.erase(found);
  looks_.Remove(id);
  ends_.Remove(id);
}

void Waiters::Cancel(WaitId wait, std::vector<Effect>& effects) {
  Remove(wait, absl::CancelledError("the wait was cancelled"), effects);
}

bool Waiters::Awaited(HubId hub, const std::string& instance_id) const {
  return !waits_.empty() && by_target_.contains(Target{hub, instance_id});
}

void Waiters::Changed(HubId hub, const std::string& instance_id, RuntimeStatus status,
                      std::vector<Effect>& effects, const KnownRow& row) {
  if (waits_.empty()) return;
  auto target = by_target_.find(Target{hub, instance_id});
  if (target == by_target_.end()) return;
  const absl::InlinedVector<WaitId, 1> ids = target->second;
  for (WaitId id : ids) {
    Wait& wait = waits_.at(id);
    wait.exists = true;
    if (DispatchThread::Satisfied(wait.asked.wait_for, status)) Remove(id, row, effects);
  }
}

void Waiters::OnStatus(StatusRead read, std::vector<Effect>& effects) {
  Target target{read.hub, std::move(read.instance_id)};
  asked_.erase(target);
  if (!read.result.ok()) return;  // the next look asks again
  if (read.result->exists) {
    Changed(target.first, target.second, read.result->status, effects);
    return;
  }
  auto found = by_target_.find(target);
  if (found == by_target_.end()) return;
  for (WaitId id : found->second) waits_.at(id).exists = false;
}

void Waiters::OnTime(absl::Time now, std::vector<Effect>& effects) {
  while (const std::optional<WaitId> id = looks_.Take(now)) {
    const WaitAsked& asked = waits_.at(*id).asked;
    Ask(Target{asked.hub, asked.instance_id}, effects);
    looks_.Set(*id, now + limits_.wait_poll_interval);
  }
  while (const std::optional<WaitId> id = ends_.Take(now)) {
    const Wait& wait = waits_.at(*id);
    const std::string& name = wait.asked.instance_id;
    Remove(*id,
           wait.exists ? absl::DeadlineExceededError(
                             absl::StrCat("the wait for instance ", name, " reached wait_max"))
                       : absl::NotFoundError(absl::StrCat("instance ", name, " does not exist")),
           effects);
  }
}

void Waiters::EndAll(const absl::Status& status, std::vector<Effect>& effects) {
  for (auto& [id, wait] : waits_) effects.push_back(AnswerWait{std::move(wait.asked.done), status});
  waits_.clear();
  by_target_.clear();
  looks_.Clear();
  ends_.Clear();
}

absl::Time Waiters::NextDeadline() const { return std::min(looks_.next(), ends_.next()); }

}  // namespace dt::dispatch
