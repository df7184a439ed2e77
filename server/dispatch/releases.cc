#include "server/dispatch/releases.h"

#include <utility>

namespace dt::dispatch {
namespace {

// So many releases are under way at most when the last worker has gone: two calls of the store. All
// at once would hold up the other writes, and a worker that is started again at once would wait for
// them, and then for the claims that bring the same items back.
constexpr int kOrphanReleasesMax = 400;

}  // namespace

void Releases::Release(InstanceRelease release) {
  ++in_flight_;
  step_.Do(ReleaseInstance{std::move(release)});
}

void Releases::Release(TaskRelease release) {
  ++in_flight_;
  step_.Do(ReleaseTask{std::move(release)});
}

void Releases::On(InstanceReleased& event) {
  --in_flight_;
  const WorkType type = WorkTypeOf(event.release.instance_id);
  const StoredId item(type, event.release.key);
  const absl::Duration delay = event.release.delay;
  if (event.result.ok()) {
    failures_.Succeeded(item);
    // What is held may have been resumed meanwhile.
    const bool free_now = delay == absl::ZeroDuration() || delay == absl::InfiniteDuration();
    if (*event.result == LeaseOutcome::kReleased && free_now) {
      claimer_.WorkFree(event.release.hub, type);
    }
    return;
  }
  if (step_.ended) return;
  ++in_flight_;
  const absl::Duration pause = failures_.Failed(item, step_.steady);
  retries_.Later(pause, ReleaseInstance{std::move(event.release)});
}

void Releases::On(TaskReleased& event) {
  --in_flight_;
  const StoredId item(WorkType::kActivity, event.release.key);
  if (event.result.ok()) {
    failures_.Succeeded(item);
    if (*event.result == LeaseOutcome::kReleased && event.release.delay == absl::ZeroDuration()) {
      claimer_.WorkFree(event.release.hub, WorkType::kActivity);
    }
    return;
  }
  if (step_.ended) return;
  ++in_flight_;
  const absl::Duration pause = failures_.Failed(item, step_.steady);
  retries_.Later(pause, ReleaseTask{std::move(event.release)});
}

void Releases::AddOrphan(Item& item) {
  if (std::exchange(item.orphaned, true)) return;
  orphans_[item.number] = &item;
}

void Releases::RemoveOrphan(Item& item) {
  if (std::exchange(item.orphaned, false)) orphans_.erase(item.number);
}

Item* Releases::TakeOrphan() {
  if (orphans_.empty() || in_flight_ >= kOrphanReleasesMax) return nullptr;
  Item* item = orphans_.begin()->second;
  RemoveOrphan(*item);
  return item;
}

std::vector<Item*> Releases::TakeOrphans() {
  std::vector<Item*> items;
  for (const auto& [number, item] : std::exchange(orphans_, {})) {
    item->orphaned = false;
    items.push_back(item);
  }
  return items;
}

}  // namespace dt::dispatch
