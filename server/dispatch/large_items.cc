#include "server/dispatch/large_items.h"

#include <algorithm>

#include "fmt/format.h"

namespace dt::dispatch {
namespace {

constexpr int64_t kTookUnit = 1 << 20;

}  // namespace

bool LargeItems::IsOverdue(StoredId item, absl::Time now) {
  if (waits_.size() >= kWaitsMax) {
    // What nobody asks for any more is somebody else's now, or gone.
    absl::erase_if(waits_,
                   [now](const auto& entry) { return entry.second.since + kForgetAfter < now; });
  }
  const auto [entry, added] = waits_.try_emplace(item, Wait{now});
  if (added) deadlines_.insert(now + kPatience);
  return now >= entry->second.since + kPatience;
}

void LargeItems::Sent(Stream& stream, const Item& item, int64_t bytes, absl::Time now) {
  stream.trial = StreamTrial{item.dispatch, item.stored_id(), bytes, now + kTrial};
  deadlines_.insert(now + kTrial);
}

void LargeItems::Answered(Stream& stream, int64_t dispatch) {
  if (!stream.trial.has_value() || stream.trial->dispatch != dispatch) return;
  // Limits are round, and items of one kind differ a little.
  const int64_t took = (stream.trial->bytes + kTookUnit - 1) / kTookUnit * kTookUnit;
  stream.took_bytes = std::max(stream.took_bytes, took);
  waits_.erase(stream.trial->item);
  stream.trial.reset();
}

void LargeItems::BrokeStream(const StreamTrial& trial, absl::Time now) {
  Wait& wait = waits_[trial.item];
  wait.since = now;  // it waits for a stream of its own once more
  wait.bytes = trial.bytes;
  ++wait.streams;
  deadlines_.insert(now + kPatience);
}

std::optional<std::string> LargeItems::Failure(StoredId item, bool is_poisoned) const {
  const auto found = waits_.find(item);
  if (found == waits_.end() || found->second.streams < (is_poisoned ? 1 : kStreamsMax)) {
    return std::nullopt;
  }
  return fmt::format(
      "The work item has {} bytes, and {} streams of workers ended as they were sent it. A gRPC "
      "client receives {} bytes at most unless its worker says otherwise (Python: the channel "
      "option "
      "grpc.max_receive_message_length; .NET: GrpcChannelOptions.MaxReceiveMessageSize; Java: "
      "maxInboundMessageSize; Go: grpc.MaxCallRecvMsgSize): raise that, or keep inputs and "
      "histories "
      "smaller, by references to large values or by continuing as new.",
      found->second.bytes, found->second.streams, kReceiveBytes);
}

bool LargeItems::OnTime(absl::Time now) {
  const auto end = deadlines_.upper_bound(now);
  if (end == deadlines_.begin()) return false;
  deadlines_.erase(deadlines_.begin(), end);
  return true;
}

}  // namespace dt::dispatch
