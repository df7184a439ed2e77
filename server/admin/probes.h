// /livez, /readyz and /healthz: whether the process runs, and whether it can serve, in words.
//
// Liveness says that the process answers, and nothing of PostgreSQL: else a restart of the database
// became a restart of every daemon.
//
// Threads: all methods may be called from any thread.
#ifndef DT_SERVER_ADMIN_PROBES_H_
#define DT_SERVER_ADMIN_PROBES_H_

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/admin/routes.h"

namespace dt::admin {

class Probes {
 public:
  // Adds the routes; must outlive the listener.
  explicit Probes(Routes* routes);

  // OK, or why the daemon cannot serve. At first it is starting.
  void SetReady(absl::Status ready);
  // It is never ready again.
  void SetDraining();
  absl::Status ready() const;

 private:
  mutable absl::Mutex mutex_;
  absl::Status ready_ ABSL_GUARDED_BY(mutex_) =
      absl::UnavailableError("the daemon is starting: it waits for PostgreSQL and its schema");
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace dt::admin

#endif  // DT_SERVER_ADMIN_PROBES_H_
