// Instances that clients start: created leased to this process when a worker has a free credit. The
// first turn of most of them goes to the worker while the creation is on its way to the store, and
// not after it: an early start.
//
// Rules of early starts
//   * Only where a worker has a free credit, no instance of that id is held here, the input is no
//     large item, and the id is one that was made at random, as those that SDKs and this daemon
//     make: a worker shall not run turns of starts that are refused because the id exists.
//   * Until its creation is answered the resident is unconfirmed: it has no key, and nothing is
//   stored,
//     read or released for it. What a worker answers is kept.
//   * Its creation is refused, or its answer lost: it is forgotten, as any resident may be, and the
//     worker's answer will match nothing. An orchestrator changes nothing but by its answer.
//   * Where starts are refused all the same, each costs a worker a turn. The hub's next starts are
//     then not early, more of them each time.
//
// Used by the dispatcher's one thread only.
#ifndef DT_SERVER_DISPATCH_STARTS_H_
#define DT_SERVER_DISPATCH_STARTS_H_

#include "server/dispatch/claimer.h"
#include "server/dispatch/mail.h"
#include "server/dispatch/residency.h"
#include "server/dispatch/turns.h"

namespace dt::dispatch {

class Starts {
 public:
  Starts(StepContext* step, Matcher* matcher, Claimer* claimer, Residency* residency, Mail* mail,
         Turns* turns)
      : step_(*step),
        matcher_(*matcher),
        claimer_(*claimer),
        residency_(*residency),
        mail_(*mail),
        turns_(*turns) {}

  void On(StartAsked& event);
  void On(Created& event);
  int in_flight() const { return in_flight_; }

 private:
  // The number of the resident, or 0.
  int64_t StartEarly(const NewInstance& instance, CreateContext& context);
  // The creation has failed; perhaps it happened all the same.
  void OnFailed(Created& event, Resident* early);
  // It is not created, whatever the reason.
  void Refuse(Resident& early);

  StepContext& step_;
  Matcher& matcher_;
  Claimer& claimer_;
  Residency& residency_;
  Mail& mail_;
  Turns& turns_;
  int in_flight_ = 0;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_STARTS_H_
