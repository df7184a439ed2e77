// The load itself: clients and the worker streams that serve them, on one thread.
//
// All calls go through one completion queue that one thread reads; everything but what the public
// methods say belongs to that thread, so there is no lock on the way of a work item and no thread
// hop. Clients and workers use channels of their own, one for each server, as in as many processes.
//
// The client's work comes in passes. In a closed loop a slot starts an instance, waits for its
// completion, compares output and counts, and starts the next; in an open loop a pacer starts them.
// A batch takes one pass to start its instances, perhaps one to raise events to them, and one to
// ask for what they came to. The first error of any kind ends the load: a run with an error has no
// figures.
#ifndef DT_TESTS_BENCH_DRIVER_H_
#define DT_TESTS_BENCH_DRIVER_H_

#include <grpcpp/alarm.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "proto/orchestrator_service.grpc.pb.h"
#include "tests/bench/options.h"
#include "tests/bench/pacer.h"

namespace dt::bench {

// One orchestration that ended well.
struct Completion {
  Clock::time_point end;
  // From the call of StartInstance to the answer of the wait; none in a batch.
  std::optional<Clock::duration> latency;
};

// What a load came to.
struct Results {
  std::vector<Completion> completions;
  std::vector<double> lateness_ms;  // of each timer's turn
  // Every way in which the run was wrong, the first ones in words.
  std::vector<std::string> errors;
  int64_t error_count = 0;
  // Calls and streams while a server was away (Options::reconnect), by what they were answered.
  int64_t unavailable = 0;
  int64_t cancelled = 0;
};

// What the worker streams did so far.
struct WorkCounts {
  int64_t turns = 0;
  int64_t streamed_turns = 0;  // of them, with StreamInstanceHistory
  int64_t activities = 0;
  int64_t batches = 0;      // of entities
  int64_t operations = 0;   // in them
  int64_t generations = 0;  // that ended
  int64_t foreign = 0;      // items of other runs, answered or given back
  int64_t pings = 0;
  std::vector<int64_t> stream_activities;  // of each worker stream, in the order of the addresses
};

// What the client does with each instance.
enum class Pass { kStartAndWait, kStart, kRaise, kCollect };

// How far the instances of a batch are.
enum class Mark {
  kWaiting,  // the first turn was answered, and the orchestration goes on
  kEnded,    // the last turn was answered
};

class Driver {
 public:
  explicit Driver(const Options& options);
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  // Closes the streams and waits for the thread.
  ~Driver();

  // Says Hello. The error says what to do next.
  absl::Status Connect();
  // Connects the workers; once, after Connect.
  void OpenStreams();
  // When the first timer of the next batch is due. Only when idle.
  void SetFirstDue(int64_t due_us) { parameters_.timer_first_due_us = due_us; }

  // Starts the clients: `count` instances in all, or without an end (count = 0) until Stop. kRaise
  // and kCollect are about the `count` instances of the kStart before. Only when idle.
  void Begin(Pass pass, int64_t count);
  // No new instance; those in flight go on.
  void Stop();
  // Waits until the pass has come to its end, or the run failed, or until `deadline`. True in the
  // first two cases.
  bool WaitEnded(Clock::time_point deadline);
  bool WaitEnded();
  // The same for `count` instances of a batch that have come so far.
  bool WaitMark(Mark mark, int64_t count, Clock::time_point deadline);
  int64_t marked(Mark mark) const;
  // Waits for the first turn or activity, and says when it came; none if the run failed before.
  std::optional<absl::Time> WaitFirstItem();
  // Waits until the run has failed, which is how a worker alone ends.
  void WaitFailed();
  bool failed() const;
  // How many instances were started so far.
  int64_t started() const { return started_.load(); }
  // What the states of the run's entities say now.
  absl::StatusOr<EntityTotals> ReadEntities() const;
  // Cancels what still runs, closes the streams and ends the thread; afterwards the results below
  // are complete.
  void Shutdown();

  WorkCounts work_counts() const;

  // After Shutdown only.
  const Results& results() const { return results_; }

 private:
  // What the completion queue gives back.
  class Tag {
   public:
    virtual ~Tag() = default;
    virtual void OnDone(bool ok) = 0;
  };
  // What became of one instance of this run.
  struct Record {
    uint32_t activities = 0;
    uint32_t instances_ended = 0;  // itself and its descendants
    bool waiting = false;
    bool ended = false;
  };
  // What an id says of an instance of this run.
  struct Place {
    uint64_t number = 0;
    bool is_root = false;
  };
  // What is reached when a turn's answer has been taken.
  struct Reached {
    uint64_t number = 0;
    std::optional<Mark> mark;
  };
  using Stub = TaskHubSidecarService::Stub;
  template <typename Response>
  class UnaryCall;
  class ActivityPool;
  class Pause;
  class CompleteCall;
  class AbandonCall;
  class HistoryCall;
  class Slot;
  class Stream;
  class CommandTag;

  bool is_open_loop() const { return options_.starts_per_second > 0; }
  // Runs it on the thread, in order; from any.
  void Send(std::function<void()> command);
  void RunCommands();
  void Loop();
  void BeginPass(Pass pass, int64_t count);
  void StartDue(std::optional<Clock::time_point> due);
  void Close();
  bool Closed();
  absl::Status SayHello(Stub& server, const std::string& address) const;
  void PrepareContext(grpc::ClientContext& context) const;
  void AddError(std::string text);
  void NoteItem();
  void SlotIdle();
  // Once for each slot that was told to run, when it has nothing to do.
  void SlotDone(Slot& slot);
  // True when there is one more thing to do in this pass; then `operation` is its number.
  bool TakeNext(uint64_t& operation);
  // The number of the instance that an operation is about.
  uint64_t InstanceOf(uint64_t operation);
  std::string InstanceId(uint64_t number) const;
  // False for an instance of another run.
  bool FindPlace(const std::string& id, Place& place) const;
  // The same, and counts the item that belongs to another run.
  bool IsOurs(const std::string& id, Place& place);
  // True for an answer that says that the server is away, when that is no error: UNAVAILABLE, or
  // CANCELLED by a server that ends with calls open.
  bool IsAway(const grpc::Status& status);
  Stub& ClientOf(uint64_t number) const { return *clients_[number % clients_.size()]; }
  // Runs an activity that takes no time, or has taken it, and answers it.
  void EndActivity(Stub& worker, const WorkItem& item);
  // Runs a batch of an entity and answers it.
  void EndBatch(Stub& worker, const WorkItem& item);
  // Applies the new events, answers the turn, and notes what is to be known of it.
  void EndTurn(Stub& worker, const WorkItem& item, Replay& replay, absl::Status status);
  void NoteTurn(const Replay& replay, const Place& place, Reached& reached);
  void Reach(const Reached& reached);
  CompleteCall* TakeCall();
  HistoryCall* TakeHistoryCall();

  const Options options_;
  Parameters parameters_;
  const std::string id_prefix_;
  std::vector<std::unique_ptr<Stub>> clients_;
  std::vector<std::unique_ptr<Stub>> workers_;
  grpc::CompletionQueue queue_;
  const std::unique_ptr<CommandTag> command_tag_;
  std::thread thread_;

  // Of the thread.
  std::unique_ptr<Pacer> pacer_;  // in an open loop
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_slots_;  // in an open loop
  std::vector<std::unique_ptr<Stream>> streams_;
  std::vector<std::unique_ptr<CompleteCall>> calls_;
  std::vector<CompleteCall*> free_calls_;
  std::vector<std::unique_ptr<HistoryCall>> history_calls_;
  std::vector<HistoryCall*> free_history_calls_;
  std::vector<Record> records_;  // by instance number
  Pass pass_ = Pass::kStartAndWait;
  uint64_t next_operation_ = 0;
  uint64_t end_operation_ = 0;
  uint64_t batch_begin_ = 0;  // instance numbers
  uint64_t batch_size_ = 0;
  int open_streams_ = 0;
  int abandons_ = 0;
  int pauses_ = 0;
  bool closing_ = false;
  bool has_items_ = false;
  OrchestratorResponse turn_answer_;
  ActivityResponse activity_answer_;
  EntityBatchResult batch_answer_;
  Results results_;

  std::atomic<bool> stop_{false};
  // Written by the thread alone.
  std::atomic<int64_t> turns_{0};
  std::atomic<int64_t> streamed_turns_{0};
  std::atomic<int64_t> activities_{0};
  std::atomic<int64_t> batches_{0};
  std::atomic<int64_t> operations_{0};
  std::atomic<int64_t> generations_{0};
  std::atomic<int64_t> foreign_{0};
  std::atomic<int64_t> pings_{0};
  std::atomic<int64_t> started_{0};

  mutable absl::Mutex mutex_;
  int active_slots_ ABSL_GUARDED_BY(mutex_) = 0;  // and the pacer
  int64_t waiting_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t ended_ ABSL_GUARDED_BY(mutex_) = 0;
  bool failed_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Time> first_item_ ABSL_GUARDED_BY(mutex_);
  // On their way to the thread; while there are any, command_tag_ is on its way too.
  std::vector<std::function<void()>> commands_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_DRIVER_H_
