// Results of activities on a short way: the result goes to the parent's next turn at once, and that
// turn's checkpoint stores both, in one transaction in place of two, without a message in an inbox.
//
// Rules
//   * Only a parent that is held here, waits for nothing else and can be sent to a worker now is
//     given a result so (activities.h). Everybody else gets it by the store, as a message.
//   * The worker of the activity is acknowledged when the result is stored, as ever. So it
//     waits for the turn of its parent, but no longer than `result_hold_max`: then the result
//     is stored as a message after all, beside its turn.
//   * A worker that answers a turn only after its activity was acknowledged would wait so each
//     time. Its stream is then left alone for a while, longer each time.
//   * Whatever ends the turn without a checkpoint stores the results that it was given: a resident
//     may be dropped at any time.
// A result that is lost with the daemon was never acknowledged; its activity runs again.
//
// What is not stored has a number below 0 in the inbox and in the turn; only this class gives such
// numbers, and they end here.
//
// Used by the dispatcher's one thread only.
#ifndef DT_SERVER_DISPATCH_UNSTORED_RESULTS_H_
#define DT_SERVER_DISPATCH_UNSTORED_RESULTS_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "server/dispatch/deadlines.h"
#include "server/dispatch/residents.h"
#include "server/dispatch/step_context.h"

namespace dt::dispatch {

class UnstoredResults {
 public:
  UnstoredResults(StepContext* step, ResidentTable* residents)
      : step_(*step), residents_(*residents) {}

  // Of a message that is not stored: below 0, growing like those of the store.
  int64_t NewSeq() { return ++last_seq_; }

  // The resident has it from now on.
  void Give(UnstoredResult result, Resident& resident);
  // Those that the checkpoint consumes leave the resident and come back; the checkpoint ends their
  // tasks.
  std::vector<UnstoredResult> TakeConsumed(Resident& resident, Checkpoint& checkpoint);

  // To the store, as a message like any other: this one, these, those of a resident that is at no
  // worker, and one beside the turn in flight that has it.
  void Store(UnstoredResult result);
  void StoreApart(std::vector<UnstoredResult>& results);
  void StoreApart(Resident& resident);
  void StoreBeside(UnstoredResult& result);
  // All of the turn in flight that are not on their way yet.
  void StoreAllBeside(Resident& resident);
  // Whether one is on its way to the store beside the turn in flight.
  static bool IsStoring(const Resident& resident);
  // A result that was stored beside its turn leaves the resident. False: the turn is gone.
  bool EndStoring(Resident& resident, int64_t seq);
  // The turn in flight comes back without an answer. Those that are being stored come back as
  // messages like any other.
  void TakeTurnBack(Resident& resident);

  // The next result that has waited for its turn for too long; nullopt: none.
  std::optional<std::pair<int64_t, Resident*>> TakeExpired() { return holds_.Take(step_.steady); }
  absl::Time NextDeadline() const { return holds_.next(); }
  size_t holds() const { return holds_.size(); }

 private:
  StepContext& step_;
  ResidentTable& residents_;
  int64_t last_seq_ = std::numeric_limits<int64_t>::min();
  // When those that wait for a checkpoint, and are not on their way to the store, are stored
  // without it.
  Deadlines<std::pair<int64_t, Resident*>> holds_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_UNSTORED_RESULTS_H_
