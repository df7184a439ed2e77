// How messages reach the instances that are held here: told by the commits of this process, or read
// because other daemons and clients have added them.
//
// Used by the dispatcher's one thread only.
#ifndef DT_SERVER_DISPATCH_MAIL_H_
#define DT_SERVER_DISPATCH_MAIL_H_

#include <string>
#include <vector>

#include "server/dispatch/claimer.h"
#include "server/dispatch/hint_backoff.h"
#include "server/dispatch/residency.h"

namespace dt::dispatch {

// The message as the store keeps it.
Message Stored(const NewMessage& message, int64_t seq, absl::Time visible_at);

class Mail {
 public:
  Mail(StepContext* step, Matcher* matcher, Claimer* claimer, Residency* residency)
      : step_(*step), matcher_(*matcher), claimer_(*claimer), residency_(*residency) {}

  // The store has delivered the message, so its receiver has it, whoever holds that.
  void Apply(HubId hub, const Delivery& delivery, const NewMessage& message);
  // The instance may have been sent something that nobody told of.
  void ReadAgain(HubId hub, const std::string& instance_id);
  void ReadAgain(InstanceKey key);
  // Reads soon what the store has for residents: an answer did not tell all whom it reached.
  void ReadSoon();
  // The same, as soon as hints are followed.
  void Hinted();

  // Asks the store for new messages, if it is time.
  void Poll();
  void On(NewMessagesRead& event);
  // The process is registered anew: the read in flight is of the earlier one.
  void Reset();
  absl::Time NextDeadline();

 private:
  void Merge(InboxRead read);

  StepContext& step_;
  Matcher& matcher_;
  Claimer& claimer_;
  Residency& residency_;
  bool reading_ = false;
  std::vector<InstanceKey> awaiting_;  // residents with awaits_read
  int empty_reads_ = 0;
  absl::Time next_read_ = absl::InfiniteFuture();
  absl::Time read_after_ = absl::InfinitePast();  // none before this, whatever is hinted at
  absl::Time woken_at_ = absl::InfiniteFuture();  // when a hint makes for a read
  bool hinted_ = false;                           // the read in flight was made for a hint
  HintBackoff hint_backoff_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_MAIL_H_
