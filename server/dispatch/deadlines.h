// Things that end at a time unless they end before, in the order of their times. A queue that is
// cleaned at its front only would keep one entry for each thing that ended behind one that lives
// on, for as long as that one does; this one is cleaned when more than half of it, and a few, has
// ended. Most times come in their order, so a queue costs less than an ordered set.
//
// Pure data of one thread; `Id` is hashed.
#ifndef DT_SERVER_DISPATCH_DEADLINES_H_
#define DT_SERVER_DISPATCH_DEADLINES_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"

namespace dt::dispatch {

template <typename Id>
class Deadlines {
 public:
  // Entries of what has ended, beyond as many as there are others.
  static constexpr size_t kEndedMax = 32;

  // In place of the one that it has, if it has one. Takes long when a later time was set before.
  void Set(const Id& id, absl::Time at) {
    const uint64_t number = ++last_number_;
    numbers_[id] = number;
    const Entry entry{at, id, number};
    if (queue_.empty() || queue_.back().at <= at) {
      queue_.push_back(entry);
    } else {
      const auto later = [](absl::Time time, const Entry& other) { return time < other.at; };
      queue_.insert(std::upper_bound(queue_.begin(), queue_.end(), at, later), entry);
    }
    Clean();
  }

  // It has ended. Does nothing if it has no deadline.
  void Remove(const Id& id) {
    if (numbers_.erase(id) > 0) Clean();
  }

  // Takes out the first one; nullopt if there is none, or it ends after `now`.
  std::optional<Id> Take(absl::Time now) {
    if (queue_.empty() || next() > now) return std::nullopt;
    const Id id = queue_.front().id;
    Remove(id);
    return id;
  }

  void Clear() {
    queue_.clear();
    numbers_.clear();
  }

  // Of the first one; InfiniteFuture if there is none.
  absl::Time next() const { return queue_.empty() ? absl::InfiniteFuture() : queue_.front().at; }
  // Entries that are kept: at most twice as many as have a deadline, and kEndedMax.
  size_t size() const { return queue_.size(); }

 private:
  struct Entry {
    absl::Time at;
    Id id;
    uint64_t number;
  };

  bool HasEnded(const Entry& entry) const {
    const auto found = numbers_.find(entry.id);
    return found == numbers_.end() || found->second != entry.number;
  }

  // The first entry is always one that has not ended.
  void Clean() {
    while (!queue_.empty() && HasEnded(queue_.front())) queue_.pop_front();
    if (queue_.size() <= 2 * numbers_.size() + kEndedMax) return;
    std::erase_if(queue_, [this](const Entry& entry) { return HasEnded(entry); });
  }

  std::deque<Entry> queue_;
  absl::flat_hash_map<Id, uint64_t> numbers_;  // of the entry that counts
  uint64_t last_number_ = 0;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_DEADLINES_H_
