// What lanes (lane.h) carry: operations, and the verbs that say how operations of one kind become a
// call.
#ifndef DT_STORAGE_POSTGRES_OPERATION_H_
#define DT_STORAGE_POSTGRES_OPERATION_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "storage/postgres/connection.h"
#include "storage/records.h"

namespace dt::postgres {

class Verb;

// One thing to do for one caller. Subclasses add the arguments and the callback.
class Operation {
 public:
  explicit Operation(const Verb* its_verb) : verb(its_verb) {}
  virtual ~Operation() = default;
  // Ends the operation without a result. Called at most once, and not after Verb::Complete.
  virtual void Fail(absl::Status status) = 0;

  const Verb* const verb;  // must outlive the lane
  HubId hub = 0;           // 0 = concerns no hub
  uint64_t order_key = 0;  // see OrderKey; 0 = in no order with anything
  size_t bytes = 0;        // about what it adds to the call
  size_t rows = 1;         // about how many rows it writes
  // How long it waits for a database that is away, from Submit on; zero = the lane's default.
  absl::Duration patience = absl::ZeroDuration();

  // Tells whether nobody waits for it any more, so that it need not be sent; null = always sent.
  // Any thread, no locks; not called after its end.
  CallerGone caller_gone = nullptr;
  bool abandoned() const { return caller_gone != nullptr && caller_gone(); }

  // An earlier call with it ended with its session. A call that the server refused changed nothing.
  bool may_have_happened() const { return may_have_happened_; }
  // It goes as a batch even when it is alone: a call with a statement of its own had no answer
  // (Verb::Declines), or statements are not prepared here.
  bool as_batch() const { return as_batch_; }

 private:
  friend class BlockedOperations;
  friend class Lane;
  absl::Time give_up_at_;
  int lost_calls_ = 0;  // connections that broke while it was in flight
  bool may_have_happened_ = false;
  bool as_batch_ = false;
  int timeouts_ = 0;  // calls with nothing else in them that took too long
  // It goes to the lane for large operations.
  bool beside_ = false;
  // Tells its lane, where another one carries it, that it has ended.
  std::shared_ptr<void> until_end_;
  // A lock was in the way of the call that it was in, perhaps for its sake: from then on it is
  // alone in its call, and waits for no lock for long.
  bool alone_ = false;
  // Since when a lock is in its way, found when it was alone; and how often it was found so.
  absl::Time blocked_since_ = absl::InfiniteFuture();
  int blocked_times_ = 0;
  uint64_t blocked_key_ = 0;  // under which BlockedOperations keeps it; 0 = never kept
};

using Batch = std::vector<std::unique_ptr<Operation>>;
using Operations = absl::Span<const std::unique_ptr<Operation>>;

// The order key of an instance. Two instances with the same key are ordered needlessly, no more.
uint64_t OrderKey(HubId hub, std::string_view instance_id);

// What the operations of one kind have in common: the statement, the encoding and the decoding.
class Verb {
 public:
  virtual ~Verb() = default;
  // The statement for any operations of this verb; its name is that of the verb, too.
  virtual const Statement& statement() const = 0;
  // The statement for these operations, which may have a shorter one of their own.
  virtual const Statement& StatementFor(Operations) const { return statement(); }
  // Fills the parameters of StatementFor these operations (never empty, all of this verb and of one
  // hub). May be called again for the same operations when a call is repeated. The operations stay
  // alive.
  virtual void Encode(Operations operations, Params* params) const = 0;
  // Whether this is no answer: nothing has happened, and the operations, of which there is one, are
  // sent again with `as_batch` set, for which there is another statement.
  virtual bool Declines(const Result&, Operations) const { return false; }
  // Ends every operation by its part of the result (its callback runs here) and returns OK; or ends
  // none and returns why the result does not fit. Then the lane fails them with kInternal.
  virtual absl::Status Complete(const Result& result, Operations operations) const = 0;
  // True if a call may be sent again when it is unknown whether it was committed.
  virtual bool repeatable() const = 0;
  // Below the lane's own limit; 1 = never together with others.
  virtual size_t operations_max() const { return SIZE_MAX; }
  // True if a call may hold only one operation of each order key; the next goes into the next call.
  virtual bool one_per_key() const { return false; }
};

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_OPERATION_H_
