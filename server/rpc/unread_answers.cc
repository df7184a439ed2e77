#include "server/rpc/unread_answers.h"

#include <utility>

#include "fmt/format.h"

namespace dt::rpc {
namespace {

// A call costs about as much itself.
constexpr int64_t kSmallBytes = 16 << 10;

}  // namespace

absl::Status UnreadAnswers::Count(HubId hub, int64_t bytes, Charge& charge) {
  charge.Reset();
  if (bytes <= kSmallBytes) return absl::OkStatus();
  absl::MutexLock lock(&mutex_);
  int64_t& of_hub = of_hubs_[hub];
  if (bytes_.Room(of_hub) == 0) {
    return absl::ResourceExhaustedError(fmt::format(
        "an answer of {} bytes: {} bytes of answers to callers of this task hub are not "
        "read yet, and {} of all hubs may be (a part of memory.bytes-max); try again "
        "when some have been read",
        bytes, of_hub, bytes_.max()));
  }
  bytes_.Add(of_hub, bytes);
  charge.owner_ = this;
  charge.hub_ = hub;
  charge.bytes_ = bytes;
  return absl::OkStatus();
}

void UnreadAnswers::GiveBack(HubId hub, int64_t bytes) {
  absl::MutexLock lock(&mutex_);
  const auto of_hub = of_hubs_.find(hub);
  bytes_.Add(of_hub->second, -bytes);
  if (of_hub->second == 0) of_hubs_.erase(of_hub);
}

void UnreadAnswers::Charge::Reset() {
  if (UnreadAnswers* owner = std::exchange(owner_, nullptr)) owner->GiveBack(hub_, bytes_);
}

}  // namespace dt::rpc
