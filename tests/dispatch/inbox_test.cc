// What is known of an inbox (server/dispatch/inbox.h), without a dispatcher around it.
#include "server/dispatch/inbox.h"

#include "tests/support/catch.h"

namespace dt::testing {
namespace {

using dispatch::Inbox;
using Seqs = std::vector<int64_t>;

absl::Time Second(int64_t seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

Message At(int64_t second, int64_t seq, Generation generation = kAnyGeneration) {
  Message message;
  message.seq = seq;
  message.generation = generation;
  message.visible_at = Second(second);
  message.event = std::make_shared<const std::string>("event");
  return message;
}

Inbox Claimed(std::vector<Message> messages, bool more = false) {
  Claim claim;
  claim.messages = std::move(messages);
  claim.more_messages = more;
  return Inbox(claim);
}

InboxRead Read(std::vector<Message> messages, bool more = false) {
  InboxRead read;
  read.messages = std::move(messages);
  read.more_messages = more;
  return read;
}

Seqs SeqsOf(const Inbox& inbox) {
  Seqs seqs;
  for (const Message& message : inbox.messages()) seqs.push_back(message.seq);
  return seqs;
}

TEST_CASE("inbox_order messages stand by time and number, each once") {
  Inbox inbox = Claimed({At(1, 1)});
  inbox.Append(At(3, 5), false);
  inbox.Append(At(2, 9), false);
  inbox.Append(At(2, 4), false);
  inbox.Append(At(2, 4), false);
  CHECK(SeqsOf(inbox) == Seqs{1, 4, 9, 5});
  CHECK(inbox.Due(Second(2)).size() == 3);
  CHECK(inbox.next_due() == Second(1));
  CHECK(inbox.NextAfter(Second(2)) == Second(3));
  CHECK(inbox.NextAfter(Second(3)) == absl::InfiniteFuture());
}

TEST_CASE("inbox_prefix what lies behind unread messages is left to the next read") {
  Inbox inbox = Claimed({At(1, 1), At(2, 2)}, /*more=*/true);
  CHECK(inbox.unread_from() == Second(2));
  inbox.Append(At(3, 7), false);  // behind those that were cut off
  CHECK(SeqsOf(inbox) == Seqs{1, 2});
  inbox.Append(At(1, 3), false);
  CHECK(SeqsOf(inbox) == Seqs{1, 3, 2});
  inbox.Merge(Read({At(1, 1), At(1, 3), At(2, 2), At(3, 7)}), {});
  CHECK(SeqsOf(inbox) == Seqs{1, 3, 2, 7});
  CHECK(inbox.unread_from() == absl::InfiniteFuture());
  CHECK_FALSE(inbox.unread());
}

TEST_CASE("inbox_cut_read what is kept behind the last one read must not overtake") {
  Inbox inbox = Claimed({At(1, 1), At(5, 9)});
  inbox.Merge(Read({At(1, 1), At(2, 2)}, /*more=*/true), {});
  CHECK(SeqsOf(inbox) == Seqs{1, 2});
  CHECK(inbox.unread_from() == Second(2));
}

TEST_CASE("inbox_told_twice an answer that follows the read of its message adds nothing") {
  Inbox inbox = Claimed({});
  inbox.Merge(Read({At(1, 1), At(2, 2)}), /*consumed=*/{2});
  CHECK(SeqsOf(inbox) == Seqs{1});
  inbox.Consume({1});
  CHECK(SeqsOf(inbox).empty());
  inbox.Merge(Read({At(3, 3)}), {});
  inbox.Append(At(3, 3), false);
  CHECK(SeqsOf(inbox) == Seqs{3});
}

TEST_CASE("inbox_unread a read that may be too early is followed by another one") {
  Inbox inbox = Claimed({At(1, 1)}, /*more=*/true);
  inbox.Append(At(2, 2), /*reading=*/true);  // left to the read, which may have begun before it
  inbox.Merge(Read({At(1, 1)}), {});
  CHECK(inbox.unread());
  CHECK(inbox.next_due() == absl::InfinitePast());
  inbox.Merge(Read({At(1, 1), At(2, 2)}), {});
  CHECK_FALSE(inbox.unread());
  inbox.MarkUnread(/*reading=*/true);
  inbox.Merge(Read({}), {});
  CHECK(inbox.unread());
}

TEST_CASE("inbox_full what has no room stays in the database") {
  Inbox inbox = Claimed({});
  int64_t seq = 0;
  while (!inbox.full()) {
    ++seq;
    inbox.Append(At(seq, seq), false);
    REQUIRE(seq < 1'000'000);
  }
  const size_t most = inbox.messages().size();
  inbox.Append(At(seq + 1, seq + 1), false);
  CHECK(inbox.messages().size() == most);
  CHECK(inbox.unread_from() == Second(seq + 1));
}

TEST_CASE("inbox_bytes they are those of its messages, whatever happened") {
  Inbox inbox = Claimed({At(1, 1), At(2, 2, 7)});
  const int64_t two = inbox.bytes();
  inbox.Append(At(3, 3, 8), false);
  CHECK(inbox.bytes() == two / 2 * 3);
  inbox.Append(At(3, 3, 8), false);
  CHECK(inbox.bytes() == two / 2 * 3);
  inbox.KeepGeneration(8);
  CHECK(SeqsOf(inbox) == Seqs{1, 3});
  CHECK(inbox.bytes() == two);
  inbox.Renumber(3, 30, Second(0));
  CHECK(SeqsOf(inbox) == Seqs{30, 1});
  inbox.Consume({1, 30, 99});
  CHECK(inbox.bytes() == 0);
}

}  // namespace
}  // namespace dt::testing
