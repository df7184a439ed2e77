// How much a stream takes on while other daemons have workers for the same work (RULES.md 2.12).
//
// A worker's credits say what it may hold, not what it gets done: SDKs announce hundreds and run a
// few at a time. Alone, a stream takes what its credits allow. Where others would do the work too,
// it takes no more than it has been finishing lately, so that the rest stays free for them:
//
//   * what it finishes in kQueued and in the time that an item takes at least, or a few if that is
//     more;
//   * it begins with a few, and has one more for each item that it finishes, so that it gets there
//     within a few items;
//   * while nothing ends at all, as items take long, it slowly takes more.
//
// Pure data of one thread.
#ifndef DT_SERVER_DISPATCH_FAIR_SHARE_H_
#define DT_SERVER_DISPATCH_FAIR_SHARE_H_

#include <limits>

#include "absl/time/time.h"

namespace dt::dispatch {

class FairShare {
 public:
  // Items that a stream may always hold.
  static constexpr int kFew = 6;
  // For how long an item may wait at its worker.
  static constexpr absl::Duration kQueued = absl::Milliseconds(500);
  // Over which the rate is measured.
  static constexpr absl::Duration kSpan = absl::Seconds(1);
  // While nothing ends: how often, and by which part, the share grows.
  static constexpr absl::Duration kSilence = absl::Seconds(1);
  static constexpr int kGrowth = 2;
  static constexpr int kNoLimit = std::numeric_limits<int>::max();

  // Whether others would do the same work. Each time it begins, so does the share.
  void SetContested(bool contested, absl::Time now);
  // An item has ended that was at the worker since then; `limited`: the stream held all that it
  // may.
  void Finished(absl::Time since, bool limited, absl::Time now);
  // Time has passed, and the stream holds all that it may.
  void Waited(absl::Time now);
  // How many items the stream may hold.
  int limit() const { return contested_ ? limit_ : kNoLimit; }
  // When Waited may change something.
  absl::Time NextGrowth() const { return silent_since_ + kSilence; }

 private:
  // What the stream finishes lately, in items a second.
  double Rate(absl::Time now);

  bool contested_ = false;
  int limit_ = kFew;
  absl::Time silent_since_;  // the last end, or growth
  absl::Duration shortest_ = absl::InfiniteDuration();
  // Ends in the span under way and in the one before.
  absl::Time span_begin_ = absl::InfinitePast();
  int finished_ = 0;
  int finished_before_ = 0;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_FAIR_SHARE_H_
