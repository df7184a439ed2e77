// Fresh ids from a random generator.
#ifndef DT_SERVER_ORCHESTRATION_RANDOM_IDS_H_
#define DT_SERVER_ORCHESTRATION_RANDOM_IDS_H_

#include <string>

#include "absl/random/random.h"
#include "server/orchestration/turn.h"

namespace dt::orchestration {

// 128 random bits per id. Not for several threads: each has its own.
class RandomIds : public IdSource {
 public:
  std::string NewExecutionId() override;

 private:
  absl::BitGen generator_;
};

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_RANDOM_IDS_H_
