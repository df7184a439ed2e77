// Counts calls by their codes, and how long they take, for grpc_server_*.
//
// gRPC's own way would be interceptors, which are experimental and cost each call several
// allocations. Here each call of an AdmittedService (admission.h) is known to be handled while its
// handler runs, and the reactor that the handler makes meanwhile remembers it.
//
// Threads: a HandlingCall stands on the thread that runs the handler; Finish may be called from
// any.
#ifndef DT_SERVER_RPC_COUNTED_CALL_H_
#define DT_SERVER_RPC_COUNTED_CALL_H_

#include <utility>

#include "absl/time/time.h"
#include "grpcpp/support/server_callback.h"
#include "grpcpp/support/status.h"
#include "storage/metrics/metrics.h"

namespace dt::rpc {

// A call whose headers have come.
struct CallBegin {
  metrics::RpcMetrics* rpc = nullptr;  // null: it is not counted
  absl::Time at;                       // by the steady clock
};

// The call that begins now.
CallBegin BeginCall(metrics::RpcMetrics* rpc);
void CountEnd(const CallBegin& call, grpc::StatusCode code);

// While it stands, reactors that are made on this thread are of this call.
class HandlingCall {
 public:
  explicit HandlingCall(const CallBegin& call);
  ~HandlingCall();
  HandlingCall(const HandlingCall&) = delete;
  HandlingCall& operator=(const HandlingCall&) = delete;

  // That of this thread; counts nothing when there is none.
  static CallBegin Current();

 private:
  const CallBegin before_;
};

// A reactor whose end is counted.
template <typename Reactor>
class Counted : public Reactor {
 public:
  void Finish(grpc::Status status) {
    CountEnd(call_, status.error_code());
    Reactor::Finish(std::move(status));
  }

 private:
  const CallBegin call_ = HandlingCall::Current();
};

using UnaryReactor = Counted<grpc::ServerUnaryReactor>;

// In the place of gRPC's default reactor. Deletes itself at the end of the call.
class SimpleReactor final : public UnaryReactor {
 public:
  void OnDone() override { delete this; }
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_COUNTED_CALL_H_
