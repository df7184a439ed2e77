// Fresh ids from a random generator.
#ifndef DT_SERVER_ORCHESTRATION_RANDOM_IDS_H_
#define DT_SERVER_ORCHESTRATION_RANDOM_IDS_H_

#include <string>
#include <string_view>

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

// Whether the id has the form of a UUID, with or without its dashes: those are drawn at random, and
// so belong to no other instance.
bool IsRandomId(std::string_view id);

}  // namespace dt::orchestration

#endif  // DT_SERVER_ORCHESTRATION_RANDOM_IDS_H_
