// Where the daemon keeps everything, as its wiring sees it: opened before the dispatcher starts and
// closed after all else has ended. PostgreSQL's is in postgres_backend.h; tests/bench has one in
// memory.
//
// Threads: those of Daemon, which calls.
#ifndef DT_SERVER_BACKEND_H_
#define DT_SERVER_BACKEND_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/stop_signals.h"
#include "storage/management_reads.h"
#include "storage/metrics/metrics.h"
#include "storage/store.h"

namespace dt {

class Backend {
 public:
  virtual ~Backend() = default;

  // The store, ready and not started. The error says what to do; kCancelled when a stop is asked
  // for meanwhile. `metrics`: what it counts; outlives the store. Called once.
  virtual absl::StatusOr<std::unique_ptr<Store>> Open(StopSignals& stop,
                                                      metrics::Metrics* metrics) = 0;
  // What operators may ask of what is kept, after Open and until the store is gone; null where the
  // backend has nothing of the kind.
  virtual ManagementReads* management_reads() { return nullptr; }
  // Lines of the banner, after Open.
  virtual std::string Describe() const = 0;
  // When the store is stopped and gone, also when Open failed.
  virtual void Close() = 0;
};

}  // namespace dt

#endif  // DT_SERVER_BACKEND_H_
