// Takes the history of a turn as a stream. A part of driver.cc: all of it runs on the driver's
// thread.
#ifndef DT_TESTS_BENCH_HISTORY_CALL_H_
#define DT_TESTS_BENCH_HISTORY_CALL_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/bench/driver.h"
#include "tests/bench/replay.h"
#include "tests/bench/unary_call.h"
#include "tests/bench/worker_call.h"

namespace dt::bench {

// One turn at a time; the message that receives the chunks is reused.
class Driver::HistoryCall final : public Tag {
 public:
  explicit HistoryCall(Driver& driver) : driver_(driver) {}

  void Send(Stub& worker, const WorkItem& item) {
    worker_ = &worker;
    item_ = item;
    const OrchestratorRequest& turn = item_.orchestratorrequest();
    replay_.emplace(turn.instanceid());
    replay_status_ = absl::OkStatus();
    StreamInstanceHistoryRequest request;
    request.set_instanceid(turn.instanceid());
    *request.mutable_executionid() = turn.executionid();
    request.set_forworkitemprocessing(true);
    reader_.reset();  // lives in memory of the call, which goes with its context
    context_.emplace();
    driver_.PrepareContext(*context_);
    state_ = State::kStarting;
    reader_ = worker.PrepareAsyncStreamInstanceHistory(&*context_, request, &driver_.queue_);
    reader_->StartCall(this);
  }
  void Cancel() {
    if (context_) context_->TryCancel();
  }

  void OnDone(bool ok) override {
    if (state_ == State::kFinishing) return Finish();
    if (!ok) {
      state_ = State::kFinishing;
      return reader_->Finish(&status_, this);
    }
    if (state_ == State::kReading && replay_status_.ok()) {
      replay_status_ = replay_->ApplyPast(chunk_.events());
    }
    state_ = State::kReading;
    reader_->Read(&chunk_, this);
  }

 private:
  enum class State { kStarting, kReading, kFinishing };

  void Finish() {
    if (!driver_.closing_) Answer();
    driver_.free_history_calls_.push_back(this);
  }

  void Answer() {
    if (driver_.IsAway(status_)) return;  // the turn comes again
    if (!status_.ok()) {
      replay_status_ = absl::UnavailableError(absl::StrCat(
          "StreamInstanceHistory of ", replay_->instance_id(), " answered ", Describe(status_)));
    } else if (replay_status_.ok() && replay_->is_first_turn()) {
      replay_status_ = absl::DataLossError(absl::StrCat(
          "turn of ", replay_->instance_id(), ": no history came, though it was to be streamed"));
    }
    driver_.EndTurn(*worker_, item_, *replay_, replay_status_);
  }

  Driver& driver_;
  Stub* worker_ = nullptr;  // of the turn
  State state_ = State::kStarting;
  WorkItem item_;
  std::optional<Replay> replay_;
  absl::Status replay_status_;
  std::optional<grpc::ClientContext> context_;
  grpc::Status status_;
  HistoryChunk chunk_;
  std::unique_ptr<grpc::ClientAsyncReader<HistoryChunk>> reader_;
};

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_HISTORY_CALL_H_
