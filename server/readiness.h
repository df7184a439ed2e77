// Tells whether the daemon can serve: not while its database takes no writes. Load balancers then
// send new calls elsewhere; calls that come all the same are answered as well as they can be.
//
// Threads. One of its own, which asks and tells; the destructor ends it.
#ifndef DT_SERVER_READINESS_H_
#define DT_SERVER_READINESS_H_

#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace dt {

class Readiness {
 public:
  // `ask`: OK, or why the daemon cannot serve. `tell` is called at once with the first answer, and
  // then with each that differs from the one before, in its words too. Neither may block.
  Readiness(std::function<absl::Status()> ask, std::function<void(const absl::Status&)> tell,
            absl::Duration interval = absl::Seconds(1));
  ~Readiness();
  Readiness(const Readiness&) = delete;
  Readiness& operator=(const Readiness&) = delete;

 private:
  void Run(absl::Duration interval);

  const std::function<absl::Status()> ask_;
  const std::function<void(const absl::Status&)> tell_;
  absl::Mutex mutex_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace dt

#endif  // DT_SERVER_READINESS_H_
