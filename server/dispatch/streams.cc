#include "server/dispatch/streams.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace dt::dispatch {
namespace {

// Names come from users; so many different ones that are not in use are kept for a next time.
constexpr size_t kUnusedRoutesMax = 1000;

bool SameFilters(const NameFilters& a, const NameFilters& b) {
  if (a.has_value() != b.has_value()) return false;
  if (!a.has_value()) return true;
  return std::equal(a->begin(), a->end(), b->begin(), b->end(),
                    [](const NameFilter& x, const NameFilter& y) {
                      return x.lower_name == y.lower_name && x.versions == y.versions;
                    });
}

}  // namespace

std::vector<int64_t> Pool::GivenBack(absl::Time now, absl::Time* until) const {
  std::vector<int64_t> keys;
  *until = absl::InfiniteFuture();
  if (streams.empty()) return keys;
  for (const auto& [item, backoff] : streams.front()->abandoned) {
    if (item.first != type) continue;
    absl::Time first = absl::InfiniteFuture();
    for (const Stream* stream : streams) first = std::min(first, stream->BackoffUntil(item));
    if (first <= now) continue;
    keys.push_back(item.second);
    *until = std::min(*until, first);
  }
  return keys;
}

absl::Time Stream::BackoffUntil(StoredId item) const {
  if (abandoned.empty()) return absl::InfinitePast();
  auto found = abandoned.find(item);
  return found == abandoned.end() ? absl::InfinitePast() : found->second.until;
}

int Pool::free() const {
  int sum = 0;
  for (const Stream* stream : streams) sum += std::max(0, stream->credits[Index(type)].free());
  return sum;
}

int64_t FairRanks::Enter(InstanceKey instance) {
  Member& member = members_[instance];
  const int64_t rank = std::max(now_rank_, member.waiting > 0 ? member.last_rank + 1 : now_rank_);
  member.last_rank = rank;
  ++member.waiting;
  return rank;
}

void FairRanks::Leave(InstanceKey instance, int64_t rank) {
  now_rank_ = std::max(now_rank_, rank);
  const auto member = members_.find(instance);
  if (--member->second.waiting == 0) members_.erase(member);
}

NameIndex::NameIndex(const NameFilters& filters) {
  if (!filters.has_value()) return;
  places_.reserve(filters->size());
  for (uint32_t place = 0; place < filters->size(); ++place) {
    places_[(*filters)[place].lower_name].push_back(place);
  }
}

Match NameIndex::Find(const NameFilters& spelled, const std::string& lower_name,
                      const std::string& name, const std::string& version) const {
  if (!spelled.has_value()) return Match::kExact;
  const auto places = places_.find(lower_name);
  if (places == places_.end()) return Match::kNone;
  const auto contains = [](const std::vector<std::string>& list, const std::string& text) {
    return std::find(list.begin(), list.end(), text) != list.end();
  };
  Match best = Match::kNone;
  for (const uint32_t place : places->second) {
    const NameFilter& filter = (*spelled)[place];
    if (!filter.versions.empty() && !contains(filter.versions, version)) continue;
    if (contains(filter.spellings, name)) return Match::kExact;
    best = Match::kOtherCase;
  }
  return best;
}

Hub* StreamTable::FindHub(HubId id) {
  auto found = hubs_.find(id);
  return found == hubs_.end() ? nullptr : found->second.get();
}

Hub* StreamTable::HubOf(HubId id) {
  std::unique_ptr<Hub>& hub = hubs_[id];
  if (hub == nullptr) {
    hub = std::make_unique<Hub>();
    hub->id = id;
    hub->metrics = &metrics_.Of(id);
  }
  return hub.get();
}

Stream* StreamTable::Find(StreamId id) {
  auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second.get();
}

void StreamTable::Join(Stream& stream, WorkType type) {
  const NameFilters& filters = stream.filters(type);
  if (filters.has_value() && filters->empty()) return;  // an empty category means nothing (9.2)
  Hub& hub = *stream.hub;
  auto same = std::find_if(hub.pools.begin(), hub.pools.end(), [&](const auto& pool) {
    return pool->type == type && SameFilters(pool->filters, filters);
  });
  if (same == hub.pools.end()) {
    auto pool = std::make_unique<Pool>(type, filters);
    same = hub.pools.insert(filters.has_value() ? hub.pools.begin() : hub.pools.end(),
                            std::move(pool));
    served_[hub.id] = &hub;
  }
  (*same)->streams.push_back(&stream);
  // What waits gets the new stream at once (2.8).
  (*same)->next_claim = absl::InfinitePast();
  (*same)->empty_claims = 0;
  stream.pools[Index(type)] = same->get();
  // In any order: each route has a list of its own.
  for (auto& [key, route] : hub.routes[Index(type)]) {
    JoinRoute(stream, *route);
  }
}

void StreamTable::JoinRoute(Stream& stream, Route& route) {
  const Pool* pool = stream.pools[Index(route.type)];
  if (pool == nullptr) return;
  const Match match =
      pool->names.Find(stream.filters(route.type), route.lower_name, route.name, route.version);
  if (match == Match::kNone) return;
  route.streams.push_back(&stream);
  if (match == Match::kOtherCase) route.misspelling.insert(&stream);
}

Stream* StreamTable::Open(StreamId id, StreamOptions options, std::shared_ptr<WorkItemSink> sink,
                          absl::Time now) {
  auto stream = std::make_unique<Stream>();
  stream->id = id;
  stream->hub = HubOf(options.hub);
  stream->hub->name = options.hub_name;
  stream->options = std::move(options);
  stream->sink = std::move(sink);
  stream->opened_at = stream->last_write = now;
  const int wished[kWorkTypes] = {stream->options.orchestrations_max,
                                  stream->options.activities_max, stream->options.entities_max};
  for (const WorkType type : kAllWorkTypes) {
    // 0 is "not set", never "none" (1.5).
    stream->credits[Index(type)].max =
        wished[Index(type)] > 0 ? wished[Index(type)] : items_default_;
    Join(*stream, type);
  }
  stream->hub->streams.push_back(stream.get());
  CountStream(*stream, 1);
  return (streams_[id] = std::move(stream)).get();
}

std::unique_ptr<Stream> StreamTable::Close(StreamId id) {
  auto found = streams_.find(id);
  if (found == streams_.end()) return nullptr;
  std::unique_ptr<Stream> stream = std::move(found->second);
  streams_.erase(found);
  Hub& hub = *stream->hub;
  auto leave = [&stream](std::vector<Stream*>& list) {
    list.erase(std::remove(list.begin(), list.end(), stream.get()), list.end());
  };
  leave(hub.streams);
  for (const WorkType type : kAllWorkTypes) {
    // In any order: each route has a list of its own.
    for (auto& [key, route] : hub.routes[Index(type)]) {
      leave(route->streams);
      route->misspelling.erase(stream.get());
    }
    if (Pool* pool = stream->pools[Index(type)]) leave(pool->streams);
  }
  DropUnusedPools(hub);
  CountStream(*stream, -1);
  return stream;
}

void StreamTable::CountStream(const Stream& stream, int difference) {
  metrics::HubMetrics& counted = *stream.hub->metrics;
  counted.connected_workers.Add(difference);
  for (const WorkType type : kAllWorkTypes) {
    if (stream.pools[Index(type)] == nullptr) continue;
    counted.work[Index(type)].credits.Add(difference * stream.credits[Index(type)].max);
  }
}

void StreamTable::DropUnusedPools(Hub& hub) {
  hub.pools.erase(
      std::remove_if(hub.pools.begin(), hub.pools.end(),
                     [](const auto& pool) { return pool->streams.empty() && !pool->claiming; }),
      hub.pools.end());
  if (hub.pools.empty()) served_.erase(hub.id);
}

Route* StreamTable::RouteOf(Hub& hub, WorkType type, const std::string& name,
                            const Payload& version) {
  scratch_.assign(name);
  scratch_.push_back('\0');
  if (version.has_value()) scratch_.append(*version);
  auto& routes = hub.routes[Index(type)];
  auto found = routes.find(scratch_);
  if (found != routes.end()) return found->second.get();
  auto route = std::make_unique<Route>();
  route->type = type;
  route->hub = &hub;
  route->name = name;
  route->lower_name = absl::AsciiStrToLower(name);
  route->version = version.value_or("");
  for (Stream* stream : hub.streams) {
    JoinRoute(*stream, *route);
  }
  return routes.emplace(scratch_, std::move(route)).first->second.get();
}

void StreamTable::Leave(Route* route) {
  if (--route->users > 0 || route->listed) return;
  auto& routes = route->hub->routes[Index(route->type)];
  if (routes.size() <= kUnusedRoutesMax) return;
  std::string key = route->name;
  key.push_back('\0');
  key.append(route->version);
  routes.erase(key);
}

}  // namespace dt::dispatch
