// Activities that take time, as those of the workers of an SDK. A part of driver.cc: all of it runs
// on the driver's thread.
#ifndef DT_TESTS_BENCH_ACTIVITY_POOL_H_
#define DT_TESTS_BENCH_ACTIVITY_POOL_H_

#include <grpcpp/alarm.h>

#include <deque>
#include <memory>
#include <vector>

#include "tests/bench/driver.h"
#include "tests/bench/pause.h"

namespace dt::bench {

// Of one worker stream: runs some at once, the others wait for their turn.
class Driver::ActivityPool {
 public:
  ActivityPool(Driver& driver, Stub& worker) : driver_(driver), worker_(worker) {}

  void Add(const WorkItem& item) {
    waiting_.push_back(item);
    StartNext();
  }
  // Those that wait come again to a stream that lasts.
  void DropWaiting() { waiting_.clear(); }
  void Cancel() {
    DropWaiting();
    for (const auto& activity : activities_) activity->Cancel();
  }

 private:
  // One at a time.
  class Activity final : public Tag {
   public:
    explicit Activity(ActivityPool& pool) : pool_(pool) {}
    void Run(WorkItem item) {
      item_ = std::move(item);
      pause_.Begin(pool_.driver_, pool_.driver_.options_.activity_seconds, this);
    }
    void Cancel() { pause_.Cancel(); }
    void OnDone(bool) override {
      pause_.End(pool_.driver_);
      if (!pool_.driver_.closing_) pool_.driver_.EndActivity(pool_.worker_, item_);
      pool_.free_.push_back(this);
      pool_.StartNext();
    }

   private:
    ActivityPool& pool_;
    Pause pause_;
    WorkItem item_;
  };

  bool HasRoom() const {
    const size_t most = driver_.options_.activity_concurrency;
    return most == 0 || activities_.size() - free_.size() < most;
  }
  void StartNext() {
    while (!driver_.closing_ && !waiting_.empty() && HasRoom()) {
      if (free_.empty()) {
        activities_.push_back(std::make_unique<Activity>(*this));
        free_.push_back(activities_.back().get());
      }
      Activity* activity = free_.back();
      free_.pop_back();
      activity->Run(std::move(waiting_.front()));
      waiting_.pop_front();
    }
  }

  Driver& driver_;
  Stub& worker_;
  std::deque<WorkItem> waiting_;
  std::vector<std::unique_ptr<Activity>> activities_;
  std::vector<Activity*> free_;
};

}  // namespace dt::bench

#endif  // DT_TESTS_BENCH_ACTIVITY_POOL_H_
