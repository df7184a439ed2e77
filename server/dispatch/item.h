// A work item that is held here under a lease: the next turn of an instance (residents.h), or an
// activity task (tasks.h). This is what both have for whoever matches them with streams.
//
// Plain data of the dispatcher, used by its one thread only.
#ifndef DT_SERVER_DISPATCH_ITEM_H_
#define DT_SERVER_DISPATCH_ITEM_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "server/dispatch/dispatch_thread.h"
#include "server/dispatch/tokens.h"

namespace dt::dispatch {

struct Hub;
struct Route;
struct Item;

// The place of an item in the queue of its route; the least goes first. Ends with the number of the
// item, so that the order never depends on where it lies in memory.
struct QueuePlace {
  int64_t rank = 0;  // of turns a time, of tasks their turn among those of other instances
  int64_t number = 0;
  Item* item = nullptr;

  friend bool operator<(const QueuePlace& a, const QueuePlace& b) {
    return a.rank != b.rank ? a.rank < b.rank : a.number < b.number;
  }
};

struct Item {
  Item(WorkType its_type, int64_t its_number) : type(its_type), number(its_number) {}
  Item(const Item&) = delete;
  Item& operator=(const Item&) = delete;
  virtual ~Item() = default;

  // The key of the instance or the task; 0 as long as the store has not said it.
  virtual int64_t key() const = 0;
  virtual const std::string& instance_id() const = 0;
  // Of what a worker is sent for it, roughly.
  virtual int64_t item_bytes() const = 0;
  StoredId stored_id() const { return {type, key()}; }

  const WorkType type;
  const int64_t number;  // in the order in which items came; no item of this process has it again
  LeaseToken lease = 0;
  Hub* hub = nullptr;
  Route* route = nullptr;
  std::optional<QueuePlace> place;  // while it waits in its route
  int32_t lost_leases = 0;          // since it last got on
  bool loss_unsaved = false;        // the database does not know of the last one
  bool orphaned = false;            // no stream accepts it, and it will be given back
  // Of the last dispatch; the dispatch is 0 before the first one.
  StreamId stream = 0;
  int64_t dispatch = 0;
  // By the store's clock, from when it could have been sent; for metrics.
  absl::Time queued_since = absl::InfinitePast();
  bool returned = false;  // by its worker, or with its stream, since it was sent last
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_ITEM_H_
