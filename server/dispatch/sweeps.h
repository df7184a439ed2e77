// Now and then the leases of daemons that have died are freed.
//
// Used by the dispatcher's one thread only.
#ifndef DT_SERVER_DISPATCH_SWEEPS_H_
#define DT_SERVER_DISPATCH_SWEEPS_H_

#include "server/dispatch/claimer.h"
#include "server/dispatch/step_context.h"

namespace dt::dispatch {

class Sweeps {
 public:
  Sweeps(StepContext* step, Matcher* matcher, Claimer* claimer)
      : step_(*step), matcher_(*matcher), claimer_(*claimer) {}

  // The process is registered: it sweeps at once.
  void Reset();
  // Another daemon has begun, or takes other work now: it is looked at soon. However often this is
  // called, by whomever, a look follows another after a fifth of a second.
  void Soon();
  void OnTime();
  void On(Swept& event);
  absl::Time NextDeadline() const { return sweeping_ ? absl::InfiniteFuture() : next_; }

 private:
  StepContext& step_;
  Matcher& matcher_;
  Claimer& claimer_;
  bool sweeping_ = false;
  bool hinted_ = false;  // while it was sweeping
  absl::Time next_ = absl::InfiniteFuture();
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_SWEEPS_H_
