// What this daemon knows of the inbox of an instance that it holds.
//
// Invariants
//   * The messages are sorted by (visible_at, seq) and are a prefix of the stored inbox: everything
//     stored before `unread_from`. What may lie behind is read again before it is due.
//   * Messages of a turn stay until the turn's checkpoint has committed.
//   * A message that the store does not have yet has a number below 0 (unstored_results.h).
//
// Pure data of the dispatcher, used by its one thread only.
#ifndef DT_SERVER_DISPATCH_INBOX_H_
#define DT_SERVER_DISPATCH_INBOX_H_

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "storage/store.h"

namespace dt::dispatch {

class Inbox {
 public:
  Inbox() = default;
  // Of an instance that has just been claimed; takes its messages.
  explicit Inbox(Claim& claim);
  // Of an instance that is new: its start, with this number, due at this time.
  Inbox(const NewMessage& started, int64_t seq, absl::Time visible_at);

  const std::vector<Message>& messages() const { return messages_; }
  int64_t bytes() const { return bytes_; }  // of memory
  // A message more would be left in the database, to be read later.
  bool full() const;
  // The next turn waits for a read, whatever the time.
  bool unread() const { return unread_; }
  // When the next message, known or not, is due; InfiniteFuture if none is.
  absl::Time next_due() const;
  // When a message is due that is in the database only; InfiniteFuture if there is none.
  absl::Time unread_from() const { return unread_from_; }
  // Whether a message waits, or may wait, in front of all.
  bool has_front() const;
  // The due messages at the front.
  absl::Span<const Message> Due(absl::Time now) const;
  // When the first message is due that is not yet.
  absl::Time NextAfter(absl::Time now) const;

  // Adds a message that the caller was told of; one that is known already is left out, and so is
  // one that must wait behind unread messages. `reading`: a read is under way somewhere.
  void Append(Message message, bool reading);
  // Adds what a read found, but for what was `consumed` meanwhile.
  void Merge(InboxRead read, const absl::flat_hash_set<int64_t>& consumed);
  // It must be read again; `reading`: a read is under way already and may be too early.
  void MarkUnread(bool reading);
  // Takes consumed messages out.
  void Consume(std::vector<int64_t> seqs);
  void Remove(int64_t seq) { Consume({seq}); }
  // A message has a number of the store now.
  void Renumber(int64_t from, int64_t to, absl::Time visible_at);
  // A generation begins: messages of others go.
  void KeepGeneration(Generation generation);

 private:
  void Weigh();

  std::vector<Message> messages_;
  int64_t bytes_ = 0;
  absl::Time unread_from_ = absl::InfiniteFuture();
  bool unread_ = false;
  bool missed_ = false;  // a message was left to a later read while one was under way
  // Numbers that came by a read and not by an answer: the answer may follow and is then known.
  absl::flat_hash_set<int64_t> read_seqs_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_INBOX_H_
