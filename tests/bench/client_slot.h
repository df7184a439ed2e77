// The client side of the load. A part of driver.cc: all of it runs on the driver's thread.
#ifndef DT_TESTS_BENCH_CLIENT_SLOT_H_
#define DT_TESTS_BENCH_CLIENT_SLOT_H_

#include <chrono>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/bench/driver.h"
#include "tests/bench/unary_call.h"
#include "tests/bench/workload.h"

namespace dt::bench {

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

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_CLIENT_SLOT_H_
