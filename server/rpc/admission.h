// Calls are let in by their headers, before their message is received.
//
// gRPC receives the message of a unary call before it tells anybody of the call. AdmittedService
// registers its methods as such that read by themselves, for which gRPC tells of a call as soon as
// its headers are there, and keeps no more than a window of flow control (64 KiB) of what follows.
// So a caller that is refused by its headers cannot make this process hold its message. What the
// others send is counted while it is received (receive_budget.h).
//
// Threads: handlers run on threads of gRPC, as those of other callback services.
#ifndef DT_SERVER_RPC_ADMISSION_H_
#define DT_SERVER_RPC_ADMISSION_H_

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "grpcpp/impl/codegen/rpc_service_method.h"
#include "grpcpp/impl/codegen/server_callback_handlers.h"
#include "grpcpp/impl/codegen/service_type.h"
#include "grpcpp/server_context.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"
#include "storage/metrics/metrics.h"

namespace dt::rpc {

class CallsInProgress;
class ProtocolErrors;
class ReceiveBudget;

class AdmittedService : public grpc::Service {
 public:
  using Context = grpc::CallbackServerContext;
  // Whether the call may be made, by its headers. The status is the call's when not.
  using Admit = std::function<absl::Status(const Context& context)>;

  // `name`: the service's full name. `metrics`: where calls are counted, and must outlive the
  // server; null: nowhere.
  explicit AdmittedService(std::string_view name, metrics::Metrics* metrics = nullptr)
      : name_(name), metrics_(metrics) {}

  // What messages are counted against, who answers those that cannot be parsed, and who counts the
  // calls that the end of the server waits for. Before the server starts; all must outlive it.
  // Without it nothing is counted, which does for a service that receives no message.
  void SetServer(ReceiveBudget* budget, ProtocolErrors* errors, CallsInProgress* calls) {
    budget_ = budget;
    errors_ = errors;
    calls_ = calls;
  }
  ReceiveBudget* budget() const { return budget_; }
  CallsInProgress* calls() const { return calls_; }
  ProtocolErrors* errors() const { return errors_; }

 protected:
  // Adds a method whose calls have one message and one answer:
  // ServerUnaryReactor* handler(Context*, const Request*, Response*).
  template <typename Request, typename Response, typename Handler>
  void AddUnary(std::string_view rpc, Admit admit, Handler handler) {
    Add(rpc, std::move(admit), MakeUnary<Request, Response>(std::move(handler)),
        [](void* messages) {
          static_cast<grpc::MessageHolder<Request, Response>*>(messages)->Release();
        });
  }
  // Adds a method whose calls have one message and any number of answers:
  // ServerWriteReactor<ByteBuffer>* handler(Context*, const ByteBuffer*).
  template <typename Handler>
  void AddStream(std::string_view rpc, Admit admit, Handler handler) {
    Add(rpc, std::move(admit), MakeStream(std::move(handler)), nullptr);
  }
  // As these, for methods that do without the message: it is not received, and an empty one is
  // given to the handler. Everybody may call them.
  template <typename Handler>
  void AddUnreadUnary(std::string_view rpc, Handler handler) {
    AddUnread(rpc, MakeUnary<grpc::ByteBuffer, grpc::ByteBuffer>(std::move(handler)));
  }
  template <typename Handler>
  void AddUnreadStream(std::string_view rpc, Handler handler) {
    AddUnread(rpc, MakeStream(std::move(handler)));
  }

 private:
  using MethodHandler = grpc::internal::MethodHandler;

  template <typename Request, typename Response, typename Handler>
  static std::unique_ptr<MethodHandler> MakeUnary(Handler handler) {
    return std::make_unique<grpc::internal::CallbackUnaryHandler<Request, Response>>(
        std::move(handler));
  }
  template <typename Handler>
  static std::unique_ptr<MethodHandler> MakeStream(Handler handler) {
    return std::make_unique<
        grpc::internal::CallbackServerStreamingHandler<grpc::ByteBuffer, grpc::ByteBuffer>>(
        std::move(handler));
  }

  // Lets go of the messages of a call whose request could not be parsed; null where it always can.
  using Release = void (*)(void* messages);
  void Add(std::string_view rpc, Admit admit, std::unique_ptr<MethodHandler> handler,
           Release release);
  void AddUnread(std::string_view rpc, std::unique_ptr<MethodHandler> handler);
  void Register(std::unique_ptr<MethodHandler> handler);

  const std::string name_;
  metrics::Metrics* const metrics_;
  ReceiveBudget* budget_ = nullptr;
  ProtocolErrors* errors_ = nullptr;
  CallsInProgress* calls_ = nullptr;
  std::deque<std::string> paths_;  // to which gRPC keeps pointers
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_ADMISSION_H_
