#include "tests/bench/driver.h"

#include <grpcpp/alarm.h>
#include <unistd.h>

#include <charconv>
#include <functional>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "tests/bench/client_slot.h"
#include "tests/bench/worker_stream.h"

namespace dt::bench {
namespace {

constexpr size_t kErrorsKept = 10;

std::string NewIdPrefix() {
  return fmt::format("dtbench-{:x}-{:x}-", absl::ToUnixMicros(absl::Now()), getpid());
}

std::shared_ptr<grpc::Channel> NewChannel(const std::string& address, int number) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetMaxSendMessageSize(-1);
  // Equal arguments would share one connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt("dtbench.channel", number);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

// Carries a command to the driver's thread.
class Driver::CommandTag final : public Tag {
 public:
  static void Send(grpc::CompletionQueue& queue, std::function<void()> command) {
    auto* tag = new CommandTag(std::move(command));
    tag->alarm_.Set(&queue, gpr_now(GPR_CLOCK_MONOTONIC), tag);
  }
  void OnDone(bool) override {
    command_();
    delete this;
  }

 private:
  explicit CommandTag(std::function<void()> command) : command_(std::move(command)) {}

  const std::function<void()> command_;
  grpc::Alarm alarm_;
};

Driver::Driver(const Options& options)
    : options_(options),
      id_prefix_(NewIdPrefix()),
      client_(TaskHubSidecarService::NewStub(NewChannel(options.address, 0))),
      worker_(TaskHubSidecarService::NewStub(NewChannel(options.address, 1))) {
  for (int i = 0; i < options_.in_flight; ++i) slots_.push_back(std::make_unique<Slot>(*this));
  for (int i = 0; i < options_.workers; ++i) streams_.push_back(std::make_unique<Stream>(*this));
}

Driver::~Driver() { Shutdown(); }

absl::Status Driver::Connect() {
  for (auto* stub : {client_.get(), worker_.get()}) {
    grpc::ClientContext context;
    PrepareContext(context);
    context.set_wait_for_ready(true);
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(options_.connect_seconds)));
    google::protobuf::Empty request, response;
    const grpc::Status status = stub->Hello(&context, request, &response);
    if (!status.ok()) {
      return absl::UnavailableError(
          absl::StrCat("Hello to ", options_.address, ": ", Describe(status),
                       "; start the server, or name its address with --address"));
    }
  }
  for (const auto& stream : streams_) stream->Open();
  thread_ = std::thread([this] { Loop(); });
  return absl::OkStatus();
}

void Driver::Begin(int64_t count) {
  {
    absl::MutexLock lock(&mutex_);
    active_slots_ = options_.in_flight;
  }
  stop_ = false;
  CommandTag::Send(queue_, [this, count] { BeginSlots(count); });
}

void Driver::BeginSlots(int64_t count) {
  end_index_ = count == 0 ? std::numeric_limits<uint64_t>::max() : next_index_ + count;
  for (const auto& slot : slots_) slot->Next();
}

void Driver::Stop() { stop_ = true; }

bool Driver::WaitEnded(Clock::time_point deadline) {
  absl::MutexLock lock(&mutex_);
  const auto ended = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return failed_ || active_slots_ == 0;
  };
  return mutex_.AwaitWithTimeout(absl::Condition(&ended),
                                 absl::FromChrono(deadline - Clock::now()));
}

bool Driver::WaitEnded() { return WaitEnded(Clock::time_point::max()); }

void Driver::Shutdown() {
  if (!thread_.joinable()) return;
  CommandTag::Send(queue_, [this] { Close(); });
  thread_.join();
  queue_.Shutdown();
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
  }
}

void Driver::Close() {
  closing_ = true;
  stop_ = true;
  for (const auto& stream : streams_) stream->Cancel();
  for (const auto& slot : slots_) slot->Cancel();
}

// True when no operation is left in the queue.
bool Driver::Closed() {
  absl::MutexLock lock(&mutex_);
  return closing_ && open_streams_ == 0 && abandons_ == 0 && active_slots_ == 0 &&
         free_calls_.size() == calls_.size();
}

WorkCounts Driver::work_counts() const {
  return {turns_.load(std::memory_order_relaxed), activities_.load(std::memory_order_relaxed),
          foreign_.load(std::memory_order_relaxed), pings_.load(std::memory_order_relaxed)};
}

void Driver::Loop() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
    static_cast<Tag*>(tag)->OnDone(ok);
    if (closing_ && Closed()) return;
  }
}

void Driver::PrepareContext(grpc::ClientContext& context) const {
  if (!options_.hub.empty()) context.AddMetadata("taskhub", options_.hub);
  if (!options_.token.empty()) context.AddMetadata("authorization", "Bearer " + options_.token);
}

void Driver::AddError(std::string text) {
  stop_ = true;
  ++error_count_;
  if (errors_.size() < kErrorsKept) errors_.push_back(std::move(text));
  absl::MutexLock lock(&mutex_);
  failed_ = true;
}

void Driver::SlotIdle() {
  absl::MutexLock lock(&mutex_);
  --active_slots_;
}

bool Driver::TakeNext(uint64_t& index) {
  if (stop_ || next_index_ >= end_index_) return false;
  index = next_index_++;
  executed_.push_back(0);
  return true;
}

bool Driver::ParseInstanceId(const std::string& id, uint64_t& index) const {
  if (id.compare(0, id_prefix_.size(), id_prefix_) != 0) return false;
  const char* end = id.data() + id.size();
  const auto result = std::from_chars(id.data() + id_prefix_.size(), end, index);
  return result.ec == std::errc() && result.ptr == end && index < executed_.size();
}

Driver::CompleteCall* Driver::TakeCall() {
  if (free_calls_.empty()) {
    calls_.push_back(std::make_unique<CompleteCall>(*this));
    return calls_.back().get();
  }
  CompleteCall* call = free_calls_.back();
  free_calls_.pop_back();
  return call;
}

}  // namespace dt::bench
