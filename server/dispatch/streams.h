// Who can take which work: streams with their credits and filters, and the routes between the two.
// Plain data of the dispatcher, used by its one thread only.
//
//   Hub     a task hub that has, or had, streams or residents here
//   Stream  one open GetWorkItems call
//   Pool    the streams of a hub with equal filters for a type of work: one group of its claims
//   Route   one (type, name, version) of work that is held here, with the streams that accept it
//
// Invariants
//   * A route's and a pool's list of streams is true at any time; streams are few, work is much.
//   * in_flight + reserved <= max only for reserved credits: a claim may bring more than is free by
//     the time it returns, then the surplus waits in its route.
#ifndef DT_SERVER_DISPATCH_STREAMS_H_
#define DT_SERVER_DISPATCH_STREAMS_H_

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/time/time.h"
#include "server/dispatch/backoff.h"
#include "server/dispatch/dispatch_thread.h"
#include "server/dispatch/fair_share.h"
#include "server/dispatch/hint_backoff.h"
#include "server/dispatch/item.h"
#include "server/dispatch/tokens.h"
#include "storage/metrics/hub_metrics.h"

namespace dt::dispatch {

struct Hub;
struct Pool;
struct HeldTask;
struct Resident;

// Whether the filters let this work pass (9.2-9.5).
enum class Match : int8_t { kNone, kOtherCase, kExact };

// The names of a filter set, so that a look at one costs the same however many there are.
class NameIndex {
 public:
  // `filters` must outlive the index and stay as they are.
  explicit NameIndex(const NameFilters& filters);

  // What `spelled` lets pass: filters that have the same names and versions in the same order, and
  // spellings of their own. `lower_name` is `name` in lower case.
  Match Find(const NameFilters& spelled, const std::string& lower_name, const std::string& name,
             const std::string& version) const;

 private:
  using Places = absl::InlinedVector<uint32_t, 2>;
  // Places in the filters, by the names there.
  absl::flat_hash_map<std::string_view, Places> places_;
};

struct Credits {
  int max = 0;
  int in_flight = 0;
  int reserved = 0;
  FairShare share;
  // What may be taken on; what is held already may have all credits.
  int free() const { return std::min(max, share.limit()) - in_flight - reserved; }
};

// How often a stream has given an item back, and until when it does not get it again (2.7).
struct AbandonBackoff {
  int count = 0;
  absl::Time until;
};

// A large item on its way to a worker that may refuse it (large_items.h).
struct StreamTrial {
  int64_t dispatch = 0;
  StoredId item;
  int64_t bytes = 0;
  absl::Time until;
};

struct Stream {
  StreamId id = 0;
  Hub* hub = nullptr;
  StreamOptions options;
  std::shared_ptr<WorkItemSink> sink;
  Credits credits[kWorkTypes];
  Pool* pools[kWorkTypes] = {};  // null: accepts nothing of this type
  absl::Time opened_at;
  absl::Time last_write;
  int64_t last_dispatch = 0;  // of the last item that it got
  absl::btree_map<StoredId, AbandonBackoff> abandoned;
  // A worker that answers a turn only after the activity before it was acknowledged lets results
  // wait for nothing. Some of them are then stored at once (unstored_results.h).
  Skips result_waits{64, 6};

  int64_t took_bytes =
      0;  // the largest item that was large for the worker, and that it has answered
  std::optional<StreamTrial> trial;

  const NameFilters& filters(WorkType type) const {
    if (type == WorkType::kEntity) return options.entity_filters;
    return type == WorkType::kTurn ? options.orchestration_filters : options.activity_filters;
  }
  bool echoes_tokens() const { return options.library != ClientLibrary::kGo; }
  int unanswered() const {
    return credits[0].in_flight + credits[1].in_flight + credits[2].in_flight;
  }
  // When this stream may get the item again; InfinitePast when it never gave it back.
  absl::Time BackoffUntil(StoredId item) const;
};

// The streams of one filter set. One claim at a time serves all pools of a hub that have room.
struct Pool {
  Pool(WorkType its_type, const NameFilters& its_filters)
      : type(its_type), filters(its_filters), names(filters) {}

  const WorkType type;
  const NameFilters filters;
  const NameIndex names;
  std::vector<Stream*> streams;
  bool claiming = false;  // a group of the claim in flight
  int asked = 0;          // items that this claim may bring
  // When a stream may have an item again that this claim left out; InfiniteFuture: it left none
  // out.
  absl::Time retry_at = absl::InfiniteFuture();
  // Nothing is claimed before this; pushed out by claims that find nothing, pulled in by hints.
  absl::Time next_claim = absl::InfinitePast();
  int empty_claims = 0;  // in a row

  // Items that every stream gave back and none may have again yet (2.7): claims leave them to other
  // daemons. `until`: when the first of them may be had again; InfiniteFuture without any.
  std::vector<int64_t> GivenBack(absl::Time now, absl::Time* until) const;
  // When it is looked again for what came to be while a claim was in flight; InfiniteFuture: none.
  absl::Time woken_at = absl::InfiniteFuture();

  int free() const;
};

// Ranks by which the items of a route take turns between instances, so that a large fan-out does
// not hold up a small one.
class FairRanks {
 public:
  // Of one item more of this instance.
  int64_t Enter(InstanceKey instance);
  void Leave(InstanceKey instance, int64_t rank);

 private:
  struct Member {
    int64_t last_rank = 0;
    int waiting = 0;
  };
  int64_t now_rank_ = 0;  // of what left last
  absl::flat_hash_map<InstanceKey, Member> members_;
};

struct Route {
  WorkType type = WorkType::kTurn;
  Hub* hub = nullptr;
  std::string name;  // with its case
  std::string lower_name;
  std::string version;
  std::vector<Stream*> streams;
  // Those of them that accept the name in another case only: they come last (9.5).
  absl::flat_hash_set<const Stream*> misspelling;
  int users = 0;  // items that point here, and the hub's list
  // Turns by the time of their first message, those of an entity not before its last one ended;
  // tasks by their ranks.
  absl::btree_set<QueuePlace> queue;
  FairRanks ranks;
  bool listed = false;  // in Hub::waiting

  int64_t waiting() const { return static_cast<int64_t>(queue.size()); }
};

struct Hub {
  HubId id = 0;
  std::string name;                        // for logs; of the last stream
  metrics::HubMetrics* metrics = nullptr;  // never null in the table
  std::vector<Stream*> streams;
  std::vector<std::unique_ptr<Pool>> pools;  // the one that accepts everything comes last
  bool claiming[kWorkTypes] = {};
  // After a claim that failed there is none before this, whatever becomes due or is hinted at; and
  // none before it is known what the one whose answer got lost has leased, under this token.
  absl::Time claim_after[kWorkTypes] = {absl::InfinitePast(), absl::InfinitePast(),
                                        absl::InfinitePast()};
  LeaseToken claim_in_doubt[kWorkTypes] = {};
  // Claims ask for so many times less, as powers of two, since one took too long.
  int claim_shift[kWorkTypes] = {};
  int64_t work_bytes = 0;                            // see FairBytes
  bool warned_of_packages = false;                   // of .NET workers (entity_turns.cc)
  absl::Time room_logged_at = absl::InfinitePast();  // that there is none for its work
  bool hinted[kWorkTypes] = {};                      // a hint came, and no claim has begun since
  HintBackoff hint_backoff[kWorkTypes];
  // By name, NUL and version; per type of work.
  absl::flat_hash_map<std::string, std::unique_ptr<Route>> routes[kWorkTypes];
  std::vector<Route*> waiting[kWorkTypes];  // those with work, and a few that have none any more
  absl::flat_hash_map<std::string, Resident*> residents;  // by instance id
  Skips early_starts{16, 6};                              // that were refused (starts.h)
  // By (instance id, task id): the activities in flight on streams that echo no tokens (2.6).
  absl::flat_hash_map<std::pair<std::string, int32_t>, HeldTask*> unnamed_tasks;
  std::vector<HeldTask*> held_back;  // until one of the unnamed tasks has ended (tasks.h)
  bool dirty = false;
};

// The hubs and streams of the process.
class StreamTable {
 public:
  // `metrics` must outlive the table.
  StreamTable(int stream_items_default, metrics::HubMetricsTable* metrics)
      : items_default_(stream_items_default), metrics_(*metrics) {}

  // Never null; a hub is remembered for the life of the process.
  Hub* HubOf(HubId id);
  Hub* FindHub(HubId id);
  Stream* Open(StreamId id, StreamOptions options, std::shared_ptr<WorkItemSink> sink,
               absl::Time now);
  Stream* Find(StreamId id);
  // Takes the stream out of hub, pools and routes and hands it back; null if unknown.
  std::unique_ptr<Stream> Close(StreamId id);
  // Forgets pools without streams; one that is part of a claim stays until that has ended.
  void DropUnusedPools(Hub& hub);

  // The route of this work, made when there is none. The caller counts `users`.
  Route* RouteOf(Hub& hub, WorkType type, const std::string& name, const Payload& version);
  // One user less; an unused route goes when there are many.
  void Leave(Route* route);

  const absl::btree_map<StreamId, std::unique_ptr<Stream>>& streams() const { return streams_; }
  const absl::btree_map<HubId, std::unique_ptr<Hub>>& hubs() const { return hubs_; }
  // The hubs that have pools, so those with workers here or claims under way.
  const absl::btree_map<HubId, Hub*>& served() const { return served_; }

 private:
  void Join(Stream& stream, WorkType type);
  // Adds the stream to the route if it accepts such work.
  static void JoinRoute(Stream& stream, Route& route);

  // What the stream adds to the gauges of its hub, or takes from them.
  static void CountStream(const Stream& stream, int difference);

  const int items_default_;
  metrics::HubMetricsTable& metrics_;
  absl::btree_map<HubId, std::unique_ptr<Hub>> hubs_;
  absl::btree_map<HubId, Hub*> served_;
  absl::btree_map<StreamId, std::unique_ptr<Stream>> streams_;
  std::string scratch_;  // for route keys
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_STREAMS_H_
