#include "storage/postgres/store_sessions.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace dt::postgres {
namespace {

LaneOptions LaneFor(const PostgresStoreOptions& options, std::string name) {
  LaneOptions lane = options.lane;
  lane.name = std::move(name);
  lane.metrics = options.metrics;
  lane.connection = options.connection;
  lane.queue_bytes_max = static_cast<size_t>(options.queue_bytes_max);
  lane.connection.lock_timeout = options.lane_lock_timeout;
  return lane;
}

}  // namespace

LaneOptions WriteLaneOptions(const PostgresStoreOptions& options, int number, Lane* large) {
  LaneOptions lane = LaneFor(options, absl::StrCat("writes ", number));
  lane.connection.statement_timeout = options.lane_statement_timeout;
  lane.large = large;
  return lane;
}

LaneOptions LargeLaneOptions(const PostgresStoreOptions& options) {
  LaneOptions lane = LaneFor(options, "large writes");
  lane.batch_operations_max = 1;
  lane.timed_out = absl::StatusCode::kInvalidArgument;
  return lane;
}

LaneOptions ClaimLaneOptions(const PostgresStoreOptions& options) {
  LaneOptions lane = LaneFor(options, "claims");
  lane.connection.statement_timeout = options.claim_statement_timeout;
  // The dispatcher asks for less then, so the same call would only take as long again.
  lane.timeouts_max = 1;
  lane.timed_out = absl::StatusCode::kDeadlineExceeded;
  lane.connection.durability = Durability::kAsynchronous;
  return lane;
}

LaneOptions ReadLaneOptions(const PostgresStoreOptions& options, std::string name) {
  LaneOptions lane = LaneFor(options, std::move(name));
  lane.connection.statement_timeout = options.read_statement_timeout;
  return lane;
}

LaneOptions UpkeepLaneOptions(const PostgresStoreOptions& options) {
  return LaneFor(options, "upkeep");
}

LaneOptions RemovalLaneOptions(const PostgresStoreOptions& options) {
  LaneOptions lane = LaneFor(options, "removals");
  // A batch that a crash undoes is removed again.
  lane.connection.durability = Durability::kAsynchronous;
  // Batches follow each other soon, and otherwise there is one look in a minute.
  lane.idle_max = std::min(lane.idle_max, absl::Seconds(5));
  return lane;
}

ListenerOptions HintOptions(const PostgresStoreOptions& options) {
  ListenerOptions hints;
  hints.connection = options.connection;
  if (!options.listen_url.empty()) hints.connection.url = options.listen_url;
  hints.schema = options.schema;
  hints.listen = options.listen;
  hints.metrics = options.metrics;
  return hints;
}

LeaseKeeperOptions KeeperOptions(const PostgresStoreOptions& options) {
  LeaseKeeperOptions keeper;
  keeper.connection = options.connection;
  keeper.connection.durability = Durability::kAsynchronous;
  keeper.schema = options.schema;
  keeper.version = options.version;
  keeper.lease = options.lease;
  keeper.clock = options.clock;
  return keeper;
}

}  // namespace dt::postgres
