// What client and management calls read and change beside the turns: rows, searches, purges,
// immediate terminations, rewinds and entities. The conventions are those of records.h.
#ifndef DT_STORAGE_MANAGEMENT_RECORDS_H_
#define DT_STORAGE_MANAGEMENT_RECORDS_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "storage/records.h"

namespace dt {

// One instance as clients see it.
struct InstanceRow {
  InstanceKey key = 0;
  std::string instance_id;
  std::string execution_id;
  Generation generation = 0;
  std::string name;
  Payload version;
  RuntimeStatus status = RuntimeStatus::kPending;
  absl::Time created_at;
  absl::Time last_updated_at;
  std::optional<absl::Time> completed_at;
  std::optional<absl::Time> scheduled_start;
  std::optional<std::string> parent_instance_id;
  Tags tags;
  // Only when asked for.
  Payload input;
  Payload output;
  Payload custom_status;
  std::optional<std::string> failure;  // serialized TaskFailureDetails
};

// A place in a list that is ordered by (time, instance id).
struct InstancePosition {
  absl::Time time;
  std::string instance_id;
};

// Which orchestrations a list shows, and which page of it. Entities are in none. A bound that is
// not set does not bound.
struct InstanceSearch {
  HubId hub = 0;
  // By completion: only ended ones, ordered and bounded by the completed time; else by the created
  // time. Among equal times by instance id, bytewise.
  bool by_completion = false;
  StatusSet statuses = 0;          // 0 = any
  std::optional<absl::Time> from;  // inclusive, in whole microseconds
  std::optional<absl::Time> to;    // exclusive, in whole microseconds
  std::string id_prefix;
  std::optional<InstancePosition> after;  // the last one of the page before
  // A page has at least one row, if there is one, and then no more than these.
  int max_rows = 100;
  int64_t max_bytes = 3 << 20;
  bool payloads = false;
};

struct InstancePage {
  std::vector<InstanceRow> rows;
  bool more = false;
};

// Which ended orchestrations to purge: those with these ids, or without ids the first ones that the
// search finds (its page limits and payloads are not looked at).
struct PurgeRequest {
  HubId hub = 0;
  std::vector<std::string> instance_ids;
  InstanceSearch filter;
  bool recursive = false;   // ended descendants too; a live child keeps its subtree
  int max_instances = 500;  // per call, which is one transaction
  CallerGone caller_gone = nullptr;
};

struct PurgeResult {
  int64_t deleted = 0;
  bool more = false;  // there may be more of the kind: call again
};

// Orchestrations that end without a worker (RULES.md 5.35).
struct ImmediateTermination {
  HubId hub = 0;
  std::vector<std::string> instance_ids;
  Payload reason;  // becomes the output
  CallerGone caller_gone = nullptr;
};

// What a rewind has to know about an instance (RULES.md 5.29-5.31).
struct RewindSource {
  bool exists = false;
  Claim claim;  // without lease and messages; with its history only if it is FAILED
  Payload output;
  std::optional<std::string> failure;  // serialized TaskFailureDetails
  std::vector<int32_t> task_ids;       // of the activities that are still in flight, ascending
};

// What a rewind took a child of the rewound instance to be.
struct RewindChild {
  InstanceKey key = 0;
  RuntimeStatus status = RuntimeStatus::kPending;  // of a live one only that it is live
};

// One FAILED instance back to life, on its rewritten history and in the same generation, so that
// what its children and activities in flight bring still reaches it. Or a live one that is leased
// by the caller, on a history of its own making (RULES.md 4.28).
struct Rewind {
  bool live = false;
  // As found: the rewind takes place only while all of this still holds.
  std::string found_execution_id;
  std::vector<int32_t> found_task_ids;
  std::vector<RewindChild> found_children;

  std::string execution_id;  // the new one; makes a repeated call known
  // Of found_task_ids those that the new history does not know: they go, and their results with
  // them, wherever they run.
  std::vector<int32_t> dropped_task_ids;
  // Chunks of history that change. One without events only changes its place; one with an
  // event_count of 0 is deleted. Of a live instance all that there are go, and so does what waits
  // in its inbox for its generation, but for carried-over events: what is outstanding is made
  // again.
  std::vector<HistoryChunk> history;
  // The first turn of the new life: what is outstanding is there again. Releases the lease, which
  // is one of no worker, or that of the live instance.
  Checkpoint checkpoint;
};

// A tree of instances, parents before their children: all of them or none.
struct RewindRequest {
  HubId hub = 0;
  std::vector<Rewind> rewinds;
  CallerGone caller_gone = nullptr;
};

enum class RewindOutcome : int8_t {
  kRewound = 0,
  kChanged = 1,  // something is not as it was found: nothing was written, look again
  // The lease of a live one is lost, or it is at another turn: nothing was written.
  kLeaseLost = 2,
};

// The lease that a rewound instance has within the transaction.
inline constexpr LeaseToken kRewindToken = MakeLeaseToken(0, 1);

// A light answer for waiting calls.
struct InstanceStatus {
  bool exists = false;
  RuntimeStatus status = RuntimeStatus::kPending;
};

// ---------------------------------------------------------------------------------------------
// Entities

// Where counting a backlog stops.
inline constexpr int kEntityBacklogMax = 10000;

// One entity as clients see it (RULES.md 7.34).
struct EntityInfo {
  std::string instance_id;
  absl::Time last_modified;
  int backlog = 0;  // operations that are due and have not run, up to kEntityBacklogMax
  std::optional<std::string> locked_by;  // the owner's instance id; "" = purged
  Payload state;                         // only when asked for
};

// Which entities a list shows, in the order of their ids, bytewise (RULES.md 7.35). A bound that is
// not set does not bound.
struct EntitySearch {
  HubId hub = 0;
  std::string id_prefix = "@";     // begins so
  std::optional<absl::Time> from;  // of the last modification; inclusive, in whole microseconds
  std::optional<absl::Time> to;    // exclusive, in whole microseconds
  bool states = false;
  bool transient = false;  // also those without a state
  std::string after_id;    // where the page before ended
  // No more than these; the first entity has room in `max_bytes` whatever its state has.
  int max_rows = 100;
  int64_t max_bytes = 3 << 20;
  int max_looked_at = 5000;  // entities, also those that are not shown
};

// May be empty although another page follows.
struct EntityPage {
  std::vector<EntityInfo> rows;
  std::optional<std::string> next;  // the `after_id` of the next page; nullopt = there is none
};

// The critical section of an unlock that releases whatever lock there is (RULES.md 7.26).
inline constexpr std::string_view kOrphanedLockSection = "fix-orphaned-lock";

// One batch of a walk over the entities of a hub, in the order of their ids (RULES.md 7.36).
struct EntityCleanup {
  HubId hub = 0;
  // Those without state, lock, lock requests and messages; not what somebody has leased or locked.
  bool remove_empty = false;
  // Locks whose owner is gone, or runs another generation: the entity gets an unlock of
  // kOrphanedLockSection in front, unless an unlock waits there already.
  bool release_orphaned = false;
  std::string after_id;
  int max_looked_at = 500;
  CallerGone caller_gone = nullptr;
};

struct EntityCleanupResult {
  int64_t removed = 0;
  int64_t released = 0;
  std::optional<std::string> next;  // the `after_id` of the next batch; nullopt = the walk is over
};

// How much a sample looks at (sql/logic/samples.sql). What is beyond a limit is not counted.
struct SampleRequest {
  int hubs_max = 50;
  int64_t rows_max = 500'000;   // of all together
  int64_t count_max = 100'000;  // of one count
  int64_t live_max = 10'000;    // live orchestrations of a hub
};

// What waits and what there is in a hub, as counted up to the limits.
struct HubSample {
  std::string hub;
  // Of orchestrations, activities and entities: due, and in nobody's hands; for how long the first
  // of it has been due.
  std::array<int64_t, 3> pending = {};
  std::array<absl::Duration, 3> oldest_age = {};
  // Orchestrations; statuses that were beyond the limit of all are missing.
  std::map<RuntimeStatus, int64_t> instances;
};

struct WorkSample {
  bool leads = false;  // otherwise another daemon takes the samples, and this one is empty
  std::vector<HubSample> hubs;
};

}  // namespace dt

#endif  // DT_STORAGE_MANAGEMENT_RECORDS_H_
