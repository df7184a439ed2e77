// The load itself: a closed loop of clients and the worker streams that serve them, on one thread.
//
// All calls go through one completion queue that one thread reads; everything but what the public
// methods say belongs to that thread, so there is no lock on the way of a work item and no thread
// hop. Clients use one channel, workers another, as in two processes.
//
// A client slot starts an instance, waits for its completion, compares output and counts, and
// starts the next. The first error of any kind ends the load: a run with an error has no figures.
#ifndef DT_TESTS_BENCH_DRIVER_H_
#define DT_TESTS_BENCH_DRIVER_H_

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "proto/orchestrator_service.grpc.pb.h"
#include "tests/bench/options.h"

namespace dt::bench {

using Clock = std::chrono::steady_clock;

// One orchestration that ended well.
struct Completion {
  Clock::time_point end;
  Clock::duration latency;  // from the call of StartInstance to the answer of the wait
};

// What the worker streams did so far.
struct WorkCounts {
  int64_t turns = 0;
  int64_t activities = 0;
  int64_t foreign = 0;  // items of other runs, answered or given back
  int64_t pings = 0;
};

class Driver {
 public:
  explicit Driver(const Options& options);
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  // Closes the streams and waits for the thread.
  ~Driver();

  // Says Hello and opens the streams. The error says what to do next.
  absl::Status Connect();
  // Starts the clients: `count` instances in all, or without an end (count = 0) until Stop. Only
  // when idle.
  void Begin(int64_t count);
  // No new instance; those in flight go on.
  void Stop();
  // Waits until no instance is in flight, or the run failed, or until `deadline`. True in the first
  // two cases.
  bool WaitEnded(Clock::time_point deadline);
  bool WaitEnded();
  // Cancels what still runs, closes the streams and ends the thread; afterwards the results below
  // are complete.
  void Shutdown();

  WorkCounts work_counts() const;

  // After Shutdown only.
  const std::vector<Completion>& completions() const { return completions_; }
  // Every way in which the run was wrong, the first ones in words.
  const std::vector<std::string>& errors() const { return errors_; }
  int64_t error_count() const { return error_count_; }

 private:
  // What the completion queue gives back.
  class Tag {
   public:
    virtual ~Tag() = default;
    virtual void OnDone(bool ok) = 0;
  };
  template <typename Response>
  class UnaryCall;
  class CompleteCall;
  class AbandonCall;
  class Slot;
  class Stream;
  class CommandTag;

  void Loop();
  void BeginSlots(int64_t count);
  void Close();
  bool Closed();
  void PrepareContext(grpc::ClientContext& context) const;
  void AddError(std::string text);
  void SlotIdle();
  // True when there is one more instance to start; then `index` is its number.
  bool TakeNext(uint64_t& index);
  // The number of an instance of this run, or false for one of another.
  bool ParseInstanceId(const std::string& id, uint64_t& index) const;
  CompleteCall* TakeCall();

  const Options options_;
  const std::string id_prefix_;
  std::unique_ptr<TaskHubSidecarService::Stub> client_;
  std::unique_ptr<TaskHubSidecarService::Stub> worker_;
  grpc::CompletionQueue queue_;
  std::thread thread_;

  // Of the thread.
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::vector<std::unique_ptr<CompleteCall>> calls_;
  std::vector<CompleteCall*> free_calls_;
  std::vector<uint32_t> executed_;  // activities by instance number
  uint64_t next_index_ = 0;
  uint64_t end_index_ = 0;
  int open_streams_ = 0;
  int abandons_ = 0;
  bool closing_ = false;
  OrchestratorResponse turn_answer_;
  ActivityResponse activity_answer_;
  std::vector<Completion> completions_;
  std::vector<std::string> errors_;
  int64_t error_count_ = 0;

  std::atomic<bool> stop_{false};
  // Written by the thread alone.
  std::atomic<int64_t> turns_{0};
  std::atomic<int64_t> activities_{0};
  std::atomic<int64_t> foreign_{0};
  std::atomic<int64_t> pings_{0};

  absl::Mutex mutex_;
  int active_slots_ ABSL_GUARDED_BY(mutex_) = 0;
  bool failed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_DRIVER_H_
