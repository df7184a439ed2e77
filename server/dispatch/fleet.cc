#include "server/dispatch/fleet.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"

namespace dt::dispatch {
namespace {

bool Overlap(const NameFilters& filters, const std::optional<std::vector<std::string>>& names) {
  if (!filters.has_value() || !names.has_value()) return true;
  return std::any_of(filters->begin(), filters->end(), [&names](const NameFilter& filter) {
    return std::binary_search(names->begin(), names->end(), filter.lower_name);
  });
}

// Names, and the versions in which each is accepted; nullopt = any.
using AcceptedNames = absl::btree_map<std::string, std::optional<absl::btree_set<std::string>>>;

void Accept(const NameFilter& filter, AcceptedNames& names) {
  auto& versions = names.try_emplace(filter.lower_name, std::in_place).first->second;
  if (filter.versions.empty()) {
    versions = std::nullopt;
  } else if (versions.has_value()) {
    versions->insert(filter.versions.begin(), filter.versions.end());
  }
}

void TellNames(const AcceptedNames& names, size_t versions_max, ServedWork& work) {
  size_t count = 0;
  for (const auto& [name, versions] : names) {
    work.lower_names->push_back(name);
    if (!versions.has_value()) continue;
    count += versions->size();
    if (count > versions_max) continue;
    work.versions[name].assign(versions->begin(), versions->end());
  }
  if (count > versions_max) work.versions.clear();
}

}  // namespace

void Fleet::StreamsChanged() {
  changed_ = true;
  next_report_ = step_.steady;
  ContestAll();
}

void Fleet::SetOthers(int daemons, std::vector<ServedWork> others) {
  for (ServedWork& work : others) {
    if (work.lower_names.has_value()) std::sort(work.lower_names->begin(), work.lower_names->end());
  }
  if (other_daemons_ == daemons && others_ == others) return;
  other_daemons_ = daemons;
  others_ = std::move(others);
  ContestAll();
}

void Fleet::ContestAll() {
  none_new_at_ = absl::InfiniteFuture();
  for (const auto& [id, stream] : matcher_.table().streams()) Contest(*stream);
}

void Fleet::Contest(Stream& stream) {
  const absl::Time known_at = stream.opened_at + kNew;
  const bool is_new = other_daemons_ > 0 && step_.steady < known_at;
  if (is_new) none_new_at_ = std::min(none_new_at_, known_at);
  for (const WorkType type : kAllWorkTypes) {
    if (stream.pools[Index(type)] == nullptr) continue;
    matcher_.SetContested(stream, type, is_new || TakenByOthers(stream, type));
  }
}

bool Fleet::TakenByOthers(const Stream& stream, WorkType type) const {
  return std::any_of(others_.begin(), others_.end(), [&](const ServedWork& work) {
    return work.hub == stream.hub->id && work.kind == Index(type) &&
           Overlap(stream.filters(type), work.lower_names);
  });
}

std::vector<ServedWork> Fleet::Served() const {
  // In the order of hubs and kinds, so that the same streams are told of alike.
  absl::btree_map<std::pair<HubId, int>, ServedWork> served;
  absl::btree_map<std::pair<HubId, int>, AcceptedNames> names;
  for (const auto& [id, stream] : matcher_.table().streams()) {
    for (const WorkType type : kAllWorkTypes) {
      if (stream->pools[Index(type)] == nullptr) continue;
      const std::pair<HubId, int> key(stream->hub->id, Index(type));
      const auto [found, added] =
          served.emplace(key, ServedWork{key.first, key.second, 0, 0, std::vector<std::string>()});
      ServedWork& work = found->second;
      ++work.streams;
      work.credits += stream->credits[Index(type)].max;
      const NameFilters& filters = stream->filters(type);
      if (!filters.has_value() || filters->size() > kNamesMax) work.lower_names = std::nullopt;
      if (!work.lower_names.has_value()) continue;
      for (const NameFilter& filter : *filters) Accept(filter, names[key]);
      if (names[key].size() > kNamesMax) work.lower_names = std::nullopt;
    }
  }
  std::vector<ServedWork> result;
  for (auto& [key, work] : served) {
    if (work.lower_names.has_value()) TellNames(names[key], kVersionsMax, work);
    result.push_back(std::move(work));
  }
  return result;
}

void Fleet::OnTime(size_t residents, size_t tasks) {
  if (step_.steady >= none_new_at_) ContestAll();
  if (step_.steady < next_report_ || step_.ended) return;
  next_report_ = step_.steady + kReportInterval;
  WorkerReport report;
  report.served = Served();
  report.residents = static_cast<int64_t>(residents);
  report.in_flight = matcher_.items_in_flight();
  report.leases = static_cast<int64_t>(residents + tasks);
  const int64_t finished = matcher_.finished();
  const absl::Duration passed = step_.steady - reported_at_;
  if (passed > absl::ZeroDuration() && passed < absl::InfiniteDuration()) {
    report.finished_per_second = (finished - finished_) / absl::ToDoubleSeconds(passed);
  }
  finished_ = finished;
  reported_at_ = step_.steady;
  step_.Do(ReportWork{std::move(report), std::exchange(changed_, false)});
}

}  // namespace dt::dispatch
