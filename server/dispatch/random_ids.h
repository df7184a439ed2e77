// Execution ids from a generator of the process.
#ifndef DT_SERVER_DISPATCH_RANDOM_IDS_H_
#define DT_SERVER_DISPATCH_RANDOM_IDS_H_

#include <string>

#include "absl/random/random.h"
#include "server/orchestration/turn.h"

namespace dt::dispatch {

// For one thread.
class RandomIds : public orchestration::IdSource {
 public:
  std::string NewExecutionId() override;

 private:
  absl::BitGen random_;
};

}  // namespace dt::dispatch

#endif  // DT_SERVER_DISPATCH_RANDOM_IDS_H_
