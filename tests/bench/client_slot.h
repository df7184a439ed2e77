// The client side of the load. A part of driver.cc: all of it runs on the driver's thread.
#ifndef DT_TESTS_BENCH_CLIENT_SLOT_H_
#define DT_TESTS_BENCH_CLIENT_SLOT_H_

#include <chrono>
#include <functional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/bench/driver.h"
#include "tests/bench/pause.h"
#include "tests/bench/payload.h"
#include "tests/bench/unary_call.h"
#include "tests/bench/workload.h"

namespace dt::bench {

// Takes one instance after the other and does what the pass asks for.
class Driver::Slot {
 public:
  explicit Slot(Driver& driver)
      : driver_(driver), start_(*this), raise_(*this), wait_(*this), retry_(*this) {}

  void Next() { NextDue(Clock::now()); }
  // The latency counts from `due`.
  void NextDue(Clock::time_point due) {
    if (!driver_.TakeNext(operation_)) return driver_.SlotDone(*this);
    number_ = driver_.InstanceOf(operation_);
    begin_ = due;
    const auto timeout = std::chrono::duration<double>(driver_.options_.timeout_seconds);
    deadline_ = std::chrono::system_clock::now() +
                std::chrono::duration_cast<std::chrono::system_clock::duration>(timeout);
    switch (driver_.pass_) {
      case Pass::kStartAndWait:
      case Pass::kStart:
        return start_.Send();
      case Pass::kRaise:
        return raise_.Send();
      case Pass::kCollect:
        return wait_.Send();
    }
  }
  void Cancel() {
    start_.Cancel();
    raise_.Cancel();
    wait_.Cancel();
    retry_.Cancel();
  }

 private:
  class StartCall final : public UnaryCall<CreateInstanceResponse> {
   public:
    explicit StartCall(Slot& slot) : slot_(slot) {}
    // A repeated start must not replace what the one before started, even if that has ended.
    void Send(bool is_repeated = false) {
      is_repeated_ = is_repeated;
      request_.clear_orchestrationidreusepolicy();
      if (is_repeated) request_.mutable_orchestrationidreusepolicy();
      Driver& driver = slot_.driver_;
      const Workload& workload = *driver.options_.workload;
      request_.set_instanceid(driver.InstanceId(slot_.number_));
      request_.set_name(std::string(workload.orchestration()));
      request_.mutable_input()->set_value(workload.InputOf(driver.parameters_, slot_.number_));
      grpc::ClientContext& context = NewContext(driver);
      context.set_deadline(slot_.deadline_);
      Await(driver.ClientOf(slot_.number_).AsyncStartInstance(&context, request_, &driver.queue_));
    }
    void OnDone(bool) override {
      if (slot_.Retries(status_, [this] { Send(true); })) return;
      const bool exists = is_repeated_ && status_.error_code() == grpc::StatusCode::ALREADY_EXISTS;
      if (!status_.ok() && !exists) {
        return slot_.End(absl::StrCat("StartInstance answered ", Describe(status_)));
      }
      if (status_.ok() && response_.instanceid() != request_.instanceid()) {
        return slot_.End(
            absl::StrCat("StartInstance answered the id '", response_.instanceid(), "'"));
      }
      if (slot_.driver_.pass_ == Pass::kStart) return slot_.End("");
      slot_.wait_.Send();
    }

   private:
    Slot& slot_;
    CreateInstanceRequest request_;
    bool is_repeated_ = false;
  };

  class RaiseCall final : public UnaryCall<RaiseEventResponse> {
   public:
    explicit RaiseCall(Slot& slot) : slot_(slot) {}
    void Send() {
      Driver& driver = slot_.driver_;
      const uint64_t event = slot_.operation_ / driver.batch_size_;
      request_.set_instanceid(driver.InstanceId(slot_.number_));
      request_.set_name(std::string(kEventName));
      request_.mutable_input()->set_value(EventInput(driver.parameters_, slot_.number_, event));
      grpc::ClientContext& context = NewContext(driver);
      context.set_deadline(slot_.deadline_);
      Await(driver.ClientOf(slot_.number_).AsyncRaiseEvent(&context, request_, &driver.queue_));
    }
    void OnDone(bool) override {
      slot_.End(status_.ok() ? "" : absl::StrCat("RaiseEvent answered ", Describe(status_)));
    }

   private:
    Slot& slot_;
    RaiseEventRequest request_;
  };

  class WaitCall final : public UnaryCall<GetInstanceResponse> {
   public:
    explicit WaitCall(Slot& slot) : slot_(slot) {}
    void Send() {
      request_.set_instanceid(slot_.driver_.InstanceId(slot_.number_));
      request_.set_getinputsandoutputs(true);
      grpc::ClientContext& context = NewContext(slot_.driver_);
      context.set_deadline(slot_.deadline_);
      Await(slot_.driver_.ClientOf(slot_.number_)
                .AsyncWaitForInstanceCompletion(&context, request_, &slot_.driver_.queue_));
    }
    void OnDone(bool) override {
      if (slot_.Retries(status_, [this] { Send(); })) return;
      if (!status_.ok()) {
        return slot_.End(absl::StrCat("WaitForInstanceCompletion answered ", Describe(status_)));
      }
      const std::string error = slot_.Check(response_);
      if (error.empty()) slot_.Complete();
      slot_.End(error);
    }

   private:
    Slot& slot_;
    GetInstanceRequest request_;
  };

  // Makes a call again after a moment.
  class Retry final : public Tag {
   public:
    explicit Retry(Slot& slot) : slot_(slot) {}
    void Begin(std::function<void()> send) {
      send_ = std::move(send);
      pause_.Begin(slot_.driver_, kRetrySeconds, this);
    }
    void Cancel() { pause_.Cancel(); }
    void OnDone(bool) override {
      pause_.End(slot_.driver_);
      if (slot_.driver_.closing_) return slot_.End("");
      send_();
    }

   private:
    Slot& slot_;
    Pause pause_;
    std::function<void()> send_;
  };

  // True when the call was for a server that is away, and will be made again.
  bool Retries(const grpc::Status& status, std::function<void()> send) {
    if (driver_.closing_ || !driver_.IsAway(status)) return false;
    retry_.Begin(std::move(send));
    return true;
  }

  // What is wrong with the outcome, or "". Where servers go away, work may be done twice.
  std::string Check(const GetInstanceResponse& response) const {
    if (!response.exists()) return "does not exist";
    const OrchestrationState& state = response.orchestrationstate();
    if (state.orchestrationstatus() != ORCHESTRATION_STATUS_COMPLETED) {
      return absl::StrCat("ended as ", OrchestrationStatus_Name(state.orchestrationstatus()), ": ",
                          Shown(state.failuredetails().errormessage()));
    }
    const Workload& workload = *driver_.options_.workload;
    const Parameters& parameters = driver_.parameters_;
    const std::string output = ExpectedOutput(workload, parameters, number_);
    if (state.output().value() != output) {
      return absl::StrCat("output is ", Shown(state.output().value()), " and not ", Shown(output));
    }
    if (state.input().value() != workload.LastInputOf(parameters, number_)) {
      return absl::StrCat("input came back as ", Shown(state.input().value()));
    }
    const Amounts each = workload.Each(parameters);
    const Record& record = driver_.records_[number_];
    const bool may_repeat = driver_.options_.reconnect;
    if (may_repeat ? record.activities < each.activities : record.activities != each.activities) {
      return absl::StrCat("ran ", record.activities, " activities and not ", each.activities);
    }
    if (may_repeat ? record.instances_ended < each.instances
                   : record.instances_ended != each.instances) {
      return absl::StrCat("ended ", record.instances_ended, " instances and not ", each.instances);
    }
    return "";
  }

  // In a batch the answer of the last turn was the end.
  void Complete() {
    if (driver_.pass_ == Pass::kCollect) return;
    const Clock::time_point now = Clock::now();
    driver_.results_.completions.push_back({now, now - begin_});
  }

  void End(const std::string& error) {
    if (!error.empty() && !driver_.closing_) {
      driver_.AddError(absl::StrCat(driver_.InstanceId(number_), ": ", error));
    }
    if (driver_.is_open_loop()) return driver_.SlotDone(*this);
    Next();
  }

  Driver& driver_;
  StartCall start_;
  RaiseCall raise_;
  WaitCall wait_;
  Retry retry_;
  uint64_t operation_ = 0;
  uint64_t number_ = 0;
  Clock::time_point begin_;
  std::chrono::system_clock::time_point deadline_;
};

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_CLIENT_SLOT_H_
