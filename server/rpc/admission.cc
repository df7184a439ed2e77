#include "server/rpc/admission.h"

#include "fmt/format.h"
#include "grpc/byte_buffer.h"
#include "grpc/grpc.h"
#include "server/rpc/calls_in_progress.h"
#include "server/rpc/counted_call.h"
#include "server/rpc/protocol_errors.h"
#include "server/rpc/receive_budget.h"
#include "server/rpc/status.h"

namespace dt::rpc {
namespace {

using grpc::internal::MethodHandler;

// What is left to do when gRPC lets go of a call. On the heap, as gRPC copies what it calls then.
struct CallEnd {
  CallsInProgress* calls;
  CallsInProgress::Period began;
  std::function<void()> then;
};

// The call as one in progress, until gRPC has let go of it, which it does once.
MethodHandler::HandlerParameter InProgress(const MethodHandler::HandlerParameter& call,
                                           CallsInProgress* calls) {
  if (calls == nullptr) return call;
  auto* const end = new CallEnd{calls, calls->Begin(), call.call_requester};
  return MethodHandler::HandlerParameter(call.call, call.server_context, call.request, call.status,
                                         call.internal_data, [end] {
                                           const std::unique_ptr<CallEnd> owned(end);
                                           owned->calls->End(owned->began);
                                           owned->then();
                                         });
}

// Ends a call whose message is not wanted.
void Refuse(const MethodHandler::HandlerParameter& call, const grpc::Status& status) {
  grpc::internal::CallbackUnaryHandler<grpc::ByteBuffer, grpc::ByteBuffer> refusing(
      [&status](grpc::CallbackServerContext* context, const grpc::ByteBuffer*, grpc::ByteBuffer*) {
        grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
        reactor->Finish(status);
        return reactor;
      });
  grpc::Status parsed;
  void* messages = nullptr;
  void* const request = refusing.Deserialize(call.call->call(), nullptr, &parsed, &messages);
  refusing.RunHandler(MethodHandler::HandlerParameter(
      call.call, call.server_context, request, grpc::Status::OK, messages, call.call_requester));
}

// Lets the handler have the call with this message, which becomes its own; a call whose message it
// cannot parse is ended by `unreadable`.
void Handle(const MethodHandler::HandlerParameter& call, MethodHandler* handler,
            grpc_byte_buffer* message, const CallBegin& begin,
            const std::function<void(void* messages)>& unreadable) {
  grpc::Status parsed;
  void* messages = nullptr;
  void* const request = handler->Deserialize(call.call->call(), message, &parsed, &messages);
  if (!parsed.ok()) return unreadable(messages);
  const HandlingCall handling(begin);
  handler->RunHandler(MethodHandler::HandlerParameter(call.call, call.server_context, request,
                                                      parsed, messages, call.call_requester));
}

// What happens to the calls of a method.
struct Method {
  const AdmittedService* service;
  std::string_view path;
  std::unique_ptr<MethodHandler> handler;
  void (*release)(void* messages);
  metrics::RpcMetrics* counted;  // null: not counted
};

// The message of a call while it is received, after which the handler runs. Deletes itself.
class MessageReception final : public grpc_completion_queue_functor,
                               public ReceiveBudget::Reception {
 public:
  // `method` must outlive the call.
  static void Begin(const MethodHandler::HandlerParameter& call, const Method& method,
                    const CallBegin& begin) {
    auto* const reception = new MessageReception(call, method, begin);
    if (ReceiveBudget* const budget = method.service->budget()) budget->Add(reception);
    grpc_op op = {};
    op.op = GRPC_OP_RECV_MESSAGE;
    op.data.recv_message.recv_message = &reception->message_;
    grpc_completion_queue_functor* const tag = reception;
    const grpc_call_error error =
        grpc_call_start_batch(call.call->call(), &op, /*nops=*/1, tag, /*reserved=*/nullptr);
    GPR_ASSERT(error == GRPC_CALL_OK);  // as gRPC does: only misuse fails
  }

 private:
  MessageReception(const MethodHandler::HandlerParameter& call, const Method& method,
                   const CallBegin& begin)
      : grpc_completion_queue_functor{&MessageReception::OnEnd, /*inlineable=*/0, 0, nullptr},
        Reception(call.call->call()),
        call_(call),
        method_(method),
        begin_(begin) {}

  static void OnEnd(grpc_completion_queue_functor* functor, int) {
    const std::unique_ptr<MessageReception> reception(static_cast<MessageReception*>(functor));
    reception->Finish();
  }

  void Finish() {
    const bool received = message_ != nullptr;
    const size_t bytes = received ? grpc_byte_buffer_length(message_) : 0;
    if (ReceiveBudget* const budget = method_.service->budget()) budget->Remove(this, bytes);
    if (!received) {
      CountEnd(begin_, grpc::StatusCode::INVALID_ARGUMENT);
      return Refuse(call_, grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                                        "the call ended before its message was complete"));
    }
    Handle(call_, method_.handler.get(), message_, begin_, [this, bytes](void* messages) {
      method_.release(messages);
      const grpc::Status refusal =
          method_.service->errors()->Unreadable(call_.server_context->peer(), method_.path, bytes);
      CountEnd(begin_, refusal.error_code());
      Refuse(call_, refusal);
    });
  }

  const MethodHandler::HandlerParameter call_;
  const Method& method_;
  const CallBegin begin_;
  grpc_byte_buffer* message_ = nullptr;  // null after the end: none has come
};

class AdmittingHandler final : public MethodHandler {
 public:
  AdmittingHandler(AdmittedService::Admit admit, Method method)
      : admit_(std::move(admit)), method_(std::move(method)) {}

  void RunHandler(const HandlerParameter& parameter) override {
    const CallBegin begin = BeginCall(method_.counted);
    const HandlerParameter call = InProgress(parameter, method_.service->calls());
    const absl::Status admitted =
        admit_(*static_cast<grpc::CallbackServerContext*>(call.server_context));
    if (!admitted.ok()) {
      const grpc::Status refusal = ToGrpc(admitted);
      CountEnd(begin, refusal.error_code());
      return Refuse(call, refusal);
    }
    MessageReception::Begin(call, method_, begin);
  }

 private:
  const AdmittedService::Admit admit_;
  const Method method_;
};

class UnreadHandler final : public MethodHandler {
 public:
  UnreadHandler(const AdmittedService* service, std::unique_ptr<MethodHandler> handler)
      : service_(*service), handler_(std::move(handler)) {}

  void RunHandler(const HandlerParameter& parameter) override {
    const HandlerParameter call = InProgress(parameter, service_.calls());
    Handle(call, handler_.get(), grpc_raw_byte_buffer_create(nullptr, 0), CallBegin(), [](void*) {
      GPR_ASSERT(false);  // bytes are always read
    });
  }

 private:
  const AdmittedService& service_;
  const std::unique_ptr<MethodHandler> handler_;
};

}  // namespace

void AdmittedService::Add(std::string_view rpc, Admit admit, std::unique_ptr<MethodHandler> handler,
                          Release release) {
  paths_.push_back(fmt::format("/{}/{}", name_, rpc));
  Register(std::make_unique<AdmittingHandler>(
      std::move(admit), Method{this, paths_.back(), std::move(handler), release,
                               metrics_ == nullptr ? nullptr : &metrics_->rpcs.Of(rpc)}));
}

void AdmittedService::AddUnread(std::string_view rpc, std::unique_ptr<MethodHandler> handler) {
  paths_.push_back(fmt::format("/{}/{}", name_, rpc));
  Register(std::make_unique<UnreadHandler>(this, std::move(handler)));
}

// The path is the last one.
void AdmittedService::Register(std::unique_ptr<MethodHandler> handler) {
  using RpcMethod = grpc::internal::RpcServiceMethod;
  // Of methods only those with a stream of requests receive by themselves.
  auto method = std::make_unique<RpcMethod>(
      paths_.back().c_str(), grpc::internal::RpcMethod::BIDI_STREAMING, handler.release());
  method->SetServerApiType(RpcMethod::ApiType::CALL_BACK);
  AddMethod(method.release());
}

}  // namespace dt::rpc
