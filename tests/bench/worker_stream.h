// The worker side of the load. A part of driver.cc: all of it runs on the driver's thread.
#ifndef DT_TESTS_BENCH_WORKER_STREAM_H_
#define DT_TESTS_BENCH_WORKER_STREAM_H_

#include <google/protobuf/arena.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/bench/activity_pool.h"
#include "tests/bench/driver.h"
#include "tests/bench/history_call.h"
#include "tests/bench/pause.h"
#include "tests/bench/replay.h"
#include "tests/bench/unary_call.h"
#include "tests/bench/worker_call.h"
#include "tests/bench/workload.h"

namespace dt::bench {

// One GetWorkItems stream: a worker. One read is outstanding, into an arena that starts anew each
// time.
class Driver::Stream final : public Tag {
 public:
  Stream(Driver& driver, Stub& worker)
      : driver_(driver),
        worker_(worker),
        pool_(driver, worker),
        arena_block_(new char[kArenaBytes]),
        arena_(ArenaOptions(arena_block_.get())) {}

  void Open() {
    GetWorkItemsRequest request;
    request.set_maxconcurrentorchestrationworkitems(driver_.options_.worker_orchestrations);
    request.set_maxconcurrentactivityworkitems(driver_.options_.worker_activities);
    request.set_maxconcurrententityworkitems(driver_.options_.worker_entities);
    WorkItemFilters* filters = request.mutable_workitemfilters();
    for (const Workload* workload : AllWorkloads()) {
      filters->add_orchestrations()->set_name(std::string(workload->orchestration()));
    }
    filters->add_activities()->set_name(std::string(kActivityName));
    filters->add_entities()->set_name(std::string(kEntityName));
    if (driver_.options_.history_streaming) {
      request.add_capabilities(WORKER_CAPABILITY_HISTORY_STREAMING);
    }
    reader_.reset();  // lives in memory of the call, which goes with its context
    context_.emplace();
    driver_.PrepareContext(*context_);
    state_ = State::kStarting;
    reader_ = worker_.PrepareAsyncGetWorkItems(&*context_, request, &driver_.queue_);
    ++driver_.open_streams_;
    reader_->StartCall(this);
  }
  void Cancel() {
    if (context_) context_->TryCancel();
    pause_.Cancel();
    pool_.Cancel();
  }
  // How many it was given so far; from any thread.
  int64_t activities() const { return activities_.load(std::memory_order_relaxed); }

  void OnDone(bool ok) override {
    if (state_ == State::kPausing) {
      pause_.End(driver_);
      if (!driver_.closing_) Open();
      return;
    }
    if (state_ == State::kFinishing) return Finish();
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

  enum class State { kStarting, kReading, kFinishing, kPausing };

  void Finish() {
    --driver_.open_streams_;
    if (driver_.closing_) return;
    if (!driver_.IsAway(status_)) {
      return driver_.AddError(absl::StrCat("GetWorkItems ended with ", Describe(status_)));
    }
    pool_.DropWaiting();
    state_ = State::kPausing;
    pause_.Begin(driver_, kRetrySeconds, this);
  }

  static google::protobuf::ArenaOptions ArenaOptions(char* block) {
    google::protobuf::ArenaOptions options;
    options.initial_block = block;
    options.initial_block_size = kArenaBytes;
    options.max_block_size = kArenaBytes;
    return options;
  }

  void Handle(const WorkItem& item) {
    switch (item.request_case()) {
      case WorkItem::kOrchestratorRequest:
        driver_.NoteItem();
        return HandleTurn(item);
      case WorkItem::kActivityRequest:
        driver_.NoteItem();
        return HandleActivity(item);
      case WorkItem::kEntityRequestV2:
        driver_.NoteItem();
        return driver_.EndBatch(worker_, item);
      case WorkItem::kHealthPing:
        return Bump(driver_.pings_);
      default:
        driver_.AddError(
            absl::StrCat("work item of kind ", item.request_case(), ", which was not asked for"));
    }
  }

  void HandleTurn(const WorkItem& item) {
    if (item.orchestratorrequest().requireshistorystreaming()) {
      if (driver_.options_.history_streaming) return driver_.TakeHistoryCall()->Send(worker_, item);
      return driver_.AddError(absl::StrCat("turn of ", item.orchestratorrequest().instanceid(),
                                           ": history streaming was asked for, but this worker "
                                           "did not announce it"));
    }
    Replay replay(item.orchestratorrequest().instanceid());
    const absl::Status status = replay.ApplyPast(item.orchestratorrequest().pastevents());
    driver_.EndTurn(worker_, item, replay, status);
  }

  void HandleActivity(const WorkItem& item) {
    Bump(activities_);
    if (driver_.options_.activity_seconds > 0) return pool_.Add(item);
    driver_.EndActivity(worker_, item);
  }

  Driver& driver_;
  Stub& worker_;
  ActivityPool pool_;
  State state_ = State::kStarting;
  Pause pause_;
  std::atomic<int64_t> activities_{0};  // written by the thread alone
  std::optional<grpc::ClientContext> context_;
  grpc::Status status_;
  std::unique_ptr<grpc::ClientAsyncReader<WorkItem>> reader_;
  std::unique_ptr<char[]> arena_block_;
  google::protobuf::Arena arena_;
  WorkItem* item_ = nullptr;
};

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_WORKER_STREAM_H_
