#include "server/rpc/poller_hold.h"

#include <unistd.h>

#include <atomic>

#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/channel_arguments.h"

namespace dt::rpc {
namespace {

// From so many on, gRPC makes a third poller. It counts as sysconf does.
constexpr long kCoresOfThreePollers = 6;
// Below the second after which a poller sleeps.
constexpr absl::Duration kCallInterval = absl::Milliseconds(800);

std::atomic<bool> poller_is_held{false};

// A call and what it needs until its end.
struct HealthCall {
  grpc::ClientContext context;
  const grpc::ByteBuffer request = grpc::ByteBuffer(nullptr, 0);  // HealthCheckRequest{service: ""}
  grpc::ByteBuffer response;
};

}  // namespace

std::unique_ptr<PollerHold> PollerHold::Start(grpc::Server& server) {
  if (sysconf(_SC_NPROCESSORS_CONF) >= kCoresOfThreePollers) return nullptr;
  if (poller_is_held.exchange(true)) return nullptr;
  std::unique_ptr<PollerHold> hold(new PollerHold(server));
  hold->Call(AtEnd::kHold);
  return hold;
}

PollerHold::PollerHold(grpc::Server& server)
    : stub_(server.InProcessChannel(grpc::ChannelArguments())) {}

PollerHold::~PollerHold() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
    auto ended = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return calls_ == 0; };
    mutex_.Await(absl::Condition(&ended));
  }
  poller_is_held.store(false);
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
                    --calls_;
                  });
}

void PollerHold::Hold() {
  while (!StopsWithin(kCallInterval)) Call(AtEnd::kNothing);
}

bool PollerHold::StopsWithin(absl::Duration time) {
  absl::MutexLock lock(&mutex_);
  return mutex_.AwaitWithTimeout(absl::Condition(&stopping_), time);
}

}  // namespace dt::rpc
