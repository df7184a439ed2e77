#include "server/dispatch/unaccepted.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "absl/strings/escaping.h"
#include "fmt/format.h"
#include "server/dispatch/item_log_fields.h"
#include "spdlog/spdlog.h"
#include "storage/log_events.h"

namespace dt::dispatch {
namespace {

constexpr size_t kGivenBackMax = 1000;  // keys of one name and version, and names of one hub

// What the streams of a hub accept of a type, together; nullopt = everything.
NameFilters AcceptedBy(const Hub& hub, WorkType type) {
  std::vector<NameFilter> accepted;
  for (const auto& pool : hub.pools) {
    if (pool->type != type || pool->streams.empty()) continue;
    if (!pool->filters.has_value()) return std::nullopt;
    accepted.insert(accepted.end(), pool->filters->begin(), pool->filters->end());
  }
  return accepted;
}

std::string_view NounOf(WorkType type, int64_t count) {
  switch (type) {
    case WorkType::kTurn:
      return count == 1 ? "orchestration" : "orchestrations";
    case WorkType::kActivity:
      return count == 1 ? "activity" : "activities";
    case WorkType::kEntity:
      break;
  }
  return count == 1 ? "entity" : "entities";
}

// "3 orchestrations 'Ship' of version '2.0'", or "1000 or more orchestrations ..." where counting
// stopped. Names come from users, so they are escaped. Entities have no versions.
std::string Describe(WorkType type, int64_t count, int64_t count_max, const std::string& name,
                     const std::string& version) {
  std::string text = fmt::format("{}{} {} '{}'", count, count >= count_max ? " or more" : "",
                                 NounOf(type, count), absl::Utf8SafeCHexEscape(name));
  if (type == WorkType::kEntity) return text;
  return text + (version.empty()
                     ? " without a version"
                     : fmt::format(" of version '{}'", absl::Utf8SafeCHexEscape(version)));
}

void LogWaiting(const Hub& hub, WorkType type, const std::vector<WaitingWork>& list,
                int64_t count_max, absl::Time now) {
  for (const WaitingWork& work : list) {
    const LogFields fields = LogFieldsOf(&hub, work.instance_id);
    spdlog::warn(
        "{}: task hub '{}': {} waiting, the oldest, of instance '{}', for {}: "
        "the filters of none of the {} worker streams on this daemon accept that. Connect a worker "
        "that has this name{}",
        log_event::kWorkNotAccepted, absl::Utf8SafeCHexEscape(hub.name),
        Describe(type, work.count, count_max, work.name, work.version),
        absl::Utf8SafeCHexEscape(work.instance_id),
        absl::FormatDuration(absl::Trunc(now - work.since, absl::Seconds(1))), hub.streams.size(),
        type == WorkType::kEntity ? " and takes entities, or look at the workers' filters"
                                  : " and version, or look at the workers' filters and versioning");
  }
}

}  // namespace

void UnacceptedWatch::Begin(absl::Time now) {
  next_look_ = std::min(next_look_, now + limits_.unaccepted_look_interval);
}

void UnacceptedWatch::GaveBack(const Route& route, int64_t key, const std::string& instance_id) {
  Watched& watched = hubs_[route.hub->id];
  Named named(route.type, route.name, route.version);
  if (watched.given_back.size() >= kGivenBackMax && !watched.given_back.contains(named)) return;
  GivenBack& given_back = watched.given_back[std::move(named)];
  if (given_back.keys.size() < kGivenBackMax) given_back.keys.insert(key);
  given_back.instance_id = instance_id;
}

void UnacceptedWatch::OnTime(absl::Time now, const StreamTable& table,
                             std::vector<Effect>& effects) {
  if (next_look_ > now) return;
  next_look_ = absl::InfiniteFuture();
  for (const auto& [id, hub] : table.hubs()) {
    if (hub->streams.empty()) {
      hubs_.erase(id);
      continue;
    }
    next_look_ = now + limits_.unaccepted_look_interval;
    Watched& watched = hubs_[id];
    if (watched.asking || watched.next_log > now) continue;
    UnacceptedSearch search;
    search.hub = id;
    search.turns = AcceptedBy(*hub, WorkType::kTurn);
    search.tasks = AcceptedBy(*hub, WorkType::kActivity);
    search.entities = AcceptedBy(*hub, WorkType::kEntity);
    search.age_min = limits_.unaccepted_age_min;
    if (search.turns.has_value() || search.tasks.has_value() || search.entities.has_value()) {
      watched.asking = true;
      effects.push_back(FindUnaccepted{std::move(search)});
    } else if (!watched.given_back.empty()) {
      OnFound({std::move(search), UnacceptedWork()}, hub.get(), now);
    }
  }
}

void UnacceptedWatch::OnFound(const UnacceptedFound& found, const Hub* hub, absl::Time now) {
  auto entry = hubs_.find(found.search.hub);
  if (entry == hubs_.end()) return;
  Watched& watched = entry->second;
  watched.asking = false;
  if (hub == nullptr || hub->streams.empty()) return;
  if (!found.result.ok()) {
    spdlog::debug("what no worker of task hub '{}' accepts could not be read: {}", hub->name,
                  found.result.status().ToString());
    return;
  }
  const UnacceptedWork& work = *found.result;
  if (work.empty() && watched.given_back.empty()) return;
  watched.next_log = now + limits_.unaccepted_log_interval;
  LogWaiting(*hub, WorkType::kTurn, work.turns, found.search.count_max, now);
  LogWaiting(*hub, WorkType::kActivity, work.tasks, found.search.count_max, now);
  LogWaiting(*hub, WorkType::kEntity, work.entities, found.search.count_max, now);
  for (const auto& [named, given_back] : std::exchange(watched.given_back, {})) {
    const auto& [type, name, version] = named;
    const LogFields fields = LogFieldsOf(hub, given_back.instance_id);
    spdlog::warn(
        "{}: task hub '{}': {} given back, one of instance '{}', by every "
        "worker stream on this daemon whose filters accept that; they are offered again now and "
        "then. Look at the versioning of the workers, which may reject this version",
        log_event::kWorkNotAccepted, absl::Utf8SafeCHexEscape(hub->name),
        Describe(type, static_cast<int64_t>(given_back.keys.size()), kGivenBackMax, name, version),
        absl::Utf8SafeCHexEscape(given_back.instance_id));
  }
}

}  // namespace dt::dispatch
