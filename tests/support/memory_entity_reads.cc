// MemoryDatabase: entities for clients, as in sql/logic/entity_queries.sql.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "tests/support/memory_database.h"

namespace dt::testing {
namespace {

// Field numbers of HistoryEvent.
constexpr int16_t kEntityOperationSignaled = 23;
constexpr int16_t kEntityOperationCalled = 24;
constexpr int16_t kEntityUnlockSent = 29;

}  // namespace

EntityInfo MemoryDatabase::InfoOf(const Instance& entity, bool state) {
  EntityInfo info;
  info.instance_id = entity.row.instance_id;
  info.last_modified = entity.last_modified;
  for (const auto& [order, message] : entity.inbox) {
    if (message.visible_at > NowLocked() || info.backlog == kEntityBacklogMax) break;
    if (message.event_type == kEntityOperationSignaled ||
        message.event_type == kEntityOperationCalled) {
      ++info.backlog;
    }
  }
  if (entity.lock.has_value()) info.locked_by = EntityRowOf(entity).lock->owner_id;
  if (state) info.state = entity.state;
  return info;
}

std::vector<MemoryDatabase::Instance*> MemoryDatabase::EntitiesOf(HubId hub,
                                                                  const std::string& prefix,
                                                                  const std::string& after) {
  std::vector<Instance*> entities;
  for (const auto& [key, entity] : instances_) {
    if (entity->hub == hub && entity->kind == InstanceKind::kEntity &&
        absl::StartsWith(entity->row.instance_id, prefix) && entity->row.instance_id > after) {
      entities.push_back(entity.get());
    }
  }
  std::sort(entities.begin(), entities.end(), [](const Instance* a, const Instance* b) {
    return a->row.instance_id < b->row.instance_id;
  });
  return entities;
}

std::optional<EntityInfo> MemoryDatabase::ReadEntity(HubId hub, const std::string& instance_id,
                                                     bool state) {
  absl::MutexLock lock(&mutex_);
  const Instance* entity = Find(hub, instance_id);
  if (entity == nullptr || entity->kind != InstanceKind::kEntity || !entity->state.has_value()) {
    return std::nullopt;
  }
  return InfoOf(*entity, state);
}

EntityPage MemoryDatabase::SearchEntities(const EntitySearch& search) {
  absl::MutexLock lock(&mutex_);
  EntityPage page;
  int64_t bytes = 0;
  int looked_at = 0;
  std::string last = search.after_id;
  for (const Instance* entity : EntitiesOf(search.hub, search.id_prefix, search.after_id)) {
    if (looked_at++ == search.max_looked_at) {
      page.next = last;
      break;
    }
    const bool shown = (search.transient || entity->state.has_value()) &&
                       (!search.from || entity->last_modified >= *search.from) &&
                       (!search.to || entity->last_modified < *search.to);
    if (shown) {
      EntityInfo info = InfoOf(*entity, search.states);
      bytes += info.state ? static_cast<int64_t>(info.state->size()) : 0;
      if (static_cast<int>(page.rows.size()) == search.max_rows ||
          (!page.rows.empty() && bytes > search.max_bytes)) {
        page.next = last;
        break;
      }
      page.rows.push_back(std::move(info));
    }
    last = entity->row.instance_id;
  }
  return page;
}

bool MemoryDatabase::HasOrphanedLock(const Instance& entity) {
  if (!entity.lock.has_value()) return false;
  const Instance* owner = Find(entity.lock->owner);
  if (owner != nullptr && owner->live && owner->row.generation == entity.lock->generation) {
    return false;
  }
  return std::none_of(entity.inbox.begin(), entity.inbox.end(), [](const auto& entry) {
    return entry.second.event_type == kEntityUnlockSent;
  });
}

EntityCleanupResult MemoryDatabase::CleanEntities(const EntityCleanup& request) {
  absl::MutexLock lock(&mutex_);
  EntityCleanupResult result;
  int looked_at = 0;
  std::string last = request.after_id;
  for (Instance* entity : EntitiesOf(request.hub, "@", request.after_id)) {
    if (looked_at++ == request.max_looked_at) {
      result.next = last;
      break;
    }
    last = entity->row.instance_id;
    if (request.release_orphaned && HasOrphanedLock(*entity)) {
      Unlock(entity->row.key, EntityRowOf(*entity).lock->owner_id,
             std::string(kOrphanedLockSection));
      ++result.released;
    }
    if (request.remove_empty && entity->lease == 0 && RemoveIfEmpty(*entity)) ++result.removed;
  }
  return result;
}

}  // namespace dt::testing
