#include "server/dispatch/stream_log.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"

namespace dt::dispatch {
namespace {

std::string Name(const StreamOptions& stream) {
  return fmt::format("hub '{}', worker '{}', {}", stream.hub_name, stream.worker_id, stream.peer);
}

// The port is another one each time.
std::string_view HostOf(std::string_view peer) { return peer.substr(0, peer.rfind(':')); }

}  // namespace

std::string StreamLog::KeyOf(const StreamOptions& stream) const {
  std::string key =
      fmt::format("{}\n{}\n{}\n{}", stream.hub, stream.worker_id, HostOf(stream.peer), stream.sdk);
  return workers_.size() < kWorkersMax || workers_.contains(key) ? key : std::string();
}

void StreamLog::Add(std::string line, absl::Time now, Lines* lines) {
  // Also when the clock was set back.
  if (now >= interval_since_ + kInterval || now < interval_since_) {
    interval_since_ = now;
    lines_ = 0;
  }
  if (++lines_ > kLinesMax) {
    ++left_out_;
    return;
  }
  if (left_out_ > 0) {
    line +=
        fmt::format(" ({} lines like this were left out before it)", std::exchange(left_out_, 0));
  }
  lines->push_back(std::move(line));
}

StreamLog::Lines StreamLog::Opened(const StreamOptions& stream, absl::Time now) {
  Lines lines;
  std::string line = fmt::format("worker stream opened: {}, {}", Name(stream), stream.sdk);
  const auto known = workers_.find(KeyOf(stream));
  if (known == workers_.end()) {
    Add(std::move(line), now, &lines);
    return lines;
  }
  Worker& worker = known->second;
  const bool blinked = now - worker.closed_at < kBlink;
  if (blinked && now - worker.blinked_at < kQuiet) {
    ++worker.blinks;
    worker.closed_line.clear();
    return lines;
  }
  if (!worker.closed_line.empty()) Add(std::exchange(worker.closed_line, {}), now, &lines);
  if (worker.blinks > 0) {
    line += fmt::format("; it came back within a second {} times more",
                        std::exchange(worker.blinks, 0));
  }
  if (blinked) worker.blinked_at = now;
  Add(std::move(line), now, &lines);
  return lines;
}

StreamLog::Lines StreamLog::Closed(const StreamOptions& stream, std::string_view reason,
                                   absl::Time now) {
  Lines lines;
  Worker& worker = workers_[KeyOf(stream)];
  worker.closed_at = now;
  next_ = std::min(next_, now + kBlink);
  if (!worker.closed_line.empty()) Add(std::exchange(worker.closed_line, {}), now, &lines);
  std::string line = fmt::format("worker stream closed: {}: {}", Name(stream), reason);
  if (now - worker.blinked_at < kQuiet) {
    worker.closed_line = std::move(line);
  } else {
    Add(std::move(line), now, &lines);
  }
  return lines;
}

StreamLog::Lines StreamLog::OnTime(absl::Time now) {
  Lines lines;
  if (now < next_) return lines;
  next_ = absl::InfiniteFuture();
  for (auto it = workers_.begin(); it != workers_.end();) {
    Worker& worker = it->second;
    const absl::Time gone_at = worker.closed_at + kBlink;
    if (now >= gone_at && !worker.closed_line.empty()) {
      Add(std::exchange(worker.closed_line, {}), now, &lines);
    }
    const absl::Time forget_at = std::max(gone_at, worker.blinked_at + kQuiet);
    if (now >= forget_at) {
      it = workers_.erase(it);
      continue;
    }
    next_ = std::min(next_, worker.closed_line.empty() ? forget_at : gone_at);
    ++it;
  }
  return lines;
}

}  // namespace dt::dispatch
