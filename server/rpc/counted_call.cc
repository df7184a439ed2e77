#include "server/rpc/counted_call.h"

#include <cstddef>

#include "storage/steady_clock.h"

namespace dt::rpc {
namespace {

thread_local CallBegin current_call;

}  // namespace

CallBegin BeginCall(metrics::RpcMetrics* rpc) {
  if (rpc == nullptr) return {};
  return {rpc, SteadyNow()};
}

void CountEnd(const CallBegin& call, grpc::StatusCode code) {
  if (call.rpc == nullptr) return;
  const auto place = static_cast<size_t>(code);
  if (place < call.rpc->handled.size()) call.rpc->handled[place].Add();
  call.rpc->handling_seconds.Observe(SteadyNow() - call.at);
}

HandlingCall::HandlingCall(const CallBegin& call) : before_(std::exchange(current_call, call)) {}

HandlingCall::~HandlingCall() { current_call = before_; }

CallBegin HandlingCall::Current() { return current_call; }

}  // namespace dt::rpc
