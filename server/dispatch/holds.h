// When the holds of items at workers end (1.12). All have the same length, so they end in the order
// in which they began. An item that is answered is only counted here. The owner tells which entries
// still count, and when more than half of them, and a few, do not, this class removes those: one
// item that lives for hours keeps nothing of those that ended behind it.
//
// Pure data of one thread.
#ifndef DT_SERVER_DISPATCH_HOLDS_H_
#define DT_SERVER_DISPATCH_HOLDS_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <utility>

#include "absl/time/time.h"

namespace dt::dispatch {

class Holds {
 public:
  // Entries of what has ended, beyond as many as there are others.
  static constexpr int64_t kEndedMax = 32;

  // Whether the item with this key is at a worker by this dispatch.
  using Counts = std::function<bool(int64_t key, int64_t dispatch)>;

  explicit Holds(Counts counts) : counts_(std::move(counts)) {}

  // `at`: no earlier than that of the last one.
  void Begin(int64_t key, int64_t dispatch, absl::Time at) {
    queue_.push_back({at, key, dispatch});
  }
  // One of them does not count any more, or will not when this Step is over.
  void End() {
    if (++ended_ <= static_cast<int64_t>(queue_.size()) / 2 + kEndedMax) return;
    std::erase_if(queue_, [this](const Entry& entry) { return !Counting(entry); });
    ended_ = 0;
  }
  // Takes out the first one; nullopt if there is none, or it ends after `now`. It is to be told as
  // ended as well.
  std::optional<int64_t> Take(absl::Time now) {
    while (!queue_.empty() && queue_.front().at <= now) {
      const Entry entry = queue_.front();
      queue_.pop_front();
      --ended_;
      if (Counting(entry)) return entry.key;
    }
    return std::nullopt;
  }

  // When to look for one; InfiniteFuture if there is none.
  absl::Time next() const { return queue_.empty() ? absl::InfiniteFuture() : queue_.front().at; }
  size_t size() const { return queue_.size(); }

 private:
  struct Entry {
    absl::Time at;
    int64_t key;
    int64_t dispatch;
  };
  bool Counting(const Entry& entry) const { return counts_(entry.key, entry.dispatch); }

  const Counts counts_;
  std::deque<Entry> queue_;
  int64_t ended_ = 0;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_HOLDS_H_
