// The worker side of the load. A part of driver.cc: all of it runs on the driver's thread.
#ifndef DT_TESTS_BENCH_WORKER_STREAM_H_
#define DT_TESTS_BENCH_WORKER_STREAM_H_

#include <google/protobuf/arena.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/bench/driver.h"
#include "tests/bench/unary_call.h"
#include "tests/bench/workload.h"

namespace dt::bench {

// The counters have one writer; an atomic add would lock the bus for nothing.
inline void Bump(std::atomic<int64_t>& counter) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

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
  static constexpr size_t kArenaBytes = 64 * 1024;

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

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_WORKER_STREAM_H_
