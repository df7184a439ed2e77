// How the workers answer. A part of driver.cc: all of it runs on the driver's thread.
#ifndef DT_TESTS_BENCH_WORKER_CALL_H_
#define DT_TESTS_BENCH_WORKER_CALL_H_

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>

#include "absl/strings/str_cat.h"
#include "tests/bench/driver.h"
#include "tests/bench/unary_call.h"

namespace dt::bench {

// The counters have one writer; an atomic add would lock the bus for nothing.
inline void Bump(std::atomic<int64_t>& counter, int64_t by = 1) {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

// Answers one work item. A worker alone, and one that connects again, goes on when the server could
// not take an answer: the item comes again.
class Driver::CompleteCall final : public Driver::UnaryCall<CompleteTaskResponse> {
 public:
  explicit CompleteCall(Driver& driver) : driver_(driver) {}

  void Send(Stub& worker, const OrchestratorResponse& answer, Reached reached) {
    what_ = "CompleteOrchestratorTask";
    reached_ = reached;
    Await(worker.AsyncCompleteOrchestratorTask(&NewContext(driver_), answer, &driver_.queue_));
  }
  void Send(Stub& worker, const ActivityResponse& answer) {
    what_ = "CompleteActivityTask";
    reached_ = {};
    Await(worker.AsyncCompleteActivityTask(&NewContext(driver_), answer, &driver_.queue_));
  }
  void Send(Stub& worker, const EntityBatchResult& answer) {
    what_ = "CompleteEntityTask";
    reached_ = {};
    Await(worker.AsyncCompleteEntityTask(&NewContext(driver_), answer, &driver_.queue_));
  }
  void OnDone(bool) override {
    if (status_.ok()) {
      driver_.Reach(reached_);
    } else if (!driver_.closing_ && !driver_.options_.serve && !driver_.IsAway(status_)) {
      driver_.AddError(absl::StrCat(what_, " answered ", Describe(status_)));
    }
    driver_.free_calls_.push_back(this);
  }

 private:
  Driver& driver_;
  const char* what_ = "";
  Reached reached_;
};

// Gives back what is none of our names; a server without filters may send it.
class Driver::AbandonCall final : public Tag {
 public:
  static void Send(Driver& driver, Stub& worker, const WorkItem& item) {
    auto* call = new AbandonCall(driver);
    ++driver.abandons_;
    driver.PrepareContext(call->context_);
    if (item.has_activityrequest()) {
      AbandonActivityTaskRequest request;
      request.set_completiontoken(item.completiontoken());
      call->activity_ =
          worker.AsyncAbandonTaskActivityWorkItem(&call->context_, request, &driver.queue_);
      call->activity_->Finish(&call->activity_response_, &call->status_, call);
    } else if (item.has_entityrequestv2()) {
      AbandonEntityTaskRequest request;
      request.set_completiontoken(item.completiontoken());
      call->batch_ =
          worker.AsyncAbandonTaskEntityWorkItem(&call->context_, request, &driver.queue_);
      call->batch_->Finish(&call->batch_response_, &call->status_, call);
    } else {
      AbandonOrchestrationTaskRequest request;
      request.set_completiontoken(item.completiontoken());
      call->turn_ =
          worker.AsyncAbandonTaskOrchestratorWorkItem(&call->context_, request, &driver.queue_);
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
  AbandonEntityTaskResponse batch_response_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<AbandonActivityTaskResponse>> activity_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<AbandonOrchestrationTaskResponse>> turn_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<AbandonEntityTaskResponse>> batch_;
};

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_WORKER_CALL_H_
