// Things that end at a time unless they end before: an ordered set from which what has ended is
// taken out at once. A queue that is cleaned at its front only would keep one entry for each thing
// that ended behind one that lives on, for as long as that one does.
//
// Pure data of one thread; `Id` is hashed and ordered.
#ifndef DT_SERVER_DISPATCH_DEADLINES_H_
#define DT_SERVER_DISPATCH_DEADLINES_H_

#include <optional>
#include <utility>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"

namespace dt::dispatch {

template <typename Id>
class Deadlines {
 public:
  // In place of the one that it has, if it has one.
  void Set(const Id& id, absl::Time at) {
    const auto [known, added] = times_.try_emplace(id, at);
    if (!added) {
      order_.erase({known->second, id});
      known->second = at;
    }
    order_.insert({at, id});
  }

  // It has ended. Does nothing if it has no deadline.
  void Remove(const Id& id) {
    const auto found = times_.find(id);
    if (found == times_.end()) return;
    order_.erase({found->second, id});
    times_.erase(found);
  }

  // Takes out the first one; nullopt if there is none, or it ends after `now`.
  std::optional<Id> Take(absl::Time now) {
    if (next() > now || order_.empty()) return std::nullopt;
    const Id id = order_.begin()->second;
    times_.erase(id);
    order_.erase(order_.begin());
    return id;
  }

  void Clear() {
    order_.clear();
    times_.clear();
  }

  // Of the first one; InfiniteFuture if there is none.
  absl::Time next() const {
    return order_.empty() ? absl::InfiniteFuture() : order_.begin()->first;
  }
  size_t size() const { return order_.size(); }

 private:
  absl::btree_set<std::pair<absl::Time, Id>> order_;
  absl::flat_hash_map<Id, absl::Time> times_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_DEADLINES_H_
