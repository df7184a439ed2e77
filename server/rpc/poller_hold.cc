#include "server/rpc/poller_hold.h"

#include <unistd.h>

#include <atomic>
#include <string>

#include "fmt/format.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/channel_arguments.h"
#include "spdlog/spdlog.h"
#include "storage/log_events.h"

namespace dt::rpc {
namespace {

constexpr char kKnownVersion[] = "1.51.";
// From so many on, gRPC makes a third poller. It counts as sysconf does.
constexpr long kCoresOfThreePollers = 6;
// Below the second after which a poller sleeps.
constexpr absl::Duration kCallInterval = absl::Milliseconds(800);

// How long a machine that has much else to do may need for a call; so long nobody is answered if
// there is no other poller.
constexpr absl::Duration kAnswerMax = absl::Seconds(5);

std::atomic<bool> poller_is_held{false};
std::atomic<bool> version_was_logged{false};

// A call and what it needs until its end.
struct HealthCall {
  grpc::ClientContext context;
  const grpc::ByteBuffer request = grpc::ByteBuffer(nullptr, 0);  // HealthCheckRequest{service: ""}
  grpc::ByteBuffer response;
};

}  // namespace

absl::Status PollerHold::Knows(std::string_view grpc_version) {
  if (grpc_version.rfind(kKnownVersion, 0) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(fmt::format(
      "gRPC {} may poll in another way than {}x, for which this was written: none of its "
      "polling threads is held back, which costs context switches and nothing else",
      grpc_version, kKnownVersion));
}

std::unique_ptr<PollerHold> PollerHold::Start(grpc::Server& server) {
  if (sysconf(_SC_NPROCESSORS_CONF) >= kCoresOfThreePollers) return nullptr;
  if (absl::Status known = Knows(grpc::Version()); !known.ok()) {
    if (!version_was_logged.exchange(true)) {
      spdlog::warn("{}: {}", log_event::kGenericWarning, std::string(known.message()));
    }
    return nullptr;
  }
  if (poller_is_held.exchange(true)) return nullptr;
  auto hold = std::make_unique<PollerHold>(server, kAnswerMax);
  hold->of_process_ = true;
  return hold;
}

PollerHold::PollerHold(grpc::Server& server, absl::Duration answer_max)
    : answer_max_(answer_max), stub_(server.InProcessChannel(grpc::ChannelArguments())) {
  Call(AtEnd::kHold);
}

PollerHold::~PollerHold() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    auto ended = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return calls_ == 0; };
    mutex_.Await(absl::Condition(&ended));
  }
  if (of_process_) poller_is_held.store(false);
}

void PollerHold::Call(AtEnd at_end) {
  {
    absl::MutexLock lock(&mutex_);
    ++calls_;
  }
  auto* const call = new HealthCall;
  // How the call ends does not matter, only that it does.
  stub_.UnaryCall(&call->context, "/grpc.health.v1.Health/Check", grpc::StubOptions(),
                  &call->request, &call->response, [this, call, at_end](const grpc::Status&) {
                    delete call;
                    if (at_end == AtEnd::kHold) Hold();
                    absl::MutexLock lock(&mutex_);
                    if (at_end == AtEnd::kNote) answered_ = true;
                    --calls_;
                  });
}

void PollerHold::Hold() {
  Call(AtEnd::kNote);
  const bool holds = AnotherAnswers();
  if (!holds) {
    spdlog::warn(
        "{}: no second polling thread of gRPC {} has answered within {}, so none "
        "is held back, which costs context switches and nothing else",
        log_event::kGenericWarning, grpc::Version(), absl::FormatDuration(answer_max_));
  }
  {
    absl::MutexLock lock(&mutex_);
    state_ = holds ? State::kHolds : State::kLetsGo;
  }
  while (holds && !StopsWithin(kCallInterval)) Call(AtEnd::kNote);
}

bool PollerHold::AnotherAnswers() {
  absl::MutexLock lock(&mutex_);
  auto known = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return answered_ || stopping_; };
  return mutex_.AwaitWithTimeout(absl::Condition(&known), answer_max_);
}

bool PollerHold::holds() {
  absl::MutexLock lock(&mutex_);
  auto known = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return state_ != State::kUnknown; };
  mutex_.Await(absl::Condition(&known));
  return state_ == State::kHolds;
}

bool PollerHold::StopsWithin(absl::Duration time) {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&stopping_), time);
}

}  // namespace dt::rpc
