// Task hubs by name: which hub a call means, resolved to the store's id.
//
// Ids are kept in memory, because every call needs one. An entry is asked for again after
// `cache_age_max`, so that a hub that somebody else deleted or made anew is noticed; while the
// database is away the older answer stays in use. Names that do not exist are never kept.
//
// Threads: all methods may be called from any thread. Callbacks run on the caller's thread when the
// answer is known, else on a thread of the store.
#ifndef DT_SERVER_RPC_TASK_HUBS_H_
#define DT_SERVER_RPC_TASK_HUBS_H_

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "storage/metrics/hub_metrics.h"
#include "storage/store.h"

namespace dt::rpc {

struct TaskHubOptions {
  std::string default_name = "default";  // for calls without `taskhub` metadata (1.2)
  bool create_unknown = false;           // D1: on in `dev`, off in `serve`
  size_t name_bytes_max = 100;           // printable ASCII, as gRPC metadata is
  absl::Duration cache_age_max = absl::Seconds(30);
  // Called when a hub was deleted by this daemon, if set; from any thread, must not block.
  std::function<void()> on_deleted = nullptr;
  // Is told the name of each hub that is found, if set; must outlive the hubs.
  metrics::HubMetricsTable* metrics = nullptr;
};

class TaskHubs {
 public:
  // `store` must outlive this object and its callbacks.
  TaskHubs(Store* store, TaskHubOptions options);

  // The name that a call means: its own, or the default hub's.
  std::string Effective(std::string_view name) const;
  // The id if it is known and fresh; no I/O. An empty name means the default hub.
  std::optional<HubId> Find(std::string_view name) const;
  // kNotFound "Task hub not found: X" unless unknown hubs are created and the caller may do that;
  // kInvalidArgument for a name outside the limits; kUnavailable when the database is away.
  void Resolve(std::string_view name, bool may_create, Callback<HubId> done);
  // Creates the hub if it is missing.
  void Create(std::string_view name, Callback<HubId> done);
  // The store says that this hub was deleted: the name is asked for again.
  void Forget(std::string_view name, HubId gone);
  // Deletes the hub: what it holds is removed by others, see Store::DeleteHub.
  void Delete(std::string_view name, DoneCallback done);

 private:
  struct Entry {
    HubId id = 0;
    absl::Time known_at;  // by the steady clock
  };

  absl::Status CheckName(const std::string& name) const;
  void Ask(std::string name, bool create, Callback<HubId> done);
  absl::StatusOr<HubId> Learn(const std::string& name, absl::StatusOr<HubId> answer);

  Store* const store_;
  const TaskHubOptions options_;
  mutable absl::Mutex mutex_;
  absl::flat_hash_map<std::string, Entry> hubs_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dt::rpc

#endif  // DT_SERVER_RPC_TASK_HUBS_H_
