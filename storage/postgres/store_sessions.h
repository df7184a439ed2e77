// With which limits each session of a PostgresStore works. Pure.
#ifndef DT_STORAGE_POSTGRES_STORE_SESSIONS_H_
#define DT_STORAGE_POSTGRES_STORE_SESSIONS_H_

#include <string>

#include "storage/postgres/lane.h"
#include "storage/postgres/lease_keeper.h"
#include "storage/postgres/listener.h"
#include "storage/postgres/postgres_store.h"

namespace dt::postgres {

// `number` is for the log; `large` as LaneOptions::large.
LaneOptions WriteLaneOptions(const PostgresStoreOptions& options, int number, Lane* large);
LaneOptions LargeLaneOptions(const PostgresStoreOptions& options);
LaneOptions ClaimLaneOptions(const PostgresStoreOptions& options);
LaneOptions ReadLaneOptions(const PostgresStoreOptions& options, std::string name);
LaneOptions UpkeepLaneOptions(const PostgresStoreOptions& options);
LaneOptions RemovalLaneOptions(const PostgresStoreOptions& options);
ListenerOptions HintOptions(const PostgresStoreOptions& options);
LeaseKeeperOptions KeeperOptions(const PostgresStoreOptions& options);

}  // namespace dt::postgres

#endif  // DT_STORAGE_POSTGRES_STORE_SESSIONS_H_
