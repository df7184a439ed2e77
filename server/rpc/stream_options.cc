#include "server/rpc/stream_options.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "fmt/format.h"

namespace dt::rpc {
namespace {

absl::StatusOr<int> CheckCount(const char* field, int value, const StreamLimits& limits) {
  if (value < 0) {
    return absl::InvalidArgumentError(
        fmt::format("{} is {}; it must be 0 (the server's default) or more", field, value));
  }
  return std::min(value, limits.items_max);
}

absl::Status CheckText(const char* field, const std::string& value, size_t bytes_max) {
  if (value.size() > bytes_max) {
    return absl::InvalidArgumentError(
        fmt::format("{}: length {} is over the limit of {} bytes", field, value.size(), bytes_max));
  }
  if (value.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(fmt::format("{}: contains a NUL character", field));
  }
  return absl::OkStatus();
}

// Names compare without case; the entries of one name are united, and one without versions accepts
// any (9.4, 9.5).
template <typename Filters>
absl::StatusOr<std::vector<NameFilter>> BuildFilters(const char* field, const Filters& filters,
                                                     const StreamLimits& limits) {
  std::vector<NameFilter> built;
  absl::flat_hash_map<std::string, size_t> places;
  for (const auto& filter : filters) {
    if (filter.name().empty()) {
      return absl::InvalidArgumentError(fmt::format("{}.name is empty", field));
    }
    absl::Status checked = CheckText(field, filter.name(), limits.name_bytes_max);
    if (!checked.ok()) return checked;
    if (filter.versions_size() > limits.filter_versions_max) {
      return absl::InvalidArgumentError(
          fmt::format("{}.versions: {} entries are over the limit of {}", field,
                      filter.versions_size(), limits.filter_versions_max));
    }
    for (const std::string& version : filter.versions()) {
      checked = CheckText(field, version, limits.version_bytes_max);
      if (!checked.ok()) return checked;
    }
    std::string name = absl::AsciiStrToLower(filter.name());
    const auto [place, is_new] = places.try_emplace(name, built.size());
    if (is_new) {
      built.push_back({std::move(name), {filter.versions().begin(), filter.versions().end()}});
      continue;
    }
    std::vector<std::string>& versions = built[place->second].versions;
    if (versions.empty()) continue;
    if (filter.versions().empty()) versions.clear();
    versions.insert(versions.end(), filter.versions().begin(), filter.versions().end());
  }
  return built;
}

absl::Status FillFilters(const WorkItemFilters& filters, const StreamLimits& limits,
                         dispatch::StreamOptions& options) {
  const int count =
      filters.orchestrations_size() + filters.activities_size() + filters.entities_size();
  if (count > limits.filters_max) {
    return absl::InvalidArgumentError(fmt::format(
        "workItemFilters: {} entries are over the limit of {}", count, limits.filters_max));
  }
  absl::StatusOr<std::vector<NameFilter>> built =
      BuildFilters("workItemFilters.orchestrations", filters.orchestrations(), limits);
  if (!built.ok()) return built.status();
  options.orchestration_filters = *std::move(built);
  built = BuildFilters("workItemFilters.activities", filters.activities(), limits);
  if (!built.ok()) return built.status();
  options.activity_filters = *std::move(built);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<dispatch::StreamOptions> BuildStreamOptions(const GetWorkItemsRequest& request,
                                                           const StreamLimits& limits) {
  dispatch::StreamOptions options;
  absl::StatusOr<int> count = CheckCount("maxConcurrentOrchestrationWorkItems",
                                         request.maxconcurrentorchestrationworkitems(), limits);
  if (!count.ok()) return count.status();
  options.orchestrations_max = *count;
  count = CheckCount("maxConcurrentActivityWorkItems", request.maxconcurrentactivityworkitems(),
                     limits);
  if (!count.ok()) return count.status();
  options.activities_max = *count;
  count =
      CheckCount("maxConcurrentEntityWorkItems", request.maxconcurrententityworkitems(), limits);
  if (!count.ok()) return count.status();
  options.entities_max = *count;
  const auto& capabilities = request.capabilities();
  options.history_streaming = std::find(capabilities.begin(), capabilities.end(),
                                        WORKER_CAPABILITY_HISTORY_STREAMING) != capabilities.end();
  if (request.has_workitemfilters()) {
    absl::Status filled = FillFilters(request.workitemfilters(), limits, options);
    if (!filled.ok()) return filled;
  }
  return options;
}

}  // namespace dt::rpc
