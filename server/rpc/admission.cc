#include "server/rpc/admission.h"

#include "fmt/format.h"
#include "grpc/byte_buffer.h"
#include "grpc/grpc.h"
#include "server/rpc/receive_budget.h"
#include "server/rpc/status.h"

namespace dt::rpc {
namespace {

using grpc::internal::MethodHandler;

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

// Lets the handler have the call with this message, which becomes its own.
void Handle(const MethodHandler::HandlerParameter& call, MethodHandler* handler,
            grpc_byte_buffer* message) {
  grpc::Status parsed;
  void* data = nullptr;
  void* const request = handler->Deserialize(call.call->call(), message, &parsed, &data);
  handler->RunHandler(MethodHandler::HandlerParameter(call.call, call.server_context, request,
                                                      parsed, data, call.call_requester));
}

// The message of a call while it is received, after which the handler runs. Deletes itself.
class MessageReception final : public grpc_completion_queue_functor,
                               public ReceiveBudget::Reception {
 public:
  // `budget` (may be null) and `handler` must outlive the call.
  static void Begin(const MethodHandler::HandlerParameter& call, MethodHandler* handler,
                    ReceiveBudget* budget) {
    auto* const reception = new MessageReception(call, handler, budget);
    if (budget != nullptr) budget->Add(reception);
    grpc_op op = {};
    op.op = GRPC_OP_RECV_MESSAGE;
    op.data.recv_message.recv_message = &reception->message_;
    grpc_completion_queue_functor* const tag = reception;
    const grpc_call_error error =
        grpc_call_start_batch(call.call->call(), &op, /*nops=*/1, tag, /*reserved=*/nullptr);
    GPR_ASSERT(error == GRPC_CALL_OK);  // as gRPC does: only misuse fails
  }

 private:
  MessageReception(const MethodHandler::HandlerParameter& call, MethodHandler* handler,
                   ReceiveBudget* budget)
      : grpc_completion_queue_functor{&MessageReception::OnEnd, /*inlineable=*/0, 0, nullptr},
        Reception(call.call->call()),
        call_(call),
        handler_(handler),
        budget_(budget) {}

  static void OnEnd(grpc_completion_queue_functor* functor, int) {
    const std::unique_ptr<MessageReception> reception(static_cast<MessageReception*>(functor));
    reception->Finish();
  }

  void Finish() {
    const bool received = message_ != nullptr;
    if (budget_ != nullptr) {
      budget_->Remove(this, received ? grpc_byte_buffer_length(message_) : 0);
    }
    if (received) return Handle(call_, handler_, message_);
    Refuse(call_, grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                               "the call ended before its message was complete"));
  }

  const MethodHandler::HandlerParameter call_;
  MethodHandler* const handler_;
  ReceiveBudget* const budget_;
  grpc_byte_buffer* message_ = nullptr;  // null after the end: none has come
};

class AdmittingHandler final : public MethodHandler {
 public:
  AdmittingHandler(const AdmittedService* service, AdmittedService::Admit admit,
                   std::unique_ptr<MethodHandler> handler)
      : service_(service), admit_(std::move(admit)), handler_(std::move(handler)) {}

  void RunHandler(const HandlerParameter& call) override {
    const absl::Status admitted =
        admit_(*static_cast<grpc::CallbackServerContext*>(call.server_context));
    if (!admitted.ok()) return Refuse(call, ToGrpc(admitted));
    MessageReception::Begin(call, handler_.get(), service_->budget());
  }

 private:
  const AdmittedService* const service_;
  const AdmittedService::Admit admit_;
  const std::unique_ptr<MethodHandler> handler_;
};

class UnreadHandler final : public MethodHandler {
 public:
  explicit UnreadHandler(std::unique_ptr<MethodHandler> handler) : handler_(std::move(handler)) {}

  void RunHandler(const HandlerParameter& call) override {
    Handle(call, handler_.get(), grpc_raw_byte_buffer_create(nullptr, 0));
  }

 private:
  const std::unique_ptr<MethodHandler> handler_;
};

}  // namespace

void AdmittedService::Add(std::string_view rpc, Admit admit,
                          std::unique_ptr<MethodHandler> handler) {
  Register(rpc, std::make_unique<AdmittingHandler>(this, std::move(admit), std::move(handler)));
}

void AdmittedService::AddUnread(std::string_view rpc, std::unique_ptr<MethodHandler> handler) {
  Register(rpc, std::make_unique<UnreadHandler>(std::move(handler)));
}

void AdmittedService::Register(std::string_view rpc, std::unique_ptr<MethodHandler> handler) {
  using Method = grpc::internal::RpcServiceMethod;
  paths_.push_back(fmt::format("/{}/{}", name_, rpc));
  // Of methods only those with a stream of requests receive by themselves.
  auto method = std::make_unique<Method>(
      paths_.back().c_str(), grpc::internal::RpcMethod::BIDI_STREAMING, handler.release());
  method->SetServerApiType(Method::ApiType::CALL_BACK);
  AddMethod(method.release());
}

}  // namespace dt::rpc
