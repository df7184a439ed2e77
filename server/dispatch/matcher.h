// Brings work items and streams together: which stream may have an item, its credits, what is at a
// worker and since when, and what a credit is promised to.
//
// Invariants
//   * A stream never has more unanswered items of a type than its credits.
//   * An item at a worker is found by the number of its dispatch only, until it is answered, given
//     back or lost. It lives as long.
//
// Used by the dispatcher's one thread only.
#ifndef DT_SERVER_DISPATCH_MATCHER_H_
#define DT_SERVER_DISPATCH_MATCHER_H_

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/functional/function_ref.h"
#include "server/dispatch/item.h"
#include "server/dispatch/large_items.h"
#include "server/dispatch/step_context.h"
#include "server/dispatch/streams.h"

namespace dt::dispatch {

class Matcher {
 public:
  explicit Matcher(StepContext* step);

  StreamTable& table() { return table_; }
  LargeItems& large_items() { return large_items_; }

  // --- Hubs in which something has become possible
  void MarkDirty(Hub& hub);
  Hub* TakeDirty();  // null: none is left

  // --- Items that wait in their routes
  // Behind those of an earlier time; of one time, tasks of different instances take turns.
  void Enqueue(Item& item, absl::Time at);
  void EnqueueFairly(Item& item, InstanceKey instance);
  // Does nothing for an item that does not wait. `instance`: as it was given.
  void Dequeue(Item& item, InstanceKey instance = 0);
  // Offers what waits, the first first, until no more can go. `offer` returns whether the item has
  // left its queue.
  using Offer = absl::FunctionRef<bool(Item&)>;
  void Pump(Hub& hub, WorkType type, Offer offer);

  // --- The choice of a stream
  // What the choice depends on beside the item.
  struct Needs {
    bool streams_history = false;  // to workers that read it apart
    int64_t bytes = 0;             // of an item that may be large (large_items.h), else 0
    int64_t streamed_bytes = 0;    // the same without its history
    bool overdue = false;          // it has waited too long for a stream of its own
  };
  struct Choice {
    Stream* stream = nullptr;  // null: none may have it now
    // Each stream that accepts it gave it back and may not have it again yet (2.7).
    bool all_gave_back = false;
  };
  // The best stream that may have the item now. Better is one that spells its name as it is, then,
  // for a large history, one that streams it, then one with fewer unanswered items, then the one
  // that got nothing for longest.
  Choice Choose(const Item& item, const Needs& needs);

  // --- Credits
  // The item goes to the stream; it has a stream and a number of its dispatch now.
  void TakeCredit(Stream& stream, Item& item);
  // Sends what TakeCredit was for.
  void SendItem(Stream& stream, const Item& item, orchestration::Frame frame, int64_t bytes);
  // The item has left its worker.
  void FreeCredit(Item& item);
  // The item that is at a worker by the dispatch that the token names, under its lease; else null.
  Item* FindInFlight(const CompletionToken& token) const;
  struct InFlight {
    Item* item = nullptr;
    absl::Time since;
  };
  // By dispatch, so in the order of their times.
  using InFlightMap = absl::btree_map<int64_t, InFlight>;
  const InFlightMap& in_flight(WorkType type) const { return in_flight_[Index(type)]; }
  // The next item whose time at its worker is up, which frees its credit; null: none.
  Item* TakeExpired();
  // It left its worker, or is about to, without an answer.
  static void CountAbandon(Item& item, metrics::Abandon reason);
  // An answer that belongs to nothing here.
  void CountStale(HubId hub, WorkType type);
  // An orchestration has ended with this status.
  void CountEnd(HubId hub, RuntimeStatus status);
  // Its worker has given the item back, or has to: it does not get it again for a while (2.7).
  void AddBackoff(const Item& item);
  void ForgetBackoff(const Item& item);

  // A credit and the memory for an item that will be leased with these bytes; nullopt: none.
  std::optional<Reservation> Reserve(Hub& hub, WorkType type, const std::string& name,
                                     const Payload& version, const SharedBytes& data);
  void Unreserve(const Reservation& reservation);

  // --- Fair shares
  // Whether workers of other daemons take such work too.
  void SetContested(Stream& stream, WorkType type, bool contested);
  int64_t finished() const { return finished_; }  // items that left their workers

  // --- Streams
  struct Lost {
    Item* item = nullptr;
    // False: the stream ended at another item, a large one.
    bool charged = true;
  };
  // Takes the stream out, with what is at its worker, in the order of its dispatch; null if it is
  // unknown.
  std::unique_ptr<Stream> Close(StreamId id, std::vector<Lost>* lost);
  void OnOpened();

  void OnTime();
  absl::Time NextDeadline() const;
  int items_in_flight() const;

 private:
  void List(Route& route);
  bool OfferNext(Hub& hub, WorkType type, Offer offer);
  static bool OfferFrom(Route& route, Offer offer);
  // Whether the stream has nothing to do, and nothing waits for it that is not large.
  static bool IsQuiet(const Stream& stream);
  void Write(Stream& stream, orchestration::Frame frame);
  void CountDispatch(Item& item) const;
  void PingStreams();
  void GrowShares();
  absl::Time NextGrowth() const;
  absl::Duration HoldMax(int type) const;

  StepContext& step_;
  StreamTable table_;
  LargeItems large_items_;
  std::vector<Hub*> dirty_;
  InFlightMap in_flight_[kWorkTypes];
  int64_t last_dispatch_ = 0;
  int64_t finished_ = 0;
  // Whose shares are limited.
  absl::btree_set<std::pair<StreamId, int>> contested_;
  absl::Time next_ping_ = absl::InfiniteFuture();
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_MATCHER_H_
