// MemoryDatabase's lists of instances: what sql/logic/queries.sql and purge.sql do.
#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/support/memory_database.h"

namespace dt::testing {
namespace {

bool Matches(const InstanceSearch& search, const InstanceRow& row, absl::Time time) {
  return (search.statuses == 0 || (search.statuses & StatusBit(row.status)) != 0) &&
         (!search.from || time >= *search.from) && (!search.to || time < *search.to) &&
         absl::StartsWith(row.instance_id, search.id_prefix) &&
         (!search.after || std::pair(time, row.instance_id) >
                               std::pair(search.after->time, search.after->instance_id));
}

int64_t BytesOf(const Payload& payload) {
  return payload ? static_cast<int64_t>(payload->size()) : 0;
}

int64_t BytesOf(const InstanceRow& row) {
  return BytesOf(row.input) + BytesOf(row.output) + BytesOf(row.custom_status) +
         BytesOf(row.failure);
}

}  // namespace

std::vector<const InstanceRow*> MemoryDatabase::Found(const InstanceSearch& search) const {
  std::vector<std::pair<absl::Time, const InstanceRow*>> found;
  for (const auto& [key, instance] : instances_) {
    const InstanceRow& row = instance->row;
    if (instance->hub != search.hub || instance->kind != InstanceKind::kOrchestration) continue;
    if (search.by_completion && !row.completed_at) continue;
    const absl::Time time = search.by_completion ? *row.completed_at : row.created_at;
    if (Matches(search, row, time)) found.emplace_back(time, &row);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::tie(a.first, a.second->instance_id) < std::tie(b.first, b.second->instance_id);
  });
  std::vector<const InstanceRow*> rows;
  rows.reserve(found.size());
  for (const auto& [time, row] : found) rows.push_back(row);
  return rows;
}

InstancePage MemoryDatabase::SearchInstances(const InstanceSearch& search) {
  absl::MutexLock lock(&mutex_);
  InstancePage page;
  int64_t bytes = 0;
  for (const InstanceRow* row : Found(search)) {
    InstanceRow shown = *row;
    if (!search.payloads) DropPayloads(shown);
    bytes += BytesOf(shown);
    page.more = !page.rows.empty() &&
                (static_cast<int>(page.rows.size()) == search.max_rows || bytes > search.max_bytes);
    if (page.more) break;
    page.rows.push_back(std::move(shown));
  }
  return page;
}

PurgeResult MemoryDatabase::PurgeInstances(const PurgeRequest& request) {
  absl::MutexLock lock(&mutex_);
  std::vector<InstanceKey> keys;
  if (request.instance_ids.empty()) {
    for (const InstanceRow* row : Found(request.filter)) {
      if (!Find(row->key)->live) keys.push_back(row->key);
    }
  }
  for (const std::string& id : request.instance_ids) {
    const Instance* instance = Find(request.hub, id);
    if (instance == nullptr) continue;
    const bool is_idle_entity =
        instance->kind == InstanceKind::kEntity && !instance->lock && instance->inbox.empty();
    if (!instance->live || is_idle_entity) keys.push_back(instance->row.key);
  }
  // Breadth first; what is found while walking is walked too.
  for (size_t i = 0; request.recursive && i < keys.size(); ++i) {
    for (const auto& [key, child] : instances_) {
      if (child->parent && child->parent->key == keys[i] && !child->live) keys.push_back(key);
    }
  }
  // From the end, so that no child is left without its parent.
  PurgeResult result;
  for (; !keys.empty() && result.deleted < request.max_instances; keys.pop_back()) {
    if (Instance* instance = Find(keys.back())) {
      Erase(*instance);
      ++result.deleted;
    }
  }
  result.more = !keys.empty();
  return result;
}

bool MemoryDatabase::IsAlive(WorkerId worker) const {
  const auto found = workers_.find(worker);
  return found != workers_.end() && !found->second.swept &&
         found->second.lease_until >= NowLocked();
}

bool MemoryDatabase::HasLiveAncestor(const Instance& instance) {
  const Instance* child = &instance;
  while (child->parent) {
    const Instance* parent = Find(child->parent->key);
    if (parent == nullptr || parent->row.generation != child->parent->generation) return false;
    if (parent->live) return true;
    child = parent;
  }
  return false;
}

RetentionResult MemoryDatabase::ApplyRetention(WorkerId worker, const RetentionRequest& request) {
  absl::MutexLock lock(&mutex_);
  RetentionResult result;
  if (retention_leader_ != worker && IsAlive(retention_leader_)) {
    result.leader = absl::StrCat("worker ", retention_leader_);
  }
  if (!result.leader.empty() || !IsAlive(worker)) return result;
  retention_leader_ = worker;
  result.leads = true;
  int64_t total = 0;
  for (const auto& [name, hub] : hubs_) {
    for (const auto& [status, keep] : request.keep) {
      std::vector<InstanceKey> keys;
      for (const auto& [key, instance] : instances_) {
        if (instance->hub == hub && !instance->live && instance->row.status == status &&
            *instance->row.completed_at <= NowLocked() - std::max(keep, request.grace) &&
            !HasLiveAncestor(*instance)) {
          keys.push_back(key);
        }
      }
      int64_t purged = 0;
      for (const InstanceKey key : keys) {
        result.more = result.more || total == request.max_instances;
        if (result.more) break;
        Erase(*Find(key));
        ++purged;
        ++total;
      }
      if (purged > 0) result.purges.push_back({name, status, purged});
    }
  }
  return result;
}

}  // namespace dt::testing
