// Work items that a worker may refuse for their size. A gRPC client receives 4 MiB at most unless
// told otherwise, and ends its stream at a larger message, with all that was on it. So such an item
// goes to a stream that has nothing else to do, and alone; only it is charged when the stream ends;
// and after so many streams it is given up. A worker that has taken one of a size takes the next of
// that size like any other (RULES.md 1.17).
//
// Used by the dispatcher's one thread, which tells the time.
#ifndef DT_SERVER_DISPATCH_LARGE_ITEMS_H_
#define DT_SERVER_DISPATCH_LARGE_ITEMS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "server/dispatch/streams.h"
#include "server/dispatch/tokens.h"

namespace dt::dispatch {

class LargeItems {
 public:
  // The default of gRPC, and with it of all SDKs but JavaScript's.
  static constexpr int64_t kReceiveBytes = 4 << 20;
  // A client that refuses a message ends its stream as soon as it has seen its head.
  static constexpr absl::Duration kTrial = absl::Seconds(5);
  // How long an item waits for a stream of its own; then it goes beside others.
  static constexpr absl::Duration kPatience = absl::Minutes(1);
  static constexpr int kStreamsMax = 3;

  // Whether the worker of this stream is not known to take so much.
  static bool IsLargeFor(const Stream& stream, int64_t bytes) {
    return bytes > kReceiveBytes && bytes > stream.took_bytes;
  }
  // Whether the stream has been sent one just now, and gets nothing else.
  static bool OnTrial(const Stream& stream, absl::Time now) {
    return stream.trial.has_value() && now < stream.trial->until;
  }

  // The item could go now if a stream were free for it; whether it has waited too long for that.
  bool IsOverdue(StoredId item, absl::Time now);
  // It is on its way, by its last dispatch.
  void Sent(Stream& stream, const Item& item, int64_t bytes, absl::Time now);
  // The worker has answered this dispatch, so it has taken the item, if it was the one on trial.
  void Answered(Stream& stream, int64_t dispatch);
  // Its stream has ended within the trial.
  void BrokeStream(const StreamTrial& trial, absl::Time now);
  // Why the item fails, when so many streams have ended at it, or one has and it has no more leases
  // to lose; nullopt for all others.
  std::optional<std::string> Failure(StoredId item, bool is_poisoned) const;
  // It has ended.
  void Forget(StoredId item) { waits_.erase(item); }

  // Whether something may be sent that could not before. NextDeadline: when that will be.
  bool OnTime(absl::Time now);
  absl::Time NextDeadline() const {
    return deadlines_.empty() ? absl::InfiniteFuture() : *deadlines_.begin();
  }

 private:
  struct Wait {
    absl::Time since;
    int64_t bytes = 0;
    int streams = 0;  // that have ended at it
  };
  static constexpr size_t kWaitsMax = 1000;
  static constexpr absl::Duration kForgetAfter = absl::Hours(1);

  absl::flat_hash_map<StoredId, Wait> waits_;
  absl::btree_multiset<absl::Time> deadlines_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_LARGE_ITEMS_H_
