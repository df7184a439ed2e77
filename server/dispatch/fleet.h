// This daemon among others: tells them which work its workers take and what it gets done, and lets
// a stream take on no more than its fair share of work that workers of others take too
// (fair_share.h).
//
// Used by the dispatcher's one thread only.
#ifndef DT_SERVER_DISPATCH_FLEET_H_
#define DT_SERVER_DISPATCH_FLEET_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "server/dispatch/matcher.h"
#include "server/dispatch/step_context.h"

namespace dt::dispatch {

class Fleet {
 public:
  // How often it tells what it gets done.
  static constexpr absl::Duration kReportInterval = absl::Seconds(10);
  // Work with more names is told of as any work.
  static constexpr size_t kNamesMax = 1000;
  // With more versions in all, it is told of as work of any version.
  static constexpr size_t kVersionsMax = 1000;
  // Workers come together: where there are other daemons, a stream that has just opened takes its
  // share only, until this daemon has heard what opened elsewhere at the same time.
  static constexpr absl::Duration kNew = absl::Seconds(1);

  Fleet(StepContext* step, Matcher* matcher) : step_(*step), matcher_(*matcher) {}

  // A stream has opened or closed.
  void StreamsChanged();
  // How many other daemons there are, and what their workers take.
  void SetOthers(int daemons, std::vector<ServedWork> others);
  // `residents` and `tasks`: how many instances and activities this daemon has leased.
  void OnTime(size_t residents, size_t tasks);
  absl::Time NextDeadline() const { return std::min(next_report_, none_new_at_); }

 private:
  std::vector<ServedWork> Served() const;
  void ContestAll();
  void Contest(Stream& stream);
  bool TakenByOthers(const Stream& stream, WorkType type) const;

  StepContext& step_;
  Matcher& matcher_;
  int other_daemons_ = 0;
  std::vector<ServedWork> others_;
  absl::Time none_new_at_ = absl::InfiniteFuture();  // when the youngest stream is not new any more
  absl::Time next_report_ = absl::InfinitePast();
  bool changed_ = false;
  int64_t finished_ = 0;  // at the last report
  absl::Time reported_at_ = absl::InfinitePast();
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_FLEET_H_
