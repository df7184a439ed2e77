// A fixed amount of memory that hubs share, and how much of it each may have.
//
// The rule: a hub has at most as much as is left for all others. So one hub alone gets half of all,
// a second one half of the rest, and there is always something left, however long what a hub has is
// held.
//
// Pure data, not thread-safe.
#ifndef DT_SERVER_DISPATCH_FAIR_BYTES_H_
#define DT_SERVER_DISPATCH_FAIR_BYTES_H_

#include <algorithm>
#include <cstdint>

namespace dt::dispatch {

class FairBytes {
 public:
  explicit FairBytes(int64_t max) : max_(max) {}

  // Counts `bytes` more, or less, for the hub with this count.
  void Add(int64_t& of_hub, int64_t bytes) {
    of_hub += bytes;
    total_ += bytes;
  }
  // How much more a hub with this count may have; 0 = nothing until something has ended.
  int64_t Room(int64_t of_hub) const {
    return scarce_ ? 0 : std::max(int64_t{0}, max_ - total_ - of_hub);
  }
  // Whether a hub with this count has more than it may.
  bool Exceeded(int64_t of_hub) const { return scarce_ || of_hub + total_ > max_; }
  // The process as a whole has too much: nobody gets anything.
  void SetScarce(bool scarce) { scarce_ = scarce; }
  bool scarce() const { return scarce_; }

  int64_t max() const { return max_; }
  int64_t total() const { return total_; }

 private:
  const int64_t max_;
  int64_t total_ = 0;
  bool scarce_ = false;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_FAIR_BYTES_H_
