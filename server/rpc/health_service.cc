#include "server/rpc/health_service.h"

#include <optional>
#include <string>
#include <vector>

#include "grpcpp/support/byte_buffer.h"
#include "server/rpc/frame_buffer.h"

namespace dt::rpc {
namespace {

// HealthCheckResponse by hand: its one field is the status, SERVING or NOT_SERVING.
grpc::ByteBuffer HealthAnswer(bool serving) {
  return MakeByteBuffer(std::string{0x08, static_cast<char>(serving ? 1 : 2)});
}

}  // namespace

// One Watch call. The service keeps it until OnDone.
class HealthService::Watcher final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  explicit Watcher(HealthService* service) : service_(service) {}

  // Writes the state or ends, whichever is due.
  void Proceed() {
    bool ends = false;
    {
      absl::MutexLock lock(&service_->mutex_);
      if (writing_ || ended_) return;
      ends = ended_ = cancelled_;
      if (!ends) {
        if (told_ == service_->serving_) return;
        told_ = service_->serving_;
        writing_ = true;
        answer_ = HealthAnswer(service_->serving_);
      }
    }
    if (ends) return Finish(grpc::Status(grpc::StatusCode::CANCELLED, "the watch has ended"));
    StartWrite(&answer_);
  }

  void OnWriteDone(bool ok) override {
    {
      absl::MutexLock lock(&service_->mutex_);
      writing_ = false;
      cancelled_ = cancelled_ || !ok;
    }
    Proceed();
  }
  void OnCancel() override {
    {
      absl::MutexLock lock(&service_->mutex_);
      cancelled_ = true;
    }
    Proceed();
  }
  void OnDone() override {
    std::shared_ptr<Watcher> self;  // given up after the lock
    absl::MutexLock lock(&service_->mutex_);
    const auto found = service_->watchers_.find(this);
    self = *found;
    service_->watchers_.erase(found);
  }

 private:
  HealthService* const service_;
  // Guarded by the service's lock.
  bool writing_ = false;
  bool cancelled_ = false;
  bool ended_ = false;
  std::optional<bool> told_;
  grpc::ByteBuffer answer_;  // of the write in progress
};

HealthService::HealthService() : AdmittedService("grpc.health.v1.Health") {
  AddUnreadUnary("Check",
                 [this](Context* context, const grpc::ByteBuffer*, grpc::ByteBuffer* answer) {
                   {
                     absl::MutexLock lock(&mutex_);
                     *answer = HealthAnswer(serving_);
                   }
                   grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
                   reactor->Finish(grpc::Status::OK);
                   return reactor;
                 });
  AddUnreadStream("Watch", [this](Context*, const grpc::ByteBuffer*) {
    auto watcher = std::make_shared<Watcher>(this);
    {
      absl::MutexLock lock(&mutex_);
      watchers_.insert(watcher);
    }
    watcher->Proceed();
    return watcher.get();
  });
}

void HealthService::SetServing(bool serving) {
  std::vector<std::shared_ptr<Watcher>> watchers;
  {
    absl::MutexLock lock(&mutex_);
    serving_ = serving;
    watchers.assign(watchers_.begin(), watchers_.end());
  }
  for (const std::shared_ptr<Watcher>& watcher : watchers) watcher->Proceed();
}

}  // namespace dt::rpc
