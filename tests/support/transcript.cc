#include "tests/support/transcript.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "fmt/format.h"

namespace dt::testing {
namespace {

// Worker and counter of the lease.
std::string Lease(LeaseToken lease) {
  const LeaseToken counter = lease & ((LeaseToken{1} << kLeaseTokenCounterBits) - 1);
  return fmt::format("{}.{}", LeaseTokenWorker(lease), counter);
}

size_t HashOf(const orchestration::Frame& frame) {
  std::string bytes;
  for (const SharedBytes& piece : frame) bytes += *piece;
  return std::hash<std::string>()(bytes);
}

std::string Claimed(const char* what, const ClaimRequest& request) {
  std::string groups;
  for (const ClaimGroup& group : request.groups) {
    groups += fmt::format(" {} but {}", group.max_items, absl::StrJoin(group.excluded, ","));
  }
  return fmt::format("claim {} under {}{}:{}, {} bytes", what, Lease(request.lease_token),
                     request.repeat ? " again" : "", groups, request.max_total_bytes);
}

std::string Locks(const Checkpoint& turn) {
  std::string text;
  for (const LockRequest& request : turn.lock_requests) {
    text += fmt::format(", locks {}", absl::StrJoin(request.entity_ids, " "));
  }
  if (turn.releases_locks) text += ", releases its locks";
  if (!turn.entity.has_value()) return text;
  if (turn.entity->unlock) text += ", is unlocked";
  if (turn.entity->arrival.has_value()) {
    text += fmt::format(", arrives at {}", turn.entity->arrival->request_seq);
  }
  for (const LockWithdrawal& withdrawal : turn.entity->withdrawals) {
    text += fmt::format(", {} withdraws", withdrawal.owner_id);
  }
  return text;
}

struct Describer {
  std::string operator()(const dispatch::WriteItem& effect) const {
    return fmt::format("write {} bytes, {:x}", effect.frame.size(), HashOf(effect.frame));
  }
  std::string operator()(const dispatch::FinishStream& effect) const {
    return fmt::format("finish a stream: {}", effect.status.ToString());
  }
  std::string operator()(const dispatch::Answer& effect) const {
    return fmt::format("answer {}", effect.status.ToString());
  }
  std::string operator()(const dispatch::AnswerHistory& effect) const {
    return fmt::format("answer with a history: {}", effect.result.status().ToString());
  }
  std::string operator()(const dispatch::AnswerCreate& effect) const {
    return fmt::format("answer a start: {} {}", effect.result.status().ToString(),
                       effect.result.ok() ? effect.result->key : 0);
  }
  std::string operator()(const dispatch::AnswerWait& effect) const {
    return fmt::format("answer a wait: {}, {}", effect.result.status().ToString(),
                       effect.result.ok() && *effect.result != nullptr ? "with the row" : "no row");
  }
  std::string operator()(const dispatch::ClaimInstances& effect) const {
    return Claimed("instances", effect.request);
  }
  std::string operator()(const dispatch::ClaimTasks& effect) const {
    return Claimed("tasks", effect.request);
  }
  std::string operator()(const dispatch::Commit& effect) const {
    const Checkpoint& turn = effect.checkpoint;
    return fmt::format(
        "commit {} turn {} under {}: consumes {}, {} tasks, {} children, {} messages, {} to itself"
        "{}{}{}",
        turn.instance_id, turn.turn, Lease(turn.lease_token), absl::StrJoin(turn.consumed, ","),
        turn.tasks.size(), turn.children.size(), turn.messages.size(), turn.own_messages.size(),
        turn.ends ? ", ends" : "", turn.next_generation.has_value() ? ", continues as new" : "",
        Locks(turn));
  }
  std::string operator()(const dispatch::RewindTurn& effect) const {
    return fmt::format("rewind {} under {}", effect.turn.instance_id,
                       Lease(effect.turn.lease_token));
  }
  std::string operator()(const dispatch::Discard& effect) const {
    return fmt::format("discard of {}: {}", effect.request.instance_id,
                       absl::StrJoin(effect.request.seqs, ","));
  }
  std::string operator()(const dispatch::Create& effect) const {
    return fmt::format("create {} under {}", effect.instance.instance_id,
                       Lease(effect.instance.lease_token));
  }
  std::string operator()(const dispatch::EndTask& effect) const {
    return fmt::format("end task {} of {} under {}", effect.completion.key,
                       effect.completion.instance_id, Lease(effect.completion.lease_token));
  }
  std::string operator()(const dispatch::ReadNewMessages&) const { return "read new messages"; }
  std::string operator()(const dispatch::ReadInbox& effect) const {
    return fmt::format("read the inbox of {} under {}", effect.instance_id,
                       Lease(effect.lease_token));
  }
  std::string operator()(const dispatch::ReleaseInstance& effect) const {
    const InstanceRelease& release = effect.release;
    return fmt::format("release {} under {} for {}, {} tasks kept", release.instance_id,
                       Lease(release.lease_token), absl::FormatDuration(release.delay),
                       release.kept_tasks.size());
  }
  std::string operator()(const dispatch::ReleaseTask& effect) const {
    return fmt::format("release task {} of {} under {} for {}", effect.release.key,
                       effect.release.instance_id, Lease(effect.release.lease_token),
                       absl::FormatDuration(effect.release.delay));
  }
  std::string operator()(const dispatch::Sweep&) const { return "sweep"; }
  std::string operator()(const dispatch::FindUnaccepted&) const { return "find unaccepted work"; }
  std::string operator()(const dispatch::ReportWork& effect) const {
    return fmt::format("report {} kinds of work", effect.report.served.size());
  }
  std::string operator()(const dispatch::TellOthers& effect) const {
    return fmt::format("tell others {} of hub {}: {}", static_cast<int>(effect.hints.kind),
                       effect.hints.hub, absl::StrJoin(effect.hints.waits, " "));
  }
  std::string operator()(const dispatch::ReadStatus& effect) const {
    return fmt::format("read the status of {}", effect.instance_id);
  }
};

}  // namespace

std::string Describe(const dispatch::Effect& effect) { return std::visit(Describer(), effect); }

void Transcript::Add(absl::Time now, const std::string& who,
                     const std::vector<dispatch::Effect>& effects) {
  const double seconds = absl::ToDoubleSeconds(now - absl::UnixEpoch());
  for (const dispatch::Effect& effect : effects) {
    lines_.push_back(fmt::format("{:.3f} {}: {}", seconds, who, Describe(effect)));
  }
}

std::string Transcript::Tail(size_t count) const {
  const size_t begin = lines_.size() - std::min(count, lines_.size());
  return absl::StrJoin(lines_.begin() + static_cast<std::ptrdiff_t>(begin), lines_.end(), "\n");
}

}  // namespace dt::testing
