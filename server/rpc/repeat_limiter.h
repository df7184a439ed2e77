// Lines of the log of which many may come: so many of a kind are let through in an interval, the
// others are counted.
//
// Threads: all methods may be called from any thread. The caller tells the time.
#ifndef DT_SERVER_RPC_REPEAT_LIMITER_H_
#define DT_SERVER_RPC_REPEAT_LIMITER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace dt::rpc {

class RepeatLimiter {
 public:
  // Beyond so many kinds the others are one kind together, so that kinds cost no more memory.
  static constexpr size_t kKindsMax = 1000;

  struct LeftOut {
    std::string kind;
    int64_t lines = 0;
  };

  // `lines_max` lines of a kind in each `interval`.
  RepeatLimiter(absl::Duration interval, int64_t lines_max)
      : interval_(interval), lines_max_(lines_max) {}

  // For a line that is about to be logged. nullopt: leave it out, it is counted. Else how many of
  // its kind were left out since the last that was not.
  std::optional<int64_t> Admit(std::string_view kind, absl::Time now);
  // Forgets all kinds.
  void Forget();
  // What was left out of kinds whose interval is over, and is not told by a line of theirs; tells
  // it once.
  std::vector<LeftOut> TakeLeftOut(absl::Time now);

 private:
  struct Kind {
    absl::Time since;  // of the interval
    int64_t lines = 0;
    int64_t left_out = 0;
  };
  // Also when the clock was set back.
  bool IsOver(const Kind& kind, absl::Time now) const {
    return now < kind.since || now >= kind.since + interval_;
  }

  const absl::Duration interval_;
  const int64_t lines_max_;
  absl::Mutex mutex_;
  absl::flat_hash_map<std::string, Kind> kinds_ ABSL_GUARDED_BY(mutex_);
};

// What follows a line before which others were left out; empty for none.
std::string LeftOutNote(int64_t lines);

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_REPEAT_LIMITER_H_
