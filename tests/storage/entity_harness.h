// Entities for the conformance suites: messages, claims and turns of them.
#ifndef DT_TESTS_STORAGE_ENTITY_HARNESS_H_
#define DT_TESTS_STORAGE_ENTITY_HARNESS_H_

#include <map>
#include <string>
#include <vector>

#include "storage/store.h"
#include "tests/storage/store_harness.h"

namespace dt::testing {

// Field numbers of HistoryEvent.
inline constexpr int16_t kSignal = 23;
inline constexpr int16_t kLockRequest = 27;
inline constexpr int16_t kLockGranted = 28;
inline constexpr int16_t kUnlock = 29;

// Until PostgreSQL has them.
inline StoreKind EntityStoreKind() { return AnyKind(); }

// A signal, or any other message that the store does not look into.
Delivery Signal(Harness& h, const std::string& id, const std::string& text,
                absl::Time visible_at = absl::InfinitePast());
// All free entities of the hub, by id.
std::map<std::string, Claim> ClaimEntities(Daemon& daemon, HubId hub);
// This one, which must be the only free one.
Claim ClaimEntity(Daemon& daemon, HubId hub, const std::string& id);
// Whether there is such an entity, with a state or without.
bool EntityExists(Daemon& daemon, HubId hub, const std::string& id);
// The next turn of a claimed entity, which consumes all its messages and changes nothing.
Checkpoint EntityTurn(const Claim& claim);
// The same, with an arrival at the lock request that is the last of its messages.
Checkpoint ArrivalTurn(const Claim& claim);
// A turn of an orchestration that asks for these locks; `ids` sorted.
Checkpoint LockTurn(const Claim& owner, const std::string& section, std::vector<std::string> ids);
// What the store itself sends, to be told from what others send.
struct StoreUnlock {
  std::string owner_id;
  std::string section;
};
StoreUnlock UnlockOf(const Message& message);
// An owner that holds all of these.
Claim OwnerOf(Harness& h, const std::string& owner_id, const std::string& section,
              const std::vector<std::string>& ids);
// The claimed entities let go, blocked.
void Hold(Daemon& daemon, const std::map<std::string, Claim>& claims);
void Hold(Daemon& daemon, const Claim& claim);

// --- For threads beside that of the test: Catch2 may be used by one only. These abort instead of
// failing it.
Delivery QuietSend(Daemon& daemon, HubId hub, const std::string& id, NewMessage message);
std::vector<Claim> QuietClaim(Daemon& daemon, HubId hub, InstanceKind kind);
CheckpointResult QuietCommit(Daemon& daemon, Checkpoint checkpoint);
void QuietRelease(Daemon& daemon, const Claim& claim, absl::Duration delay);

}  // namespace dt::testing

#endif  // DT_TESTS_STORAGE_ENTITY_HARNESS_H_
