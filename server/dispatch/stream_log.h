// What the log says of workers that come and go: a line for each time, but no more than one pair in
// a minute for a worker that is back within a second, and so many in all.
//
// Pure: the caller tells the time and logs the lines. Used by the dispatcher's one thread.
#ifndef DT_SERVER_DISPATCH_STREAM_LOG_H_
#define DT_SERVER_DISPATCH_STREAM_LOG_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/time/time.h"
#include "server/dispatch/dispatch_thread.h"

namespace dt::dispatch {

class StreamLog {
 public:
  // A worker that is back within this time has not been away,
  static constexpr absl::Duration kBlink = absl::Seconds(1);
  // of which the log tells once in this time.
  static constexpr absl::Duration kQuiet = absl::Minutes(1);
  // Lines of all workers in each interval. More come at once only when something is wrong with
  // them, or when somebody wants to fill the log.
  static constexpr absl::Duration kInterval = absl::Seconds(10);
  static constexpr int64_t kLinesMax = 200;
  // Beyond so many workers that came or went lately, the others are one worker together.
  static constexpr size_t kWorkersMax = 1000;

  using Lines = std::vector<std::string>;

  // Each returns the lines to log now.
  Lines Opened(const StreamOptions& stream, absl::Time now);
  Lines Closed(const StreamOptions& stream, std::string_view reason, absl::Time now);
  // Those that went for longer than a blink; forgets who came or went long ago.
  Lines OnTime(absl::Time now);
  // When OnTime has something to do; InfiniteFuture: never.
  absl::Time NextDeadline() const { return next_; }

 private:
  struct Worker {
    absl::Time closed_at = absl::InfinitePast();
    absl::Time blinked_at = absl::InfinitePast();  // that was told
    std::string closed_line = {};  // of a stream that is closed, not logged yet; may be empty
    int64_t blinks = 0;            // that were not told
  };

  std::string KeyOf(const StreamOptions& stream) const;
  void Add(std::string line, absl::Time now, Lines* lines);

  absl::btree_map<std::string, Worker> workers_;
  absl::Time next_ = absl::InfiniteFuture();
  absl::Time interval_since_ = absl::InfinitePast();
  int64_t lines_ = 0;  // in this interval
  int64_t left_out_ = 0;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_STREAM_LOG_H_
