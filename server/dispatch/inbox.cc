#include "server/dispatch/inbox.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace dt::dispatch {
namespace {

constexpr int64_t kMessageBytes = 128;  // without the event
// A huge fan-in is kept in the database beyond this and read in pieces.
constexpr size_t kInboxMessagesMax = 10000;

bool Before(const Message& a, const Message& b) {
  return std::tie(a.visible_at, a.seq) < std::tie(b.visible_at, b.seq);
}

int64_t BytesOf(const Message& message) {
  return kMessageBytes + static_cast<int64_t>(message.event->size());
}

}  // namespace

Inbox::Inbox(Claim& claim) : messages_(std::move(claim.messages)) {
  if (claim.more_messages) {
    unread_from_ = messages_.back().visible_at;
  } else if (claim.next_due.has_value()) {
    unread_from_ = *claim.next_due;
  }
  Weigh();
}

Inbox::Inbox(const NewMessage& started, int64_t seq, absl::Time visible_at) {
  Message message;
  message.seq = seq;
  message.generation = started.generation;
  message.visible_at = visible_at;
  message.event_type = started.event_type;
  message.event = started.event;
  messages_.push_back(std::move(message));
  Weigh();
}

bool Inbox::full() const { return messages_.size() >= kInboxMessagesMax; }

absl::Time Inbox::next_due() const {
  if (unread_) return absl::InfinitePast();
  return messages_.empty() ? unread_from_ : std::min(unread_from_, messages_.front().visible_at);
}

bool Inbox::has_front() const {
  return unread_ || unread_from_ == absl::InfinitePast() ||
         (!messages_.empty() && messages_.front().visible_at == absl::InfinitePast());
}

absl::Span<const Message> Inbox::Due(absl::Time now) const {
  const auto end = std::find_if(messages_.begin(), messages_.end(),
                                [now](const Message& message) { return message.visible_at > now; });
  return absl::MakeConstSpan(messages_.data(), static_cast<size_t>(end - messages_.begin()));
}

absl::Time Inbox::NextAfter(absl::Time now) const {
  const size_t due = Due(now).size();
  const absl::Time known =
      due < messages_.size() ? messages_[due].visible_at : absl::InfiniteFuture();
  return unread_from_ > now ? std::min(known, unread_from_) : known;
}

void Inbox::Append(Message message, bool reading) {
  if (read_seqs_.contains(message.seq)) return;
  if (full() && Before(messages_.back(), message)) {
    unread_from_ = std::min(unread_from_, message.visible_at);
  }
  if (message.visible_at >= unread_from_) {
    // It will be read in its place; a read that is under way may have been too early for it.
    if (reading) missed_ = true;
    return;
  }
  auto at = messages_.end();
  if (!messages_.empty() && !Before(messages_.back(), message)) {
    at = std::lower_bound(messages_.begin(), messages_.end(), message, Before);
    if (at != messages_.end() && at->seq == message.seq) return;
  }
  bytes_ += BytesOf(message);
  messages_.insert(at, std::move(message));
}

void Inbox::Merge(InboxRead read, const absl::flat_hash_set<int64_t>& consumed) {
  unread_ = std::exchange(missed_, false);
  unread_from_ = absl::InfiniteFuture();
  absl::flat_hash_set<int64_t> known;
  for (const Message& message : messages_) known.insert(message.seq);
  if (read.more_messages && !read.messages.empty()) {
    // What is kept behind the last one read would overtake those that were cut off.
    const Message& last = read.messages.back();
    messages_.erase(std::upper_bound(messages_.begin(), messages_.end(), last, Before),
                    messages_.end());
    unread_from_ = last.visible_at;
  }
  for (Message& message : read.messages) {
    if (known.contains(message.seq) || consumed.contains(message.seq)) continue;
    read_seqs_.insert(message.seq);
    messages_.push_back(std::move(message));
  }
  std::sort(messages_.begin(), messages_.end(), Before);
  Weigh();
}

void Inbox::MarkUnread(bool reading) {
  unread_ = true;
  if (reading) missed_ = true;
}

void Inbox::Consume(std::vector<int64_t> seqs) {
  if (!read_seqs_.empty()) {
    for (const int64_t seq : seqs) read_seqs_.erase(seq);
  }
  std::sort(seqs.begin(), seqs.end());
  std::erase_if(messages_, [this, &seqs](const Message& message) {
    if (!std::binary_search(seqs.begin(), seqs.end(), message.seq)) return false;
    bytes_ -= BytesOf(message);
    return true;
  });
}

void Inbox::Renumber(int64_t from, int64_t to, absl::Time visible_at) {
  const auto found = std::find_if(messages_.begin(), messages_.end(),
                                  [from](const Message& message) { return message.seq == from; });
  if (found == messages_.end()) return;
  found->seq = to;
  found->visible_at = visible_at;
  std::sort(messages_.begin(), messages_.end(), Before);
}

void Inbox::KeepGeneration(Generation generation) {
  std::erase_if(messages_, [generation](const Message& message) {
    return message.generation != kAnyGeneration && message.generation != generation;
  });
  Weigh();
}

void Inbox::Weigh() {
  bytes_ = 0;
  for (const Message& message : messages_) bytes_ += BytesOf(message);
}

}  // namespace dt::dispatch
