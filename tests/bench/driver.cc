#include "tests/bench/driver.h"

#include <grpcpp/alarm.h>
#include <unistd.h>

#include <charconv>
#include <functional>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "google/protobuf/arena.h"

namespace dt::bench {
namespace {

constexpr size_t kErrorsKept = 10;
constexpr size_t kArenaBytes = 64 * 1024;
constexpr absl::Duration kConnectTimeout = absl::Seconds(10);

// The counters have one writer; an atomic add would lock the bus for nothing.
void Bump(std::atomic<int64_t>& counter) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

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

std::string Describe(const grpc::Status& status) {
  return absl::StrCat("gRPC status ", status.error_code(), " '", status.error_message(), "'");
}

}  // namespace

// One unary call at a time; context and reader are made new for each, the response is reused.
template <typename Response>
class Driver::UnaryCall : public Driver::Tag {
 public:
  void Cancel() {
    if (context_) context_->TryCancel();
  }

 protected:
  grpc::ClientContext& NewContext(const Driver& driver) {
    context_.emplace();
    driver.PrepareContext(*context_);
    return *context_;
  }
  void Await(std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader) {
    reader_ = std::move(reader);
    reader_->Finish(&response_, &status_, this);
  }

  Response response_;
  grpc::Status status_;

 private:
  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<Response>> reader_;
};

// Answers one work item.
class Driver::CompleteCall final : public Driver::UnaryCall<CompleteTaskResponse> {
 public:
  explicit CompleteCall(Driver& driver) : driver_(driver) {}

  void Send(const OrchestratorResponse& answer) {
    what_ = "CompleteOrchestratorTask";
    Await(driver_.worker_->AsyncCompleteOrchestratorTask(&NewContext(driver_), answer,
                                                         &driver_.queue_));
  }
  void Send(const ActivityResponse& answer) {
    what_ = "CompleteActivityTask";
    Await(
        driver_.worker_->AsyncCompleteActivityTask(&NewContext(driver_), answer, &driver_.queue_));
  }
  void OnDone(bool) override {
    if (!status_.ok() && !driver_.closing_) {
      driver_.AddError(absl::StrCat(what_, " answered ", Describe(status_)));
    }
    driver_.free_calls_.push_back(this);
  }

 private:
  Driver& driver_;
  const char* what_ = "";
};

// Starts one instance after the other and looks at what came out.
class Driver::Slot {
 public:
  explicit Slot(Driver& driver) : driver_(driver), start_(*this), wait_(*this) {}

  void Next() {
    if (!driver_.TakeNext(index_)) return driver_.SlotIdle();
    instance_id_ = absl::StrCat(driver_.id_prefix_, index_);
    begin_ = Clock::now();
    const auto timeout = std::chrono::duration<double>(driver_.options_.timeout_seconds);
    deadline_ = std::chrono::system_clock::now() +
                std::chrono::duration_cast<std::chrono::system_clock::duration>(timeout);
    start_.Send();
  }
  void Cancel() {
    start_.Cancel();
    wait_.Cancel();
  }

 private:
  class StartCall final : public UnaryCall<CreateInstanceResponse> {
   public:
    explicit StartCall(Slot& slot) : slot_(slot) {}
    void Send() {
      Driver& driver = slot_.driver_;
      const Workload& workload = driver.options_.workload;
      request_.set_instanceid(slot_.instance_id_);
      request_.set_name(std::string(WorkloadName(workload)));
      request_.mutable_input()->set_value(OrchestrationInput(workload, slot_.index_));
      grpc::ClientContext& context = NewContext(driver);
      context.set_deadline(slot_.deadline_);
      Await(driver.client_->AsyncStartInstance(&context, request_, &driver.queue_));
    }
    void OnDone(bool) override {
      if (!status_.ok()) {
        return slot_.End(absl::StrCat("StartInstance answered ", Describe(status_)));
      }
      if (response_.instanceid() != slot_.instance_id_) {
        return slot_.End(
            absl::StrCat("StartInstance answered the id '", response_.instanceid(), "'"));
      }
      slot_.wait_.Send();
    }

   private:
    Slot& slot_;
    CreateInstanceRequest request_;
  };

  class WaitCall final : public UnaryCall<GetInstanceResponse> {
   public:
    explicit WaitCall(Slot& slot) : slot_(slot) {}
    void Send() {
      request_.set_instanceid(slot_.instance_id_);
      request_.set_getinputsandoutputs(true);
      grpc::ClientContext& context = NewContext(slot_.driver_);
      context.set_deadline(slot_.deadline_);
      Await(slot_.driver_.client_->AsyncWaitForInstanceCompletion(&context, request_,
                                                                  &slot_.driver_.queue_));
    }
    void OnDone(bool) override {
      if (!status_.ok()) {
        return slot_.End(absl::StrCat("WaitForInstanceCompletion answered ", Describe(status_)));
      }
      slot_.End(slot_.Check(response_));
    }

   private:
    Slot& slot_;
    GetInstanceRequest request_;
  };

  // What is wrong with the outcome, or "".
  std::string Check(const GetInstanceResponse& response) const {
    if (!response.exists()) return "does not exist";
    const OrchestrationState& state = response.orchestrationstate();
    if (state.orchestrationstatus() != ORCHESTRATION_STATUS_COMPLETED) {
      return absl::StrCat("ended as ", OrchestrationStatus_Name(state.orchestrationstatus()), ": ",
                          state.failuredetails().errormessage());
    }
    const Workload& workload = driver_.options_.workload;
    if (state.output().value() != ExpectedOutput(workload, index_)) {
      return absl::StrCat("output is '", state.output().value(), "' and not '",
                          ExpectedOutput(workload, index_), "'");
    }
    if (state.input().value() != OrchestrationInput(workload, index_)) {
      return absl::StrCat("input came back as '", state.input().value(), "'");
    }
    if (driver_.executed_[index_] != static_cast<uint32_t>(workload.activities)) {
      return absl::StrCat("ran ", driver_.executed_[index_], " activities and not ",
                          workload.activities);
    }
    return "";
  }

  void End(const std::string& error) {
    if (error.empty()) {
      const Clock::time_point now = Clock::now();
      driver_.completions_.push_back({now, now - begin_});
    } else if (!driver_.closing_) {
      driver_.AddError(absl::StrCat(instance_id_, ": ", error));
    }
    Next();
  }

  Driver& driver_;
  StartCall start_;
  WaitCall wait_;
  uint64_t index_ = 0;
  std::string instance_id_;
  Clock::time_point begin_;
  std::chrono::system_clock::time_point deadline_;
};

// Gives back what is none of our names; a server without filters may send it.
class Driver::AbandonCall final : public Tag {
 public:
  static void Send(Driver& driver, const WorkItem& item) {
    auto* call = new AbandonCall(driver);
    ++driver.abandons_;
    driver.PrepareContext(call->context_);
    if (item.has_activityrequest()) {
      AbandonActivityTaskRequest request;
      request.set_completiontoken(item.completiontoken());
      call->activity_ = driver.worker_->AsyncAbandonTaskActivityWorkItem(&call->context_, request,
                                                                         &driver.queue_);
      call->activity_->Finish(&call->activity_response_, &call->status_, call);
    } else {
      AbandonOrchestrationTaskRequest request;
      request.set_completiontoken(item.completiontoken());
      call->turn_ = driver.worker_->AsyncAbandonTaskOrchestratorWorkItem(&call->context_, request,
                                                                         &driver.queue_);
      call->turn_->Finish(&call->turn_response_, &call->status_, call);
    }
  }
  // A server without this call keeps the item for its own time-out: nothing more can be done here.
  void OnDone(bool) override {
    --driver_.abandons_;
    delete this;
  }

 private:
  explicit AbandonCall(Driver& driver) : driver_(driver) {}

  Driver& driver_;
  grpc::ClientContext context_;
  grpc::Status status_;
  AbandonActivityTaskResponse activity_response_;
  AbandonOrchestrationTaskResponse turn_response_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<AbandonActivityTaskResponse>> activity_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<AbandonOrchestrationTaskResponse>> turn_;
};

// One GetWorkItems stream: a worker. One read is outstanding, into an arena that starts anew each
// time.
class Driver::Stream final : public Tag {
 public:
  explicit Stream(Driver& driver)
      : driver_(driver),
        arena_block_(new char[kArenaBytes]),
        arena_(ArenaOptions(arena_block_.get())) {}

  void Open() {
    GetWorkItemsRequest request;
    request.set_maxconcurrentorchestrationworkitems(driver_.options_.worker_orchestrations);
    request.set_maxconcurrentactivityworkitems(driver_.options_.worker_activities);
    WorkItemFilters* filters = request.mutable_workitemfilters();
    filters->add_orchestrations()->set_name(std::string(kChainName));
    filters->add_orchestrations()->set_name(std::string(kFanoutName));
    filters->add_activities()->set_name(std::string(kActivityName));
    driver_.PrepareContext(context_);
    reader_ = driver_.worker_->PrepareAsyncGetWorkItems(&context_, request, &driver_.queue_);
    ++driver_.open_streams_;
    reader_->StartCall(this);
  }
  void Cancel() { context_.TryCancel(); }

  void OnDone(bool ok) override {
    if (state_ == State::kFinishing) {
      --driver_.open_streams_;
      if (!driver_.closing_) {
        driver_.AddError(absl::StrCat("GetWorkItems ended with ", Describe(status_)));
      }
      return;
    }
    if (!ok) {
      state_ = State::kFinishing;
      reader_->Finish(&status_, this);
      return;
    }
    if (state_ == State::kReading && !driver_.closing_) Handle(*item_);
    state_ = State::kReading;
    arena_.Reset();
    item_ = google::protobuf::Arena::CreateMessage<WorkItem>(&arena_);
    reader_->Read(item_, this);
  }

 private:
  enum class State { kStarting, kReading, kFinishing };

  static google::protobuf::ArenaOptions ArenaOptions(char* block) {
    google::protobuf::ArenaOptions options;
    options.initial_block = block;
    options.initial_block_size = kArenaBytes;
    return options;
  }

  void Handle(const WorkItem& item) {
    switch (item.request_case()) {
      case WorkItem::kOrchestratorRequest:
        return HandleTurn(item);
      case WorkItem::kActivityRequest:
        return HandleActivity(item);
      case WorkItem::kHealthPing:
        return Bump(driver_.pings_);
      default:
        driver_.AddError(
            absl::StrCat("work item of kind ", item.request_case(), ", which was not asked for"));
    }
  }

  // True when the instance is one of this run. Others are counted; what cannot be done is given
  // back.
  bool IsOurs(const std::string& instance_id, uint64_t& index) {
    if (driver_.ParseInstanceId(instance_id, index)) return true;
    Bump(driver_.foreign_);
    return false;
  }

  void HandleTurn(const WorkItem& item) {
    const OrchestratorRequest& request = item.orchestratorrequest();
    uint64_t index = 0;
    const bool ours = IsOurs(request.instanceid(), index);
    const absl::Status status = RunTurn(request, driver_.turn_answer_);
    if (!status.ok() && !ours) return AbandonCall::Send(driver_, item);
    if (!status.ok()) driver_.AddError(std::string(status.message()));
    if (ours) Bump(driver_.turns_);
    driver_.turn_answer_.set_completiontoken(item.completiontoken());
    driver_.TakeCall()->Send(driver_.turn_answer_);
  }

  void HandleActivity(const WorkItem& item) {
    const ActivityRequest& request = item.activityrequest();
    uint64_t index = 0;
    const bool ours = IsOurs(request.orchestrationinstance().instanceid(), index);
    const absl::Status status = RunActivity(request, driver_.activity_answer_);
    if (!status.ok() && !ours) return AbandonCall::Send(driver_, item);
    if (!status.ok()) driver_.AddError(std::string(status.message()));
    if (ours) {
      Bump(driver_.activities_);
      ++driver_.executed_[index];
    }
    driver_.activity_answer_.set_completiontoken(item.completiontoken());
    driver_.TakeCall()->Send(driver_.activity_answer_);
  }

  Driver& driver_;
  State state_ = State::kStarting;
  grpc::ClientContext context_;
  grpc::Status status_;
  std::unique_ptr<grpc::ClientAsyncReader<WorkItem>> reader_;
  std::unique_ptr<char[]> arena_block_;
  google::protobuf::Arena arena_;
  WorkItem* item_ = nullptr;
};

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
    context.set_deadline(absl::ToChronoTime(absl::Now() + kConnectTimeout));
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
