#include "server/rpc/stream_options.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/ascii.h"
#include "fmt/format.h"
#include "server/rpc/call_metadata.h"

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

// Entities have no versions.
const google::protobuf::RepeatedPtrField<std::string>& VersionsOf(const EntityFilter&) {
  static const auto* const none = new google::protobuf::RepeatedPtrField<std::string>;
  return *none;
}
template <typename Filter>
const google::protobuf::RepeatedPtrField<std::string>& VersionsOf(const Filter& filter) {
  return filter.versions();
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
    const auto& versions = VersionsOf(filter);
    if (versions.size() > limits.filter_versions_max) {
      return absl::InvalidArgumentError(
          fmt::format("{}.versions: {} entries are over the limit of {}", field, versions.size(),
                      limits.filter_versions_max));
    }
    for (const std::string& version : versions) {
      checked = CheckText(field, version, limits.version_bytes_max);
      if (!checked.ok()) return checked;
    }
    std::string name = absl::AsciiStrToLower(filter.name());
    const auto [place, is_new] = places.try_emplace(name, built.size());
    if (is_new) {
      built.push_back({std::move(name), {versions.begin(), versions.end()}, {filter.name()}});
      continue;
    }
    NameFilter& same = built[place->second];
    same.spellings.push_back(filter.name());
    if (same.versions.empty()) continue;
    if (versions.empty()) same.versions.clear();
    same.versions.insert(same.versions.end(), versions.begin(), versions.end());
  }
  return built;
}

absl::Status FillFilters(const WorkItemFilters& filters, const StreamLimits& limits,
                         dispatch::StreamOptions& options) {
  const int count =
      filters.orchestrations_size() + filters.activities_size() + filters.entities_size();
  // A message without any entry is how the .NET worker says that it wants everything (9.2).
  if (count == 0) return absl::OkStatus();
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
  built = BuildFilters("workItemFilters.entities", filters.entities(), limits);
  if (!built.ok()) return built.status();
  options.entity_filters = *std::move(built);
  return absl::OkStatus();
}

// What the names cannot tell (1.6, 9.3): Go does not know what an entity is. Java says by the
// number whether it has entities, and has no filters for them.
void ApplyEntityRules(dispatch::StreamOptions& options) {
  using dispatch::ClientLibrary;
  const bool java = options.library == ClientLibrary::kJava;
  if (options.library == ClientLibrary::kGo || (java && options.entities_max == 0)) {
    options.entity_filters.emplace();
  } else if (java && options.entity_filters.has_value() && options.entity_filters->empty()) {
    options.entity_filters.reset();
  }
}

}  // namespace

absl::StatusOr<dispatch::StreamOptions> BuildStreamOptions(const GetWorkItemsRequest& request,
                                                           std::string_view user_agent,
                                                           const StreamLimits& limits) {
  dispatch::StreamOptions options;
  options.library = LibraryOfUserAgent(user_agent);
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
  ApplyEntityRules(options);
  return options;
}

}  // namespace dt::rpc
