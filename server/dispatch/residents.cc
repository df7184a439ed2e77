#include "server/dispatch/residents.h"

#include <algorithm>

namespace dt::dispatch {
namespace {

constexpr int64_t kResidentBytes = 2048;  // without history and inbox
constexpr int64_t kMessageBytes = 128;    // without the event
// A huge fan-in is kept in the database beyond this and read in pieces.
constexpr size_t kInboxMessagesMax = 10000;

bool Before(const Message& a, const Message& b) {
  return std::tie(a.visible_at, a.seq) < std::tie(b.visible_at, b.seq);
}

void Insert(std::vector<Message>& inbox, Message message) {
  if (inbox.empty() || Before(inbox.back(), message)) {
    inbox.push_back(std::move(message));
    return;
  }
  auto at = std::lower_bound(inbox.begin(), inbox.end(), message, Before);
  if (at != inbox.end() && at->seq == message.seq) return;
  inbox.insert(at, std::move(message));
}

}  // namespace

std::vector<KeptTask> Resident::KeptTasks() const {
  std::vector<KeptTask> kept;
  for (const auto& [id, task] : inline_tasks) kept.push_back(task);
  return kept;
}

absl::Time Resident::next_due() const {
  if (unread) return absl::InfinitePast();
  return inbox.empty() ? unread_from : std::min(unread_from, inbox.front().visible_at);
}

Resident* ResidentTable::Find(InstanceKey key) {
  auto found = residents_.find(key);
  return found == residents_.end() ? nullptr : found->second.get();
}

Resident* ResidentTable::Find(InstanceKey key, LeaseToken lease) {
  Resident* resident = Find(key);
  return resident != nullptr && resident->lease == lease ? resident : nullptr;
}

Resident* ResidentTable::FindById(Hub& hub, const std::string& instance_id) {
  auto found = hub.residents.find(instance_id);
  return found == hub.residents.end() ? nullptr : Find(found->second);
}

Resident* ResidentTable::Add(std::unique_ptr<Resident> resident) {
  Resident* added = resident.get();
  added->hub->residents[added->state.instance_id] = added->key();
  residents_[added->key()] = std::move(resident);
  Weigh(*added);
  return added;
}

std::unique_ptr<Resident> ResidentTable::Remove(Resident* resident) {
  SetDue(*resident, std::nullopt);
  SetBusy(*resident);
  AddBytes(*resident, -resident->bytes);
  auto by_id = resident->hub->residents.find(resident->state.instance_id);
  if (by_id != resident->hub->residents.end() && by_id->second == resident->key()) {
    resident->hub->residents.erase(by_id);
  }
  auto found = residents_.find(resident->key());
  std::unique_ptr<Resident> removed = std::move(found->second);
  residents_.erase(found);
  return removed;
}

bool ResidentTable::IsFull(const Resident& resident) {
  return resident.inbox.size() >= kInboxMessagesMax;
}

void ResidentTable::Append(Resident& resident, Message message) {
  if (resident.read_seqs.contains(message.seq)) return;
  if (IsFull(resident) && Before(resident.inbox.back(), message)) {
    resident.unread_from = std::min(resident.unread_from, message.visible_at);
  }
  if (message.visible_at >= resident.unread_from) {
    // It will be read in its place; a read that is under way may have been too early for it.
    if (reads_in_flight_ > 0) resident.missed = true;
    return;
  }
  AddBytes(resident, kMessageBytes + static_cast<int64_t>(message.event->size()));
  Insert(resident.inbox, std::move(message));
}

void ResidentTable::Merge(Resident& resident, InboxRead read) {
  resident.unread = resident.missed;
  resident.missed = false;
  resident.unread_from = absl::InfiniteFuture();
  std::vector<Message>& inbox = resident.inbox;
  absl::flat_hash_set<int64_t> known;
  for (const Message& message : inbox) known.insert(message.seq);
  const bool more = read.more_messages && !read.messages.empty();
  if (more) {
    // What is kept behind the last one read would overtake those that were cut off.
    const Message& last = read.messages.back();
    auto end = std::upper_bound(inbox.begin(), inbox.end(), last, Before);
    inbox.erase(end, inbox.end());
    resident.unread_from = last.visible_at;
  }
  for (Message& message : read.messages) {
    if (known.contains(message.seq) || consumed_during_read_.contains(message.seq)) continue;
    resident.read_seqs.insert(message.seq);
    inbox.push_back(std::move(message));
  }
  std::sort(inbox.begin(), inbox.end(), Before);
  Weigh(resident);
}

void ResidentTable::Consume(Resident& resident, std::vector<int64_t> seqs) {
  if (reads_in_flight_ > 0) consumed_during_read_.insert(seqs.begin(), seqs.end());
  if (!resident.read_seqs.empty()) {
    for (int64_t seq : seqs) resident.read_seqs.erase(seq);
  }
  std::sort(seqs.begin(), seqs.end());
  auto consumed = [&seqs](const Message& message) {
    return std::binary_search(seqs.begin(), seqs.end(), message.seq);
  };
  resident.inbox.erase(std::remove_if(resident.inbox.begin(), resident.inbox.end(), consumed),
                       resident.inbox.end());
}

absl::Span<const Message> ResidentTable::Due(const Resident& resident, absl::Time now) const {
  auto end = std::find_if(resident.inbox.begin(), resident.inbox.end(),
                          [now](const Message& message) { return message.visible_at > now; });
  return absl::MakeConstSpan(resident.inbox.data(),
                             static_cast<size_t>(end - resident.inbox.begin()));
}

void ResidentTable::Weigh(Resident& resident) {
  int64_t bytes = kResidentBytes + resident.state.history_bytes + resident.merged_bytes;
  for (const Message& message : resident.inbox) {
    bytes += kMessageBytes + static_cast<int64_t>(message.event->size());
  }
  AddBytes(resident, bytes - resident.bytes);
}

void ResidentTable::AddBytes(Resident& resident, int64_t bytes) {
  resident.bytes += bytes;
  bytes_ += bytes;
  if (!resident.idle) work_->Add(resident.hub->work_bytes, bytes);
}

void ResidentTable::EndRead() {
  if (--reads_in_flight_ == 0) consumed_during_read_.clear();
}

void ResidentTable::SetIdle(Resident& resident, absl::Time until) {
  if (!std::exchange(resident.idle, true)) {
    work_->Add(resident.hub->work_bytes, -resident.bytes);
  }
  idle_.Set(resident.key(), until);
}

void ResidentTable::SetBusy(Resident& resident) {
  if (!std::exchange(resident.idle, false)) return;
  work_->Add(resident.hub->work_bytes, resident.bytes);
  idle_.Remove(resident.key());
}

Resident* ResidentTable::TakeIdle(absl::Time now, bool any) {
  const std::optional<InstanceKey> key = idle_.Take(any ? absl::InfiniteFuture() : now);
  if (!key.has_value()) return nullptr;
  Resident* resident = Find(*key);
  resident->idle = false;
  work_->Add(resident->hub->work_bytes, resident->bytes);
  return resident;
}

void ResidentTable::SetDue(Resident& resident, std::optional<absl::Time> at) {
  if (resident.due_at == at) return;
  if (resident.due_at.has_value()) due_.erase({*resident.due_at, resident.key()});
  resident.due_at = at;
  if (at.has_value()) due_.insert({*at, resident.key()});
}

Resident* ResidentTable::TakeDue(absl::Time now) {
  if (due_.empty() || due_.begin()->first > now) return nullptr;
  Resident* resident = Find(due_.begin()->second);
  SetDue(*resident, std::nullopt);
  return resident;
}

std::vector<Resident*> ResidentTable::All() {
  std::vector<Resident*> all;
  all.reserve(residents_.size());
  for (auto& [key, resident] : residents_) all.push_back(resident.get());
  // In a known order, so that a run of the state machine can be repeated.
  std::sort(all.begin(), all.end(),
            [](const Resident* a, const Resident* b) { return a->key() < b->key(); });
  return all;
}

}  // namespace dt::dispatch
