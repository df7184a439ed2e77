#include "server/rpc/task_hubs.h"

#include <utility>

#include "fmt/format.h"
#include "storage/steady_clock.h"

namespace dt::rpc {

TaskHubs::TaskHubs(Store* store, TaskHubOptions options)
    : store_(store), options_(std::move(options)) {}

std::string TaskHubs::Effective(std::string_view name) const {
  return name.empty() ? options_.default_name : std::string(name);
}

std::optional<HubId> TaskHubs::Find(std::string_view name) const {
  if (name.empty()) name = options_.default_name;
  absl::ReaderMutexLock lock(&mutex_);
  const auto found = hubs_.find(absl::string_view(name.data(), name.size()));
  if (found == hubs_.end()) return std::nullopt;
  if (SteadyNow() - found->second.known_at > options_.cache_age_max) return std::nullopt;
  return found->second.id;
}

absl::Status TaskHubs::CheckName(const std::string& name) const {
  if (name.size() > options_.name_bytes_max) {
    return absl::InvalidArgumentError(
        fmt::format("task hub name: length {} is over the limit of {} characters", name.size(),
                    options_.name_bytes_max));
  }
  for (const char c : name) {
    if (c <= ' ' || c > '~') {
      return absl::InvalidArgumentError(
          "task hub name: only printable ASCII characters without spaces are accepted");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<HubId> TaskHubs::Learn(const std::string& name, absl::StatusOr<HubId> answer) {
  if (answer.ok() && options_.metrics != nullptr) options_.metrics->Name(*answer, name);
  absl::MutexLock lock(&mutex_);
  if (answer.ok()) {
    hubs_[name] = Entry{*answer, SteadyNow()};
    return answer;
  }
  if (absl::IsNotFound(answer.status())) {
    hubs_.erase(name);
    return absl::NotFoundError(fmt::format("Task hub not found: {}", name));
  }
  // The database is away: what was known is better than nothing, the call's own verbs will tell.
  const auto stale = hubs_.find(name);
  if (absl::IsUnavailable(answer.status()) && stale != hubs_.end()) return stale->second.id;
  return answer;
}

void TaskHubs::Ask(std::string name, bool create, Callback<HubId> done) {
  absl::Status checked = CheckName(name);
  if (!checked.ok()) return std::move(done)(std::move(checked));
  std::string asked = name;
  store_->ResolveHub(
      std::move(asked), create,
      [this, name = std::move(name), done = std::move(done)](absl::StatusOr<HubId> answer) mutable {
        std::move(done)(Learn(name, std::move(answer)));
      });
}

void TaskHubs::Resolve(std::string_view name, bool may_create, Callback<HubId> done) {
  if (const std::optional<HubId> known = Find(name)) return std::move(done)(*known);
  if (options_.create_unknown && !may_create) {
    done = [done = std::move(done)](absl::StatusOr<HubId> hub) mutable {
      if (absl::IsNotFound(hub.status())) {
        hub = absl::NotFoundError(
            fmt::format("{} (the role admin may create it)", std::string(hub.status().message())));
      }
      std::move(done)(std::move(hub));
    };
  }
  Ask(Effective(name), options_.create_unknown && may_create, std::move(done));
}

void TaskHubs::Create(std::string_view name, Callback<HubId> done) {
  Ask(Effective(name), /*create=*/true, std::move(done));
}

void TaskHubs::Forget(std::string_view name, HubId gone) {
  absl::MutexLock lock(&mutex_);
  const auto known = hubs_.find(Effective(name));
  if (known != hubs_.end() && known->second.id == gone) hubs_.erase(known);
}

void TaskHubs::Delete(std::string_view name, DoneCallback done) {
  std::string hub = Effective(name);
  absl::Status checked = CheckName(hub);
  if (!checked.ok()) return std::move(done)(std::move(checked));
  std::string asked = hub;
  store_->DeleteHub(std::move(asked), [this, hub = std::move(hub),
                                       done = std::move(done)](absl::Status status) mutable {
    {
      absl::MutexLock lock(&mutex_);
      hubs_.erase(hub);
    }
    if (absl::IsNotFound(status)) {
      status = absl::NotFoundError(fmt::format("Task hub not found: {}", hub));
    }
    if (status.ok() && options_.on_deleted != nullptr) options_.on_deleted();
    std::move(done)(std::move(status));
  });
}

}  // namespace dt::rpc
